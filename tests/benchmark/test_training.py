from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.benchmark.toys import FAST, as_tokens, cloud
from treasure.benchmark.comparison import compare, train_all
from treasure.benchmark.metrics import area_under_curve
from treasure.benchmark.particles import Particles
from treasure.benchmark.taggers import Tagger, build_tagger
from treasure.benchmark.training import (
    Sample,
    load_training,
    new_network,
    save_training,
    scores,
    train_tagger,
)
from treasure.config.benchmark import TaggerConfig
from treasure.errors import ConfigError, DataError


def train(samples, directory, config=FAST, **options):
    return train_all(samples, config, seeds=[1, 2], seed=7, directory=directory, **options)


def test_separable_classes_are_separated_on_features_and_on_tokens(tmp_path):
    sample = cloud(1000)
    config = FAST.model_copy(update={"epochs": 10})
    found = train({"continuous": sample, "tokens": as_tokens(sample)}, tmp_path, config)
    test = sample.labels[sample.splits == 2]
    for runs in found.values():
        for training in runs.values():
            assert area_under_curve(test, training.scores) > 0.8


def test_shuffled_labels_cannot_be_learned(tmp_path):
    sample = cloud(3000)
    labels = np.random.default_rng(3).permutation(sample.labels)
    shuffled = Sample(sample.particles, labels, sample.splits)
    found = train({"continuous": shuffled}, tmp_path)["continuous"]
    test = labels[sample.splits == 2]
    n = len(test) / 2
    # standard deviation of the AUC without separation (Mann-Whitney): sqrt((2n + 1) / 12 n²)
    error = np.sqrt((2 * n + 1) / (12 * n**2))
    for training in found.values():
        assert abs(area_under_curve(test, training.scores) - 0.5) < 4 * error


@pytest.mark.parametrize("make", [lambda s: s, as_tokens], ids=["features", "tokens"])
def test_the_order_of_the_particles_does_not_matter(make):
    sample = make(cloud(50))
    network = new_network(sample, FAST, seed=1)
    particles = sample.particles
    order = np.lexsort((np.random.default_rng(0).random(len(particles.values)), particles.jets))
    permuted = Particles(particles.values[order], particles.offsets)
    jets = np.arange(50)
    np.testing.assert_allclose(
        scores(network, particles, jets), scores(network, permuted, jets), atol=1e-6
    )


def test_a_jet_knows_nothing_of_the_others():
    sample = cloud(50)
    network = new_network(sample, FAST, seed=1)
    alone = [scores(network, sample.particles, np.array([i]))[0] for i in range(50)]
    together = scores(network, sample.particles, np.arange(50))
    np.testing.assert_allclose(alone, together, atol=1e-6)


def test_a_jet_without_particles_has_a_score():
    sample = cloud(4)
    empty = Particles.from_counts(np.zeros((0, 3), np.float32), np.array([0, 0]))
    network = new_network(sample, FAST, seed=1)
    assert np.isfinite(scores(network, empty, np.arange(2))).all()


def test_trainings_repeat_bit_for_bit_whatever_runs_beside_them(tmp_path):
    samples = {"continuous": cloud(), "tokens": as_tokens(cloud())}
    first = train(samples, tmp_path / "a", workers=1)
    second = train(samples, tmp_path / "b", workers=3)
    for name, runs in first.items():
        for seed, training in runs.items():
            np.testing.assert_array_equal(training.scores, second[name][seed].scores)
            file = f"{name}_seed{seed}.safetensors"
            assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert (first["tokens"][1].scores != first["tokens"][2].scores).any()


def test_global_random_numbers_and_threads_are_left_alone(tmp_path):
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    numpy_state = np.random.get_state()[1].copy()  # noqa: NPY002
    train({"continuous": cloud()}, tmp_path)
    assert torch.equal(torch.get_rng_state(), state) and torch.get_num_threads() == threads
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002


def test_a_killed_benchmark_goes_on_with_the_trainings_that_are_missing(tmp_path):
    samples = {"continuous": cloud(), "tokens": as_tokens(cloud())}
    undisturbed = train(samples, tmp_path)
    # what a kill leaves: some trainings whole, the others absent or under a temporary name
    (tmp_path / "continuous_seed2.safetensors").unlink()
    (tmp_path / "tokens_seed1.safetensors").rename(tmp_path / f".tokens_seed1.{'0' * 32}.tmp")
    kept = {p: p.stat().st_mtime_ns for p in tmp_path.glob("*.safetensors")}
    assert len(kept) == 2
    resumed = train(samples, tmp_path)
    assert {p: p.stat().st_mtime_ns for p in kept} == kept
    for name, runs in undisturbed.items():
        for seed, training in runs.items():
            np.testing.assert_array_equal(training.scores, resumed[name][seed].scores)
            assert training.history == resumed[name][seed].history


