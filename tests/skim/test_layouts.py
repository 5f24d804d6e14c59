"""The four input layouts: the same events give the same rows, and what each lacks is said."""

import itertools

import awkward as ak
import numpy as np
import pytest
import uproot
from coffea.nanoevents import NanoEventsFactory

from tests.layout_a import write_events
from tests.layouts import KINDS, NEW_NAMES, separated_events, write_layout
from treasure.errors import DataError
from treasure.skim import layout_c
from treasure.skim.kinematics import charge_of
from treasure.skim.layouts import branches_of, branches_to_read, recognise
from treasure.skim.processor import SkimSchema

TRACK = ("d0", "d0Err", "dz", "dzErr")
# What layout D says of a file, apart from the names of scores.
SENTINELS = {
    **{f"PFCands_{name}": "-1" for name in TRACK},
    "PFCands_puppiWeight": "-1 (in the momenta already)",
    "PFCands_charge": "computed from pdgId",
}
RENAMED = {f"FatJet_{old}": f"FatJet_{new}" for old, new in NEW_NAMES.items()}


def open_layout(path, kind="auto", log=None):
    """The layout of a file, over all of its events."""
    events = NanoEventsFactory.from_root(
        {str(path): "Events"},
        schemaclass=SkimSchema,
        mode="virtual",
        access_log=log,
        iteritems_options={"filter_name": branches_to_read(kind)},
    ).events()
    branches = branches_of(events)
    return recognise(branches, kind, str(path))(events, branches, str(path))


def candidates_of(layout):
    """Columns of the candidates of each jet of a chunk, and their stored pt."""
    found = layout.candidates(np.arange(len(layout.jets)))
    borders = np.cumsum(found.counts)[:-1]
    columns = {name: np.split(values, borders) for name, values in found.columns.items()}
    columns["pt"] = np.split(found.pt, borders)
    return [dict(zip(columns, jet, strict=True)) for jet in zip(*columns.values(), strict=True)]


def by_layout(tmp_path, events, skim, **changes):
    """Summary and rows of the same events in each layout."""
    changes = {"jet_id": None, **changes}
    results = {}
    for kind in KINDS:
        path = write_layout(tmp_path / f"{kind}.root", events, kind)
        results[kind] = skim(path, folder=f"skim_{kind}", **changes)
        assert results[kind][0]["layouts"] == [kind]
    return results


@pytest.mark.parametrize("chunk", [4, 1000])
@pytest.mark.parametrize("order", ["hardest", "aoj"])
def test_the_same_events_give_the_same_rows(tmp_path, skim, chunk, order):
    events = separated_events(25, seed=3)
    results = by_layout(tmp_path, events, skim, events_per_chunk=chunk, candidate_order=order)
    summary, expected = results["A"]
    assert len(expected) > 20
    assert any(len(row["PFCands_E"]) == 0 for row in expected)
    for kind in ("B", "C"):
        assert results[kind][1] == expected
        assert results[kind][0]["cutflow"] == summary["cutflow"]
        assert results[kind][0]["absent_columns"] == {}
    summary_d, rows_d = results["D"]
    assert summary_d["cutflow"] == summary["cutflow"]
    assert summary_d["absent_columns"] == SENTINELS | RENAMED
    for row, want in zip(rows_d, expected, strict=True):
        scalars = [name for name in want if not name.startswith("PFCands_")]
        assert [row[name] for name in scalars] == [want[name] for name in scalars]
        assert {row_value for name in TRACK for row_value in row[f"PFCands_{name}"]} <= {-1.0}
        assert set(row["PFCands_puppiWeight"]) <= {-1.0}
        # The order is that of the weighted pt; the momenta are weighted.
        pt = np.hypot(want["PFCands_px"], want["PFCands_py"]) * want["PFCands_puppiWeight"]
        order_d = np.argsort(-pt)
        for name in ("charge", "pdgId"):
            assert row[f"PFCands_{name}"] == [want[f"PFCands_{name}"][i] for i in order_d]
        for name in ("px", "py", "pz", "E"):
            weighted = np.multiply(want[f"PFCands_{name}"], want["PFCands_puppiWeight"])
            np.testing.assert_allclose(row[f"PFCands_{name}"], weighted[order_d], rtol=2e-5)


