"""The stages of the comparison: what each of them depends on, and names that do not exist."""

import pytest

from tasks.comparison import (
    CompareTokenizers,
    MeasureOriginals,
    MeasureTokenizer,
    TrainComparedTokenizer,
)
from tasks.jets import WriteH5
from treasure.config.loading import load_config
from treasure.errors import ConfigError


@pytest.fixture(autouse=True)
def _own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("TREASURE_STORE", str(tmp_path))


NAMES = ("bins", "learned", "learned_64")


def fingerprints(**options):
    """Of every stage behind the tables, and of the comparison."""
    compare = CompareTokenizers(config="test", **options)
    found = {"CompareTokenizers": compare.fingerprint}
    for task in compare.requirements().values():
        found[task.label] = task.fingerprint
        for inner in task.requirements().values():
            if isinstance(inner, TrainComparedTokenizer):
                found[inner.label] = inner.fingerprint
    return found


def changed(*overrides, before=()):
    one, two = fingerprints(set=before), fingerprints(set=(*before, *overrides))
    return {label for label in one if label not in two or one[label] != two[label]}


ALL_TRAININGS = {f"TrainComparedTokenizer {name}-1" for name in NAMES}
ALL_MEASUREMENTS = {f"MeasureTokenizer {name}-1" for name in NAMES}


def test_each_training_and_measurement_is_a_stage_with_a_directory_of_its_own(tmp_path):
    compare = CompareTokenizers(config="test", set=("comparison.seeds=[3,4]",))
    labels = [task.label for task in compare.requirements().values()]
    assert labels == [
        "MeasureOriginals",
        "MeasureTokenizer bins-3", "MeasureTokenizer bins-4",
        "MeasureTokenizer learned-3", "MeasureTokenizer learned-4",
        "MeasureTokenizer learned_64-3",  # of a point of the curve, the first seed
    ]  # fmt: skip
    task = TrainComparedTokenizer(config="test", tokenizer="bins", training_seed=3)
    expected = tmp_path / "test" / "TrainComparedTokenizer" / "bins-3"
    assert task.directory == expected / f"v1-{task.fingerprint[:10]}"


@pytest.mark.parametrize(
    "override",
    [
        "comparison.tokenizers.learned.training.epochs=7",
        "comparison.tokenizers.learned.quantizer.codes=99",
        "comparison.seconds_of={learned: 5}",
        "comparison.tokenizers.learned.training.max_jets_seen=500",
    ],
)
def test_a_change_of_one_tokenizer_leaves_the_others_alone(override):
    assert changed(override) == {
        "TrainComparedTokenizer learned-1", "MeasureTokenizer learned-1", "CompareTokenizers",
    }  # fmt: skip


@pytest.mark.parametrize(
    "override",
    [
        "comparison.tokenizers.more=kmeans",
        "comparison.tokenizers.learned.title=other",
        "comparison.tokenizers.learned.family=other",
        "comparison.goals.iqr_share=0.4",
        "comparison.chosen=bins",
    ],
)
def test_what_is_only_shown_or_added_redoes_the_tables_alone(override):
    assert changed(override) == {"CompareTokenizers"}


@pytest.mark.parametrize(
    "override",
    ["comparison.tokenizers.learned.check.jets=7", "tokenizer=kmeans", "benchmark.seeds=[9]"],
)
def test_what_decides_nothing_changes_nothing(override):
    assert changed(override) == set()


def test_another_seed_of_the_training_is_a_training_more():
    assert changed("comparison.seeds=[1,2]") == {"CompareTokenizers"}


def test_the_budget_of_all_retrains_all():
    assert changed("comparison.seconds=5") == (
        ALL_TRAININGS | ALL_MEASUREMENTS | {"CompareTokenizers"}
    )


def test_what_is_measured_retrains_nothing():
    redone = ALL_MEASUREMENTS | {"MeasureOriginals", "CompareTokenizers"}
    assert changed("comparison.measurement.max_test_jets=50") == redone
    # of a point of a curve no classifier is trained
    assert changed("tagger.epochs=9") == redone - {"MeasureTokenizer learned_64-1"}


