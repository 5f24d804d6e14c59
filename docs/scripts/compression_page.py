"""Make docs/compression.md of docs/compression.json, which the benchmarks write.

python docs/scripts/compression_page.py docs/compression.json docs/compression.md
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from treasure.store import read_json, write_text

Found = Mapping[str, Any]

_ENCODINGS = {
    "dictionary": "dictionary",
    "plain": "plain",
    "DELTA_BINARY_PACKED": "delta",
    "BYTE_STREAM_SPLIT": "byte stream split",
}
_TITLES = {
    "binning_24": "bins, 3 × 256",
    "binning_39": "bins, 3 × 8,192",
    "constrained_1024": "k-means, 1,024 codes, jet constraint",
    "constrained_256": "k-means, 256 codes, jet constraint",
    "constrained_64": "k-means, 64 codes, jet constraint",
    "residual_30": "residual k-means, 3 × 1,024",
}
_LARGE = 1_000_000  # jets a file of a large campaign
_ALL_JETS = 178_000_000  # Aspen Open Jets


def page(found: Found) -> str:
    """The page, in markdown."""
    parts = [
        "# Bits and bytes",
        paragraph(
            "What a particle costs as a token, what it must cost, and what a jet costs in other",
            "formats. Made by `docs/scripts/compression_page.py` of `docs/compression.json`, which",
            "`benchmarks/compression.py` and `benchmarks/compression_formats.py` wrote.",
        ),
        _sample(found["sample"]),
        "## Parquet",
        paragraph(
            "Bits a particle of the ids, and of the whole file with its 11 other columns; page",
            "checksums included.",
        ),
        _parquet(found["parquet"]),
        _verdict(found["parquet"]),
        "## What it must cost",
        *_entropies(found["entropy"]),
        "## Entropy-coded",
        *_coders(found),
        "## A jet, in other formats",
        *_formats(found),
    ]
    return "\n\n".join(parts) + "\n"


def paragraph(*parts: str) -> str:
    """Text in lines of 100 characters."""
    return textwrap.fill(" ".join(parts), 100, break_long_words=False, break_on_hyphens=False)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in markdown; all columns but the first to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _millions(rate: float) -> str:
    return f"{rate / 1e6:.0f}"


def _sample(sample: Found) -> str:
    jets, particles = sample["jets"], sample["particles"]
    return paragraph(
        f"Measured on the demo: {jets:,} jets of QCD and top quarks, {particles:,} particles",
        f"({particles / jets:.1f} a jet), in {sample['files']} files; the tokenizer is `vq` with",
        f"{sample['vocabulary']:,} codes. Row groups of 100,000 jets are these jets",
        f"{sample['repeated']} times: a page of parquet holds 11,000 jets at most, so that no",
        "compressor sees that they come again. Rates are in million particles per second of CPU",
        "time of one thread.",
    )


# Parquet ------------------------------------------------------------------------------------------


def _parquet(settings: Sequence[Found]) -> str:
    header = (
        "ids", "other columns", "zstd level", "jets a row group", "type", "bits of ids",
        "bits of file", "written", "read",
    )  # fmt: skip
    return table(
        header,
        [
            [
                _ENCODINGS[s["tokens"]],
                s["others"],
                str(s["level"] or "none"),
                f"{s['row_group']:,}",
                s["type"],
                f"{s['tokens_bits']:.2f}",
                f"{s['file_bits']:.2f}",
                _millions(s["write_rate"]),
                _millions(s["read_rate"]),
            ]
            for s in settings
        ],
    )


def _verdict(settings: Sequence[Found]) -> str:
    def of(tokens: str, level: int, others: str, row_group: int = 100_000) -> Found:
        wanted = (tokens, level, others, row_group, "int32")
        keys = ("tokens", "level", "others", "row_group", "type")
        return next(s for s in settings if tuple(s[key] for key in keys) == wanted)

    chosen, before = of("dictionary", 9, "chosen"), of("dictionary", 9, "plain")
    slow, small = of("dictionary", 19, "plain"), of("dictionary", 9, "chosen", 5_000)
    split, small_split = (of("BYTE_STREAM_SPLIT", 3, "chosen", n) for n in (100_000, 5_000))
    return paragraph(
        "Chosen, and shipped: a dictionary for the ids, level 9, 100,000 jets a row group, and",
        "*chosen* for the other columns: byte stream split for the four floats, delta for `event`,",
        "`jet_index` and `n_constituents`, which takes",
        f"{before['file_bits'] - chosen['file_bits']:.2f} bits off. Level 19 would take",
        f"{before['tokens_bits'] - slow['tokens_bits']:.2f} more, in",
        f"{before['write_rate'] / slow['write_rate']:.0f} times the time. Byte stream split needs",
        "no dictionary, so that it wins in row groups of 5,000 jets",
        f"({small_split['file_bits']:.2f} against {small['file_bits']:.2f}), and loses in those of",
        f"100,000 ({split['file_bits']:.2f} against {chosen['file_bits']:.2f}). Parquet has no",
        "integers of 16 bits: uint16 is stored in 32, and `tokens` stays list&lt;int32&gt;.",
    )


# Entropies ----------------------------------------------------------------------------------------


def _entropies(e: Found) -> list[str]:
    rows = [
        ("alone", e["id"]["plug_in"], "frequencies of all ids"),
        ("alone", e["id"]["miller_madow"], "the same, corrected for its bias (Miller–Madow)"),
        ("alone", e["id"]["held_out"], "held-out jets"),
        ("given its rank", e["rank"], "held-out jets"),
        ("given its place, ⌊16 rank / n⌋", e["place"], "held-out jets"),
        ("given ⌊8 rank / n⌋ and ⌊n / 8⌋", e["place_and_number"], "held-out jets, over the last"),
        ("given the id before", e["previous_plug_in"],
         "frequencies of all pairs: meaningless, the table remembers the pairs that it saw"),
        ("given the id before", e["previous_direct"], "held-out jets, pairs over single ids"),
        ("given the id before", e["previous_steps"],
         "held-out jets, step in the order of pT (256 buckets) and number left, then the id there"),
        ("given the id before", e["previous"], "held-out jets, pairs over these steps"),
        ("of a jet, as a set", e["set"], "held-out jets, steps of the sorted jet"),
    ]  # fmt: skip
    return [
        paragraph(
            "Entropies, in bits a particle. Those on held-out jets are upper bounds: tables were",
            f"filled with half of the jets ({e['particles_filling']:,} particles), how much they",
            "are mixed with those of a coarser context was chosen on a quarter, and the last",
            f"quarter ({e['particles_judged']:,} particles) was judged.",
        ),
        table(("of an id", "bits", "how"), [[name, f"{b:.2f}", how] for name, b, how in rows]),
        paragraph(
            f"The order of n things costs log2 n!, here {e['order']:.2f} bits a particle: so much",
            "would independent ids save as a set. These are nearly in the order of pT, and what",
            f"is left of their order costs {e['previous'] - e['set']:.2f} bits. Of the jets,",
            f"{100 * e['jets_in_another_order']:.1f} % are stored in another order than that of",
            f"the pT of their ids, and {100 * e['particles_at_another_place']:.0f} % of the",
            "particles stand at another place: neighbours of nearly the same pT get ids whose pT",
            "is a little too high or too low. They are stored in the order of the pT that was",
            "measured, which so tells a little more of it than a set does.",
        ),
    ]


# Coders -------------------------------------------------------------------------------------------


def _coders(found: Found) -> list[str]:
    sample = found["sample"]
    per_jet = sample["particles"] / sample["jets"]
    named = {(c["variant"], c["order"]): c for c in found["coders"]}
    rows = []
    for c in found["coders"]:
        if c["variant"] == "parquet":
            bits = (f"{c['file_bits']:.2f}", f"{c['small_files_bits']:.2f}")
            rows.append(["parquet", "stored", "·", "·", *bits, *["·"] * 6])
            continue
        large = c["file_bits"] - c["model_bits"] + 8 * c["model_bytes"] / (_LARGE * per_jet)
        rows.append(
            [
                f"`{c['variant']}`",
                c["order"],
                f"{c['ids_bits']:.3f}",
                f"{c['model_bits']:.3f}",
                f"{c['file_bits']:.2f}",
                f"{c['small_files_bits']:.2f}",
                f"{large:.2f}",
                f"{100 * c['above_entropy']:.5f} %",
                *(_millions(c[f"{n}_rate"]) for n in ("encode", "decode", "write", "read")),
            ]
        )
    header = (
        "variant", "order", "ids", "model", "file", "small files", "large file", "above entropy",
        "coded", "decoded", "file written", "ids read",
    )  # fmt: skip
    return [
        paragraph(
            "The variants of the [compressed token table](formats/compressed_tokens.md), in bits a",
            "particle. *Model*: its tables, which are kept in the file. The file has all",
            f"{sample['jets']:,} jets; *small files* are the {sample['files']} of the demo, each",
            "with tables of its own; *large file*: one of a million jets, of what was measured.",
            "*Above entropy*: what the coder takes more than the entropy of its model. All are",
            "lossless; `order: rebuilt` is so up to the order of the particles in a jet.",
        ),
        table(header, rows),
        paragraph(
            f"Coded and decoded: ids to words and back, of {sample['repeated']} times these jets,",
            "in one row group. A file is written in three or four readings of the token table, and",
            "every block is decoded again. Reading includes both checksums. What is decoded at",
            "once is one particle of every jet, so that small row groups are slower: of 5,000",
            "jets,",
            f"`previous` decodes {_millions(named['previous', 'stored']['few_decode_rate'])} and",
            f"`static` {_millions(named['static', 'stored']['few_decode_rate'])}.",
        ),
        _all_jets(found, per_jet),
    ]


def _all_jets(found: Found, per_jet: float) -> str:
    named = {(c["variant"], c["order"]): c for c in found["coders"]}
    previous = named["previous", "stored"]

    def gigabytes(variant: str, order: str) -> str:
        c = named[variant, order]
        return f"{(c['file_bits'] - c.get('model_bits', 0)) * per_jet * _ALL_JETS / 8e9:.1f} GB"

    return paragraph(
        f"With as many particles a jet, the {_ALL_JETS // 10**6} million jets of Aspen Open Jets",
        f"would be {gigabytes('parquet', 'stored')} in parquet,",
        f"{gigabytes('previous', 'stored')} as `previous` and",
        f"{gigabytes('order_free', 'rebuilt')} as `order_free` with the order rebuilt; models, one",
        "for a million jets, would add",
        f"{_ALL_JETS / _LARGE * previous['model_bytes'] / 1e6:.0f} MB (`previous`). This is an",
        "extrapolation: collisions have another spectrum of particles than the demo, and events",
        "and runs that compress otherwise.",
    )


# Formats ------------------------------------------------------------------------------------------


def _formats(found: Found) -> list[str]:
    formats = found["formats"]
    h5, numbers = formats["h5"], formats["float16"]
    rows = [
        ["jet table (HDF5), 11 columns", "352", _bytes(h5, "particles"), _bytes(h5, "file"),
         "·", "1", "0", "0"],
        ["the same, px, py and pz alone", "96", _bytes(formats["h5_momenta"], "particles"),
         *["·"] * 5],
    ]  # fmt: skip
    for name, bits in (("float32", 96), ("float16", 48)):
        f = formats[name]
        sizes = (_bytes(f, "particles"), _bytes(f, "file"))
        rows.append([f"{name}, 3 numbers in parquet", str(bits), *sizes, "·", *_kept(f)])
    tokens = [(name, f) for name, f in formats.items() if "codebooks" in f]
    for name, f in sorted(tokens, key=lambda entry: (-entry[1]["bits"], entry[1]["jet_mass_iqr"])):
        packed = f.get("previous", f["rank"])
        sizes = (_bytes(f, "particles"), _bytes(f, "file"), _bytes(packed, "file"))
        rows.append([_TITLES.get(name, f["title"]), f"{f['bits']:.1f}", *sizes, *_kept(f)])
    header = (
        "format", "bits a particle", "particles", "file", "compressed file", "jet mass, median",
        "jet mass, IQR/median", "AUC lost",
    )  # fmt: skip
    return [
        paragraph(
            "Bytes a jet, of the particles and of the file, which has the 11 other columns of the",
            "token table (the jet table: all that it has). *Bits a particle* are those of the",
            "numbers or ids before any compression. What is kept is measured as in",
            "[Which tokenizer?](tokenizers.md): the response of the jet mass, decoded over",
            "original, and the area under the ROC curve that top tagging loses when trained and",
            f"tested on decoded jets; on {found['physics']['test_jets']:,} test jets, with 2",
            "trainings.",
        ),
        table(header, rows),
        paragraph(
            "*Compressed file*: with the order stored, `previous`, or `rank` with several",
            "codebooks; the tables of its model are in it. The 11 columns of the jet table are the",
            "four-momentum, charge, particle type, PUPPI weight and impact parameters with their",
            "errors, in float32, zero-padded and gzipped; px, py and pz alone in the same layout",
            "are less than half of it. The three numbers are pT, Δη and Δφ, as byte stream split",
            "and zstd. They, and these tokens, keep none of the other columns, and not the masses",
            "of the particles either: that is what float32 loses of the jet mass (median",
            f"{formats['float32']['jet_mass_median']:.4f}, IQR/median",
            f"{formats['float32']['jet_mass_iqr']:.4f}); rounding to 16 bits adds next to nothing.",
            "A jet constraint chooses ids so that the mass of the jet is right all the same:",
            f"`vq` has {formats['vq']['jet_mass_median']:.4f} and",
            f"{formats['vq']['jet_mass_iqr']:.4f}. Each of its particles is known far worse",
            "nevertheless, where float16 has it to one part in 2,000. Where that matters, or any",
            "other column, tokens are no replacement. Compressed, they take",
            f"{numbers['file'] / formats['vq']['previous']['file']:.1f} times less room than",
            f"float16, and {h5['file'] / formats['vq']['previous']['file']:.0f} times less than",
            "the jet table, because they keep less.",
        ),
        paragraph(
            f"In the jet tables {100 * h5['rising_pairs']:.2f} % of neighbouring candidates are",
            "not in the order of falling pT.",
        ),
    ]


def _bytes(values: Found, key: str) -> str:
    return f"{values[key]:.1f}"


def _kept(f: Found) -> list[str]:
    lost = "·"
    if "auc_lost" in f:
        lost = f"{f['auc_lost']:.4f} ± {f['auc_lost_error']:.4f}"
    return [f"{f['jet_mass_median']:.4f}", f"{f['jet_mass_iqr']:.4f}", lost]


def main(source: str, target: str) -> None:
    """Write the page."""
    write_text(target, page(read_json(source)))


if __name__ == "__main__":
    main(*sys.argv[1:])
