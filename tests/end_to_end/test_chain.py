"""One command runs the chain; asked again it does nothing; what it says of itself is right."""

import json
import re
import shutil
from pathlib import Path

import h5py
import pyarrow.parquet
import pytest

from treasure.tokenizer import portable

from .conftest import STAGES, Terminal, release_checksums


def test_one_command_runs_every_stage(finished):
    ran = finished.run.stages
    assert set(ran) == set(STAGES)
    assert ran[-1] == "BenchmarkTopTagging"
    assert "Traceback" not in finished.run.text


def test_the_result_is_a_benchmark_with_a_report(finished):
    (metrics,) = finished.store.glob("test/BenchmarkTopTagging/*/metrics.json")
    result = json.loads(metrics.read_text())
    assert set(result["inputs"]) == {"continuous", "tokens", "decoded"}
    for scores in result["inputs"].values():
        for name in ("accuracy", "auc", "rejection_at_0.3", "rejection_at_0.5"):
            assert set(scores[name]) >= {"mean", "std"}
        assert 0.5 < scores["auc"]["mean"] <= 1
    report = metrics.with_name("report.html").read_text()
    assert "<html" in report and 'src="http' not in report


def test_the_release_is_published_with_checksums_that_hold(finished):
    assert len(release_checksums(finished.store)) >= 8
    (sums,) = finished.store.glob("published/**/checksums.sha256")
    checked = finished("bash", "-c", f"cd {sums.parent} && sha256sum --quiet -c {sums.name}")
    assert checked.code == 0, checked.text


def test_jets_and_tokens_are_as_many_as_were_selected(finished):
    def jets(task):
        found = finished.store.glob(f"test/{task}/*/*/*/manifest.json")
        return sum(json.loads(path.read_text())["summary"]["jets"] for path in found)

    assert jets("SkimJets") == jets("WriteH5") == jets("TokenizeShards") > 300


def test_all_shards_are_made_in_one_command_from_nothing_and_train_the_tokenizer(finished):
    tables = {p.name for p in finished.store.glob("test/WriteH5/*/*/*/*.h5")}
    assert tables == {f"{name}_batch{n}.h5" for name in ("qcd", "ttbar") for n in range(2)}
    tokens = {p.name for p in finished.store.glob("test/TokenizeShards/*/*/*/*.parquet")}
    assert tokens == {name.replace(".h5", "_tokenized.parquet") for name in tables}
    (tokenizer,) = finished.store.glob("test/TrainTokenizer/*/tokenizer.json")
    for name in tables:
        assert f'"{name}"' in tokenizer.read_text()


def test_the_published_tokenizer_gives_the_same_tokens_without_torch(finished):
    pytest.importorskip("onnxruntime", reason="needs the extra `onnx`")
    (folder,) = finished.store.glob("published/**/tokenizer")
    assert (folder / "portable.py").read_bytes() == Path(portable.__file__).read_bytes()
    assert "On " in (folder / "README.md").read_text().partition("## Measured")[2]
    tokenizer = portable.Tokenizer(folder)
    files = list(finished.store.glob("test/TokenizeShards/*/*/*/*.parquet"))
    assert files
    for path in files:
        (jets,) = finished.store.glob(
            f"test/WriteH5/*/*/*/{path.stem.removesuffix('_tokenized')}.h5"
        )
        with h5py.File(jets) as file:
            ids, counts = tokenizer.encode(file["PFCands"][:], file["jet_kinematics"][:])
        tokens = pyarrow.parquet.read_table(path)["tokens"].combine_chunks()
        assert tokens.value_lengths().to_pylist() == counts.tolist()
        assert tokens.flatten().to_pylist() == ids.tolist()


def test_the_same_command_again_does_nothing(finished):
    before = {p: p.stat().st_mtime_ns for p in finished.store.rglob("*") if p.is_file()}
    again = finished.law("BenchmarkTopTagging")
    assert again.code == 0 and again.stages == []
    assert "BenchmarkTopTagging: complete, nothing to do" in again.text
    assert before == {p: p.stat().st_mtime_ns for p in finished.store.rglob("*") if p.is_file()}


def test_status_is_right_at_every_node_before_and_after(finished, tmp_path):
    status = ("BenchmarkTopTagging", "--print-status", "-1")
    before = Terminal(tmp_path).law(*status)
    after = finished.law(*status)
    for run in (before, after):
        assert run.code == 0
        assert set(re.findall(r"\d > (\w+)\(", run.text)) == set(STAGES)
    assert "absent" in before.text and "existent" not in before.text
    assert "existent" in after.text and "absent" not in after.text
    assert list(tmp_path.iterdir()) == []


