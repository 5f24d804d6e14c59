"""Sources of events, registered by kind, and the one function that makes a fileset of any.

A new kind is one class: subclass `FilesetSource`, give it `kind`, decorate it with `register`, and
add its section to `treasure.config.dataset.Source`.
"""

import importlib
import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from treasure.config.dataset import Dataset, FileSource, LocalSource
from treasure.errors import ConfigError, DataError
from treasure.fileset.inspection import inspect_file
from treasure.fileset.known import KnownFiles
from treasure.fileset.locate import locate
from treasure.fileset.model import RUN_ONLY, BadFile, Fileset, FilesetFile, is_url
from treasure.fileset.remote import Unreachable, server_of

__all__ = ["SOURCES", "FilesetSource", "Located", "create_fileset", "register"]

_THREADS = 8  # files opened at once: enough to hide the latency of a server
_SHOWN = 5  # bad files in an error message
_GIVE_UP = 3  # files for which a server does not answer, before the others are not tried
# Kinds whose module is loaded only where they are used.
_MODULES = {"cern_open_data": "treasure.fileset.cern_open_data"}

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Located:
    """A file to open, the name that the fileset gives it, and what a catalogue says of it.

    Attributes
    ----------
    location, uri
        Path or URL to open, and how the fileset names it.
    size, checksum
        Bytes, and ``adler32:<hexadecimal digits>``, as a catalogue gives them; a file that is
        otherwise is a bad one. None: no catalogue has it.
    """

    location: str
    uri: str
    size: int | None = None
    checksum: str | None = None


class FilesetSource(ABC):
    """Where the files of one kind of source are."""

    kind: ClassVar[str]
    tree: str = "Events"
    allowed_bad_files: int = 0
    limit_files: int | None = None
    entry_start: int = 0
    entry_stop: int | None = None

    @abstractmethod
    def __init__(self, dataset: Dataset, simulated: Sequence[Path], base: Path) -> None: ...

    def configured(self, source: FileSource) -> None:
        """Take over what all sources of existing files share."""
        self.tree = source.tree
        self.allowed_bad_files = source.allowed_bad_files
        self.limit_files = source.limit_files
        self.entry_start, self.entry_stop = source.entry_start, source.entry_stop

    @abstractmethod
    def locate(self) -> list[Located]:
        """The files, in the order of the fileset; at least one."""

    def provenance(self) -> dict[str, Any]:
        """Where the files come from, beyond the configuration."""
        return {}

    def luminosity_sections(self) -> dict[str, list[list[int]]] | None:
        """Run -> [[first, last], …] that the files should hold, if the source knows."""
        return None


SOURCES: dict[str, type[FilesetSource]] = {}


def register(source: type[FilesetSource]) -> type[FilesetSource]:
    """Class decorator: make a kind of source known by its `kind`."""
    SOURCES[source.kind] = source
    return source


@register
class SimulationFiles(FilesetSource):
    """Files that the simulation of the same store wrote; named relative to the fileset."""

    kind = "simulation"

    def __init__(self, dataset: Dataset, simulated: Sequence[Path], base: Path) -> None:
        self.simulated = simulated
        self.base = base

    def locate(self) -> list[Located]:
        if not self.simulated:
            raise DataError(
                "no simulated files were handed in for a source of kind 'simulation'; run the"
                " simulation first"
            )
        base = self.base.absolute()
        return [
            Located(
                os.path.normpath(path.absolute()),
                Path(os.path.relpath(path.absolute(), base)).as_posix(),
            )
            for path in self.simulated
        ]

    def provenance(self) -> dict[str, Any]:
        return {"generated_by": "treasure.simulation"}


@register
class LocalFiles(FilesetSource):
    """Files that the user names, on disks and servers; they keep their absolute path or URL."""

    kind = "local"

    def __init__(self, dataset: Dataset, simulated: Sequence[Path], base: Path) -> None:
        if not isinstance(dataset.source, LocalSource):
            raise TypeError(f"source of kind {dataset.source.kind!r}; {self.kind!r} was expected")
        self.patterns = dataset.source.files
        self.configured(dataset.source)

    def locate(self) -> list[Located]:
        return [Located(location, location) for location in locate(self.patterns)]


@register
class XRootDFiles(LocalFiles):
    """The same, ``root://`` alone."""

    kind = "xrootd"


@register
class FsspecFiles(LocalFiles):
    """The same, URLs alone."""

    kind = "fsspec"


