"""Makes token shards, tokenizer artefacts and releases below one directory."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from treasure.config.release import ReleaseConfig
from treasure.release.build import build_release
from treasure.store import checksums
from treasure.tokens.table import TokenMetadata, TokenWriter, schema

VOCABULARY = 64
FINGERPRINT = "5f" * 32
SPLITS = ("train", "val", "test")

Columns = dict[str, Any]


def token_columns(
    rows: int, *, seed: int = 0, label: int = 0, first_event: int = 0, codebooks: int = 1
) -> Columns:
    """Rows of two jets an event, with random tokens and the splits 70 : 10 : 20 by event."""
    rng = np.random.default_rng([seed, abs(label)])
    counts = rng.integers(1, 12, rows)
    ids = rng.integers(0, VOCABULARY, (counts.sum(), codebooks)).astype(np.int32)
    event = first_event + np.arange(rows) // 2
    tokens = np.split(ids[:, 0] if codebooks == 1 else ids, np.cumsum(counts)[:-1])
    return {
        "run": np.ones(rows, np.int64),
        "luminosityBlock": np.ones(rows, np.int64),
        "event": event,
        "jet_index": np.arange(rows, dtype=np.int32) % 2,
        "label": np.full(rows, label, np.int32),
        "split": [SPLITS[0 if e % 10 < 7 else 1 if e % 10 < 8 else 2] for e in event],
        "jet_pt": rng.uniform(300, 900, rows).astype(np.float32),
        "jet_eta": rng.uniform(-2.5, 2.5, rows).astype(np.float32),
        "jet_phi": rng.uniform(-np.pi, np.pi, rows).astype(np.float32),
        "jet_msoftdrop": rng.uniform(0, 200, rows).astype(np.float32),
        "n_constituents": counts.astype(np.int32),
        "tokens": [row.tolist() for row in tokens] if rows else [],
    }


def token_rows(columns: Columns, codebooks: int = 1) -> pa.Table:
    wanted = schema(codebooks)
    arrays = []
    for field in wanted:
        values = columns[field.name]
        dictionary = pa.types.is_dictionary(field.type)
        array = pa.array(values, type=pa.string() if dictionary else field.type)
        arrays.append(array.dictionary_encode().cast(field.type) if dictionary else array)
    return pa.table(arrays, schema=wanted)


def write_shard(
    path: Path,
    columns: Columns,
    *,
    codebooks: int = 1,
    fingerprint: str = FINGERPRINT,
    row_group: int = 1_000,
) -> Path:
    metadata = TokenMetadata(
        dataset=path.parent.name,
        tokenizer_fingerprint=fingerprint,
        vocabulary={"size": VOCABULARY, "codebooks": codebooks, "specials": {}},
        features=["log_pt", "delta_eta"],
        source_file=path.name.replace("_tokenized.parquet", ".h5"),
        source_checksum="00" * 32,
    )
    with TokenWriter(path, metadata, row_group) as writer:
        writer.write(token_rows(columns, codebooks), clipped_particles=1)
    return path


def write_plain(path: Path, columns: Columns, codebooks: int = 1) -> Path:
    """A parquet file of token rows that nothing has looked at, with any content."""
    pq.write_table(token_rows(columns, codebooks), path)
    return path


def contents(directory: Path) -> dict[str, bytes]:
    """All files below a directory."""
    return {
        p.relative_to(directory).as_posix(): p.read_bytes()
        for p in sorted(directory.rglob("*"))
        if p.is_file()
    }


class Workshop:
    def __init__(self, path: Path) -> None:
        self.path = path

    def shard(
        self,
        dataset: str,
        stem: str,
        rows: int,
        *,
        change: Callable[[Columns], None] | None = None,
        fingerprint: str = FINGERPRINT,
        **options: int,
    ) -> Path:
        columns = token_columns(rows, **options)
        if change:
            change(columns)
        path = self.path / "shards" / dataset / f"{stem}_tokenized.parquet"
        codebooks = options.get("codebooks", 1)
        return write_shard(path, columns, codebooks=codebooks, fingerprint=fingerprint)

    def shards(self, rows: int = 60, codebooks: int = 1) -> dict[str, list[Path]]:
        """Two shards of each of two classes."""
        return {
            name: [
                self.shard(
                    name,
                    f"{name}_{i}",
                    rows,
                    label=label,
                    first_event=i * rows,
                    seed=i,
                    codebooks=codebooks,
                )
                for i in range(2)
            ]
            for label, name in enumerate(("qcd", "ttbar"))
        }

    def tokenizer(self, codebooks: int = 1) -> Path:
        directory = self.path / "tokenizer"
        (directory / "figures").mkdir(parents=True, exist_ok=True)
        (directory / "tokenizer.safetensors").write_bytes(bytes(range(256)) * 64)
        (directory / "checkpoint.safetensors").write_bytes(b"unfinished")
        (directory / "manifest.json").write_text("{}")
        (directory / "figures" / "pt.png").write_bytes(b"\x89PNG")
        (directory / "metrics.json").write_text("{}")
        description = {
            "fingerprint": FINGERPRINT,
            "vocabulary": {"size": VOCABULARY, "codebooks": codebooks, "specials": {}},
            "features": {"list": [{"name": "log_pt"}, {"name": "delta_eta"}]},
            "files": {n: checksums(directory / n) for n in ("tokenizer.safetensors",)},
        }
        (directory / "tokenizer.json").write_text(json.dumps(description))
        return directory

    def release(
        self,
        shards: dict[str, list[Path]] | None = None,
        directory: str = "release",
        *,
        version: str = "v1",
        codebooks: int = 1,
        **config: Any,
    ) -> Path:
        path = self.path / directory
        build_release(
            self.shards(codebooks=codebooks) if shards is None else shards,
            self.tokenizer(codebooks),
            path,
            config=ReleaseConfig(**config),
            name="jets",
            version=version,
            provenance={"filesets": {"qcd": [{"uri": "qcd_0.root", "sha256": "00"}]}},
        )
        return path
