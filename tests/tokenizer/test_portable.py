"""Without torch: the program that an artefact carries gives the tokens of the package."""

import importlib.util
import json
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import awkward as ak
import h5py
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.conftest import HOME
from tests.tokenizer.toys import toy_jets
from treasure.config.tokenizer import TokenizerConfig
from treasure.release.tokenizer import copy_tokenizer
from treasure.store import checksums, fingerprint
from treasure.tokenizer import portable
from treasure.tokenizer.artefact import Tokenizer
from treasure.tokenizer.calibration import Calibration
from treasure.tokenizer.model import DeepSets
from treasure.tokenizer.particles import pack
from treasure.tokenizer.quantizer import VectorQuantizer

pytest.importorskip("onnxruntime", reason="needs the extra `onnx`")


def made(seed: int = 1, **sections: Any) -> Tokenizer:
    """Every parameter random, codes among the toy jets' particles."""
    tokenizer = Tokenizer(TokenizerConfig.model_validate(sections))
    generator = torch.Generator().manual_seed(seed)
    features = tokenizer.feature_set
    raw, _ = features.clipped(pack(*toy_jets(400, seed)))
    features.fit(raw)
    columns = torch.from_numpy(features.standardise(raw).astype(np.float32))
    tokenizer.model.initialise(generator)
    with torch.no_grad():
        for parameter in tokenizer.model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
        owner = torch.zeros(len(columns), dtype=torch.int64)
        latent = tokenizer.model.encode(columns, owner, 1)
        tokenizer.quantizer.start(latent, torch.ones(len(latent)), generator)
        for name in ("scale", "shift"):
            if hasattr(tokenizer.quantizer, name):
                getattr(tokenizer.quantizer, name).normal_(0, 0.01, generator=generator)
    tokenizer.calibration = Calibration(pt_scale=1.01, angle_scale=0.99, particle_mass=0.2)
    return tokenizer


_ALONE = {"width": 16, "decoder_context": 0}
_QUICK = {"kmeans_iterations": 1}
CASES = {
    "vq_constrained": {
        "model": _ALONE,
        "quantizer": {"codes": 3000, **_QUICK},
        "jet_constraint": {"candidates": 8},
    },
    "vq_context": {
        "model": {"width": 16, "encoder_context": 4, "decoder_context": 4},
        "quantizer": {"codes": 500, **_QUICK},
    },
    "kmeans": {
        "model": {"kind": "identity"},
        "quantizer": {"kind": "kmeans", "codes": 300, "dimension": 3, **_QUICK},
        "jet_constraint": {"candidates": 4, "sweeps": 5, "strength": 1000.0, "pt_weight": 0.5},
    },
    "rvq_constrained": {
        "model": _ALONE,
        "quantizer": {"kind": "rvq", "codes": 64, "codebooks": 3, **_QUICK},
        "jet_constraint": {"candidates": 8},
    },
    "rvq_context": {"quantizer": {"kind": "rvq", "codes": 64, "codebooks": 2, **_QUICK}},
    "vq_gradient": {
        "model": _ALONE,
        "quantizer": {"kind": "vq_gradient", "codes": 600, **_QUICK},
        "jet_constraint": {"candidates": 8},
    },
    "omnijet": {
        "model": {"kind": "normformer", "width": 16, "heads": 4, "blocks": 2, "mlp_width": 24},
        "quantizer": {"kind": "vq_gradient", "codes": 500, **_QUICK},
    },
    "normformer_alone": {
        "model": {"kind": "normformer", "width": 8, "heads": 2, "blocks": 2, "attention": False},
        "quantizer": {"codes": 500, **_QUICK},
        "jet_constraint": {"candidates": 8},
    },
    "fsq": {
        "model": {"width": 16, "decoder_context": 4},
        "quantizer": {"kind": "fsq", "levels": [8, 5, 4, 3]},
    },
    "binning": {
        "model": {"kind": "identity"},
        "quantizer": {"kind": "binning", "levels": [30, 10, 9]},
    },
    "binning_apart": {
        "model": {"kind": "identity"},
        "quantizer": {"kind": "binning", "levels": [200, 100, 60]},
    },
    "few_codes": {
        "model": _ALONE,
        "quantizer": {"codes": 5, **_QUICK},
        "jet_constraint": {"candidates": 8},
    },
    "many_dimensions": {"model": _ALONE, "quantizer": {"codes": 600, "dimension": 12, **_QUICK}},
}


class Own(VectorQuantizer):
    """Of one's own: whatever it does, portable.py does not know it."""


class OwnModel(DeepSets):
    """The same."""


@pytest.fixture(scope="module", params=CASES)
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Tokenizer, portable.Tokenizer]:
    tokenizer = made(**CASES[request.param])
    directory = tmp_path_factory.mktemp(request.param)
    tokenizer.save(directory)
    return tokenizer, copied(directory).Tokenizer(directory)


