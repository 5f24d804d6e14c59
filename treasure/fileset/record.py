"""One record of the CERN Open Data portal: what it is, and which files it stands for."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from treasure.errors import DataError
from treasure.fileset.portal import ADDRESS, Missing, parse_adler32, record_number
from treasure.store import read_json

__all__ = ["Catalogue", "Record", "RecordFile", "file_uri"]

_TAPE = "on demand"
_INDEX, _INDEX_TEXT = "_file_index.json", "_file_index.txt"
# Tiers that hold objects of CMSSW, which no ROOT reader knows without it.
_OF_CMSSW = {"miniaod": "MiniAOD", "aod": "AOD", "reco": "RECO", "raw": "RAW"}
# MiniAOD record -> PFNano record made of it, for the records whose relation is known.
_PFNANO = {30507: 31307, 30508: 31308, 30509: 31309, 30516: 31316}


class Catalogue(Protocol):
    """Where records are looked up."""

    def record(self, number: int, *, anew: bool = False) -> dict[str, Any]:
        """Metadata of a record, asked `anew` where answers are kept; raises `Missing`."""

    def record_by_doi(self, doi: str) -> dict[str, Any]:
        """Metadata of the record with a DOI; raises `Missing`."""

    def file(self, uri: str, size: int | None, adler32: int | None) -> Path:
        """A small file that a record lists, checked; raises `Missing`."""


@dataclass(frozen=True, slots=True)
class RecordFile:
    """A data file of a record: bytes and Adler-32 as far as the record says them."""

    uri: str
    size: int | None
    adler32: int | None
    on_tape: bool = False


class Record:
    """One record of the portal.

    Parameters
    ----------
    catalogue
        Where this record, its parent, and its file indexes are looked up.
    name
        Its number, or its DOI in any of the usual spellings.

    Raises
    ------
    Missing
        If there is no such record.
    DataError
        If the name is neither a number nor a DOI, or the portal does not answer.
    """

    def __init__(self, catalogue: Catalogue, name: int | str) -> None:
        self.catalogue = catalogue
        doi = _doi(name)
        self.metadata = (
            catalogue.record(record_number(name)) if doi is None else catalogue.record_by_doi(doi)
        )
        self.number = record_number(self.metadata["recid"])

    def __str__(self) -> str:
        return f"record {self.number} ({self.title})"

    @property
    def title(self) -> str:
        return str(self.metadata.get("title", ""))

    @property
    def formats(self) -> list[str]:
        """Data tiers and file formats, in lower case: ``nanoaod``, ``root``, …"""
        listed = self._distribution.get("formats") or []
        _, slash, tier = self.title.lower().rpartition("/")
        return sorted(
            {*(str(name).lower() for name in listed)}
            | ({tier} if slash and "aod" in tier else set())
        )

    @property
    def events(self) -> int | None:
        return self._distribution.get("number_events")

    @property
    def number_of_files(self) -> int | None:
        return self._distribution.get("number_files")

    @property
    def is_simulation(self) -> bool:
        return "Simulated" in ((self.metadata.get("type") or {}).get("secondary") or [])

    @property
    def _distribution(self) -> dict[str, Any]:
        return self.metadata.get("distribution") or {}

    def require_flat(self) -> None:
        """Refuse what is no flat table.

        Raises
        ------
        DataError
            For MiniAOD and the tiers before it; the message names the PFNano record, if known.
        """
        if any(name.startswith("nanoaod") for name in self.formats):
            return
        for tier, shown in _OF_CMSSW.items():
            if any(name in (tier, f"{tier}sim") for name in self.formats):
                known = _PFNANO.get(self.number)
                instead = f"use its PFNano, record {known}, or make" if known else "make"
                raise DataError(
                    f"{self} is {shown}: objects of CMSSW and no flat"
                    f" table, which uproot cannot read; {instead} PFNano from it with CMSSW"
                    " (github.com/cms-jet/PFNano) and give those files with kind: local"
                )

    def files(self, at_most: int | None = None) -> list[RecordFile]:
        """The ROOT files, sorted by URI, each once; with `at_most`, the first so many.

        Raises
        ------
        DataError
            If there is none, one of these is on tape, or a file index is missing or damaged.
        """
        self.require_flat()
        if not self._listed:
            raise DataError(
                f"{self} lists no ROOT file (formats: {', '.join(self.formats) or 'none'}); a"
                " dataset in PFNano format was expected, such as record 31308"
            )
        files = self._first(at_most)
        if any(file.on_tape for file in files):  # they may have come back since it was asked
            self.metadata = self.catalogue.record(self.number, anew=True)
            del self._listed
            files = self._first(at_most)
        tape = [file for file in files if file.on_tape]
        if tape:
            raise DataError(
                f"{self}: {len(tape)} of {len(files)} files are on tape (availability 'on demand'),"
                f" such as {tape[0].uri}; request them on the record's page,"
                f" {ADDRESS}/record/{self.number}, and run again when they are online"
            )
        return files

    def _first(self, at_most: int | None) -> list[RecordFile]:
        return [self._listed[uri] for uri in sorted(self._listed)][:at_most]

    @property
    def notes(self) -> list[str]:
        """What a user should know of the files, beside what the record says."""
        notes = []
        if self.number_of_files not in (None, len(self._listed)):
            notes.append(
                f"{len(self._listed)} files are listed, the record speaks of {self.number_of_files}"
            )
        if "nanoaod" in self.formats and "nanoaod-pf" not in self.formats:
            notes.append(
                "NanoAOD: holds no particle-flow candidates, unless of version 15 or later"
            )
        return notes

    @cached_property
    def _listed(self) -> dict[str, RecordFile]:
        found: dict[str, RecordFile] = {}
        for file in self._listed_files():
            known = found.setdefault(file.uri, file)
            if _differ(known.size, file.size) or _differ(known.adler32, file.adler32):
                raise DataError(
                    f"{file.uri}: listed twice by {self}, with other sizes or checksums; tell the"
                    " portal"
                )
        return found

    def _listed_files(self) -> Iterator[RecordFile]:
        indices = self.metadata.get("_file_indices") or []
        entries = [entry for index in indices for entry in index.get("files") or []]
        entries = entries or self.attached
        if any(file_uri(entry).endswith(".root") for entry in entries):
            yield from (_file(entry) for entry in entries if file_uri(entry).endswith(".root"))
            return
        # The text indexes list the same files as the JSON ones, without checksums.
        for ending in (_INDEX, _INDEX_TEXT):
            chosen = [entry for entry in self.attached if file_uri(entry).endswith(ending)]
            for entry in chosen:
                yield from _read_index(self.fetch(entry))
            if chosen:
                return

    @property
    def attached(self) -> list[dict[str, Any]]:
        """Entries of the small files that belong to the record: indexes, lists of runs."""
        return [*(self.metadata.get("files") or []), *(self.metadata.get("index_files") or [])]

    def fetch(self, entry: dict[str, Any]) -> Path:
        """Such a file, checked; raises `Missing` or `DataError`."""
        checksum = parse_adler32(entry.get("checksum"))
        return self.catalogue.file(file_uri(entry), entry.get("size"), checksum)

    @property
    def parent_number(self) -> int | None:
        """The MiniAOD record from which this one was made, if it says so."""
        if any(name.startswith("miniaod") for name in self.formats):
            return None
        # `type` cannot tell the direction: derived datasets say of themselves that they are a child
        # of the other record, primary ones say it of the other record.
        for relation in self.metadata.get("relations") or []:
            words = str(relation.get("description", "")).lower()
            if "derived from" in words or "miniaod" in words:
                return record_number(relation.get("recid"))
        return None

    @cached_property
    def parent(self) -> "Record | None":
        """The record from which this one was made; None if unknown, or not to be had."""
        if self.parent_number is None:
            return None
        try:
            return Record(self.catalogue, self.parent_number)
        except Missing:
            return None

    @property
    def validated_run_records(self) -> list[int]:
        """Numbers of the records that list the validated runs; the full validation first."""
        entries = self.metadata.get("validated_runs") or []
        full_first = sorted(entries, key=lambda entry: entry.get("validation") != "full")
        return [record_number(entry["recid"]) for entry in full_first]

    def runs(self, among: Iterable[str]) -> list[str] | None:
        """The runs among some that this record holds; None if it does not say."""
        listed = {str(run) for run in self.metadata.get("run_numbers") or []}
        if listed:
            return [run for run in among if run in listed]
        words = str((self.metadata.get("abstract") or {}).get("description", ""))
        period = re.search(r"run number (\d+) to (\d+)", words)
        if period is None:
            return None
        return [run for run in among if int(period[1]) <= int(run) <= int(period[2])]


def _doi(name: int | str) -> str | None:
    """The bare DOI in a name, if it is one."""
    found = re.search(r"10\.\d{4,9}/\S+$", str(name).strip())
    return found[0] if found else None


def file_uri(entry: dict[str, Any]) -> str:
    """The name of a file in an entry of a record or file index."""
    return str(entry.get("uri") or entry.get("uri_root") or "")


def _file(entry: dict[str, Any]) -> RecordFile:
    return RecordFile(
        uri=file_uri(entry),
        size=entry.get("size"),
        adler32=parse_adler32(entry.get("checksum")),
        on_tape=entry.get("availability") == _TAPE,
    )


def _read_index(path: Path) -> list[RecordFile]:
    if path.name.endswith(_INDEX_TEXT):
        lines = path.read_text(encoding="utf-8").split()
        return [RecordFile(line, None, None) for line in lines if line.endswith(".root")]
    content = read_json(path)
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
        raise DataError(f"{path}: no file index (a JSON list of files was expected)")
    return [_file(entry) for entry in content if file_uri(entry).endswith(".root")]


def _differ(one: int | None, other: int | None) -> bool:
    return one is not None and other is not None and one != other
