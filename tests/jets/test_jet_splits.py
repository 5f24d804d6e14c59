import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from pydantic import ValidationError

from treasure.config.splits import Splits
from treasure.jets.splits import SPLITS, assign_split, event_hash
from treasure.jets.table import jet_index

EVENT_INFO = npst.arrays(
    np.int64,
    st.tuples(st.integers(0, 40), st.just(3)),
    elements=st.integers(0, 2**62),
)


# A changed value would move events between the splits of published data.
PINNED = [
    "7095beebd76575e4",
    "449356e76b1ec655",
    "ac7622c0123d8d01",
    "b815246f417cade2",
    "89c6b79e1d39dd80",
]
PINNED_SPLITS = "0002000200100000000100020012020020120210"


def splitmix(words: list[int]) -> int:
    """The definition, with Python's integers."""
    mask = 2**64 - 1
    state = 0
    for word in words:
        z = ((state ^ (word & mask)) + 0x9E3779B97F4A7C15) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        state = z ^ (z >> 31)
    return state


@given(EVENT_INFO)
def test_the_hash_is_its_definition(info: np.ndarray):
    assert [int(h) for h in event_hash(info)] == [splitmix(row) for row in info.tolist()]


def test_the_values_never_change():
    info = np.array([[1, 1, 1], [1, 1, 2], [278820, 33, 51_234_567], [1, 2, 1], [2, 1, 1]])
    assert [f"{int(h):016x}" for h in event_hash(info)] == PINNED
    many = np.stack([np.full(40, 1), np.arange(40) // 10, np.arange(40)], axis=1)
    assert "".join(str(s) for s in assign_split(many, Splits())) == PINNED_SPLITS


@given(EVENT_INFO, st.randoms(use_true_random=False))
def test_an_event_is_never_divided(info: np.ndarray, random):
    rows = list(range(len(info))) * 3
    random.shuffle(rows)
    split = assign_split(info[rows], Splits())
    alone = np.concatenate([assign_split(info[i : i + 1], Splits()) for i in rows] or [split])
    assert (split == alone).all()
    assert split.dtype == np.int8


@given(
    st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20)).filter(
        lambda parts: sum(parts) > 0
    )
)
def test_the_shares_are_the_configured_ones(parts: tuple[int, int, int]):
    shares = np.array(parts) / sum(parts)
    splits = Splits(train=shares[0], val=shares[1], test=shares[2])
    n = 20_000
    info = np.stack([np.full(n, 1), np.arange(n) // 1000, np.arange(n)], axis=1)
    found = np.bincount(assign_split(info, splits), minlength=3)
    # Five standard deviations of a binomial; a share of 0 gets nothing, of 1 all.
    assert (np.abs(found - n * shares) <= 5 * np.sqrt(n * shares * (1 - shares)) + 1e-6).all()


def test_labels_of_the_splits():
    assert SPLITS == ("train", "val", "test")
    only = assign_split(np.array([[1, 1, 1]]), Splits(train=0, val=0, test=1))
    assert SPLITS[only[0]] == "test"


def test_shares_that_do_not_add_up_are_refused():
    with pytest.raises(ValidationError, match=r"train \+ val \+ test is 1.2"):
        Splits(train=0.9, val=0.1, test=0.2)


def test_event_info_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"expected \(n, 3\)"):
        event_hash(np.zeros((3, 2), np.int64))


@given(st.lists(st.integers(1, 5), max_size=20))
def test_the_jet_index_counts_within_an_event(jets_per_event: list[int]):
    info = np.repeat(np.arange(len(jets_per_event) * 3).reshape(-1, 3), jets_per_event, axis=0)
    expected = [i for n in jets_per_event for i in range(n)]
    found = jet_index(info.astype(np.int64))
    assert found.tolist() == expected
    assert found.dtype == np.int32


def test_rounded_shares_leave_no_gap_and_a_split_without_a_share_stays_empty(monkeypatch):
    from treasure.jets import splits

    def draw(value: int, shares: Splits) -> int:
        monkeypatch.setattr(splits, "event_hash", lambda info: np.array([value], np.uint64))
        return int(assign_split(np.zeros((1, 3), np.int64), shares)[0])

    last = 2**64 - 1
    assert draw(last, Splits(train=0.7, val=0.3 - 1e-10, test=0)) == 1
    assert draw(last, Splits(train=1 - 1e-10, val=0, test=0)) == 0
    # an event at an edge belongs to what begins there
    assert draw(1 << 63, Splits(train=0.5, val=0.25, test=0.25)) == 1
    assert draw((1 << 63) - (1 << 11), Splits(train=0.5, val=0.25, test=0.25)) == 0
    assert draw(0, Splits(train=0, val=0.5, test=0.5)) == 1
