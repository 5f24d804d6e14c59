"""`treasure new-task`: a stage of one's own that runs, with its test."""

import os
import re
from pathlib import Path

from rich.console import Console

from treasure import store
from treasure.errors import ConfigError

__all__ = ["create_task"]

_TASK = '''"""{name}: how many jets a dataset has in each range of transverse momentum."""

from tasks.base import DatasetTask
from tasks.jets import WriteH5, jet_files
from treasure import store


class {name}(DatasetTask):
    """Count the selected jets of a dataset in ranges of pt."""

    reqs = {{"jets": WriteH5}}

    def run(self) -> None:
        import numpy as np

        from treasure.jets.table import JetTable

        edges = np.array([300, 400, 500, 700, 1000, 10_000])  # GeV
        counts = np.zeros(len(edges) - 1, dtype=int)
        with self.stage() as stage:
            for path in jet_files(self.input()["jets"]):
                with JetTable(path) as table:
                    for chunk in table.chunks():
                        counts += np.histogram(chunk.kinematics[:, 0], edges)[0]
            result = {{"edges": edges.tolist(), "jets": counts.tolist()}}
            store.write_json(stage.directory / "counts.json", result)
            stage.summary = {{"jets": int(counts.sum())}}
'''

_TEST = '''"""{name} runs from the command line and counts every jet."""

import json
import os
import subprocess


def test_{snake}_counts_every_jet(tmp_path):
    environment = os.environ | {{"TREASURE_STORE": str(tmp_path)}}
    command = ["law", "run", "{module}.{name}", "--config", "test", "--dataset", "qcd"]
    command += ["--set", "datasets.qcd.source.n_files=1,datasets.qcd.source.events_per_file=40"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    (counts,) = tmp_path.glob("test/{name}/qcd/*/counts.json")
    (cutflow,) = tmp_path.glob("test/WriteH5/qcd/*/*/manifest.json")
    jets = json.loads(cutflow.read_text())["summary"]["jets"]
    assert sum(json.loads(counts.read_text())["jets"]) == jets > 0
'''


def create_task(name: str, folder: Path | None) -> None:
    """Write the module and the test of a new task, and list the module in law.cfg.

    Raises
    ------
    ConfigError
        If the name is not that of a class, or something of that name is there already.
    """
    if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", name):
        raise ConfigError(
            f"{name!r}: a task is called like a class, letters and digits, the first a capital:"
            " for example CountJets"
        )
    home = Path(os.environ.get("TREASURE_HOME") or Path(__file__).resolve().parents[2])
    folder = (folder or home / "custom").resolve()
    if not folder.is_relative_to(home):
        raise ConfigError(f"--folder {folder}: must be inside {home}, where law finds modules")
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
    parts = (*folder.relative_to(home).parts, snake)
    if not all(part.isidentifier() for part in parts):
        raise ConfigError(f"--folder {folder}: {'.'.join(parts)} is not the name of a module")
    module = ".".join(parts)
    file, test = folder / f"{snake}.py", folder / f"test_{snake}.py"
    for path in (file, test):
        if path.exists():
            raise ConfigError(f"{path} is there already; choose another name, or remove it")
    values = {"name": name, "snake": snake, "module": module}
    store.write_text(file, _TASK.format(**values))
    store.write_text(test, _TEST.format(**values))
    _list_in_law_cfg(home / "law.cfg", module)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"wrote {file}\nwrote {test}\nlisted {module} in {home / 'law.cfg'}\n")
    console.print("Now:")
    console.print("    law index --quiet")
    console.print(f"    law run {name} --version v1 --config test")
    console.print(f"    pytest {os.path.relpath(test)}")


def _list_in_law_cfg(path: Path, module: str) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    start = lines.index("[modules]") + 1
    end = start
    while end < len(lines) and lines[end].strip():
        end += 1
    if module not in lines[start:end]:
        lines.insert(end, module)
        store.write_text(path, "\n".join(lines) + "\n")
