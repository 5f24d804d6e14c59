"""The benchmark of encoding without torch runs, here with few jets."""

import math
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import HOME
from tests.tokenizer.test_artefact import TOKENIZER
from tests.tokenizer.toys import write_table

pytest.importorskip("onnxruntime", reason="needs the extra `onnx`")

sys.path.insert(0, str(HOME / "benchmarks"))


def test_the_benchmark_compares_the_same_tokens(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from without_torch import main

    threads = torch.get_num_threads()
    TOKENIZER.save(tmp_path / "tokenizer")
    jets = write_table(tmp_path / "jets.h5", 30)
    arguments = [str(tmp_path / "tokenizer"), str(jets), "--batches", "1", "8", "--rounds", "1"]
    ratios = main(arguments)
    torch.set_num_threads(threads)
    printed = capsys.readouterr().out
    assert printed.startswith("30 jets, ") and "; 0 tokens differ" in printed
    assert set(ratios) == {"encode_1", "decode_1", "encode_8", "decode_8"}
    assert all(ratio > 0 and math.isfinite(ratio) for ratio in ratios.values())
