import json
import math
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.layout_a import FILTERS, TRIGGERS, random_events, write_events
from tests.layouts import separated_events, write_layout
from tests.skim.test_skim_matching import loop_match, top
from treasure.config.dataset import Dataset
from treasure.config.selection import Selection
from treasure.errors import ConfigError, DataError
from treasure.fileset.inspection import inspect_file
from treasure.skim.golden import golden_digest, golden_mask, golden_sections, mask_of
from treasure.skim.layout_a import LayoutA
from treasure.skim.luminosity import union
from treasure.skim.parts import read_parts
from treasure.skim.run import skim_files
from treasure.store import fingerprint


class WithoutWeights(LayoutA):
    required = tuple(name for name in LayoutA.required if name != "PFCands_puppiWeight")


ABSENT = "HLT_not_in_this_file"
GOLDEN = {"1": [[1, 1], [3, 4]], "2": [[1, 9]]}


def dataset(*, is_mc: bool = True, **more) -> Dataset:
    return Dataset(label=0, is_mc=is_mc, source={"kind": "local", "files": ["x"]}, **more)


def single(value: float) -> float:
    return float(np.float32(value))


def toy_events(n: int, seed: int) -> dict:
    """Random events with decays near the jets, weights of both signs, and PUPPI weights of 0."""
    events = random_events(n, seed=seed)
    rng = np.random.default_rng([seed, 7])
    events["genWeight"] = [float(w) for w in rng.choice([-1.0, 0.5, 2.0], n)]
    events["GenPart"] = []
    for jets, candidates in zip(events["FatJet"], events["PFCands"], strict=True):
        tree: list = []
        for jet in jets:
            near = [(jet["eta"] + d, jet["phi"] + d) for d in rng.uniform(-0.6, 0.6, 3)]
            copies = int(rng.integers(0, 2))
            tree += top(1, near, offset=len(tree), copies=copies, leptonic=rng.random() < 0.3)
        events["GenPart"].append(
            [
                dict(zip(("pdgId", "genPartIdxMother", "eta", "phi"), p, strict=True))
                for p in tree
            ]
        )  # fmt: skip
        for candidate in candidates:
            candidate["puppiWeight"] = float(rng.choice([0.0, 0.25, 1.0, rng.uniform(0, 1)]))
    return events


def passes_event_cuts(events: dict, i: int, selection: Selection, golden: dict | None):
    """Names of the cuts on events, each with whether this one passes."""
    if golden is not None:
        run, block = str(events["run"][i]), events["luminosityBlock"][i]
        inside = any(first <= block <= last for first, last in golden.get(run, []))
        yield "golden_json", inside
    if selection.triggers:
        yield "triggers", any(path in events and events[path][i] for path in selection.triggers)
    if selection.filters:
        yield "filters", all(events[name][i] for name in selection.filters)


def passes_jet_cuts(jet: dict, tree: list, matching: str, selection: Selection):
    yield "jet_pt", single(jet["pt"]) > single(selection.jet_pt_min)
    yield "jet_eta", abs(single(jet["eta"])) < single(selection.jet_abs_eta_max)
    if selection.jet_id is not None:
        yield "jet_id", jet["jetId"] == selection.jet_id
    low, high = selection.softdrop_mass_min, selection.softdrop_mass_max
    if low is not None or high is not None:
        mass = single(jet["msoftdrop"])
        yield (
            "softdrop_mass",
            (low is None or mass > single(low)) and (high is None or mass < single(high)),
        )
    if matching != "none":
        inside = loop_match(matching, tree, jet["eta"], jet["phi"], selection.matching_radius)
        yield f"matching_{matching}", inside


def candidates_of(events: dict, i: int, j: int, selection: Selection) -> list[tuple]:
    """(px, py, pz, E, weight) of a jet's candidates as they are to be kept."""
    found = []
    for link in events["FatJetPFCands"][i]:
        if link["jetIdx"] != j:
            continue
        c = {name: single(v) for name, v in events["PFCands"][i][link["pFCandsIdx"]].items()}
        scale = c["puppiWeight"] if selection.apply_puppi else 1.0
        if selection.apply_puppi and scale == 0:
            continue
        px, py = c["pt"] * math.cos(c["phi"]), c["pt"] * math.sin(c["phi"])
        pz = c["pt"] * math.sinh(c["eta"])
        energy = math.sqrt(px**2 + py**2 + pz**2 + c["mass"] ** 2)
        momentum = [component * scale for component in (px, py, pz, energy)]
        found.append((c["pt"] * scale, *momentum, c["puppiWeight"]))
    if selection.candidate_order == "aoj":
        found = found[: selection.max_candidates]
    return [c[1:] for c in sorted(found, key=lambda c: -c[0])]


