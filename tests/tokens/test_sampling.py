from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from treasure.errors import ConfigError
from treasure.tokens.sampling import Epoch, process_place

PINNED = [63, 18, 35, 1, 22, 36, 28, 12]
SIZES = st.lists(st.integers(1, 60), min_size=1, max_size=8).map(tuple)


def taken(epoch: Epoch, lengths: np.ndarray | None = None) -> list[list[int]]:
    """Numbers of the jets of each batch of a process."""
    starts = np.cumsum([0, *epoch.sizes])
    found = []
    for window in epoch.windows():
        rows = np.concatenate([starts[group] + rows for group, rows in epoch.pieces(window)])
        counts = rows if lengths is None else lengths[rows]
        order, edges = epoch.arrange(window, counts, bucket=lengths is not None)
        assert len(edges) == window[1] - window[0] + 1
        assert edges[-1] == len(order)
        found += [rows[order[first:stop]].tolist() for first, stop in pairwise(edges)]
    return found


@settings(max_examples=150, deadline=None)
@given(
    SIZES, st.integers(1, 40), st.integers(1, 9), st.booleans(), st.booleans(), st.integers(1, 90)
)
def test_every_jet_is_in_one_batch_of_one_process(sizes, size, processes, shuffle, bucket, window):
    lengths = np.random.default_rng(0).integers(0, 50, sum(sizes)) if bucket else None
    epochs = [
        Epoch(sizes, size, shuffle, 5, 2, rank, processes, window=window)
        for rank in range(processes)
    ]
    batches = [taken(epoch, lengths) for epoch in epochs]
    everything = [jet for each in batches for batch in each for jet in batch]
    assert sorted(everything) == list(range(sum(sizes)))
    assert all(1 <= len(batch) <= size for each in batches for batch in each)
    assert [len(each) for each in batches] == [epoch.batches for epoch in epochs]
    if size > 1 and sum(sizes) >= processes:
        assert len({len(each) for each in batches}) == 1


@settings(max_examples=80, deadline=None)
@given(SIZES, st.integers(1, 40), st.integers(1, 9), st.booleans(), st.integers(1, 90))
def test_full_batches_only_where_the_last_is_dropped(sizes, size, processes, shuffle, window):
    batches = [
        taken(Epoch(sizes, size, shuffle, 5, 2, rank, processes, drop_last=True, window=window))
        for rank in range(processes)
    ]
    everything = [jet for each in batches for batch in each for jet in batch]
    assert len(set(everything)) == len(everything)
    assert all(len(batch) == size for each in batches for batch in each)
    assert len({len(each) for each in batches}) == 1
    assert sum(sizes) - len(everything) < size * processes


def test_the_order_is_that_of_seed_and_epoch():
    def order(seed: int, number: int) -> list[list[int]]:
        return taken(Epoch((30, 40, 20), 8, True, seed, number, window=50))

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)
    # Pinned: who resumes a training with a later version must get the batches that were left.
    assert order(1, 0)[0] == PINNED


def test_without_shuffling_the_order_is_that_of_the_files():
    parts = [taken(Epoch((5, 9, 3), 4, rank=rank, processes=2)) for rank in range(2)]
    assert [jet for part in parts for batch in part for jet in batch] == list(range(17))


def test_a_process_reads_the_row_groups_of_its_part_alone():
    sizes = (100,) * 40
    for rank in range(8):
        epoch = Epoch(sizes, 10, True, rank=rank, processes=8, window=200)
        groups = {number for window in epoch.windows() for number, _ in epoch.pieces(window)}
        assert len(groups) <= 6  # five of its own, and one that it shares


def test_datasets_with_files_of_their_own_are_mixed():
    kinds = (0,) * 30 + (1,) * 90
    for number in range(20):
        epoch = Epoch((10,) * 120, 5, True, 0, number, 1, 3, window=40, kinds=kinds)
        orders = [epoch.pieces(window) for window in epoch.windows()]
        assert len({group for pieces in orders for group, _ in pieces}) >= 40
        for pieces in orders:
            jets = np.bincount([kinds[group] for group, rows in pieces for _ in rows], minlength=2)
            assert abs(jets[0] - 10) <= 10
            assert jets[0] > 0


def test_a_shared_row_group_is_divided_at_random():
    first, second = (sorted(chain(*taken(Epoch((100,), 10, True, 0, e, 0, 2)))) for e in range(2))
    assert first != second
    assert first != list(range(50))


def test_batches_of_buckets_have_jets_of_like_length():
    lengths = np.random.default_rng(1).integers(0, 100, 1000)
    spread = {}
    for name, by in (("bucket", lengths), ("plain", None)):
        batches = taken(Epoch((1000,), 20, True, window=1000), by)
        spread[name] = np.mean([np.ptp(lengths[batch]) for batch in batches])
    assert spread["bucket"] < 5 < 60 < spread["plain"]
    bucketed = taken(Epoch((1000,), 20, True, window=1000), lengths)
    means = [lengths[batch].mean() for batch in bucketed]
    assert means != sorted(means)


def test_windows_can_begin_anywhere():
    epoch = Epoch((100,), 10, window=30)
    assert list(epoch.windows()) == [(0, 3), (3, 6), (6, 9), (9, 10)]
    assert list(epoch.windows(4)) == [(3, 6), (6, 9), (9, 10)]
    assert list(epoch.windows(10)) == []


def test_which_process_this_is(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert process_place(None, None) == (0, 1)
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert process_place(None, None) == (2, 3)
    assert process_place(0, 2) == (0, 2)
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 4)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 5)
    assert process_place(None, None) == (4, 5)


@pytest.mark.parametrize("place", [(1, None), (None, 2), (2, 2), (-1, 2), (0, 0)])
def test_a_process_that_cannot_be_is_refused(place):
    with pytest.raises(ConfigError, match="rank"):
        process_place(*place)


def test_an_environment_without_numbers_is_refused(monkeypatch):
    monkeypatch.setenv("RANK", "first")
    with pytest.raises(ConfigError, match="RANK 'first'"):
        process_place(None, None)