def test_a_training_needs_the_jets_that_train_and_a_measurement_both_classes():
    change = {"config": "test", "set": ("training_datasets=[ttbar]",)}
    trained = TrainComparedTokenizer(**change).requirements()
    assert list(trained.values()) == [WriteH5(**change, dataset="ttbar")]
    measured = MeasureTokenizer(**change).requirements()
    assert set(measured) == {"jets_qcd", "jets_ttbar", "tokenizer", "originals"}
    assert set(MeasureOriginals(**change).requirements()) == {"jets_qcd", "jets_ttbar"}
    point = MeasureTokenizer(tokenizer="learned_64", **change).requirements()
    assert "originals" not in point


def test_without_classifiers_there_are_no_originals():
    compare = CompareTokenizers(config="test", set=("comparison.measurement.classifiers=false",))
    assert not any(isinstance(t, MeasureOriginals) for t in compare.requirements().values())


def test_defaults_are_the_first_tokenizer_and_seed():
    task = MeasureTokenizer(config="test", set=("comparison.seeds=[5]",))
    assert (task.tokenizer, task.training_seed) == ("bins", 5)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (
            lambda: TrainComparedTokenizer(config="test", tokenizer="lerned"),
            "--tokenizer lerned: not in comparison.tokenizers; did you mean 'learned'?"
            " (allowed: bins, learned, learned_64)",
        ),
        (
            lambda: TrainComparedTokenizer(config="test", training_seed=-1),
            "--training-seed -1: expected 0 or more",
        ),
        (
            lambda: MeasureTokenizer(config="aoj"),
            "comparison.tokenizers: none in this configuration; say which, or `comparison: demo`",
        ),
        (
            lambda: CompareTokenizers(config="aoj").requirements(),
            "comparison.tokenizers: none in this configuration; say which, or `comparison: demo`",
        ),
    ],
)
def test_names_that_do_not_exist_are_told_in_a_line(make, told):
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value) == told


@pytest.mark.parametrize("name", ["demo", "compare", "compare_gpu"])
def test_every_entry_of_the_shipped_comparisons_can_be_trained(name):
    comparison = load_config(name).config.comparison
    for entry in comparison.tokenizers:
        trained = comparison.trained(entry).training
        assert trained.max_seconds or trained.max_jets_seen
    compare = CompareTokenizers(config=name)
    assert len({task.fingerprint for task in compare.requirements().values()}) == len(
        compare.requirements()
    )


def test_configurations_with_one_place_in_the_store_share_what_is_the_same_in_both(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("defaults: test\nstore_as: test\ncomparison: {seconds_of: {learned: 9}}\n")
    other = tmp_path / "other.yaml"
    other.write_text("defaults: test\n")

    def paths(config):
        options = {"config": config, "training_seed": 1}
        stages = [TrainComparedTokenizer(tokenizer=name, **options) for name in NAMES]
        return [WriteH5(config=config, branch=0).directory, *(stage.directory for stage in stages)]

    there, shared, apart = paths("test"), paths(str(mine)), paths(str(other))
    assert [one == two for one, two in zip(there, shared, strict=True)] == [
        True, True, False, True,
    ]  # fmt: skip
    assert not set(apart) & set(there) and apart[0].is_relative_to(tmp_path / "other")


def test_a_place_in_the_store_is_one_folder_in_it(tmp_path):
    for name in ("../elsewhere", "a/b", ".hidden", "with space"):
        mine = tmp_path / "mine.yaml"
        mine.write_text(f"defaults: test\nstore_as: {name!r}\n")
        with pytest.raises(ConfigError, match="store_as"):
            load_config(str(mine))


def test_a_class_that_is_not_there_is_an_error_before_anything_runs(tmp_path):
    mine = tmp_path / "mine.yaml"
    own = "{quantizer: {kind: 'examples.own_quantizer:RegularGrit'}}"
    mine.write_text(f"defaults: test\ncomparison: {{tokenizers: {{own: {own}}}}}\n")
    with pytest.raises(ConfigError, match=r"has no RegularGrit; its classes: RegularGrid"):
        CompareTokenizers(config=str(mine)).deps()
    right = tmp_path / "right.yaml"
    right.write_text(mine.read_text().replace("Grit", "Grid"))
    CompareTokenizers(config=str(right)).deps()
