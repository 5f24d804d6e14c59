"""The state of a training: data, networks, optimizer, steps, checkpoints."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
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
from treasure.tokenizer.processes import summed
from treasure.tokenizer.step import Step, learning_rate, ran_out_of_memory
from treasure.tokenizer.tensors import digest

__all__ = ["Fit"]

Progress = Callable[[int, int], None]
Packed = tuple[NDArray[np.float32], NDArray[np.float32]]  # features (P, F), weight (P,)

_JETS_AT_ONCE = 256  # where nothing is learned: bounds the memory
_LOG = logging.getLogger(__name__)


class Fit:
    """One training: its data, its state, its steps.

    Lightning's Fabric moves it to the accelerator, sets the precision and shares the work out over
    several of them. All that the next step depends on is in a checkpoint, and all that is random
    in a step comes from the seed and its number.
    """

    def __init__(self, tokenizer: Tokenizer, seed: int, fabric: Fabric) -> None:
        self.tokenizer, self.config, self.seed = tokenizer, tokenizer.config, seed
        self.fabric, self.device = fabric, fabric.device
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Tensor] = {}
        self.best_loss, self.best_epoch = math.inf, 0
        self.steps, self.seconds, self.parts = 0, 0.0, 1
        self.losses: list[float] = []
        tokenizer.model.initialise(self._generator(0))
        self.used = torch.zeros(tokenizer.quantizer.codes, dtype=torch.bool, device=self.device)
        self.trains = any(True for _ in tokenizer.model.parameters())
        module = Step(tokenizer).to(self.device)
        if self.trains and self.config.training.epochs:
            optimizer = torch.optim.AdamW(
                module.parameters(),
                lr=self.config.training.learning_rate,
                weight_decay=self.config.training.weight_decay,
                foreach=False,
            )
            self.step, self.optimizer = fabric.setup(module, optimizer)

    train: Jets
    val: Jets

    def _generator(self, number: int) -> torch.Generator:
        words = np.random.SeedSequence([self.seed, number]).generate_state(2, np.uint32)
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
        self.steps_per_epoch = math.ceil(len(train) / self.config.training.batch_jets)
        data = {"train": self.train_data[0], "weight": self.train_data[1], "val": self.val_data[0]}
        self.identity = fingerprint(
            {
                "config": self.config.model_dump(mode="json"),
                "seed": self.seed,
                "data": digest({name: torch.from_numpy(array) for name, array in data.items()}),
                "counts": digest({"counts": torch.from_numpy(train.particles.counts)}),
                "device": self.device.type,
                "devices": self.fabric.world_size,
                "torch": torch.__version__,
            }
        )

    def _data(self, raw: NDArray[np.float64]) -> Packed:
        features = self.tokenizer.feature_set.standardise(raw).astype(np.float32)
        weight = self.tokenizer.feature_set.weight(raw, self.config.training.pt_weight)
        return features, weight.astype(np.float32)

    def _batch(self, jets: NDArray[np.int64]) -> Batch | None:
        """Those training jets; None if all are empty."""
        counts = self.train.particles.counts
        several = batches(*self.train_data, counts, max(len(jets), 1), self.device, jets)
        return next(several, None)

    def _in_order(self, jets: Jets, data: Packed) -> Iterator[Batch]:
        return batches(*data, jets.particles.counts, _JETS_AT_ONCE, self.device)

    # Steps ---------------------------------------------------------------------------------------

    @property
    def steps_wanted(self) -> int | None:
        """Steps after which the training ends; None if only time ends it."""
        training = self.config.training
        if not (self.trains and training.epochs):
            return 0
        by_jets = training.max_jets_seen and self._steps_of(training.max_jets_seen)
        if training.max_seconds:
            return by_jets
        by_epochs = training.epochs * self.steps_per_epoch
        return by_epochs if by_jets is None else by_jets

    def _steps_of(self, jets: int) -> int:
        """Steps that see so many jets; the last of an epoch sees fewer than the others."""
        epochs, rest = divmod(jets, len(self.train))
        return epochs * self.steps_per_epoch + math.ceil(rest / self.config.training.batch_jets)

    @property
    def share(self) -> float:
        """How much of the training is done, 0 … 1."""
        wanted, limit = self.steps_wanted, self.config.training.max_seconds
        by_steps = self.steps / wanted if wanted else 0.0
        return min(max(by_steps, self.seconds / limit if limit else 0.0), 1.0)

    @property
    def jets_seen(self) -> int:
        epochs, rest = divmod(self.steps, self.steps_per_epoch)
        partial = min(rest * self.config.training.batch_jets, len(self.train))
        return epochs * len(self.train) + partial

    def run(self, checkpoint: Path, progress: Progress | None) -> None:
        """All steps that a checkpoint does not have already."""
        saved = 0.0
        if not self._resume(checkpoint):
            with self._timed():
                self._start_codebook()
        with torch.random.fork_rng(devices=_devices(self.device)):
            while not self._ended():
                with self._timed():
                    self._one_step()
                if self.steps % self.steps_per_epoch == 0 or self._ended():
                    self._end_of_epoch()
                    self._save(checkpoint)
                    saved = self.seconds
                elif self.seconds - saved > self.config.training.checkpoint_seconds:
                    self._save(checkpoint)
                    saved = self.seconds
                if progress is not None:
                    progress(*self._done())
        if not self.best:
            self._end_of_epoch()
            self._save(checkpoint)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        """Count the time of learning; validation and checkpoints are not in it."""
        started = time.monotonic()
        yield
        self.seconds += time.monotonic() - started
        if self.fabric.world_size > 1:  # all have to see the same, or they would not end together
            self.seconds = float(self.fabric.broadcast(self.seconds))

    def _done(self) -> tuple[int, int]:
        """Steps, or seconds where these end the training; per mille where either may."""
        wanted, limit = self.steps_wanted, self.config.training.max_seconds
        if wanted and limit is None:
            return self.steps, wanted
        total = 1000 if wanted or limit is None else max(round(limit), 1)
        return round(total * self.share), total

    def _ended(self) -> bool:
        wanted, training = self.steps_wanted, self.config.training
        if wanted is not None and self.steps >= wanted:
            return True
        if training.max_seconds is not None and self.seconds >= training.max_seconds:
            return True
        waited = len(self.history) - self.best_epoch
        return training.patience is not None and bool(self.history) and waited >= training.patience

    def _start_codebook(self) -> None:
        model, quantizer = self.tokenizer.model.eval(), self.tokenizer.quantizer
        parts, rows = [], 0
        # as many particles as k-means takes; binning takes all, and has nothing to compute
        enough = self.config.quantizer.kmeans_particles if self.trains else len(self.train_data[0])
        order = np.random.default_rng([self.seed, 0]).permutation(len(self.train))
        with torch.no_grad():
            for batch in batches(
                *self.train_data, self.train.particles.counts, _JETS_AT_ONCE, self.device, order
            ):
                latent = model.encode(batch.features, batch.owner, batch.jets)
                parts.append((latent, batch.weight))
                rows += len(latent)
                if rows >= enough:
                    break
        latent, weight = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        quantizer.start(latent, weight, self._generator(0))

    def _one_step(self) -> None:
        epoch, place = divmod(self.steps, self.steps_per_epoch)
        order = self._order(epoch)
        size, training = self.config.training.batch_jets, self.config.training
        jets = order[place * size : (place + 1) * size]
        jets = jets[self.fabric.global_rank :: self.fabric.world_size]
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(training.learning_rate, self.share)
        quantizer = self.tokenizer.quantizer
        while True:
            quantizer.parts = self.parts
            before = {name: value.clone() for name, value in quantizer.state_dict().items()}
            try:
                loss = self._gradients(jets)
                break
            except Exception as error:
                alone = self.fabric.world_size == 1  # or the others would wait for ever
                if not (alone and ran_out_of_memory(error) and self.parts < len(jets)):
                    raise
            quantizer.load_state_dict(before)
            self.parts *= 2
            _LOG.warning(
                "out of memory with %d jets at once; going on with %d",
                *(math.ceil(len(jets) / (self.parts // 2)), math.ceil(len(jets) / self.parts)),
            )
        if not math.isfinite(loss):
            raise DataError(
                f"the training loss is {loss} after {self.steps} steps; lower"
                " tokenizer.training.learning_rate"
            )
        self.fabric.clip_gradients(
            self.step, self.optimizer, max_norm=training.gradient_norm, error_if_nonfinite=False
        )
        self.optimizer.step()
        self.losses.append(loss)
        self.steps += 1

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if getattr(self, "_ordered", None) != epoch:
            generator = np.random.default_rng([self.seed, epoch + 1])
            self._ordered, self._jets = epoch, generator.permutation(len(self.train))
        return self._jets

    def _gradients(self, jets: NDArray[np.int64]) -> float:
        """Gradients of a step, of as many parts of it as fit into the memory; the distortion."""
        self.optimizer.zero_grad()
        self.tokenizer.model.train()
        self.tokenizer.quantizer.train()
        generator = self._generator(self.steps + 1)
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        total, particles = 0.0, int(self.train.particles.counts[jets].sum())
        if not self._all_have_particles(particles):
            return 0.0
        for part in np.array_split(jets, min(self.parts, max(len(jets), 1))):
            batch = self._batch(part)
            if batch is None:
                continue
            share = len(batch.features) / particles
            done = self.step(batch, generator)
            self.fabric.backward(done.loss * share)
            total += float(done.distortion) * share
            self.used[done.ids.reshape(-1)] = True
        (mean,) = summed(torch.tensor(total / self.fabric.world_size, device=self.device))
        return float(mean)

    def _all_have_particles(self, particles: int) -> bool:
        """Whether every process has something of this batch; else all of them leave it out."""
        if self.fabric.world_size == 1:
            return particles > 0
        (having,) = summed(torch.tensor(float(particles > 0), device=self.device))
        return float(having) == self.fabric.world_size

    def _end_of_epoch(self) -> None:
        loss = float(np.mean(self.losses)) if self.losses else 0.0
        (used_anywhere,) = summed(self.used.float())
        val, used = self._validate(), int((used_anywhere > 0).sum())
        if not (math.isfinite(loss) and math.isfinite(val)):
            raise DataError(
                f"training loss {loss} and validation loss {val} after {self.steps} steps;"
                " lower tokenizer.training.learning_rate"
            )
        if self.steps:
            told = {"loss": loss, "validation_loss": val, "codes_used": used}
            self.history.append(told)
        if val < self.best_loss:
            self.best_loss, self.best_epoch = val, len(self.history)
            self.best = {k: v.clone() for k, v in self.tokenizer.state().items()}
        _LOG.info(
            "after %d steps: loss %.5f, validation %.5f, %d codes in use",
            *(self.steps, loss, val, used),
        )
        self.fabric.log_dict({"loss": loss, "validation_loss": val, "codes_used": used}, self.steps)
        self.losses = []
        self.used.zero_()

    @torch.no_grad()
    def _validate(self) -> float:
        model, quantizer = self.tokenizer.model.eval(), self.tokenizer.quantizer.eval()
        total, particles = 0.0, 0
        for batch in self._in_order(self.val, self.val_data):
            ids = quantizer.ids(model.encode(batch.features, batch.owner, batch.jets))
            decoded = model.decode(quantizer.vectors(ids), batch.owner, batch.jets)
            distortion = self.tokenizer.feature_set.distortion(
                decoded, batch.features, batch.weight
            )
            total += float(distortion) * len(ids)
            particles += len(ids)
        return total / max(particles, 1)

    # Checkpoints ---------------------------------------------------------------------------------

    def _save(self, checkpoint: Path) -> None:
        tensors = {
            **{f"last.{k}": v for k, v in self.tokenizer.state().items()},
            **{f"best.{k}": v for k, v in self.best.items()},
            "used": self.used,
            **(optimizer_tensors(self.optimizer) if self.steps else {}),
        }
        progress = {
            "identity": self.identity,
            "history": self.history,
            "best": [self.best_epoch, self.best_loss if self.best else None],
            "steps": self.steps,
            "seconds": self.seconds,
            "parts": self.parts,
            "losses": self.losses,
        }
        if self.fabric.is_global_zero:
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
        self.best_epoch, best_loss = progress["best"]
        self.best_loss = math.inf if best_loss is None else best_loss
        self.history, self.losses = progress["history"], progress["losses"]
        self.steps, self.seconds = progress["steps"], progress["seconds"]
        self.parts = progress["parts"]
        self.used.copy_(tensors["used"])
        if self.steps:
            restore_optimizer(self.optimizer, tensors)
        _LOG.info("resumed after %d steps", self.steps)
        return True

    # The end -------------------------------------------------------------------------------------

    def finish(self) -> Tokenizer:
        """The tokenizer of the best epoch, calibrated on the validation jets, on the CPU."""
        self.tokenizer.model.cpu()
        self.tokenizer.quantizer.cpu()
        self.tokenizer.load_state(self.best)
        # the calibration is that of nearest codes: what a code decodes to comes before its choice
        reconstruction = reconstruct(self.tokenizer, self.val, constrained=False)

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
            "steps": self.steps,
            "jets_seen": self.jets_seen,
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


def _devices(device: torch.device) -> list[torch.device]:
    """Devices whose random numbers come back as they were."""
    return [device] if device.type == "cuda" else []


def _part(tensors: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    return {
        key.removeprefix(f"{part}."): value
        for key, value in tensors.items()
        if key.startswith(f"{part}.")
    }
