import itertools
import json
import math
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from tests.layout_a import TRIGGERS, random_events, write_events
from treasure.config.dataset import Dataset
from treasure.errors import DataError
from treasure.skim.cutflow_page import cut_label, write_page
from treasure.skim.efficiency import counted, cumulative, stepwise, weighted
from treasure.skim.luminosity import count, difference, intersection, sections, union
from treasure.skim.merge import MERGED, PROCESSED, merge, read_branch, write_merged
from treasure.store import checksums, write_manifest

DATA = Dataset(label=0, is_mc=False, source={"kind": "local", "files": ["x"]})
SIMULATION = DATA.model_copy(update={"is_mc": True, "title": "QCD & <more>"})
SELECTION = {
    "jet_pt_min": 300.0, "jet_abs_eta_max": 2.5, "jet_id": 6,
    "softdrop_mass_min": None, "softdrop_mass_max": 120.0,
}  # fmt: skip


def step(cut: str, events: int, jets: int, weight: float = 0.0) -> dict:
    return {"cut": cut, "events": events, "jets": jets, "weight": weight, "weight2": weight**2}


def branch(*steps: dict, **more) -> dict:
    return {
        "dataset": "x", "events": steps[0]["events"], "jets": steps[-1]["jets"], "chunks": 1,
        "most_jets_in_event": 2, "cutflow": list(steps), "files": [], "layouts": ["A"],
        "missing_triggers": {}, "absent_columns": {}, "replaced_values": {}, "notes": {},
        "jets_with_candidates_left_out": 0, "selection": SELECTION, "luminosity_sections": {},
        "puppi": "stored", **more,
    }  # fmt: skip


PAIRS = st.sets(st.tuples(st.integers(1, 3), st.integers(1, 12)))


def spelled(found: dict) -> set[tuple[int, int]]:
    for ranges in found.values():
        assert ranges and all(first <= last for first, last in ranges)
        # disjoint, sorted, and as few as can be
        assert all(a[1] + 1 < b[0] for a, b in itertools.pairwise(ranges))
    assert list(found) == sorted(found, key=int)
    return {
        (int(run), block)
        for run, ranges in found.items()
        for first, last in ranges
        for block in range(first, last + 1)
    }


@given(PAIRS, PAIRS)
def test_sets_of_sections_behave_as_sets(one, other):
    a, b = sections(one), sections(other)
    assert spelled(a) == one and count(a) == len(one)
    assert spelled(union(a, b)) == one | other
    assert spelled(difference(a, b)) == one - other
    assert spelled(intersection(a, b)) == one & other


def test_large_ranges_cost_nothing():
    every = {"7": [[1, 2**32 - 1]]}
    assert difference(every, {"7": [[5, 9]]}) == {"7": [[1, 4], [10, 2**32 - 1]]}
    assert union({"7": [[5, 6], [1, 2]]}, {"7": [[3, 4]], "10": []}) == {"7": [[1, 6]]}


@given(PAIRS, PAIRS, st.none() | PAIRS, st.none() | PAIRS)
def test_sections_processed_beside_those_expected(first, second, planned, golden):
    branches = [
        branch(step("all", 1, 1), luminosity_sections=sections(pairs)) for pairs in (first, second)
    ]
    found = merge(
        branches, "x", DATA,
        planned=None if planned is None else sections(planned),
        golden=None if golden is None else sections(golden),
    )["luminosity"]  # fmt: skip
    read = first | second
    processed = read if golden is None else read & golden
    runs = {run for run, _ in read}
    if planned is not None:
        expected = planned if golden is None else planned & golden
    else:
        expected = None if golden is None else {pair for pair in golden if pair[0] in runs}
    assert spelled(found["processed"]) == processed
    assert found["n_processed"] == len(processed) and found["n_read"] == len(read)
    if expected is None:
        assert found["expected"] is found["n_expected"] is None
        assert found["missing"] == found["outside"] == {}
        return
    assert spelled(found["expected"]) == expected
    assert spelled(found["missing"]) == expected - processed
    assert spelled(found["outside"]) == read - expected
    assert [found[f"n_{name}"] for name in ("expected", "missing", "outside")] == [
        len(expected), len(expected - processed), len(read - expected),
    ]  # fmt: skip


