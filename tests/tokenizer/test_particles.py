import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tokenizer.toys import toy_jets
from treasure.errors import DataError
from treasure.tokenizer.particles import jet_sums, owners, pack

COUNTS = st.lists(st.integers(0, 150), min_size=1, max_size=8)


@given(COUNTS)
def test_packing_keeps_every_particle_in_order(counts: list[int]):
    candidates, kinematics = toy_jets(len(counts), 1, np.array(counts))
    packed = pack(candidates, kinematics)
    assert packed.counts.tolist() == counts
    expected = [candidates[i, :n, :4] for i, n in enumerate(counts)]
    np.testing.assert_array_equal(packed.momenta, np.concatenate(expected))


def test_padding_may_stand_anywhere():
    candidates, kinematics = toy_jets(3)
    order = np.random.default_rng(0).permutation(150)
    shuffled = pack(candidates[:, np.sort(order)[::-1]], kinematics)
    assert shuffled.counts.tolist() == pack(candidates, kinematics).counts.tolist()


def test_sums_over_jets_are_those_of_a_loop():
    counts = np.array([0, 3, 0, 1, 5, 0])
    values = np.random.default_rng(1).normal(size=(9, 2))
    loop = [values[owners(counts) == jet].sum(axis=0) for jet in range(6)]
    np.testing.assert_allclose(jet_sums(values, counts), loop, atol=1e-12)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_jet_that_is_not_finite_is_refused_by_its_row(value: float):
    candidates, kinematics = toy_jets(5)
    candidates[3, 1, 2] = value
    with pytest.raises(DataError, match="jet 3 of 5"):
        pack(candidates, kinematics)


def test_shapes_that_do_not_fit_are_refused():
    candidates, kinematics = toy_jets(5)
    with pytest.raises(DataError, match="kinematics of shape"):
        pack(candidates, kinematics[:4])
