"""The benchmark of thousands of input files runs, here with a few."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_table_has_a_line_for_each_question(tmp_path):
    command = [
        sys.executable, str(HOME / "benchmarks" / "many_files.py"),
        "--files", "5", "--files-per-branch", "2", "--branches", "2", "--folder", str(tmp_path),
    ]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=1200, env=os.environ | {"COLUMNS": "100"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    first, *lines = done.stdout.splitlines()
    assert first == "5 files in 3 branches"
    assert len(lines) == 11 and all(line.endswith((" s", " ms")) for line in lines)
    assert list(tmp_path.iterdir()) == []