@pytest.mark.parametrize("order", ["hardest", "aoj"])
def test_a_jet_with_more_candidates_than_the_table_takes(tmp_path, skim, order):
    many = (
        separated_events(1, seed=seed, candidates=(400, 400), jets=1) for seed in itertools.count()
    )
    events = next(events for events in many if events["FatJet"][0])
    events["FatJet"][0][0]["pt"] = 500.0
    results = by_layout(tmp_path, events, skim, candidate_order=order)
    links, candidates = events["FatJetPFCands"][0], events["PFCands"][0]
    linked = [candidates[link["pFCandsIdx"]] for link in links]
    for kind, (summary, (row,)) in results.items():
        assert summary["jets_with_candidates_left_out"] == 1
        weights = [c["puppiWeight"] if kind == "D" else 1 for c in linked]
        stored = [np.float32(c["pt"] * w) for c, w in zip(linked, weights, strict=True)]
        if order == "hardest":
            expected = sorted(stored, reverse=True)
        else:
            # Links are in no order here; layout C has its candidates by weighted pt.
            weighted = [
                -np.float64(np.float32(c["pt"])) * np.float32(c["puppiWeight"]) for c in linked
            ]
            first = np.argsort(weighted)[:150] if kind == "C" else range(150)
            expected = sorted((stored[i] for i in first), reverse=True)
        found = np.hypot(row["PFCands_px"], row["PFCands_py"])
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_events_and_chunks_without_jets(tmp_path, skim):
    events = separated_events(12, seed=2)
    for i in (*range(4), *range(8, 12)):
        for name in ("FatJet", "FatJetPFCands"):
            events[name][i] = []
    results = by_layout(tmp_path, events, skim, events_per_chunk=4)
    for summary, rows in results.values():
        assert summary["chunks"] == 3
        assert [row["event"] for row in rows] == [row["event"] for row in results["A"][1]]
    nothing = separated_events(6, jets=0)
    for summary, rows in by_layout(tmp_path, nothing, skim).values():
        assert (summary["events"], summary["jets"], rows) == (6, 0, [])


@pytest.mark.parametrize("kind", KINDS)
def test_the_number_of_constituents_is_computed_where_it_is_absent(tmp_path, skim, kind):
    events = separated_events(15, seed=6)
    path = write_layout(tmp_path / "x.root", events, kind, drop=("FatJet_nConstituents",))
    summary, rows = skim(path, jet_id=None)
    assert summary["absent_columns"]["FatJet_nConstituents"] == "computed"
    assert [r["FatJet_nConstituents"] for r in rows] == [len(r["PFCands_E"]) for r in rows]


REQUIRED = {
    "A": ("PFCands_pt", "PFCands_d0Err", "FatJetPFCands_jetIdx", "FatJet_eta"),
    "B": ("FatJetPFCands_mass", "FatJetPFCands_jetIdx", "FatJet_msoftdrop"),
    "C": ("PFCands_phi", "PFCands_puppiWeight", "FatJet_phi"),
    "D": ("PFCand_pdgId", "FatJetPFCand_pfCandIdx", "FatJet_pt"),
}


@pytest.mark.parametrize(
    ("kind", "branch"), [(kind, branch) for kind in KINDS for branch in REQUIRED[kind]]
)
@pytest.mark.parametrize("named", [True, False])
def test_a_branch_that_is_missing_is_named(tmp_path, skim, dataset, kind, branch, named):
    path = write_layout(tmp_path / "x.root", separated_events(3), kind, drop=(branch,))
    wanted = dataset.model_copy(update={"layout": kind if named else "auto"})
    with pytest.raises(DataError, match=rf"x\.root: .*{branch}"):
        skim(path, dataset=wanted, jet_id=None)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("branch", ["run", "luminosityBlock", "event"])
def test_a_tree_without_event_numbers(tmp_path, skim, kind, branch):
    path = write_layout(tmp_path / "x.root", separated_events(3), kind, drop=(branch,))
    with pytest.raises(DataError, match=rf"x\.root: no branch {branch}; an event is known by run"):
        skim(path, jet_id=None)


