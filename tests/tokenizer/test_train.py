import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.tokenizer.toys import SMALL, toy_jets, write_table
from treasure.errors import DataError
from treasure.store import checksums
from treasure.tokenizer.artefact import Tokenizer
from treasure.tokenizer.calibration import Calibration, fit_calibration, jet_pt_mass
from treasure.tokenizer.metrics import tau32
from treasure.tokenizer.particles import Particles, pack
from treasure.tokenizer.train import CHECKPOINT, train_tokenizer

FILES = [
    "tokenizer.json", "tokenizer.safetensors", "codebook.npz", "encoder.onnx", "decoder.onnx",
    "portable.py", "README.md", "metrics.json", "training.csv",
]  # fmt: skip
FIGURES = [
    "particle_pt.png", "particle_delta_eta.png", "particle_delta_phi.png",
    "jet_pt.png", "jet_mass.png", "jet_tau32.png",
]  # fmt: skip


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    folder = tmp_path_factory.mktemp("jets")
    return {
        "one": [write_table(folder / "one.h5", 300, 0)],
        "two": [write_table(folder / "two.h5", 200, 1, 1)],
    }


def train(tables: dict[str, list[Path]], directory: Path, **options: Any) -> dict[str, Any]:
    return train_tokenizer(tables, SMALL, seed=3, directory=directory, device="cpu", **options)


@pytest.fixture(scope="module")
def trained(tables: dict[str, list[Path]], tmp_path_factory: pytest.TempPathFactory) -> Any:
    directory = tmp_path_factory.mktemp("trained")
    return directory, train(tables, directory)


def bytes_of(directory: Path) -> dict[str, Any]:
    return {name: checksums(directory / name)["sha256"] for name in FILES + FIGURES}


def test_training_leaves_an_artefact_and_figures(trained: Any):
    directory, metrics = trained
    assert sorted(p.name for p in directory.iterdir()) == sorted(FILES + FIGURES)
    tokenizer = Tokenizer.load(directory)
    assert tokenizer.provenance["datasets"] == {"one": ["one.h5"], "two": ["two.h5"]}
    written = json.loads((directory / "metrics.json").read_text())
    assert "seconds" not in written
    assert metrics["seconds"] > 0
    assert written["codes_used"] > 32
    assert written["training"]["jets"] == 350
    losses = [epoch["validation_loss"] for epoch in written["training"]["epochs"]]
    assert len(losses) == 3
    assert written["training"]["best_epoch"] == 1 + int(np.argmin(losses))
    assert abs(written["response"]["all"]["jet_pt"]["median"] - 1) < 0.05
    assert written["resolution"]["log_pt"]["rms"] < 0.5


class Killed(Exception):
    pass


def stop_at(step: int) -> Any:
    def stop(done: int, total: int) -> None:
        if done == step:
            raise Killed

    return stop


def test_an_interrupted_training_ends_in_the_same_bytes_with_any_number_of_threads_around(
    trained: Any, tables: dict[str, list[Path]], tmp_path: Path
):
    with pytest.raises(Killed):
        train(tables, tmp_path, progress=stop_at(5))
    assert not (tmp_path / CHECKPOINT).exists()
    with pytest.raises(Killed):
        train(tables, tmp_path, progress=stop_at(28))
    steps: list[int] = []
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        train(tables, tmp_path, progress=lambda done, total: steps.append(done))
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
    assert steps == list(range(23, 34))
    assert bytes_of(tmp_path) == bytes_of(trained[0])


KILL_ME = """
import sys
from pathlib import Path
from tests.tokenizer.toys import SMALL
from treasure.tokenizer.train import train_tokenizer
one, two, directory = map(Path, sys.argv[1:])
def show(done, total):
    print(done, flush=True)
tables = {"one": [one], "two": [two]}
train_tokenizer(tables, SMALL, seed=3, directory=directory, device="cpu", progress=show)
"""


def test_a_killed_process_is_resumed(trained: Any, tables: dict[str, list[Path]], tmp_path: Path):
    home = Path(__file__).resolve().parents[2]
    paths = [str(tables["one"][0]), str(tables["two"][0]), str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, "-c", KILL_ME, *paths],
        cwd=home,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(home)},
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "15":
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert (tmp_path / CHECKPOINT).exists()
    train(tables, tmp_path)
    assert bytes_of(tmp_path) == bytes_of(trained[0])


