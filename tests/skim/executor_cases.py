"""Files to skim with several executors, and what came out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.layout_a import FILTERS, TRIGGERS, random_events, write_events
from treasure.config.dataset import Dataset
from treasure.config.selection import Selection
from treasure.fileset.inspection import inspect_file
from treasure.fileset.model import FilesetFile
from treasure.skim.run import skim_files
from treasure.store import checksums

FAULTY = "tests.skim.faulty_layout:FaultyLayout"


@dataclass
class Case:
    """Three files in uneven chunks, with weights whose sum depends on the order."""

    directory: Path
    files: list[FilesetFile]
    dataset: Dataset
    selection: Selection
    weights: list[np.ndarray]

    def skim(self, name: str, executor: Any = None, **more: Any) -> dict[str, Any]:
        """The summary; the directory is `name` below that of the case."""
        return skim_files(
            self.files, "x", self.dataset, self.selection, self.directory / name,
            executor=executor, **more,
        )  # fmt: skip

    def bytes_of(self, name: str) -> dict[str, str]:
        """File -> checksum of everything in a directory of a skim."""
        files = (self.directory / name).rglob("*")
        return {path.name: checksums(path)["sha256"] for path in files}


def make_case(directory: Path, *, layout: str = FAULTY, chunk: int = 13) -> Case:
    paths, weights = [], []
    for number, n_events in enumerate((40, 70, 25)):
        events = random_events(n_events, seed=number)
        rng = np.random.default_rng(number)
        signs, sizes = rng.choice([-1, 1], n_events), 10 ** rng.uniform(-8, 4, n_events)
        events["genWeight"] = list(signs * sizes)
        weights.append(np.float64(np.float32(events["genWeight"])))
        paths.append(write_events(directory / "in" / f"{number}.root", events))
    return Case(
        directory,
        [inspect_file(str(path), "Events", str(path)) for path in paths],
        Dataset(
            label=1, is_mc=True, layout=layout, source={"kind": "local", "files": ["*.root"]}
        ),
        Selection(triggers=list(TRIGGERS), filters=list(FILTERS), events_per_chunk=chunk),
        weights,
    )  # fmt: skip


def damage(path: Path, branch: str) -> None:
    """Overwrite some bytes of a branch's first basket; the size stays."""
    import uproot

    with uproot.open(path) as opened:
        start = opened["Events"][branch].member("fBasketSeek")[0]
    data = bytearray(path.read_bytes())
    data[start + 80 : start + 120] = bytes(40)
    path.write_bytes(bytes(data))