def test_columns_that_a_variant_of_layout_b_lacks(tmp_path, skim):
    drop = tuple(f"FatJetPFCands_{name}" for name in ("d0Err", "charge", "puppiWeight"))
    path = write_layout(tmp_path / "x.root", separated_events(15, seed=8), "B", drop=drop)
    summary, rows = skim(path)
    assert summary["absent_columns"] == {
        **{f"PFCands_{name}": "-1" for name in TRACK},
        "PFCands_charge": "computed from pdgId",
        "PFCands_puppiWeight": "-1",
    }
    _, expected = skim(write_layout(tmp_path / "whole.root", separated_events(15, seed=8), "B"))
    assert [row["PFCands_charge"] for row in rows] == [row["PFCands_charge"] for row in expected]
    # Without all four of them, d0Err == -1 says of every candidate that nothing is known.
    assert {value for row in rows for name in TRACK for value in row[f"PFCands_{name}"]} == {-1.0}
    drop = tuple(f"FatJetPFCands_{name}" for name in ("charge", "pdgId"))
    path = write_layout(tmp_path / "y.root", separated_events(15, seed=8), "B", drop=drop)
    summary, rows = skim(path)
    assert summary["absent_columns"] == {"PFCands_charge": "0", "PFCands_pdgId": "0"}
    assert {value for row in rows for value in row["PFCands_pdgId"]} == {0}


def test_only_branches_that_are_used_are_read(tmp_path):
    expected = {
        "A": {"nFatJet", "FatJet_eta", "PFCands_pt", "FatJetPFCands_jetIdx"},
        "B": {"nFatJet", "FatJet_eta", "FatJetPFCands_pt", "FatJetPFCands_jetIdx"},
        "C": {"nFatJet", "FatJet_eta", "PFCands_pt", "PFCands_puppiWeight"},
        "D": {"nFatJet", "FatJet_eta", "PFCand_pt", "FatJetPFCand_jetIdx"},
    }
    for kind in KINDS:
        log: list = []
        path = write_layout(tmp_path / f"{kind}.root", separated_events(5), kind)
        layout = open_layout(path, log=log)
        assert layout.kind == kind
        assert not log
        assert len(layout.jets) > 0
        assert not [name for name in map(branch_of, log) if "PFCand" in name]
        layout.candidates(np.arange(len(layout.jets)))
        read = {branch_of(access) for access in log}
        assert expected[kind] <= read
        assert not [name for name in read if name.startswith(("HLT_", "Flag_", "FatJet_tau"))]


def branch_of(access) -> str:
    return access.branch