def by_hand(events: dict, selection: Selection, data: Dataset) -> tuple[dict, list]:
    """Cutflow and rows of a loop over events, jets and candidates."""
    golden = GOLDEN if selection.golden_json and not data.is_mc else None
    flow: dict[str, list[float]] = {}
    rows = []

    def note(cut: str, passed: bool, n_jets: int, weight: float) -> None:
        total = flow.setdefault(cut, [0, 0, 0.0, 0.0])
        if passed:
            for k, value in enumerate((1, n_jets, weight, weight**2)):
                total[k] += value

    for i, jets in enumerate(events["FatJet"]):
        weight = single(events["genWeight"][i])
        note("all", True, len(jets), weight)
        alive = True
        for cut, passed in passes_event_cuts(events, i, selection, golden):
            alive = alive and passed
            note(cut, alive, len(jets), weight)
        tree = [
            (p["pdgId"], p["genPartIdxMother"], p["eta"], p["phi"]) for p in events["GenPart"][i]
        ]
        surviving = dict.fromkeys(range(len(jets)), alive)
        results = [list(passes_jet_cuts(jet, tree, data.matching, selection)) for jet in jets]
        names = [cut for cut, _ in passes_jet_cuts(DUMMY, [], data.matching, selection)]
        for k, cut in enumerate(names):
            for j in surviving:
                surviving[j] = surviving[j] and results[j][k][1]
            left = sum(surviving.values())
            note(cut, left > 0, left, weight)
        rows += [
            (events["event"][i], j, candidates_of(events, i, j, selection))
            for j, survives in surviving.items()
            if survives
        ]
    return flow, rows


DUMMY = {"pt": 0.0, "eta": 0.0, "phi": 0.0, "jetId": 0, "msoftdrop": 0.0}
PATHS = st.lists(st.sampled_from([*TRIGGERS, ABSENT]), unique=True)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    is_mc=st.booleans(),
    matching=st.sampled_from(["none", "top", "W", "Z"]),
    cuts=st.fixed_dictionaries(
        {
            "triggers": PATHS,
            "filters": st.lists(st.sampled_from(FILTERS), unique=True, max_size=4),
            "jet_pt_min": st.sampled_from([0.0, 300.0, 600.0]),
            "jet_abs_eta_max": st.sampled_from([1.0, 2.5]),
            "jet_id": st.sampled_from([None, 6]),
            "softdrop_mass_min": st.sampled_from([None, 30.0]),
            "softdrop_mass_max": st.sampled_from([None, 120.0]),
            "matching_radius": st.sampled_from([0.4, 0.8]),
            "max_candidates": st.sampled_from([2, 150]),
            "candidate_order": st.sampled_from(["hardest", "aoj"]),
            "apply_puppi": st.booleans(),
            "events_per_chunk": st.sampled_from([7, 1000]),
            "golden_json": st.booleans(),
        }
    ),
)
def test_all_cuts_together_are_those_of_a_loop(seed, is_mc, matching, cuts):
    events = toy_events(25, seed)
    data = dataset(is_mc=is_mc, matching=matching)
    with tempfile.TemporaryDirectory() as folder:
        golden = Path(folder) / "golden.json"
        golden.write_text(json.dumps(GOLDEN))
        selection = Selection(
            **{**cuts, "golden_json": str(golden) if cuts["golden_json"] else None}
        )
        path = write_events(Path(folder) / "a.root", events)
        file = inspect_file(str(path), "Events", str(path))
        summary = skim_files([file], "x", data, selection, Path(folder) / "skim")
        tables = list(read_parts([Path(folder) / "skim" / n for n in summary["parts"]], 100))
    found = pa.concat_tables(tables).to_pylist() if tables else []
    flow, rows = by_hand(events, selection, data)
    names = ("events", "jets", "weight", "weight2")
    assert [step["cut"] for step in summary["cutflow"]] == list(flow)
    for step in summary["cutflow"]:
        assert [step[name] for name in names] == pytest.approx(flow[step["cut"]], abs=1e-9)
    assert summary["missing_triggers"] == ({ABSENT: 1} if ABSENT in selection.triggers else {})
    assert [(r["event"], r["FatJet_index"]) for r in found] == [row[:2] for row in rows]
    columns = [f"PFCands_{name}" for name in ("px", "py", "pz", "E", "puppiWeight")]
    for row, (_, _, candidates) in zip(found, rows, strict=True):
        assert row["FatJet_nConstituents"] >= len(row["PFCands_E"])  # that of the input, always
        expected = np.array(candidates).reshape(-1, 5)
        measured = np.array([row[name] for name in columns], np.float64).T.reshape(-1, 5)
        np.testing.assert_allclose(measured, expected, rtol=3e-7, atol=1e-6)


