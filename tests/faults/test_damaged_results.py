"""Results of a stage that were damaged on disk: the next stage refuses them by name."""

import random
import re
import shutil

import pytest

from tests.faults.running import Started, copy_of, data
from tests.faults.test_damaged_files import flipped

pytestmark = pytest.mark.slow

# What is damaged, and the stage that needs it.
PRODUCTS = [
    ("test/SimulatePFNano/qcd/*/qcd_0001/qcd_0001.root", "CreateFileset"),
    ("test/CreateFileset/qcd/*/fileset.json", "SkimJets"),
    ("test/SkimJets/qcd/*/qcd_0001/cutflow.json", "MergeCutflows"),
    ("test/SkimJets/qcd/*/qcd_0001/part_*.parquet", "WriteH5"),
    ("test/SkimJets/qcd/*/qcd_0001/manifest.json", "WriteH5"),
    ("test/MergeCutflows/qcd/*/cutflow.json", "WriteH5"),
    ("test/WriteH5/qcd/*/qcd_batch1/qcd_batch1.h5", "TrainTokenizer"),
    ("test/WriteH5/qcd/*/qcd_batch1/qcd_batch1.h5", "TokenizeShards"),
    ("test/TrainTokenizer/*/tokenizer.json", "TokenizeShards"),
    ("test/TrainTokenizer/*/tokenizer.safetensors", "TokenizeShards"),
    ("test/TrainTokenizer/*/codebook.npz", "TokenizeShards"),
    ("test/TokenizeShards/qcd/*/qcd_batch1/*.parquet", "PublishFDP"),
    ("test/TokenizeShards/qcd/*/qcd_batch1/manifest.json", "PublishFDP"),
    ("test/PublishFDP/*/release/tokens/qcd/test/*.parquet", "BenchmarkTopTagging"),
]


@pytest.mark.parametrize(("pattern", "task"), PRODUCTS)
def test_a_flipped_bit_is_refused_by_the_stage_that_needs_the_file(
    finished, tmp_path, pattern, task
):
    store = copy_of(finished.store, tmp_path / "store", without=(task,))
    path = sorted(store.glob(pattern))[0]
    path.write_bytes(flipped(path.read_bytes(), random.Random(pattern)))
    run = law(store, tmp_path, task)
    assert run.finish() in (30, 35), run.text
    assert "Traceback" not in run.text, run.text
    errors = [line for line in run.text.splitlines() if line.startswith("error")]
    assert errors and all(str(path) in line for line in errors), run.text
    assert all(re.search(r"[Rr]emove .* again|run again", line) for line in errors), run.text


def test_what_is_removed_as_the_message_says_is_made_again(finished, tmp_path):
    store = copy_of(finished.store, tmp_path / "store", without=("WriteH5",))
    (path,) = store.glob("test/SkimJets/qcd/*/qcd_0001/part_*.parquet")
    path.write_bytes(flipped(path.read_bytes(), random.Random(1)))
    run = law(store, tmp_path, "WriteH5")
    assert run.finish() == 30, run.text
    (directory,) = set(re.findall(r"Remove (\S+) and run again", run.text))
    shutil.rmtree(directory)
    again = law(store, tmp_path, "WriteH5")
    assert again.finish() == 0 and again.is_clean(), again.text
    wanted, made = data(finished.store), data(store)
    assert made == {name: wanted[name] for name in made}


def test_a_published_file_that_was_damaged_is_not_used(finished, tmp_path):
    without = ("PublishFDP", "BenchmarkTopTagging")
    store = copy_of(finished.store, tmp_path / "store", without=without)
    assert law(store, tmp_path, "PublishFDP").finish() == 0
    (path,) = store.glob("published/test/*/tokens/qcd/test/*batch0*.parquet")
    path.write_bytes(flipped(path.read_bytes(), random.Random(2)))
    run = law(store, tmp_path, "BenchmarkTopTagging")
    assert run.finish() == 30 and str(path) in run.text and "Traceback" not in run.text, run.text


def law(store, tmp_path, task):
    command = ("law", "run", task, "--version", "v1", "--config", "test", "--workers", "2")
    return Started(store, tmp_path / "scratch", *command)
