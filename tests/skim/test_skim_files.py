import json
import random
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import uproot
import yaml

from tests.layout_a import FILTERS, TRIGGERS, random_events, write_events
from treasure.config.dataset import Dataset
from treasure.config.selection import Selection
from treasure.errors import ConfigError, DataError
from treasure.fileset.inspection import inspect_file
from treasure.skim.parts import read_parts
from treasure.skim.run import skim_files
from treasure.store import checksums, write_manifest

AOJ = Path(__file__).resolve().parents[2] / "config" / "selections" / "aoj.yaml"


def by_hand(events: dict, *, order: str = "hardest", most: int = 150) -> tuple[dict, list[dict]]:
    """The selection as a loop over events and jets: cutflow in (events, jets), and the rows."""
    cuts = ["all", "triggers", "filters", "jet_pt", "jet_eta", "jet_id"]
    flow = {cut: [0, 0] for cut in cuts}
    rows = []
    for i, jets in enumerate(events["FatJet"]):

        def note(cut: str, n_jets: int) -> None:
            flow[cut][0] += 1 if cut in cuts[:3] or n_jets else 0
            flow[cut][1] += n_jets

        note("all", len(jets))
        if not any(events[path][i] for path in TRIGGERS if path in events):
            continue
        note("triggers", len(jets))
        if not all(events[name][i] for name in FILTERS):
            continue
        note("filters", len(jets))
        numbered = [(j, jet) for j, jet in enumerate(jets) if np.float32(jet["pt"]) > 300]
        note("jet_pt", len(numbered))
        numbered = [(j, jet) for j, jet in numbered if abs(np.float32(jet["eta"])) < 2.5]
        note("jet_eta", len(numbered))
        numbered = [(j, jet) for j, jet in numbered if jet["jetId"] == 6]
        note("jet_id", len(numbered))
        for j, jet in numbered:
            linked = [
                events["PFCands"][i][link["pFCandsIdx"]]
                for link in events["FatJetPFCands"][i]
                if link["jetIdx"] == j
            ]
            if order == "aoj":
                linked = linked[:most]
            linked = sorted(linked, key=lambda c: -np.float32(c["pt"]))
            rows.append({"event": events["event"][i], "index": j, "jet": jet, "cands": linked})
    return flow, rows


