"""The state of a training: data, networks, optimizer, epochs, checkpoints."""

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from treasure.errors import DataError
from treasure.store import fingerprint
from treasure.tokenizer.artefact import Tokenizer
from treasure.tokenizer.batches import Batch, batches
from treasure.tokenizer.calibration import Calibration, fit_calibration
from treasure.tokenizer.checkpoint import (
    optimizer_tensors,
    read_checkpoint,
    restore_optimizer,
    write_checkpoint,
)
from treasure.tokenizer.jetdata import Jets
from treasure.tokenizer.metrics import reconstruct
from treasure.tokenizer.tensors import digest

__all__ = ["Fit"]

Progress = Callable[[int, int], None]
Packed = tuple[NDArray[np.float32], NDArray[np.float32]]  # features (P, F), weight (P,)

_PEAK_AT = 0.1  # share of the steps before the learning rate peaks
_LOG = logging.getLogger(__name__)


class Fit:
    """One training: its data, its state, its epochs."""

    def __init__(self, tokenizer: Tokenizer, seed: int, device: torch.device) -> None:
        self.tokenizer, self.config, self.seed = tokenizer, tokenizer.config, seed
        self.device, self.history = device, []
        self.best: dict[str, Tensor] = {}
        self.best_loss, self.best_epoch = math.inf, 0
        tokenizer.model.initialise(self._generator(0))
        tokenizer.model.to(device)
        tokenizer.quantizer.to(device)
        self.optimizer = torch.optim.AdamW(
            tokenizer.model.parameters(),
            lr=self.config.training.learning_rate,
            weight_decay=self.config.training.weight_decay,
            foreach=False,
        )

    history: list[dict[str, Any]]
    train: Jets
    val: Jets

    def _generator(self, epoch: int) -> torch.Generator:
        words = np.random.SeedSequence([self.seed, epoch]).generate_state(2, np.uint32)
        return torch.Generator().manual_seed(int(words[0]) << 31 ^ int(words[1]))

    # Data ----------------------------------------------------------------------------------------

    def take(self, train: Jets, val: Jets) -> None:
        """Fit the standardisation on the training jets, and make features of both."""
        features = self.tokenizer.feature_set
        raw, self.clipped = features.clipped(train.particles)
        features.fit(raw)
        self.train, self.val = train, val
        self.train_data = self._data(raw)
        self.val_data = self._data(features.clipped(val.particles)[0])
        self.steps_per_epoch = sum(1 for _ in self._order_only())
        data = {"train": self.train_data[0], "weight": self.train_data[1], "val": self.val_data[0]}
        self.identity = fingerprint(
            {
                "config": self.config.model_dump(mode="json"),
                "seed": self.seed,
                "data": digest({name: torch.from_numpy(array) for name, array in data.items()}),
                "counts": digest({"counts": torch.from_numpy(train.particles.counts)}),
                "device": self.device.type,
                "torch": torch.__version__,
            }
        )

    def _data(self, raw: NDArray[np.float64]) -> Packed:
        features = self.tokenizer.feature_set.standardise(raw).astype(np.float32)
        weight = self.tokenizer.feature_set.weight(raw, self.config.training.pt_weight)
        return features, weight.astype(np.float32)

    def _order_only(self) -> range:
        jets, size = len(self.train), self.config.training.batch_jets
        return range(0, jets, size)

    def _batches(
        self, jets: Jets, data: Packed, order: NDArray[np.int64] | None = None
    ) -> Iterator[Batch]:
        size = self.config.training.batch_jets
        features, weight = data
        return batches(features, weight, jets.particles.counts, size, self.device, order)

    # Epochs --------------------------------------------------------------------------------------

    def run(self, checkpoint: Path, progress: Progress | None) -> None:
        """All epochs that a checkpoint does not have already."""
        total = self.config.training.epochs
        if not self._resume(checkpoint):
            self._start_codebook()
        for epoch in range(len(self.history), total):
            loss, used = self._epoch(epoch, progress)
            val = self._validate()
            if not (math.isfinite(loss) and math.isfinite(val)):
                raise DataError(
                    f"training loss {loss} and validation loss {val} after epoch {epoch + 1};"
                    " lower tokenizer.training.learning_rate"
                )
            self.history.append({"loss": loss, "validation_loss": val, "codes_used": used})
            if val < self.best_loss:
                self.best_loss, self.best_epoch = val, epoch + 1
                self.best = {k: v.clone() for k, v in self.tokenizer.state().items()}
            self._save(checkpoint)
            _LOG.info(
                "epoch %d of %d: loss %.5f, validation %.5f, %d codes in use",
                *(epoch + 1, total, loss, val, used),
            )

    def _start_codebook(self) -> None:
        model, quantizer = self.tokenizer.model, self.tokenizer.quantizer
        with torch.no_grad():
            parts = [
                (model.encode(b.features, b.owner, b.jets), b.weight)
                for b in self._batches(self.train, self.train_data)
            ]
        latent, weight = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        quantizer.start(latent, weight, self._generator(0))

    def _epoch(self, epoch: int, progress: Progress | None) -> tuple[float, int]:
        model, quantizer = self.tokenizer.model.train(), self.tokenizer.quantizer.train()
        generator = self._generator(epoch + 1)
        order = np.random.default_rng([self.seed, epoch + 1]).permutation(len(self.train))
        used = torch.zeros(quantizer.codes, dtype=torch.bool, device=self.device)
        total_steps = self.steps_per_epoch * self.config.training.epochs
        step, losses = epoch * self.steps_per_epoch, []
        for batch in self._batches(self.train, self.train_data, order):
            for group in self.optimizer.param_groups:
                group["lr"] = self._learning_rate(step / total_steps)
            latent = model.encode(batch.features, batch.owner, batch.jets)
            quantized = quantizer(latent, batch.weight, generator)
            decoded = model.decode(quantized.latent, batch.owner, batch.jets)
            distortion = _distortion(decoded, batch)
            self.optimizer.zero_grad()
            (distortion + quantized.loss).backward()
            torch.nn.utils.clip_grad_norm_(
                model.parameters(), self.config.training.gradient_norm, foreach=False
            )
            self.optimizer.step()
            losses.append(distortion.item())
            used[quantized.ids.reshape(-1)] = True
            step += 1
            if progress is not None:
                progress(step, total_steps)
        return float(np.mean(losses)), int(used.sum())

    def _learning_rate(self, share: float) -> float:
        """One cycle: linear up to the peak, then half a cosine down to zero (arXiv:1708.07120)."""
        peak = self.config.training.learning_rate
        if share < _PEAK_AT:
            return peak * (0.05 + 0.95 * share / _PEAK_AT)
        return peak * 0.5 * (1 + math.cos(math.pi * (share - _PEAK_AT) / (1 - _PEAK_AT)))

    @torch.no_grad()
    def _validate(self) -> float:
        model, quantizer = self.tokenizer.model.eval(), self.tokenizer.quantizer.eval()
        total, particles = 0.0, 0
        for batch in self._batches(self.val, self.val_data):
            ids = quantizer.ids(model.encode(batch.features, batch.owner, batch.jets))
            decoded = model.decode(quantizer.vectors(ids), batch.owner, batch.jets)
            total += float(_distortion(decoded, batch)) * len(ids)
            particles += len(ids)
        return total / max(particles, 1)

    # Checkpoints ---------------------------------------------------------------------------------

    def _save(self, checkpoint: Path) -> None:
        tensors = {
            **{f"last.{k}": v for k, v in self.tokenizer.state().items()},
            **{f"best.{k}": v for k, v in self.best.items()},
            **optimizer_tensors(self.optimizer),
        }
        progress = {
            "identity": self.identity,
            "history": self.history,
            "best": [self.best_epoch, self.best_loss],
        }
        write_checkpoint(checkpoint, tensors, progress)

    def _resume(self, checkpoint: Path) -> bool:
        if not checkpoint.is_file():
            return False
        tensors, progress = read_checkpoint(checkpoint)
        if progress.get("identity") != self.identity:
            _LOG.warning("%s is of another training (configuration or jets); not used", checkpoint)
            return False
        self.tokenizer.load_state(_part(tensors, "last"))
        self.best = _part(tensors, "best")
        self.best_epoch, self.best_loss = progress["best"]
        self.history = progress["history"]
        restore_optimizer(self.optimizer, tensors)
        _LOG.info("resumed after epoch %d", len(self.history))
        return True

    # The end -------------------------------------------------------------------------------------

    def finish(self) -> Tokenizer:
        """The tokenizer of the best epoch, calibrated on the validation jets, on the CPU."""
        self.tokenizer.model.cpu()
        self.tokenizer.quantizer.cpu()
        self.tokenizer.load_state(self.best)
        reconstruction = reconstruct(self.tokenizer, self.val)

        def decode(calibration: Calibration) -> NDArray[np.floating]:
            return reconstruction.momenta_with(self.tokenizer, self.val, calibration)

        self.tokenizer.calibration = fit_calibration(self.val.particles, decode)
        return self.tokenizer

    def summary(self) -> dict[str, Any]:
        """What happened, without times: the same for every run of the same training."""
        return {
            "jets": len(self.train),
            "particles": len(self.train_data[0]),
            "clipped_particles": self.clipped,
            "validation_jets": len(self.val),
            "best_epoch": self.best_epoch,
            "epochs": self.history,
        }

    def provenance(self, jet_tables: Mapping[str, Sequence[Path]]) -> dict[str, Any]:
        """Where the tokenizer comes from; names, not places."""
        return {
            "datasets": {k: [Path(p).name for p in v] for k, v in sorted(jet_tables.items())},
            "seed": self.seed,
            "device": self.device.type,
            "torch": torch.__version__,
            "training_identity": self.identity,
            "jets": len(self.train),
            "particles": len(self.train_data[0]),
            "best_epoch": self.best_epoch,
        }


def _distortion(decoded: Tensor, batch: Batch) -> Tensor:
    return (batch.weight[:, None] * (decoded - batch.features).square()).mean()


def _part(tensors: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    return {
        key.removeprefix(f"{part}."): value
        for key, value in tensors.items()
        if key.startswith(f"{part}.")
    }
