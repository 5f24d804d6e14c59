import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from vector_quantize_pytorch import VectorQuantize

from treasure.config.tokenizer import QuantizerConfig
from treasure.errors import ConfigError
from treasure.plugins import lookup
from treasure.tokenizer.nearest import nearest
from treasure.tokenizer.quantizer import Quantizer, VectorQuantizer


def vectors(rows: int, dimension: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, dimension, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None)
@given(st.integers(0, 300), st.integers(1, 40), st.integers(1, 5), st.integers(0, 99))
def test_the_nearest_code_is_that_of_all_distances(
    rows: int, codes: int, dimension: int, seed: int
):
    x, codebook = vectors(rows, dimension, seed), vectors(codes, dimension, seed + 100)
    found = nearest(x, codebook)
    distances = (x.double()[:, None] - codebook.double()[None]).square().sum(dim=2)
    assert torch.equal(found, distances.argmin(dim=1))


def test_of_equal_codes_the_first_is_taken():
    codebook = torch.tensor([[5.0, 5.0], [1.0, 1.0], [0.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    assert nearest(torch.tensor([[1.1, 1.0], [0.0, 0.1]]), codebook).tolist() == [1, 2]


def test_codes_follow_the_moving_average():
    quantizer = VectorQuantizer(QuantizerConfig(codes=4, dimension=3, decay=0.9, revive_below=0.0))
    x, weight = vectors(1000), torch.ones(1000)
    generator = torch.Generator().manual_seed(1)
    quantizer.start(x, weight, generator)
    before = quantizer.vectors_.clone()
    ids = quantizer(x, weight, generator).ids
    for code in range(4):
        own = x[ids == code].double()
        share = len(own) * 4 / 1000
        expected = (0.9 * before[code].double() + 0.1 * share * own.mean(dim=0)) / (
            0.9 + 0.1 * share
        )
        np.testing.assert_allclose(quantizer.vectors_[code], expected, rtol=1e-4, atol=1e-6)


def test_gradients_pass_straight_through():
    quantizer = VectorQuantizer(QuantizerConfig(codes=8, dimension=3, commitment=0.0))
    x = vectors(100).requires_grad_()
    generator = torch.Generator().manual_seed(1)
    quantizer.start(x.detach(), torch.ones(100), generator)
    quantized = quantizer(x, torch.ones(100), generator)
    (quantized.latent * 3).sum().backward()
    np.testing.assert_array_equal(x.grad, np.full((100, 3), 3.0))


def test_dead_codes_are_revived():
    config = QuantizerConfig(codes=32, dimension=3, decay=0.5, revive_below=0.01)
    quantizer = VectorQuantizer(config)
    generator = torch.Generator().manual_seed(1)
    quantizer.start(vectors(500), torch.ones(500), generator)
    quantizer.vectors_[:20] += 100.0
    quantizer.sums[:20] += 100.0
    for step in range(20):
        ids = quantizer(vectors(500, seed=step), torch.ones(500), generator).ids
    assert len(ids.unique()) == 32


def test_one_step_does_what_vector_quantize_pytorch_does():
    x = vectors(2000)
    ours = VectorQuantizer(QuantizerConfig(codes=16, dimension=3, decay=0.8, revive_below=0.0))
    generator = torch.Generator().manual_seed(1)
    ours.start(x, torch.ones(2000), generator)
    library = VectorQuantize(3, 16, decay=0.8, rotation_trick=False, commitment_weight=2.0)
    book = library._codebook
    book.embed.data.copy_(ours.vectors_[None])
    # Their averages are in particles, ours in shares of the mean: 2000 / 16 = 125 a code.
    book.cluster_size.data.fill_(125.0)
    book.embed_avg.data.copy_(125.0 * ours.vectors_[None])
    _, ids, loss = library(x[None])
    quantized = ours(x, torch.ones(2000), generator)
    assert torch.equal(ids[0], quantized.ids)
    torch.testing.assert_close(loss.reshape(()), quantized.loss)
    torch.testing.assert_close(book.embed[0], ours.vectors_, rtol=1e-3, atol=1e-4)


def test_a_quantizer_of_the_users_own_is_found_and_others_are_named():
    class Mine(Quantizer, kind="mine_in_a_test"):
        pass

    try:
        assert lookup(Quantizer, "mine_in_a_test") is Mine
        assert lookup(Quantizer, "treasure.tokenizer.quantizer:VectorQuantizer") is VectorQuantizer
        with pytest.raises(ConfigError, match="known are"):
            lookup(Quantizer, "other")
        with pytest.raises(ConfigError, match="not a subclass"):
            lookup(Quantizer, "pathlib:Path")
        with pytest.raises(ConfigError, match="cannot be imported"):
            lookup(Quantizer, "nowhere.at.all:Thing")
    finally:
        del Quantizer.kinds["mine_in_a_test"]
