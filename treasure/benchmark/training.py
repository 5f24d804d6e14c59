"""Training of one tagger: one-cycle AdamW, choice of the epoch by the validation loss."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from treasure.benchmark.particles import Particles
from treasure.benchmark.taggers import build_tagger
from treasure.config.benchmark import TaggerConfig
from treasure.store import canonical_json, write_bytes

__all__ = [
    "Sample",
    "Training",
    "load_training",
    "new_network",
    "one_thread",
    "save_training",
    "scores",
    "train_tagger",
]

EVALUATION_BATCH = 1024
"""Jets evaluated at once; their scores do not depend on it beyond rounding."""
WARM_UP = 0.3
"""Fraction of the one-cycle schedule in which the learning rate rises (arXiv:1708.07120)."""


@dataclass(frozen=True)
class Sample:
    """Jets of one input with labels and splits.

    Attributes
    ----------
    particles : Particles
        Of n jets; float32 features (n_particles, F), or int32 token ids (n_particles, Q).
    labels, splits : array of int, shape (n,)
        0 background, 1 signal; 0 train, 1 val, 2 test.
    codebook : array of float32, shape (Q, K, d), or None
        First vectors of the token ids; None for features.
    scaled : bool
        Whether features enter the tagger as scaled embeddings (arXiv:2310.02989).
    """

    particles: Particles
    labels: npt.NDArray[np.integer[Any]]
    splits: npt.NDArray[np.integer[Any]]
    codebook: npt.NDArray[np.float32] | None = None
    scaled: bool = False

    def jets(self, split: int) -> npt.NDArray[np.int64]:
        """Return the indices of the jets in a split."""
        return np.flatnonzero(self.splits == split)


@dataclass(frozen=True)
class Training:
    """Result of one training.

    Attributes
    ----------
    scores : array of float32, shape (n_test,)
        Probabilities of the test jets to be signal.
    history : list of dict
        For each epoch: `train_loss`, `val_loss` (cross-entropy; None without validation jets).
    best_epoch : int
        The epoch, from 0, whose weights gave the scores.
    weights : dict of str to Tensor
        State of the network at that epoch.
    """

    scores: npt.NDArray[np.float32]
    history: list[dict[str, float | None]]
    best_epoch: int
    weights: dict[str, Tensor]


def train_tagger(
    sample: Sample,
    config: TaggerConfig,
    *,
    seed: int,
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
    network: nn.Module | None = None,
) -> Training:
    """Train on split 0, choose the epoch on split 1, score split 2.

    Parameters
    ----------
    sample : Sample
    config : TaggerConfig
    seed : int
        Decides the first weights and the order of the jets.
    device : str
        Of torch. On the CPU with one thread (`torch.set_num_threads`) the same input gives the
        same bits.
    progress : callable, optional
        Called with (epochs done, epochs in all).
    network : Module, optional
        From `new_network` with the same arguments, where it was made before (in another thread).
    """
    network = (network or new_network(sample, config, seed=seed)).to(device)
    train, val = sample.jets(0), sample.jets(1)
    generator = np.random.default_rng([seed, 1])
    # whole batches only; a smaller sample is one batch
    batch_size = min(config.batch_size, len(train))
    n_steps = len(train) // batch_size
    optimiser = torch.optim.AdamW(
        [p for p in network.parameters() if p.requires_grad],
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.learning_rate, total_steps=n_steps * config.epochs, pct_start=WARM_UP
    )
    labels = torch.from_numpy(sample.labels.astype(np.float32))
    history: list[dict[str, float | None]] = []
    best_epoch, best_loss = 0, np.inf
    weights: dict[str, Tensor] = {}
    for epoch in range(config.epochs):
        network.train()
        order = generator.permutation(train)
        total = 0.0
        for step in range(n_steps):
            jets = order[step * batch_size : (step + 1) * batch_size]
            logits = _logits(network, sample.particles, jets, device)
            loss = binary_cross_entropy_with_logits(logits, labels[jets].to(device))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
        val_loss = None
        if len(val):
            logits = evaluate_logits(network, sample.particles, val, device)
            val_loss = float(binary_cross_entropy_with_logits(logits, labels[val]))
        history.append({"train_loss": total / n_steps, "val_loss": val_loss})
        if val_loss is None or val_loss < best_loss:
            best_epoch, best_loss = epoch, np.inf if val_loss is None else val_loss
            weights = copy.deepcopy({k: v.cpu() for k, v in network.state_dict().items()})
        if progress is not None:
            progress(epoch + 1, config.epochs)
    network.load_state_dict(weights)
    return Training(
        scores(network, sample.particles, sample.jets(2), device), history, best_epoch, weights
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one CPU thread inside the block: sums then have one order on every machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def new_network(sample: Sample, config: TaggerConfig, *, seed: int) -> nn.Module:
    """Return the untrained network for a sample; see `build_tagger`."""
    if sample.codebook is None:
        features = sample.particles.values.shape[1]
        return build_tagger(features, config, seed=seed, scaled=sample.scaled)
    codebook = torch.from_numpy(np.ascontiguousarray(sample.codebook, dtype=np.float32))
    return build_tagger(codebook.shape[2], config, seed=seed, codebook=codebook)


def scores(
    network: nn.Module, particles: Particles, jets: npt.NDArray[np.int64], device: str = "cpu"
) -> npt.NDArray[np.float32]:
    """Return the probabilities of the given jets to be signal, shape (len(jets),)."""
    logits = evaluate_logits(network, particles, jets, device)
    return torch.sigmoid(logits.double()).float().numpy()


def evaluate_logits(
    network: nn.Module, particles: Particles, jets: npt.NDArray[np.int64], device: str = "cpu"
) -> Tensor:
    """Return the logits of the given jets, on the CPU."""
    network.eval()
    with torch.no_grad():
        parts = [
            _logits(network, particles, jets[i : i + EVALUATION_BATCH], device).cpu()
            for i in range(0, len(jets), EVALUATION_BATCH)
        ]
    return torch.cat(parts) if parts else torch.zeros(0)


def _logits(
    network: nn.Module, particles: Particles, jets: npt.NDArray[np.int64], device: str
) -> Tensor:
    counts = particles.counts[jets]
    values = torch.from_numpy(particles.values[particles.rows(jets)])
    if not values.is_floating_point():
        values = values.long()
    of_jet = torch.from_numpy(np.repeat(np.arange(len(jets)), counts))
    return network(values.to(device), of_jet.to(device), len(jets))


def save_training(training: Training, path: Path, *, key: str) -> None:
    """Write a training to a safetensors file, atomically; `key` says what it is a training of."""
    tensors = {f"weights.{name}": value.contiguous() for name, value in training.weights.items()}
    tensors["scores"] = torch.from_numpy(training.scores)
    record = {"best_epoch": training.best_epoch, "history": training.history, "key": key}
    write_bytes(path, save(tensors, metadata={"training": canonical_json(record)}))


def load_training(path: Path, *, key: str) -> Training | None:
    """Return the training in a file; None if there is none, or it is of something else."""
    try:
        with safe_open(path, framework="pt") as file:
            record = json.loads((file.metadata() or {}).get("training", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, ValueError, RuntimeError, SafetensorError):
        return None
    if record.get("key") != key:
        return None
    found = tensors.pop("scores").numpy()
    weights = {name.removeprefix("weights."): value for name, value in tensors.items()}
    return Training(found, record["history"], record["best_epoch"], weights)
