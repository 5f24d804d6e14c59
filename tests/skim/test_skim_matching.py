import math

import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from treasure.skim.matching import DECAYS, matched
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


def find(kind: str, events, *axes, radius: float = 0.8) -> list[bool]:
    generator = particles(events)
    return matched(jets(*axes), generator, DECAYS[kind](generator), radius).tolist()


def chain(pdg: int, emitted: int, copies: int, mother: int, offset: int):
    """A particle that emits `copies` times, as Pythia writes it: each time it and what it emits."""
    event = [(pdg, mother, 0.0, 0.0)]
    for _ in range(copies):
        last = offset + max(i for i, p in enumerate(event) if p[0] == pdg)
        event += [(emitted, last, 2.0, 0.0), (pdg, last, 0.0, 0.0)]
    return event


def boson(pdg: int, daughters, *, mother: int = -1, offset: int = 0, copies: int = 0):
    """A boson (after photons), and its daughters as (pdgId, eta, phi)."""
    event = chain(pdg, 22, copies, mother, offset)
    last = offset + len(event) - 1
    return [*event, *((p, last, eta, phi) for p, eta, phi in daughters)]


def top(sign: int, quarks, *, offset: int = 0, copies: int = 0, leptonic: bool = False):
    """A top (after gluons), its quark, its W (after photons), and q q' or l nu."""
    event = chain(6 * sign, 21, copies, -1, offset)
    last = offset + len(event) - 1
    event += [(5 * sign, last, *quarks[0])]
    kinds = (-11 * sign, 12 * sign) if leptonic else (2 * sign, -1 * sign)
    daughters = [(k, *q) for k, q in zip(kinds, quarks[1:], strict=True)]
    w_starts = offset + len(event)
    return event + boson(24 * sign, daughters, mother=last, offset=w_starts, copies=copies)


CLOSE = [(0.1, 0.1), (-0.2, 0.3), (0.3, -0.1)]
PAIR = [(0.1, 0.1), (-0.2, 0.3)]


def pair(first: int, second: int, where=PAIR):
    return [(kind, *at) for kind, at in zip((first, second), where, strict=True)]


def test_all_three_quarks_of_a_top_must_be_inside():
    far = [*CLOSE[:2], (0.9, 0.0)]
    events = [top(1, CLOSE), top(-1, far), top(1, CLOSE, copies=3)]
    found = find("top", events, (0, 0, 0), (0, 2.0, 0), (1, 0, 0), (2, 0, 0))
    assert found == [True, False, False, True]


def test_leptonic_tops_events_without_tops_and_quarks_of_others_do_not_match():
    qcd = [(21, -1, 0.0, 0.0), *((q, 0, 0.1, 0.1) for q in (1, -1, 5))]
    w_alone = [(24, -1, 0.0, 0.0), (2, 0, 0.1, 0.1), (-1, 0, 0.0, 0.0), (5, -1, 0.0, 0.0)]
    events = [top(1, CLOSE, leptonic=True), qcd, w_alone, []]
    assert not any(find("top", events, *((n, 0, 0) for n in range(4))))


def test_the_quarks_of_two_tops_are_not_mixed():
    first = [(0.0, 0.0), (0.1, 0.0), (3.0, 0.0)]
    second = [(3.1, 0.0), (2.9, 0.0), (0.0, 0.1)]
    event = top(1, first)
    event += top(-1, second, offset=len(event))
    assert len(DECAYS["top"](particles([event])).event) == 2
    assert not any(find("top", [event], (0, 0, 0), (0, 3, 0)))


def test_the_distance_goes_over_the_seam_of_phi():
    quarks = [(0.0, 3.1), (0.0, -3.1), (0.0, 3.0)]
    assert find("top", [top(1, quarks)], (0, 0, -3.14)) == [True]


