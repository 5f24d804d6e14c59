"""What every tokenizer of config/tokenizers promises, each made small and trained a little."""

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tokenizer.toys import toy_jets, write_table
from treasure.config.loading import CONFIG_DIRECTORY, available, load_config
from treasure.config.tokenizer import TokenizerConfig
from treasure.errors import DataError
from treasure.tokenizer.artefact import Tokenizer
from treasure.tokenizer.train import train_tokenizer

NAMES = available("tokenizers")
SMALL: dict[str, Any] = {
    "vq": {"codes": 64},
    "vq_gradient": {"codes": 64},
    "rvq": {"codes": 16},
    "kmeans": {"codes": 64, "kmeans_iterations": 3},
    "fsq": {"levels": [5, 4, 4]},
    "binning": {"levels": [5, 4, 4]},
}


def small(name: str) -> TokenizerConfig:
    """The tokenizer of that name, of the same kinds with fewer of everything."""
    values = load_config("test", (f"tokenizer={name}",)).config.tokenizer.model_dump()
    quantizer = values["quantizer"]
    quantizer |= SMALL[quantizer["kind"]] | {"padding": 20 if quantizer["padding"] else 0}
    values["model"] |= {"width": 16, "mlp_width": 16, "blocks": 1, "heads": 2}
    values["model"]["padded_to"] = 20 if values["model"].get("padded_to") else 0
    values["training"] |= {
        "epochs": 1, "batch_jets": 64, "max_training_jets": 300, "max_validation_jets": 50,
        "max_test_jets": 50,
    }  # fmt: skip
    return TokenizerConfig.model_validate(values)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    folder = tmp_path_factory.mktemp("jets")
    return {"toys": [write_table(folder / "toys.h5", 400, 0)]}


@pytest.fixture(scope="module", params=NAMES)
def trained(
    request: Any, tables: dict[str, list[Path]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Tokenizer, Path]:
    directory = tmp_path_factory.mktemp(request.param)
    train_tokenizer(tables, small(request.param), seed=1, directory=directory, device="cpu")
    return Tokenizer.load(directory), directory


COUNTS = np.array([0, 1, 2, 127, 128, 129, 150, 30, 31, 5])


@pytest.fixture(scope="module")
def jets() -> tuple[np.ndarray, np.ndarray]:
    return toy_jets(len(COUNTS), seed=3, counts=COUNTS)


def test_there_is_a_yaml_for_each_of_the_families():
    kinds = {
        yaml.safe_load((CONFIG_DIRECTORY / "tokenizers" / f"{name}.yaml").read_text())
        .get("quantizer", {})
        .get("kind")
        for name in NAMES
    }
    assert kinds >= set(SMALL)


def test_tokens_do_not_depend_on_the_batch_the_order_of_jets_or_the_padding(trained, jets):
    tokenizer, _ = trained
    candidates, kinematics = jets
    whole = tokenizer.encode(candidates, kinematics)
    assert ak.num(whole, axis=1).tolist() == COUNTS.tolist()
    for row in range(len(COUNTS)):
        alone = tokenizer.encode(candidates[row : row + 1], kinematics[row : row + 1])
        assert alone[0].tolist() == whole[row].tolist()
    order = np.random.default_rng(1).permutation(len(COUNTS))
    other = tokenizer.encode(candidates[order], kinematics[order])
    assert other.tolist() == whole[order].tolist()
    wider = np.zeros((len(COUNTS), 170, candidates.shape[2]), dtype=np.float32)
    wider[:, 7:157] = candidates
    assert tokenizer.encode(wider, kinematics).tolist() == whole.tolist()
    many = tokenizer.encode(np.tile(candidates, (52, 1, 1)), np.tile(kinematics, (52, 1)))
    assert many[510:520].tolist() == whole.tolist()


def test_permuting_the_particles_of_a_jet_permutes_its_tokens(trained, jets):
    tokenizer, _ = trained
    candidates, kinematics = jets
    whole = tokenizer.encode(candidates, kinematics)
    rng = np.random.default_rng(2)
    for row in range(1, len(COUNTS)):
        order = rng.permutation(COUNTS[row])
        mixed = candidates[row : row + 1].copy()
        mixed[0, : COUNTS[row]] = candidates[row, order]
        found = tokenizer.encode(mixed, kinematics[row : row + 1])[0]
        assert found.tolist() == whole[row].to_numpy()[order].tolist()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-3, 1e4))
def test_what_is_decoded_is_in_the_range_of_the_features(trained, seed, scale):
    tokenizer, _ = trained
    counts = np.random.default_rng(seed).integers(0, 40, 6)
    candidates, kinematics = toy_jets(6, seed=seed, counts=counts)
    candidates[:, :, :4] *= scale  # far from what it was trained on
    particles = tokenizer.pack(candidates, kinematics)
    tokens, clipped = tokenizer.encode_particles(particles)
    outside = tokenizer.feature_set.raw(particles) != tokenizer.feature_set.clipped(particles)[0]
    assert clipped == outside.any(axis=1).sum()
    ids = np.asarray(ak.flatten(tokens, axis=1))
    decoded = tokenizer.decode_features(ids, particles.counts)
    low, high = tokenizer.feature_set.limits().T
    assert (decoded >= low).all() and (decoded <= high).all()


def test_a_momentum_that_is_not_finite_is_an_error_with_the_row_of_the_jet(trained, jets):
    tokenizer, _ = trained
    candidates, kinematics = jets[0].copy(), jets[1]
    candidates[4, 3, 1] = np.nan
    with pytest.raises(DataError, match=r"jet 4 of 10 .* NaN or infinite"):
        tokenizer.encode(candidates, kinematics)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU: token ids are compared with it")
def test_a_gpu_gives_the_same_tokens(trained, jets):
    tokenizer, directory = trained
    on_gpu = Tokenizer.load(directory, device="cuda")
    assert on_gpu.encode(*jets).tolist() == tokenizer.encode(*jets).tolist()


def test_a_file_that_was_changed_is_refused_by_name(trained, tmp_path):
    _, directory = trained
    for name in ("tokenizer.safetensors", "codebook.npz", "tokenizer.json"):
        copy = tmp_path / name.replace(".", "_")
        copy.mkdir()
        for file in directory.iterdir():
            if file.is_file():
                (copy / file.name).write_bytes(file.read_bytes())
        content = bytearray((copy / name).read_bytes())
        # of JSON, some digits of numbers mean nothing
        place = content.find(b'"fingerprint": "') + 20 if name.endswith("json") else 0
        content[place or len(content) // 2] ^= 1
        (copy / name).write_bytes(bytes(content))
        with pytest.raises(DataError, match=name):
            Tokenizer.load(copy)
