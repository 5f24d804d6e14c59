import warnings
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tokenizer.toys import SMALL, toy_jets
from treasure.errors import DataError
from treasure.store import checksums
from treasure.tokenizer.artefact import Tokenizer
from treasure.tokenizer.calibration import Calibration
from treasure.tokenizer.particles import pack


def make_tokenizer() -> Tokenizer:
    """Every parameter random: nothing is tested that only holds at the start of training."""
    tokenizer = Tokenizer(SMALL)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in tokenizer.model.parameters():
            parameter.normal_(0, 0.3, generator=generator)
        tokenizer.quantizer.vectors_.normal_(generator=generator)
    raw, _ = tokenizer.feature_set.clipped(pack(*toy_jets(100)))
    tokenizer.feature_set.fit(raw)
    tokenizer.calibration = Calibration(pt_scale=1.01, angle_scale=0.99, particle_mass=0.2)
    return tokenizer


TOKENIZER = make_tokenizer()


def test_the_result_has_the_shape_of_the_jets():
    candidates, kinematics = toy_jets(20)
    tokens = TOKENIZER.encode(candidates, kinematics)
    assert str(tokens.type) == "20 * var * int32"
    assert ak.num(tokens).tolist() == (candidates[:, :, 3] != 0).sum(axis=1).tolist()
    decoded = TOKENIZER.decode(tokens, kinematics)
    assert decoded.fields == ["px", "py", "pz", "E"]
    assert ak.num(decoded).tolist() == ak.num(tokens).tolist()
    assert str(decoded["px"].type) == "20 * var * float32"


@pytest.mark.parametrize("size", [1, 2, 127, 128, 129, 150])
def test_jets_of_any_size(size: int):
    candidates, kinematics = toy_jets(2, 3, np.array([size, 1]))
    assert ak.num(TOKENIZER.encode(candidates, kinematics)).tolist() == [size, 1]


def test_empty_jets_stay_empty():
    candidates, kinematics = toy_jets(4, 3, np.array([0, 5, 0, 0]))
    tokens = TOKENIZER.encode(candidates, kinematics)
    assert ak.num(tokens).tolist() == [0, 5, 0, 0]
    assert ak.num(TOKENIZER.decode(tokens, kinematics)).tolist() == [0, 5, 0, 0]
    none = TOKENIZER.encode(candidates[:0], kinematics[:0])
    assert len(none) == 0
    assert len(TOKENIZER.decode(none, kinematics[:0])) == 0


def test_tokens_do_not_depend_on_the_batch():
    candidates, kinematics = toy_jets(512, 4)
    together = TOKENIZER.encode(candidates, kinematics).tolist()
    order = np.random.default_rng(0).permutation(512)
    shuffled = TOKENIZER.encode(candidates[order], kinematics[order]).tolist()
    assert [together[i] for i in order] == shuffled
    for i in range(0, 512, 37):
        assert (
            TOKENIZER.encode(candidates[i : i + 1], kinematics[i : i + 1]).tolist()[0]
            == together[i]
        )


def test_tokens_do_not_depend_on_how_particles_are_sliced(monkeypatch: pytest.MonkeyPatch):
    candidates, kinematics = toy_jets(60, 4)
    tokens = TOKENIZER.encode(candidates, kinematics)
    decoded = TOKENIZER.decode(tokens, kinematics)
    monkeypatch.setattr("treasure.tokenizer.artefact._PARTICLES_AT_ONCE", 50)
    assert TOKENIZER.encode(candidates, kinematics).tolist() == tokens.tolist()
    again = TOKENIZER.decode(tokens, kinematics)
    for name in ("px", "py", "pz", "E"):
        one, other = (ak.to_numpy(ak.flatten(jets[name])) for jets in (again, decoded))
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 150))
def test_permuting_particles_permutes_tokens(seed: int, size: int):
    candidates, kinematics = toy_jets(1, seed, np.array([size]))
    order = np.random.default_rng(seed).permutation(size)
    permuted = candidates.copy()
    permuted[:, :size] = candidates[:, order]
    tokens = np.array(TOKENIZER.encode(candidates, kinematics).tolist()[0])
    assert TOKENIZER.encode(permuted, kinematics).tolist()[0] == tokens[order].tolist()


