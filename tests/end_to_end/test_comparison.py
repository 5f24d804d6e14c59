"""Tokenizers are compared in one command; what is there is not made again."""

import json
import re
import shutil

import pytest

from .conftest import Terminal

pytestmark = pytest.mark.slow


def ran(text):
    """Labels of the stages that ran, by their summary lines."""
    return re.findall(r"^([A-Z]\w+(?: \S+)*): .* in [0-9.]+ s.* → ", text, re.MULTILINE)


@pytest.fixture(scope="module")
def compared(finished, tmp_path_factory):
    """A store in which jets were there and tokenizers were compared, with the output in `.run`."""
    store = tmp_path_factory.mktemp("compared") / "store"
    shutil.copytree(finished.store, store)
    terminal = Terminal(store)
    terminal.run = terminal.law("CompareTokenizers", "--workers", "2")
    assert terminal.run.code == 0, terminal.run.text
    return terminal


def test_each_tokenizer_is_trained_and_measured_and_jets_are_not_made_again(compared):
    names = ("bins-1", "learned-1", "learned_64-1")
    expected = {
        f"{task} {n}" for task in ("TrainComparedTokenizer", "MeasureTokenizer") for n in names
    }
    assert sorted(ran(compared.run.text)) == sorted(
        expected | {"MeasureOriginals", "CompareTokenizers"}
    )
    assert re.search(r"^report: .*report\.html$", compared.run.text, re.MULTILINE)
    assert "Traceback" not in compared.run.text


def test_the_result_has_measures_of_each_goals_and_figures(compared):
    (path,) = compared.store.glob("test/CompareTokenizers/v1-*/comparison.json")
    result = json.loads(path.read_text())
    assert set(result["tokenizers"]) == {"bins", "learned", "learned_64"}
    for name in ("bins", "learned"):
        found = result["tokenizers"][name]
        for key in (
            "bits", "entropy_bits", "codes_used", "perplexity", "jet_pt_iqr", "jet_mass_iqr",
            "auc_original", "auc_decoded", "train_seconds", "jets_seen",
        ):  # fmt: skip
            assert found[key]["mean"] >= 0 and found[key]["std"] == 0.0, key
    assert result["tokenizers"]["learned"]["jets_seen"]["mean"] > 0
    assert "auc_lost" not in result["tokenizers"]["learned_64"]
    assert result["n_test"] > 20 and result["seeds"] == [1]
    assert all(isinstance(goal["met"], bool | None) for goal in result["goals"])
    assert {"rate_distortion_mass.png", "tagging.png", "comparison.md", "report.html"} <= {
        file.name for file in path.parent.iterdir()
    }


def test_the_same_command_again_does_nothing(compared):
    again = compared.law("CompareTokenizers")
    assert again.code == 0 and ran(again.text) == []
    assert "CompareTokenizers: complete, nothing to do" in again.text


def test_an_entry_that_is_added_is_all_that_is_trained(compared):
    more = (
        "--set",
        "comparison.tokenizers.more={defaults: binning, quantizer: {levels: [4, 4, 4]}}",
    )
    status = compared.law("CompareTokenizers", "--print-status", "2", *more).text
    found = re.findall(r"> (\w+)\((.*)\)\n.*\n[ │]*(absent|existent)", status)
    absent = [(task, "tokenizer=more" in what) for task, what, state in found if state == "absent"]
    assert sorted(absent) == [
        ("CompareTokenizers", False), ("MeasureTokenizer", True), ("TrainComparedTokenizer", True),
    ]  # fmt: skip
    run = compared.law("MeasureTokenizer", "--tokenizer", "more", *more)
    assert ran(run.text) == ["TrainComparedTokenizer more-1", "MeasureTokenizer more-1"]


def test_status_and_dependencies_name_each_of_them(compared):
    dependencies = compared.law("CompareTokenizers", "--print-deps", "1").text
    assert dependencies.count("1 > MeasureTokenizer(") == 3
    status = compared("treasure", "status").text
    assert status.startswith(("CompareTokenizers", "MeasureTokenizer")) and "complete" in status


@pytest.mark.parametrize(
    ("task", "arguments", "says"),
    [
        ("MeasureTokenizer", ("--tokenizer", "lerned"), "did you mean 'learned'"),
        ("CompareTokenizers", ("--set", "comparison.chosen=x"), "chosen: no tokenizer 'x'"),
        ("CompareTokenizers", ("--config", "aoj"), "comparison.tokenizers: none"),
    ],
)
def test_a_wrong_word_is_answered_in_a_line(compared, task, arguments, says):
    run = compared.law(task, *arguments)
    assert run.code != 0
    assert says in run.text and "Traceback" not in run.text
    assert len(run.text.strip().splitlines()) == 1