def compare(rows: list[dict], expected: list[dict]) -> None:
    assert [(r["event"], r["FatJet_index"]) for r in rows] == [
        (e["event"], e["index"]) for e in expected
    ]
    for row, want in zip(rows, expected, strict=True):
        for name in ("pt", "eta", "phi", "msoftdrop", "tau3", "particleNet_TvsQCD"):
            assert row[f"FatJet_{name}"] == np.float32(want["jet"][name])
        cands = want["cands"]
        for name in ("d0", "dzErr", "puppiWeight"):
            assert row[f"PFCands_{name}"] == [np.float32(c[name]) for c in cands]
        for name in ("charge", "pdgId"):
            assert row[f"PFCands_{name}"] == [c[name] for c in cands]
        for name, formula in (
            ("px", lambda c: c["pt"] * np.cos(c["phi"])),
            ("py", lambda c: c["pt"] * np.sin(c["phi"])),
            ("pz", lambda c: c["pt"] * np.sinh(c["eta"])),
            ("E", lambda c: np.hypot(c["pt"] * np.cosh(c["eta"]), c["mass"])),
        ):
            wanted = [formula({k: float(np.float32(v)) for k, v in c.items()}) for c in cands]
            np.testing.assert_allclose(row[f"PFCands_{name}"], wanted, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("chunk", [3, 7, 1000])
@pytest.mark.parametrize("order", ["hardest", "aoj"])
def test_rows_and_cutflow_are_those_of_a_loop(tmp_path, skim, chunk, order):
    events = random_events(40, seed=3)
    path = write_events(tmp_path / "a.root", events)
    flow, expected = by_hand(events, order=order, most=5)
    summary, rows = skim(path, events_per_chunk=chunk, candidate_order=order, max_candidates=5)
    assert {c["cut"]: [c["events"], c["jets"]] for c in summary["cutflow"]} == flow
    assert (summary["events"], summary["jets"]) == (40, len(expected))
    compare(rows, expected)


def test_weights_are_those_of_the_generator(tmp_path, skim):
    events = random_events(30, seed=4)
    summary, rows = skim(write_events(tmp_path / "a.root", events), events_per_chunk=7)
    weights = dict(zip(events["event"], np.float32(events["genWeight"]), strict=True))
    assert summary["cutflow"][0]["weight"] == pytest.approx(sum(map(float, weights.values())))
    last = sum(float(weights[event]) for event in {row["event"] for row in rows})
    assert summary["cutflow"][-1]["weight"] == pytest.approx(last)
    assert all(row["genWeight"] == weights[row["event"]] for row in rows)


def test_several_files_are_read_in_their_order(tmp_path, skim):
    all_events = [random_events(12, seed=n, first_event=100 * n) for n in (5, 6, 7)]
    paths = [write_events(tmp_path / f"{n}.root", e) for n, e in enumerate(all_events)]
    summary, rows = skim(*paths, events_per_chunk=5)
    compare(rows, [row for events in all_events for row in by_hand(events)[1]])
    assert [file["uri"] for file in summary["files"]] == [str(path) for path in paths]


def test_the_same_input_gives_the_same_bytes_and_no_temporary_file(tmp_path, skim):
    path = write_events(tmp_path / "a.root", random_events(40, seed=8))
    first, _ = skim(path, folder="one", events_per_chunk=9)
    second, _ = skim(path, folder="two", events_per_chunk=9)
    assert first == second
    for name in [*first["parts"], "cutflow.json"]:
        assert checksums(tmp_path / "one" / name) == checksums(tmp_path / "two" / name)
    found = sorted(p.name for p in (tmp_path / "one").iterdir())
    assert found == sorted([*first["parts"], "cutflow.json"])


def test_progress_counts_chunks(tmp_path, selection, dataset):
    path = write_events(tmp_path / "a.root", random_events(20))
    file = inspect_file(str(path), "Events", str(path))
    told = []
    chunked = selection.model_copy(update={"events_per_chunk": 5})
    skim_files([file], "x", dataset, chunked, tmp_path / "s", lambda *p: told.append(p))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_trigger_path_that_is_absent_did_not_fire_and_is_counted(tmp_path, skim):
    events = random_events(30, seed=9)
    other = random_events(30, seed=10)
    del other[TRIGGERS[0]]
    paths = [write_events(tmp_path / f"{n}.root", e) for n, e in enumerate((events, other))]
    summary, rows = skim(*paths, events_per_chunk=10)
    assert summary["missing_triggers"] == {TRIGGERS[0]: 1}
    compare(rows, [row for e in (events, other) for row in by_hand(e)[1]])


def test_a_filter_that_is_absent_is_an_error(tmp_path, skim):
    path = write_events(tmp_path / "a.root", random_events(5), drop=(FILTERS[2],))
    with pytest.raises(DataError, match=rf"{path}: no branch '{FILTERS[2]}'"):
        skim(path)


def test_no_jet_survives(tmp_path, skim):
    path = write_events(tmp_path / "a.root", random_events(30, seed=3))
    summary, rows = skim(path, jet_pt_min=5000.0, events_per_chunk=10)
    assert (summary["parts"], summary["jets"], rows) == ([], 0, [])
    assert summary["chunks"] == 3
    assert summary["cutflow"][0]["weight"] > 0  # of empty chunks too
    nothing = {"events": 0, "jets": 0, "weight": 0, "weight2": 0}
    assert summary["cutflow"][-1] == {"cut": "jet_id", **nothing}


def test_events_without_any_jet(tmp_path, skim):
    summary, rows = skim(write_events(tmp_path / "a.root", random_events(5, max_jets=0)))
    assert (summary["cutflow"][0]["jets"], rows) == (0, [])


def one_jet(n_candidates: int) -> dict:
    events = random_events(1, seed=1, max_jets=0)
    events.update({name: [True] for name in (*FILTERS, *TRIGGERS)})
    jet = {"pt": 500.0, "eta": 0.1, "phi": 0.2, "mass": 80.0, "msoftdrop": 80.0, "jetId": 6}
    pts = np.random.default_rng(2).permutation(np.arange(1, n_candidates + 1))
    events["FatJet"] = [[jet]]
    events["PFCands"] = [[{"pt": float(pt), "pdgId": 22, "d0Err": -1.0} for pt in pts]]
    events["FatJetPFCands"] = [[{"jetIdx": 0, "pFCandsIdx": i} for i in range(n_candidates)]]
    return events


def test_a_jet_without_candidates_is_kept(tmp_path, skim):
    _, (row,) = skim(write_events(tmp_path / "a.root", one_jet(0)))
    assert row["PFCands_E"] == []


@pytest.mark.parametrize("order", ["hardest", "aoj"])
def test_a_jet_with_more_candidates_than_the_table_takes(tmp_path, skim, order):
    events = one_jet(400)
    summary, (row,) = skim(write_events(tmp_path / "a.root", events), candidate_order=order)
    assert summary["jets_with_candidates_left_out"] == 1
    pts = [c["pt"] for c in events["PFCands"][0]]
    kept = pts if order == "hardest" else pts[:150]
    np.testing.assert_allclose(row["PFCands_E"], sorted(kept, reverse=True), rtol=1e-6)


def test_columns_that_the_input_lacks_are_computed_or_minus_one(tmp_path, skim):
    events = random_events(30, seed=11)
    drop = ("FatJet_nConstituents", "FatJet_particleNet_mass", "FatJet_tau4")
    summary, rows = skim(write_events(tmp_path / "a.root", events, drop=drop))
    assert summary["absent_columns"] == {drop[0]: "computed", drop[1]: "-1", drop[2]: "-1"}
    assert [r[drop[0]] for r in rows] == [len(e["cands"]) for e in by_hand(events)[1]]
    assert {r[drop[1]] for r in rows} == {-1.0}


def test_values_that_are_not_finite(tmp_path, skim):
    events = one_jet(3)
    events["PFCands"][0][1].update({"d0": float("nan"), "dz": 0.3, "dzErr": 0.1, "d0Err": 0.1})
    events["FatJet"][0][0]["tau1"] = float("inf")
    summary, (row,) = skim(write_events(tmp_path / "a.root", events))
    assert row["FatJet_tau1"] == -1.0
    assert summary["replaced_values"] == {"FatJet_tau1": 1, "PFCands_d0, d0Err, dz, dzErr": 1}
    where = [i for i, d0 in enumerate(row["PFCands_d0"]) if d0 == -1.0]
    assert [row[f"PFCands_{name}"][where[0]] for name in ("d0Err", "dz", "dzErr")] == [-1.0] * 3
    events["PFCands"][0][0]["eta"] = float("nan")
    with pytest.raises(DataError, match="not finite"):
        skim(write_events(tmp_path / "b.root", events))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("pt", float("inf"), r"b\.root: FatJet_pt is inf for 1 selected jets; the file is damaged"),
        ("phi", float("nan"), r"b\.root: FatJet_phi is nan for 1 selected jets"),
    ],
)
def test_a_jet_without_an_axis_is_an_error(tmp_path, skim, name, value, message):
    events = one_jet(3)
    events["FatJet"][0][0][name] = value
    with pytest.raises(DataError, match=message):
        skim(write_events(tmp_path / "b.root", events))
    # Where no cut lets it through, it harms nothing.
    events["FatJet"][0][0]["jetId"] = 2
    assert skim(write_events(tmp_path / "c.root", events))[1] == []