def test_tokens_do_not_depend_on_padding():
    candidates, kinematics = toy_jets(30, 6)
    tokens = TOKENIZER.encode(candidates, kinematics).tolist()
    assert TOKENIZER.encode(candidates[:, :45], kinematics).tolist() == tokens
    wide = np.zeros((30, 400, 11), dtype=np.float32)
    wide[:, 200:350] = candidates
    assert TOKENIZER.encode(wide, kinematics).tolist() == tokens


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_tokens_are_the_same_on_a_gpu(tmp_path: Path):
    TOKENIZER.save(tmp_path)
    candidates, kinematics = toy_jets(2000, 7)
    there = Tokenizer.load(tmp_path, "cuda").encode(candidates, kinematics)
    assert there.tolist() == TOKENIZER.encode(candidates, kinematics).tolist()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.integers(0, 63), max_size=20), min_size=1, max_size=5))
def test_whatever_is_decoded_lies_in_the_range_of_the_features(tokens: list[list[int]]):
    counts = np.array([len(jet) for jet in tokens])
    ids = np.array([i for jet in tokens for i in jet], dtype=np.int64)
    raw = TOKENIZER.decode_features(ids, counts)
    low, high = TOKENIZER.feature_set.limits().T
    assert ((raw >= low) & (raw <= high)).all()


def test_decoding_uses_the_axis_of_the_jet_alone():
    candidates, kinematics = toy_jets(5)
    tokens = TOKENIZER.encode(candidates, kinematics)
    other = kinematics.copy()
    other[:, 0], other[:, 3] = 1.0, 2.0
    assert TOKENIZER.decode(tokens, kinematics).tolist() == TOKENIZER.decode(tokens, other).tolist()


@pytest.mark.parametrize("bad", [-1, 64])
def test_tokens_of_another_vocabulary_are_refused(bad: int):
    with pytest.raises(DataError, match="0 to 63"):
        TOKENIZER.decode(ak.Array([[1, bad]]), np.zeros((1, 4)))


def test_a_jet_with_nan_is_refused_by_its_row():
    candidates, kinematics = toy_jets(9)
    candidates[6, 0, 0] = np.nan
    with pytest.raises(DataError, match="jet 6 of 9"):
        TOKENIZER.encode(candidates, kinematics)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_axis_that_is_no_number_is_an_error_that_names_the_jet(bad: float):
    candidates, kinematics = toy_jets(9)
    tokens = TOKENIZER.encode(candidates, kinematics)
    kinematics[6, 1] = bad
    with pytest.raises(DataError, match="jet 6 of 9 has an axis"):
        TOKENIZER.decode(tokens, kinematics)


def test_what_does_not_fit_is_said_before_it_is_decoded():
    candidates, kinematics = toy_jets(9)
    tokens = TOKENIZER.encode(candidates, kinematics)
    with pytest.raises(DataError, match=r"kinematics of shape \(9, 2\); expected pt, eta, phi"):
        TOKENIZER.decode(tokens, kinematics[:, 1:3])
    kinematics[:, 0], kinematics[:, 3] = 400.0, 80.0
    for order in ([3, 0, 1, 2], [1, 2, 0, 3]):  # pt as eta, or as phi
        with pytest.raises(DataError, match=r"jet 0 of 9 has eta .*; is kinematics pt, eta, phi"):
            TOKENIZER.decode(tokens, kinematics[:, order])
    with pytest.raises(DataError, match=r"of type 9 . int64; expected a list of ids for each jet"):
        TOKENIZER.decode(np.arange(9), kinematics)
    with pytest.raises(DataError, match="float64; expected integers, 1 a particle"):
        TOKENIZER.decode(tokens / 2, kinematics)
    assert TOKENIZER.decode(tokens.tolist(), kinematics).tolist() == (
        TOKENIZER.decode(tokens, kinematics).tolist()
    )


