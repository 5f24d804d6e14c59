"""Skim a group of files: verify them, run the processor over their chunks, account for all."""

import uuid
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from coffea.processor import IterativeExecutor, Runner, accumulate

from treasure.config.dataset import Dataset
from treasure.config.selection import Selection
from treasure.errors import DataError, TreasureError
from treasure.fileset.model import FilesetFile, is_url
from treasure.skim.layouts import branches_to_read
from treasure.skim.parts import CUTFLOW
from treasure.skim.processor import SkimProcessor, SkimSchema
from treasure.store import write_json

__all__ = ["skim_files"]

_REMOTE_RETRIES = 2

Progress = Callable[[int, int], None]


class _SilentExecutor(IterativeExecutor):
    """One chunk after the other; coffea's own draws a progress bar that cannot be switched off."""

    def __call__(self, items: Any, function: Any, accumulator: Any) -> Any:
        return accumulate(map(function, items), accumulator), 0


def skim_files(
    files: Sequence[FilesetFile],
    dataset_name: str,
    dataset: Dataset,
    selection: Selection,
    directory: Path,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Select the jets of some files.

    Parameters
    ----------
    files
        One group of a fileset.
    dataset_name, dataset, selection
        What they are, and what to keep.
    directory
        Gets ``part_*.parquet`` (`treasure.skim.parts.SCHEMA`), and ``cutflow.json`` last.
    progress
        Called with (chunks done, chunks in all).

    Returns
    -------
    The content of ``cutflow.json``: parts, counts, cutflow, files, and what was not as usual.

    Raises
    ------
    DataError
        If a file changed since the fileset was made, is damaged, or lacks what the selection needs;
        and if a chunk was lost.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for file in files:
        _check_size(file)
    remote = any(is_url(file.location) for file in files)
    runner = Runner(
        executor=_SilentExecutor(retries=_REMOTE_RETRIES if remote else 0),
        schema=SkimSchema,
        chunksize=selection.events_per_chunk,
        skipbadfiles=False,
        metadata_cache={},  # the default one outlives this call, and would not see a changed file
        processor_compression=None,  # run this very instance: it tells the progress
    )
    chunks = _chunks(runner, files, dataset_name)
    finished = 0

    def chunk_done() -> None:
        nonlocal finished
        finished += 1
        if progress is not None:
            progress(min(finished, len(chunks)), len(chunks))

    numbers = {file.location: number for number, file in enumerate(files)}
    processor = SkimProcessor(dataset, selection, directory, numbers, chunk_done)
    with warnings.catch_warnings():
        # Counters and collections of branches that are left aside.
        warnings.filterwarnings("ignore", module="coffea.nanoevents")
        try:
            # Trees of the experiments have thousands of branches more than are read.
            wanted = {"filter_name": branches_to_read(dataset.layout)}
            result = runner.run(chunks, processor_instance=processor, iteritems_options=wanted)
        except Exception as error:
            raise _explained(error, files) from error
    lost = set(chunks) - set(result["processed"])
    if lost:
        first = min(lost, key=lambda chunk: (numbers[chunk.filename], chunk.entrystart))
        raise DataError(
            f"{first.filename}: {len(lost)} of {len(chunks)} chunks were not processed, the first"
            f" from entry {first.entrystart}; run again"
        )
    summary = _summary(result["out"], files, dataset_name, dataset, selection)
    write_json(directory / CUTFLOW, summary)
    return summary


def _changed(file: FilesetFile, what: str, now: object, then: object) -> DataError:
    return DataError(
        f"{file.location}: file changed since the fileset was made: {what} is {now}, was {then};"
        " make the fileset again with CreateFileset"
    )


def _check_size(file: FilesetFile) -> None:
    if is_url(file.location):
        from treasure.fileset.xrootd import remote_file

        size = remote_file(file.location).size
    else:
        path = Path(file.location)
        if not path.is_file():
            raise DataError(
                f"{path}: no such file, but the fileset lists it; bring it back, or make the"
                " fileset again with CreateFileset"
            )
        size = path.stat().st_size
    if size != file.size:
        raise _changed(file, "size", size, file.size)


def _chunks(runner: Runner, files: Sequence[FilesetFile], dataset_name: str) -> list[Any]:
    """Work items of all files, whose UUID and entries are those of the fileset."""
    named = {dataset_name: {"files": {file.location: file.tree for file in files}}}
    try:
        chunks = list(runner.preprocess(named))
    except Exception as error:
        raise _explained(error, files) from error
    for file in files:
        of_file = [chunk for chunk in chunks if chunk.filename == file.location]
        found = {str(uuid.UUID(bytes=chunk.fileuuid)) for chunk in of_file}
        if found != {file.uuid}:
            raise _changed(file, "UUID", ", ".join(sorted(found)) or "unknown", file.uuid)
        entries = sum(len(chunk) for chunk in of_file)
        if entries != file.entries:
            raise _changed(file, "number of entries", entries, file.entries)
    return chunks


def _explained(error: Exception, files: Sequence[FilesetFile]) -> TreasureError:
    """What went wrong, out of the layers that coffea puts around it."""
    cause: BaseException | None = error
    innermost: BaseException = error
    while cause is not None:
        if isinstance(cause, TreasureError):
            return cause
        innermost = cause
        cause = cause.__cause__
    where = [file.location for file in files if file.location in str(error)]
    name = where[0] if where else ", ".join(file.location for file in files)
    text = " ".join(f"{type(innermost).__name__}: {innermost}".split())[:300]
    return DataError(
        f"{name}: cannot be read ({text}); the file may be damaged: compare its checksum with the"
        " fileset, copy or make it again"
    )


def _summary(
    out: dict[str, Any],
    files: Sequence[FilesetFile],
    dataset_name: str,
    dataset: Dataset,
    selection: Selection,
) -> dict[str, Any]:
    cutflow = [{"cut": name, **counts} for name, counts in out["cutflow"].items()]
    parts = dict(sorted(out["parts"].items()))
    return {
        "dataset": dataset_name,
        "is_mc": dataset.is_mc,
        "layouts": sorted(out["layouts"]),
        "chunks": out["chunks"],
        "parts": list(parts),
        "rows": parts,
        "events": cutflow[0]["events"],
        "jets": cutflow[-1]["jets"],
        "cutflow": cutflow,
        # path -> how many files lack it; there it counted as not fired
        "missing_triggers": {
            path: len(where) for path, where in sorted(out["missing_triggers"].items())
        },
        "absent_columns": dict(sorted(item.split("=", 1) for item in out["absent_columns"])),
        "replaced_values": dict(sorted(out["replaced_values"].items())),
        "jets_with_candidates_left_out": out["jets_with_candidates_left_out"],
        "files": [file.model_dump(mode="json") for file in files],
        "selection": selection.model_dump(mode="json"),
    }
