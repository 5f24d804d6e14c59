"""Quantizers beyond the moving-average codebook, which test_quantizer.py has."""

import math

import numpy as np
import pytest
import torch

from treasure.config.tokenizer import QuantizerConfig
from treasure.errors import ConfigError
from treasure.plugins import lookup
from treasure.tokenizer import kinds  # noqa: F401
from treasure.tokenizer.quantizer import Quantizer

KINDS = {
    "rvq": {"codes": 16, "codebooks": 3, "dimension": 3},
    "fsq": {"levels": [5, 4, 3]},
    "binning": {"levels": [5, 4, 3]},
    "kmeans": {"codes": 32, "dimension": 3},
    "vq": {"codes": 32, "dimension": 3},
    "vq_gradient": {"codes": 32, "dimension": 3},
}


def make(kind: str, **options: object) -> Quantizer:
    config = QuantizerConfig.model_validate({"kind": kind, **KINDS[kind], **options})
    return lookup(Quantizer, kind)(config)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(4)


@pytest.fixture
def latent() -> torch.Tensor:
    return torch.randn(3000, 3, generator=torch.Generator().manual_seed(2))


def started(kind: str, latent: torch.Tensor, **options: object) -> Quantizer:
    quantizer = make(kind, **options)
    quantizer.start(latent, torch.ones(len(latent)), generator())
    return quantizer


@pytest.mark.parametrize("kind", KINDS)
def test_an_id_depends_on_its_vector_alone_and_vectors_sum_up_from_the_codebook(kind, latent):
    quantizer = started(kind, latent).eval()
    ids = quantizer.ids(latent)
    assert ids.dtype == torch.int64
    assert (ids >= 0).all() and (ids < quantizer.codes).all()
    assert torch.equal(quantizer.ids(latent[7:9]), ids[7:9])
    assert torch.equal(quantizer.ids(latent.flip(0)), ids.flip(0))
    book = torch.from_numpy(quantizer.codebook())
    if quantizer.codebooks == 1:
        assert book.shape == (quantizer.codes, 3)
        rebuilt = book[ids]
    else:
        assert book.shape == (quantizer.codebooks, quantizer.codes, 3)
        rebuilt = sum(book[q][ids[:, q]] for q in range(quantizer.codebooks))
    torch.testing.assert_close(rebuilt, quantizer.vectors(ids))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_quantized_has_straight_gradients_and_stays_itself_when_quantized_again(
    kind, latent
):
    quantizer = started(kind, latent)
    vectors = latent.clone().requires_grad_()
    found = quantizer(vectors, torch.ones(len(latent)), generator())
    assert found.latent.shape == latent.shape and torch.isfinite(found.loss)
    found.latent.sum().backward()
    assert vectors.grad is not None and torch.isfinite(vectors.grad).all()
    assert (vectors.grad != 0).any()
    quantizer.eval()
    if kind in ("rvq", "fsq"):  # the one is greedy, the other squashes
        return
    centres = quantizer.vectors(quantizer.ids(latent))
    assert torch.equal(quantizer.vectors(quantizer.ids(centres)), centres)


def test_bits_are_those_of_all_codebooks():
    assert make("rvq").bits == pytest.approx(12)
    assert make("fsq").bits == pytest.approx(math.log2(60))
    assert make("binning", levels=[2**14] * 3).bits == pytest.approx(42)


def test_bins_are_quantiles_and_decode_to_means(latent):
    quantizer = started("binning", latent)
    ids = quantizer.ids(latent).numpy()
    values = latent[:, 0].numpy()
    bins = ids % 5
    assert np.bincount(bins).tolist() == pytest.approx([600] * 5, abs=2)
    for number in range(5):
        inside = values[bins == number]
        assert quantizer.vectors(torch.tensor([number]))[0, 0] == pytest.approx(
            inside.mean(), abs=1e-5
        )
    assert (np.diff([values[bins == number].max() for number in range(5)]) > 0).all()


def test_many_bins_have_an_id_a_feature(latent):
    quantizer = started("binning", latent, levels=[400, 300, 200])
    assert quantizer.codebooks == 3
    ids = quantizer.ids(latent)
    assert ids.shape == (3000, 3)
    assert (ids.amax(dim=0) < torch.tensor([400, 300, 200])).all()
    assert (quantizer.vectors(ids) - latent).abs().mean() < 0.01


def test_bins_of_a_feature_of_few_values_are_finite():
    values = torch.zeros(100, 3)
    values[50:] = 1.0
    quantizer = started("binning", values)
    again = quantizer.vectors(quantizer.ids(values))
    assert torch.isfinite(again).all()
    assert torch.equal(again, values)


def test_a_value_on_an_edge_is_in_the_same_bin_in_training_and_in_encoding():
    values = torch.randn(4000, 3, generator=generator(), dtype=torch.float64)
    values[:2400] = torch.tensor([0.1, 0.7, -0.3], dtype=torch.float64)  # none is one in float32
    quantizer = started("binning", values.float())
    assert torch.equal(quantizer.ids(values), quantizer.ids(values.float()))


def test_every_codebook_of_a_residual_quantizer_refines(latent):
    errors = []
    for number in (1, 2, 3):
        quantizer = started("rvq", latent, codebooks=number)
        errors.append(float((quantizer.vectors(quantizer.ids(latent)) - latent).square().mean()))
    assert errors[1] < 0.5 * errors[0] and errors[2] < 0.5 * errors[1]


def test_candidates_of_a_residual_quantizer_differ_in_the_last_codebook_only(latent):
    quantizer = started("rvq", latent).eval()
    found = quantizer.candidates(latent, 4)
    assert found.shape == (3000, 4, 3)
    assert torch.equal(found[:, 0], quantizer.ids(latent))
    assert (found[:, :, :2] == found[:, :1, :2]).all()
    distance = (quantizer.vectors(found) - latent[:, None]).square().sum(dim=2)
    assert (distance.diff(dim=1) >= -1e-6).all()


def test_a_quantizer_without_neighbours_says_so(latent):
    with pytest.raises(ConfigError, match="a quantizer fsq has no nearest codes"):
        make("fsq").candidates(latent, 4)


def test_unused_codes_of_the_published_quantizer_move_to_vectors(latent):
    quantizer = started("vq_gradient", latent, replace_every=3, affine_rate=0.0)
    with torch.no_grad():
        quantizer.codes_[:10] += 100.0
    for _ in range(5):
        quantizer(latent, torch.ones(len(latent)), generator())
    assert quantizer.codes_.abs().max() < 10
    assert len(torch.unique(quantizer.ids(latent))) == 32


def distance_to(quantizer: Quantizer, vectors: torch.Tensor) -> float:
    with torch.no_grad():
        return float((quantizer.vectors(quantizer.ids(vectors)) - vectors).square().mean())


def test_the_published_quantizer_learns_by_gradients(latent):
    quantizer = started("vq_gradient", latent)
    optimizer = torch.optim.AdamW(quantizer.parameters(), lr=1e-2)
    before = distance_to(quantizer, latent + 1)
    for _ in range(100):
        found = quantizer(latent + 1, torch.ones(len(latent)), generator())
        optimizer.zero_grad()
        found.loss.backward()
        optimizer.step()
    after = distance_to(quantizer, latent + 1)
    assert after < 0.6 * before
    assert quantizer.shift.abs().max() > 0