def test_a_candidate_that_looks_like_padding_is_noted(tmp_path, skim):
    events = one_jet(3)
    events["PFCands"][0][2].update({"pt": 0.0, "mass": 0.0})
    summary, (row,) = skim(write_events(tmp_path / "a.root", events))
    assert len(row["PFCands_E"]) == 3 and row["PFCands_E"][2] == 0  # as the original maker has it
    assert summary["notes"] == {"with_candidates_of_no_energy": 1}


def test_weights_and_numbers_of_events_that_no_table_can_hold(tmp_path, skim):
    events = random_events(5)
    events["genWeight"][3] = float("nan")
    with pytest.raises(DataError, match=r"a\.root: genWeight is nan in 1 events, so that no"):
        skim(write_events(tmp_path / "a.root", events))
    events = random_events(5)
    events["event"][2] = 2**63 + 4
    with pytest.raises(DataError, match=r"b\.root: event is 9223372036854775812, which the int64"):
        skim(write_events(tmp_path / "b.root", events))
    events["event"][2] = 2**63 - 1
    skim(write_events(tmp_path / "c.root", events))


def test_the_soft_drop_mass_window(tmp_path, skim):
    events = random_events(40, seed=12)
    summary, rows = skim(
        write_events(tmp_path / "a.root", events), softdrop_mass_min=50.0, softdrop_mass_max=120.0
    )
    expected = [r for r in by_hand(events)[1] if 50 < np.float32(r["jet"]["msoftdrop"]) < 120]
    compare(rows, expected)
    assert summary["cutflow"][-1]["cut"] == "softdrop_mass"


