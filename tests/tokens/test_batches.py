from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from treasure.errors import ConfigError, DataError
from treasure.tokens.batches import Padding, Specials, packed, padded
from treasure.tokens.rows import TokenRows

JETS = st.lists(st.lists(st.integers(0, 99), max_size=12), min_size=1, max_size=12)
SPECIALS = st.sampled_from([[], ["bos"], ["eos"], ["bos", "eos"]])


def rows(jets: list[list], codebooks: int = 1) -> TokenRows:
    flat = np.array([t for jet in jets for t in jet], dtype=np.int32)
    if codebooks > 1:
        flat = np.stack([flat + 100 * book for book in range(codebooks)], axis=1)
    counts = np.array([len(jet) for jet in jets])
    labels = {"label": np.arange(len(jets), dtype=np.int32)}
    return TokenRows(flat, np.cumsum(counts) - counts, counts, labels)


def lists(rows: TokenRows) -> list[list[int]]:
    ends = rows.starts + rows.counts
    return [rows.tokens[a:b].tolist() for a, b in zip(rows.starts, ends, strict=True)]


def framed(jet: list[int], specials: Specials) -> list[int]:
    before = [] if specials.bos is None else [specials.bos]
    return before + jet + ([] if specials.eos is None else [specials.eos])


@settings(max_examples=100, deadline=None)
@given(JETS, SPECIALS, st.integers(1, 2), st.integers(1, 8))
def test_padding_is_what_it_is_by_hand(jets, names, codebooks, multiple):
    specials = Specials.of(names, 500)
    found = padded(rows(jets, codebooks), specials, Padding(multiple_of=multiple))
    expected = [framed(jet, specials) for jet in jets]
    length = max(1, *(len(jet) for jet in expected), 1)
    length += -length % multiple
    tokens = found["tokens"] if codebooks == 1 else found["tokens"][..., 0]
    assert tokens.dtype == np.int64
    assert tokens.tolist() == [jet + [specials.pad] * (length - len(jet)) for jet in expected]
    assert found["mask"].tolist() == [
        [slot < len(jet) for slot in range(length)] for jet in expected
    ]
    if codebooks == 2:
        second = found["tokens"][..., 1]
        is_code = tokens < 500
        assert (second[is_code] == tokens[is_code] + 100).all()
        assert (second[~is_code] == tokens[~is_code]).all()


@settings(max_examples=100, deadline=None)
@given(JETS, SPECIALS, st.integers(1, 2))
def test_packing_is_what_it_is_by_hand(jets, names, codebooks):
    specials = Specials.of(names, 500)
    found = packed(rows(jets, codebooks), specials)
    tokens = found["tokens"] if codebooks == 1 else found["tokens"][:, 0]
    offsets = found["offsets"]
    assert [tokens[a:b].tolist() for a, b in pairwise(offsets)] == [
        framed(jet, specials) for jet in jets
    ]


@settings(max_examples=100, deadline=None)
@given(JETS, st.data())
def test_jets_are_taken_and_sliced_as_lists_are(jets, data):
    table = rows(jets)
    chosen = data.draw(st.lists(st.integers(0, len(jets) - 1), max_size=20))
    taken = table.take(np.array(chosen, dtype=np.int64))
    for found in (taken, taken.compact()):
        assert lists(found) == [jets[number] for number in chosen]
        assert found.columns["label"].tolist() == chosen
    assert len(taken.compact().tokens) == sum(len(jets[number]) for number in chosen)
    half = len(jets) // 2
    joined = TokenRows.joined([table.slice(half, len(jets)), taken.compact(), table.slice(0, half)])
    assert lists(joined) == jets[half:] + lists(taken) + jets[:half]


def test_jets_of_a_given_length():
    jets, specials = rows([[1, 2, 3], [4]]), Specials.of(["bos", "eos"], 10)
    with pytest.raises(DataError, match="a jet of 5 tokens, special ones included, but pad_to is"):
        padded(jets, specials, Padding(to=4))
    found = padded(jets, specials, Padding(to=4, cut=True))
    assert found["tokens"].tolist() == [[11, 1, 2, 12], [11, 4, 12, 10]]
    found = padded(jets, specials, Padding(to=6))
    assert found["tokens"].tolist() == [[11, 1, 2, 3, 12, 10], [11, 4, 12, 10, 10, 10]]
    with pytest.raises(ConfigError, match="no room for bos and eos"):
        padded(jets, specials, Padding(to=1, cut=True))
    for wrong in ({"to": 0}, {"multiple_of": 0}):
        with pytest.raises(ConfigError, match="expected at least 1"):
            Padding(**wrong)


def test_special_tokens_have_ids_after_the_codes():
    assert Specials.of([], 8192).ids == {"pad": 8192}
    assert Specials.of(["eos", "bos"], 8192).ids == {"pad": 8192, "bos": 8193, "eos": 8194}
    assert Specials.of({"bos": 9000}, 8192).ids == {"pad": 9001, "bos": 9000}
    assert Specials.of({"pad": -100, "eos": 8192}, 8192).ids == {"pad": -100, "eos": 8192}


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (["start"], "special token 'start'"),
        ("bos", "special token 'bos'; expected a list"),
        ({"pad": 0}, "pad of id 0, which is a code"),
        ({"bos": 8191}, "bos of id 8191, which is a code"),
        ({"bos": 8192, "eos": 8192}, "the same id"),
        ({"pad": "x"}, "of id 'x'; expected a whole number"),
    ],
)
def test_special_tokens_that_cannot_be_are_refused(wanted, message):
    with pytest.raises(ConfigError, match=message):
        Specials.of(wanted, 8192)
