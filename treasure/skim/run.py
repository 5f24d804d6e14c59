"""Skim a group of files: verify them, run the processor over their chunks, account for all."""

from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from coffea.processor import accumulate

from treasure.config.dataset import Dataset, FileSource
from treasure.config.selection import Selection
from treasure.errors import DataError
from treasure.fileset.model import FilesetFile
from treasure.skim.executors import Executor
from treasure.skim.jobs import Job, Skim, jobs_of
from treasure.skim.layouts import branches_to_read
from treasure.skim.luminosity import sections
from treasure.skim.parts import CUTFLOW
from treasure.skim.processor import SkimProcessor
from treasure.skim.reading import check_size
from treasure.store import discard_leftovers, write_json

__all__ = ["skim_files"]

Progress = Callable[[int, int], None]


def skim_files(
    files: Sequence[FilesetFile],
    dataset_name: str,
    dataset: Dataset,
    selection: Selection,
    directory: Path,
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> dict[str, Any]:
    """Select the jets of some files.

    The result is the same to the last byte, whatever the executor and the number of its workers.

    Parameters
    ----------
    files
        One group of a fileset. Of each, the range of entries that it names is read; with the
        option `stage` of the dataset's source, a remote one from a copy on scratch.
    dataset_name, dataset, selection
        What they are, and what to keep.
    directory
        Gets ``part_*.parquet`` (`treasure.skim.parts.SCHEMA`), and ``cutflow.json`` last.
    progress
        Called with (chunks done, chunks in all).
    executor
        Where the chunks are read (`treasure.skim.executors.executor_named`); its workers write
        into `directory`. None: one after the other in this process.

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
        check_size(file)
    chosen = [file for file in files if file.selected_entries]
    if not chosen:
        raise DataError(f"{dataset_name}: the range of entries leaves nothing of these files")
    source = dataset.source if isinstance(dataset.source, FileSource) else None
    stage, verify = source is not None and source.stage, source is None or source.verify
    jobs = jobs_of(chosen, selection.events_per_chunk, stage=stage)
    chunks = sum(len(job.bounds) for job in jobs)
    finished = 0

    def chunks_done(number: int = 1) -> None:
        nonlocal finished
        finished += number
        if progress is not None:
            progress(min(finished, chunks), chunks)

    def job_done(job: Job) -> None:
        chunks_done(len(job.bounds))

    numbers = {file.location: number for number, file in enumerate(files)}
    # Of a chunk that is read elsewhere, the executor tells when it is done.
    done = chunks_done if executor is None else None
    processor = SkimProcessor(dataset, selection, directory, numbers, done)
    work = Skim(dataset_name, processor, branches_to_read(dataset.layout), stage, verify)
    results = executor(work, jobs, job_done) if executor else [work(job) for job in jobs]
    summary = _summary(_added_up(jobs, results), files, dataset_name, dataset, selection)
    summary["luminosity_sections"] = sections(set().union(*(found for _, found in results)))
    _keep_only(directory, summary["parts"])
    write_json(directory / CUTFLOW, summary)
    return summary


def _added_up(jobs: Sequence[Job], results: Sequence[tuple[dict[str, Any], Any]]) -> Any:
    """The sum over chunks in order, file by file: the same floats, whoever read what."""
    pairs = groupby(zip(jobs, results, strict=True), key=lambda pair: pair[0].file.location)
    return accumulate([accumulate([out for _, (out, _) in of_file]) for _, of_file in pairs])


def _keep_only(directory: Path, parts: Sequence[str]) -> None:
    """Parts are all there, and nothing that a worker left which was killed or given up."""
    discard_leftovers(directory)
    here = {path.name for path in directory.glob("part_*.parquet")}
    for name in here - set(parts):
        (directory / name).unlink(missing_ok=True)
    if missing := sorted(set(parts) - here):
        raise DataError(
            f"{directory / missing[0]}: a worker wrote it, but it is not seen here; workers need"
            " the same file system under the same path ($TREASURE_STORE)"
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
        "most_jets_in_event": max(out.get("most_jets_in_event", ()), default=0),
        "cutflow": cutflow,
        # path -> how many files lack it; there it counted as not fired
        "missing_triggers": {
            path: len(where) for path, where in sorted(out["missing_triggers"].items())
        },
        "absent_columns": dict(sorted(item.split("=", 1) for item in out["absent_columns"])),
        "replaced_values": dict(sorted(out["replaced_values"].items())),
        # candidates' momenta multiplied by their PUPPI weights, or these beside them
        "puppi": ", ".join(sorted(out["puppi"])),
        # what else layouts did -> to how many jets
        "notes": dict(sorted(out["notes"].items())),
        "jets_with_candidates_left_out": out["jets_with_candidates_left_out"],
        "files": [file.model_dump(mode="json") for file in files],
        "selection": selection.model_dump(mode="json"),
    }
