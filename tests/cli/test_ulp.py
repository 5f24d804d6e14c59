"""Distances in ulp, against numpy's own steps, and what a column's differences come to."""

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from treasure.cli.ulp import NOT_COMPARABLE, ColumnDifference, distance, same_bits

FLOAT32 = st.floats(width=32)
FINITE32 = st.floats(width=32, allow_nan=False, allow_infinity=False)

FINITE64 = st.floats(allow_nan=False, allow_infinity=False)


def apart(a, b, dtype=np.float32) -> int:
    return int(distance(np.array([a], dtype), np.array([b], dtype))[0])


def by_hand(a: float, b: float) -> int:
    """Distance of finite float32 numbers, from their bits: sign and magnitude."""

    def number(x):
        bits = struct.unpack("<I", struct.pack("<f", x))[0]
        return -(bits - 2**31) - 1 if bits >= 2**31 else bits

    return abs(number(a) - number(b))


@given(FINITE32, FINITE32)
def test_distance_is_the_number_of_steps(a, b):
    assert apart(a, b) == by_hand(a, b) == apart(b, a)


@given(FINITE32, st.integers(1, 5))
def test_nextafter_is_one_step_but_for_the_two_zeros(a, steps):
    b = np.float32(a)
    for _ in range(steps):
        with np.errstate(over="ignore"):
            b = np.nextafter(b, np.float32(np.inf))
    if not np.isfinite(b):
        return
    crossed_zero = math.copysign(1, a) < 0 <= b and not (b == 0 and np.signbit(b))
    assert apart(a, b) == steps + crossed_zero


@given(FINITE64, FINITE64)
def test_double_precision_does_not_overflow(a, b):
    def number(x):
        bits = struct.unpack("<Q", struct.pack("<d", x))[0]
        return -(bits - 2**63) - 1 if bits >= 2**63 else bits

    assert apart(a, b, np.float64) == abs(number(a) - number(b))


@given(FLOAT32, FLOAT32)
def test_zero_means_the_same_bits(a, b):
    first, second = np.array([a], np.float32), np.array([b], np.float32)
    assert (distance(first, second)[0] == 0) == same_bits(first, second)[0]
    assert same_bits(first, second)[0] == (first.tobytes() == second.tobytes())


def test_the_sign_of_zero_is_a_step_and_what_is_not_finite_is_far():
    assert apart(0.0, -0.0) == 1
    assert apart(np.inf, np.inf) == 0 and apart(np.nan, np.nan) == 0
    greatest = np.finfo(np.float32).max
    for a, b in ((np.inf, greatest), (np.nan, 1), (np.nan, np.inf), (np.inf, -np.inf)):
        assert apart(a, b) == apart(b, a) == NOT_COMPARABLE
    assert apart(np.nan, -np.nan) == 1


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1))
def test_of_integers_it_is_their_difference(a, b):
    assert apart(a, b, np.int64) == abs(a - b)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int8, np.uint32, np.bool_])
def test_other_dtypes(dtype):
    values = np.array([1, 0], dtype)
    assert (distance(values, values) == 0).all()
    assert (distance(values, values[::-1].copy()) > 0).all()


@given(st.lists(st.tuples(FINITE32, FINITE32), min_size=1, max_size=20), st.integers(0, 3))
def test_a_column_counts_what_a_loop_counts(pairs, tolerance):
    a, b = (np.array(side, np.float32) for side in zip(*pairs, strict=True))
    different = np.flatnonzero(~same_bits(a, b))
    column = ColumnDifference("x", tolerance)
    for part in (different[:3], different[3:]):  # in two blocks
        column.add(part, None, a[part], b[part])
    steps = [by_hand(x, y) for x, y in pairs]
    assert column.values_differ == column.rows_differ == sum(step > 0 for step in steps)
    assert column.values_beyond == sum(step > tolerance for step in steps)
    assert column.max_ulp == max(steps)
    assert column.max_absolute == max(abs(float(x) - float(y)) for x, y in zip(a, b, strict=True))
    first = next((row for row, step in enumerate(steps) if step), None)
    assert (column.first.row if column.first else None) == first
