import json

import awkward as ak
import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.tokenizer.toys import toy_jets, write_table
from treasure.config.tokenizer import FeatureConfig, TokenizerConfig
from treasure.errors import ConfigError, DataError
from treasure.tokenizer.artefact import Tokenizer
from treasure.tokenizer.jetdata import read_jets
from treasure.tokenizer.particle_flow import CLASSES, ParticleFlow
from treasure.tokenizer.particles import pack
from treasure.tokenizer.train import train_tokenizer

D0, D0_ERR, DZ, DZ_ERR, CHARGE, PDG_ID, PUPPI = range(4, 11)


def cms_like(jets: int, seed: int = 0):
    """Toy jets with all columns as a jet table of CMS has them, sentinels included."""
    candidates, kinematics = toy_jets(jets, seed)
    rng = np.random.default_rng([seed, 3])
    shape = candidates.shape[:2]
    pdg = rng.choice([211, -211, 130, 22, 11, -11, 13, -13, 1, 2], shape,
                     p=[.25, .25, .1, .3, .02, .02, .02, .02, .01, .01])  # fmt: skip
    charged = np.isin(abs(pdg), (211, 11, 13))
    lepton = np.isin(abs(pdg), (11, 13))
    track = charged & (rng.random(shape) < 0.8)
    candidates[:, :, CHARGE] = np.where(charged, np.where(lepton, -np.sign(pdg), np.sign(pdg)), 0)
    candidates[:, :, PDG_ID] = pdg
    candidates[:, :, PUPPI] = rng.choice([0.0, 0.25, 1.0], shape)
    for value, error in ((D0, D0_ERR), (DZ, DZ_ERR)):
        # near -1 too, which is no sentinel there
        far = np.where(rng.random(shape) < 0.1, -1.0, rng.normal(0, 0.02, shape))
        candidates[:, :, value] = np.where(track, far, -1.0)
        candidates[:, :, error] = np.where(track, np.exp(rng.normal(-5, 1, shape)), -1.0)
    candidates[candidates[:, :, 3] == 0] = 0.0
    return candidates, kinematics


def fitted(seed: int = 0) -> ParticleFlow:
    features = ParticleFlow(FeatureConfig(kind="particle_flow"))
    features.fit(features.clipped(pack(*cms_like(200, seed), other=True))[0])
    return features


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_columns_come_back_as_the_particles_that_they_were(seed):
    candidates, kinematics = cms_like(8, seed)
    particles = pack(candidates, kinematics, other=True)
    features = fitted()
    raw, _ = features.clipped(particles)
    columns = features.standardise(raw)
    assert columns.shape == (len(raw), features.width)
    again = features.restore(columns)
    np.testing.assert_allclose(again, raw, rtol=1e-9, atol=1e-9)
    decoded = features.other(again)
    real = candidates[candidates[:, :, 3] != 0]
    inside = (real[:, D0_ERR] == -1) | (real[:, D0_ERR] >= 1e-4) & (real[:, DZ_ERR] >= 1e-4)
    for name, column in zip(
        ("d0", "d0Err", "dz", "dzErr", "charge", "pdgId", "puppiWeight"), range(4, 11), strict=True
    ):
        np.testing.assert_allclose(
            decoded[name][inside], real[inside, column], rtol=1e-4, atol=1e-6
        )


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), spread=st.floats(0.1, 1e3))
def test_whatever_networks_say_is_a_particle_within_the_limits(seed, spread):
    features = fitted()
    columns = np.random.default_rng(seed).normal(0, spread, (200, features.width))
    raw = features.restore(columns)
    low, high = features.limits().T
    assert (raw >= low).all() and (raw <= high).all()
    other = features.other(raw)
    charged = np.isin(abs(other["pdgId"]), (211, 11, 13))
    known = other["pdgId"] != 0
    assert (np.abs(other["charge"]) == charged)[known].all()
    assert not np.signbit(other["pdgId"][~known]).any()
    leptons = np.isin(abs(other["pdgId"]), (11, 13))
    same = np.sign(other["pdgId"]) == np.sign(other["charge"])
    assert same[charged & ~leptons].all() and not same[leptons].any()
    assert (other["pdgId"][~charged] >= 0).all()
    without = other["d0Err"] == -1
    assert without[other["charge"] == 0].all()
    for name in ("d0", "dz", "dzErr"):
        assert (other[name][without] == -1).all()
    assert (other["d0Err"][~without] > 0).all() and (other["dzErr"][~without] > 0).all()


