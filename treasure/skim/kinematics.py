"""Four-momenta of candidates, and their order."""

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from treasure.skim.record import offsets_of

__all__ = ["cartesian", "charge_of", "delta_r", "four_momentum", "pt_order"]

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

# Charges of the particles that particle flow knows; all others (130, 22, 1, 2) have none.
_CHARGES = {211: 1, -211: -1, 11: -1, -11: 1, 13: -1, -13: 1}


def cartesian(
    pt: Float32, eta: Float32, phi: Float32, mass: Float32
) -> tuple[Float64, Float64, Float64, Float64]:
    """Cartesian four-momentum in double precision.

    A negative (off-shell) mass counts as space-like: ``E² = p² − m²``, at least 0, as in ROOT's
    TLorentzVector.

    Parameters
    ----------
    pt, eta, phi, mass
        Shape (n,); GeV.

    Returns
    -------
    px, py, pz, E: float64, shape (n,), GeV.
    """
    p_t, angle = np.abs(pt.astype(np.float64)), phi.astype(np.float64)
    m = mass.astype(np.float64)
    px, py = p_t * np.cos(angle), p_t * np.sin(angle)
    pz = p_t * np.sinh(eta.astype(np.float64))
    energy = np.sqrt(np.maximum(px * px + py * py + pz * pz + np.copysign(m * m, m), 0.0))
    return px, py, pz, energy


def four_momentum(
    pt: Float32, eta: Float32, phi: Float32, mass: Float32
) -> tuple[Float32, Float32, Float32, Float32]:
    """Cartesian four-momentum: double precision inside, rounded once, as ROOT's TLorentzVector.

    Parameters
    ----------
    pt, eta, phi, mass
        Shape (n,); GeV; a negative mass as in `cartesian`.

    Returns
    -------
    px, py, pz, E: float32, shape (n,), GeV.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # infinities and NaN, which callers refuse
        return tuple(v.astype(np.float32) for v in cartesian(pt, eta, phi, mass))  # type: ignore[return-value]


def charge_of(pdg_id: NDArray[np.int32]) -> NDArray[np.int32]:
    """Charge of particle-flow candidates by PDG id: ±211, ±11 and ±13 have one, all others none.

    Parameters
    ----------
    pdg_id
        Shape (n,): 211 charged hadron, 11 electron, 13 muon, 22 photon, 130 neutral hadron, 1 and
        2 the forward calorimeter; see the PDG's Monte Carlo particle numbering scheme.

    Returns
    -------
    int32, shape (n,), in units of the positron's.
    """
    charge = np.zeros(len(pdg_id), np.int32)
    for particle, value in _CHARGES.items():
        charge[pdg_id == particle] = value
    return charge


def delta_r(
    eta_1: NDArray[np.floating],
    phi_1: NDArray[np.floating],
    eta_2: NDArray[np.floating],
    phi_2: NDArray[np.floating],
) -> NDArray[np.float64]:
    """Distance ``sqrt(Δη² + Δφ²)`` with Δφ in [−π, π), elementwise."""
    difference = np.asarray(phi_1, np.float64) - np.asarray(phi_2, np.float64)
    delta_phi = np.mod(difference + np.pi, 2 * np.pi) - np.pi
    return np.hypot(np.asarray(eta_1, np.float64) - np.asarray(eta_2, np.float64), delta_phi)


def pt_order(
    counts: NDArray[np.int64], pt: Float32, *, first: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sort the candidates of each row by falling pt; equal ones stay in the order of the file.

    Parameters
    ----------
    counts
        Candidates of each row, int64, shape (n_rows,).
    pt
        float32, shape (n_candidates,).
    first
        Look at the first so many of a row alone, in the order of the file; None: at all.

    Returns
    -------
    order
        int64: positions of the kept candidates, row after row.
    counts
        int64, shape (n_rows,): how many each row keeps.
    """
    start = offsets_of(counts)[:-1]
    if first is not None and (counts > first).any():
        position = np.arange(len(pt)) - np.repeat(start, counts)
        pt = pt[position < first]
        counts = np.minimum(counts, first)
    rows = ak.unflatten(pt, counts)
    order = ak.argsort(rows, axis=1, ascending=False, stable=True) + start
    return np.asarray(ak.flatten(order, axis=1)), counts