def test_other_units_and_other_axes_are_noticed():
    candidates, kinematics = toy_jets(50)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TOKENIZER.encode(candidates, kinematics)
        TOKENIZER.encode(candidates[:0], kinematics[:0])
    in_mev = candidates.copy()
    in_mev[:, :, :4] *= 1000
    with pytest.warns(UserWarning, match="are momenta in GeV, and is kinematics pt, eta, phi"):
        TOKENIZER.encode(in_mev, kinematics)
    with pytest.warns(UserWarning, match="particles are outside the range"):
        TOKENIZER.encode(candidates, kinematics[:, ::-1])


def test_it_says_what_it_is():
    assert repr(TOKENIZER) == (
        "Tokenizer(64 codes of log_pt, delta_eta, delta_phi,"
        f" fingerprint {TOKENIZER.fingerprint[:10]})"
    )


def test_a_place_that_is_no_folder_of_a_tokenizer_is_told(tmp_path: Path):
    TOKENIZER.save(tmp_path / "release" / "tokenizer")
    with pytest.raises(DataError, match=r"the tokenizer is .*release/tokenizer"):
        Tokenizer.load(tmp_path / "release")
    with pytest.raises(DataError, match=r"a file; a tokenizer is the folder with tokenizer\.json"):
        Tokenizer.load(tmp_path / "release" / "tokenizer" / "tokenizer.json")


def test_an_artefact_comes_back_as_it_was(tmp_path: Path):
    TOKENIZER.save(tmp_path / "a")
    loaded = Tokenizer.load(tmp_path / "a")
    candidates, kinematics = toy_jets(40, 8)
    tokens = TOKENIZER.encode(candidates, kinematics)
    assert loaded.encode(candidates, kinematics).tolist() == tokens.tolist()
    assert (
        loaded.decode(tokens, kinematics).tolist() == TOKENIZER.decode(tokens, kinematics).tolist()
    )
    assert loaded.fingerprint == TOKENIZER.fingerprint
    assert loaded.features == ("log_pt", "delta_eta", "delta_phi")
    assert loaded.vocabulary_size == 64
    codebook = np.load(tmp_path / "a" / "codebook.npz")["codebook"]
    np.testing.assert_array_equal(codebook, TOKENIZER.codebook)
    loaded.save(tmp_path / "b")
    for name in ("tokenizer.json", "tokenizer.safetensors", "codebook.npz"):
        assert checksums(tmp_path / "a" / name) == checksums(tmp_path / "b" / name)


@settings(max_examples=15, deadline=None)
@given(
    st.sampled_from(["tokenizer.json", "tokenizer.safetensors", "codebook.npz"]), st.floats(0, 1)
)
def test_a_flipped_bit_is_refused_by_the_name_of_the_file(
    tmp_path_factory: pytest.TempPathFactory, name: str, place: float
):
    directory = tmp_path_factory.mktemp("artefact")
    TOKENIZER.save(directory)
    data = bytearray((directory / name).read_bytes())
    position = min(int(place * len(data)), len(data) - 1)
    if name.endswith(".json") and chr(data[position]).isspace():
        return  # white space between values means nothing
    data[position] ^= 1
    (directory / name).write_bytes(bytes(data))
    with pytest.raises(DataError, match=name.partition(".")[0]):
        Tokenizer.load(directory)


def test_a_missing_file_or_one_of_another_artefact_is_refused(tmp_path: Path):
    TOKENIZER.save(tmp_path / "a")
    other = make_tokenizer()
    other.quantizer.vectors_.zero_()
    other.save(tmp_path / "b")
    (tmp_path / "a" / "codebook.npz").unlink()
    with pytest.raises(DataError, match=r"codebook\.npz: missing"):
        Tokenizer.load(tmp_path / "a")
    (tmp_path / "b" / "codebook.npz").replace(tmp_path / "a" / "codebook.npz")
    with pytest.raises(DataError, match=r"codebook\.npz: damaged"):
        Tokenizer.load(tmp_path / "a")


def test_the_fingerprint_knows_what_changes_tokens_and_nothing_else():
    tokenizer = make_tokenizer()
    before = tokenizer.fingerprint
    tokenizer.provenance = {"made": "otherwise"}
    assert tokenizer.fingerprint == before
    tokenizer.quantizer.vectors_[3, 0] += 0.5
    assert tokenizer.fingerprint != before