class TestReclustering:
    """Layout C finds the candidates of a jet by clustering."""

    def test_jets_of_cms_simulation_are_those_of_the_link_table(self, shared):
        path = shared / "data" / "pfnano" / "layout_a_qcd_mc.root"
        layout = open_layout(path, "C")
        found = candidates_of(layout)
        assert layout.notes == {"reclustered": 24}
        names = ["FatJet_pt", "FatJetPFCands_jetIdx", "FatJetPFCands_pFCandsIdx", "PFCands_pt"]
        tree = uproot.open(path)["Events"].arrays([*names, "PFCands_puppiWeight"], library="np")
        stored = [
            {
                name: tree[f"PFCands_{name}"][i][links[of_jet == jet]]
                for name in ("pt", "puppiWeight")
            }
            for i, (of_jet, links) in enumerate(zip(tree[names[1]], tree[names[2]], strict=True))
            for jet in range(len(tree["FatJet_pt"][i]))
        ]
        assert len(found) == len(stored) == 24
        for jet, want in zip(found, stored, strict=True):
            assert sorted(jet["pt"]) == sorted(want["pt"])
            assert sorted(jet["puppiWeight"]) == sorted(want["puppiWeight"])
            # In the order of the weighted pt.
            assert (np.diff(jet["pt"].astype(float) * jet["puppiWeight"]) <= 0).all()

    def test_all_columns_of_cms_simulation_are_those_of_layout_a(self, shared):
        path = shared / "data" / "pfnano" / "layout_a_qcd_mc.root"
        linked, found = (candidates_of(open_layout(path, kind)) for kind in ("A", "C"))
        identical = 0
        for jet, want in zip(found, linked, strict=True):
            sort, sort_wanted = (np.argsort(-c["pt"], kind="stable") for c in (jet, want))
            same = [np.array_equal(jet[n][sort], want[n][sort_wanted]) for n in jet]
            identical += all(same)
            rows, rows_wanted = (set(zip(*c.values(), strict=True)) for c in (jet, want))
            assert rows == rows_wanted  # candidates of equal pt may swap
        assert identical >= 23

    def test_the_sample_of_layout_c_adds_up_to_its_jets(self, shared):
        path = shared / "data" / "pfnano" / "layout_c_qcd_mc.root"
        layout = open_layout(path)
        assert layout.kind == "C"
        tree = uproot.open(path)["Events"].arrays(["FatJet_pt", "FatJet_rawFactor"])
        raw = ak.flatten(tree.FatJet_pt * (1 - tree.FatJet_rawFactor)).to_numpy()
        assert len(raw) == 6
        for jet, pt in zip(candidates_of(layout), raw, strict=True):
            weight = jet["puppiWeight"]
            assert np.hypot(weight @ jet["px"], weight @ jet["py"]) == pytest.approx(pt, rel=3e-3)

    def test_blocks_change_nothing(self, tmp_path, monkeypatch):
        path = write_layout(tmp_path / "c.root", separated_events(30, seed=4), "C")
        whole = open_layout(path)
        chosen = np.arange(0, len(whole.jets), 2)
        expected = whole.constituents(chosen)
        assert whole.notes["reclustered"] == len(chosen)
        for block in (1, 40):
            monkeypatch.setattr(layout_c, "_BLOCK", block)
            other = open_layout(path)
            for found, want in zip(other.constituents(chosen), expected, strict=True):
                np.testing.assert_array_equal(found, want)
            assert other.notes == whole.notes

    def test_a_cluster_that_is_far_from_the_jet_is_not_the_jet(self, tmp_path):
        events = one_event(
            jets=[(0.0, 3.1), (1.0, -0.5), (0.0, 1.5)],
            candidates=[(0.0, -3.1, 1.0), (1.39, -0.5, 1.0), (0.41, 1.5, 1.0), (1.0, -0.5, 0.0)],
        )
        layout = open_layout(write_layout(tmp_path / "c.root", events, "C"))
        candidates = layout.candidates(np.arange(3))
        # π is no border; 0.39 is near; 0.41 is not, and a weight of 0 is nothing.
        assert candidates.counts.tolist() == [1, 1, 0]
        assert layout.notes == {"reclustered": 3, "far_from_cluster": 1}

    def test_two_jets_at_one_cluster(self, tmp_path):
        events = one_event(
            jets=[(0.3, 1.0), (0.1, 1.0), (0.0, -2.0)],
            candidates=[(0.0, 1.0, 1.0), (0.1, 1.1, 0.5), (0.0, -2.0, 0.1)],
        )
        layout = open_layout(write_layout(tmp_path / "c.root", events, "C"))
        assert layout.candidates(np.arange(3)).counts.tolist() == [0, 2, 1]
        assert layout.notes == {"reclustered": 3, "shared_cluster": 1}
        # It is the other's also if the other is not selected.
        again = open_layout(tmp_path / "c.root")
        assert again.candidates(np.array([0])).counts.tolist() == [0]

    def test_an_event_without_any_weight(self, tmp_path):
        events = one_event(jets=[(0.0, 0.0)], candidates=[(0.0, 0.0, 0.0)])
        layout = open_layout(write_layout(tmp_path / "c.root", events, "C"))
        assert layout.candidates(np.array([0])).counts.tolist() == [0]
        assert layout.notes == {"reclustered": 1, "far_from_cluster": 1}

    def test_a_momentum_that_is_not_finite(self, tmp_path, skim):
        events = one_event(jets=[(0.0, 0.0)], candidates=[(0.0, 0.0, 1.0)] * 2)
        events["PFCands"][0][1]["eta"] = float("nan")
        path = write_layout(tmp_path / "c.root", events, "C")
        with pytest.raises(DataError, match=r"c\.root: .*not finite \(PFCands_pt"):
            skim(path, jet_id=None)

    @pytest.mark.parametrize("weight", [float("inf"), float("nan"), -1.0, 3e38])
    def test_weights_that_are_none(self, tmp_path, skim, weight):
        events = one_event(jets=[(0.0, 0.0)], candidates=[(0.0, 0.0, 1.0), (0.0, 0.1, weight)])
        path = write_layout(tmp_path / "c.root", events, "C")
        if weight == float("inf"):  # FastJet would crash
            with pytest.raises(DataError, match=r"c\.root: .*its product with the PUPPI weight"):
                skim(path, jet_id=None)
        else:
            (row,) = skim(path, jet_id=None)[1]
            assert len(row["PFCands_px"]) == (2 if weight > 0 else 1)


