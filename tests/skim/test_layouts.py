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
from treasure.skim.layouts import branches_of, branches_to_read, recognise
from treasure.skim.processor import SkimSchema

CANDIDATES = ("px", "py", "pz", "E", "d0", "d0Err", "dz", "dzErr", "charge", "pdgId", "puppiWeight")
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


def by_layout(tmp_path, events, skim, **changes):
    """Summary and rows of the same events in each layout."""
    changes = {"jet_id": None, **changes}
    results = {}
    for kind in KINDS:
        path = write_layout(tmp_path / f"{kind}.root", events, kind)
        results[kind] = skim(path, folder=f"skim_{kind}", **changes)
        assert results[kind][0]["layouts"] == [kind]
    return results


def sorted_candidates(row, names=CANDIDATES):
    return sorted(zip(*(row[f"PFCands_{name}"] for name in names), strict=True))


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
    if branch.startswith("FatJetPFCands_") and kind == "A" and not named:
        assert skim(path)[0]["layouts"] == ["C"]  # without links, clustering finds them
        return
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
        everything = np.arange(len(layout.jets))
        positions, counts = layout.constituents(everything)
        found = np.split(positions, np.cumsum(counts)[:-1])
        tree = uproot.open(path)["Events"].arrays(
            ["nPFCands", "nFatJet", "FatJetPFCands_jetIdx", "FatJetPFCands_pFCandsIdx"]
        )
        starts = np.cumsum(tree.nPFCands) - tree.nPFCands
        stored = [
            set(links[jets == jet] + first)
            for first, n, jets, links in zip(
                starts.tolist(),
                tree.nFatJet.tolist(),
                map(np.asarray, tree.FatJetPFCands_jetIdx),
                map(np.asarray, tree.FatJetPFCands_pFCandsIdx),
                strict=True,
            )
            for jet in range(n)
        ]
        assert len(stored) == 24
        assert [set(members) for members in found] == stored
        assert layout.notes == {"reclustered": 24}

    @pytest.mark.parametrize("order", ["hardest", "aoj"])
    def test_rows_of_cms_simulation_are_those_of_layout_a(self, shared, skim, dataset, order):
        path = shared / "data" / "pfnano" / "layout_a_qcd_mc.root"
        common = {
            "jet_pt_min": 0.0, "jet_abs_eta_max": 10.0, "triggers": [], "filters": [],
            "candidate_order": order,
        }  # fmt: skip
        _, linked = skim(path, **common)
        reclustered = dataset.model_copy(update={"layout": "C"})
        _, found = skim(path, folder="c", dataset=reclustered, **common)
        assert len(linked) == len(found) == 24
        different = 0
        for row, want in zip(found, linked, strict=True):
            assert sorted_candidates(row) == sorted_candidates(want)
            if row != want:  # candidates of equal pt may swap
                different += 1
                pts = [np.hypot(r["PFCands_px"], r["PFCands_py"]) for r in (row, want)]
                np.testing.assert_allclose(*pts, rtol=1e-6)
        assert different <= 1

    def test_the_sample_of_layout_c_adds_up_to_its_jets(self, shared, skim):
        path = shared / "data" / "pfnano" / "layout_c_qcd_mc.root"
        summary, rows = skim(path, jet_pt_min=0.0, jet_id=None, triggers=[], filters=[])
        assert summary["layouts"] == ["C"]
        tree = uproot.open(path)["Events"].arrays(["FatJet_pt", "FatJet_rawFactor"])
        raw = ak.flatten(tree.FatJet_pt * (1 - tree.FatJet_rawFactor)).to_numpy()
        assert len(rows) == len(raw) == 6
        for row, pt in zip(rows, raw, strict=True):
            weight = np.array(row["PFCands_puppiWeight"])
            total = np.hypot(weight @ row["PFCands_px"], weight @ row["PFCands_py"])
            assert total == pytest.approx(pt, rel=3e-3)

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


def test_nanoaod_15_of_cms_simulation(shared, skim):
    path = shared / "data" / "pfnano" / "layout_d_ttbar_mc.root"
    everything = {"jet_pt_min": 0.0, "jet_abs_eta_max": 10.0, "triggers": [], "filters": []}
    with pytest.raises(DataError, match=r"no branch 'FatJet_jetId'.* set selection.jet_id to null"):
        skim(path, **everything)
    summary, rows = skim(path, jet_id=None, **everything)
    assert (summary["layouts"], len(rows)) == (["D"], 64)
    assert summary["absent_columns"] == SENTINELS | RENAMED
    names = ["event", *(f"FatJet_{name}" for name in ("pt", "eta", "rawFactor", "nConstituents"))]
    names += [*RENAMED.values(), "PFCand_pdgId", "PFCand_pt", "PFCand_phi"]
    names += ["FatJetPFCand_jetIdx", "FatJetPFCand_pfCandIdx"]
    tree = uproot.open(path)["Events"].arrays(names, library="np")
    number = 0
    for i, event in enumerate(tree["event"]):
        of_event = {name: values[i] for name, values in tree.items()}
        for jet, pt_of_jet in enumerate(of_event["FatJet_pt"]):
            row = rows[number]
            number += 1
            assert (row["event"], row["FatJet_index"]) == (event, jet)
            for old, new in RENAMED.items():
                assert row[old] == of_event[new][jet]
            linked = of_event["FatJetPFCand_pfCandIdx"][of_event["FatJetPFCand_jetIdx"] == jet]
            assert sorted(row["PFCands_pdgId"]) == sorted(of_event["PFCand_pdgId"][linked])
            total = np.hypot(sum(row["PFCands_px"]), sum(row["PFCands_py"]))
            pt, phi = (of_event[f"PFCand_{name}"][linked] for name in ("pt", "phi"))
            by_hand = np.hypot(pt @ np.cos(phi), pt @ np.sin(phi))
            assert total == pytest.approx(by_hand, rel=1e-5)
            if abs(of_event["FatJet_eta"][jet]) < 2.5:
                assert len(row["PFCands_E"]) == of_event["FatJet_nConstituents"][jet]
                raw = pt_of_jet * (1 - of_event["FatJet_rawFactor"][jet])
                assert total == pytest.approx(raw, rel=3e-3)
    assert number == 64


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
