import math

import numpy as np
import vector
from hypothesis import given
from hypothesis import strategies as st

from treasure.skim.kinematics import delta_r, four_momentum, pt_order

MOMENTA = st.lists(
    st.tuples(
        st.floats(0.0078125, 5000, width=32),
        st.floats(-5, 5, width=32),
        st.floats(-3.125, 3.125, width=32),
        st.floats(0, 200, width=32),
    ),
    max_size=30,
)


@given(MOMENTA)
def test_four_momenta_are_those_of_vector_to_single_precision(momenta):
    columns = np.array(momenta, np.float32).reshape(-1, 4).T
    px, py, pz, energy = four_momentum(*columns)
    reference = vector.array(
        dict(zip(("pt", "eta", "phi", "mass"), columns.astype(float), strict=True))
    )
    for found, expected in zip(
        (px, py, pz, energy), (reference.px, reference.py, reference.pz, reference.E), strict=True
    ):
        assert found.dtype == np.float32
        ulp = np.spacing(np.abs(expected.astype(np.float32)))
        assert (np.abs(found - expected) <= ulp).all()


def test_a_negative_mass_is_space_like():
    one = np.ones(1, np.float32)
    *_, energy = four_momentum(5 * one, 0 * one, 0 * one, -3 * one)
    assert energy[0] == np.float32(4)


@given(st.floats(-10, 10), st.floats(-10, 10), st.floats(-4, 4), st.floats(-4, 4))
def test_delta_r_takes_the_short_way_round(eta_1, eta_2, phi_1, phi_2):
    dphi = math.atan2(math.sin(phi_1 - phi_2), math.cos(phi_1 - phi_2))
    expected = math.hypot(eta_1 - eta_2, dphi)
    found = delta_r(*(np.array([v]) for v in (eta_1, phi_1, eta_2, phi_2)))
    assert math.isclose(found[0], expected, rel_tol=1e-9, abs_tol=1e-12)


@given(
    st.lists(st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.0, 7.5]), max_size=9), max_size=9),
    st.none() | st.integers(1, 6),
)
def test_the_order_is_by_falling_pt_and_stable(rows, first):
    counts = np.array([len(row) for row in rows], np.int64)
    pt = np.array([value for row in rows for value in row], np.float32)
    order, kept = pt_order(counts, pt, first=first)
    expected, start = [], 0
    for row in rows:
        positions = range(start, start + len(row[:first]))
        expected += sorted(positions, key=lambda i: -pt[i])  # Python's sort is stable
        start += len(row)
    assert order.tolist() == expected
    assert kept.tolist() == [len(row[:first]) for row in rows]