def test_status_in_the_middle_tells_what_is_missing(finished, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(finished.store, store)
    for manifest in store.glob("test/TokenizeShards/qcd/*/qcd_batch1/manifest.json"):
        manifest.unlink()
    status = Terminal(store).law("TokenizeShards", "--dataset", "qcd", "--print-status", "1").text
    assert "absent (1/2)" in status
    assert status.count("existent") == 2


def test_a_changed_cut_shows_what_depends_on_it_as_absent(finished):
    change = ("--set", "selection.jet_pt_min=320")
    status = finished.law("WriteH5", "--print-status", "-1", *change).text
    assert re.findall(r"absent \((.*)\)", status) == ["0/1", "0/2"]  # the shards are not known yet
    assert "existent (2/2)" in status  # SimulatePFNano


def test_an_earlier_stage_may_be_of_another_version(finished):
    old = finished.law("WriteH5", "--print-status", "-1", "--SkimJets-version", "v0").text
    assert re.search(r"SkimJets\(.*version=v0", old) and re.search(r"CreateFileset\(.*v0", old)
    assert re.search(r"WriteH5\(.*version=v1", old)


@pytest.mark.parametrize("task", STAGES[1:])
def test_every_stage_is_a_command(finished, task):
    run = finished.law(task)
    assert run.code == 0 and run.stages == []
    for flag in ("--print-status", "--print-output", "--print-deps"):
        run = finished.law(task, flag, "0")
        assert run.code == 0 and task in run.text


def test_help_speaks_the_words_of_the_field(finished):
    text = finished("law", "run", "SkimJets", "--help").text
    assert "--dataset" in text and "configuration" in text and "--set" in text


def test_outputs_can_be_removed_and_come_back_the_same(finished, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(finished.store, store)
    terminal = Terminal(store)
    removed = terminal.law("WriteH5", "--remove-output", "0,a,n")
    assert removed.code == 0
    assert not list(store.glob("test/WriteH5/qcd/*/*/*.h5"))
    again = terminal.law("WriteH5", "--workers", "2")
    assert again.code == 0 and again.stages == ["WriteH5", "WriteH5"]

    def sums(root):
        found = sorted(root.glob("test/WriteH5/qcd/*/*/manifest.json"))
        return [json.loads(path.read_text())["files"] for path in found]

    assert sums(store) == sums(finished.store) != []
    # law's third answer: run again at once
    at_once = terminal.law("WriteH5", "--remove-output", "0,a,y")
    assert at_once.stages == ["WriteH5", "WriteH5"]
    assert sums(store) == sums(finished.store)


def test_skims_may_be_removed_to_save_space(finished, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(finished.store, store)
    terminal = Terminal(store)

    def remove(*stages):
        for stage in stages:
            shutil.rmtree(store / "test" / stage / "qcd")

    remove("SkimJets", "TokenizeShards")
    status = terminal.law("WriteH5", "--print-status", "0")
    assert "existent (2/2)" in status.text
    again = terminal.law("TokenizeShards", "--workers", "2")
    assert again.code == 0, again.text
    assert again.stages == ["TokenizeShards"] * 2
    # A table that is missing, too, has those branches skimmed again that its rows are from.
    remove("TokenizeShards")
    (second,) = store.glob("test/WriteH5/qcd/*/qcd_batch1")
    expected = json.loads((second / "manifest.json").read_text())["files"]
    shutil.rmtree(second)
    again = terminal.law("TokenizeShards")
    assert again.code == 0, again.text
    assert sorted(again.stages) == ["SkimJets", "TokenizeShards", "TokenizeShards", "WriteH5"]
    assert "SkimJets qcd 1:" in again.text
    assert json.loads((second / "manifest.json").read_text())["files"] == expected
    assert release_checksums(store) == release_checksums(finished.store)


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("test/SimulatePFNano/qcd/*/*/*.root", "tree Events"),
        ("test/CreateFileset/qcd/*/fileset.json", "fileset"),
        ("test/SkimJets/qcd/*/*/part_*.parquet", "parquet table"),
        ("test/WriteH5/qcd/*/*/*.h5", "jet table"),
        ("test/TrainTokenizer/*", "tokenizer artefact"),
        ("test/TokenizeShards/qcd/*/*/*.parquet", "token table"),
        ("test/WriteH5/qcd/*/qcd_batch0", "finished stage"),
        ("published/test/*", "release"),
    ],
)
def test_inspect_knows_every_file_of_the_chain(finished, pattern, says):
    path = sorted(finished.store.glob(pattern))[0]
    run = finished("treasure", "inspect", str(path))
    assert run.code == 0, run.text
    assert says in run.text
    if pattern.startswith("test/"):
        assert "fingerprint" in run.text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--config", "dmo"), "did you mean 'demo'"),
        (("--set", "selection.jet_ptmin=3"), "did you mean 'jet_pt_min'"),
        (("--dataset", "ttbr"), "did you mean 'ttbar'"),
        (("--version", "a/b"), "--version"),
    ],
)
def test_a_wrong_word_is_answered_in_a_line(finished, arguments, says):
    run = finished("law", "run", "SkimJets", *arguments)
    assert run.code != 0
    assert says in run.text and "Traceback" not in run.text
    assert len(run.text.strip().splitlines()) <= 2


def test_own_files_of_layout_a_are_skimmed(finished, shared, tmp_path):
    sample = shared / "data" / "pfnano" / "layout_a_qcd_mc.root"
    config = tmp_path / "mine.yaml"
    config.write_text(f"""
defaults: aoj
datasets:
  mine: {{source: {{kind: local, files: ["{sample}"]}}, label: 0, is_mc: true}}
""")
    terminal = Terminal(tmp_path / "store")
    arguments = ("--dataset", "mine")
    before = terminal.law("WriteH5", "--print-status", "-1", *arguments, config=str(config))
    assert before.code == 0 and "existent" not in before.text
    run = terminal.law("WriteH5", *arguments, config=str(config))
    assert run.code == 0, run.text
    (manifest,) = (tmp_path / "store").glob("mine/SkimJets/mine/*/*/manifest.json")
    summary = json.loads(manifest.read_text())["summary"]
    assert (summary["events"], summary["jets"]) == (10, 19)
