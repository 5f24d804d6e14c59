"""Energy in the calorimeters: clusters of photons, towers of hadrons, the forward calorimeter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from treasure.config.simulation import Detector

__all__ = [
    "Clusters",
    "Deposits",
    "forward_clusters",
    "hadron_clusters",
    "photon_clusters",
    "reaches_calorimeter",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

#: Where ECAL and HCAL granularity change, and where the forward calorimeter begins, in |eta|
#: (CMS JINST 3 S08004, ch. 4 and 5).
ECAL_BARREL_EDGE = 1.479
HCAL_BARREL_EDGE = 1.6
FORWARD_EDGE = 3.0


@dataclass(frozen=True)
class Deposits:
    """What enters a calorimeter, flat: event, direction and energy [GeV] of each particle."""

    event: IntArray
    eta: FloatArray
    phi: FloatArray
    energy: FloatArray

    def __getitem__(self, which: BoolArray | IntArray) -> Deposits:
        return Deposits(self.event[which], self.eta[which], self.phi[which], self.energy[which])

    def join(self, other: Deposits) -> Deposits:
        """These deposits and then the others."""
        return Deposits(
            np.concatenate([self.event, other.event]),
            np.concatenate([self.eta, other.eta]),
            np.concatenate([self.phi, other.phi]),
            np.concatenate([self.energy, other.energy]),
        )


Clusters = Deposits


def reaches_calorimeter(
    pt: FloatArray, eta: FloatArray, charge: FloatArray, detector: Detector
) -> BoolArray:
    """Whether a particle from the centre reaches the calorimeter rather than curling up before it.

    In the barrel the diameter of the circle, 2 pT / (0.3 B) in m, GeV and T, must exceed the
    radius.
    """
    turning = 0.5 * 0.3 * detector.magnetic_field * detector.calorimeter_radius
    return (charge == 0) | (pt > turning) | (np.abs(eta) > ECAL_BARREL_EDGE)


def _cells(deposits: Deposits, size: tuple[float, float], edge: float) -> tuple[IntArray, IntArray]:
    """Numbers of the occupied cells, and the place in them of each deposit's cell."""
    outer = np.abs(deposits.eta) > edge
    width = np.where(outer, size[1], size[0])
    rows = int(np.ceil(2 * 10.0 / min(size)))  # |eta| below 10 is far more than is ever given
    columns = int(np.ceil(2 * np.pi / min(size))) + 1
    row = np.floor(deposits.eta / width).astype(np.int64) + rows // 2
    column = np.floor(np.mod(deposits.phi, 2 * np.pi) / width).astype(np.int64)
    number = ((deposits.event * 2 + outer) * rows + row) * columns + column
    cells, place = np.unique(number, return_inverse=True)
    return cells, place


def _merge(deposits: Deposits, place: IntArray, n: int) -> Clusters:
    """Total energy and energy-weighted direction of the deposits of each of `n` cells."""
    energy: FloatArray = np.bincount(place, deposits.energy, n).astype(np.float64)
    first = np.full(n, len(place), dtype=np.int64)
    np.minimum.at(first, place, np.arange(len(place)))
    event = deposits.event[first]
    # Azimuths are averaged as differences to the first deposit, so that pi and -pi are neighbours.
    origin = deposits.phi[first]
    difference = np.mod(deposits.phi - origin[place] + np.pi, 2 * np.pi) - np.pi
    return Clusters(
        event=event,
        eta=np.bincount(place, deposits.energy * deposits.eta, n) / energy,
        phi=origin + np.bincount(place, deposits.energy * difference, n) / energy,
        energy=energy,
    )


def _smear_direction(
    clusters: Clusters, sigma: FloatArray, random: np.random.Generator
) -> Clusters:
    normal = random.standard_normal((2, len(clusters.event)))
    return Clusters(
        clusters.event,
        clusters.eta + sigma * normal[0],
        clusters.phi + sigma * normal[1],
        clusters.energy,
    )


