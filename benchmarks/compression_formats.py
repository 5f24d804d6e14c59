"""What does a jet cost in each format, and what does each format keep?

Jets of a finished run with a comparison of tokenizers: as they are in the jet tables, as numbers of
32 and of 16 bits, and as tokens of each tokenizer, plain and compressed. What numbers keep is
measured here as CompareTokenizers measures tokenizers, with the jets, taggers and seeds of that
run; what tokens keep is read from it. The numbers join those of benchmarks/compression.py::

    python benchmarks/compression_formats.py docs/compression.json STORE/demo --tokenizers vq kmeans
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from treasure.comparison.choice import choose_jets
from treasure.comparison.measure import classifier_measures, jet_measures
from treasure.comparison.originals import Originals, identity
from treasure.config.benchmark import TaggerConfig
from treasure.config.measurement import MeasurementConfig
from treasure.jets.table import JetTable
from treasure.store import read_json, read_manifest, write_json
from treasure.tokenizer.artefact import Tokenizer
from treasure.tokenizer.particles import Particles, owners, pack
from treasure.tokens.compressed import write_compressed
from treasure.tokens.table import (
    COMPRESSION_LEVEL,
    ENCODINGS,
    TokenMetadata,
    read_tokens,
    token_lists,
    write_tokens,
)

_KEPT = ("jet_mass_median", "jet_mass_iqr", "jet_mass_iqr_error", "auc_lost", "auc_lost_error")
_NAMES = ("pt", "delta_eta", "delta_phi")
_JETS_AT_ONCE = 1_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the section ``formats``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("run", type=Path, help="the folder of a configuration in the store")
    parser.add_argument("--tokenizers", nargs="+", required=True)
    options = parser.parse_args(arguments)
    run: Path = options.run
    tables = {
        name: sorted((run / "WriteH5" / name).glob("*/*/*.h5"))
        for name in sorted(path.name for path in (run / "WriteH5").iterdir())
    }
    paths = [path for of_dataset in tables.values() for path in of_dataset]
    found: dict[str, Any] = read_json(options.output) if options.output.is_file() else {}
    columns = (
        pa.concat_tables(
            [
                read_tokens(path).drop_columns(["tokens"])
                for name in tables
                for path in sorted((run / "TokenizeShards" / name).glob("*/*/*_tokenized.parquet"))
            ]
        )
        .unify_dictionaries()
        .combine_chunks()
    )
    formats = found.setdefault("formats", {})  # what is there is not measured again
    comparison = next((run / "CompareTokenizers").glob("*/comparison.json"))
    with tempfile.TemporaryDirectory() as folder:
        if "h5" not in formats:
            formats |= of_jet_tables(paths, len(columns))
        if "float16" not in formats:
            formats |= of_numbers(paths, columns, Path(folder))
            for name, measures in what_numbers_keep(run, tables).items():
                formats[name] |= measures
            write_json(options.output, found)
        for name in options.tokenizers:
            if name not in formats:
                entry = read_json(comparison)["tokenizers"][name]
                artefact = compared(run, comparison.parent, name)
                formats[name] = of_tokenizer(artefact, paths, columns, Path(folder))
                formats[name] |= {key: entry[key]["mean"] for key in _KEPT if key in entry}
                formats[name]["title"] = entry["title"] or name
            write_json(options.output, found)
    found["physics"] = {"test_jets": read_json(comparison)["n_test"]}
    write_json(options.output, found)


def compared(run: Path, comparison: Path, name: str) -> Path:
    """The artefact of a tokenizer that the comparison measured."""
    measured = read_manifest(comparison)["identity"]["requires"][f"{name}-1"][0]
    stage = run / "MeasureTokenizer" / f"{name}-1" / f"v1-{measured[:10]}"
    trained = read_manifest(stage)["identity"]["requires"]["tokenizer"][0]
    return run / "TrainComparedTokenizer" / f"{name}-1" / f"v1-{trained[:10]}"


# Bytes --------------------------------------------------------------------------------------------


def of_jet_tables(paths: Sequence[Path], jets: int) -> dict[str, dict[str, Any]]:
    """Bytes a jet of the files, and of the candidates in them."""
    candidates = three = 0
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            with h5py.File(path) as file, h5py.File(Path(folder) / "a.h5", "w") as other:
                data = file["PFCands"]
                candidates += data.id.get_storage_size()
                momenta = data[:, :, :3]
                copy = other.create_dataset(
                    "PFCands",
                    data=momenta,
                    chunks=(data.chunks[0], momenta.shape[1], 3),
                    compression=data.compression,
                    compression_opts=data.compression_opts,
                )
                three += copy.id.get_storage_size()
    size = sum(path.stat().st_size for path in paths)
    particles = particles_of(paths)
    pt = np.hypot(particles.momenta[:, 0], particles.momenta[:, 1])
    same_jet = np.diff(owners(particles.counts)) == 0
    rising = (np.diff(pt) > 0) & same_jet
    return {
        "h5": {
            "file": size / jets,
            "particles": candidates / jets,
            "rising_pairs": int(rising.sum()) / int(same_jet.sum()),
        },
        "h5_momenta": {"particles": three / jets},
    }


def particles_of(paths: Sequence[Path]) -> Particles:
    """All jets of jet tables."""
    parts = []
    for path in paths:
        with JetTable(path) as table:
            parts += [pack(c.candidates, c.kinematics, other=True) for c in table.chunks()]
    return Particles.joined(parts)


def as_numbers(momenta: NDArray[Any], axes: NDArray[Any]) -> NDArray[np.float32]:
    """PT (GeV), Δη and Δφ of particles (P, 3) from the axes (P, 2) of their jets."""
    px, py, pz = (momenta[:, i].astype(np.float64) for i in range(3))
    pt = np.hypot(px, py)
    phi = np.arctan2(py, px) - axes[:, 1]
    columns = (pt, np.arcsinh(pz / pt) - axes[:, 0], (phi + np.pi) % (2 * np.pi) - np.pi)
    return np.stack(columns, axis=1).astype(np.float32)


def as_momenta(numbers: NDArray[Any], axes: NDArray[Any]) -> NDArray[np.float32]:
    """px, py, pz, E (P, 4) of massless particles: the inverse of `as_numbers`."""
    pt, eta, phi = (numbers[:, i].astype(np.float64) for i in range(3))
    eta, phi = eta + axes[:, 0], phi + axes[:, 1]
    columns = (pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta))
    return np.stack(columns, axis=1).astype(np.float32)


def of_numbers(paths: Sequence[Path], columns: pa.Table, folder: Path) -> dict[str, dict[str, Any]]:
    """Bytes a jet of pT, Δη and Δφ in parquet, beside the columns of a token table."""
    particles = particles_of(paths)
    numbers = as_numbers(particles.momenta, particles.axes[owners(particles.counts)])
    offsets = np.concatenate([[0], np.cumsum(particles.counts)]).astype(np.int32)
    found = {}
    for bits in (32, 16):
        table = columns
        for number, name in enumerate(_NAMES):
            values = pa.array(numbers[:, number].astype(f"float{bits}"))
            table = table.append_column(name, pa.ListArray.from_arrays(pa.array(offsets), values))
        encodings = dict(ENCODINGS) | {f"{n}.list.element": "BYTE_STREAM_SPLIT" for n in _NAMES}
        path = folder / f"float{bits}.parquet"
        pq.write_table(
            table,
            path,
            compression="zstd",
            compression_level=COMPRESSION_LEVEL,
            use_dictionary=["split"],
            column_encoding=encodings,
            write_page_checksum=True,
            version="2.6",
        )
        found[f"float{bits}"] = sizes(path, len(table), _NAMES)
    return found


def sizes(path: Path, jets: int, names: Sequence[str]) -> dict[str, float]:
    """Bytes a jet of a parquet file, and of some of its columns."""
    footer, particles = pq.ParquetFile(path).metadata, 0
    for group in range(footer.num_row_groups):
        for number in range(footer.num_columns):
            column = footer.row_group(group).column(number)
            if column.path_in_schema.split(".")[0] in names:
                particles += column.total_compressed_size
    return {"file": path.stat().st_size / jets, "particles": particles / jets}


def of_tokenizer(
    artefact: Path, paths: Sequence[Path], columns: pa.Table, folder: Path
) -> dict[str, Any]:
    """Bytes a jet of tokens, plain and compressed, without the check that TokenizeShards makes."""
    tokenizer = Tokenizer.load(artefact)
    ids, counts = [], []
    for path in paths:
        with JetTable(path) as table:
            for chunk in table.chunks(_JETS_AT_ONCE):
                packed = tokenizer.pack(chunk.candidates, chunk.kinematics)
                tokens = tokenizer.encode_particles(packed)[0]
                flat = np.asarray(ak.to_numpy(ak.flatten(tokens, axis=1)), dtype=np.int32)
                ids.append(flat.reshape(len(flat), -1))
                counts.append(packed.counts)
    column = token_lists(np.concatenate(ids), np.concatenate(counts))
    metadata = TokenMetadata(
        dataset="all",
        tokenizer_fingerprint=tokenizer.fingerprint,
        vocabulary=tokenizer.vocabulary,
        features=list(tokenizer.features),
        source_file="all",
        source_checksum="",
    )
    plain, packed_file = folder / "tokens.parquet", folder / "packed.parquet"
    write_tokens(plain, columns.append_column("tokens", column), metadata)
    found: dict[str, Any] = {
        **sizes(plain, len(columns), ["tokens"]),
        "vocabulary": tokenizer.vocabulary_size,
        "codebooks": tokenizer.codebooks,
        "bits": tokenizer.quantizer.bits,
    }
    variants = [("rank", "stored")]
    if tokenizer.codebooks == 1:
        variants += [("previous", "stored"), ("order_free", "stored"), ("order_free", "rebuilt")]
    for variant, order in variants:
        options: Any = {"variant": variant, "order": order, "tokenizer": artefact}
        summary = write_compressed(plain, packed_file, **options)
        key = variant if order == "stored" else order
        found[key] = {
            "file": summary["bytes"] / len(columns),
            "particles": summary["bytes_of_ids"] / len(columns),
            "model": summary["bytes_of_model"] / len(columns),
        }
    return found


# Physics ------------------------------------------------------------------------------------------


def what_numbers_keep(
    run: Path, tables: dict[str, list[Path]]
) -> dict[str, dict[str, float | int]]:
    """Measures of jets made of numbers of 32 and 16 bits, as `measure_tokenizer` takes them."""
    folder = next((run / "MeasureOriginals").glob("*/originals.json")).parent
    settings = read_manifest(folder)["identity"]["settings"]
    config = MeasurementConfig.model_validate(settings["measurement"])
    tagger = TaggerConfig.model_validate(settings["tagger"])
    seed, originals = int(settings["seed"]), Originals.load(folder)
    jets = choose_jets(tables, settings["labels"], config, seed=seed)
    if originals.identity != identity(jets, tagger, config, seed=seed):
        originals = None  # of other jets: they are measured again
    axes = jets.particles.axes[owners(jets.particles.counts)]
    numbers = as_numbers(jets.particles.momenta, axes)
    found: dict[str, dict[str, float | int]] = {}
    for bits in (32, 16):
        momenta = as_momenta(numbers.astype(f"float{bits}"), axes)
        measures = jet_measures(jets, momenta, config, seed=seed) | classifier_measures(
            jets, momenta, tagger, config, seed=seed, originals=originals
        )
        found[f"float{bits}"] = {key: measures[key] for key in _KEPT}
        found[f"float{bits}"]["same_originals"] = int(originals is not None)
    return found


if __name__ == "__main__":
    main()