def test_unknown_identities_are_a_class_of_their_own_and_far_values_are_clipped():
    candidates, kinematics = cms_like(2)
    candidates[0, 0, PDG_ID], candidates[0, 1, PDG_ID] = -321, 22
    candidates[0, 0, CHARGE] = -1
    candidates[0, 1, D0:CHARGE] = [500.0, 0.5, -500.0, 0.5]
    features = fitted()
    particles = pack(candidates, kinematics, other=True)
    raw, clipped = features.clipped(particles)
    before = features.clipped(pack(*cms_like(2), other=True))[1]
    assert raw[0, 4] == len(CLASSES) - 1
    assert raw[1, 6] == 20 and raw[1, 8] == -20
    assert clipped in (before, before + 1)
    decoded = features.other(features.restore(features.standardise(raw)))
    assert decoded["charge"][0] == -1 and decoded["pdgId"][0] == 0


def test_jets_without_these_columns_are_refused(tmp_path):
    candidates, kinematics = cms_like(3)
    with pytest.raises(DataError, match="candidates of 4 columns, but these features need 11"):
        pack(candidates[:, :, :4], kinematics, other=True)
    with pytest.raises(DataError, match="particles with momenta alone"):
        fitted().raw(pack(candidates, kinematics))


def test_a_value_that_is_not_finite_is_an_error_with_the_row_of_the_jet():
    candidates, kinematics = cms_like(3)
    candidates[2, 1, DZ] = np.inf
    with pytest.raises(DataError, match=r"jet 2 of 3 has a value or axis that is NaN or infinite"):
        pack(candidates, kinematics, other=True)


def test_wrong_options_are_named():
    with pytest.raises(ConfigError, match=r"features\.weights: no feature mass"):
        ParticleFlow(FeatureConfig(kind="particle_flow", weights={"mass": 1.0}))
    with pytest.raises(ConfigError, match=r"features\.scale: particle_flow is always"):
        ParticleFlow(FeatureConfig(kind="particle_flow", scale=(1.0,) * 11))
    with pytest.raises(ValidationError, match=r"weights: \{'class': 0.0\} is not above 0"):
        FeatureConfig(kind="particle_flow", weights={"class": 0.0, "d0": 1.0})
    with pytest.raises(ValidationError, match="impact_error_range"):
        FeatureConfig(kind="particle_flow", impact_error_range=(0.0, 1.0))


@pytest.mark.parametrize("stands", ["-1", "0", "-1 (in the momenta already)"])
def test_a_jet_table_whose_input_had_no_such_column_is_refused_by_name(tmp_path, stands):
    path = write_table(tmp_path / "nano.h5", 100)
    with h5py.File(path, "r+") as file:
        absent = {"PFCands_puppiWeight": stands, "PFCands_charge": "computed from pdgId"}
        file.attrs["absent_columns"] = json.dumps(absent | {"FatJet_tau1": "-1"})
    with pytest.raises(DataError, match=r"nano\.h5: its input had no PFCands_puppiWeight \("):
        read_jets({"x": [path]}, "train", 50, other=True)
    assert len(read_jets({"x": [path]}, "train", 50))


def test_without_track_all_four_are_exactly_the_sentinel_and_the_signs_of_others_are_kept():
    candidates, kinematics = cms_like(50)
    real = candidates[candidates[:, :, 3] != 0]
    features = fitted()
    raw, _ = features.clipped(pack(candidates, kinematics, other=True))
    decoded = features.other(features.restore(features.standardise(raw)))
    track = real[:, D0_ERR] != -1
    for name in ("d0", "d0Err", "dz", "dzErr"):
        assert (decoded[name][~track] == -1).all()
    assert ((real[:, D0] == -1) & track).any()  # a value, not a sentinel
    np.testing.assert_array_equal(np.sign(decoded["d0"][track]), np.sign(real[track, D0]))
    np.testing.assert_array_equal(np.sign(decoded["dz"][track]), np.sign(real[track, DZ]))