def photon_clusters(
    deposits: Deposits, detector: Detector, random: np.random.Generator
) -> Clusters:
    """ECAL clusters of photons and of electrons without a track.

    Deposits in the same square of `ecal_merging_cells` crystals are one cluster; its energy is
    smeared with stochastic, noise and constant term, its direction by a crystal's width over
    sqrt(12). Clusters below `photon_energy_min` are dropped.
    """
    barrel, endcap = detector.ecal_cell
    n = detector.ecal_merging_cells
    cells, place = _cells(deposits, (n * barrel, n * endcap), ECAL_BARREL_EDGE)
    clusters = _merge(deposits, place, len(cells))
    inner = np.abs(clusters.eta) <= ECAL_BARREL_EDGE

    def term(values: tuple[float, float]) -> FloatArray:
        return np.where(inner, values[0], values[1])

    energy = clusters.energy
    sigma = np.sqrt(
        term(detector.ecal_stochastic) ** 2 * energy
        + term(detector.ecal_noise) ** 2
        + (term(detector.ecal_constant) * energy) ** 2
    )
    measured = energy + sigma * random.standard_normal(len(energy))
    clusters = Clusters(clusters.event, clusters.eta, clusters.phi, measured)
    clusters = _smear_direction(clusters, term(detector.ecal_cell) / np.sqrt(12), random)
    return clusters[measured > term(detector.photon_energy_min)]


def hadron_clusters(
    deposits: Deposits,
    track_energy: FloatArray,
    detector: Detector,
    random: np.random.Generator,
) -> Clusters:
    """Neutral hadrons: HCAL towers without tracks, and the excess in towers with tracks.

    Parameters
    ----------
    deposits
        True energies of all hadrons that reach the calorimeter.
    track_energy
        Energy according to the track that belongs to each deposit [GeV]; 0 where there is none.

    Notes
    -----
    The energy of a tower is smeared as a whole. Where tracks point to it, the tracks' energy is
    subtracted and the rest is a neutral hadron if it is above `excess_significance` standard
    deviations of the tower's resolution: the particle-flow rule of CMS arXiv:1706.04965, sec. 4.4.
    Showers wider than a tower and the deflection in the magnetic field are left out.
    """
    cells, place = _cells(deposits, detector.hcal_cell, HCAL_BARREL_EDGE)
    towers = _merge(deposits, place, len(cells))
    tracks = np.bincount(place, track_energy, len(cells))
    sigma = np.sqrt(
        detector.hcal_stochastic**2 * towers.energy + (detector.hcal_constant * towers.energy) ** 2
    )
    measured = towers.energy + sigma * random.standard_normal(len(cells))
    excess = measured - tracks
    inner = np.abs(towers.eta) <= HCAL_BARREL_EDGE
    width = np.where(inner, detector.hcal_cell[0], detector.hcal_cell[1])
    clusters = Clusters(towers.event, towers.eta, towers.phi, excess)
    clusters = _smear_direction(clusters, width / np.sqrt(12), random)
    significant = (tracks == 0) | (excess > detector.excess_significance * sigma)
    return clusters[significant & (excess > detector.hadron_energy_min)]


def forward_clusters(
    deposits: Deposits,
    detector: Detector,
    random: np.random.Generator,
    *,
    electromagnetic: bool,
) -> Clusters:
    """Clusters of the forward calorimeter, abs(eta) from 3 to 5, of one kind of energy."""
    which = 0 if electromagnetic else 1
    cell = detector.hf_cell
    cells, place = _cells(deposits, (cell, cell), FORWARD_EDGE)
    clusters = _merge(deposits, place, len(cells))
    energy = clusters.energy
    sigma = np.sqrt(
        detector.hf_stochastic[which] ** 2 * energy + (detector.hf_constant[which] * energy) ** 2
    )
    measured = energy + sigma * random.standard_normal(len(energy))
    clusters = Clusters(clusters.event, clusters.eta, clusters.phi, measured)
    clusters = _smear_direction(
        clusters, np.full(len(energy), detector.hf_cell / np.sqrt(12)), random
    )
    return clusters[measured > detector.hadron_energy_min]
