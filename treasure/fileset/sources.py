"""Sources of events, registered by kind, and the one function that makes a fileset of any.

A new kind is one class: subclass `FilesetSource`, give it `kind`, decorate it with `register`, and
add its section to `treasure.config.dataset.Source`.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from treasure.config.dataset import Dataset, LocalSource
from treasure.errors import ConfigError, DataError
from treasure.fileset.inspection import inspect_file
from treasure.fileset.locate import locate
from treasure.fileset.model import BadFile, Fileset, FilesetFile

__all__ = ["SOURCES", "FilesetSource", "Located", "create_fileset", "register"]

_THREADS = 8  # files opened at once: enough to hide the latency of a server
_SHOWN = 5  # bad files in an error message

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Located:
    """A file to open, and the name that the fileset gives it."""

    location: str
    uri: str


class FilesetSource(ABC):
    """Where the files of one kind of source are."""

    kind: ClassVar[str]
    tree: str = "Events"
    allowed_bad_files: int = 0

    @abstractmethod
    def __init__(self, dataset: Dataset, simulated: Sequence[Path], base: Path) -> None: ...

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
    """Files that the user names; they keep their absolute path or URL."""

    kind = "local"

    def __init__(self, dataset: Dataset, simulated: Sequence[Path], base: Path) -> None:
        if not isinstance(dataset.source, LocalSource):
            raise TypeError(f"source of kind {dataset.source.kind!r}; 'local' was expected")
        self.patterns = dataset.source.files
        self.tree = dataset.source.tree
        self.allowed_bad_files = dataset.source.allowed_bad_files

    def locate(self) -> list[Located]:
        return [Located(location, location) for location in locate(self.patterns)]


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
        If nothing matches, a server does not answer, two files hold the same bytes, or more files
        are bad than `allowed_bad_files`; the message names files, reasons and remedy.
    """
    kind = dataset.source.kind
    if kind not in SOURCES:
        raise ConfigError(
            f"datasets.{dataset_name}.source.kind: {kind!r}; one of {', '.join(sorted(SOURCES))}"
        )
    source = SOURCES[kind](dataset, simulated, base)
    located = source.locate()
    files, bad = _inspect(located, source.tree, progress, threads)
    if len(bad) > source.allowed_bad_files or not files:
        raise DataError(_complaint(dataset_name, bad, len(located), source.allowed_bad_files))
    _refuse_copies(files)
    return Fileset(
        dataset=dataset_name,
        files=files,
        source=dataset.source.model_dump(mode="json"),
        provenance=source.provenance(),
        luminosity_sections=source.luminosity_sections(),
        bad_files=bad,
    )


def _inspect(
    located: list[Located], tree: str, progress: Progress | None, threads: int
) -> tuple[list[FilesetFile], list[BadFile]]:
    outcome: list[FilesetFile | BadFile | None] = [None] * len(located)
    with ThreadPoolExecutor(max_workers=max(1, min(threads, len(located)))) as pool:
        futures = {
            pool.submit(inspect_file, file.location, tree, file.uri): number
            for number, file in enumerate(located)
        }
        for done, future in enumerate(as_completed(futures), 1):
            number = futures[future]
            try:
                outcome[number] = future.result()
            except DataError as error:
                outcome[number] = BadFile(uri=located[number].uri, reason=str(error))
            if progress is not None:
                progress(done, len(located))
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
    """The same bytes under two names would count every event twice."""
    seen: dict[tuple[int, str, str], str] = {}
    for file in files:
        if file.checksum is None:
            continue
        first = seen.setdefault((file.size, file.checksum, file.uuid), file.uri)
        if first != file.uri:
            raise DataError(
                f"{file.uri}: holds the same bytes as {first}, so that its events would count"
                " twice; take one off the list"
            )
