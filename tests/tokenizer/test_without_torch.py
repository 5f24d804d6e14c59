"""An artefact in an environment that has numpy and onnxruntime, and nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import awkward as ak
import numpy as np
import pytest

from tests.conftest import HOME
from tests.tokenizer.test_portable import CASES, made
from tests.tokenizer.toys import toy_jets

pytestmark = pytest.mark.slow

_SCRIPT = """
import importlib.util
import numpy as np
from portable import Tokenizer

for package in ("torch", "scipy", "numba", "onnx", "awkward", "safetensors", "treasure"):
    assert importlib.util.find_spec(package) is None, package
jets = np.load("jets.npz")
tokenizer = Tokenizer(".")
ids, counts = tokenizer.encode(jets["candidates"], jets["kinematics"])
assert np.array_equal(ids, jets["ids"]) and np.array_equal(counts, jets["counts"])
momenta = tokenizer.decode(ids, counts, jets["kinematics"][:, 1:3])
assert np.abs(momenta - jets["momenta"]).max() <= 1e-5 * np.abs(momenta).max()
print(len(ids), "particles")
"""


def _run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    keep = {k: v for k, v in os.environ.items() if k.startswith(("PIP_", "SSL_", "LANG", "PATH"))}
    return subprocess.run(
        command, cwd=cwd, env=keep | {"HOME": str(cwd)}, text=True, timeout=500,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The interpreter of a fresh environment with numpy and onnxruntime."""
    folder = tmp_path_factory.mktemp("bare")
    assert _run(sys.executable, "-m", "venv", "environment", cwd=folder).returncode == 0
    python = str(folder / "environment" / "bin" / "python")
    constraints = str(HOME / "constraints.txt")
    installed = _run(
        python, "-m", "pip", "install", "-q", "-c", constraints, "numpy", "onnxruntime", cwd=folder
    )
    if installed.returncode:
        pytest.skip(f"numpy and onnxruntime cannot be installed: {installed.stdout[-300:]}")
    return python


@pytest.mark.parametrize("case", CASES)
def test_tokens_are_the_same_with_numpy_and_onnxruntime_alone(bare: str, case: str, tmp_path: Path):
    tokenizer = made(**CASES[case])
    tokenizer.save(tmp_path)
    counts = np.array([0, 1, 2, 127, 128, 129, 150, *range(5, 60)])
    candidates, kinematics = toy_jets(len(counts), 4, counts)
    tokens = tokenizer.encode(candidates, kinematics)
    flat = ak.flatten(tokens)
    decoded = ak.flatten(tokenizer.decode(tokens, kinematics))
    momenta = np.stack([ak.to_numpy(decoded[name]) for name in ("px", "py", "pz", "E")], axis=1)
    np.savez(
        tmp_path / "jets.npz", candidates=candidates, kinematics=kinematics,
        ids=ak.to_numpy(flat), counts=counts, momenta=momenta,
    )  # fmt: skip
    (tmp_path / "check.py").write_text(_SCRIPT)
    run = _run(bare, "check.py", cwd=tmp_path)
    assert run.returncode == 0, run.stdout
    assert run.stdout == f"{counts.sum()} particles\n"
