"""All trainings of the benchmark, each kept when finished, and the comparison of their metrics."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from treasure.benchmark.metrics import METRICS, bootstrap, evaluate
from treasure.benchmark.training import (
    Sample,
    Training,
    load_training,
    new_network,
    one_thread,
    save_training,
    train_tagger,
)
from treasure.config.benchmark import TaggerConfig
from treasure.errors import DataError
from treasure.store import fingerprint

__all__ = ["REFERENCE", "compare", "train_all"]

REFERENCE = "continuous"
"""The input to which the others are compared."""

PROGRESS_INTERVAL = 0.5
"""Seconds between two reports of progress."""


def train_all(
    samples: Mapping[str, Sample],
    config: TaggerConfig,
    *,
    seeds: Sequence[int],
    seed: int,
    directory: Path,
    device: str = "cpu",
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, dict[int, Training]]:
    """Train a tagger per input and seed; those that `directory` holds already are read.

    Trainings run side by side, each on one CPU thread, so that the result depends neither on the
    number of cores nor on what else runs.

    Parameters
    ----------
    samples : mapping of str to Sample
        The inputs to compare: the same jets, labels and splits in each.
    config : TaggerConfig
    seeds : sequence of int
        A training each; the same first weights and order of jets for every input, as far as its
        shape allows.
    seed : int
        Seed of the whole benchmark.
    directory : Path
        ``<input>_seed<number>.safetensors`` go here, each written when its training ends.
    device : str
        Of torch; on anything but the CPU one training at a time.
    workers : int, optional
        Trainings at the same time; the number of usable CPUs when None.
    progress : callable, optional
        Called with (epochs done, epochs in all), over all trainings.

    Returns
    -------
    dict
        input → seed → training.

    Raises
    ------
    DataError
        If the training or the test split lacks a class.
    """
    for name, sample in samples.items():
        _check_classes(name, sample)
    total = len(samples) * len(seeds) * config.epochs
    done = dict.fromkeys(((name, number) for name in samples for number in seeds), 0)

    # networks are made here, one after the other: their first weights need torch's own generator
    tasks = []
    found: dict[str, dict[int, Training]] = {name: {} for name in samples}
    for name, sample in samples.items():
        content = _content(sample)
        for number in seeds:
            key = fingerprint(
                {
                    "sample": content,
                    "tagger": config.model_dump(mode="json"),
                    "seed": [seed, number],
                }
            )
            path = directory / f"{name}_seed{number}.safetensors"
            training = load_training(path, key=key)
            if training is not None:
                found[name][number] = training
                done[name, number] = config.epochs
                continue
            start = int(np.random.default_rng([seed, number]).integers(2**31))
            tasks.append((name, number, path, key, start, new_network(sample, config, seed=start)))

    def run(task: tuple[Any, ...]) -> tuple[str, int, Training]:
        name, number, path, key, start, network = task
        torch.set_num_threads(1)  # a setting of each thread
        training = train_tagger(
            samples[name],
            config,
            seed=start,
            device=device,
            network=network,
            progress=lambda epochs, _: done.update({(name, number): epochs}),
        )
        save_training(training, path, key=key)
        return name, number, training

    workers = 1 if device != "cpu" else workers or len(os.sched_getaffinity(0))
    # Torch imports parts of itself in the first step of an optimizer. In two threads at once these
    # imports may wait for each other for ever (seen with Python 3.11.2).
    torch.optim.SGD([torch.zeros(1, requires_grad=True)]).zero_grad()
    with one_thread(), ThreadPoolExecutor(max(1, min(workers, len(tasks)))) as pool:
        futures = [pool.submit(run, task) for task in tasks]
        try:
            for future in futures:
                while future not in wait([future], timeout=PROGRESS_INTERVAL).done:
                    if progress is not None:
                        progress(sum(done.values()), total)
                name, number, training = future.result()
                found[name][number] = training
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if progress is not None:
        progress(total, total)
    return {name: {number: found[name][number] for number in seeds} for name in samples}


def compare(
    labels: npt.ArrayLike,
    scores: Mapping[str, npt.NDArray[Any]],
    *,
    resamplings: int,
    seed: int,
) -> dict[str, dict[str, Any]]:
    """Return the metrics of each input and their differences to the continuous one.

    Parameters
    ----------
    labels : array_like of int, shape (n_test,)
    scores : mapping of str to array, shape (n_seeds, n_test)
        Row i of every input comes from the same seed.
    resamplings : int
        Bootstrap draws for the statistical uncertainties; they are None below 2.
    seed : int

    Returns
    -------
    dict
        input → metric → ``{"mean", "std", "statistical"}``, and input → "difference" → metric →
        the same of (input − continuous), paired by seed. `std` is the standard deviation over the
        seeds (ddof 1; 0 for one seed), `statistical` that of the mean from the finite number of
        test jets. They are of different origin: add them in quadrature for the whole (`std` over
        √n_seeds where the uncertainty of the mean is meant).
    """
    values = {
        name: {m: np.array([row[m] for row in rows]) for m in METRICS}
        for name, rows in (
            (name, [evaluate(labels, row) for row in np.atleast_2d(array)])
            for name, array in scores.items()
        )
    }
    statistical = (
        bootstrap(labels, scores, reference=REFERENCE, resamplings=resamplings, seed=seed)
        if resamplings >= 2
        else None
    )
    result: dict[str, dict[str, Any]] = {}
    for name in scores:
        error = statistical[name] if statistical else {"value": {}, "difference": {}}
        result[name] = {m: _summary(values[name][m], error["value"].get(m)) for m in METRICS}
        result[name]["difference"] = {
            m: _summary(values[name][m] - values[REFERENCE][m], error["difference"].get(m))
            for m in METRICS
        }
    return result


def _summary(values: npt.NDArray[Any], statistical: float | None) -> dict[str, float | None]:
    return {
        "mean": float(values.mean()),
        "std": float(values.std(ddof=1)) if len(values) > 1 else 0.0,
        "statistical": statistical,
    }


def _check_classes(name: str, sample: Sample) -> None:
    for number, split in ((0, "train"), (2, "test")):
        counts = np.bincount(sample.labels[sample.jets(number)], minlength=2)
        if counts.min() == 0:
            raise DataError(
                f"benchmark input {name!r}, split {split!r}: {counts[1]} signal and {counts[0]} "
                "background jets, expected some of each; use more events or a wider pT bin"
            )


def _content(sample: Sample) -> str:
    """Hash of everything that a training sees."""
    digest = hashlib.sha256()
    arrays = [sample.particles.values, sample.particles.offsets, sample.labels, sample.splits]
    if sample.codebook is not None:
        arrays.append(sample.codebook)
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    if sample.scaled:
        digest.update(b"scaled")
    return digest.hexdigest()
