import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.comparison.toys import CONFIG, LABELS, TAGGER, write_classes
from tests.tokenizer.toys import SMALL
from treasure.benchmark.metrics import area_under_curve
from treasure.comparison.choice import ChosenJets, choose_jets
from treasure.comparison.measure import classifier_measures, jet_measures, measure_tokenizer
from treasure.comparison.originals import Originals, measure_originals
from treasure.config.measurement import MeasurementConfig
from treasure.errors import DataError
from treasure.tokenizer.artefact import Tokenizer
from treasure.tokenizer.train import train_tokenizer

Tables = dict[str, list[Path]]
LIGHT = CONFIG.model_copy(update={"classifiers": False})


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    return write_classes(tmp_path_factory.mktemp("jets"))


@pytest.fixture(scope="module")
def tokenizer(tables: Tables, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    directory = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(tables, SMALL, seed=1, directory=directory)
    return Tokenizer.load(directory)


@pytest.fixture(scope="module")
def jets(tables: Tables) -> ChosenJets:
    return choose_jets(tables, LABELS, CONFIG, seed=1)


@pytest.fixture(scope="module")
def originals(tables: Tables, tmp_path_factory: pytest.TempPathFactory) -> Originals:
    directory = tmp_path_factory.mktemp("originals")
    found = measure_originals(tables, LABELS, TAGGER, CONFIG, seed=1, directory=directory)
    saved = Originals.load(directory)
    assert (saved.identity, saved.metrics) == (found.identity, found.metrics)
    for name, scores in found.scores.items():
        np.testing.assert_array_equal(saved.scores[name], scores)
    np.testing.assert_array_equal(saved.labels, found.labels)
    return saved


# The choice of jets ------------------------------------------------------------------------------


def test_classes_have_the_same_spectrum_in_each_split(jets: ChosenJets):
    for split, most in ((0, 300), (1, 60), (2, 120)):
        bins = jets.kinematics[:, 0] // CONFIG.pt_bin_width
        per_class = [
            np.bincount(bins[(jets.splits == split) & (jets.labels == label)].astype(int))
            for label in (0, 1)
        ]
        assert per_class[0].tolist() == per_class[1].tolist()
        assert 0.7 * most <= 2 * per_class[0].sum() <= most


def test_particles_belong_to_their_jets(jets: ChosenJets, tables: Tables):
    total = np.add.reduceat(
        np.hypot(jets.particles.momenta[:, 0], jets.particles.momenta[:, 1]),
        np.cumsum(jets.particles.counts) - jets.particles.counts,
    )
    np.testing.assert_allclose(total, jets.kinematics[:, 0], rtol=1e-4)
    np.testing.assert_array_equal(jets.particles.axes, jets.kinematics[:, 1:3])
    again = choose_jets(tables, LABELS, CONFIG, seed=1)
    assert again.digest() == jets.digest()
    assert choose_jets(tables, LABELS, CONFIG, seed=2).digest() != jets.digest()


def test_the_same_test_jets_without_classifiers(jets: ChosenJets, tables: Tables):
    light = choose_jets(tables, LABELS, LIGHT, seed=1)
    assert light.test.all()
    np.testing.assert_array_equal(light.kinematics, jets.kinematics[jets.test])


def test_one_class_will_do_without_classifiers(tables: Tables):
    alone = {"qcd": tables["qcd"]}
    assert len(choose_jets(alone, LABELS, LIGHT, seed=1)) == 120
    with pytest.raises(DataError, match=r"split 'train' of qcd: 0 signal"):
        choose_jets(alone, LABELS, CONFIG, seed=1)
    with pytest.raises(DataError, match="no dataset"):
        choose_jets({}, LABELS, LIGHT, seed=1)


# Classifiers -------------------------------------------------------------------------------------


def test_what_is_not_changed_cannot_be_told_apart(jets: ChosenJets, originals: Originals):
    found = classifier_measures(
        jets, jets.particles.momenta, TAGGER, CONFIG, seed=1, originals=originals
    )
    assert found["auc_separation"] == pytest.approx(0.5, abs=1e-6)
    assert found["auc_lost"] == found["auc_lost_error"] == found["auc_lost_std"] == 0.0
    assert found["auc_original"] == originals.metrics["auc_original"] > 0.8
    labels = jets.labels[jets.test]
    by_seed = [area_under_curve(labels, row) for row in originals.scores["original"]]
    assert found["auc_original"] == pytest.approx(np.mean(by_seed))


def test_what_is_wrecked_is_told_apart_and_tags_no_tops(jets: ChosenJets, originals: Originals):
    wrecked = jets.particles.momenta.copy()
    rng = np.random.default_rng(1)
    axes = jets.particles.axes[np.repeat(np.arange(len(jets)), jets.particles.counts)]
    pt = np.full(len(wrecked), 5.0)
    eta, phi = (axes + rng.normal(0, 0.5, (len(wrecked), 2))).T
    wrecked[:] = np.stack(
        [pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)], axis=1
    )
    found = classifier_measures(jets, wrecked, TAGGER, CONFIG, seed=1, originals=originals)
    assert found["auc_separation"] > 0.98
    assert found["auc_decoded"] == pytest.approx(0.5, abs=0.2)
    assert found["auc_lost"] == pytest.approx(found["auc_original"] - found["auc_decoded"])
    assert found["auc_lost"] > 3 * found["auc_lost_error"] > 0


