"""How many bits does a particle cost as tokens, and how many must it cost?

Of the token tables of a run, put together: the encodings of parquet, entropies on held-out jets,
and the coders of `treasure.tokens.compressed`. Rates are of the CPU time of one thread. The numbers
go to a JSON file, section by section, from which docs/scripts/compression_page.py makes
docs/compression.md::

    python benchmarks/compression.py docs/compression.json --tokenizer TOKENIZER_FOLDER \
        STORE/TokenizeShards/*/*/*/*_tokenized.parquet
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from treasure.store import canonical_json, read_json, write_json
from treasure.tokens.compressed import CompressedTable, write_compressed
from treasure.tokens.compressed.classes import classes_of
from treasure.tokens.compressed.entropy import folds, plug_in, smoothed
from treasure.tokens.compressed.frequencies import bits
from treasure.tokens.compressed.model import fit, to_json
from treasure.tokens.compressed.steps import BUCKETS, StepCoder
from treasure.tokens.compressed.write import ids_and_counts, pt_order
from treasure.tokens.table import (
    COMPRESSION_LEVEL,
    ENCODINGS,
    ROW_GROUP,
    TokenMetadata,
    TokenTable,
    TokenWriter,
    read_tokens,
)

_LEAF = "tokens.list.element"
_FEW = 5_000  # jets of a small row group
_REPEATED = 4  # a row group of 100,000 jets, of the 25,000 of the demo
_VARIANTS = (
    ("static", "stored"), ("rank", "stored"), ("previous", "stored"), ("order_free", "stored"),
    ("order_free", "rebuilt"),
)  # fmt: skip
_ENCODINGS = ("dictionary", "plain", "DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the sections that are asked for, and write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("tables", type=Path, nargs="+")
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--sections", nargs="+", default=["parquet", "entropy", "coders"])
    options = parser.parse_args(arguments)
    with TokenTable(options.tables[0]) as first:
        metadata = first.metadata
    rows = pa.concat_tables([read_tokens(path) for path in options.tables])
    rows = rows.unify_dictionaries().combine_chunks()
    found: dict[str, Any] = read_json(options.output) if options.output.is_file() else {}
    ids, counts = ids_and_counts(rows, metadata)
    found["sample"] = {
        "files": len(options.tables),
        "jets": len(rows),
        "particles": len(ids),
        "vocabulary": metadata.size,
        "repeated": _REPEATED,
    }
    for section in options.sections:
        if section == "parquet":
            found[section] = parquet(rows)
        elif section == "entropy":
            found[section] = entropies(ids[:, 0], counts, pt_order(options.tokenizer, metadata))
        else:
            found[section] = coders(rows, metadata, options.tables, options.tokenizer)
        write_json(options.output, found)


def cpu(work: Callable[[], Any], times: int = 5) -> float:
    """Least CPU seconds of some runs."""
    seconds = []
    for _ in range(times):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


# Parquet ------------------------------------------------------------------------------------------


def parquet(rows: pa.Table) -> list[dict[str, Any]]:
    """Bits a particle and rates of encodings, levels and sizes of row groups."""
    table = pa.concat_tables([rows] * _REPEATED).unify_dictionaries().combine_chunks()
    chosen = {"tokens": "dictionary", "others": "chosen", "level": COMPRESSION_LEVEL}
    settings = [
        *({"tokens": e, "level": n} for e in _ENCODINGS for n in (0, 3, COMPRESSION_LEVEL)),
        *({"tokens": "dictionary", "level": level} for level in (1, 15, 19)),
        *({**chosen, "row_group": size} for size in (5_000, 25_000, ROW_GROUP)),
        {**chosen, "tokens": "BYTE_STREAM_SPLIT", "level": 3},
        {**chosen, "row_group": 5_000, "tokens": "BYTE_STREAM_SPLIT", "level": 3},
        {**chosen, "tokens": "dictionary", "type": "uint16"},
    ]
    return [written(table, **setting) for setting in settings]


def written(
    table: pa.Table,
    tokens: str,
    level: int,
    others: str = "plain",
    row_group: int = ROW_GROUP,
    type: str = "int32",
) -> dict[str, Any]:
    """One setting; `others` is plain for all columns but tokens and split, or as chosen."""
    if type != "int32":
        column = table["tokens"].cast(pa.list_(pa.field("element", getattr(pa, type)())))
        table = table.set_column(table.num_columns - 1, "tokens", column)
    encodings = dict(ENCODINGS) if others == "chosen" else {}
    if tokens not in ("dictionary", "plain"):
        encodings[_LEAF] = tokens
    options: dict[str, Any] = {
        "compression": "zstd" if level else "none",
        "compression_level": level or None,
        "use_dictionary": ["split", *([_LEAF] if tokens == "dictionary" else [])],
        "column_encoding": encodings or None,
        "write_page_checksum": True,
        "row_group_size": row_group,
        "version": "2.6",
    }
    particles = int(np.asarray(table["n_constituents"]).sum())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.parquet"
        write = cpu(lambda: pq.write_table(table, path, **options), 2)
        read = cpu(
            lambda: pq.ParquetFile(path, page_checksum_verification=True).read(use_threads=False)
        )
        footer = pq.ParquetFile(path).metadata
        groups = [footer.row_group(n) for n in range(footer.num_row_groups)]
        last = [group.column(group.num_columns - 1).total_compressed_size for group in groups]
        size = path.stat().st_size
    return {
        "tokens": tokens,
        "others": others,
        "level": level,
        "row_group": row_group,
        "type": type,
        "tokens_bits": 8 * sum(last) / particles,
        "file_bits": 8 * size / particles,
        "write_rate": particles / write,
        "read_rate": particles / read,
    }


# Entropies ----------------------------------------------------------------------------------------


def entropies(
    ids: NDArray[np.int32], counts: NDArray[np.int64], order: NDArray[np.uint32]
) -> dict[str, Any]:
    """Of an id, of an id given its place, of an id given the one before, of a set of ids."""
    size, of = len(order), folds(counts)
    nowhere, first = np.zeros(len(ids), dtype=np.int64), _first(counts)
    before = np.where(first, size, np.roll(ids, 1)).astype(np.int64)
    alone = smoothed(ids, [nowhere], of, 1 / size)
    rank = np.arange(len(ids)) - np.repeat(np.cumsum(counts) - counts, counts)
    by_place = smoothed(ids, [classes_of(counts, 16).astype(np.int64)], of, alone)
    n = np.repeat(np.minimum(counts // 8, 15), counts)
    place_and_number = smoothed(ids, [classes_of(counts, 8) * np.int64(16) + n], of, by_place)
    by_step = _by_step(ids, counts, order, of, sort=False)
    pairs = before * size + ids
    permutation = np.log2(np.arange(1, counts.max(initial=0) + 1)).cumsum()[counts - 1]
    coder = StepCoder.fit(lambda: [(ids[:, None], counts)], order, sort=True, keep_order=False)
    return {
        "particles_filling": int(of.fill.sum()),
        "particles_judged": int(of.judge.sum()),
        "id": {**plug_in(ids), "held_out": of.bits(alone)},
        "rank": of.bits(smoothed(ids, [rank], of, alone)),
        "place": of.bits(by_place),
        "place_and_number": of.bits(place_and_number),
        "previous_plug_in": plug_in(pairs)["plug_in"] - plug_in(before)["plug_in"],
        "previous_direct": of.bits(smoothed(ids, [before], of, alone)),
        "previous_steps": of.bits(by_step),
        "previous": of.bits(smoothed(ids, [before], of, by_step)),
        "set": of.bits(_by_step(ids, counts, order, of, sort=True)),
        "order": float(permutation.sum() / len(ids)),
        **_order(coder, ids, counts),
    }


def _first(counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    first = np.zeros(int(counts.sum()), dtype=bool)
    first[(np.cumsum(counts) - counts)[counts > 0]] = True
    return first


def _by_step(
    ids: NDArray[np.int32],
    counts: NDArray[np.int64],
    order: NDArray[np.uint32],
    of: Any,
    *,
    sort: bool,
) -> NDArray[np.float64]:
    """Probabilities of ids as a step in the order of pT, and a code there: see `StepCoder`."""
    coder = StepCoder.fit(lambda: [(ids[:, None], counts)], order, sort=sort, keep_order=False)
    ids = coder.kept(ids[:, None], counts)[:, 0]
    bucket = coder.arrays()["bucket"][ids].astype(np.int64)
    first = _first(counts)
    before = np.where(first, 0, np.roll(bucket, 1))
    context = np.where(first, BUCKETS, before)
    ends = np.repeat(np.cumsum(counts), counts)
    left = np.minimum(ends - np.arange(len(ids)), 63) // 4
    step = (bucket - before) % BUCKETS
    coarse = np.where(first, 32, before // 8)
    steps = smoothed(step, [coarse, coarse * 16 + left, context * 16 + left], of, 1 / BUCKETS)
    return steps * smoothed(ids, [bucket], of, 1 / len(order))


def _order(coder: StepCoder, ids: NDArray[np.int32], counts: NDArray[np.int64]) -> dict[str, float]:
    """How often the stored order is not that of the pT of the ids."""
    kept = coder.kept(ids[:, None], counts)[:, 0]
    jet = np.repeat(np.arange(len(counts)), counts)
    differing = np.bincount(jet, kept != ids, minlength=len(counts)) > 0
    return {
        "jets_in_another_order": float(differing.mean()),
        "particles_at_another_place": float((kept != ids).mean()),
    }


# Coders -------------------------------------------------------------------------------------------


def coders(
    rows: pa.Table, metadata: TokenMetadata, paths: Sequence[Path], tokenizer: Path
) -> list[dict[str, Any]]:
    """Bits, entropies of the models and rates of each variant, and the files that come out."""
    ids, counts = ids_and_counts(rows, metadata)
    many = np.concatenate([ids] * _REPEATED), np.concatenate([counts] * _REPEATED)
    order, found = pt_order(tokenizer, metadata), []
    with tempfile.TemporaryDirectory() as folder:
        whole, packed = Path(folder) / "whole.parquet", Path(folder) / "packed.parquet"
        with TokenWriter(whole, metadata) as writer:
            writer.write(rows)
        of_parquet = [_again(path, Path(folder) / "s.parquet") for path in paths]
        found.append(
            {
                "variant": "parquet",
                "order": "stored",
                "file_bits": 8 * whole.stat().st_size / len(ids),
                "small_files_bits": 8 * sum(of_parquet) / len(ids),
                "bytes_a_jet": whole.stat().st_size / len(rows),
            }
        )
        big, big_packed = Path(folder) / "big.parquet", Path(folder) / "big_packed.parquet"
        with TokenWriter(big, metadata) as writer:
            for _ in range(_REPEATED):
                writer.write(rows)
        for variant, kept in _VARIANTS:
            coder = fit(lambda: [many], metadata, variant, kept, order)
            words = coder.encode(*many)
            coder.decode(words, many[1])
            own = fit(lambda: [(ids, counts)], metadata, variant, kept, order)
            options: Any = {"variant": variant, "order": kept, "tokenizer": tokenizer}
            summary = write_compressed(whole, packed, **options)
            small = [
                write_compressed(path, Path(folder) / "s.parquet", **options) for path in paths
            ]
            entropy = bits(coder.calls(*many))
            few = ids[: int(counts[:_FEW].sum())], counts[:_FEW]
            few_words = coder.encode(*few)
            few_seconds = cpu(lambda: coder.decode(few_words, few[1]))  # noqa: B023
            write = cpu(lambda: write_compressed(big, big_packed, **options), 1)  # noqa: B023
            with CompressedTable(big_packed) as table:
                read = cpu(lambda: [len(part) for part in table.chunks(["tokens"])], 2)
            found.append(
                {
                    "variant": variant,
                    "order": kept,
                    "ids_bits": 8 * summary["bytes_of_ids"] / len(ids),
                    "model_bits": 8 * summary["bytes_of_model"] / len(ids),
                    "model_bytes": len(canonical_json(to_json(coder))),
                    "file_bits": 8 * summary["bytes"] / len(ids),
                    "small_files_bits": 8 * sum(s["bytes"] for s in small) / len(ids),
                    "bytes_a_jet": summary["bytes"] / len(rows),
                    "entropy": bits(own.calls(ids, counts)) / len(ids),
                    "above_entropy": 32 * len(words) / entropy - 1,
                    "encode_rate": len(many[0]) / cpu(lambda: coder.encode(*many)),  # noqa: B023
                    "few_decode_rate": len(few[0]) / few_seconds,
                    "write_rate": len(many[0]) / write,
                    "read_rate": len(many[0]) / read,
                    "decode_rate": len(many[0]) / cpu(lambda: coder.decode(words, many[1])),  # noqa: B023
                }
            )
    return found


def _again(path: Path, other: Path) -> int:
    """Bytes of a token table as it is written now."""
    with TokenTable(path) as table, TokenWriter(other, table.metadata) as writer:
        for chunk in table.chunks():
            writer.write(chunk)
    return other.stat().st_size


if __name__ == "__main__":
    main()