@pytest.mark.parametrize("limits", [{"limit_files": 4}, {"entry_start": 5, "entry_stop": 9}])
def test_of_a_part_of_a_dataset_nothing_is_missing(tmp_path, limits):
    one = branch(step("all", 1, 1), luminosity_sections={"5": [[1, 10]]})
    known = {"planned": {"5": [[8, 12]]}, "golden": {"5": [[1, 20]]}}
    merged = merge([one], "x", DATA, **known, limits=limits)
    found = merged["luminosity"]
    assert found["expected"] is found["n_expected"] is None
    assert found["missing"] == found["outside"] == {}
    assert found["processed"] == {"5": [[1, 10]]}
    assert found["expected_by"] == f"not known, with {' and '.join(limits)}"
    assert merge([one], "x", DATA, **known)["luminosity"]["missing"] == {"5": [[11, 12]]}
    write_merged(merged, tmp_path)
    said = ", ".join(f"{name}: {value}" for name, value in limits.items())
    assert f"a part of the dataset was asked for ({said})" in (tmp_path / "report.html").read_text()
    simulated = merge([one], "x", SIMULATION, **known, limits=limits)
    write_merged(simulated, tmp_path / "simulated")
    assert said not in (tmp_path / "simulated" / "report.html").read_text()


def test_branches_add_up():
    one = branch(
        step("all", 10, 20, 0.1), step("jet_pt", 3, 4, 0.2), files=[{"uri": "a"}],
        missing_triggers={"HLT_b": 1}, replaced_values={"tau1": 2}, absent_columns={"c": "-1"},
        most_jets_in_event=3, jets_with_candidates_left_out=1, notes={"n": 1},
    )  # fmt: skip
    two = branch(
        step("all", 1, 0, 0.2), step("jet_pt", 0, 0, 0.0), files=[{"uri": "b"}, {"uri": "c"}],
        missing_triggers={"HLT_a": 2, "HLT_b": 2}, absent_columns={"c": "computed", "d": "-1"},
        most_jets_in_event=0, notes={"n": 4}, layouts=["C"],
    )  # fmt: skip
    merged = merge([one, two, one], "x", SIMULATION)
    assert (merged["events"], merged["jets"], merged["most_jets_in_event"]) == (21, 8, 3)
    assert merged["branches"] == [
        {"branch": 0, "jets": 4}, {"branch": 1, "jets": 0}, {"branch": 2, "jets": 4},
    ]  # fmt: skip
    assert merged["cutflow"][0] == {
        "cut": "all", "events": 21, "jets": 40, "weight": 0.4,
        "weight2": pytest.approx(0.06),
    }  # fmt: skip
    assert [file["uri"] for file in merged["files"]] == ["a", "b", "c", "a"]
    assert merged["missing_triggers"] == {"HLT_a": 2, "HLT_b": 4}
    assert merged["absent_columns"] == {"c": "-1, computed", "d": "-1"}
    assert (merged["replaced_values"], merged["notes"]) == ({"tau1": 4}, {"n": 6})
    assert (merged["layouts"], merged["puppi"]) == (["A", "C"], "stored")
    assert merged["jets_with_candidates_left_out"] == 2
    assert (merged["luminosity"], merged["title"]) == (None, "QCD & <more>")


def test_branches_that_do_not_belong_together_are_refused():
    good = branch(step("all", 1, 1))
    with pytest.raises(DataError, match="no branch"):
        merge([], "x", DATA)
    with pytest.raises(DataError, match="branch 1 of the skim is of dataset 'y'"):
        merge([good, {**good, "dataset": "y"}], "x", DATA)
    for other in ({"selection": {"jet_pt_min": 1}}, {"cutflow": [step("every", 1, 1)]}):
        with pytest.raises(DataError, match="branch 2 of the skim was selected otherwise"):
            merge([good, good, {**good, **other}], "x", DATA)