def test_the_tops_are_found_in_scaled_embeddings_too(originals: Originals):
    found = originals.metrics
    assert found["auc_xval"] > 0.75
    assert found["auc_xval_lost"] == pytest.approx(found["auc_original"] - found["auc_xval"])
    assert found["xval_bits"] == 96
    assert {"auc_xval_error", "auc_xval_lost_error", "auc_original_error", "jets"} <= set(found)


# The whole ---------------------------------------------------------------------------------------


def test_an_identity_has_perfect_responses(jets: ChosenJets):
    found = jet_measures(jets, jets.particles.momenta, CONFIG, seed=1)
    for name in ("pt", "mass", "softdrop_mass", "tau21", "tau32"):
        assert found[f"jet_{name}_median"] == pytest.approx(1.0)
        assert found[f"jet_{name}_iqr"] == found[f"jet_{name}_iqr_error"] == 0.0
    assert found["energy_flow_distance"] == pytest.approx(0.0, abs=1e-6)
    assert found["distance_jets"] == 20


def test_a_trained_tokenizer(
    tokenizer: Tokenizer, tables: Tables, originals: Originals, tmp_path: Path
):
    seen: list[tuple[int, int]] = []
    found = measure_tokenizer(
        tokenizer,
        tables,
        LABELS,
        TAGGER,
        CONFIG,
        seed=1,
        originals=originals,
        directory=tmp_path,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert all(type(value) in (int, float) for value in found.values())
    assert all(np.isfinite(value) for value in found.values())
    assert (found["codes"], found["codebooks"], found["bits"]) == (64, 1, 6.0)
    assert 2 < found["entropy_bits"] <= 6
    assert found["jets"] == originals.metrics["jets"]
    assert 0.9 < found["jet_pt_median"] < 1.1
    assert found["jet_pt_iqr"] > 3 * found["jet_pt_iqr_error"] > 0
    assert 0 < found["energy_flow_distance"] < 0.5
    assert 0.5 < found["auc_separation"] <= 1
    assert found["auc_lost"] == pytest.approx(found["auc_original"] - found["auc_decoded"])
    assert min(found["encode_jets_per_second"], found["decode_jets_per_second"]) > 0
    assert found["size_bytes"] >= 4 * found["parameters"] > 0
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (100, 100)

    rates = {"encode_jets_per_second", "decode_jets_per_second"}
    again = measure_tokenizer(
        tokenizer, tables, LABELS, TAGGER, CONFIG, seed=1, originals=originals, directory=tmp_path
    )
    assert {k: v for k, v in again.items() if k not in rates} == {
        k: v for k, v in found.items() if k not in rates
    }
    light = measure_tokenizer(tokenizer, tables, LABELS, TAGGER, LIGHT, seed=1)
    assert not any(key.startswith("auc") for key in light)
    assert all(found[key] == value for key, value in light.items() if key not in rates)


def test_originals_of_something_else_are_refused(
    tokenizer: Tokenizer, tables: Tables, originals: Originals
):
    with pytest.raises(DataError, match="other jets, tagger or seeds"):
        measure_tokenizer(tokenizer, tables, LABELS, TAGGER, CONFIG, seed=2, originals=originals)


def test_damaged_originals_are_refused(originals: Originals, tmp_path: Path):
    originals.save(tmp_path)
    (tmp_path / "originals.npz").write_bytes(b"")
    with pytest.raises(DataError, match="damaged"):
        Originals.load(tmp_path)


def test_seeds_of_the_classifiers_are_different():
    with pytest.raises(ValueError, match="twice"):
        MeasurementConfig(tagger_seeds=(1, 1))


def test_a_table_without_a_column_that_features_need_is_refused_only_for_them(tables, tmp_path):
    lacking = tmp_path / "official.h5"
    shutil.copy(tables["qcd"][0], lacking)
    with h5py.File(lacking, "r+") as file:
        file.attrs["absent_columns"] = '{"PFCands_d0": "-1"}'
    official = {**tables, "qcd": [lacking]}
    assert choose_jets(official, LABELS, LIGHT, seed=1).particles.other is None
    with pytest.raises(DataError, match=r"official\.h5: its input had no PFCands_d0"):
        choose_jets(official, LABELS, LIGHT, seed=1, other=True)
    assert choose_jets(tables, LABELS, LIGHT, seed=1, other=True).particles.other.shape[1] == 7
