"""When a training ends, and what it does when memory does not suffice."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.tokenizer.toys import SMALL, write_table
from treasure.config.tokenizer import TokenizerConfig
from treasure.errors import ConfigError, DataError
from treasure.tokenizer.artefact import Tokenizer
from treasure.tokenizer.step import Step, learning_rate
from treasure.tokenizer.train import CHECKPOINT, train_tokenizer


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    return {"one": [write_table(tmp_path_factory.mktemp("jets") / "one.h5", 400, 0)]}


def train(tables: Any, directory: Path, **training: Any) -> dict[str, Any]:
    values = SMALL.model_dump()
    values["training"] |= training
    config = TokenizerConfig.model_validate(values)
    return train_tokenizer(tables, config, seed=3, directory=directory, device="cpu")


def test_jets_seen_end_a_training_within_an_epoch_or_after_several(tables, tmp_path):
    jets = train(tables, tmp_path / "whole")["training"]["jets"]
    within = train(tables, tmp_path / "within", max_jets_seen=100)["training"]
    assert within["jets_seen"] == 128 and within["steps"] == 4  # whole batches of 32
    assert len(within["epochs"]) == 1 and np.isfinite(within["epochs"][0]["validation_loss"])
    assert jets % 32  # the last batch of an epoch is not full
    several = train(tables, tmp_path / "several", max_jets_seen=5 * jets + 7)["training"]
    assert several["jets_seen"] == 5 * jets + 32


def test_seconds_end_a_training_whatever_its_epochs(tables, tmp_path):
    done = train(tables, tmp_path, epochs=1, max_seconds=3.0)
    assert done["training"]["steps"] > 2 * 9
    assert 3.0 <= done["train_seconds"] < 60
    assert Tokenizer.load(tmp_path).provenance["best_epoch"] >= 1


def test_seconds_of_a_killed_training_count(tables, tmp_path):
    values = SMALL.model_dump()
    values["training"] |= {"max_seconds": 8.0, "checkpoint_seconds": 0.1}
    config = TokenizerConfig.model_validate(values)

    class Killed(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done > 0.7 * total:
            raise Killed

    shown: list[float] = []
    options: dict[str, Any] = {"seed": 3, "directory": tmp_path, "device": "cpu"}
    with pytest.raises(Killed):
        train_tokenizer(tables, config, progress=stop, **options)
    assert (tmp_path / CHECKPOINT).exists()
    train_tokenizer(tables, config, progress=lambda n, of: shown.append(n / of), **options)
    assert shown[0] > 0.4 and shown[-1] == 1.0


def test_patience_ends_a_training_that_no_longer_improves(tables, tmp_path):
    values = SMALL.model_dump()
    values["quantizer"] |= {"kind": "kmeans"}
    values["training"] |= {"epochs": 40, "learning_rate": 1e-12, "patience": 2}
    config = TokenizerConfig.model_validate(values)
    told = train_tokenizer(tables, config, seed=3, directory=tmp_path, device="cpu")
    done = told["training"]
    assert len(done["epochs"]) == done["best_epoch"] + 2 < 40


def test_no_epoch_leaves_the_start(tables, tmp_path):
    done = train(tables, tmp_path, epochs=0)["training"]
    assert done["steps"] == 0 and done["epochs"] == []
    assert Tokenizer.load(tmp_path).vocabulary_size == 64


def test_memory_that_does_not_suffice_halves_what_is_done_at_once_and_says_so(
    tables, tmp_path, monkeypatch, caplog
):
    whole = train(tables, tmp_path / "whole", epochs=1)
    forward = Step.forward

    def of_little_memory(self: Step, batch: Any, generator: torch.Generator) -> Any:
        if batch.jets > 10:
            raise torch.OutOfMemoryError("no room")
        return forward(self, batch, generator)

    monkeypatch.setattr(Step, "forward", of_little_memory)
    with caplog.at_level(logging.WARNING):
        parts = train(tables, tmp_path / "parts", epochs=1)
    assert "out of memory with 32 jets at once; going on with 16" in caplog.text
    assert "out of memory with 16 jets at once; going on with 8" in caplog.text
    losses = [done["training"]["epochs"][0]["validation_loss"] for done in (whole, parts)]
    assert losses[1] == pytest.approx(losses[0], rel=0.2)


def test_memory_that_does_not_suffice_for_one_jet_is_an_error(tables, tmp_path, monkeypatch):
    def without_memory(self: Step, batch: Any, generator: torch.Generator) -> Any:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")

    monkeypatch.setattr(Step, "forward", without_memory)
    with pytest.raises(RuntimeError, match="allocate memory"):
        train(tables, tmp_path)


def test_half_precision_trains_networks_and_leaves_the_codes_whole(tables, tmp_path):
    done = train(tables, tmp_path, precision="bf16-mixed")
    losses = [epoch["validation_loss"] for epoch in done["training"]["epochs"]]
    assert losses[-1] < losses[0]
    assert Tokenizer.load(tmp_path).codebook.dtype == np.float32


def test_a_training_that_diverges_says_what_to_change(tables, tmp_path, monkeypatch):
    forward = Step.forward

    def diverging(self: Step, batch: Any, generator: torch.Generator) -> Any:
        done = forward(self, batch, generator)
        return done._replace(distortion=done.distortion * float("nan"))

    monkeypatch.setattr(Step, "forward", diverging)
    with pytest.raises(DataError, match=r"the training loss is nan after 0 steps; lower"):
        train(tables, tmp_path)


def test_losses_of_the_jet_are_learned(tables, tmp_path):
    without = train(tables, tmp_path / "without", epochs=6)
    with_ = train(tables, tmp_path / "with", epochs=6, jet_pt_loss=20.0, jet_mass_loss=1.0)
    spread = [done["response"]["all"]["jet_pt"]["iqr_over_median"] for done in (without, with_)]
    assert spread[1] < spread[0]


def test_one_cycle_of_the_learning_rate():
    assert learning_rate(1.0, 0.0) == pytest.approx(0.05)
    assert learning_rate(1.0, 0.1) == pytest.approx(1.0)
    assert learning_rate(1.0, 0.55) == pytest.approx(0.5)
    assert learning_rate(1.0, 1.0) == pytest.approx(0.0)


def test_tensorboard_that_is_not_there_is_named(tables, tmp_path, monkeypatch):
    import lightning_fabric.loggers as loggers

    def missing(*args: Any, **options: Any) -> None:
        raise ModuleNotFoundError("tensorboard")

    monkeypatch.setattr(loggers, "TensorBoardLogger", missing)
    with pytest.raises(ConfigError, match="pip install tensorboard"):
        train(tables, tmp_path, tensorboard=True)


@pytest.mark.slow
def test_two_processes_learn_one_tokenizer(tables, tmp_path):
    alone = train(tables, tmp_path / "alone", epochs=4)
    shared = train(tables, tmp_path / "shared", epochs=4, devices=2)
    assert shared["training"]["steps"] == alone["training"]["steps"]
    losses = [done["training"]["epochs"][-1]["validation_loss"] for done in (alone, shared)]
    assert losses[1] == pytest.approx(losses[0], rel=0.2)
    assert Tokenizer.load(tmp_path / "shared").vocabulary_size == 64


@pytest.mark.slow
def test_a_batch_of_which_a_process_has_no_jet_is_left_out_by_all(tmp_path):
    table = write_table(tmp_path / "few.h5", 40, 0)
    done = train({"few": [table]}, tmp_path / "out", epochs=2, devices=2, batch_jets=9)
    assert done["training"]["jets"] % 9 == 1
    assert done["training"]["steps"] == 2 * -(-done["training"]["jets"] // 9)
