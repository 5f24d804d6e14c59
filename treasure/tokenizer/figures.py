"""Figures of a tokenizer: original against decoded particles and jets."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from treasure.config.tokenizer import FeatureConfig
from treasure.report.figures import histogram_comparison, save
from treasure.tokenizer.calibration import jet_pt_mass
from treasure.tokenizer.features import Kinematic
from treasure.tokenizer.jetdata import Jets
from treasure.tokenizer.metrics import Reconstruction
from treasure.tokenizer.particles import Particles

__all__ = ["write_figures"]

_BINS = 50

Values = NDArray[np.floating]


class _Quantity(NamedTuple):
    original: Values
    decoded: Values
    bins: Values
    label: str
    log: bool = False


def write_figures(
    directory: Path, jets: Jets, found: Reconstruction, taus: tuple[Values, Values]
) -> list[Path]:
    """Draw particle pT, delta eta, delta phi, and jet pT, mass and tau32.

    Parameters
    ----------
    directory
        Where the PNG files go.
    jets, found
        Test jets, and what came back of them.
    taus
        tau32 before and after, see `treasure.tokenizer.metrics.tau32_sample`.

    Returns
    -------
    list of Path
        ``particle_pt.png``, …, ``jet_tau32.png``.
    """
    counts, axes = jets.particles.counts, jets.particles.axes
    features = Kinematic(FeatureConfig())
    before = features.raw(jets.particles)
    after = features.raw(Particles(found.momenta, counts, axes))
    pt, mass = jet_pt_mass(jets.particles.momenta, counts)
    decoded_pt, decoded_mass = jet_pt_mass(found.momenta, counts)
    angles = np.linspace(-0.8, 0.8, _BINS + 1)
    energies = np.geomspace(0.3, 500.0, _BINS + 1)
    quantities = {
        "particle_pt": _Quantity(
            np.exp(before[:, 0]), np.exp(after[:, 0]), energies, "particle $p_T$ [GeV]", True
        ),
        "particle_delta_eta": _Quantity(
            before[:, 1], after[:, 1], angles, r"particle $\Delta\eta$", True
        ),
        "particle_delta_phi": _Quantity(
            before[:, 2], after[:, 2], angles, r"particle $\Delta\phi$", True
        ),
        "jet_pt": _Quantity(pt, decoded_pt, _bins(pt), "jet $p_T$ [GeV]"),
        "jet_mass": _Quantity(mass, decoded_mass, _bins(mass), "jet mass [GeV]"),
        "jet_tau32": _Quantity(*taus, np.linspace(0, 1, 31), r"jet $\tau_{32}$"),
    }
    paths = []
    for name, quantity in quantities.items():
        series = {"original": quantity.original, "decoded": quantity.decoded}
        figure = histogram_comparison(
            series, quantity.bins, quantity.label, ratio_to="original", log=quantity.log
        )
        if name == "particle_pt":
            figure.axes[0].set_xscale("log")
        paths.append(save(figure, Path(directory) / f"{name}.png"))
    return paths


def _bins(values: Values) -> NDArray[np.float64]:
    """Bins that hold nearly all values."""
    low, high = np.percentile(values, [0.2, 99.5]) if len(values) else (0.0, 1.0)
    return np.linspace(float(low), max(float(high), float(low) + 1.0), _BINS + 1)