def test_puppi_weights_change_momenta_and_order_alone(tmp_path, skim):
    events = toy_events(30, 5)
    path = write_events(tmp_path / "a.root", events)
    summary, stored = skim(path, folder="stored")
    weighted_summary, applied = skim(path, folder="applied", apply_puppi=True)
    momenta = [f"PFCands_{name}" for name in ("px", "py", "pz", "E")]
    others = [name for name in stored[0] if name.startswith("PFCands") and name not in momenta]
    dropped = 0
    for before, after in zip(stored, applied, strict=True):
        for name in before:
            if not name.startswith("PFCands"):
                assert before[name] == after[name]
        old, new = (
            [
                {name: row[name][k] for name in (*momenta, *others)}
                for k in range(len(row["PFCands_E"]))
            ]
            for row in (before, after)
        )
        kept = [c for c in old if c["PFCands_puppiWeight"] > 0]
        dropped += len(old) - len(kept)
        for c in kept:
            for name in momenta:
                c[name] *= c["PFCands_puppiWeight"]
        kept.sort(key=lambda c: -math.hypot(c["PFCands_px"], c["PFCands_py"]))
        assert [[c[n] for n in others] for c in kept] == [[c[n] for n in others] for c in new]
        for name in momenta:  # to the bit what the columns of the stored table multiply to
            assert [c[name] for c in new] == [float(np.float32(c[name])) for c in kept]
    assert dropped > 10
    assert (summary["puppi"], weighted_summary["puppi"]) == ("stored", "applied")


def test_weighted_momenta_are_not_weighted_again(tmp_path, skim):
    path = write_layout(tmp_path / "d.root", separated_events(9), "D")
    stored, rows = skim(path, folder="stored", jet_id=None)
    applied, same_rows = skim(path, folder="applied", jet_id=None, apply_puppi=True)
    assert stored["layouts"] == applied["layouts"] == ["D"]
    assert stored["puppi"] == applied["puppi"] == "applied"
    assert rows == same_rows and len(rows) > 0


def test_weights_that_are_asked_for_and_absent_are_an_error(tmp_path, skim):
    path = write_events(tmp_path / "a.root", toy_events(9, 1), drop=("PFCands_puppiWeight",))
    without = dataset(layout="tests.skim.test_selection:WithoutWeights")
    assert skim(path, dataset=without)[0]["absent_columns"]["PFCands_puppiWeight"] == "-1"
    with pytest.raises(DataError, match=r"no PUPPI weights, which selection\.apply_puppi asks for"):
        skim(path, dataset=without, apply_puppi=True)


_RANGES = st.dictionaries(
    st.sampled_from(["1", "7", "278820", "4294967295"]),
    st.lists(st.tuples(st.integers(1, 60), st.integers(0, 9)), min_size=1, max_size=6),
)


@settings(max_examples=60, deadline=None)
@given(
    _RANGES, st.lists(st.tuples(st.sampled_from([1, 6, 7, 278820, 2**32 - 1]), st.integers(1, 70)))
)
def test_sections_are_those_of_coffea(ranges, pairs):
    from coffea.lumi_tools import LumiMask

    golden = union({run: [(a, a + n) for a, n in found] for run, found in ranges.items()})
    runs, blocks = np.array(pairs, np.int64).reshape(-1, 2).T
    found = mask_of(golden)(runs, blocks)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(golden, file)
        file.flush()
        mask = LumiMask(file.name)
    expected = np.asarray(mask(runs.astype(np.uint32), blocks.astype(np.uint32)))
    assert found.dtype == bool and found.tolist() == expected.tolist()


