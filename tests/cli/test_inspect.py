"""`treasure inspect`: ranges and sentinels against numpy, and what each kind of file shows."""

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.jet_files import COLUMNS, in_process, random_jets, treasure, write
from treasure.cli.ranges import CandidateSlots, ColumnRange, KeyRanges
from treasure.fileset.model import Fileset, FilesetFile
from treasure.store import read_json, write_json, write_manifest

JET_COLUMNS = tuple(COLUMNS["PFCands"])


def cells(output: str, column: str) -> list[str]:
    """What the line of a column says, cell by cell."""
    line = next(line for line in output.splitlines() if line.split()[:1] == [column])
    return line.split()[1:]


@given(st.lists(st.floats(width=32), max_size=30), st.integers(0, 30))
def test_a_range_is_what_numpy_says_however_it_is_cut(values, cut):
    array = np.array(values, np.float32)
    column = ColumnRange("x")
    for part in (array[:cut], array[cut:]):
        column.add(part, part == -1)
    real = array[np.isfinite(array) & (array != -1)].astype(float)
    assert (column.minimum, column.maximum) == (
        (real.min(), real.max()) if len(real) else (None, None)
    )
    assert column.mean == (pytest.approx(real.mean(), rel=1e-9, abs=1e-30) if len(real) else None)
    assert column.values == len(array) and column.sentinels == np.sum(array == -1)
    assert column.zeros == np.sum(array == 0)
    assert column.negative_zero == np.sum((array == 0) & np.signbit(array))
    assert column.nan == np.isnan(array).sum() and column.infinite == np.isinf(array).sum()


def test_sentinels_are_told_from_values():
    slots = CandidateSlots(10)
    ranges = KeyRanges("PFCands", JET_COLUMNS, {"PFCands_charge": "-1", "PFCands_pdgId": "0"})
    arrays = random_jets(50)
    arrays["PFCands"][0, 0, 4] = -1  # a d0 of −1 cm of a candidate with track details
    arrays["PFCands"][0, 0, 5] = 0.1
    ranges.add(slots.add(arrays["PFCands"], JET_COLUMNS))
    real = arrays["PFCands"][arrays["PFCands"][:, :, 3] != 0]
    found = {column.name: column for column in ranges.columns}
    no_track = real[:, 5] == -1
    for number, name in enumerate(JET_COLUMNS[4:8], start=4):
        assert found[name].sentinels == no_track.sum()
        assert found[name].minimum == real[~no_track, number].min()
    assert found["d0"].minimum == -1
    assert found["charge"].sentinels == np.sum(real[:, 8] == -1)  # as absent_columns says
    assert found["pdgId"].sentinels == 0 and found["pdgId"].mean is None
    assert found["px"].values == len(real) and found["px"].mean == pytest.approx(real[:, 0].mean())


@given(st.lists(st.integers(0, 8), min_size=1, max_size=12))
def test_candidates_per_jet(counts):
    candidates = np.zeros((len(counts), 8, 11), np.float32)
    candidates[np.arange(8) < np.array(counts)[:, None]] = 1
    slots = CandidateSlots(8)
    for part in np.array_split(candidates, 2):
        slots.add(part, JET_COLUMNS)
    assert slots.per_jet() == (min(counts), np.median(counts), max(counts))
    assert (slots.holes, slots.unordered, slots.dirty_padding) == (0, 0, 0)
    assert CandidateSlots(8).per_jet() is None


def test_the_reference_table_without_attributes(shared):
    path = shared / "reference" / "aoj_maker" / "qcd_300.h5"
    run = treasure("inspect", path, COLUMNS="100")
    assert run.returncode == 0
    with h5py.File(path) as file:
        pt, candidates = file["jet_kinematics"][:, 0], file["PFCands"][:]
    real = candidates[candidates[:, :, 3] != 0]
    expected = [f"{value:.5g}" for value in (pt.min(), pt.mean(dtype=float), pt.max())]
    assert cells(run.stdout, "pt")[:4] == ["GeV", *expected]
    assert cells(run.stdout, "pdgId")[0] == f"{real[:, 9].min():.5g}"
    assert f"{len(real):,} candidates" in run.stdout
    assert "no NaN, no infinity, no −0" in run.stdout
    for columns in COLUMNS.values():
        for column in columns:
            assert cells(run.stdout, column)
    lines = run.stdout.split("first jets")[0].splitlines()[1:]
    assert max(map(len, lines)) <= 100


