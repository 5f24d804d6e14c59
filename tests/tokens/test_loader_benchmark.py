"""The benchmark of the loader runs, here with few jets."""

import os
import sys
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from tests.tokens.toys import folder

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))


@pytest.fixture(autouse=True)
def _as_before():
    cores, torch_threads, arrow_threads = (
        os.sched_getaffinity(0),
        torch.get_num_threads(),
        pa.cpu_count(),
    )
    yield
    os.sched_setaffinity(0, cores)
    torch.set_num_threads(torch_threads)
    pa.set_cpu_count(arrow_threads)


@pytest.mark.parametrize("source", ["made up", "files"])
def test_the_benchmark_prints_rates_and_their_ratio(source, tmp_path, capsys):
    from loader import main

    more = []
    if source == "files":
        folder(tmp_path, [500])
        more = ["--tokens", str(tmp_path), "--split", "val"]
    numbers = main(["--jets", "500", "--batch-jets", "100", "--repeats", "1", *more])
    assert all(number > 0 for number in numbers.values())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("125 jets" if source == "files" else "500 jets")
    assert lines[1].startswith("Python lists") and lines[1].endswith(" 1.0 x")
    assert len(lines) == 1 + len(numbers)
