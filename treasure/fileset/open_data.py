"""What a record of the CERN Open Data portal tells beyond its files: provenance, validated runs.

A record is looked up in the portal itself (`treasure.fileset.portal`) or in a folder on disk
(`treasure.fileset.record_folder`). Both give the same.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from treasure.errors import DataError
from treasure.fileset.locate import anchored
from treasure.fileset.portal import ADDRESS, Missing, Portal, parse_adler32
from treasure.fileset.record import Catalogue, Record, file_uri
from treasure.fileset.record_folder import RecordFolder
from treasure.store import read_json

__all__ = ["Sections", "open_catalogue", "processed_sections", "provenance", "validated_runs"]

Sections = dict[str, list[list[int]]]  # run -> [[first, last], …], as in CMS JSON files

_PROCESSED = "processedLumis.json"


def open_catalogue(
    portal: str = ADDRESS, *, folder: str | None = None, offline: bool = False
) -> Catalogue:
    """The folder on disk if one is given, else the portal."""
    if folder is not None:
        return RecordFolder(Path(anchored(folder)))
    return Portal(portal, offline=offline)


def validated_runs(
    record: int,
    adler32: str | None = None,
    *,
    portal: str = ADDRESS,
    folder: str | None = None,
    offline: bool = False,
) -> Path:
    """The JSON file of validated runs of a record, such as 14220 for 2016, checked.

    Parameters
    ----------
    record
        Number of the record.
    adler32
        What the file's Adler-32 has to be, in hexadecimal, beside what the record says.
    portal, folder, offline
        Where the record is looked up, as in `open_catalogue`; without a folder the file is in the
        cache, and asked for once.

    Raises
    ------
    Missing
        If there is no such record, or it must not be asked for and is not in the cache.
    DataError
        If the file has another checksum, or the portal does not answer.
    """
    wanted = parse_adler32(adler32)
    return _validated_runs(open_catalogue(portal, folder=folder, offline=offline), record, wanted)


def _validated_runs(catalogue: Catalogue, number: int, adler32: int | None) -> Path:
    try:
        record = Record(catalogue, number)
    except Missing:
        # Without its record, a file on disk can still be known by the checksum.
        if isinstance(catalogue, RecordFolder) and adler32 is not None:
            path = catalogue.by_checksum(adler32)
            if path is not None:
                return path
        raise
    entries = [e for e in record.attached if re.search(r"(?i)json(\.txt)?$", file_uri(e))]
    if not entries:
        raise DataError(f"{record} lists no JSON file; a record of validated runs was expected")
    fitting = [e for e in entries if adler32 in (None, parse_adler32(e.get("checksum")))]
    if len(fitting) != 1:
        listed = ", ".join(f"{file_uri(e)} ({e.get('checksum')})" for e in entries)
        raise DataError(
            f"{record}: one JSON file"
            + (f" with adler32 {adler32:08x}" if adler32 is not None else "")
            + f" was expected, it lists {listed}; correct selection.golden_json_adler32"
        )
    return record.fetch(fitting[0])


def provenance(record: Record) -> dict[str, Any]:
    """What a fileset says of where its files are from; the same from portal and folder."""
    parent = record.parent
    described = [record, *([parent] if parent else [])]
    details = [one.metadata.get("system_details") or {} for one in described]
    return {
        "record": record.number,
        "url": f"{ADDRESS}/record/{record.number}",
        "title": record.title,
        "doi": record.metadata.get("doi"),
        "events": record.events,
        "number_files": record.number_of_files,
        "formats": record.formats,
        "run_period": _first(one.metadata.get("run_period") for one in described) or [],
        "global_tag": _first(detail.get("global_tag") for detail in details),
        "validated_runs": record.validated_run_records,
        "licence": (record.metadata.get("license") or {}).get("attribution"),
        "parent": record.parent_number
        and {
            "record": record.parent_number,
            "title": parent and parent.title,
            "doi": parent and parent.metadata.get("doi"),
            "events": parent and parent.events,
        },
        "notes": record.notes,
    }


def processed_sections(record: Record) -> tuple[Sections, str]:
    """The luminosity sections that the files should hold, and who says so.

    Those that the record itself lists as processed; else those of its validated runs, for the
    runs that it, or its parent, says to hold.

    Raises
    ------
    Missing
        If that is not known, or not to be had.
    """
    for entry in record.attached:
        if file_uri(entry).endswith(_PROCESSED):
            return _read_sections(record.fetch(entry)), f"{_PROCESSED} of record {record.number}"
    if not record.validated_run_records:
        raise Missing(f"{record} names no list of validated runs")
    number = record.validated_run_records[0]
    validated = _read_sections(_validated_runs(record.catalogue, number, None))
    for holder in (record, record.parent):
        runs = holder.runs(validated) if holder else None
        if holder and runs is not None:
            said = f"validated runs (record {number}) of the runs of record {holder.number}"
            return {run: validated[run] for run in sorted(runs, key=int)}, said
    raise Missing(f"{record}: neither it nor its parent is at hand with the runs that it holds")


def _read_sections(path: Path) -> Sections:
    content = read_json(path)
    try:
        return {
            str(int(run)): [[int(first), int(last)] for first, last in sections]
            for run, sections in content.items()
        }
    except (AttributeError, TypeError, ValueError):
        raise DataError(
            f'{path}: no list of luminosity sections ({{"run": [[first, last], ...]}} was expected)'
        ) from None


def _first(values: Iterable[Any]) -> Any:
    return next((value for value in values if value), None)
