"""Public files of Aspen Open Jets: the format of the jet table, without class and split."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from treasure.config.splits import Splits
from treasure.jets.imported import write_imported
from treasure.jets.splits import SPLITS, assign_split
from treasure.jets.table import JetChunk, JetTable
from treasure.store import checksums
from treasure.tokens.dialects.dialect import OF_JETS, UNKNOWN, Dialect, Options, Report

__all__ = ["AspenOpenJets", "described", "with_split"]

_ROWS = 4096


class AspenOpenJets(Dialect, kind="aoj"):
    """Jets of Aspen Open Jets, with class and split added."""

    summary: ClassVar[str] = "Aspen Open Jets: HDF5; import only, the jet table is this format"
    imports_to: ClassVar[tuple[str, ...]] = (".h5", ".hdf5")
    reads: ClassVar[frozenset[str]] = OF_JETS

    @classmethod
    def recognises(cls, source: Path) -> bool:
        return source.suffix in (".h5", ".hdf5")

    def read(self, source: Path, path: Path, options: Options) -> Report:
        report = Report(files=[path])
        with JetTable(source) as table:
            own = {**table.attributes}

            def chunks() -> Iterator[JetChunk]:
                for chunk in table.chunks(_ROWS):
                    if options.label is not None:
                        chunk = replace(chunk, label=np.full(len(chunk), options.label, np.int32))
                    report.jets += len(chunk)
                    report.particles += int(np.count_nonzero(chunk.candidates[:, :, 3]))
                    keeps = options.split is None and bool((chunk.split >= 0).any())
                    yield chunk if keeps else with_split(chunk, options)

            attributes = {**own, **described(source, options, "aoj")}
            write_imported(
                path, chunks(), rows=len(table), slots=table.max_candidates, attributes=attributes
            )
        if options.label is None and "label" not in own:
            report.notes.append("class -1 unless the file has a key label; give --label")
        if options.label is not None and "label" in own:
            report.notes.append(f"class {options.label}, whatever the file says of its jets")
        if options.split is not None and "splits" in own:
            report.notes.append(f"split {options.split}, whatever the file says of its jets")
        return report


def with_split(chunk: JetChunk, options: Options) -> JetChunk:
    """Jets with the split that the options ask for; by default the hash of their events."""
    wanted = options.split or "hash"
    if wanted == "hash":
        return replace(chunk, split=assign_split(chunk.event_info, Splits()))
    number = -1 if wanted == UNKNOWN else SPLITS.index(wanted)
    return replace(chunk, split=np.full(len(chunk), number, np.int8))


def described(source: Path, options: Options, kind: str) -> dict[str, Any]:
    """Attributes of an imported jet table."""
    found = {
        "dataset": options.dataset or source.stem,
        "imported_from": kind,
        "source_files": [{"uri": source.name, **checksums(source)}],
        "splits": Splits().model_dump(mode="json"),
    }
    return found if options.label is None else {**found, "label": options.label}
