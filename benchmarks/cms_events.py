"""What would all of Aspen Open Jets, and all of the events, take? From events of CMS, repeated.

Repeats the events of a CMS PFNano file (layout A) with their candidates in another order each time,
so that values and their precision stay those of CMS while LZMA finds no long repetition, as layout
A and, without the links, as layout C. Runs SkimJets and WriteH5 on one and on several copies of
that file as a user does, and multiplies: processor seconds beyond those for one by events, bytes by
jets.

    python benchmarks/cms_events.py FILE.root --events 500 --files 9
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot
from many_files import copy
from rich.console import Console
from rich.table import Table
from skim_speed import Cost, by_collection, configuration, measured, new_tree

from treasure.skim.layouts import branches_to_read
from treasure.store import read_json

# What is to be predicted: events, and selected jets (Aspen Open Jets: arXiv:2412.10504).
_CAMPAIGNS = {"Aspen Open Jets": (245e6, 178e6), "2.1 billion events": (2.1e9, 2.1e9 * 178 / 245)}
_CORES = 1_000
_JOB_HOURS = 2.0
_EVENTS_IN_CLUSTER = 500


def main() -> None:
    """Run everything in a folder that is removed at the end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="events to repeat: PFNano of CMS, layout A")
    parser.add_argument("--events", type=int, default=500, help="in a file")
    parser.add_argument("--files", type=int, default=9)
    parser.add_argument("--folder", help="where to work; default: a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for table in tables(options.file, options.events, options.files, Path(folder)):
            Console().print(table)


def tables(source: Path, events: int, files: int, folder: Path) -> Iterator[Table]:
    """What was measured, and what follows."""
    measurements = Table(title=f"{events * files:,} events of CMS, one core")
    for name in ("layout", "kB/event", "jets/event", "events/CPU s", "skim, bytes/jet",
                 "h5, bytes/jet"):  # fmt: skip
        measurements.add_column(name, justify="right" if name != "layout" else "left")
    predictions = Table(title=f"Prediction, {_CORES:,} cores")
    for name in ("events", "layout", "core hours", "wall hours", f"jobs of {_JOB_HOURS:.0f} h",
                 "skims, TB", "h5, TB"):  # fmt: skip
        predictions.add_column(name, justify="right" if name != "events" else "left")
    columns = _read(source)
    for layout in "AC":
        first = folder / f"{layout}.root"
        _write(first, columns, layout, events)
        one, many = (Case(folder / f"{layout}{n}", first, n) for n in (1, files))
        per_event = (many.cpu - one.cpu) / (events * (files - 1))
        measurements.add_row(
            layout, f"{first.stat().st_size / events / 1e3:.0f}", f"{one.jets / events:.2f}",
            f"{1 / per_event:,.0f}", f"{many.skim_bytes / many.jets:,.0f}",
            f"{many.h5_bytes / many.jets:,.0f}",
        )  # fmt: skip
        for name, (n_events, n_jets) in _CAMPAIGNS.items():
            hours = n_events * per_event / 3600
            predictions.add_row(
                name, layout, f"{hours:,.0f}", f"{hours / _CORES:.2g}",
                f"{hours / _JOB_HOURS:,.0f}", f"{n_jets * many.skim_bytes / many.jets / 1e12:.2f}",
                f"{n_jets * many.h5_bytes / many.jets / 1e12:.2f}",
            )  # fmt: skip
    yield measurements
    yield predictions


class Case:
    """Copies of one file, skimmed and written as a jet table in a store of their own."""

    def __init__(self, folder: Path, first: Path, files: int) -> None:
        copy(first, folder / "files", files)
        self.store = folder / "store"
        self.config = folder / "my.yaml"
        self.config.write_text(
            configuration(folder / "files", files) + "selection: {triggers: []}\n"
        )
        self._law("CreateFileset")
        cpu = self._law("SkimJets").cpu
        self._law("MergeCutflows")
        self.cpu = cpu + self._law("WriteH5").cpu
        (merged,) = self.store.glob("*/MergeCutflows/mine/*/cutflow.json")
        self.jets = read_json(merged)["jets"]
        self.skim_bytes = _size(self.store.glob("*/SkimJets/mine/*/*/part_*.parquet"))
        self.h5_bytes = _size(self.store.glob("*/WriteH5/mine/*/*/*.h5"))

    def _law(self, task: str) -> Cost:
        command = ["law", "run", task, "--config", str(self.config), "--dataset", "mine"]
        return measured([*command, "--workers", "1"], 1, TREASURE_STORE=str(self.store))


def _size(paths: Iterator[Path]) -> int:
    return sum(path.stat().st_size for path in paths)


def _read(source: Path) -> dict[str, Any]:
    """The branches that a skim may read, jagged ones by collection."""
    with uproot.open(source) as file:
        events = file["Events"].arrays(filter_name=branches_to_read("A"), library="ak")
    return by_collection(events)


def _write(path: Path, columns: dict[str, Any], layout: str, events: int) -> None:
    rng = np.random.default_rng(1)
    available = len(columns["run"])
    with uproot.recreate(path, compression=uproot.LZMA(9)) as file:
        tree: Any = None
        for start in range(0, events, _EVENTS_IN_CLUSTER):
            some = min(_EVENTS_IN_CLUSTER, events - start)
            chosen = rng.integers(0, available, some)
            cluster: dict[str, Any] = {}
            order, place = _orders(columns["PFCands"]["pt"][chosen], rng)
            for name, values in columns.items():
                if not isinstance(values, dict):
                    cluster[name] = values[chosen]
                elif layout == "A" or name != "FatJetPFCands":
                    fields = {field: jagged[chosen] for field, jagged in values.items()}
                    if name == "PFCands":
                        fields = {field: jagged[order] for field, jagged in fields.items()}
                    if name == "FatJetPFCands":
                        links = fields["pFCandsIdx"]
                        fields["pFCandsIdx"] = ak.values_astype(place[links], np.int32)
                    cluster[name] = ak.zip(fields)
            if tree is None:
                tree = new_tree(file, cluster)
            tree.extend(cluster)


def _orders(jagged: Any, rng: np.random.Generator) -> tuple[Any, Any]:
    """A random order of the candidates of each event, and where each of them has gone."""
    counts = ak.num(jagged)
    random = ak.unflatten(rng.random(int(ak.sum(counts))), counts)
    order = ak.argsort(random, axis=1)
    return order, ak.argsort(order, axis=1)


if __name__ == "__main__":
    main()