@pytest.mark.parametrize("copies", [0, 1, 5])
@pytest.mark.parametrize(("kind", "pdg"), [("W", 24), ("W", -24), ("Z", 23), ("H", 25)])
def test_bosons_match_by_both_quarks(kind, pdg, copies):
    events = [
        boson(pdg, pair(1, -2), copies=copies),
        boson(pdg, pair(1, -2, [(0.1, 0.1), (0.9, 0.0)]), copies=copies),
        boson(pdg, pair(11, -12), copies=copies),
        boson(pdg, pair(15, -15), copies=copies),
    ]
    axes = [(n, 0.0, 0.0) for n in range(4)]
    assert find(kind, events, *axes) == [True, False, False, False]
    assert find(kind, events, *axes, radius=1.0) == [True, True, False, False]
    for other in set(DECAYS) - {kind}:
        assert not any(find(other, events, *axes))


def test_a_higgs_decays_to_quarks_or_gluons():
    to_ww = [(25, -1, 0.0, 0.0), (24, 0, 0.0, 0.0), (-24, 0, 0.0, 0.0)]
    to_ww += [(q, w, 0.1, 0.1) for w in (1, 2) for q in (1, -2)]
    events = [
        boson(25, pair(5, -5)), boson(25, pair(4, -4)), boson(25, pair(21, 21)),
        boson(25, pair(22, 22)), boson(25, [*pair(5, -5), (21, 3.0, 0.0)]),
        boson(25, [*pair(21, 21), (21, 0.0, 0.0)]), to_ww,
        boson(25, [*pair(21, 21), (5, 0.0, 0.0)]),
        boson(25, [(5, 2.0, 0.0), (-5, 2.1, 0.0), *pair(21, 21)]),
    ]  # fmt: skip
    axes = [(n, 0, 0) for n in range(len(events))]
    assert find("H", events, *axes) == [True, True, True, False, True] + [False] * 4
    assert find("W", events, *axes) == [False] * 6 + [True, False, False]
    assert find("H", events, (8, 2.0, 0.0)) == [True]
    assert not any(find("Z", [boson(23, pair(21, 21))], (0, 0, 0)))


def test_a_top_without_its_quark_or_with_two_is_none():
    event = top(1, CLOSE)
    last_top = event[1][1]
    without, two = [*event], [*event, (3, last_top, 0.0, 0.0)]
    without[1] = (-11, *event[1][1:])
    two_ws = [*event, *boson(24, pair(4, -3), mother=last_top, offset=len(event))]
    axes = [(n, 0, 0) for n in range(3)]
    assert find("top", [without, two, two_ws], *axes) == [False, False, False]
    assert find("W", [without, two, two_ws], *axes) == [True, True, True]


def test_a_w_whose_top_is_in_the_jet_as_a_whole_is_not_a_w():
    b_is_far = [(2.0, 0.0), *PAIR]
    events = [top(1, CLOSE, copies=1), top(-1, b_is_far, copies=2)]
    assert find("W", events, (0, 0, 0), (1, 0, 0)) == [False, True]
    assert find("top", events, (0, 0, 0), (1, 0, 0)) == [True, False]
    # the bottom quark of the other top, or of nobody, does not make it one
    event = [*top(1, b_is_far), (5, -1, 0.0, 0.0)]
    event += top(-1, [(0.0, 0.0), (2.0, 2.0), (2.1, 2.0)], offset=len(event))
    assert find("W", [event], (0, 0, 0), (0, 2.0, 2.0)) == [True, True]


def test_what_pruning_hangs_on_an_earlier_copy_is_not_of_the_decay():
    # W → W γ*, γ* → d d~, of which pruning leaves d and d~ as daughters of the first W.
    event = [(24, -1, 0, 0), (1, 0, 0.0, 0.0), (-1, 0, 0.0, 0.1), (24, 0, 0, 0)]
    event += [(2, 3, 2.0, 0.0), (-1, 3, 2.1, 0.0), (2, 4, 2.0, 0.1)]  # the last: u → u (g)
    assert find("W", [event], (0, 0.0, 0.0), (0, 2.0, 0.0)) == [False, True]


