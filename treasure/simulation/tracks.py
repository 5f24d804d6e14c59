"""Charged particles in the tracker: acceptance, efficiency, resolution, impact parameters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from treasure.config.simulation import Detector

__all__ = [
    "ELECTRON",
    "MUON",
    "Tracks",
    "electron_resolution",
    "impact_parameter_resolution",
    "impact_parameters",
    "momentum_resolution",
    "reconstruct_tracks",
    "tracking_efficiency",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

ELECTRON = 11
MUON = 13

#: Upper edges in |eta| of the first two tracker regions, and of the barrel (Delphes CMS card).
REGION_EDGES = (0.5, 1.5)
BARREL_EDGE = 1.5
#: Transverse momentum that separates the two plateaus of the efficiency [GeV] (Delphes CMS card).
PLATEAU_PT = 1.0
#: Smearing of the tracks in the tail, in units of their error (see Detector.impact_tail_fraction).
TAIL_WIDTH = 3.0


@dataclass(frozen=True)
class Tracks:
    """Reconstructed tracks, flat.

    Attributes
    ----------
    particle
        int64, shape (n,): place of the particle among those given.
    pt, eta, phi
        float64, shape (n,): measured [GeV, 1, rad].
    d0, d0_error, dz, dz_error
        float64, shape (n,): impact parameters to the primary vertex [cm]; all -1 where the track
        has no details.
    """

    particle: IntArray
    pt: FloatArray
    eta: FloatArray
    phi: FloatArray
    d0: FloatArray
    d0_error: FloatArray
    dz: FloatArray
    dz_error: FloatArray


def _region(eta: FloatArray) -> IntArray:
    return np.searchsorted(REGION_EDGES, np.abs(eta))


def _barrel_or_endcap(
    eta: FloatArray, values: tuple[float, float], *, edge: float = BARREL_EDGE
) -> FloatArray:
    return np.where(np.abs(eta) <= edge, values[0], values[1])


def tracking_efficiency(
    pt: FloatArray, eta: FloatArray, kind: IntArray, radius: FloatArray, detector: Detector
) -> FloatArray:
    """Probability that a charged particle is reconstructed as a track.

    Parameters
    ----------
    pt, eta
        Generated transverse momentum [GeV] and pseudorapidity.
    kind
        abs(pdgId); electrons and muons have their own numbers, all others are hadrons.
    radius
        Transverse production radius [cm].
    """
    low = _barrel_or_endcap(eta, detector.hadron_efficiency_low)
    high = _barrel_or_endcap(eta, detector.hadron_efficiency)
    low = np.where(kind == ELECTRON, _barrel_or_endcap(eta, detector.electron_efficiency_low), low)
    high = np.where(kind == ELECTRON, _barrel_or_endcap(eta, detector.electron_efficiency), high)
    high = np.where(
        (kind == MUON) & (pt > detector.muon_pt_min),
        _barrel_or_endcap(eta, detector.muon_efficiency),
        high,
    )
    efficiency = np.where(pt > PLATEAU_PT, high, low)
    efficiency *= np.clip(1.0 - radius / detector.track_radius_max, 0.0, 1.0)
    inside = (np.abs(eta) < detector.tracker_eta_max) & (pt > detector.track_pt_min)
    return np.where(inside, efficiency, 0.0)


def momentum_resolution(
    pt: FloatArray, eta: FloatArray, kind: IntArray, detector: Detector
) -> FloatArray:
    """Relative pT resolution of a track: constant and linear term in quadrature."""
    region = _region(eta)
    constant = np.asarray(detector.track_pt_constant)[region]
    slope = np.asarray(detector.track_pt_slope)[region]
    slope = np.where(kind == MUON, np.asarray(detector.muon_pt_slope)[region], slope)
    electron = kind == ELECTRON
    slope = np.where(electron, np.asarray(detector.electron_pt_slope)[region], slope)
    constant = np.where(electron, np.asarray(detector.electron_pt_constant)[region], constant)
    return np.hypot(constant, slope * pt)


def electron_resolution(pt: FloatArray, eta: FloatArray, detector: Detector) -> FloatArray:
    """Relative resolution of an electron: weighted mean of its track and its ECAL energy."""
    track = momentum_resolution(pt, eta, np.full(len(pt), ELECTRON), detector)
    energy = pt * np.cosh(eta)
    stochastic = _barrel_or_endcap(eta, detector.ecal_stochastic)
    noise = _barrel_or_endcap(eta, detector.ecal_noise)
    constant = _barrel_or_endcap(eta, detector.ecal_constant)
    ecal = np.sqrt(stochastic**2 / energy + (noise / energy) ** 2 + constant**2)
    return 1.0 / np.sqrt(track**-2 + ecal**-2)


def impact_parameter_resolution(
    pt: FloatArray, eta: FloatArray, detector: Detector
) -> tuple[FloatArray, FloatArray]:
    """Mean resolutions of d0 and dz [cm]: intrinsic term and multiple scattering in quadrature.

    Scattering in the first layers grows with the path length in them and the lever arm, which
    gives 1 / (p sin(theta)^(3/2)) across the beam and 1 / (p sin(theta)^(5/2)) along it
    (Review of Particle Physics, "Tracking detectors").
    """
    sine = 1.0 / np.cosh(eta)
    d0 = np.hypot(detector.d0_constant, detector.d0_scattering / (pt * np.sqrt(sine)))
    dz = np.hypot(detector.dz_constant, detector.dz_scattering / (pt * sine**1.5))
    return d0, dz


def impact_parameters(
    px: FloatArray, py: FloatArray, pz: FloatArray, vx: FloatArray, vy: FloatArray, vz: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """d0 and dz [cm] with respect to the origin of a straight track through (vx, vy, vz).

    The signs are those of CMS (`reco::TrackBase::dxy`, `dz`). The bending within the distance
    between the two points is left out.
    """
    pt2 = px**2 + py**2
    d0 = (vy * px - vx * py) / np.sqrt(pt2)
    dz = vz - (vx * px + vy * py) * pz / pt2
    return d0, dz


def reconstruct_tracks(
    *,
    event: IntArray,
    kind: IntArray,
    px: FloatArray,
    py: FloatArray,
    pz: FloatArray,
    vertex: tuple[FloatArray, FloatArray, FloatArray],
    vertex_error: FloatArray,
    detector: Detector,
    random: np.random.Generator,
) -> Tracks:
    """Tracks of charged particles.

    Parameters
    ----------
    event
        Number of the event of each particle.
    kind
        abs(pdgId) of each particle.
    px, py, pz
        Generated momenta [GeV].
    vertex
        Production vertices relative to the interaction [cm], three arrays.
    vertex_error
        Shape (n_events, 3): reconstructed minus true primary vertex [cm].
    """
    pt = np.hypot(px, py)
    eta = np.arcsinh(pz / pt)
    radius = np.hypot(vertex[0], vertex[1])
    efficiency = tracking_efficiency(pt, eta, kind, radius, detector)
    found = np.flatnonzero(random.random(len(pt)) < efficiency)
    pt, eta, kind = pt[found], eta[found], kind[found]
    phi = np.arctan2(py[found], px[found])

    resolution = np.where(
        kind == ELECTRON,
        electron_resolution(pt, eta, detector),
        momentum_resolution(pt, eta, kind, detector),
    )
    angle = detector.track_angle_sigma / pt
    mean_d0_error, mean_dz_error = impact_parameter_resolution(pt, eta, detector)
    normal = random.standard_normal((6, len(pt)))
    # One factor for both: a track with fewer or shared pixel hits is worse in both.
    spread = np.exp(detector.impact_error_spread * normal[0])
    tail = np.where(random.random(len(pt)) < detector.impact_tail_fraction, TAIL_WIDTH, 1.0)
    d0_error, dz_error = mean_d0_error * spread, mean_dz_error * spread

    shift = vertex_error[event[found]]
    d0, dz = impact_parameters(
        px[found],
        py[found],
        pz[found],
        vertex[0][found] - shift[:, 0],
        vertex[1][found] - shift[:, 1],
        vertex[2][found] - shift[:, 2],
    )
    details = pt > detector.track_details_pt_min
    return Tracks(
        particle=found,
        # A momentum is positive: the rare smearing below a tenth is cut there.
        pt=pt * np.maximum(1.0 + resolution * normal[1], 0.1),
        eta=eta + angle * normal[2],
        phi=phi + angle * normal[3],
        d0=np.where(details, d0 + d0_error * tail * normal[4], -1.0),
        d0_error=np.where(details, d0_error, -1.0),
        dz=np.where(details, dz + dz_error * tail * normal[5], -1.0),
        dz_error=np.where(details, dz_error, -1.0),
    )
