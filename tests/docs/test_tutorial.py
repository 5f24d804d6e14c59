"""The tutorial does what it says: its blocks of bash and python, one after the other."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[2]
TUTORIAL = HOME / "docs" / "tutorial.md"
NEEDED = ("treasure", "tasks", "config", "examples", "law.cfg", "pyproject.toml")

pytestmark = pytest.mark.slow


def script_of(markdown: str) -> str:
    """All blocks as one script, each announced with its line; python goes to the interpreter."""
    lines = ["set -euo pipefail", "law index --quiet  # as setup.sh does"]
    for block in re.finditer(r"^```(bash|python)\n(.*?)^```$", markdown, re.MULTILINE | re.DOTALL):
        language, content = block.groups()
        lines.append(f"echo '== line {markdown[: block.start()].count(chr(10)) + 1}'")
        lines.append(
            content if language == "bash" else f"python - <<'END_OF_BLOCK'\n{content}END_OF_BLOCK"
        )
    return "\n".join(lines)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The project's files in a folder of their own: the tutorial adds a task to them."""
    home = tmp_path / "treasure"
    home.mkdir()
    ignore = shutil.ignore_patterns("__pycache__")
    for name in NEEDED:
        if (HOME / name).is_dir():
            shutil.copytree(HOME / name, home / name, ignore=ignore)
        else:
            shutil.copy(HOME / name, home)
    return home


def test_every_block_of_the_tutorial_runs(copy):
    environment = os.environ | {
        "PYTHONPATH": str(copy),  # before the project that is installed
        "TREASURE_HOME": str(copy),
        "TREASURE_STORE": str(copy / "data"),
        "LAW_HOME": str(copy / ".law"),
        "LAW_CONFIG_FILE": str(copy / "law.cfg"),
        "COLUMNS": "100",
    }
    script = script_of(TUTORIAL.read_text())
    assert script.count("== line") >= 12
    run = subprocess.run(
        ["bash", "-c", script], cwd=copy, env=environment, text=True, timeout=1700,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    print(run.stdout)
    assert run.returncode == 0, run.stdout
    assert "Traceback" not in run.stdout
    assert (copy / "custom" / "count_jets.py").is_file()
    assert not (HOME / "custom" / "count_jets.py").exists()
    assert list(copy.glob("data/test/BenchmarkTopTagging/v1-*/report.html"))