def test_mothers_may_come_after_their_daughters():
    event = [(2, 4, 0.1, 0.1), (-1, 4, 0.0, 0.0), (5, 3, 0.0, 0.2), (6, -1, 0, 0), (24, 3, 0, 0)]
    assert find("top", [[], event], (1, 0, 0)) == [True]


def test_a_record_that_bites_its_tail_ends():
    event = [(24, 1, 0.0, 0.0), (24, 0, 0.0, 0.0), (6, 2, 0.0, 0.0), (1, 1, 0.0, 0.0)]
    assert find("top", [event], (0, 0, 0)) == find("W", [event], (0, 0, 0)) == [False]


# The definitions as loops over one event.


def is_quark(kind: int) -> bool:
    return 1 <= abs(kind) <= 5


def daughters_of(event, parent: int) -> list[int]:
    return [i for i, (_, mother, *_) in enumerate(event) if mother == parent]


def emits_only(event, number: int) -> bool:
    return any(event[i][0] == event[number][0] for i in daughters_of(event, number))


def ancestor_of_another_kind(event, number: int) -> int:
    mother = event[number][1]
    while mother >= 0 and event[mother][0] == event[number][0]:
        mother = event[mother][1]
    return mother


def two_quarks(event, parent: int) -> list[int]:
    found = [i for i in daughters_of(event, parent) if is_quark(event[i][0])]
    return found if len(found) == 2 else []


def loop_top(event, number: int) -> list[int]:
    """Quark of the top, and quarks of its W; nothing where it is no hadronic top."""
    quarks = [i for i in daughters_of(event, number) if is_quark(event[i][0])]
    ws = [
        i
        for i, p in enumerate(event)
        if abs(p[0]) == 24
        and not emits_only(event, i)
        and two_quarks(event, i)
        and ancestor_of_another_kind(event, i) == number
    ]
    return quarks + two_quarks(event, ws[0]) if len(quarks) == len(ws) == 1 else []


def loop_match(kind: str, event, eta: float, phi: float, radius: float) -> bool:
    def inside(i: int) -> bool:
        d_eta = float(np.float32(eta)) - float(np.float32(event[i][2]))
        d_phi = float(np.float32(phi)) - float(np.float32(event[i][3]))
        d_phi = math.atan2(math.sin(d_phi), math.cos(d_phi))
        return math.sqrt(d_eta * d_eta + d_phi * d_phi) < radius

    heavy = {"top": 6, "W": 24, "Z": 23, "H": 25}[kind]
    for number, (pdg, *_) in enumerate(event):
        if abs(pdg) != heavy or emits_only(event, number):
            continue
        if kind == "top":
            partons = loop_top(event, number)
        else:
            partons = two_quarks(event, number)
            gluons = [i for i in daughters_of(event, number) if abs(event[i][0]) == 21]
            no_quark = not any(is_quark(event[i][0]) for i in daughters_of(event, number))
            if kind == "H" and no_quark and len(gluons) == 2:
                partons = gluons
        if not partons or not all(inside(i) for i in partons):
            continue
        if kind == "W":
            above = ancestor_of_another_kind(event, number)
            if above >= 0 and abs(event[above][0]) == 6 and not emits_only(event, above):
                whole = loop_top(event, above)
                if whole and all(inside(i) for i in whole):
                    continue
        return True
    return False


@st.composite
def trees(draw):
    """Any tree, mostly of the kinds that matter, with first copies and last."""
    event = []
    for i in range(draw(st.integers(0, 14))):
        kind = draw(st.sampled_from([6, 6, 24, 24, 24, 23, 25, 25, 5, 2, 1, 21, 11]))
        sign = draw(st.sampled_from([1, 1, -1])) if kind not in (21, 23, 25) else 1
        heavy = [k for k, p in enumerate(event) if abs(p[0]) in (6, 23, 24, 25)]
        mother = draw(st.sampled_from(heavy) if heavy else st.integers(-1, i - 1))
        event.append((kind * sign, mother, *draw(ANGLES)))
    return event


