"""Particle-flow candidates: the detector's view of the stable particles of a batch of events."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from treasure.config.simulation import Detector
from treasure.simulation.calorimeter import (
    FORWARD_EDGE,
    Clusters,
    Deposits,
    forward_clusters,
    hadron_clusters,
    photon_clusters,
    reaches_calorimeter,
)
from treasure.simulation.pythia import EventBatch
from treasure.simulation.tracks import ELECTRON, MUON, Tracks, reconstruct_tracks

__all__ = ["Candidates", "particle_flow"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Particle-flow classes of CMS (`reco::PFCandidate`), as pdgId.
CHARGED_HADRON = 211
PHOTON = 22
NEUTRAL_HADRON = 130
FORWARD_HADRON = 1
FORWARD_PHOTON = 2
#: Particles that no detector sees.
NEUTRINOS = (12, 14, 16)
#: Mass that the reconstruction gives to each class [GeV] (Review of Particle Physics).
MASSES = {CHARGED_HADRON: 0.13957, ELECTRON: 0.000511, MUON: 0.10566}
#: Impact parameters and errors of candidates without a track, as CMS PFNano stores them.
NO_TRACK = -1.0


@dataclass(frozen=True)
class Candidates:
    """Particle-flow candidates, flat, ordered by event.

    Kinematics are rounded to float32, the precision in which they are stored, so that what is
    derived from them here is the same as what is derived from the file. Units GeV, rad and cm.
    """

    event: IntArray
    pt: FloatArray
    eta: FloatArray
    phi: FloatArray
    mass: FloatArray
    charge: IntArray
    pdg_id: IntArray
    d0: FloatArray
    d0_error: FloatArray
    dz: FloatArray
    dz_error: FloatArray

    def __len__(self) -> int:
        return len(self.event)

    def __getitem__(self, which: npt.NDArray[np.bool_] | IntArray) -> Candidates:
        return Candidates(*(getattr(self, f.name)[which] for f in fields(self)))


def _wrapped(phi: FloatArray) -> FloatArray:
    """Azimuth in (-pi, pi)."""
    return np.arctan2(np.sin(phi), np.cos(phi))


def particle_flow(
    batch: EventBatch, vertex_error: FloatArray, detector: Detector, random: np.random.Generator
) -> Candidates:
    """Candidates of a batch of events.

    Parameters
    ----------
    vertex_error
        Shape (n_events, 3): reconstructed minus true primary vertex [cm].

    Notes
    -----
    Tracks become charged hadrons, or electrons and muons where they are identified. Charged
    particles without a track leave their energy in the calorimeters, as do neutral ones.
    """
    kind_all = np.abs(batch.pdg_id)
    stable = (batch.status > 0) & ~np.isin(kind_all, NEUTRINOS)
    pt = np.hypot(batch.px, batch.py)
    visible = np.flatnonzero(
        stable & (np.abs(batch.pz) < pt * np.sinh(detector.calorimeter_eta_max))
    )
    event, kind, charge = batch.event[visible], kind_all[visible], batch.charge[visible]
    px, py, pz = batch.px[visible], batch.py[visible], batch.pz[visible]
    pt = pt[visible]
    deposits = Deposits(event, np.arcsinh(pz / pt), np.arctan2(py, px), batch.energy[visible])

    charged = np.flatnonzero(charge != 0)
    tracks = reconstruct_tracks(
        event=event[charged],
        kind=kind[charged],
        px=px[charged],
        py=py[charged],
        pz=pz[charged],
        vertex=(
            batch.vx[visible][charged],
            batch.vy[visible][charged],
            batch.vz[visible][charged],
        ),
        vertex_error=vertex_error,
        detector=detector,
        random=random,
    )
    track_energy = np.zeros(len(visible))
    tracked = charged[tracks.particle]
    track_energy[tracked] = np.hypot(tracks.pt * np.cosh(tracks.eta), MASSES[CHARGED_HADRON])

    electromagnetic = (kind == PHOTON) | (kind == ELECTRON)
    hadronic = ~electromagnetic & (kind != MUON)
    forward = np.abs(deposits.eta) > FORWARD_EDGE
    reaching = reaches_calorimeter(pt, deposits.eta, charge, detector)
    # The cluster of an electron with a track belongs to that track.
    in_ecal = electromagnetic & ~forward & reaching & (track_energy == 0)
    in_hcal = hadronic & ~forward & reaching

    photons = photon_clusters(deposits[in_ecal], detector, random)
    hadrons = hadron_clusters(deposits[in_hcal], track_energy[in_hcal], detector, random)
    forward_photons = forward_clusters(
        deposits[electromagnetic & forward], detector, random, electromagnetic=True
    )
    forward_hadrons = forward_clusters(
        deposits[hadronic & forward], detector, random, electromagnetic=False
    )
    parts = [
        _from_tracks(tracks, event[tracked], kind[tracked], charge[tracked], detector),
        _from_clusters(photons, PHOTON),
        _from_clusters(hadrons, NEUTRAL_HADRON),
        _from_clusters(forward_hadrons, FORWARD_HADRON),
        _from_clusters(forward_photons, FORWARD_PHOTON),
    ]
    joined = Candidates(
        *(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Candidates))
    )
    return joined[np.argsort(joined.event, kind="stable")]


def _rounded(values: FloatArray) -> FloatArray:
    return values.astype(np.float32).astype(np.float64)


def _from_tracks(
    tracks: Tracks, event: IntArray, kind: IntArray, charge: FloatArray, detector: Detector
) -> Candidates:
    electron = (kind == ELECTRON) & (tracks.pt > detector.electron_pt_min)
    muon = (kind == MUON) & (tracks.pt > detector.muon_pt_min)
    pf_class = np.where(electron, ELECTRON, np.where(muon, MUON, CHARGED_HADRON))
    mass = np.where(
        electron, MASSES[ELECTRON], np.where(muon, MASSES[MUON], MASSES[CHARGED_HADRON])
    )
    sign = np.sign(charge).astype(np.int64)
    # The pdgId of a positive hadron is positive, that of a positive lepton negative.
    signed_class = np.where(electron | muon, -sign, sign) * pf_class
    return Candidates(
        event=event,
        pt=_rounded(tracks.pt),
        eta=_rounded(tracks.eta),
        phi=_rounded(_wrapped(tracks.phi)),
        mass=_rounded(mass),
        charge=sign,
        pdg_id=signed_class,
        d0=tracks.d0,
        d0_error=tracks.d0_error,
        dz=tracks.dz,
        dz_error=tracks.dz_error,
    )


def _from_clusters(clusters: Clusters, pdg_id: int) -> Candidates:
    n = len(clusters.event)
    none = np.full(n, NO_TRACK)
    return Candidates(
        event=clusters.event,
        pt=_rounded(clusters.energy / np.cosh(clusters.eta)),
        eta=_rounded(clusters.eta),
        phi=_rounded(_wrapped(clusters.phi)),
        mass=np.zeros(n),
        charge=np.zeros(n, dtype=np.int64),
        pdg_id=np.full(n, pdg_id, dtype=np.int64),
        d0=none,
        d0_error=none,
        dz=none,
        dz_error=none,
    )