def test_matching_drops_and_counts_jets(tmp_path, skim):
    events = random_events(3, seed=13, max_jets=0)
    events.update({name: [True] * 3 for name in (*FILTERS, *TRIGGERS)})
    jet = {"pt": 500.0, "eta": 0.0, "phi": 0.0, "jetId": 6}
    events["FatJet"] = [[jet, {**jet, "phi": 3.0}]] * 3
    events["GenPart"] = [
        [
            {"pdgId": pdg, "genPartIdxMother": mother, "eta": 0.1, "phi": 0.1, "pt": 100.0}
            for pdg, mother in ((6, -1), (24, 0), (5, 0), (2, 1), (w_second, 1))
        ]
        for w_second in (-1, 12, -3)
    ]
    path = write_events(tmp_path / "a.root", events)
    matching = Dataset(
        label=1, is_mc=True, matching="top", source={"kind": "local", "files": ["x"]}
    )
    summary, rows = skim(path, dataset=matching)
    assert [(row["event"], row["FatJet_index"]) for row in rows] == [(1, 0), (3, 0)]
    assert summary["cutflow"][-1] == {
        "cut": "matching_top", "events": 2, "jets": 2,
        "weight": pytest.approx(np.float32(events["genWeight"])[[0, 2]].sum()),
        "weight2": pytest.approx((np.float32(events["genWeight"])[[0, 2]] ** 2).sum()),
    }  # fmt: skip
    events["GenPart"][1][3]["genPartIdxMother"] = 5
    with pytest.raises(DataError, match="genPartIdxMother leads to no particle"):
        skim(write_events(tmp_path / "c.root", events), dataset=matching)
    del events["GenPart"]
    with pytest.raises(DataError, match="no branch GenPart_pdgId"):
        skim(write_events(tmp_path / "b.root", events), dataset=matching)


def test_the_golden_json_is_for_collisions_alone(tmp_path, skim):
    events = random_events(30, seed=14, run=7)
    path = write_events(tmp_path / "a.root", events)
    golden = tmp_path / "golden.json"
    golden.write_text(json.dumps({"7": [[2, 2]], "8": [[1, 3]]}))
    data = Dataset(label=0, is_mc=False, source={"kind": "local", "files": ["x"]})
    _, everything = skim(path, golden_json=str(golden))
    summary, rows = skim(path, dataset=data, golden_json=str(golden))
    assert rows == [row for row in everything if row["luminosityBlock"] == 2]
    assert summary["cutflow"][1] == {
        "cut": "golden_json", "events": 10, "jets": sum(map(len, events["FatJet"][10:20])),
        "weight": pytest.approx(np.float32(events["genWeight"])[10:20].sum()),
        "weight2": pytest.approx((np.float32(events["genWeight"])[10:20] ** 2).sum()),
    }  # fmt: skip
    digits = f"{int(checksums(golden)['adler32'], 16):x}".upper()
    skim(path, dataset=data, golden_json=str(golden), golden_json_adler32=digits)
    with pytest.raises(ConfigError, match="adler32 is"):
        skim(path, dataset=data, golden_json=str(golden), golden_json_adler32="1")
    with pytest.raises(ConfigError, match="no such file"):
        skim(path, dataset=data, golden_json=str(tmp_path / "none.json"))
    golden.write_text("[1]")
    with pytest.raises(ConfigError, match="not a golden JSON"):
        skim(path, dataset=data, golden_json=str(golden))


