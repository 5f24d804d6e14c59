"""Training a tokenizer: deterministic, resumed from the last checkpoint.

Everything random in a step comes from the seed and its number, and a checkpoint holds all that the
next step depends on. On the CPU the number of threads is fixed by the configuration. So a training
that was killed and started again ends in the same bytes as one that was not.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment

from treasure.config.tokenizer import TokenizerConfig
from treasure.errors import ConfigError
from treasure.store import write_bytes, write_json
from treasure.tokenizer.artefact import Tokenizer
from treasure.tokenizer.card import summary
from treasure.tokenizer.figures import write_figures
from treasure.tokenizer.fit import Fit
from treasure.tokenizer.jetdata import read_jets
from treasure.tokenizer.metrics import measure, reconstruct, tau32_sample

__all__ = ["CHECKPOINT", "default_device", "train_tokenizer"]

CHECKPOINT = "checkpoint.safetensors"
_LOG = logging.getLogger(__name__)

Progress = Callable[[int, int], None]


def default_device() -> str:
    """The accelerator that is there: "cuda", "mps", or else "cpu"."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def train_tokenizer(
    jet_tables: Mapping[str, Sequence[Path]],
    config: TokenizerConfig,
    *,
    seed: int,
    directory: Path,
    device: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train a tokenizer and save the artefact with metrics and figures.

    Parameters
    ----------
    jet_tables
        Jet tables of each dataset. Split train is fitted, val chooses the epoch and calibrates,
        test gives metrics and figures.
    config
        What to train, and how.
    seed
        Together with the epoch, the only source of randomness.
    directory
        Where the artefact goes. A checkpoint of the same training found here is resumed.
    device
        "cpu", "cuda", "mps"; None: `default_device`.
    progress
        Called with the steps done and those to do.

    Returns
    -------
    dict
        The content of ``metrics.json``, and ``seconds``.

    Raises
    ------
    DataError
        For jets that cannot be used, or a loss that is no longer finite.
    """
    directory, started = Path(directory), time.monotonic()
    where = torch.device(device or default_device())
    work = (dict(jet_tables), config, seed, directory)
    if config.training.devices == 1:
        fabric = _fabric(where, config, directory)
        metrics, fitted = _train(fabric, *work, progress)
    else:
        # processes of its own, which a callback does not reach
        fabric = _fabric(where, config, directory, strategy="ddp_spawn")
        metrics, fitted = fabric.launch(cast(Any, _train), *work, None)
    seconds = round(time.monotonic() - started, 1)
    _LOG.info(
        "trained on %d jets in %.1f s: jet pT response %.4f, mass %.4f, %d of %d codes in use",
        metrics["training"]["jets"],
        seconds,
        metrics["response"]["all"]["jet_pt"]["median"],
        metrics["response"]["all"]["jet_mass"]["median"],
        metrics["codes_used"],
        metrics["codes"],
    )
    return {**metrics, "seconds": seconds, "train_seconds": fitted}


def _fabric(
    device: torch.device, config: TokenizerConfig, directory: Path, strategy: str = "auto"
) -> Fabric:
    return Fabric(
        accelerator=device.type,
        devices=config.training.devices,
        strategy=strategy,
        precision=config.training.precision,
        plugins=LightningEnvironment(),  # also in a job of Slurm, which it would look for
        loggers=_loggers(directory, tensorboard=config.training.tensorboard),
    )


def _train(
    fabric: Fabric,
    jet_tables: Mapping[str, Sequence[Path]],
    config: TokenizerConfig,
    seed: int,
    directory: Path,
    progress: Progress | None,
) -> tuple[dict[str, Any], float]:
    """Metrics, and the seconds of fitting; what is saved, the first process saves."""
    sizes = config.training
    with _reproducible(fabric.device, sizes.threads):
        fit = Fit(Tokenizer(config), seed, fabric)
        other = fit.tokenizer.feature_set.needs_other
        fit.take(
            read_jets(jet_tables, "train", sizes.max_training_jets, other=other),
            read_jets(jet_tables, "val", sizes.max_validation_jets, other=other),
        )
        fit.run(directory / CHECKPOINT, progress)
        if not fabric.is_global_zero:
            return {}, 0.0
        tokenizer = fit.finish()
        test = read_jets(jet_tables, "test", sizes.max_test_jets, other=other)
        reconstruction = reconstruct(tokenizer, test)
        taus = tau32_sample(test, reconstruction)
        metrics = {
            **measure(tokenizer, test, reconstruction, taus, names=sorted(jet_tables)),
            "training": fit.summary(),
        }
        tokenizer.provenance = fit.provenance(jet_tables)
        tokenizer.measured = summary(metrics)
        tokenizer.save(directory)
    write_json(directory / "metrics.json", metrics)
    write_bytes(directory / "training.csv", _csv(metrics["training"]["epochs"]))
    write_figures(directory, test, reconstruction, taus)
    (directory / CHECKPOINT).unlink(missing_ok=True)
    return metrics, round(fit.seconds, 1)


def _csv(epochs: Sequence[Mapping[str, Any]]) -> bytes:
    names = ("loss", "validation_loss", "codes_used")
    lines = [",".join(("epoch", *names))]
    lines += [
        ",".join(str(value) for value in (number, *(epoch[name] for name in names)))
        for number, epoch in enumerate(epochs, start=1)
    ]
    return ("\n".join(lines) + "\n").encode()


def _loggers(directory: Path, *, tensorboard: bool) -> list[Any]:
    if not tensorboard:
        return []
    try:
        from lightning_fabric.loggers import TensorBoardLogger

        return [TensorBoardLogger(directory, name="tensorboard", version="")]
    except ModuleNotFoundError:
        raise ConfigError(
            "tokenizer.training.tensorboard: the package tensorboard is not installed; pip install"
            " tensorboard"
        ) from None


@contextmanager
def _reproducible(device: torch.device, threads: int) -> Iterator[None]:
    """Fixed number of threads and deterministic kernels; what was set before comes back."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    # On a CPU all that is used here is deterministic, and asking for it imports torch's compiler.
    if device.type != "cuda":
        try:
            yield
        finally:
            torch.set_num_threads(before)
        return
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
