"""Which rows belong together, against a dictionary."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from treasure.cli.row_matching import match_rows

EVENTS = st.lists(st.tuples(st.integers(1, 2), st.integers(1, 2), st.integers(1, 3)), max_size=12)


def array(events) -> np.ndarray:
    return np.array(events, np.int64).reshape(-1, 3)


@given(EVENTS, EVENTS)
def test_rows_of_one_event_are_paired_in_their_order(a, b):
    match = match_rows(array(a), array(b), "event")

    def numbered(events):
        return {(e, events[:row].count(e)): row for row, e in enumerate(events)}

    rows_a, rows_b = numbered(a), numbered(b)
    expected = {(rows_a[key], rows_b[key]) for key in rows_a.keys() & rows_b.keys()}
    assert set(zip(match.a.tolist(), match.b.tolist(), strict=True)) == expected
    assert match.a.tolist() == sorted(match.a.tolist())
    assert set(match.only_a.tolist()) == {rows_a[k] for k in rows_a.keys() - rows_b.keys()}
    assert set(match.only_b.tolist()) == {rows_b[k] for k in rows_b.keys() - rows_a.keys()}


@given(EVENTS, st.randoms())
def test_another_order_is_recognised(events, random):
    events = sorted(set(events))
    other = events.copy()
    random.shuffle(other)
    match = match_rows(array(events), array(other))
    assert len(match.only_a) == len(match.only_b) == 0
    assert [other[row] for row in match.b] == events
    assert match.is_reordered == (other != events)
    assert match.by == ("event" if other != events else "order")


def test_one_wrong_number_is_no_other_order():
    a = array([(1, 1, n) for n in range(10)])
    b = a.copy()
    b[4, 2] = 99
    match = match_rows(a, b)
    assert match.by == "order" and len(match.a) == 10


@pytest.mark.parametrize("removed", [0, 4, 9])
def test_a_row_that_is_missing_is_found(removed):
    a = array([(1, 1, n) for n in range(10)])
    match = match_rows(a, np.delete(a, removed, axis=0))
    assert match.only_a.tolist() == [removed] and len(match.only_b) == 0
    assert match_rows(a, np.delete(a, removed, axis=0), "order").only_a.tolist() == [9]
