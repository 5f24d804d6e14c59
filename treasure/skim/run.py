"""Skim a group of files: verify them, run the processor over their chunks, account for all."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from coffea.processor import accumulate

from treasure.config.dataset import Dataset, FileSource
from treasure.config.selection import Selection
from treasure.errors import DataError
from treasure.fileset.model import FilesetFile
from treasure.fileset.staging import staged
from treasure.skim.layouts import branches_to_read
from treasure.skim.luminosity import sections
from treasure.skim.parts import CUTFLOW
from treasure.skim.processor import SkimProcessor
from treasure.skim.reading import check_size, chunk_bounds, read_file
from treasure.store import write_json

__all__ = ["skim_files"]

Progress = Callable[[int, int], None]


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
        One group of a fileset. Of each, the range of entries that it names is read; with the
        option `stage` of the dataset's source, a remote one from a copy on scratch.
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
        check_size(file)
    chosen = [file for file in files if file.selected_entries]
    if not chosen:
        raise DataError(f"{dataset_name}: the range of entries leaves nothing of these files")
    most = selection.events_per_chunk
    chunks = sum(len(chunk_bounds(file, most)) for file in chosen)
    finished = 0

    def chunk_done() -> None:
        nonlocal finished
        finished += 1
        if progress is not None:
            progress(min(finished, chunks), chunks)

    numbers = {file.location: number for number, file in enumerate(files)}
    processor = SkimProcessor(dataset, selection, directory, numbers, chunk_done)
    stage = isinstance(dataset.source, FileSource) and dataset.source.stage
    branches = branches_to_read(dataset.layout)
    results = []
    processed: set[tuple[int, int]] = set()
    for file in chosen:
        with staged(file) if stage else nullcontext(file.location) as path:
            result, of_file = read_file(
                file, path, dataset_name, processor, events_per_chunk=most, branches=branches
            )
        results.append(result)
        processed |= of_file
    summary = _summary(accumulate(results), files, dataset_name, dataset, selection)
    summary["luminosity_sections"] = sections(processed)
    write_json(directory / CUTFLOW, summary)
    return summary


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