@st.composite
def decays(draw):
    """Several decays in one event, as generators make them."""
    event = []
    for _ in range(draw(st.integers(0, 3))):
        copies, offset = draw(st.integers(0, 2)), len(event)
        where = draw(st.lists(ANGLES, min_size=3, max_size=3))
        if draw(st.booleans()):
            event += top(
                draw(st.sampled_from([1, -1])), where,
                copies=copies, offset=offset, leptonic=draw(st.booleans()),
            )  # fmt: skip
        else:
            two = draw(st.sampled_from([(1, -2), (5, -5), (21, 21), (11, -11)]))
            event += boson(
                draw(st.sampled_from([23, 24, -24, 25])), pair(*two, where[:2]),
                copies=copies, offset=offset,
            )  # fmt: skip
    return event


ANGLES = st.tuples(st.floats(-1, 1), st.floats(-math.pi, math.pi) | st.floats(-0.5, 0.5))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(trees() | decays(), st.lists(ANGLES, max_size=3)), max_size=4))
def test_matching_is_that_of_loops(events):
    generator = particles([event for event, _ in events])
    axes = [(n, *axis) for n, (_, of_event) in enumerate(events) for axis in of_event]
    for kind in DECAYS:
        found = matched(jets(*axes), generator, DECAYS[kind](generator), 0.8)
        expected = [loop_match(kind, events[n][0], eta, phi, 0.8) for n, eta, phi in axes]
        assert found.tolist() == expected


def read_events(path):
    tree = uproot.open(path)["Events"]
    names = ["GenPart_pdgId", "GenPart_genPartIdxMother", "GenPart_eta", "GenPart_phi"]
    columns = tree.arrays([*names, "GenPart_statusFlags", "FatJet_eta", "FatJet_phi"], library="np")
    events = [
        list(zip(*one, strict=True)) for one in zip(*(columns[n] for n in names), strict=True)
    ]
    axes = [
        (n, eta, phi)
        for n, pair in enumerate(zip(columns["FatJet_eta"], columns["FatJet_phi"], strict=True))
        for eta, phi in zip(*pair, strict=True)
    ]
    return events, axes, columns


IS_LAST_COPY = 13  # bit of NanoAOD's statusFlags


@pytest.mark.parametrize("sample", ["layout_a_qcd_mc", "layout_c_qcd_mc", "layout_d_ttbar_mc"])
def test_matching_in_cms_simulation(shared, sample):
    events, axes, columns = read_events(shared / "data" / "pfnano" / f"{sample}.root")
    # Jets that exist, and axes at the particles themselves, of which many do hold decays.
    heavy = (6, 23, 24, 25)
    axes += [(n, p[2], p[3]) for n, event in enumerate(events) for p in event if abs(p[0]) in heavy]
    axes.sort(key=lambda axis: axis[0])
    generator = particles(events)
    for kind, radius in (("top", 0.8), ("W", 0.8), ("Z", 0.8), ("H", 0.8), ("top", 2), ("W", 1.5)):
        found = matched(jets(*axes), generator, DECAYS[kind](generator), radius).tolist()
        expected = [loop_match(kind, events[n], eta, phi, radius) for n, eta, phi in axes]
        assert found == expected
        is_ttbar = sample == "layout_d_ttbar_mc" and kind in ("top", "W")
        assert any(found) == is_ttbar
    # What the experiment flags as the last copy, by another way: every top and W of this sample
    # decays to quarks.
    flagged = sum(
        int(np.count_nonzero((np.abs(pdg) == 6) & (flags >> IS_LAST_COPY & 1)))
        for pdg, flags in zip(columns["GenPart_pdgId"], columns["GenPart_statusFlags"], strict=True)
    )
    assert len(DECAYS["top"](generator).event) == flagged
