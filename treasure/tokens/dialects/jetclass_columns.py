"""Columns of JetClass and what they are in the jet table: names, units, values that mean none.

JetClass (arXiv:2202.03772) and JetClass-II (arXiv:2405.12972) come from Delphes: impact parameters
are in mm, 0 with error 0 where there is no track, and PUPPI is in the momenta already. `part_deta`
is turned so that it grows away from the centre of the detector: (eta - jet_eta) · sign(jet_eta).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from treasure.errors import DataError

__all__ = [
    "CLASSES",
    "FLAGS",
    "JETS",
    "MOMENTA",
    "TRACK",
    "angles",
    "axis_of_sum",
    "flags_of",
    "jet_energy",
    "known_axis",
    "pdg_id_of",
    "track_from_jetclass",
    "track_to_jetclass",
]

MOMENTA = ("part_px", "part_py", "part_pz", "part_energy")
# JetClass → jet table; JetClass in mm, the jet table in cm
TRACK = {
    "part_d0val": "d0", "part_d0err": "d0Err", "part_dzval": "dz", "part_dzerr": "dzErr",
}  # fmt: skip
MM_PER_CM = np.float32(10)
NO_TRACK = np.float32(-1)

# flag → |pdgId| as CMS particle flow has it
FLAGS = {
    "part_isChargedHadron": 211, "part_isNeutralHadron": 130, "part_isPhoton": 22,
    "part_isElectron": 11, "part_isMuon": 13,
}  # fmt: skip
# jet_kinematics and jet_tagging of the jet table
JETS = {
    "jet_sdmass": "msoftdrop", "jet_nparticles": "nConstituents",
    "jet_tau1": "tau1", "jet_tau2": "tau2", "jet_tau3": "tau3", "jet_tau4": "tau4",
}  # fmt: skip
# the ten of JetClass, in its order, which number them 0 to 9
CLASSES = (
    "QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl",
)  # fmt: skip


def angles(
    momenta: NDArray[np.floating], axes: NDArray[np.floating]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """part_deta and part_dphi (P,) of momenta (P, 4) and axes (P, 2): eta, phi of the jet."""
    px, py, pz = momenta[:, :3].astype(np.float64).T
    eta, phi = np.asarray(axes, np.float64).T
    deta = np.arcsinh(pz / np.maximum(np.hypot(px, py), 1e-12)) - eta
    deta *= np.where(eta < 0, -1.0, 1.0)
    dphi = np.arctan2(py, px) - phi
    dphi -= 2 * np.pi * np.round(dphi / (2 * np.pi))
    return deta.astype(np.float32), dphi.astype(np.float32)


def jet_energy(sums: NDArray[np.float64], kinematics: NDArray[np.floating]) -> NDArray[np.float32]:
    """Energy (N,) of jets with the mass of their particles, scaled to the pt of the jet.

    Parameters
    ----------
    sums : (N, 4)
        px, py, pz, E of the particles, GeV.
    kinematics : (N, >=3)
        pt, eta, phi of the jets; pt may be calibrated, so that the particles add up to less.
    """
    pt_sum = np.hypot(sums[:, 0], sums[:, 1])
    mass2 = np.maximum(sums[:, 3] ** 2 - (sums[:, :3] ** 2).sum(axis=1), 0.0)
    pt, eta = np.asarray(kinematics[:, :2], np.float64).T
    scale = np.divide(pt, pt_sum, out=np.ones_like(pt), where=pt_sum > 0)
    return np.sqrt((pt * np.cosh(eta)) ** 2 + mass2 * scale**2).astype(np.float32)


def axis_of_sum(sums: NDArray[np.float64]) -> NDArray[np.float32]:
    """pt, eta, phi (N, 3) of sums of momenta (N, 4); 0 for a jet without particles."""
    px, py, pz = sums[:, :3].T
    pt = np.hypot(px, py)
    eta = np.arcsinh(np.divide(pz, pt, out=np.zeros_like(pt), where=pt > 0))
    return np.stack([pt, eta, np.arctan2(py, px)], axis=1).astype(np.float32)


def known_axis(kinematics: NDArray[np.float32], sums: NDArray[np.float64]) -> NDArray[np.float32]:
    """pt, eta, phi (N, 3) of jets; of the sum of their particles where pt is −1, not known."""
    unknown = kinematics[:, :1] < 0
    return np.where(unknown, axis_of_sum(sums), kinematics[:, :3]).astype(np.float32)


def flags_of(pdg_id: NDArray[np.floating]) -> dict[str, NDArray[np.bool_]]:
    """The five flags; a forward candidate (1, 2) is a neutral hadron (1) or a photon (2)."""
    kind = np.abs(np.asarray(pdg_id)).astype(np.int64)
    kind = np.where(kind == 1, 130, np.where(kind == 2, 22, kind))
    return {name: kind == value for name, value in FLAGS.items()}


def pdg_id_of(
    flags: Mapping[str, NDArray[Any]], charge: NDArray[np.floating]
) -> NDArray[np.float32]:
    """PdgId of particle flow from flags (P,) and charge (P,); 0 where no flag is set."""
    found = np.zeros(len(charge), np.float32)
    for name, value in FLAGS.items():
        if name in flags:
            lepton = value in (11, 13)  # the particle has the charge -1
            sign = np.where(charge < 0, -1, 1) * (-1 if lepton else 1)
            signed = value * (sign if value in (11, 13, 211) else 1)
            found = np.where(flags[name].astype(bool), signed, found).astype(np.float32)
    return found


def track_to_jetclass(track: NDArray[np.float32]) -> NDArray[np.float32]:
    """d0, d0Err, dz, dzErr (P, 4) from cm, −1 without track, to mm, 0 without track."""
    none = track[:, 1] == NO_TRACK
    return np.where(none[:, None], np.float32(0), track * MM_PER_CM)


def track_from_jetclass(track: NDArray[np.float32]) -> NDArray[np.float32]:
    """The way back: where the error of d0 is 0 there is no track.

    Raises
    ------
    DataError
        For errors below 0.
    """
    if (track[:, [1, 3]] < 0).any():
        raise DataError("an error of d0 or dz below 0; JetClass has 0 where there is no track")
    none = track[:, 1] == 0
    return np.where(none[:, None], NO_TRACK, track / MM_PER_CM)
