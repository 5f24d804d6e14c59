import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from treasure.skim.matching import hadronic_tops, matched_to_top
from treasure.skim.record import GeneratorParticles, Jets


def particles(events: list[list[tuple[int, int, float, float]]]) -> GeneratorParticles:
    """Events as lists of (pdgId, mother in the event, eta, phi)."""
    rows = [(e, *p) for e, event in enumerate(events) for p in event]
    start = np.cumsum([0, *(len(event) for event in events)])
    return GeneratorParticles(
        np.array([r[0] for r in rows], np.int64),
        np.array([r[1] for r in rows], np.int32),
        np.array([r[2] + start[r[0]] if r[2] >= 0 else -1 for r in rows], np.int64),
        np.array([r[3] for r in rows], np.float32),
        np.array([r[4] for r in rows], np.float32),
    )


def jets(*rows: tuple[int, float, float]) -> Jets:
    columns = {
        "eta": np.array([r[1] for r in rows], np.float32),
        "phi": np.array([r[2] for r in rows], np.float32),
    }
    event = np.array([r[0] for r in rows], np.int64)
    return Jets(event, np.zeros(len(rows), np.int32), columns, None)


def top(sign: int, quarks, *, offset: int = 0, copies: int = 0, leptonic: bool = False):
    """A top, `copies` radiation copies of it and of its W, and its three quarks or b, l, nu."""
    event = [(6 * sign, -1, 0.0, 0.0)]
    for _ in range(copies):
        event += [(6 * sign, offset + len(event) - 1, 0.0, 0.0)]
        event += [(21, offset + len(event) - 2, 9.0, 0.0)]
        event[-1], event[-2] = event[-2], event[-1]
        event[-2] = (21, event[-2][1], 9.0, 0.0)
        event[-1] = (6 * sign, event[-2][1], 0.0, 0.0)
    last_top = offset + len(event) - 1
    event += [(24 * sign, last_top, 0.0, 0.0), (5 * sign, last_top, *quarks[0])]
    w = offset + len(event) - 2
    for _ in range(copies):
        event += [(24 * sign, w, 0.0, 0.0)]
        w = offset + len(event) - 1
    daughters = (-11 * sign, 12 * sign) if leptonic else (2 * sign, -1 * sign)
    event += [(pdg, w, *quark) for pdg, quark in zip(daughters, quarks[1:], strict=True)]
    return event


CLOSE = [(0.1, 0.1), (-0.2, 0.3), (0.3, -0.1)]


def test_all_three_quarks_must_be_inside():
    far = [*CLOSE[:2], (0.9, 0.0)]
    generator = particles([top(1, CLOSE), top(-1, far), top(1, CLOSE, copies=3)])
    found = matched_to_top(
        jets((0, 0, 0), (0, 2.0, 0), (1, 0, 0), (2, 0, 0)), generator, radius=0.8
    )
    assert found.tolist() == [True, False, False, True]


def test_leptonic_tops_events_without_tops_and_quarks_of_others_do_not_match():
    qcd = [(21, -1, 0.0, 0.0), *((q, 0, 0.1, 0.1) for q in (1, -1, 5))]
    w_alone = [(24, -1, 0.0, 0.0), (2, 0, 0.1, 0.1), (-1, 0, 0.0, 0.0), (5, -1, 0.0, 0.0)]
    generator = particles([top(1, CLOSE, leptonic=True), qcd, w_alone, []])
    found = matched_to_top(jets((0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 0, 0)), generator, 0.8)
    assert not found.any()


def test_the_quarks_of_two_tops_are_not_mixed():
    first = [(0.0, 0.0), (0.1, 0.0), (3.0, 0.0)]
    second = [(3.1, 0.0), (2.9, 0.0), (0.0, 0.1)]
    event = top(1, first)
    event += top(-1, second, offset=len(event))
    assert len(hadronic_tops(particles([event])).event) == 2
    assert not matched_to_top(jets((0, 0, 0), (0, 3, 0)), particles([event]), 0.8).any()


def test_the_distance_goes_over_the_seam_of_phi():
    quarks = [(0.0, 3.1), (0.0, -3.1), (0.0, 3.0)]
    assert matched_to_top(jets((0, 0, -3.14)), particles([top(1, quarks)]), 0.8).all()


ANGLES = st.tuples(st.floats(-1.5, 1.5), st.floats(-1.5, 1.5))


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.lists(
                st.tuples(
                    st.lists(ANGLES, min_size=3, max_size=3), st.booleans(), st.integers(0, 2)
                ),
                max_size=3,
            ),
            st.lists(ANGLES, max_size=3),
        ),
        max_size=5,
    )
)
def test_matching_is_that_of_a_loop_over_jets_and_tops(events):
    generator, jet_rows, expected = [], [], []
    for number, (tops, axes) in enumerate(events):
        event: list = []
        for quarks, leptonic, copies in tops:
            event += top(1, quarks, offset=len(event), leptonic=leptonic, copies=copies)
        generator.append(event)
        for eta, phi in axes:
            jet_rows.append((number, eta, phi))
            eta, phi = np.float32(eta), np.float32(phi)
            expected.append(
                any(
                    not leptonic
                    and all(
                        np.hypot(float(eta) - np.float32(e), float(phi) - np.float32(p)) < 0.8
                        for e, p in quarks
                    )
                    for quarks, leptonic, _ in tops
                )
            )
    found = matched_to_top(jets(*jet_rows), particles(generator), 0.8)
    assert found.tolist() == expected
