"""Particles of many jets as one flat array with offsets, and the features that taggers see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from treasure.errors import DataError

__all__ = [
    "FEATURES",
    "Particles",
    "jet_observables",
    "kinematic_features",
    "scaled_to_range",
    "standardised",
]

FEATURES = ("log_pt", "log_relative_pt", "delta_eta", "delta_phi", "delta_r")
"""Features of a particle, of `kinematic_features`; all of them exist for decoded particles too."""

FLOOR = 1e-6
"""Smallest pT [GeV] before the logarithm: below any detector's threshold."""


@dataclass(frozen=True)
class Particles:
    """The particles of `n_jets` jets, one after the other.

    Attributes
    ----------
    values : array, shape (n_particles, …)
        Features (float32), or token ids (int32; one column per codebook if there are several).
    offsets : array of int64, shape (n_jets + 1,)
        Jet `i` has the particles ``values[offsets[i]:offsets[i + 1]]``.
    """

    values: npt.NDArray[Any]
    offsets: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        counts = np.diff(self.offsets)
        if self.offsets[0] != 0 or self.offsets[-1] != len(self.values) or (counts < 0).any():
            raise DataError(
                f"particles: offsets from {self.offsets[0]} to {self.offsets[-1]}, expected "
                f"ascending from 0 to {len(self.values)}"
            )

    @classmethod
    def from_counts(
        cls, values: npt.NDArray[Any], counts: npt.NDArray[np.integer[Any]]
    ) -> Particles:
        """Build from the number of particles of each jet, shape (n_jets,)."""
        return cls(values, np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Number of particles of each jet, shape (n_jets,)."""
        return np.diff(self.offsets)

    @property
    def jets(self) -> npt.NDArray[np.int64]:
        """Number of the jet of each particle, shape (n_particles,)."""
        return np.repeat(np.arange(len(self)), self.counts)

    def rows(self, jets: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int64]:
        """Return the rows of `values` that belong to the given jets, jet after jet."""
        counts = self.counts[jets]
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        return np.repeat(self.offsets[jets] - starts, counts) + np.arange(counts.sum())

    def select(self, jets: npt.NDArray[np.integer[Any]]) -> Particles:
        """Return the given jets, in the given order."""
        return Particles.from_counts(self.values[self.rows(jets)], self.counts[jets])

    def leading(self, maximum: int) -> Particles:
        """Return the first `maximum` particles of each jet: the hardest where stored by pT."""
        position = np.arange(len(self.values)) - self.offsets[:-1][self.jets]
        return Particles.from_counts(
            self.values[position < maximum], np.minimum(self.counts, maximum)
        )


def kinematic_features(particles: Particles, jets: npt.ArrayLike) -> Particles:
    """Return the features of particles relative to their jets.

    Parameters
    ----------
    particles : Particles
        With `values` (n_particles, ≥ 3): px, py, pz [GeV].
    jets : array_like, shape (n_jets, ≥ 3)
        pT [GeV], η, φ of each jet; the same for every input that is compared.

    Returns
    -------
    Particles
        `values` float32 (n_particles, 5): log(pT / GeV), log(pT / jet pT), Δη, Δφ in (−π, π], and
        ΔR = √(Δη² + Δφ²); see `FEATURES`.
    """
    axes = np.asarray(jets, dtype=np.float64)[particles.jets]
    px, py, pz = (particles.values[:, i].astype(np.float64) for i in range(3))
    pt = np.maximum(np.hypot(px, py), FLOOR)
    delta_eta = np.arcsinh(pz / pt) - axes[:, 1]
    delta_phi = np.pi - (np.pi - (np.arctan2(py, px) - axes[:, 2])) % (2 * np.pi)
    features = (
        np.log(pt),
        np.log(pt / axes[:, 0]),
        delta_eta,
        delta_phi,
        np.hypot(delta_eta, delta_phi),
    )
    return Particles(np.stack(features, axis=1).astype(np.float32), particles.offsets)


def jet_observables(particles: Particles) -> dict[str, npt.NDArray[np.float64]]:
    """Return pT and mass [GeV] of the summed four-momenta, each of shape (n_jets,).

    `particles.values` are px, py, pz, E [GeV]. A negative m² (rounding) counts as 0.
    """
    momenta = particles.values[:, :4].astype(np.float64)
    total = np.stack(
        [np.bincount(particles.jets, momenta[:, i], minlength=len(particles)) for i in range(4)]
    )
    squared_mass = total[3] ** 2 - (total[:3] ** 2).sum(axis=0)
    return {"pt": np.hypot(total[0], total[1]), "mass": np.sqrt(np.maximum(squared_mass, 0.0))}


def standardised(particles: Particles, reference: npt.NDArray[np.integer[Any]]) -> Particles:
    """Return the features shifted and scaled to mean 0 and variance 1 on the `reference` jets.

    A feature that is constant there is only shifted.
    """
    sample = particles.values[particles.rows(reference)].astype(np.float64)
    if len(sample) == 0:
        raise DataError("particles: the jets of the training split have no particles at all")
    spread = sample.std(axis=0)
    scaled = (particles.values - sample.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return Particles(scaled.astype(np.float32), particles.offsets)


def scaled_to_range(
    particles: Particles, reference: npt.NDArray[np.integer[Any]], limit: float = 5.0
) -> Particles:
    """Return the features shifted and scaled to ±`limit` at their ends on the `reference` jets.

    What lies beyond in other jets is put at the end; a constant feature becomes 0. The default is
    that of arXiv:2310.02989.
    """
    sample = particles.values[particles.rows(reference)].astype(np.float64)
    if len(sample) == 0:
        raise DataError("particles: the jets of the training split have no particles at all")
    low, high = sample.min(axis=0), sample.max(axis=0)
    middle, half = (low + high) / 2, (high - low) / 2
    scaled = limit * (particles.values - middle) / np.where(half > 0, half, np.inf)
    return Particles(np.clip(scaled, -limit, limit).astype(np.float32), particles.offsets)
