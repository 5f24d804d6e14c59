"""What a simulated file holds, read back with the tools of the field."""

import warnings
from pathlib import Path

import awkward as ak
import fastjet
import numpy as np
import pytest
import uproot

from treasure.simulation.trigger import FILTERS


def read(path: Path) -> ak.Array:
    return uproot.open({path: "Events"}).arrays()


def momenta(events: ak.Array, collection: str) -> ak.Array:
    pt, eta, phi, mass = (
        ak.values_astype(events[f"{collection}_{name}"], np.float64)
        for name in ("pt", "eta", "phi", "mass")
    )
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    return ak.zip({"px": px, "py": py, "pz": pz, "E": np.sqrt(px**2 + py**2 + pz**2 + mass**2)})


@pytest.mark.parametrize("name", ["qcd_file", "top_file"])
def test_coffea_reads_jets_with_constituents_that_sum_to_them(
    name: str, request: pytest.FixtureRequest
) -> None:
    from coffea.nanoevents import NanoEventsFactory, PFNanoAODSchema

    path = request.getfixturevalue(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        events = NanoEventsFactory.from_root(
            {str(path): "Events"}, schemaclass=PFNanoAODSchema, mode="eager"
        ).events()
    jets = events.FatJet
    particles = jets.constituents.pf
    assert ak.all(ak.num(particles, axis=2) == jets.nConstituents)
    total = particles.sum(axis=-1)
    assert ak.count(jets.pt) >= len(events)
    np.testing.assert_allclose(ak.flatten(total.pt), ak.flatten(jets.pt), rtol=1e-5)
    np.testing.assert_allclose(ak.flatten(total.eta), ak.flatten(jets.eta), atol=1e-5)
    np.testing.assert_allclose(ak.flatten(total.mass), ak.flatten(jets.mass), rtol=2e-3, atol=0.2)


def test_every_candidate_belongs_to_one_jet_and_links_are_contiguous(qcd_file: Path) -> None:
    events = read(qcd_file)
    index = events.FatJetPFCands_pFCandsIdx
    assert ak.all(ak.sort(index) == ak.local_index(events.PFCands_pt))
    assert ak.all(events.FatJetPFCands_jetIdx[:, 1:] >= events.FatJetPFCands_jetIdx[:, :-1])
    assert ak.all(events.FatJetPFCands_pt == events.PFCands_pt[index])


def test_clustering_the_stored_candidates_gives_the_stored_jets(top_file: Path) -> None:
    events = read(top_file)
    clustering = fastjet.ClusterSequence(
        momenta(events, "PFCands"), fastjet.JetDefinition(fastjet.antikt_algorithm, 0.8)
    )
    jets = clustering.inclusive_jets(170.0)
    pt = ak.sort(np.hypot(jets.px, jets.py), ascending=False)
    assert ak.all(ak.num(pt) == ak.num(events.FatJet_pt))
    np.testing.assert_allclose(ak.flatten(pt), ak.flatten(events.FatJet_pt), rtol=1e-6)


def cambridge_aachen(particles: list[tuple]) -> tuple:
    """A clustering tree by exhaustive search: (momentum, its two branches or None)."""

    def direction(p: np.ndarray) -> tuple[float, float]:
        return 0.5 * np.log((p[3] + p[2]) / (p[3] - p[2])), np.arctan2(p[1], p[0])

    def distance(a: tuple, b: tuple) -> float:
        (ya, phia), (yb, phib) = direction(a[0]), direction(b[0])
        dphi = np.pi - abs(abs(phia - phib) - np.pi)
        return (ya - yb) ** 2 + dphi**2

    nodes = list(particles)
    while len(nodes) > 1:
        pairs = [(distance(nodes[i], nodes[j]), i, j) for i in range(len(nodes)) for j in range(i)]
        _, i, j = min(pairs)
        merged = (nodes[i][0] + nodes[j][0], (nodes[i], nodes[j]))
        nodes = [node for k, node in enumerate(nodes) if k not in (i, j)] + [merged]
    return nodes[0]


def softdrop_mass(constituents: np.ndarray, zcut: float) -> float:
    node = cambridge_aachen([(p, None) for p in constituents])
    while node[1] is not None:
        branches = sorted(node[1], key=lambda b: float(np.hypot(b[0][0], b[0][1])))
        soft, hard = (float(np.hypot(b[0][0], b[0][1])) for b in branches)
        if soft / (soft + hard) > zcut:
            break
        node = branches[1]
    p = node[0]
    return float(np.sqrt(max(p[3] ** 2 - p[0] ** 2 - p[1] ** 2 - p[2] ** 2, 0.0)))


def test_softdrop_mass_agrees_with_an_exhaustive_declustering(top_file: Path) -> None:
    events = read(top_file)
    particles = momenta(events, "PFCands")
    for event in range(2):
        link = events.FatJetPFCands_jetIdx[event] == 0
        own = particles[event][events.FatJetPFCands_pFCandsIdx[event][link]]
        array = np.stack([ak.to_numpy(own[name]) for name in ("px", "py", "pz", "E")], axis=1)
        expected = softdrop_mass(array, 0.1)
        assert events.FatJet_msoftdrop[event, 0] == pytest.approx(expected, rel=1e-4, abs=0.01)


@pytest.mark.parametrize("name", ["qcd_file", "top_file"])
def test_impact_parameters_are_flagged_exactly_where_there_is_no_track(
    name: str, request: pytest.FixtureRequest
) -> None:
    events = read(request.getfixturevalue(name))
    charge, pt = ak.flatten(events.PFCands_charge), ak.flatten(events.PFCands_pt)
    error = ak.flatten(events.PFCands_d0Err)
    for column in ("d0", "d0Err", "dz", "dzErr"):
        assert ak.all(ak.flatten(events[f"PFCands_{column}"])[error == -1] == -1)
    assert ak.all(error[charge == 0] == -1)
    assert ak.all((error > 0) | (error == -1))
    # The threshold is on the generated pT; measured ones are within a few per cent of it.
    assert ak.all(error[(charge != 0) & (pt > 0.7)] > 0)
    assert ak.all(error[(charge != 0) & (pt < 0.4)] == -1)
    assert ak.all(ak.flatten(events.PFCands_dzErr)[error > 0] > 0)


def test_charges_and_classes_belong_together(top_file: Path) -> None:
    events = read(top_file)
    pdg_id = ak.to_numpy(ak.flatten(events.PFCands_pdgId))
    charge = ak.to_numpy(ak.flatten(events.PFCands_charge))
    assert set(np.abs(pdg_id)) <= {211, 130, 22, 11, 13, 1, 2}
    assert {211, 130, 22} <= set(np.abs(pdg_id))
    charged = np.isin(np.abs(pdg_id), (211, 11, 13))
    assert np.array_equal(charged, charge != 0)
    hadron = np.abs(pdg_id) == 211
    assert np.array_equal(np.sign(pdg_id[hadron]), charge[hadron])
    lepton = np.isin(np.abs(pdg_id), (11, 13))
    assert np.array_equal(np.sign(pdg_id[lepton]), -charge[lepton])
    assert abs(charge[charged].mean()) < 0.1


@pytest.mark.parametrize("name", ["qcd_file", "top_file"])
def test_all_values_are_finite_and_physical(name: str, request: pytest.FixtureRequest) -> None:
    events = read(request.getfixturevalue(name))
    for field in events.fields:
        values = ak.to_numpy(ak.flatten(events[field], axis=None))
        assert np.isfinite(values).all(), field
    assert ak.all(events.PFCands_pt > 0)
    assert ak.all(abs(events.PFCands_phi) <= np.float32(np.pi))
    assert ak.all(events.FatJet_pt > 170)
    taus = [events[f"FatJet_tau{n}"] for n in (1, 2, 3, 4)]
    assert ak.all(taus[0] > taus[1]) and ak.all(taus[1] >= taus[2]) and ak.all(taus[2] >= taus[3])
    assert ak.all(events.FatJet_msoftdrop <= events.FatJet_mass + 0.1)
    assert ak.all(events.FatJet_particleNet_mass == -1)
    assert ak.all(events.FatJet_rawFactor == 0)
    assert set(ak.flatten(events.FatJet_jetId).tolist()) <= {0, 2, 6}


def test_events_are_numbered_through_the_files_of_a_dataset(qcd_file: Path) -> None:
    events = read(qcd_file)  # branch 2 of files with 60 events
    assert events.event.tolist() == list(range(121, 181))
    assert set(events.luminosityBlock.tolist()) == {3}
    assert set(events.run.tolist()) == {1}
    runs = uproot.open({qcd_file: "Runs"}).arrays()
    assert runs.genEventCount.tolist() == [60]
    assert runs.genEventSumw[0] == pytest.approx(ak.sum(events.genWeight), rel=1e-6)


def test_filters_pass_and_triggers_follow_the_leading_jet(qcd_file: Path) -> None:
    events = read(qcd_file)
    for name in FILTERS:
        assert ak.all(events[name])
    central = events.FatJet_pt[abs(events.FatJet_eta) < 2.5]
    leading = ak.fill_none(ak.max(central, axis=1), 0.0)
    assert ak.all(events.HLT_AK8PFJet450 == (leading > 450))
    fired = events.HLT_AK8PFJet260 | events.HLT_PFHT800
    assert ak.mean(fired[leading > 300]) == 1.0


def test_top_decays_can_be_followed_and_give_top_jets(top_file: Path) -> None:
    events = read(top_file)
    pdg_id, mother = events.GenPart_pdgId, events.GenPart_genPartIdxMother
    flags = events.GenPart_statusFlags
    last_top = (abs(pdg_id) == 6) & ((flags & (1 << 13)) != 0)
    assert ak.all(ak.sum(last_top, axis=1) == 2)
    mass = ak.to_numpy(ak.flatten(events.GenPart_mass[last_top]))
    assert np.median(mass) == pytest.approx(172.5, abs=1.5)
    assert np.mean(np.abs(mass - 172.5) < 15) > 0.9
    quark = (abs(pdg_id) < 6) & ((flags & (1 << 7)) != 0)
    assert ak.all(ak.sum(quark, axis=1) == 6)

    matched = []
    for event in range(len(events)):
        ids, ancestors = pdg_id[event].tolist(), mother[event].tolist()
        decays: dict[int, list[int]] = {}
        for place in np.flatnonzero(quark[event]):
            up = ancestors[place]
            while abs(ids[up]) != 6:
                assert abs(ids[up]) == 24
                up = ancestors[up]
            assert last_top[event, up]
            decays.setdefault(up, []).append(int(place))
        assert sorted(len(d) for d in decays.values()) == [3, 3]
        for top, quarks in decays.items():
            assert sum(abs(ids[q]) == 5 for q in quarks) >= 1
            for jet in range(len(events.FatJet_pt[event])):
                eta = events.GenPart_eta[event][quarks] - events.FatJet_eta[event, jet]
                phi = events.GenPart_phi[event][quarks] - events.FatJet_phi[event, jet]
                phi = np.mod(phi + np.pi, 2 * np.pi) - np.pi
                if ak.all(np.hypot(eta, phi) < 0.6):
                    matched.append(
                        (
                            events.FatJet_mass[event, jet],
                            events.FatJet_pt[event, jet] / events.GenPart_pt[event, top],
                        )
                    )
    masses, responses = np.array(matched).T
    assert len(matched) > len(events) / 2
    assert 160 < np.median(masses) < 190
    assert 0.93 < np.median(responses) < 1.05


def test_names_and_types_are_those_of_cms(qcd_file: Path, shared: Path) -> None:
    ours = uproot.open({qcd_file: "Events"})
    cms = uproot.open({shared / "data" / "pfnano" / "layout_a_qcd_mc.root": "Events"})
    # CMS counts in uint32 there; newer NanoAOD, as uproot, in int32.
    common = [
        name for name in ours.keys(recursive=False) if name in cms and not name.startswith("n")
    ]
    assert len(common) > 40
    different = {
        name: (ours[name].typename, cms[name].typename)
        for name in common
        if ours[name].typename != cms[name].typename
    }
    assert different == {}


def test_trigger_names_are_of_the_aspen_open_jets_list(qcd_file: Path, shared: Path) -> None:
    paths = (shared / "reference" / "aoj_triggers.txt").read_text().split()
    ours = uproot.open({qcd_file: "Events"}).keys(filter_name="HLT_*")
    assert ours and set(ours) <= set(paths)
