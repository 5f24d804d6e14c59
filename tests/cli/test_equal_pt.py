"""Candidates of equal pt in another order, against trying all orders."""

from itertools import permutations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cli.jet_files import candidates_at
from treasure.cli.equal_pt import pair_candidates
from treasure.cli.ulp import distance

SLOTS = 6


def jet(group_of_slot: list[int], rng: np.random.Generator) -> np.ndarray:
    """A jet whose candidates of one group have one pt, up to rounding."""
    pt = 100.0 / (1 + np.sort(np.array(group_of_slot)))
    padded = np.zeros((SLOTS, 11), np.float32)
    padded[: len(pt)] = candidates_at(pt, rng)
    return padded


def agrees(a: np.ndarray, b: np.ndarray, ulp: int) -> bool:
    return bool((distance(a, b) <= ulp).all())


def can_be_ordered(a: np.ndarray, b: np.ndarray, groups: list[int], ulp: int) -> bool:
    """Whether some order of candidates within groups makes them agree: by trying all."""
    groups = sorted(groups) + [-1 - slot for slot in range(SLOTS - len(groups))]
    return any(
        all(groups[slot] == groups[other] for slot, other in enumerate(order))
        and agrees(a, b[list(order)], ulp)
        for order in permutations(range(SLOTS))
    )


@settings(deadline=None, max_examples=200)
@given(
    groups=st.lists(st.integers(0, 2), min_size=1, max_size=SLOTS),
    seed=st.integers(0, 10_000),
    steps=st.integers(0, 2),
    ulp=st.integers(0, 2),
    change=st.booleans(),
    anywhere=st.booleans(),
)
def test_pairs_are_found_if_trying_all_orders_finds_them(
    groups, seed, steps, ulp, change, anywhere
):
    rng = np.random.default_rng(seed)
    a = jet(groups, rng)
    a[: len(groups), 4:] = a[0, 4:]  # alike but for the momenta: more orders are possible
    if len(groups) > 1 and rng.random() < 0.5:
        a[1, :4] = a[0, :4] if groups.count(sorted(groups)[0]) > 1 else a[1, :4]
    order = np.arange(SLOTS)
    if anywhere:
        order[: len(groups)] = rng.permutation(len(groups))
    else:
        for group in set(groups):
            where = np.flatnonzero(np.sort(groups) == group)
            order[where] = rng.permutation(where)
    b = a[order].copy()
    for _ in range(steps):
        b[: len(groups), :4] = np.nextafter(b[: len(groups), :4], np.float32(np.inf))
    if change:
        b[int(rng.integers(len(groups))), int(rng.integers(11))] += np.float32(1)
    paired = pair_candidates(a[None], b[None], 0, 1, ulp)[0]
    assert sorted(paired) == list(range(SLOTS))
    assert agrees(a, b[paired], ulp) == can_be_ordered(a, b, groups, ulp)


def test_a_swap_beside_a_change_leaves_only_the_change():
    rng = np.random.default_rng(3)
    a = jet([0, 0, 0, 1], rng)
    b = a[[2, 0, 1, 3, 4, 5]].copy()
    b[0, 9] = 321  # of what is candidate 2 of a
    paired = pair_candidates(a[None], b[None], 0, 1, 0)[0]
    assert list(paired) == [1, 2, 0, 3, 4, 5]
    assert np.count_nonzero(a != b[paired]) == 1


def test_candidates_of_other_pt_stay_where_they_are():
    rng = np.random.default_rng(4)
    a = jet([0, 1, 2], rng)
    b = a[[1, 0, 2, 3, 4, 5]].copy()
    assert list(pair_candidates(a[None], b[None], 0, 1, 0)[0]) == list(range(SLOTS))


def test_a_swap_is_seen_through_rounding_and_its_ulps_are_left_to_the_comparison():
    rng = np.random.default_rng(5)
    a = jet([0, 0, 1], rng)
    b = a[[1, 0, 2, 3, 4, 5]].copy()
    b[:3, :4] = np.nextafter(b[:3, :4], np.float32(np.inf))
    paired = pair_candidates(a[None], b[None], 0, 1, 0)[0]
    assert list(paired[:3]) == [1, 0, 2]
    assert distance(a, b[paired]).max() == 1


def test_many_jets_of_one_pt_throughout():
    rng = np.random.default_rng(6)
    slots = 150
    a = np.stack([candidates_at(np.full(slots, 7.0), rng) for _ in range(60)])
    order = np.stack([rng.permutation(slots) for _ in range(60)])
    b = np.take_along_axis(a, order[:, :, None], axis=1)
    paired = pair_candidates(a, b, 0, 1, 0)
    assert (np.take_along_axis(b, paired[:, :, None], axis=1) == a).all()


def test_no_jets_and_one_slot():
    empty = np.zeros((0, SLOTS, 11), np.float32)
    assert pair_candidates(empty, empty, 0, 1, 0).shape == (0, SLOTS)
    one = np.ones((2, 1, 11), np.float32)
    assert (pair_candidates(one, one, 0, 1, 0) == 0).all()
