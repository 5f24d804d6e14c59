import awkward as ak
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tokenizer.toys import toy_jets
from treasure.errors import DataError
from treasure.tokenizer.particles import Particles, jet_sums, owners, pack

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


def test_what_is_not_momentum_is_packed_only_when_asked_for():
    candidates, kinematics = toy_jets(6)
    candidates[:, :, 4:] = np.random.default_rng(3).normal(size=(6, 150, 7))
    real = candidates[:, :, 3] != 0
    packed = pack(candidates, kinematics, other=True)
    assert packed.other is not None
    np.testing.assert_array_equal(packed.other, candidates[real][:, 4:])
    assert pack(candidates, kinematics).other is None
    both = Particles.joined([packed, packed])
    assert both.other is not None and both.other.shape == (2 * real.sum(), 7)
    first = packed.part(slice(0, int(packed.counts[0])), slice(0, 1))
    np.testing.assert_array_equal(first.other, packed.other[: packed.counts[0]])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_of_what_is_not_asked_for_nothing_is_checked(value: float):
    candidates, kinematics = toy_jets(5)
    candidates[1, 2, 6] = value
    assert len(pack(candidates, kinematics)) == 5
    with pytest.raises(DataError, match="jet 1 of 5"):
        pack(candidates, kinematics, other=True)


def test_awkward_arrays_and_lists_are_packed_and_ragged_ones_refused():
    candidates, kinematics = toy_jets(3, 1)
    expected = pack(candidates, kinematics)
    found = pack(ak.Array(candidates), kinematics.tolist())
    np.testing.assert_array_equal(found.momenta, expected.momenta)
    with pytest.raises(DataError, match="no rectangular array"):
        pack(ak.Array([[[1.0, 0, 0, 1]], []]), kinematics[:2])