def create_fileset(
    dataset_name: str,
    dataset: Dataset,
    *,
    simulated: Sequence[Path] = (),
    base: Path,
    progress: Progress | None = None,
    threads: int = _THREADS,
) -> Fileset:
    """Find the files of a dataset, open each, and describe them.

    Parameters
    ----------
    dataset_name, dataset
        The dataset and its configuration.
    simulated
        For sources of kind "simulation": the files, in the order of their branches.
    base
        Folder of the JSON to be: what relative names start from.
    progress
        Called with (files done, files in all).
    threads
        Files opened at the same time; changes nothing in the result.

    Raises
    ------
    DataError
        If nothing matches, a server does not answer, two files are one, more files are bad than
        `allowed_bad_files`, or the range of entries leaves nothing; the message names files,
        reasons and remedy.
    """
    source = _source_class(dataset_name, dataset)(dataset, simulated, base)
    located = source.locate()[: source.limit_files]
    files, bad = _inspect(located, source, progress, threads)
    if len(bad) > source.allowed_bad_files or not files:
        raise DataError(_complaint(dataset_name, bad, len(located), source.allowed_bad_files))
    _refuse_copies(files)
    fileset = Fileset(
        dataset=dataset_name,
        files=files,
        source=dataset.source.model_dump(mode="json", exclude=set(RUN_ONLY)),
        provenance=source.provenance(),
        luminosity_sections=source.luminosity_sections(),
        bad_files=bad,
        files_per_branch=dataset.files_per_branch,
    )
    if fileset.entries == 0:
        longest = max(file.entries for file in files)
        raise DataError(
            f"{dataset_name}: no file has an entry from {source.entry_start} on, the longest has"
            f" {longest}; lower datasets.{dataset_name}.source.entry_start"
        )
    return fileset


def _source_class(dataset_name: str, dataset: Dataset) -> type[FilesetSource]:
    kind = dataset.source.kind
    if kind in _MODULES:
        importlib.import_module(_MODULES[kind])
    if kind not in SOURCES:
        raise ConfigError(
            f"datasets.{dataset_name}.source.kind: {kind!r}; one of {', '.join(sorted(SOURCES))}"
        )
    return SOURCES[kind]


def _inspect(
    located: list[Located], source: FilesetSource, progress: Progress | None, threads: int
) -> tuple[list[FilesetFile], list[BadFile]]:
    known = KnownFiles()
    outcome: list[FilesetFile | BadFile | None] = [None] * len(located)
    silent: Counter[str] = Counter()  # server -> files in a row for which it did not answer

    def inspect(file: Located) -> FilesetFile | BadFile:
        server = server_of(file.location) if is_url(file.location) else ""
        if silent[server] >= _GIVE_UP:
            reason = f"{file.location}: not tried; {server} did not answer for other files"
            return BadFile(uri=file.uri, reason=reason)
        try:
            found = inspect_file(
                file.location,
                source.tree,
                file.uri,
                size=file.size,
                checksum=file.checksum,
                entry_start=source.entry_start,
                entry_stop=source.entry_stop,
                known=known,
            )
        except Unreachable as error:
            silent[server] += 1
            return BadFile(uri=file.uri, reason=str(error))
        except DataError as error:
            return BadFile(uri=file.uri, reason=str(error))
        silent[server] = 0
        return found

    with ThreadPoolExecutor(max_workers=max(1, min(threads, len(located)))) as pool:
        futures = {pool.submit(inspect, file): number for number, file in enumerate(located)}
        for done, future in enumerate(as_completed(futures), 1):
            outcome[futures[future]] = future.result()
            if progress is not None:
                progress(done, len(located))
    known.save()
    return (
        [item for item in outcome if isinstance(item, FilesetFile)],
        [item for item in outcome if isinstance(item, BadFile)],
    )


def _complaint(dataset_name: str, bad: list[BadFile], total: int, allowed: int) -> str:
    if total == 1:
        return bad[0].reason
    reasons = [f"  {file.reason}" for file in bad[:_SHOWN]]
    if len(bad) > _SHOWN:
        reasons.append(f"  ... and {len(bad) - _SHOWN} more")
    head = (
        f"{dataset_name}: {len(bad)} of {total} files cannot be used; allowed are {allowed}"
        f" (datasets.{dataset_name}.source.allowed_bad_files):"
    )
    return "\n".join([head, *reasons])


def _refuse_copies(files: list[FilesetFile]) -> None:
    """One file under two names would count every event twice."""
    seen: dict[tuple[int, str], FilesetFile] = {}
    for file in files:
        first = seen.setdefault((file.size, file.uuid), file)
        if first is file:
            continue
        if first.checksum is None or file.checksum is None or file.checksum == first.checksum:
            raise DataError(
                f"{file.uri}: holds the same bytes as {first.uri}, so that its events would count"
                " twice; take one off the list"
            )