def test_agreement_says_what_becomes_of_rare_particles():
    features = fitted()
    raw, _ = features.clipped(pack(*cms_like(50), other=True))
    assert set(features.agreement(raw, raw).values()) == {1.0}
    worse = raw.copy()
    worse[raw[:, 4] == CLASSES.index(13), 4] = CLASSES.index(211)
    worse[raw[:, 3] != 0, 10] = 1.0
    found = features.agreement(raw, worse)
    assert found["muon"] == 0 and found["electron"] == found["photon"] == 1
    assert found["charged_without_track"] == 0 and found["charge"] == 1
    assert found["class"] == pytest.approx(1 - (raw[:, 4] == CLASSES.index(13)).mean())
    lost = (raw[:, 3] != 0) & (raw[:, 10] == 0)
    assert found["track"] == pytest.approx(1 - lost.mean())
    assert "other" not in found


def test_every_column_weighs_as_the_configuration_says():
    raw, _ = fitted().clipped(pack(*cms_like(50), other=True))
    for name, columns in (("charge", [3, 4, 5]), ("class", range(6, 14)), ("dz", [18])):
        ones, tens = (
            ParticleFlow(FeatureConfig(kind="particle_flow", weights={name: weight}))
            for weight in (1.0, 10.0)
        )
        for features in (ones, tens):
            features.fit(raw)
        ratio = np.ones(ones.width)
        ratio[list(columns)] = 10.0
        a, b = (torch.from_numpy(f.standardise(raw)) for f in (ones, tens))
        np.testing.assert_allclose(b.square(), a.square() * torch.from_numpy(ratio), rtol=1e-9)
        even = torch.ones(len(raw), dtype=torch.float64)
        expected = ((a.square() * torch.from_numpy(ratio)).mean()).item()
        assert tens.distortion(b, torch.zeros_like(b), even).item() == pytest.approx(expected)


def test_the_description_says_what_is_done_to_each_feature():
    said = {entry["name"]: entry["transform"] for entry in fitted().describe()["list"]}
    assert said["log_pt"] == "clip to range, subtract mean, divide by std"
    assert "asinh(x / 0.01)" in said["d0"] and "logarithm" in said["dz_error"]
    assert "a column a category" in said["class"] and said["class"].endswith("track: one")


def test_what_is_trained_on_them_decodes_to_all_of_a_particle(tmp_path):
    path = write_table(tmp_path / "jets.h5", 400)
    candidates, kinematics = cms_like(400)
    with h5py.File(path, "r+") as file:
        file["PFCands"][...] = candidates
        file["jet_kinematics"][...] = kinematics
    config = TokenizerConfig.model_validate(
        {
            "features": {"kind": "particle_flow"},
            "model": {"width": 16, "decoder_context": 4},
            "quantizer": {"codes": 512, "dimension": 6, "kmeans_iterations": 5},
            "training": {"epochs": 8, "batch_jets": 32},
        }
    )
    metrics = train_tokenizer(
        {"x": [path]}, config, seed=1, directory=tmp_path / "out", device="cpu"
    )
    assert metrics["agreement"]["class"] > 0.6 and metrics["agreement"]["charge"] > 0.6
    tokenizer = Tokenizer.load(tmp_path / "out")
    decoded = tokenizer.decode(tokenizer.encode(candidates, kinematics), kinematics)
    assert set(ak.fields(decoded)) == {
        "px", "py", "pz", "E", "d0", "d0Err", "dz", "dzErr", "charge", "pdgId", "puppiWeight",
    }  # fmt: skip
    jets = read_jets({"x": [path]}, "test", 50, other=True)
    assert jets.particles.other is not None and jets.particles.other.shape[1] == 7
    assert read_jets({"x": [path]}, "test", 50).particles.other is None
