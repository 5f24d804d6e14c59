"""Means over the seeds, uncertainties, and the goals."""

import math

import pytest

from treasure.comparison.collect import collect, full_entries, spread
from treasure.config.comparison import ComparisonConfig
from treasure.errors import DataError

from .measured import CONFIG, MEASURED, comparison, measures


def goal(found, start):
    (one,) = [goal for goal in found["goals"] if goal["goal"].startswith(start)]
    return one


def test_each_quantity_has_mean_and_standard_deviation_over_the_seeds():
    found = comparison()["tokenizers"]
    assert found["omnijet"]["jet_mass_iqr"]["mean"] == pytest.approx(0.042)
    assert found["omnijet"]["jet_mass_iqr"]["std"] == pytest.approx(0.004 / math.sqrt(2))
    assert found["omnijet"]["bits"] == {"mean": 13.0, "std": 0.0}
    assert found["vq_64"]["jet_mass_iqr"] == {"mean": 0.3, "std": 0.0}
    assert found["vq_64"]["curve"] and found["vq_64"]["seeds"] == [1]
    assert "auc_lost" not in found["vq_64"]


def test_what_stands_beside_the_quantities():
    found = comparison()
    assert found["n_test"] == 100  # of those that are measured in full
    assert found["seeds"] == [1, 2]
    assert found["tokenizers"]["omnijet"]["description"] == "the <baseline> & more"
    assert found["tokenizers"]["kmeans"]["title"] == "kmeans"
    assert found["originals"]["auc_xval"] == 0.95
    assert list(full_entries(found)) == ["omnijet", "vq", "kmeans"]


def test_a_quantity_that_one_training_lacks_is_left_out():
    runs = {1: measures(0.01, 0.001), 2: measures(0.01)}
    found = collect(CONFIG, MEASURED | {"kmeans": runs}, {})["tokenizers"]["kmeans"]
    assert "auc_lost" not in found and "jet_pt_iqr" in found


def test_the_spread_has_trainings_and_test_jets_in_quadrature():
    found = comparison()["tokenizers"]["omnijet"]
    expected = math.hypot(0.002 / math.sqrt(2), 0.0003)
    assert spread(found, "auc_lost") == pytest.approx(expected)
    assert spread(found, "bits") == 0.0


def test_goals_compare_the_chosen_one_with_the_baseline():
    found = comparison()
    assert len(found["goals"]) == 7
    mass = goal(found, "jet mass IQR/median, vq / omnijet")
    assert mass["found"] == pytest.approx(0.011 / 0.042) and mass["met"] is True
    assert (mass["bound"], mass["wanted"]) == ("≤", 0.5)
    # relative errors of the means over two seeds, in quadrature
    relative = math.hypot(0.001 / 0.011, 0.002 / 0.042)
    assert mass["uncertainty"] == pytest.approx(mass["found"] * relative)
    lost = goal(found, "AUC lost, vq / omnijet")
    assert lost["found"] == pytest.approx(0.0012 / 0.011) and lost["met"] is True


def test_goals_with_fixed_targets():
    (mass,) = [g for g in comparison()["goals"] if g["goal"] == "jet mass IQR/median, vq"]
    assert mass["found"] == pytest.approx(0.011)
    assert mass["uncertainty"] == pytest.approx(0.001)
    assert mass["met"] is False  # 1.1 % > 1 %
    used = goal(comparison(), "share of codes used")
    assert used["met"] is True and used["bound"] == "≥"


def test_a_share_of_nothing_is_no_answer():
    runs = {1: measures(0.04, -0.001), 2: measures(0.04, -0.002)}
    lost = goal(collect(CONFIG, MEASURED | {"omnijet": runs}, {}), "AUC lost, vq / omnijet")
    assert lost["found"] is lost["uncertainty"] is lost["met"] is None


def test_without_classifiers_goals_of_tagging_are_open():
    plain = {name: {1: measures(0.02), 2: measures(0.02)} for name in ("omnijet", "vq", "kmeans")}
    found = collect(CONFIG, plain | {"vq_64": MEASURED["vq_64"]}, {})
    assert goal(found, "AUC lost, vq / omnijet")["met"] is None
    assert goal(found, "jet pT IQR/median, vq / omnijet")["met"] is False


def test_without_a_baseline_there_are_no_goals():
    config = ComparisonConfig(tokenizers={"kmeans": {}}, baseline=None, chosen=None)
    assert collect(config, {"kmeans": MEASURED["kmeans"]}, {})["goals"] == []


def test_other_jets_are_not_compared():
    with pytest.raises(DataError, match=r"on \[7.*100.*\] test jets"):
        collect(CONFIG, MEASURED | {"kmeans": {1: measures(0.1, 0.1, jets=7)}}, {})
    with pytest.raises(DataError, match="not measured with any seed"):
        collect(CONFIG, MEASURED | {"kmeans": {}}, {})
