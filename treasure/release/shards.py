"""The shards of a release: which there are, whether they fit together, dividing each once."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from treasure.errors import DataError
from treasure.jets.splits import SPLITS
from treasure.release.divide import divide
from treasure.release.layout import (
    DEFAULT_CONFIGURATION,
    TOKENS,
    check_name,
    check_stems,
    token_file,
)
from treasure.release.manifest import DatasetEntry, ShardEntry
from treasure.store import checksums, read_json, write_json
from treasure.tokens.table import TokenTable

__all__ = ["common_schema", "dataset_entry", "divide_once", "forget_notes", "named_shards"]

# Notes on finished shards, so that an interrupted build goes on where it stopped; gone at the end.
_NOTES = ".build"


def named_shards(shards: Mapping[str, Sequence[Path]]) -> dict[str, dict[str, Path]]:
    """Shards by dataset and stem, sorted, their names checked.

    Raises
    ------
    DataError
        If there are none, or a name is not portable, reserved or there twice.
    """
    if not any(shards.values()):
        raise DataError("release: no token files; expected at least one dataset with one shard")
    for dataset in shards:
        check_name(dataset, "name of a dataset")
        if dataset == DEFAULT_CONFIGURATION:
            raise DataError(
                f"dataset {dataset!r}: this name stands for all datasets of a release together; "
                "choose another"
            )
    return {dataset: check_stems(dataset, shards[dataset]) for dataset in sorted(shards)}


def common_schema(by_dataset: Mapping[str, Mapping[str, Path]], fingerprint: str) -> pa.Schema:
    """Schema of all shards, which must agree with each other and with the tokenizer.

    Raises
    ------
    DataError
        Naming the first shard of another schema or tokenizer.
    """
    first: tuple[Path, pa.Schema] | None = None
    for stems in by_dataset.values():
        for shard in stems.values():
            with TokenTable(shard) as table:
                made_by = table.metadata.tokenizer_fingerprint
            schema = pq.read_schema(shard)
            if made_by != fingerprint:
                raise DataError(
                    f"{shard}: tokens of tokenizer {made_by}, but the release has "
                    f"{fingerprint}; tokenize this shard with it"
                )
            first = first or (shard, schema)
            if not schema.equals(first[1], check_metadata=False):
                raise DataError(
                    f"{shard}: columns {_text(schema)}; expected those of {first[0]}: "
                    f"{_text(first[1])}"
                )
    assert first is not None  # there is at least one shard
    return first[1]


def _text(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)


def divide_once(directory: Path, dataset: str, stem: str, shard: Path) -> dict[str, Any]:
    """Divide a shard by split, unless an interrupted build did: its files are then checked.

    Returns
    -------
    `sha256` of the shard, `rows` and `labels` by split, and `files`: entries of the manifest.
    """
    note = directory / _NOTES / dataset / f"{stem}.json"
    sha256 = checksums(shard)["sha256"]
    if note.is_file():
        record: dict[str, Any] = read_json(note)
        if record["sha256"] == sha256 and _intact(directory, record["files"]):
            return record
    rows, labels = divide(shard, lambda split: directory / token_file(dataset, split, stem))
    files = {}
    for split, count in rows.items():
        path = token_file(dataset, split, stem)
        if count:
            files[path] = {
                **checksums(directory / path),
                "rows": count,
                "schema": TOKENS,
                "dataset": dataset,
                "split": split,
                "shard": stem,
            }
    record = {"sha256": sha256, "rows": rows, "labels": labels, "files": files}
    write_json(note, record)
    return record


def _intact(directory: Path, files: Mapping[str, Mapping[str, Any]]) -> bool:
    return all(
        (directory / path).is_file() and checksums(directory / path)["sha256"] == file["sha256"]
        for path, file in files.items()
    )


def dataset_entry(divided: Mapping[str, Mapping[str, Any]]) -> DatasetEntry:
    """Summary of a dataset from what `divide_once` returned for its stems."""
    labels: dict[str, dict[str, int]] = {split: {} for split in SPLITS}
    for record in divided.values():
        for split, counts in record["labels"].items():
            for label, count in counts.items():
                labels[split][label] = labels[split].get(label, 0) + count
    return DatasetEntry(
        rows={split: sum(r["rows"][split] for r in divided.values()) for split in SPLITS},
        labels={split: dict(sorted(counts.items())) for split, counts in labels.items()},
        shards={
            stem: ShardEntry(sha256=record["sha256"], rows=record["rows"])
            for stem, record in divided.items()
        },
    )


def forget_notes(directory: Path) -> None:
    """Remove the notes of `divide_once` from a finished release."""
    for note in sorted((directory / _NOTES).rglob("*.json")):
        note.unlink()