def test_golden_json_of_2016(shared):
    path = shared / "data/open_data/Cert_271036-284044_13TeV_Legacy2016_Collisions16_JSON.txt"
    selection = Selection(golden_json=str(path), golden_json_adler32="8690115C")
    content = json.loads(path.read_text())
    validated = golden_mask(selection, dataset(is_mc=False))
    pairs = [
        (int(run), block)
        for run, ranges in list(content.items())[::40]
        for block in range(1, ranges[-1][1] + 3)
    ] + [(1, 1), (284045, 1)]
    runs, blocks = np.array(pairs).T
    expected = [any(a <= b <= z for a, z in content.get(str(r), [])) for r, b in pairs]
    assert validated(runs, blocks).tolist() == expected
    assert 0 < sum(expected) < len(expected)
    assert golden_sections(selection, dataset(is_mc=False)) == content
    assert golden_digest(selection, dataset(is_mc=False)) is not None


def test_a_golden_json_is_not_opened_for_simulation(tmp_path):
    selection = Selection(golden_json=str(tmp_path / "none.json"))
    for ask in (golden_digest, golden_mask, golden_sections):
        assert ask(selection, dataset()) is None


def test_ranges_of_a_golden_json_may_overlap_and_have_any_order(tmp_path):
    path = tmp_path / "golden.json"
    path.write_text(json.dumps({"9": [[7, 9], [1, 5], [3, 6]], "3": []}))
    validated = golden_mask(Selection(golden_json=str(path)), dataset(is_mc=False))
    blocks = np.arange(0, 12)
    assert validated(np.full(12, 9), blocks).tolist() == [1 <= b <= 9 for b in blocks]
    assert not validated(np.full(12, 3), blocks).any()


@pytest.mark.parametrize(
    "content",
    [
        "[1]", "no JSON", '{"a": [[1, 2]]}', '{"1": [1, 2]}', '{"1": [[2, 1]]}', '{"1": [[0, 1]]}',
        '{"1": [[1, 2, 3]]}', '{"1": [[1.5, 2]]}', '{"1": [[1, 99999999999]]}', '{"1": null}',
    ],
)  # fmt: skip
def test_what_is_not_a_golden_json_is_refused(tmp_path, content):
    path = tmp_path / "golden.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"selection\.golden_json: .*not a golden JSON"):
        golden_mask(Selection(golden_json=str(path)), dataset(is_mc=False))


def test_the_digest_follows_the_content(tmp_path):
    path, data = tmp_path / "golden.json", dataset(is_mc=False)
    selection = Selection(golden_json=str(path))
    with pytest.raises(ConfigError, match="no such file"):
        golden_digest(selection, data)
    path.write_text("{}")
    first = golden_digest(selection, data)
    path.write_text('{"1": [[1, 1]]}')
    assert first != golden_digest(selection, data) is not None
    assert golden_digest(Selection(golden_json="record:14220"), data) is None


def test_a_record_that_cannot_be_had_names_the_remedies(tmp_path, monkeypatch, shared):
    monkeypatch.setenv("TREASURE_CACHE", str(tmp_path))
    offline = {"kind": "cern_open_data", "record": 31308, "offline": True}
    data = Dataset(label=0, is_mc=False, source=offline)
    selection = Selection(golden_json="record:14220", golden_json_adler32="8690115c")
    with pytest.raises(ConfigError, match=r"record:14220: .*golden_json=PATH.* or null") as caught:
        golden_mask(selection, data)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"expected record:<number>"):
        golden_mask(Selection(golden_json="record:x"), data)
    on_disk = shared / "data" / "open_data"
    data = Dataset(label=0, is_mc=False, source={**offline, "folder": str(on_disk)})
    (path,) = on_disk.glob("Cert_*.txt")
    assert golden_sections(selection, data) == json.loads(path.read_text())


def test_another_content_of_the_golden_json_is_another_skim(tmp_path):
    from tasks.skim import SkimJets

    golden, config = tmp_path / "golden.json", tmp_path / "my.yaml"
    config.write_text(
        "defaults: aoj\n"
        "datasets:\n"
        "  collisions: {source: {kind: local, files: [x.root]}, label: 0, is_mc: false}\n"
        "  simulated: {source: {kind: local, files: [x.root]}, label: 0, is_mc: true}\n"
        f"selection: {{golden_json: {golden}}}\n"
    )
    collisions, simulated = (
        SkimJets(config=str(config), dataset=name) for name in ("collisions", "simulated")
    )
    seen = []
    for content in ("{}", '{"1": [[1, 1]]}', "{}"):
        golden.write_text(content)
        seen.append((fingerprint(collisions.settings()), fingerprint(simulated.settings())))
    of_collisions, of_simulated = zip(*seen, strict=True)
    assert of_collisions[0] == of_collisions[2] != of_collisions[1]
    assert len(set(of_simulated)) == 1
