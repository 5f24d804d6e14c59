"""Building a release: token shards and their tokenizer in, a complete release directory out."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from treasure.config.release import ReleaseConfig
from treasure.errors import DataError
from treasure.release.card import citation, dataset_card
from treasure.release.columns import column_description, type_name
from treasure.release.croissant import croissant
from treasure.release.layout import (
    CARD,
    CHECKSUMS,
    CROISSANT,
    READINESS_JSON,
    READINESS_PAGE,
    TOKENS,
    check_name,
)
from treasure.release.manifest import (
    Column,
    DatasetEntry,
    FileEntry,
    Manifest,
    software,
    without_machine_paths,
)
from treasure.release.readiness import measure_readiness
from treasure.release.readiness_page import write_readiness_page
from treasure.release.readiness_report import ReadinessReport
from treasure.release.shards import (
    common_schema,
    dataset_entry,
    divide_once,
    forget_notes,
    named_shards,
)
from treasure.release.tokenizer import copy_tokenizer, describe_tokenizer
from treasure.store import (
    MANIFEST,
    discard_leftovers,
    write_json,
    write_text,
)

__all__ = ["build_release"]


def build_release(
    shards: Mapping[str, Sequence[Path]],
    tokenizer_directory: Path,
    directory: Path,
    *,
    config: ReleaseConfig,
    name: str,
    version: str,
    provenance: Mapping[str, Any],
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Build a release directory; its manifest is written last.

    The same input gives the same bytes. An interrupted build is resumed by calling again with the
    same arguments; a complete release in `directory` is built anew.

    Parameters
    ----------
    shards
        Token files (`<stem>_tokenized.parquet`) by name of the dataset.
    tokenizer_directory
        Artefact of the tokenizer that made them.
    directory
        Where the release goes: new, or left by an earlier build.
    config
        Title, licence, authors, thresholds of the readiness report and so on.
    name, version
        Of the release.
    provenance
        JSON values that go into the manifest; absolute paths are cut to the name of the file.
    progress
        Called with (shards done, shards in all).

    Returns
    -------
    Summary: `rows` (by dataset and split), `files`, `bytes`, `readiness` (verdict by item) and
    `verdict`.

    Raises
    ------
    DataError
        If a shard is missing, damaged, of another schema or of another tokenizer; if names are not
        portable or clash; if `directory` holds files that are not of this release; if a readiness
        item fails and the configuration enforces them.
    """
    check_name(name, "name of the release")
    check_name(version, "version of the release")
    by_dataset = named_shards(shards)
    directory, tokenizer_directory = Path(directory), Path(tokenizer_directory)
    discard_leftovers(directory)
    (directory / MANIFEST).unlink(missing_ok=True)

    tokenizer = describe_tokenizer(tokenizer_directory)
    schema = common_schema(by_dataset, tokenizer.fingerprint)

    files: dict[str, FileEntry] = {}
    datasets: dict[str, DatasetEntry] = {}
    done, total = 0, sum(map(len, by_dataset.values()))
    for dataset, stems in by_dataset.items():
        divided: dict[str, dict[str, Any]] = {}
        for stem, shard in stems.items():
            divided[stem] = divide_once(directory, dataset, stem, shard)
            done += 1
            if progress:
                progress(done, total)
        datasets[dataset] = dataset_entry(divided)
        for record in divided.values():
            files |= {p: FileEntry.model_validate(f) for p, f in record["files"].items()}
    if not files:
        raise DataError(f"release {name}: none of {total} shards has a row; nothing to release")
    for path in copy_tokenizer(tokenizer_directory, directory):
        files[path] = FileEntry.of(directory / path)

    report = _readiness(directory, files, by_dataset, config, tokenizer.vocabulary_size, name)
    for path in (READINESS_JSON, READINESS_PAGE):
        files[path] = FileEntry.of(directory / path)

    manifest = Manifest(
        name=name,
        version=version,
        title=config.title,
        description=config.description,
        licence=config.licence,
        authors=config.authors,
        year=config.year,
        date_published=config.date_published,
        citation=config.citation
        or citation(name, config.title, config.authors, config.year, version, config.url),
        url=config.url,
        derived_from=config.derived_from,
        keywords=config.keywords,
        row=config.row,
        datasets=datasets,
        schemas={TOKENS: _columns(schema)},
        tokenizer=tokenizer,
        readiness={item.id: item.verdict for item in report.items},
        provenance=without_machine_paths(dict(provenance)),
        files=dict(sorted(files.items())),
        software=software(),
    )
    manifest = _write_metadata(directory, manifest)
    forget_notes(directory)
    _remove_empty_folders(directory)
    _refuse_strangers(directory, {*manifest.files, MANIFEST})
    write_json(directory / MANIFEST, manifest.content())
    return {
        "rows": {dataset: entry.rows for dataset, entry in datasets.items()},
        "files": len(manifest.files),
        "bytes": sum(file.size for file in manifest.files.values()),
        "readiness": manifest.readiness,
        "verdict": report.verdict,
    }


def _columns(schema: pa.Schema) -> list[Column]:
    return [
        Column(name=field.name, type=type_name(field.type), description=column_description(field))
        for field in schema
    ]


def _readiness(
    directory: Path,
    files: Mapping[str, FileEntry],
    datasets: Mapping[str, object],
    config: ReleaseConfig,
    vocabulary_size: int | None,
    name: str,
) -> ReadinessReport:
    tables = {
        dataset: [directory / path for path, file in files.items() if file.dataset == dataset]
        for dataset in datasets
    }
    report = measure_readiness(tables, config.readiness, vocabulary_size=vocabulary_size)
    write_json(directory / READINESS_JSON, report.model_dump(mode="json"))
    write_readiness_page(report, config.title, directory / READINESS_PAGE)
    if config.readiness.enforce and report.verdict == "fail":
        failed = [item.title for item in report.items if item.verdict == "fail"]
        raise DataError(
            f"release {name}: not AI-ready ({', '.join(failed)}); see "
            f"{directory / READINESS_PAGE}, mend the data or change release.readiness"
        )
    return report


def _write_metadata(directory: Path, manifest: Manifest) -> Manifest:
    """Write what is made from the manifest, and list it there."""

    def listed(manifest: Manifest, path: str) -> Manifest:
        entry = FileEntry.of(directory / path)
        return manifest.model_copy(
            update={"files": dict(sorted({**manifest.files, path: entry}.items()))}
        )

    text = json.dumps(croissant(manifest), indent=2, ensure_ascii=False)
    write_text(directory / CROISSANT, text + "\n")
    manifest = listed(manifest, CROISSANT)
    write_text(directory / CARD, dataset_card(manifest))
    manifest = listed(manifest, CARD)
    lines = [f"{file.sha256}  {path}\n" for path, file in manifest.files.items()]
    write_text(directory / CHECKSUMS, "".join(lines))
    return listed(manifest, CHECKSUMS)


def _remove_empty_folders(directory: Path) -> None:
    for folder in sorted((p for p in directory.rglob("*") if p.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()


def _refuse_strangers(directory: Path, expected: set[str]) -> None:
    found = {p.relative_to(directory).as_posix() for p in directory.rglob("*") if not p.is_dir()}
    if strangers := sorted(found - expected):
        raise DataError(
            f"{directory / strangers[0]}: not a file of this release ({len(strangers)} such); "
            f"remove {directory} and build again, or choose another directory"
        )
