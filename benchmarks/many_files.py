"""What do 10,000 input files cost that are no more than names: status, fileset, branches?

Makes copies of one small simulated file, each with a UUID of its own, and runs law on them as a
user does. The skims are not made: what a run would leave of them is written as a stage writes it.
Prints seconds of each command, start-up included, and the overhead of a branch.

    python benchmarks/many_files.py --files 10000 --files-per-branch 1
"""

import argparse
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from tasks.base import store_directory
from tasks.fileset import FilesetBranches
from tasks.jets import WriteH5
from tasks.skim import SkimJets
from tasks.tokenizer import TrainTokenizer
from tasks.tokens import TokenizeShards
from treasure import store
from treasure.config.loading import load_config

_UUID_IN_HEADER = slice(47, 63)  # of a ROOT file below 2 GB: fUUID after its version
_EVENTS = 4  # in a file


class Touch(FilesetBranches):
    """Write a few bytes: what remains of a branch without its work."""

    exclude_index = True
    reqs = SkimJets.reqs

    def run(self) -> None:
        with self.stage() as stage:
            store.write_bytes(stage.directory / "touched.txt", self.stem.encode())
            stage.summary = {"files": len(self.files())}


def main() -> None:
    """Run everything in a folder that is removed at the end, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--files-per-branch", type=int, default=1)
    parser.add_argument("--branches", type=int, default=1_000, help="for the overhead of a branch")
    parser.add_argument("--folder", help="where to work; default: a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for line in table(Path(folder), options.files, options.files_per_branch, options.branches):
            print(line, flush=True)


def table(folder: Path, files: int, files_per_branch: int, branches: int) -> Iterator[str]:
    """The lines of the table, as they are measured."""
    here, before = str(Path(__file__).parent), os.environ.get("PYTHONPATH")
    os.environ |= {
        "TREASURE_STORE": str(folder / "store"),
        "TREASURE_CACHE": str(folder / "cache"),
        "PYTHONPATH": f"{here}:{before}" if before else here,
    }
    make_files(folder / "files", files)
    config = write_config(folder, files_per_branch)
    groups = -(-files // files_per_branch)
    status = ("BenchmarkTopTagging", "--print-status", "-1")
    yield f"{files:,} files in {groups:,} branches"
    yield row("status, nothing there", law(config, *status))
    yield row("CreateFileset, first inspection", law(config, "CreateFileset"))
    yield row("CreateFileset, again as v2", law(config, "CreateFileset", "--version", "v2"))
    yield row("status, fileset there", law(config, *status))
    for workers in (1, 2):
        yield overhead(config, min(branches, groups), workers)
    skim(config)
    yield row("status, skims there", law(config, *status))
    yield row("law run SkimJets, nothing to do", law(config, "SkimJets"))
    yield row("law run MergeCutflows", law(config, "MergeCutflows"))
    finish(config)
    yield row("status, tokens there", law(config, *status))
    yield row("law run TokenizeShards, nothing to do", law(config, "TokenizeShards"))


def row(what: str, seconds: float) -> str:
    """A line of the table."""
    return f"{what:50s} {seconds:8.2f} s"


def make_files(folder: Path, files: int) -> None:
    """Copies of one file, with other UUIDs: the same file twice is refused."""
    from treasure.simulation.generate import simulate_file

    source = load_config("test").config.datasets["qcd"].source
    first = folder.parent / "one.root"
    simulate_file(
        source.model_copy(update={"events_per_file": _EVENTS}), seed=1, branch=0, path=first
    )
    copy(first, folder, files)


def copy(first: Path, folder: Path, files: int) -> None:
    """Copies of a ROOT file below 2 GB, each with a UUID of its own."""
    folder.mkdir(parents=True)
    content = bytearray(first.read_bytes())
    for number in range(files):
        content[_UUID_IN_HEADER] = uuid.uuid5(uuid.NAMESPACE_OID, str(number)).bytes
        (folder / f"file_{number:06d}.root").write_bytes(content)


def write_config(folder: Path, files_per_branch: int) -> str:
    """A configuration whose one dataset is the files."""
    path = folder / "many.yaml"
    path.write_text(
        "defaults: test\n"
        "datasets:\n  qcd: null\n  ttbar: null\n"
        f"  many: {{label: 0, is_mc: true, files_per_branch: {files_per_branch},"
        f" source: {{kind: local, files: ['{folder}/files']}}}}\n"
    )
    return str(path)


def law(config: str, task: str, *arguments: str) -> float:
    """Seconds of ``law run``."""
    workers = () if "--workers" in arguments else ("--workers", "1")
    command = ["law", "run", task, "--config", config, *workers, *arguments]
    start = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout[-3000:]}")
    return seconds


def overhead(config: str, branches: int, workers: int) -> str:
    """A line that tells what a branch costs beyond its work, start-up shared out over all."""
    some = ("many_files.Touch", "--branches", f"0:{branches}", "--workers", str(workers))
    seconds = law(config, *some)
    shutil.rmtree(next(store_directory().glob("*/Touch")))
    name = f"a branch without work, one of {branches:,}, {workers} worker(s)"
    return f"{name:50s} {1e3 * seconds / branches:8.1f} ms"


def skim(config: str) -> None:
    """Leave what SkimJets leaves: one branch is run, the others say the same of their files."""
    whole = SkimJets(config=config)
    law(config, "SkimJets", "--branch", "0")
    first = whole.as_branch(0).directory
    cutflow = store.read_json(first / "cutflow.json")
    for branch, task in whole.get_branch_tasks().items():
        if branch == 0:
            continue
        with redirect_stdout(io.StringIO()), task.stage() as stage:
            for part in cutflow["parts"]:
                shutil.copyfile(first / part, stage.directory / part)
            files = [file.model_dump(mode="json") for file in task.files()]
            store.write_json(stage.directory / "cutflow.json", {**cutflow, "files": files})
            stage.summary = cutflow


def finish(config: str) -> None:
    """Leave the directories of the stages after the merge, without content."""
    tasks: list[Any] = [TrainTokenizer(config=config)]
    for workflow in (WriteH5(config=config), TokenizeShards(config=config)):
        tasks += workflow.get_branch_tasks().values()
    for task in tasks:
        with redirect_stdout(io.StringIO()), task.stage():
            pass


if __name__ == "__main__":
    main()