@pytest.mark.parametrize("change", ["config", "labels", "particles"])
def test_a_training_of_something_else_is_not_taken(tmp_path, change):
    sample = cloud()
    train({"continuous": sample}, tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    config = FAST
    if change == "config":
        config = FAST.model_copy(update={"epochs": 2})
    elif change == "labels":
        sample = Sample(sample.particles, 1 - sample.labels, sample.splits)
    else:
        moved = Particles(sample.particles.values + 1, sample.particles.offsets)
        sample = Sample(moved, sample.labels, sample.splits)
    train({"continuous": sample}, tmp_path, config)
    assert all((tmp_path / name).read_bytes() != data for name, data in before.items())


def test_a_damaged_training_is_done_again(tmp_path):
    training = train_tagger(cloud(), FAST, seed=1)
    path = tmp_path / "a.safetensors"
    save_training(training, path, key="k")
    whole = load_training(path, key="k")
    assert whole is not None and whole.best_epoch == training.best_epoch
    assert load_training(path, key="other") is None
    path.write_bytes(path.read_bytes()[:100])
    assert load_training(path, key="k") is None
    assert load_training(tmp_path / "absent", key="k") is None


def test_the_epoch_of_the_lowest_validation_loss_counts():
    training = train_tagger(cloud(), FAST, seed=1)
    losses = [epoch["val_loss"] for epoch in training.history]
    assert training.best_epoch == int(np.argmin(losses)) and len(losses) == FAST.epochs
    sample = cloud()
    splits = np.where(sample.splits == 1, 0, sample.splits)
    training = train_tagger(Sample(sample.particles, sample.labels, splits), FAST, seed=1)
    assert training.best_epoch == FAST.epochs - 1


def test_the_embedding_starts_as_the_codebook_and_moves_only_if_asked():
    sample = as_tokens(cloud())
    for trained in (True, False):
        config = FAST.model_copy(update={"train_embedding": trained})
        network = new_network(sample, config, seed=1)
        np.testing.assert_array_equal(network.embedding.weight.detach(), sample.codebook[0])
        after = train_tagger(sample, config, seed=1).weights["embedding.weight"].numpy()
        assert (after == sample.codebook[0]).all() != trained


def test_ids_of_several_codebooks_are_summed():
    codebook = torch.arange(12.0).reshape(2, 3, 2)
    network = build_tagger(2, FAST, seed=1, codebook=codebook)
    tokens, owner = torch.tensor([[1, 2]]), torch.tensor([0])
    expected = network.tagger((codebook[0, 1] + codebook[1, 2])[None], owner, 1)
    torch.testing.assert_close(network(tokens, owner, 1), expected)


def test_numbers_scale_vectors_and_the_norm_of_their_sum_is_the_particle():
    sample = replace(cloud(), scaled=True)
    network = new_network(sample, FAST, seed=1)
    features, owner = torch.tensor([[1.0, -2.0, 0.5], [0.0, 0.0, 3.0]]), torch.tensor([0, 0])
    vectors = network.embedding.weight.T  # one a feature
    total = (features[:, :, None] * vectors).sum(dim=1) + network.embedding.bias
    spread = total.var(dim=1, correction=0, keepdim=True)
    particles = (total - total.mean(dim=1, keepdim=True)) / torch.sqrt(spread + 1e-5)
    expected = network.tagger(particles, owner, 1)
    torch.testing.assert_close(network(features, owner, 1), expected)


def test_scaled_embeddings_learn_and_are_another_training(tmp_path):
    plain = cloud(1000)
    scaled = replace(plain, scaled=True)
    config = FAST.model_copy(update={"epochs": 10})
    found = train({"continuous": scaled}, tmp_path, config)["continuous"][1]
    assert area_under_curve(plain.labels[plain.splits == 2], found.scores) > 0.85
    other = train({"continuous": plain}, tmp_path, config)["continuous"][1]
    assert "norm.weight" in found.weights and "norm.weight" not in other.weights


class Constant(Tagger):
    def forward(self, features, owner, jets):
        return features.new_zeros(jets)


def test_a_tagger_of_ones_own_is_found_by_module_and_class():
    network = build_tagger(3, TaggerConfig(kind=f"{__name__}:Constant"), seed=1)
    assert isinstance(network, Constant)
    with pytest.raises(ConfigError, match="'nowhere:Nothing' cannot be imported"):
        build_tagger(3, TaggerConfig(kind="nowhere:Nothing"), seed=1)
    with pytest.raises(ConfigError, match="is not a subclass"):
        build_tagger(3, TaggerConfig(kind="pathlib:Path"), seed=1)


def test_a_split_without_a_class_is_refused(tmp_path):
    sample = cloud(100)
    labels = np.where(sample.splits == 2, 0, sample.labels)
    with pytest.raises(DataError, match="'test': 0 signal"):
        train({"continuous": Sample(sample.particles, labels, sample.splits)}, tmp_path)


def test_comparison_pairs_the_seeds():
    labels = np.repeat([0, 1], 100)
    rng = np.random.default_rng(0)
    scores = {
        name: 1 / (1 + np.exp(-rng.normal(labels, 1.0, (3, 200))))
        for name in ("continuous", "tokens")
    }
    found = compare(labels, scores, resamplings=20, seed=1)
    aucs = {n: np.array([area_under_curve(labels, row) for row in s]) for n, s in scores.items()}
    difference = aucs["tokens"] - aucs["continuous"]
    assert found["tokens"]["auc"]["mean"] == pytest.approx(aucs["tokens"].mean())
    assert found["tokens"]["auc"]["std"] == pytest.approx(aucs["tokens"].std(ddof=1))
    assert found["tokens"]["difference"]["auc"]["mean"] == pytest.approx(difference.mean())
    assert found["tokens"]["difference"]["auc"]["std"] == pytest.approx(difference.std(ddof=1))
    assert found["continuous"]["difference"]["auc"] == {"mean": 0, "std": 0, "statistical": 0}
    assert compare(labels, scores, resamplings=0, seed=1)["tokens"]["auc"]["statistical"] is None
