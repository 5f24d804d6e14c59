"""What decoding restores that a code cannot say: a scale of pT and of angles, and a mass.

A code stands for many particles, and decoding returns about their mean: exp(mean log pT) is below
the mean pT, and mean angles spread less than angles. The mass of a particle is not among the
features at all, yet masses make about 3 % of the mass of a light jet. Three numbers, fitted once on
jets that the networks were not trained on, and without labels, undo the bias of the median jet.
They are part of the artefact; they cannot make a single jet better, only the ensemble unbiased.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from treasure.config.section import Section
from treasure.tokenizer.particles import Particles, jet_sums

__all__ = ["CHARGED_PION_MASS", "Calibration", "fit_calibration", "jet_pt_mass"]

CHARGED_PION_MASS = 0.13957039  # GeV, Particle Data Group 2024
_LARGEST_MASS = 0.5  # GeV; a neutral kaon, the heaviest hypothesis of particle flow, has 0.4976
_LARGEST_CORRECTION = 1.1
_ROUNDS = 4
_BISECTIONS = 12


class Calibration(Section):
    """Constants of the decoder beyond its networks."""

    pt_scale: float = Field(
        1.0, gt=0, description="Factor on every decoded pT: the median jet pT response becomes 1."
    )
    angle_scale: float = Field(
        1.0,
        gt=0,
        description="Factor on decoded angles to the axis: the median jet mass response becomes 1"
        " in the half of the jets with the larger mass over pT.",
    )
    particle_mass: float = Field(
        CHARGED_PION_MASS,
        ge=0,
        description="Mass of every decoded particle, GeV: the same in the other half, where the"
        " masses of the particles matter most.",
    )


def jet_pt_mass(
    momenta: NDArray[np.floating], counts: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Jet pT and mass (N,) in GeV: sums of packed px, py, pz, E (P, 4)."""
    px, py, pz, energy = jet_sums(momenta, counts).T
    mass = np.sqrt(np.maximum(energy**2 - px**2 - py**2 - pz**2, 0.0))
    return np.hypot(px, py), mass


def fit_calibration(
    original: Particles, decode: Callable[[Calibration], NDArray[np.floating]]
) -> Calibration:
    """Fit the calibration on jets and what their tokens decode to.

    Parameters
    ----------
    original
        The jets.
    decode
        Packed px, py, pz, E (P, 4) of the same jets under a calibration.

    Returns
    -------
    Calibration
        The default where there are no jets of two or more particles. Factors stay within 10 % of 1,
        and the mass between 0 and 0.5 GeV: what lies beyond is no small bias.
    """
    pt, mass = jet_pt_mass(original.momenta, original.counts)
    usable = (original.counts >= 2) & (mass > 0) & (pt > 0)
    if not usable.any():
        return Calibration()
    relative = mass[usable] / pt[usable]
    broad = relative >= np.median(relative)
    narrow = ~broad if (~broad).any() else broad

    def responses(calibration: Calibration) -> tuple[float, float, float]:
        decoded_pt, decoded_mass = jet_pt_mass(decode(calibration), original.counts)
        ratio = decoded_mass[usable] / mass[usable]
        by_pt = decoded_pt[usable] / pt[usable]
        return (
            float(np.median(by_pt)),
            float(np.median(ratio[broad])),
            float(np.median(ratio[narrow])),
        )

    def with_(calibration: Calibration, **values: Any) -> Calibration:
        return calibration.model_copy(update=values)

    fitted = Calibration()
    for _ in range(_ROUNDS):
        for name, index in (("pt_scale", 0), ("angle_scale", 1)):
            factor = getattr(fitted, name) / max(responses(fitted)[index], 1e-3)
            factor = min(max(factor, 1 / _LARGEST_CORRECTION), _LARGEST_CORRECTION)
            fitted = with_(fitted, **{name: factor})
        low, high = 0.0, _LARGEST_MASS
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            if responses(with_(fitted, particle_mass=middle))[2] < 1:
                low = middle
            else:
                high = middle
        fitted = with_(fitted, particle_mass=(low + high) / 2)
    return fitted
