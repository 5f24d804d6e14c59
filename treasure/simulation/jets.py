"""Anti-kt jets of the candidates: constituents, soft drop, N-subjettiness, jet identification."""

from __future__ import annotations

from dataclasses import dataclass

import awkward as ak
import fastjet
import fastjet._swig
import numpy as np
import numpy.typing as npt

from treasure.config.simulation import SimulationSource
from treasure.simulation.candidates import (
    CHARGED_HADRON,
    FORWARD_HADRON,
    FORWARD_PHOTON,
    NEUTRAL_HADRON,
    PHOTON,
    Candidates,
)
from treasure.simulation.tracks import ELECTRON, MUON

__all__ = ["Jets", "cluster_jets", "jet_identification"]

# FastJet (arXiv:1111.6097) greets every process with twelve lines on standard output.
fastjet._swig.ClusterSequence.set_fastjet_banner_stream(None)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Re-clustering radius for grooming, far above the size of a jet: with the jet's own radius the
#: Cambridge/Aachen algorithm may split off constituents, and the groomed mass comes out wrong.
RECLUSTERING_RADIUS = 10.0
#: Definition of N-subjettiness in CMS (`RecoJets/JetProducers`, NjettinessAdder): normalised
#: measure, beta = 1, axes from the exclusive kt algorithm followed by one minimisation.
NJETTINESS_MEASURE = "NormalizedMeasure"
NJETTINESS_AXES = "OnePass_KT_Axes"
NJETTINESS_BETA = 1.0
#: Softest jet of the scalar sum HT, for the triggers [GeV] (see `trigger`).
HT_JET_PT_MIN = 30.0
#: Bits of `jetId` in NanoAOD: tight, and tight with lepton veto.
TIGHT, TIGHT_LEPTON_VETO = 2, 4


@dataclass(frozen=True)
class Jets:
    """Jets above `jet_pt_min`, flat, ordered by event and then by falling pT.

    Attributes
    ----------
    event
        int64, shape (n,).
    pt, eta, phi, mass
        float64, shape (n,): sum of the constituents' four-momenta [GeV, rad].
    softdrop_mass
        float64, shape (n,) [GeV]; -1 where there is none.
    tau
        float64, shape (n, 4): tau1 to tau4.
    jet_id, n_constituents
        int64, shape (n,).
    constituents
        n * var * int64: places of the constituents among the candidates.
    event_ht
        float64, shape (n_events,): scalar sum of the pT of jets with pT > 30 GeV, abs(eta) < 2.5.
    """

    event: IntArray
    pt: FloatArray
    eta: FloatArray
    phi: FloatArray
    mass: FloatArray
    softdrop_mass: FloatArray
    tau: FloatArray
    jet_id: IntArray
    n_constituents: IntArray
    constituents: ak.Array
    event_ht: FloatArray


def cluster_jets(candidates: Candidates, n_events: int, source: SimulationSource) -> Jets:
    """Cluster the candidates of each event with the anti-kt algorithm (arXiv:0802.1189)."""
    px = candidates.pt * np.cos(candidates.phi)
    py = candidates.pt * np.sin(candidates.phi)
    pz = candidates.pt * np.sinh(candidates.eta)
    energy = np.sqrt(px**2 + py**2 + pz**2 + candidates.mass**2)
    momenta = ak.zip({"px": px, "py": py, "pz": pz, "E": energy})
    counts = np.bincount(candidates.event, minlength=n_events)

    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, source.jet_radius)
    clustering = fastjet.ClusterSequence(ak.unflatten(momenta, counts), definition)
    all_jets = clustering.inclusive_jets(HT_JET_PT_MIN)
    event_ht = _scalar_sum(all_jets)
    local = clustering.constituent_index(source.jet_pt_min)

    event = np.repeat(np.arange(n_events), ak.num(local).to_numpy())
    first = (np.cumsum(counts) - counts)[event]
    index = ak.values_astype(ak.flatten(local) + first, np.int64)

    def of_constituents(values: FloatArray | IntArray) -> ak.Array:
        return ak.unflatten(values[ak.flatten(index).to_numpy()], ak.num(index))

    def total(values: FloatArray) -> FloatArray:
        return ak.sum(of_constituents(values), axis=1).to_numpy()

    order = np.lexsort((-np.hypot(total(px), total(py)), event))
    event, index = event[order], index[order]
    jet_px, jet_py, jet_pz, jet_energy = total(px), total(py), total(pz), total(energy)
    pt = np.hypot(jet_px, jet_py)
    eta = np.arcsinh(jet_pz / pt)
    mass_squared = jet_energy**2 - jet_px**2 - jet_py**2 - jet_pz**2
    momenta_of_constituents = ak.zip(
        {
            "px": of_constituents(px),
            "py": of_constituents(py),
            "pz": of_constituents(pz),
            "E": of_constituents(energy),
        }
    )
    softdrop_mass, tau = _substructure(momenta_of_constituents, source)
    return Jets(
        event=event,
        pt=pt,
        eta=eta,
        phi=np.arctan2(jet_py, jet_px),
        mass=np.sqrt(np.maximum(mass_squared, 0.0)),
        softdrop_mass=softdrop_mass,
        tau=tau,
        jet_id=jet_identification(
            of_constituents(np.abs(candidates.pdg_id)), of_constituents(energy), eta, jet_energy
        ),
        n_constituents=ak.num(index).to_numpy(),
        constituents=index,
        event_ht=event_ht,
    )


