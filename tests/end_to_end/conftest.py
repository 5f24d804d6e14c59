"""The workflow as a user runs it: law on the command line, in a store of its own."""

import os
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

STAGES = (
    "SimulatePFNano", "CreateFileset", "SkimJets", "MergeCutflows", "WriteH5",
    "TrainTokenizer", "TokenizeShards", "PublishFDP", "BenchmarkTopTagging",
)  # fmt: skip


@dataclass
class Run:
    """A finished command."""

    code: int
    text: str

    @property
    def stages(self) -> list[str]:
        """The stages that ran, by their summary lines."""
        return re.findall(rf"^({'|'.join(STAGES)})\b.* in [0-9.]+ s.* → ", self.text, re.MULTILINE)


class Terminal:
    """Runs commands with their results in one store."""

    run: Run
    seconds: float

    def __init__(self, store: Path) -> None:
        self.store = store
        self.environment = os.environ | {"TREASURE_STORE": str(store), "COLUMNS": "120"}

    def __call__(self, *command: str, timeout: float = 600) -> Run:
        done = subprocess.run(
            command, env=self.environment, text=True, timeout=timeout,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return Run(done.returncode, done.stdout)

    def law(self, task: str, *arguments: str, config: str = "test") -> Run:
        return self("law", "run", task, "--version", "v1", "--config", config, *arguments)


def release_checksums(store: Path) -> dict[str, str]:
    """SHA-256 of the data files of the one published release of a store."""
    import json

    (manifest,) = store.glob("published/**/manifest.json")
    files = json.loads(manifest.read_text())["files"]
    entries = files.items() if isinstance(files, dict) else [(f["path"], f) for f in files]
    return {
        name: facts["sha256"]
        for name, facts in entries
        if name.endswith((".parquet", ".safetensors", ".npz"))
    }


@pytest.fixture(scope="session", autouse=True)
def _index() -> None:
    subprocess.run(["law", "index", "--quiet"], check=True)


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Terminal:
    """A store in which the whole chain has run, with the output of that run in `.run`."""
    terminal = Terminal(tmp_path_factory.mktemp("store"))
    start = time.monotonic()
    terminal.run = terminal.law("BenchmarkTopTagging")
    terminal.seconds = time.monotonic() - start
    assert terminal.run.code == 0, terminal.run.text
    return terminal
