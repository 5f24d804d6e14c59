"""Token files made up for the tests of the loader."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from treasure.tokens.table import TokenMetadata, TokenWriter, schema


def metadata(
    size: int = 8192, codebooks: int = 1, dataset: str = "qcd", tokenizer: str = "f" * 64
) -> TokenMetadata:
    return TokenMetadata(
        dataset=dataset,
        tokenizer_fingerprint=tokenizer,
        vocabulary={"size": size, "codebooks": codebooks, "specials": {}},
        features=["log_pt", "delta_eta", "delta_phi"],
        source_file="qcd_0.h5",
        source_checksum="0" * 64,
    )


def jets(
    n: int, first: int = 0, codebooks: int = 1, size: int = 8192, longest: int = 9
) -> pa.Table:
    """Jets numbered by `event` from `first` on, some of them without particles."""
    rng = np.random.default_rng(first)
    counts = rng.integers(0, longest + 1, n)
    shape = (int(counts.sum()),) if codebooks == 1 else (int(counts.sum()), codebooks)
    ids = rng.integers(0, size, shape, dtype=np.int32)
    particles = np.split(ids, np.cumsum(counts)[:-1]) if n else []
    numbers = np.arange(first, first + n)
    kinds = schema(codebooks)
    columns = {
        "run": numbers * 0 + 1,
        "luminosityBlock": numbers // 10,
        "event": numbers,
        "jet_index": (numbers % 2).astype(np.int32),
        "label": (numbers % 3 - 1).astype(np.int32),
        "split": pa.array(
            [("train", "val", "test", "unknown")[i % 4] for i in numbers], pa.string()
        ),
        **{
            name: rng.normal(size=n).astype(np.float32)
            for name in ("jet_pt", "jet_eta", "jet_phi", "jet_msoftdrop")
        },
        "n_constituents": counts.astype(np.int32),
        "tokens": pa.array([part.tolist() for part in particles], kinds.field("tokens").type),
    }
    return pa.table(columns)


def write(
    path: Path, rows: pa.Table, made_by: TokenMetadata | None = None, row_group: int = 100_000
) -> Path:
    """A token file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with TokenWriter(path, made_by or metadata(), row_group=row_group) as writer:
        writer.write(rows)
    return path


def folder(path: Path, sizes: list[int], row_group: int = 7, codebooks: int = 1) -> pa.Table:
    """Token files with so many jets each, and all their rows, in the order of the files."""
    parts, first = [], 0
    for number, n in enumerate(sizes):
        parts.append(jets(n, first, codebooks))
        file = path / f"part{number:02d}_tokenized.parquet"
        write(file, parts[-1], metadata(codebooks=codebooks), row_group)
        first += n
    return pa.concat_tables(parts)