def test_momenta_of_two_conventions_are_not_mixed():
    stored, applied = (branch(step("all", 1, 1), puppi=said) for said in ("stored", "applied"))
    assert merge([applied, {**applied, "puppi": ""}], "x", DATA)["puppi"] == "applied"
    for branches in ([stored, applied], [{**stored, "puppi": "applied, stored"}]):
        with pytest.raises(DataError, match=r"weighted by PUPPI.*apply_puppi to true"):
            merge(branches, "x", DATA)


def test_a_branch_is_verified(tmp_path):
    path = tmp_path / "cutflow.json"
    path.write_text(json.dumps({"jets": 1}))
    write_manifest(tmp_path, files=[path])
    assert read_branch(tmp_path) == {"jets": 1}
    path.write_text(json.dumps({"jets": 2}))
    with pytest.raises(DataError, match=rf"{path}: missing, or not what .* run SkimJets again"):
        read_branch(tmp_path)
    path.unlink()
    with pytest.raises(DataError, match=str(path)):
        read_branch(tmp_path)


def test_the_merged_cutflow_of_two_skims_is_that_of_both_at_once(tmp_path, skim):
    paths = [
        write_events(tmp_path / f"{n}.root", random_events(25, seed=n, run=n, first_event=100 * n))
        for n in (1, 2)
    ]
    each = [skim(path, folder=str(n), dataset=DATA)[0] for n, path in enumerate(paths)]
    both = skim(*paths, folder="both", dataset=DATA)[0]
    merged, whole = merge(each, "x", DATA), merge([both], "x", DATA)
    for key in set(merged) - {"branches", "cutflow"}:
        assert merged[key] == whole[key], key
    for found, expected in zip(merged["cutflow"], whole["cutflow"], strict=True):
        assert found == {**expected, "weight": pytest.approx(expected["weight"]),
                         "weight2": pytest.approx(expected["weight2"])}  # fmt: skip
    assert merged["luminosity"]["processed"] == {"1": [[1, 3]], "2": [[1, 3]]}
    per_event: dict[int, int] = {}
    for row in skim(*paths, folder="again", dataset=DATA)[1]:
        per_event[row["event"]] = per_event.get(row["event"], 0) + 1
    assert merged["most_jets_in_event"] == max(per_event.values())


@given(st.integers(0, 40), st.integers(0, 40))
def test_binomial_intervals_are_those_of_scipy(a, b):
    passed, total = min(a, b), max(a, b)
    found = counted(passed, total)
    if total == 0:
        assert found is None
        return
    interval = binomtest(passed, total).proportion_ci(math.erf(1 / math.sqrt(2)), "exact")
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-9)
    assert found.value == passed / total


@given(st.lists(st.tuples(st.floats(-2, 3), st.booleans()), min_size=1))
def test_the_uncertainty_of_a_weighted_efficiency_is_propagated(events):
    def sums(weights: list[float]) -> dict:
        return {"weight": sum(weights), "weight2": sum(w * w for w in weights)}

    passed, failed = ([w for w, p in events if p == which] for which in (True, False))
    total = sums(passed + failed)
    if abs(total["weight"]) < 0.1:
        return
    found = weighted(sums(passed), total)
    p, f = sums(passed), sums(failed)
    # ε = P / (P + F): dε/dP = F / (P + F)², dε/dF = −P / (P + F)²
    variance = (f["weight"] ** 2 * p["weight2"] + p["weight"] ** 2 * f["weight2"]) / (
        total["weight"] ** 4
    )
    assert found.value == pytest.approx(p["weight"] / total["weight"], abs=1e-12)
    assert found.high - found.value == pytest.approx(math.sqrt(variance), rel=1e-6, abs=1e-6)


def test_efficiencies_are_of_the_step_before_and_of_all():
    flow = [step("all", 100, 200), step("a", 50, 50), step("b", 10, 0), step("c", 0, 0)]
    assert [e and e.value for e in stepwise(flow, "events")] == [None, 0.5, 0.2, 0.0]
    assert [e and e.value for e in cumulative(flow, "events")] == [None, 0.5, 0.1, 0.0]
    assert [e and e.value for e in stepwise(flow, "jets")] == [None, 0.25, 0.0, None]


