"""The coders: near the entropy of their models, and decodable from the specification alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from treasure.tokens.compressed.classes import ClassCoder, classes_of, classes_that_pay
from treasure.tokens.compressed.frequencies import FrequencyTable, bits, levels, pack_calls
from treasure.tokens.compressed.rows import (
    by_group,
    from_groups,
    insert,
    look_up,
    paired,
    sort_jets,
)
from treasure.tokens.compressed.steps import StepCoder


def decoded(words: list[int], frequencies: list[int], number: int) -> list[int]:
    """The decoder of docs/formats/compressed_tokens.md, in integers of any length."""
    words, starts = list(words), np.concatenate([[0], np.cumsum(frequencies)])
    state = 0
    while state < 2**32 and words:
        state = state << 32 | words.pop()
    found = []
    for _ in range(number):
        place = state % 2**24
        symbol = int(np.searchsorted(starts, place, side="right")) - 1
        state = (state >> 24) * frequencies[symbol] + place - int(starts[symbol])
        if state < 2**32 and words:
            state = state << 32 | words.pop()
        found.append(symbol)
    return found


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(0, 10**6), min_size=2, max_size=300),
    st.integers(0, 2**32 - 1),
    st.integers(0, 200),
)
def test_words_are_those_of_the_specification(counts: list[int], seed: int, number: int):
    table = FrequencyTable(levels(np.array(counts)))
    occurring = np.flatnonzero(counts) if any(counts) else np.arange(2)
    symbols = np.random.default_rng(seed).choice(occurring, number).astype(np.int32)
    words = pack_calls([(symbols, table)])
    assert decoded(words.tolist(), table.frequencies.tolist(), number) == symbols.tolist()


@given(st.lists(st.integers(0, 80), min_size=1, max_size=500))
def test_frequencies_are_integers_from_1_with_the_sum_2_to_the_24(values: list[int]):
    frequencies = FrequencyTable(np.array(values, dtype=np.uint8)).frequencies
    assert frequencies.sum() == 2**24
    assert frequencies.min() >= 1


def test_frequencies_follow_the_counts():
    counts = np.random.default_rng(0).zipf(1.3, 8192).clip(0, 10**6)
    frequencies = FrequencyTable(levels(counts)).frequencies
    p = counts / counts.sum()
    entropy = -(p * np.log2(p)).sum()
    assert -(p * np.log2(frequencies / 2**24)).sum() < entropy + 0.003


def jets(number: int = 3_000, size: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """Jets whose ids rise, but for noise: as codes ordered by pT would."""
    rng = np.random.default_rng(3)
    counts = rng.poisson(30, number)
    places = np.concatenate([np.sort(rng.random(n)) for n in counts])
    noisy = places + rng.normal(0, 0.02, len(places))
    return (noisy * size).clip(0, size - 1).astype(np.int32)[:, None], counts.astype(np.int64)


def test_every_variant_is_within_2_percent_of_the_entropy_of_its_model():
    ids, counts = jets()
    order = np.arange(500, dtype=np.uint32)
    coders = {
        "static": ClassCoder.fit([(ids, counts)], 500, 1, 1),
        "rank": ClassCoder.fit([(ids, counts)], 500, 1, 16),
    }
    for name, options in {
        "previous": {"sort": False, "keep_order": True},
        "kept": {"sort": True, "keep_order": True},
        "rebuilt": {"sort": True, "keep_order": False},
    }.items():
        coders[name] = StepCoder.fit(lambda: [(ids, counts)], order, **options)
    found = {}
    for name, coder in coders.items():
        words = coder.encode(ids, counts)
        entropy = bits(coder.calls(ids, counts))
        assert entropy - 1 < 32 * len(words) < 1.001 * entropy + 64
        np.testing.assert_array_equal(coder.decode(words, counts), coder.kept(ids, counts))
        found[name] = entropy / len(ids)
    assert found["rebuilt"] < found["previous"] < found["rank"] < found["static"]
    # From the counts alone, not from the code that is tested.
    p = np.bincount(ids[:, 0]) / len(ids)
    assert found["static"] == pytest.approx(-(p[p > 0] * np.log2(p[p > 0])).sum(), rel=1e-3)


def test_a_set_of_independent_ids_costs_less_by_the_bits_of_its_order():
    """log2 n! bits, but for those of buckets that hold more than one id of a jet."""
    rng = np.random.default_rng(0)
    counts = np.full(20_000, 20)
    ids = rng.integers(0, 65_536, (counts.sum(), 1)).astype(np.int32)
    order = np.arange(65_536, dtype=np.uint32)
    coder = StepCoder.fit(lambda: [(ids, counts)], order, sort=True, keep_order=False)
    saved = 16 * 20 - bits(coder.calls(ids, counts)) / len(counts)
    of_order = np.log2(np.arange(1, 21)).sum()
    same_bucket = 20 * 19 / 2 / 256
    # The tables know the ids themselves: 400,000 of them for 65,536 codes.
    fitted = 65_536 / 2 / np.log(2) / len(counts)
    assert saved == pytest.approx(of_order - same_bucket + fitted, abs=1.5)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 40), max_size=10), st.integers(0, 2**32 - 1))
def test_the_stored_order_comes_back_from_its_digits(sizes: list[int], seed: int):
    rng = np.random.default_rng(seed)
    counts = np.array(sizes, dtype=np.int64)
    places = rng.integers(0, 30, counts.sum()).astype(np.int32)
    ordered, digits = sort_jets(places, counts)
    np.testing.assert_array_equal(insert(paired(digits, 50), 50, counts, ordered), places)
    first = 0
    for n in sizes:
        jet = places[first : first + n]
        assert ordered[first : first + n].tolist() == sorted(jet)
        # The definition: how many of those that come before end up behind.
        assert digits[first : first + n].tolist() == [
            int((jet[:row] > jet[row]).sum()) for row in range(n)
        ]
        first += n


def test_digits_of_a_damaged_file_stay_in_their_jet():
    counts = np.array([3, 2], dtype=np.int64)
    pairs = np.full(3, 99, dtype=np.int32)
    found = insert(pairs, 10, counts, np.array([1, 2, 3, 4, 5], np.int32))
    assert sorted(found[:3]) == [1, 2, 3] and sorted(found[3:]) == [4, 5]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 9), max_size=50))
def test_rows_come_back_from_their_groups(groups: list[int]):
    of_rows = np.array(groups, dtype=np.uint8)
    values = np.arange(len(groups), dtype=np.int32)
    found, sizes = by_group(values, of_rows, 10)
    assert found.tolist() == sorted(range(len(groups)), key=lambda row: groups[row])
    assert sizes.tolist() == [groups.count(n) for n in range(10)]
    np.testing.assert_array_equal(from_groups(found, of_rows, sizes), values)


def test_an_order_that_is_too_different_is_refused():
    ids = np.arange(2_000, dtype=np.int32)[::-1, None]
    order = np.arange(2_000, dtype=np.uint32)
    with pytest.raises(ValueError, match=r"1999 places .* choose another variant"):
        StepCoder.fit(lambda: [(ids, np.array([2_000]))], order, sort=True, keep_order=True)


def test_classes_are_bins_of_the_relative_rank():
    assert classes_of(np.array([4, 0, 2]), 2).tolist() == [0, 0, 1, 1, 0, 1]
    assert classes_of(np.array([3]), 16).tolist() == [0, 5, 10]
    assert [classes_that_pay(n, 8192) for n in (0, 100_000, 10**9)] == [1, 2, 16]


def test_a_code_behind_the_last_one_is_refused():
    groups, sizes = np.array([0, 1, 0], np.uint8), np.array([2, 1])
    first, order = np.array([0, 2], np.int32), np.array([7, 5, 9], np.int32)
    codes = np.array([1, 0, 0], np.int32)  # of the first and the third row, then of the second
    assert look_up(codes, groups, sizes, first, order).tolist() == [5, 9, 7]
    with pytest.raises(ValueError, match="behind the last one"):
        look_up(codes + 1, groups, sizes, first, order)