def one_event(jets, candidates) -> dict:
    """One event with jets at (eta, phi) and candidates of (eta, phi, weight)."""
    events = separated_events(1, jets=0)
    events["FatJet"] = [[{"pt": 500.0, "eta": eta, "phi": phi} for eta, phi in jets]]
    events["PFCands"] = [
        [
            {"pt": 100.0, "eta": eta, "phi": phi, "puppiWeight": weight, "pdgId": 22}
            for eta, phi, weight in candidates
        ]
    ]
    return events


def test_nanoaod_15_has_no_jet_id(tmp_path, skim):
    path = write_layout(tmp_path / "d.root", separated_events(3), "D")
    with pytest.raises(DataError, match=r"no branch 'FatJet_jetId'.* set selection.jet_id to null"):
        skim(path)


def test_nanoaod_15_of_cms_simulation(shared):
    path = shared / "data" / "pfnano" / "layout_d_ttbar_mc.root"
    layout = open_layout(path)
    assert (layout.kind, layout.puppi_applied, layout.jets.jet_id) == ("D", True, None)
    found = candidates_of(layout)
    columns = layout.jet_columns(np.arange(len(found)))
    assert layout.absent_columns == SENTINELS | RENAMED
    names = [f"FatJet_{name}" for name in ("pt", "eta", "rawFactor", "nConstituents")]
    names += [*RENAMED.values(), "PFCand_pdgId", "PFCand_pt", "PFCand_phi"]
    names += ["FatJetPFCand_jetIdx", "FatJetPFCand_pfCandIdx"]
    tree = uproot.open(path)["Events"].arrays(names, library="np")
    jets = [(i, jet) for i, pts in enumerate(tree["FatJet_pt"]) for jet in range(len(pts))]
    assert len(found) == len(jets) == 64
    for number, (i, jet) in enumerate(jets):
        event = {name: values[i] for name, values in tree.items()}
        for old, new in RENAMED.items():
            assert columns[old.removeprefix("FatJet_")][number] == event[new][jet]
        linked = event["FatJetPFCand_pfCandIdx"][event["FatJetPFCand_jetIdx"] == jet]
        assert found[number]["pdgId"].tolist() == event["PFCand_pdgId"][linked].tolist()
        total = np.hypot(found[number]["px"].sum(), found[number]["py"].sum())
        pt, phi = (event[f"PFCand_{name}"][linked] for name in ("pt", "phi"))
        by_hand = np.hypot(pt @ np.cos(phi), pt @ np.sin(phi))
        assert total == pytest.approx(by_hand, rel=1e-5)
        if abs(event["FatJet_eta"][jet]) < 2.5:
            assert len(linked) == event["FatJet_nConstituents"][jet]
            raw = event["FatJet_pt"][jet] * (1 - event["FatJet_rawFactor"][jet])
            assert total == pytest.approx(raw, rel=3e-3)


@pytest.mark.parametrize("name", ["collisions_2018_dimuon", "collisions_2022_egamma"])
def test_nanoaod_without_candidates_says_what_to_do(shared, skim, name):
    path = shared / "data" / "nanoaod" / f"{name}.root"
    with pytest.raises(DataError, match=rf"{name}\.root: no particle-flow cand.*use PFNano made"):
        skim(path)


def test_other_trees_are_refused(tmp_path, shared, skim):
    with pytest.raises(DataError, match=r"no branch luminosityBlock; an event is known by"):
        skim(shared / "data" / "nanoaod" / "missing_luminosity_block.root")
    events = separated_events(2)
    del events["FatJet"]
    with pytest.raises(DataError, match=r"no branch FatJet_pt, .*; jets are NanoAOD's FatJet"):
        skim(write_events(tmp_path / "a.root", {k: v for k, v in events.items() if k[0] != "F"}))


def test_charges_follow_from_the_kinds_of_particles(shared):
    tree = uproot.open(shared / "data" / "pfnano" / "layout_a_qcd_mc.root")["Events"]
    pdg_id, charge = (
        ak.flatten(tree[f"PFCands_{name}"].array()).to_numpy() for name in ("pdgId", "charge")
    )
    assert set(np.unique(pdg_id)) >= {-211, 1, 2, 22, 130, 211}
    np.testing.assert_array_equal(charge_of(pdg_id), charge)
    leptons = np.array([11, -11, 13, -13], np.int32)
    assert charge_of(leptons).tolist() == [-1, 1, -1, 1]
