"""How fast do SkimJets and WriteH5 turn events into a jet table, and what does it take?

Repeats the events of a PFNano file (layout A) until enough jets are selected, each time turned by
another angle and scaled by up to one per cent, so that no compressor finds the same bytes twice.
Then runs law on them as a user does, and beside it what was thought the floor: uproot decompressing
the same branches and h5py writing the same array with gzip 4. What is compared is run in turn, on
one core unless said; the processor time is the figure to go by where others work on the machine.

    python benchmarks/skim_speed.py FILE.root --jets 170000 --repeats 2
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import numpy as np
import uproot
from rich.console import Console
from rich.table import Table

from treasure.skim.parts import SCHEMA, read_parts, write_part
from treasure.store import read_json

_START = "start-up: one file of 300 events"
_KEYS = ("event_info", "jet_kinematics", "jet_tagging", "PFCands")
_ROWS = 4096
_NOT_READ = ("FatJet_mass", "FatJetPFCands_pt")


_MEASURE = """
import os, sys, time
chosen, command = sys.argv[1], sys.argv[2:]
if chosen:
    os.sched_setaffinity(0, map(int, chosen.split(",")))
start = time.perf_counter()
pid = os.posix_spawnp(command[0], command, os.environ)
_, status, used = os.wait4(pid, 0)
wall = time.perf_counter() - start
cpu = used.ru_utime + used.ru_stime
print(f"\\n{os.waitstatus_to_exitcode(status)} {wall} {cpu} {used.ru_maxrss}")
"""


@dataclass
class Cost:
    """What a command took: seconds, processor seconds, and memory of its largest process."""

    wall: float
    cpu: float
    megabytes: float


def main() -> None:
    """Run everything in a folder that is removed at the end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="events to repeat: PFNano, layout A")
    parser.add_argument("--jets", type=int, default=170_000, help="selected, at least")
    parser.add_argument("--files", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--folder", help="where to work; default: a temporary one")
    parser.add_argument("--floor", type=Path, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.floor:  # this script as a process of its own
        floor(*options.floor)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for table in tables(options, Path(folder)):
            Console().print(table)


def tables(options: argparse.Namespace, folder: Path) -> Iterator[Table]:
    """The tables, as they are measured."""
    one = Case(folder / "one", options.file, files=1, repeats=1)
    selected = one.jets
    repeats = -(-options.jets // (selected * options.files))
    # Four branches and four shards, so that two workers have as much to do.
    case = Case(
        folder / "all",
        options.file,
        files=options.files,
        repeats=repeats,
        files_per_branch=-(-options.files // 4),
        jets_per_shard=selected * options.files * repeats // 4 + 10,
    )
    rounds: list[dict[str, Cost]] = []
    for _ in range(options.repeats):
        costs = {"one worker, one core": case.run(workers=1, cores=1)}
        costs["floor, one core"] = case.floor()
        costs[_START] = one.run(workers=1, cores=1)
        if available() > 1:
            costs["one worker, all cores"] = case.run(workers=1)
            costs["two workers, two cores"] = case.run(workers=2, cores=2)
        rounds.append(costs)
    yield _speed(rounds, case.jets, options.files)
    yield _parquet(case, rounds)
    yield _memory(options, folder, repeats)


def _speed(rounds: list[dict[str, Cost]], jets: int, files: int) -> Table:
    load = os.getloadavg()[0]
    table = Table(
        title=f"SkimJets + MergeCutflows + WriteH5, {jets:,} selected jets of {files} files,"
        f" start-up included; median of {len(rounds)}, load {load:.1f}"
    )
    for name in ("", "wall s", "CPU s", "jets/s", "jets/CPU s", "× floor (CPU)", "peak MB"):
        table.add_column(name, justify="left" if not name else "right")
    for name in rounds[0]:
        cost = _median([costs[name] for costs in rounds])
        if name == _START:
            numbers = (f"{cost.wall:.1f}", f"{cost.cpu:.1f}", "", "", "", f"{cost.megabytes:.0f}")
            table.add_row(name, *numbers)
            continue
        gain = statistics.median(c["floor, one core"].cpu / c[name].cpu for c in rounds)
        table.add_row(
            name, f"{cost.wall:.1f}", f"{cost.cpu:.1f}", f"{jets / cost.wall:,.0f}",
            f"{jets / cost.cpu:,.0f}", f"{gain:.2f}", f"{cost.megabytes:.0f}",
        )  # fmt: skip
    if "two workers, two cores" in rounds[0]:
        start = min(c[_START].wall for c in rounds)
        single, both = (
            min(c[name].wall for c in rounds) - start
            for name in ("one worker, one core", "two workers, two cores")
        )
        table.caption = f"two workers: {single / both:.2f} × one, beyond the start-up (best times)"
    return table


def _median(costs: list[Cost]) -> Cost:
    return Cost(*(statistics.median(getattr(c, n) for c in costs) for n in Cost.__annotations__))


def _parquet(case: "Case", rounds: list[dict[str, Cost]]) -> Table:
    """What the files between the two stages cost: written and read again, timed alone."""
    parts = sorted(case.store.glob("*/SkimJets/mine/*/*/part_*.parquet"))
    writing = reading = 0.0
    for path in parts:
        start = time.process_time()
        blocks = list(read_parts([path], _ROWS))
        reading += time.process_time() - start
        rows = {name: np.concatenate([_flat(b[name]) for b in blocks]) for name in SCHEMA.names}
        scalars = {name: rows.pop(name) for name in SCHEMA.names if "PFCands" not in name}
        lengths = np.concatenate(
            [np.asarray(b["PFCands_px"].combine_chunks().value_lengths()) for b in blocks]
        ).astype(np.int64)
        candidates = {name.removeprefix("PFCands_"): values for name, values in rows.items()}
        start = time.process_time()
        write_part(case.folder / "again.parquet", scalars, lengths, candidates)
        writing += time.process_time() - start
    whole = _median([costs["one worker, one core"] for costs in rounds]).cpu
    table = Table(title="Parquet between the stages, CPU seconds of one core")
    for name in ("written", "read", "together", "of the whole command", "MB"):
        table.add_column(name, justify="right")
    size = sum(path.stat().st_size for path in parts) / 1e6
    share = (writing + reading) / whole
    table.add_row(
        f"{writing:.2f}",
        f"{reading:.2f}",
        f"{writing + reading:.2f}",
        f"{share:.1%}",
        f"{size:.0f}",
    )
    return table


def _flat(column: Any) -> np.ndarray:
    values = column.combine_chunks()
    return (values.flatten() if hasattr(values, "value_lengths") else values).to_numpy()


def _memory(options: argparse.Namespace, folder: Path, repeats: int) -> Table:
    table = Table(title="Peak memory of a worker, one branch, start-up included")
    for name in ("files", "events", "jets", "peak MB"):
        table.add_column(name, justify="right")
    many = max(1, repeats // 3)
    shapes = ((1, many), (options.files, many), (1, repeats * options.files))
    for number, (files, times) in enumerate(shapes):
        case = Case(folder / f"memory{number}", options.file, files, times, files_per_branch=files)
        cost = case.run(workers=1)
        table.add_row(str(files), f"{case.events:,}", f"{case.jets:,}", f"{cost.megabytes:.0f}")
        shutil.rmtree(case.folder)
    return table


class Case:
    """Some files, and law run on them in a store of their own."""

    def __init__(
        self,
        folder: Path,
        source: Path,
        files: int,
        repeats: int,
        *,
        files_per_branch: int = 1,
        jets_per_shard: int = 100_000,
    ) -> None:
        self.folder, self.store = folder, folder / "store"
        self.files = make_files(source, folder / "files", files, repeats)
        self.config = folder / "my.yaml"
        self.config.write_text(
            configuration(folder / "files", files_per_branch)
            + "selection: {candidate_order: aoj}\n"
            + f"jet_table: {{jets_per_shard: {jets_per_shard}}}\n"
        )
        self._law("CreateFileset")
        self._law("WriteH5")
        (merged,) = self.store.glob("*/MergeCutflows/mine/*/cutflow.json")
        counts = read_json(merged)
        self.jets, self.events = counts["jets"], counts["events"]

    def run(self, *, workers: int, cores: int | None = None) -> Cost:
        """The stages from the skim to the jet table, afresh."""
        for name in ("SkimJets", "MergeCutflows", "WriteH5"):
            for directory in self.store.glob(f"*/{name}"):
                shutil.rmtree(directory)
        return self._law("WriteH5", "--workers", str(workers), cores=cores)

    def _law(self, task: str, *arguments: str, cores: int | None = None) -> Cost:
        command = ["law", "run", task, "--config", str(self.config), "--dataset", "mine"]
        return measured([*command, *arguments], cores, TREASURE_STORE=str(self.store))

    def floor(self) -> Cost:
        """Decompressing and compressing alone, in a process of its own."""
        (table, *_) = sorted(self.store.glob("*/WriteH5/mine/*/*/*.h5"))
        script = [sys.executable, __file__, str(self.files[0])]
        return measured([*script, "--floor", str(self.files[0].parent), str(table)], 1)


def configuration(files: Path, files_per_branch: int) -> str:
    """The beginning of a configuration whose one dataset, mine, is some files."""
    return f"""
defaults: aoj
datasets:
  jetht_2016g: null
  mine:
    source: {{kind: local, files: ["{files}"]}}
    label: 0
    is_mc: true
    files_per_branch: {files_per_branch}
"""


def available() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def measured(command: list[str], cores: int | None, **environment: str) -> Cost:
    """Run a command on some of the cores."""
    chosen = sorted(os.sched_getaffinity(0))[-cores:] if cores else []
    # By a small process: Linux counts the memory of the one that starts a command as the command's.
    script = [sys.executable, "-S", "-c", _MEASURE, ",".join(map(str, chosen)), *command]
    done = subprocess.run(script, env=os.environ | environment, capture_output=True, text=True)
    *said, last = done.stdout.splitlines()
    code, wall, cpu, kilobytes = map(float, last.split())
    if code:
        sys.exit("\n".join([" ".join(command) + ":", *said[-30:], done.stderr[-3000:]]))
    return Cost(wall, cpu, kilobytes / 1024)


def floor(folder: Path, table: Path) -> None:
    """Read the branches that a skim reads, and write as many jets as it wrote."""
    with h5py.File(table) as file:
        block = {key: file[key][:_ROWS] for key in _KEYS}
    merged = next(table.parents[4].glob("MergeCutflows/mine/*/cutflow.json"))
    jets = read_json(merged)["jets"]
    for path in sorted(folder.glob("*.root")):
        with uproot.open(path) as file:
            tree = file["Events"]
            names = [name for name in tree.iterkeys() if name not in _NOT_READ]
            for name in names:
                tree[name].array()
    with h5py.File(table.with_suffix(".floor"), "w") as file:
        for key, values in block.items():
            packed = {} if key == "event_info" else {"compression": "gzip", "compression_opts": 4}
            rows = 128 if values.ndim == 3 else _ROWS
            if packed:
                packed["chunks"] = (min(rows, len(values)), *values.shape[1:])
            data = file.create_dataset(key, (jets, *values.shape[1:]), values.dtype, **packed)
            for start in range(0, jets, len(values)):
                data[start : start + len(values)] = values[: jets - start]
    table.with_suffix(".floor").unlink()


def make_files(source: Path, folder: Path, files: int, repeats: int) -> list[Path]:
    """Files of the events of one, repeated; baskets and compression as there."""
    with uproot.open(source) as file:
        events = file["Events"].arrays(library="ak")
        compression = file.file.compression
    columns = {
        name: ak.zip(values) if isinstance(values, dict) else values
        for name, values in by_collection(events).items()
    }
    rng = np.random.default_rng(1)
    folder.mkdir(parents=True)
    paths = [folder / f"events_{number:04d}.root" for number in range(files)]
    for path in paths:
        with uproot.recreate(path, compression=compression) as file:
            tree = new_tree(file, columns)
            for _ in range(repeats):
                tree.extend(_changed(columns, rng))
    return paths


def by_collection(events: Any) -> dict[str, Any]:
    """Branches by name, jagged ones by collection and name; uproot writes counters by itself."""
    columns: dict[str, Any] = {}
    for name in events.fields:
        collection, _, field = name.partition("_")
        if events[name].ndim == 2:
            columns.setdefault(collection, {})[field] = events[name]
        elif not name.startswith("n"):
            columns[name] = ak.to_numpy(events[name])
    return columns


def new_tree(file: Any, columns: dict[str, Any]) -> Any:
    """A TTree of NanoAOD for such columns, jagged ones as records."""
    types = {k: v.type.content if isinstance(v, ak.Array) else v.dtype for k, v in columns.items()}
    return file.mktree("Events", types, counter_name=lambda name: "n" + name)


def _changed(columns: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Events turned by an angle; of candidates what is not a flag scaled a little, too."""
    angle, scale = rng.uniform(0, 2 * np.pi), 1 + rng.uniform(0, 0.01)
    changed = dict(columns)
    for name in ("FatJet", "PFCands"):
        rows = columns[name]
        fields = {"phi": (rows["phi"] + angle + np.pi) % (2 * np.pi) - np.pi}
        if name == "PFCands":
            fields |= {field: rows[field] * scale for field in ("pt", "mass")}
            no_track, weight = rows["d0Err"] == -1, rows["puppiWeight"]
            fields |= {k: ak.where(no_track, rows[k], rows[k] * scale) for k in ("d0", "dz")}
            is_share = (weight > 0) & (weight < 1)
            fields["puppiWeight"] = ak.where(is_share, weight / scale, weight)
        for field, values in fields.items():
            rows = ak.with_field(rows, ak.values_astype(values, np.float32), field)
        changed[name] = rows
    return changed


if __name__ == "__main__":
    main()