def test_cuts_are_called_as_physicists_do():
    window = SELECTION | {"softdrop_mass_min": 50.0}
    assert cut_label("softdrop_mass", window) == "$m_{SD}$ 50–120 GeV"
    assert cut_label("softdrop_mass", SELECTION) == "$m_{SD}$ < 120 GeV"
    assert cut_label("matching_W", SELECTION) == "W matched"
    assert cut_label("jet_pt", SELECTION) == "$p_T$ > 300 GeV"


@pytest.mark.parametrize("dataset", [DATA, SIMULATION])
@pytest.mark.parametrize("left", [0, 7])
def test_the_report_says_it_all_and_is_the_same_bytes(tmp_path, dataset, left):
    one = branch(
        step("all", 1234567, 2345678, 10.0), step("triggers", 1000, 2000, 5.0),
        step("jet_pt", left, left, 0.5), missing_triggers={TRIGGERS[0]: 3},
        absent_columns={"FatJet_tau5": "-1"}, notes={"jets without candidates": 5},
        luminosity_sections={"5": [[1, 10]]},
    )  # fmt: skip
    merged = merge(
        [one], "x", dataset, planned={"5": [[8, 12]]},
        files_left_out=[{"uri": "bad.root", "reason": "damaged"}],
    )  # fmt: skip
    for folder in ("a", "b"):
        write_merged(merged, tmp_path / folder)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == sorted([MERGED, "report.html", *([PROCESSED] if dataset is DATA else [])])
    for name in names:
        assert checksums(tmp_path / "a" / name) == checksums(tmp_path / "b" / name)
    page = (tmp_path / "a" / "report.html").read_text()
    for said in (
        TRIGGERS[0],
        "FatJet_tau5",
        "jets without candidates",
        "bad.root",
        "1\u202f234\u202f567",
    ):
        assert said in page
    if dataset is DATA:
        assert json.loads((tmp_path / "a" / PROCESSED).read_text()) == {"5": [[1, 10]]}
        assert (merged["luminosity"]["missing"], merged["luminosity"]["outside"]) == (
            {"5": [[11, 12]]}, {"5": [[1, 7]]},
        )  # fmt: skip
    else:
        assert "QCD &amp; &lt;more&gt;" in page and "sum of weights" in page


def test_two_thousand_branches_take_seconds(tmp_path):
    files = [{"uri": f"root://server/{n}.root", "entries": 10} for n in range(2)]
    runs = {str(run): [[k, k + 5] for k in range(1, 300, 10)] for run in range(30)}
    started = time.process_time()
    for number in range(2000):
        one = branch(
            *(step(cut, 1, 1, 0.1) for cut in "abcdefgh"), files=files,
            luminosity_sections={r: v for r, v in runs.items() if int(r) % 15 == number % 15},
        )  # fmt: skip
        directory = tmp_path / str(number)
        directory.mkdir()
        (directory / "cutflow.json").write_text(json.dumps(one))
        (directory / "manifest.json").write_text(
            json.dumps({"files": {"cutflow.json": checksums(directory / "cutflow.json")}})
        )
    written = time.process_time()
    found = [read_branch(tmp_path / str(number)) for number in range(2000)]
    merged = merge(found, "x", DATA, golden={str(run): [[1, 400]] for run in range(30)})
    assert merged["luminosity"]["n_processed"] == 30 * 30 * 6
    assert len(merged["files"]) == 4000 and merged["jets"] == 2000
    spent = time.process_time() - written
    assert spent < 3 * max(written - started, 1.0)  # about as long as writing them


def test_a_page_without_anything_unusual(tmp_path: Path):
    merged = merge([branch(step("all", 0, 0))], "x", DATA)
    page = write_page(tmp_path / "report.html", merged).read_text()
    assert "Missing triggers" not in page and "is not known" in page