def copied(directory: Path) -> ModuleType:
    """The program that lies beside the artefact, imported from there."""
    spec = importlib.util.spec_from_file_location("copied_portable", directory / "portable.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def same(both: tuple[Tokenizer, Any], candidates: Any, kinematics: Any) -> None:
    tokenizer, alone = both
    tokens = tokenizer.encode(candidates, kinematics)
    ids, counts = alone.encode(candidates, kinematics)
    assert counts.tolist() == ak.num(tokens).tolist()
    flat = ak.to_numpy(ak.flatten(tokens))
    assert ids.dtype == np.int32
    np.testing.assert_array_equal(ids, flat.reshape(ids.shape))
    momenta = alone.decode(ids, counts, kinematics[:, 1:3])
    decoded = tokenizer.decode(tokens, kinematics)
    assert momenta.dtype == np.float32
    size = np.abs(momenta[:, 3])
    for axis, name in enumerate(("px", "py", "pz", "E")):
        expected = ak.to_numpy(ak.flatten(decoded[name])).astype(np.float64)
        assert (np.abs(momenta[:, axis] - expected) <= 1e-5 * size + 1e-6).all()


def test_tokens_are_those_of_the_package(both):
    same(both, *toy_jets(300, 3))


@settings(max_examples=10, deadline=None)
@given(
    st.integers(0, 10_000),
    st.lists(st.sampled_from([0, 1, 2, 3, 50, 127, 128, 129, 150]), max_size=6),
)
@example(0, [0])
@example(0, [])
def test_tokens_are_the_same_for_jets_of_any_size(both, seed: int, sizes: list[int]):
    same(both, *toy_jets(len(sizes), seed, np.array(sizes, dtype=np.int64)))


def test_tokens_are_the_same_for_particles_out_of_range(both):
    candidates, kinematics = toy_jets(50, 5)
    candidates[::3, 0, :4] = [0.0, 0.0, 40.0, 40.0]  # along the beam
    candidates[1::3, 1, :3] *= 1e6
    candidates[2::3, 2, :2] *= -1.0  # on the other side
    candidates[4, 3, :3] = 0.0
    kinematics[::5, 2] += 2 * np.pi
    same(both, candidates, kinematics)


def test_equal_particles_get_the_same_tokens(both):
    candidates, kinematics = toy_jets(20, 6)
    candidates[:, 1:4, :4] = candidates[:, :1, :4]
    same(both, candidates, kinematics)


def test_a_jet_does_not_depend_on_the_others(both, monkeypatch: pytest.MonkeyPatch):
    _, alone = both
    candidates, kinematics = toy_jets(40, 7)
    together, counts = alone.encode(candidates, kinematics)
    own_module = alone.encode.__func__.__globals__
    for name, number in (("_ROWS_AT_ONCE", 7), ("_ROWS_OF_JETS", 7), ("_PARTICLES_AT_ONCE", 50)):
        assert name in own_module
        monkeypatch.setitem(own_module, name, number)
    np.testing.assert_array_equal(alone.encode(candidates, kinematics)[0], together)
    for jet in range(0, 40, 13):
        first = int(counts[:jet].sum())
        own = alone.encode(candidates[jet : jet + 1], kinematics[jet : jet + 1])[0]
        np.testing.assert_array_equal(own, together[first : first + counts[jet]])


def test_tokens_of_the_demos_jets_are_the_same(tmp_path: Path):
    store = Path(os.environ.get("TREASURE_STORE") or HOME / "data") / "demo" / "WriteH5"
    files = sorted(store.glob("ttbar/**/*.h5"))
    if not files:
        pytest.skip(f"needs the demo's jets in {store}")
    with h5py.File(files[0]) as file:
        candidates, kinematics = file["PFCands"][:500], file["jet_kinematics"][:500]
    tokenizer = made(**CASES["vq_constrained"])
    tokenizer.save(tmp_path)
    same((tokenizer, portable.Tokenizer(tmp_path)), candidates, kinematics)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40), st.sampled_from([3, 90, 700, 2500]))