def test_our_tables_say_labels_splits_and_absent_columns(tmp_path):
    arrays = random_jets() | {
        "label": np.full(12, 3, np.int32),
        "split": np.array([0] * 9 + [2] * 3, np.int8),
    }
    arrays["jet_tagging"][:, 5] = -1
    absent = json.dumps({"FatJet_particleNet_H4qvsQCD": "-1"})
    path = write(tmp_path / "a.h5", arrays, dataset="qcd", layouts='["C"]', absent_columns=absent)
    run = in_process("inspect", path)
    assert "dataset: qcd" in run.output and "layouts: C" in run.output
    assert "label: 3 (12 jets)" in run.output
    assert "split: train (9 jets), test (3 jets)" in run.output
    assert cells(run.output, "particleNet_H4qvsQCD") == ["·", "·", "·", "12", "all", "·"]


def test_what_the_format_excludes_is_shown(tmp_path):
    arrays = random_jets()
    arrays["jet_tagging"][2, 3] = np.nan
    arrays["jet_kinematics"][2, 1] = -0.0
    arrays["PFCands"][1, 0, 6] = np.inf
    arrays["PFCands"][4, :, :] = 0
    arrays["PFCands"][4, 5, 3] = 1  # a candidate behind padding
    arrays["PFCands"][5, 9, :] = 0
    arrays["PFCands"][5, 9, 4] = -0.0  # padding that is not exact zeros
    arrays["PFCands"][6, [0, 1]] = arrays["PFCands"][6, [1, 0]]
    output = in_process("inspect", write(tmp_path / "a.h5", arrays)).output
    for fault in (
        "jet_tagging.tau3: 1 × NaN", "jet_kinematics.eta: 1 × −0", "PFCands.dz: 1 × infinite",
        "1 jets with a candidate behind padding", "1 values of padding that are not exact zeros",
        "1 jets whose candidates do not fall in pt",
    ):  # fmt: skip
        assert fault in output
    assert "no NaN" not in output


def test_a_table_that_lacks_a_key_is_shown_and_named_so(tmp_path):
    arrays = random_jets()
    del arrays["jet_tagging"]
    output = in_process("inspect", write(tmp_path / "a.h5", arrays)).output
    assert "no key 'jet_tagging'" in output and cells(output, "pt")


def test_tables_without_jets_and_files_without_tables(tmp_path):
    none = {key: values[:0] for key, values in random_jets().items()}
    run = in_process("inspect", write(tmp_path / "none.h5", none))
    assert run.exit_code == 0 and "jets: 0" in run.output
    run = in_process("inspect", write(tmp_path / "other.h5", {"x": np.zeros((3, 2))}))
    assert run.exit_code == 0 and "x: shape (3, 2), float64, gzip 4" in run.output


def test_chunks_do_not_matter(tmp_path, monkeypatch):
    path = write(tmp_path / "a.h5", random_jets(40))
    whole = in_process("inspect", path).output
    monkeypatch.setattr("treasure.cli.jet_tables.BLOCK_ROWS", 7)
    assert in_process("inspect", path).output == whole


def test_parquet_shows_ranges_of_its_columns(tmp_path):
    path = tmp_path / "a.parquet"
    table = {"pt": pa.array([3.0, 1.5, 0.0], pa.float32()), "ids": [[1, 9], [], [4]]}
    pq.write_table(pa.table(table), path, row_group_size=2)
    output = in_process("inspect", path).output
    assert cells(output, "pt") == ["float", "3", "0", "3", "·"]
    assert cells(output, "ids")[-4:] == ["3", "1", "9", "1"]


def test_a_fileset_shows_ranges_provenance_and_luminosity(tmp_path):
    def file(name, start, stop):
        return FilesetFile(
            uri=f"/data/{name}.root", tree="Events", entries=100, size=10, checksum=None,
            uuid="u", entry_start=start, entry_stop=stop,
        )  # fmt: skip

    Fileset(
        dataset="jetht",
        files=[file("a", 10, 60), file("b", 10, None), file("c", 100, None)],
        files_per_branch=2,
        source={"kind": "cern_open_data", "record": 31308},
        provenance={"title": "JetHT in PFNano", "doi": "10.7483/OPENDATA", "events": 300},
        luminosity_sections={"278820": [[1, 4], [7, 7]], "278821": [[2, 2]]},
    ).save(tmp_path / "fileset.json")
    output = in_process("inspect", tmp_path / "fileset.json").output
    for said in (
        "events: 140 to be read of 300", "branches: 1, files_per_branch 2", "10…60", "10…100",
        "nothing", "luminosity sections: 6 in 2 runs", "title: JetHT in PFNano",
        "doi: 10.7483/OPENDATA", "events: 300", "record: 31308",
    ):  # fmt: skip
        assert said in output


