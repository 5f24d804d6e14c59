"""Made-up jets of two classes for the tests of the comparison: signal is wider."""

from pathlib import Path

import h5py
import numpy as np

from tests.tokenizer.toys import toy_jets
from treasure.config.benchmark import TaggerConfig
from treasure.config.measurement import MeasurementConfig

LABELS = {"qcd": 0, "ttbar": 1}
TAGGER = TaggerConfig(particle_layers=(8, 8), jet_layers=(8,), epochs=4, batch_size=32)
CONFIG = MeasurementConfig(
    max_training_jets=300,
    max_validation_jets=60,
    max_test_jets=120,
    distance_jets=20,
    pt_bin_width=200.0,
    bootstrap=20,
)


def write_classes(directory: Path, jets: int = 600) -> dict[str, list[Path]]:
    """A jet table of each class, splits 60, 10 and 30 %; every tenth top jet has label 0."""
    tables = {}
    for name, label in LABELS.items():
        candidates, kinematics = toy_jets(jets, seed=label)
        if label:  # twice as wide about the axis
            px, py, pz = (candidates[:, :, i].astype(np.float64) for i in range(3))
            pt = np.hypot(px, py)
            present = pt > 0
            slope = np.divide(pz, pt, out=np.zeros_like(pt), where=present)
            eta = 2 * np.arcsinh(slope) - kinematics[:, None, 1]
            delta = np.arctan2(py, px) - kinematics[:, None, 2]
            phi = kinematics[:, None, 2] + 2 * (np.pi - (np.pi - delta) % (2 * np.pi))
            wide = [pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)]
            wide.append(np.sqrt((pt * np.cosh(eta)) ** 2 + 0.13957**2))
            candidates[:, :, :4] = np.where(present[:, :, None], np.stack(wide, axis=2), 0.0)
        path = directory / f"{name}_batch0.h5"
        with h5py.File(path, "w") as file:
            event = np.arange(jets)
            info = np.stack([np.full(jets, 1), np.full(jets, label + 1), event], axis=1)
            file["event_info"] = info.astype(np.int64)
            file["jet_kinematics"] = kinematics
            file["jet_tagging"] = np.full((jets, 13), -1, dtype=np.float32)
            file["PFCands"] = candidates
            of_top = np.where(event % 10 == 9, 0, 1)
            file["label"] = (of_top if label else np.zeros(jets)).astype(np.int32)
            file["split"] = np.array([0, 0, 0, 0, 0, 0, 1, 2, 2, 2], dtype=np.int8)[event % 10]
        tables[name] = [path]
    return tables