def test_the_nearest_codes_are_found_among_all(seed: int, wanted: int, codes: int):
    rng = np.random.default_rng(seed)
    # clusters, lines and equal codes: cells that are empty, crowded or far
    vectors = rng.normal(size=(codes, 3)) * rng.choice([0.01, 1.0], (codes, 1))
    vectors[: codes // 4, 1:] = 0.0
    vectors[codes // 2 :: 7] = vectors[0]
    points = np.concatenate([rng.normal(size=(60, 3)), 50.0 * rng.normal(size=(4, 3)), vectors[:9]])
    found = portable._Nearest(vectors)(points, wanted)
    assert (np.diff(np.unique(found[0], return_counts=True)[1]) == 0).all()
    unique = np.unique(vectors, axis=0)
    distance = np.sqrt(np.square(points[:, None] - unique).sum(axis=2))
    expected = np.sort(distance, axis=1)[:, : min(wanted, len(unique))]
    got = np.sqrt(np.square(points[:, None] - vectors[found]).sum(axis=2))
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-7)
    assert (vectors[found[:, 0]][:, None] == vectors).all(axis=2).argmax(axis=1).tolist() == found[
        :, 0
    ].tolist()  # of equal codes the first


def test_the_same_parameters_give_the_same_bytes(tmp_path: Path):
    for name in ("a", "b"):
        made(**CASES["vq_context"]).save(tmp_path / name)
    for name in ("encoder.onnx", "decoder.onnx", "portable.py", "tokenizer.json"):
        assert checksums(tmp_path / "a" / name) == checksums(tmp_path / "b" / name)


@pytest.mark.parametrize("name", ["encoder.onnx", "decoder.onnx", "codebook.npz"])
def test_a_damaged_or_swapped_file_is_refused_by_its_name(name: str, tmp_path: Path):
    for seed, folder in ((1, "a"), (2, "b")):
        made(seed, **CASES["vq_constrained"]).save(tmp_path / folder)
    path = tmp_path / "a" / name
    whole = path.read_bytes()
    middle = len(whole) // 2
    damaged = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    for data in (damaged, whole[:-1], (tmp_path / "b" / name).read_bytes()):
        path.write_bytes(data)
        with pytest.raises(portable.DataError, match=f"{name}: damaged"):
            portable.Tokenizer(tmp_path / "a")
        with pytest.raises(Exception, match=f"{name}: damaged"):
            Tokenizer.load(tmp_path / "a")
    path.unlink()
    with pytest.raises(portable.DataError, match=f"{name}: No such file"):
        portable.Tokenizer(tmp_path / "a")


def test_a_release_has_what_is_needed_without_torch(tmp_path: Path):
    tokenizer = made(**CASES["vq_constrained"])
    tokenizer.save(tmp_path / "a")
    copy_tokenizer(tmp_path / "a", tmp_path / "release")
    released = tmp_path / "release" / "tokenizer"
    assert (released / "README.md").is_file()
    same((tokenizer, copied(released).Tokenizer(released)), *toy_jets(5))


def test_an_artefact_from_before_is_loaded_without_its_graphs(tmp_path: Path):
    tokenizer = made(**CASES["vq_context"])
    tokenizer.save(tmp_path)
    path = tmp_path / "tokenizer.json"
    content = json.loads(path.read_text())
    del content["checksum"]
    for name in ("encoder.onnx", "decoder.onnx", "portable.py"):
        del content["files"][name]
        (tmp_path / name).unlink()
    path.write_text(json.dumps({**content, "checksum": fingerprint(content)}))
    assert Tokenizer.load(tmp_path).fingerprint == tokenizer.fingerprint
    with pytest.raises(portable.DataError, match=r"encoder\.onnx: not among the files"):
        portable.Tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("sections", "kind"),
    [
        ({"features": {"kind": "particle_flow"}, "quantizer": {"codes": 8}}, "particle_flow"),
        ({"quantizer": {"kind": "tests.tokenizer.test_portable:Own"}}, "Own"),
        ({"model": {"kind": "tests.tokenizer.test_portable:OwnModel"}}, "OwnModel"),
    ],
)
def test_what_needs_torch_is_saved_without_graphs(sections, kind: str, tmp_path: Path):
    tokenizer = Tokenizer(TokenizerConfig.model_validate(sections))
    tokenizer.save(tmp_path)
    assert not list(tmp_path.glob("*.onnx"))
    Tokenizer.load(tmp_path)
    with pytest.raises(portable.DataError, match=f"of kind .*{kind}|not among the files"):
        portable.Tokenizer(tmp_path)


def test_what_is_wrong_with_an_array_is_said(both):
    _, alone = both
    refused = alone.encode.__func__.__globals__["DataError"]
    candidates, kinematics = toy_jets(9)
    with pytest.raises(refused, match="candidates of shape"):
        alone.encode(candidates[:, :, :3], kinematics)
    with pytest.raises(refused, match="for 9 jets"):
        alone.encode(candidates, kinematics[:4])
    candidates[6, 0, 0] = np.nan
    with pytest.raises(refused, match="jet 6 of 9"):
        alone.encode(candidates, kinematics)
    ids, counts = alone.encode(candidates[:3], kinematics[:3])
    axes = kinematics[:3, 1:3]
    for bad in (-1, alone.vocabulary_size):
        wrong = ids.copy()
        wrong[2] = bad
        with pytest.raises(refused, match=f"0 to {alone.vocabulary_size - 1}"):
            alone.decode(wrong, counts, axes)
    with pytest.raises(refused, match="counts say"):
        alone.decode(ids[:-1], counts, axes)
    with pytest.raises(refused, match="expected integers"):
        alone.decode(ids.astype(float), counts, axes)
    with pytest.raises(refused, match="counts of shape"):
        alone.decode(ids, counts, axes[:2])
    with pytest.raises(refused, match="no eta and phi of jets; expected the columns eta, phi"):
        alone.decode(ids, counts, kinematics[:3, 0:2] + 400)
