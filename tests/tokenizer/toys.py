"""Made-up jets for the tests of tokenizer and tokens: written as a jet table, nothing simulated."""

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from treasure.config.tokenizer import TokenizerConfig

SMALL = TokenizerConfig.model_validate(
    {
        "model": {"width": 12, "decoder_context": 4, "encoder_context": 4},
        "quantizer": {"codes": 64, "dimension": 3, "kmeans_iterations": 3},
        "training": {"epochs": 3, "batch_jets": 32},
        "check": {"jets": 50, "pt_tolerance": 0.3, "mass_tolerance": 0.5},
    }
)


def toy_jets(
    jets: int, seed: int = 0, counts: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Candidates (n, 150, 11) by falling pT, and kinematics (n, 4); a falling pT spectrum and
    narrow angles, about as in real jets."""
    rng = np.random.default_rng([seed, 17])
    if counts is None:
        counts = rng.integers(5, 40, jets)
    real = np.arange(150)[None, :] < counts[:, None]
    pt = -np.sort(-np.where(real, np.exp(rng.normal(1.5, 1.2, (jets, 150))), 0.0), axis=1)
    eta0, phi0 = rng.uniform(-2, 2, jets), rng.uniform(-np.pi, np.pi, jets)
    spread = 0.3 / (1 + pt / 10)
    eta = eta0[:, None] + spread * rng.normal(size=pt.shape)
    phi = phi0[:, None] + spread * rng.normal(size=pt.shape)
    candidates = np.zeros((jets, 150, 11), dtype=np.float32)
    candidates[:, :, 0], candidates[:, :, 1] = pt * np.cos(phi), pt * np.sin(phi)
    candidates[:, :, 2] = pt * np.sinh(eta)
    candidates[:, :, 3] = np.sqrt((pt * np.cosh(eta)) ** 2 + 0.13957**2)
    candidates[:, :, 4:8], candidates[:, :, 10] = -1.0, 1.0
    candidates[~real] = 0.0
    kinematics = np.stack([pt.sum(axis=1), eta0, phi0, np.full(jets, -1.0)], axis=1)
    return candidates, kinematics.astype(np.float32)


def write_table(path: Path, jets: int, seed: int = 0, label: int = 0) -> Path:
    """A jet table of toy jets; two jets an event; splits 70, 10 and 20 %."""
    candidates, kinematics = toy_jets(jets, seed)
    event = np.arange(jets) // 2
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        info = np.stack([np.full(jets, 1), np.full(jets, seed + 1), event], axis=1)
        file["event_info"] = info.astype(np.int64)
        file["jet_kinematics"] = kinematics
        file["jet_tagging"] = np.full((jets, 13), -1, dtype=np.float32)
        file["PFCands"] = candidates
        file["label"] = np.full(jets, label, dtype=np.int32)
        file["split"] = np.array([0, 0, 0, 0, 0, 0, 0, 1, 2, 2], dtype=np.int8)[event % 10]
    return path
