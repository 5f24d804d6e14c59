"""Jet tables that the tests make, plain h5py in the layout of the public files."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from typer.testing import CliRunner

from treasure.cli import commands

KEYS = ("event_info", "jet_kinematics", "jet_tagging", "PFCands")
COLUMNS = {
    "event_info": ["run", "luminosityBlock", "event"],
    "jet_kinematics": ["pt", "eta", "phi", "msoftdrop"],
    "jet_tagging": [
        "nConstituents", "tau1", "tau2", "tau3", "tau4", "particleNet_H4qvsQCD",
        "particleNet_HbbvsQCD", "particleNet_HccvsQCD", "particleNet_QCD", "particleNet_TvsQCD",
        "particleNet_WvsQCD", "particleNet_ZvsQCD", "particleNet_mass",
    ],
    "PFCands": [
        "px", "py", "pz", "E", "d0", "d0Err", "dz", "dzErr", "charge", "pdgId", "puppiWeight",
    ],
}  # fmt: skip


def treasure(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the console program."""
    code = "import sys; sys.argv[0] = 'treasure'; from treasure.cli import app; app()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=os.environ | {"COLUMNS": "200"} | environment,
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
    )  # fmt: skip


def in_process(*arguments: object) -> Any:
    """Run a command of the console program without a process of its own."""
    return CliRunner().invoke(commands, [str(argument) for argument in arguments])


def candidates_at(pt: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Candidates (n, 11) of given pt; every second one has no track details."""
    n = len(pt)
    phi, eta = rng.uniform(-np.pi, np.pi, n), rng.normal(0, 1, n)
    made = np.zeros((n, 11))
    made[:, 0], made[:, 1], made[:, 2] = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    made[:, 3] = pt * np.cosh(eta) * 1.001
    made[:, 4:8] = rng.uniform(0.001, 0.1, (n, 4))
    made[1::2, 4:8] = -1
    made[:, 8] = rng.choice([-1, 1], n)
    made[1::2, 8] = 0
    made[:, 9] = rng.choice([211, 22, 130], n)
    made[:, 10] = rng.uniform(0.1, 1, n)
    return made.astype(np.float32)


def random_jets(jets: int = 12, slots: int = 10, seed: int = 1) -> dict[str, np.ndarray]:
    """Arrays of a jet table: two rows an event, 3 to `slots` candidates a jet."""
    rng = np.random.default_rng([seed, jets, slots])
    rows = np.arange(jets)
    events = np.stack([np.full(jets, 278820), 1 + rows // 6, 1000 + rows // 2], axis=1)
    candidates = np.zeros((jets, slots, 11), np.float32)
    for row in rows:
        count = int(rng.integers(3, slots + 1))
        pt = np.sort(rng.uniform(1, 100, count))[::-1]
        candidates[row, :count] = candidates_at(pt, rng)
    return {
        "event_info": events.astype(np.int64),
        "jet_kinematics": rng.uniform(1, 500, (jets, 4)).astype(np.float32),
        "jet_tagging": rng.uniform(0, 1, (jets, 13)).astype(np.float32),
        "PFCands": candidates,
    }


def write(path: Path, arrays: dict[str, Any], **attributes: Any) -> Path:
    """Write arrays as a file."""
    with h5py.File(path, "w") as file:
        for key, values in arrays.items():
            packed = {} if key == "event_info" or not len(values) else {"compression": "gzip"}
            file.create_dataset(key, data=values, **packed)
        file.attrs.update(attributes)
    return path


def copied(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {key: values.copy() for key, values in arrays.items()}