def test_a_merged_cutflow_shows_luminosity_processed_expected_and_missing(tmp_path):
    content = {
        "dataset": "jetht", "is_mc": False, "title": "", "events": 20, "jets": 7,
        "most_jets_in_event": 2,
        "cutflow": [{"cut": "all", "events": 20, "jets": 30, "weight": 20.0}],
        "branches": [{"branch": 0, "jets": 3}, {"branch": 1, "jets": 4}],
        "files": [{}, {}], "layouts": ["C"], "missing_triggers": {"HLT_PFJet40": 1},
        "absent_columns": {}, "replaced_values": {}, "jets_with_candidates_left_out": 0,
        "luminosity": {
            "processed": {"278820": [[1, 4]]}, "expected": {"278820": [[1, 6]]},
            "missing": {"278820": [[5, 6]]}, "outside": {}, "n_processed": 4, "n_expected": 6,
            "n_missing": 2,
        },
        "selection": {},
    }  # fmt: skip
    path = tmp_path / "cutflow.json"
    path.write_text(json.dumps(content))
    output = in_process("inspect", path).output
    for said in (
        "cutflow of a dataset", "processed: 4 in 1 runs", "expected: 6 in 1 runs",
        "missing: 2 in 1 runs", "missing: run 278820: 5–6", "outside: 0 in 0 runs",
        "jets of the branches (2)", "triggers that files lack: 1",
    ):  # fmt: skip
        assert said in output
    content["luminosity"] |= {"expected": None, "missing": {}}
    path.write_text(json.dumps(content))
    assert "expected: not known" in in_process("inspect", path).output
    content["luminosity"] = None
    path.write_text(json.dumps(content))
    assert "luminosity" not in in_process("inspect", path).output


def test_a_truncated_root_file_is_said(tmp_path):
    cut = tmp_path / "cut.root"
    with uproot.recreate(cut) as file:
        file["histogram"] = np.histogram(np.arange(10.0))
    assert "its header says" not in treasure("inspect", cut).stdout
    size = cut.stat().st_size
    os.truncate(cut, size - 1)
    run = treasure("inspect", cut)
    assert f"truncated: its header says {size:,} bytes; copy it again" in run.stdout


def test_the_folder_of_a_stage_lists_its_branches(tmp_path):
    for number, jets in enumerate((5, 7)):
        branch = tmp_path / f"x_batch{number}"
        write_json(branch / "data.json", {})
        write_manifest(branch, files=[branch / "data.json"], task="WriteH5", summary={"jets": jets})
    (tmp_path / "x_batch2").mkdir()
    run = treasure("inspect", tmp_path)
    assert run.returncode == 0
    assert "stage of 2 finished branches" in run.stdout and "task: WriteH5" in run.stdout
    assert "unfinished branches: 1" in run.stdout
    lines = [line.split("│") for line in run.stdout.splitlines() if "x_batch" in line]
    assert [line[1].strip() for line in lines] == ["5", "7"]


def test_nothing_heavy_is_loaded_at_the_start():
    heavy = "numpy h5py uproot awkward pyarrow torch coffea matplotlib scipy pydantic omegaconf"
    code = f"import sys, treasure.cli; print(*set({heavy.split()}) & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    assert run.stdout.split() == []


def test_of_a_tokenizer_it_shows_what_it_is_and_no_configuration(tmp_path: Path):
    from tests.tokenizer.test_artefact import TOKENIZER

    TOKENIZER.save(tmp_path / "a")
    described = read_json(tmp_path / "a" / "tokenizer.json")
    described["measured"] = {
        "jets": 7,
        "agreement": {},
        "response": {"all": {"jet_pt": {"median": 0.5, "iqr_over_median": 0.25}}},
    }
    write_json(tmp_path / "a" / "tokenizer.json", described)
    result = treasure("inspect", str(tmp_path / "a"))
    assert result.returncode == 0, result.stdout
    for line in (
        f"fingerprint: {TOKENIZER.fingerprint}", "networks: ", "quantizer: vq",
        "pt_scale: 1.01", "jet_pt, all: {iqr_over_median=0.25, median=0.5}",
        "log_pt", "delta_phi", "-3 to 8", "encoder.onnx",
    ):  # fmt: skip
        assert line in result.stdout, line
    assert "learning_rate" not in result.stdout and "agreement" not in result.stdout
    del described["model"]
    write_json(tmp_path / "a" / "tokenizer.json", described)
    result = treasure("inspect", str(tmp_path / "a"))
    assert result.returncode == 1
    assert "not the description of a tokenizer" in result.stdout
