"""The benchmark of the training step runs, here with a small network and few jets."""

import sys
from pathlib import Path

import pytest
import torch

from tests.tokenizer.toys import write_table

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

SMALL = [
    *("--device", "cpu", "--steps", "2", "--batch-jets", "8", "--width", "16", "--blocks", "1"),
    *("--threads", "1", "--peak-tflops", "0.1"),
]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("source", ["made up", "table"])
@pytest.mark.parametrize("more", [[], ["--bf16"]])
def test_the_benchmark_prints_both_and_their_ratio(source, more, tmp_path, capsys):
    from training_step import main

    if source == "table":
        more = [*more, "--jets", str(write_table(tmp_path / "jets.h5", 40))]
    numbers = main([*SMALL, *more])
    assert list(numbers) == ["padded to 128", "packed", "ratio", "loading"]
    assert all(number > 0 for number in numbers.values())
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5 and all(line.endswith("% MFU") for line in lines[1:3])


def test_arithmetic_is_counted_as_torch_counts_it():
    from torch.utils.flop_counter import FlopCounterMode
    from training_step import FEATURES, Training, flops, load, parsed

    options = parsed([*SMALL, "--dropout", "0"])
    device = torch.device("cpu")
    batch = load(options, device, lambda: None)[0][0]
    training = Training(options, device, 0)
    with FlopCounterMode(display=False) as counter:
        training.step(batch)
    # The features need no gradient.
    no_need = 2 * len(batch.features) * FEATURES * options.width
    assert counter.get_total_flops() == pytest.approx(flops(options, batch) - no_need, rel=1e-3)
