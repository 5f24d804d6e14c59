"""The workflow as a user runs it: law on the command line, in a store of its own."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

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

    def __call__(self, *command: str, timeout: float = 1500) -> Run:
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