def test_a_damaged_checkpoint_is_refused(tables: dict[str, list[Path]], tmp_path: Path):
    with pytest.raises(Killed):
        train(tables, tmp_path, progress=stop_at(12))
    data = bytearray((tmp_path / CHECKPOINT).read_bytes())
    data[-1] ^= 1
    (tmp_path / CHECKPOINT).write_bytes(bytes(data))
    with pytest.raises(DataError, match="damaged checkpoint"):
        train(tables, tmp_path)


def test_the_checkpoint_of_another_training_is_not_resumed(
    tables: dict[str, list[Path]], tmp_path: Path
):
    options: dict[str, Any] = {"directory": tmp_path, "device": "cpu"}
    with pytest.raises(Killed):
        train_tokenizer(tables, SMALL, seed=4, progress=stop_at(12), **options)
    with pytest.raises(Killed):
        train_tokenizer(tables, SMALL, seed=3, progress=stop_at(1), **options)


def test_no_jets_of_a_split_is_an_error(tmp_path: Path):
    path = write_table(tmp_path / "few.h5", 4)
    with pytest.raises(DataError, match=r"split 'val'.*few\.h5"):
        train({"few": [path]}, tmp_path / "out")


def test_a_jet_with_nan_is_refused_by_table_and_row(tmp_path: Path):
    import h5py

    path = write_table(tmp_path / "bad.h5", 100)
    with h5py.File(path, "r+") as file:
        file["PFCands"][2, 1, 0] = np.nan
    with pytest.raises(DataError, match=r"bad\.h5.*jet 2"):
        train({"bad": [path]}, tmp_path / "out")


def test_momenta_of_two_conventions_are_not_mixed(tmp_path: Path):
    import h5py

    paths = {name: [write_table(tmp_path / f"{name}.h5", 20)] for name in "ab"}
    with h5py.File(paths["b"][0], "r+") as file:
        file.attrs["puppi"] = "applied"
    with pytest.raises(DataError, match=r"b\.h5 \(applied\).*a\.h5 \(stored\).*apply_puppi"):
        train(paths, tmp_path / "out")


def test_the_calibration_finds_what_was_done_to_jets():
    particles = pack(*toy_jets(400, 9))

    def decode(calibration: Calibration) -> np.ndarray:
        """Particles of mass 0.3 GeV whose pT came back 4 % too low."""
        px, py, pz, _ = particles.momenta.astype(np.float64).T * 0.96 * calibration.pt_scale
        energy = np.sqrt(px**2 + py**2 + pz**2 + calibration.particle_mass**2)
        return np.stack([px, py, pz, energy], axis=1)

    fitted = fit_calibration(particles, decode)
    assert fitted.pt_scale == pytest.approx(1 / 0.96, abs=1e-3)
    assert fitted.particle_mass == pytest.approx(0.13957, abs=0.02)
    pt, mass = jet_pt_mass(particles.momenta, particles.counts)
    decoded_pt, decoded_mass = jet_pt_mass(decode(fitted), particles.counts)
    assert np.median(decoded_pt / pt) == pytest.approx(1, abs=1e-3)
    assert np.median(decoded_mass / mass) == pytest.approx(1, abs=5e-3)


def test_mass_and_pt_of_two_particles():
    momenta = np.array([[30.0, 0, 0, 30.0], [0, 40.0, 0, 40.0], [1, 0, 0, 1]], np.float32)
    pt, mass = jet_pt_mass(momenta, np.array([2, 0, 1]))
    np.testing.assert_allclose(pt, [50, 0, 1])
    np.testing.assert_allclose(mass, [np.sqrt(70**2 - 50**2), 0, 0], atol=1e-5)


def test_three_prongs_have_a_small_tau32():
    rng = np.random.default_rng(1)
    jets = []
    for prongs in (2, 3):
        angle = np.repeat(np.arange(prongs) * 2 * np.pi / prongs, 10)
        eta = 0.4 * np.cos(angle) + rng.normal(0, 0.01, len(angle))
        phi = 0.4 * np.sin(angle) + rng.normal(0, 0.01, len(angle))
        jets.append(10 * np.stack([np.cos(phi), np.sin(phi), np.sinh(eta), np.cosh(eta)], axis=1))
    single = np.array([[5.0, 0, 0, 5.0]])
    particles = Particles(
        np.concatenate([*jets, single]).astype(np.float32),
        np.array([20, 30, 1]),
        np.zeros((3, 2), np.float32),
    )
    two, three, none = tau32(particles.momenta, particles.counts)
    assert three < 0.2 < 0.4 < two
    assert np.isnan(none)