def _scalar_sum(jets: ak.Array) -> FloatArray:
    pt = np.hypot(jets.px, jets.py)
    central = np.abs(jets.pz) < pt * np.sinh(2.5)
    return ak.sum(pt[central], axis=1).to_numpy().astype(np.float64)


def _substructure(
    constituents: ak.Array, source: SimulationSource
) -> tuple[FloatArray, FloatArray]:
    """Soft-drop mass (arXiv:1402.2657) and tau1-tau4 (arXiv:1011.2268) of each list."""
    if len(constituents) == 0:
        return np.zeros(0), np.zeros((0, 4))
    definition = fastjet.JetDefinition(fastjet.cambridge_algorithm, RECLUSTERING_RADIUS)
    clustering = fastjet.ClusterSequence(constituents, definition)
    groomed = clustering.exclusive_jets_softdrop_grooming(
        njets=1,
        beta=source.softdrop_beta,
        symmetry_cut=source.softdrop_zcut,
        R0=source.jet_radius,
    )
    softdrop_mass = np.nan_to_num(groomed.msoftdrop.to_numpy(), nan=-1.0)
    tau = clustering.njettiness(
        measure_definition=NJETTINESS_MEASURE,
        axes_definition=NJETTINESS_AXES,
        njets=[1, 2, 3, 4],
        beta=NJETTINESS_BETA,
        R0=source.jet_radius,
    ).to_numpy()
    # Rounding leaves masses and taus of one or few massless particles slightly below zero.
    softdrop_mass = np.where(softdrop_mass == -1.0, -1.0, np.maximum(softdrop_mass, 0.0))
    return softdrop_mass, np.maximum(tau, 0.0)


def jet_identification(
    kind: ak.Array, energy: ak.Array, jet_eta: FloatArray, jet_energy: FloatArray
) -> IntArray:
    """Bits 1 (tight) and 2 (tight with lepton veto) of NanoAOD's `jetId`; 6 where both pass.

    Parameters
    ----------
    kind, energy
        n * var: abs(pdgId) and energy [GeV] of the constituents of each jet.
    jet_eta, jet_energy
        Shape (n,).

    Notes
    -----
    Criteria of CMS for PUPPI jets of the 2016 legacy data (JetID13TeVUL of the JetMET group;
    arXiv:1607.03663, sec. 9, for the observables).
    """

    def fraction(*classes: int) -> FloatArray:
        return ak.sum(energy[_is_any(kind, classes)], axis=1).to_numpy() / jet_energy

    neutral_hadrons = fraction(NEUTRAL_HADRON, FORWARD_HADRON)
    photons = fraction(PHOTON, FORWARD_PHOTON)
    charged_hadrons = fraction(CHARGED_HADRON)
    electrons, muons = fraction(ELECTRON), fraction(MUON)
    charged = ak.sum(_is_any(kind, (CHARGED_HADRON, ELECTRON, MUON)), axis=1).to_numpy()
    constituents = ak.num(kind).to_numpy()
    neutrals = constituents - charged
    eta = np.abs(jet_eta)

    central = (
        (neutral_hadrons < 0.90)
        & (photons < 0.90)
        & (constituents > 1)
        & (charged_hadrons > 0)
        & (charged > 0)
    )
    tight = np.select(
        [eta <= 2.4, eta <= 2.7, eta <= 3.0],
        [central, (neutral_hadrons < 0.98) & (photons < 0.99), neutrals >= 1],
        default=(photons < 0.90) & (neutrals > 2),
    )
    no_lepton = (muons < 0.80) & (electrons < 0.80)
    veto = tight & np.where(eta <= 2.4, no_lepton, True)
    return TIGHT * tight.astype(np.int64) + TIGHT_LEPTON_VETO * veto.astype(np.int64)


def _is_any(kind: ak.Array, classes: tuple[int, ...]) -> ak.Array:
    selected = kind == classes[0]
    for number in classes[1:]:
        selected = selected | (kind == number)
    return selected