def test_a_file_that_changed_is_refused(tmp_path, selection, dataset):
    path = write_events(tmp_path / "a.root", random_events(20, seed=1))
    file = inspect_file(str(path), "Events", str(path))
    other = tmp_path / "b.root"
    write_events(other, random_events(20, seed=1))
    for size in (file.size, other.stat().st_size):
        # Another file of the same size has another UUID.
        shutil.copy(other, path)
        known = file.model_copy(update={"size": size})
        with pytest.raises(DataError, match="changed since the fileset was made"):
            skim_files([known], "x", dataset, selection, tmp_path / "s")
            raise DataError("changed since the fileset was made: by chance the same bytes")
    with pytest.raises(DataError, match="number of entries"):
        now = inspect_file(str(path), "Events", str(path))
        wrong = now.model_copy(update={"entries": 19})
        skim_files([wrong], "x", dataset, selection, tmp_path / "s")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError, match=r"size is .*; copy it again .* --version of their own$"):
        skim_files([now], "x", dataset, selection, tmp_path / "s")
    write_manifest(tmp_path, files=[path])  # so an earlier stage made it
    with pytest.raises(DataError, match=rf"; remove {tmp_path} and run SimulatePFNano again"):
        skim_files([now], "x", dataset, selection, tmp_path / "s")
    path.unlink()
    with pytest.raises(DataError, match="no such file"):
        skim_files([now], "x", dataset, selection, tmp_path / "s")
    assert not (tmp_path / "s" / "cutflow.json").exists()


def test_a_damaged_basket_is_an_error_that_names_the_file(tmp_path, selection, dataset):
    path = write_events(tmp_path / "a.root", random_events(200, seed=1))
    file = inspect_file(str(path), "Events", str(path))
    with uproot.open(path) as opened:
        branch = opened["Events"]["PFCands_pt"]
        start = branch.member("fBasketSeek")[0]
    data = bytearray(path.read_bytes())
    data[start + 80 : start + 120] = bytes(40)
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match=str(path)):
        skim_files([file], "x", dataset, selection, tmp_path / "s")
    assert not (tmp_path / "s" / "cutflow.json").exists()


@pytest.mark.parametrize(
    ("collection", "changes", "message"),
    [
        ("FatJetPFCands", {"jetIdx": 5}, "jetIdx is 5 in an event of 1 jets"),
        ("FatJetPFCands", {"pFCandsIdx": 9}, "pFCandsIdx is 9 in an event of 3 candidates"),
        ("FatJetPFCands", {"pFCandsIdx": -1}, "pFCandsIdx is -1"),
    ],
)
def test_links_that_lead_nowhere_are_errors(tmp_path, skim, collection, changes, message):
    events = one_jet(3)
    events[collection][0][1].update(changes)
    with pytest.raises(DataError, match=message):
        skim(write_events(tmp_path / "a.root", events))


def test_a_link_to_no_jet_is_left_aside(tmp_path, skim):
    events = one_jet(3)
    events["FatJetPFCands"][0][1]["jetIdx"] = -1
    _, (row,) = skim(write_events(tmp_path / "a.root", events))
    assert len(row["PFCands_E"]) == 2


def test_layouts_are_recognised_named_or_refused(tmp_path, skim, dataset):
    path = write_events(tmp_path / "a.root", random_events(5))
    assert skim(path)[0]["layouts"] == ["A"]
    assert skim(path, dataset=dataset.model_copy(update={"layout": "A"}))[0]["layouts"] == ["A"]
    with pytest.raises(ConfigError, match="'Z'"):
        skim(path, dataset=dataset.model_copy(update={"layout": "Z"}))
    other = write_events(tmp_path / "b.root", random_events(5), drop=("FatJetPFCands_jetIdx",))
    with pytest.raises(
        DataError,
        match=r"found: FatJetPFCands, PFCands; layout A .* needs FatJetPFCands_jetIdx\. Known",
    ):
        skim(other, dataset=dataset.model_copy(update={"layout": "A"}))


@pytest.mark.parametrize("lost", ["FatJetPFCands_jetIdx", "FatJetPFCands_pFCandsIdx"])
def test_half_a_table_of_links_is_clustered_again_on_demand_alone(tmp_path, skim, dataset, lost):
    path = write_events(tmp_path / "a.root", random_events(5), drop=(lost,))
    with pytest.raises(DataError, match=rf"layout A .* {lost}\. .*C .* would fit"):
        skim(path)
    assert skim(path, dataset=dataset.model_copy(update={"layout": "C"}))[0]["layouts"] == ["C"]


def test_damaged_parts_are_noticed(tmp_path, skim):
    summary, rows = skim(write_events(tmp_path / "a.root", random_events(40, seed=3)))
    part = tmp_path / "skim" / summary["parts"][0]
    whole = part.read_bytes()
    chosen, noticed = random.Random(5), 0
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    for position in chosen.sample(range(4, footer), 200):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << chosen.randrange(8)
        part.write_bytes(damaged)
        try:
            # A bit of what is not used, such as statistics, may go unnoticed; a value may not.
            assert pa.concat_tables(read_parts([part], 1000)).to_pylist() == rows
        except DataError as error:
            assert str(part) in str(error)
            noticed += 1
    assert noticed > 150
    part.write_bytes(whole[:-100])
    with pytest.raises(DataError, match="not a readable parquet"):
        list(read_parts([part], 100))
    with pytest.raises(DataError, match="no such part"):
        list(read_parts([part.with_name("none.parquet")], 100))


def test_the_aspen_open_jets_selection_on_cms_simulation(shared, tmp_path, dataset):
    selection = Selection(**yaml.safe_load(AOJ.read_text()))
    assert len(set(selection.triggers)) == 85
    path = shared / "data" / "pfnano" / "layout_a_qcd_mc.root"
    file = inspect_file(str(path), "Events", str(path))
    summary = skim_files([file], "x", dataset, selection, tmp_path)
    assert (summary["events"], summary["jets"]) == (10, 19)
    assert summary["absent_columns"] == {
        "FatJet_nConstituents": "computed", "FatJet_particleNet_mass": "-1",
    }  # fmt: skip
    tree = uproot.open(path)["Events"]
    wanted = ["event", "FatJet_pt", "FatJet_eta", "FatJet_jetId"]
    flags = selection.filters
    paths = [name for name in selection.triggers if name in tree]
    assert len(summary["missing_triggers"]) == 85 - len(paths)
    columns = tree.arrays(wanted + flags + paths, library="np")
    expected = []
    for i in range(10):
        if any(columns[p][i] for p in paths) and all(columns[f][i] for f in flags):
            for j, pt in enumerate(columns["FatJet_pt"][i]):
                if (
                    pt > 300
                    and abs(columns["FatJet_eta"][i][j]) < 2.5
                    and columns["FatJet_jetId"][i][j] == 6
                ):
                    expected.append((columns["event"][i], j))
    rows = [
        row
        for table in read_parts([tmp_path / name for name in summary["parts"]], 100)
        for row in table.to_pylist()
    ]
    assert [(row["event"], row["FatJet_index"]) for row in rows] == expected
    assert all(len(row["PFCands_E"]) == row["FatJet_nConstituents"] for row in rows)
