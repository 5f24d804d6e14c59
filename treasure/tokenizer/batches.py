"""Batches of packed jets in a reproducible random order."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from treasure.tokenizer.particles import owners

__all__ = ["Batch", "batches"]


class Batch(NamedTuple):
    """Particles of some jets on a device."""

    features: Tensor  # (P, F) float32
    weight: Tensor  # (P,) float32
    owner: Tensor  # (P,) int64, ascending
    jets: int


def batches(
    features: NDArray[np.float32],
    weight: NDArray[np.float32],
    counts: NDArray[np.int64],
    batch_jets: int,
    device: torch.device,
    order: NDArray[np.int64] | None = None,
) -> Iterator[Batch]:
    """Cut packed jets into batches that have at least one particle.

    Parameters
    ----------
    features : (P, F)
    weight : (P,)
    counts : (N,)
        Particles of each jet.
    batch_jets
        Jets a batch; the last may have fewer.
    order : (N,), optional
        Jets in the order in which they are taken.
    """
    starts = np.cumsum(counts) - counts
    order = np.arange(len(counts)) if order is None else order
    for first in range(0, len(order), batch_jets):
        jets = order[first : first + batch_jets]
        owner = owners(counts[jets])
        if len(owner) == 0:
            continue
        # Row of a particle: where its jet starts, plus its place in the jet.
        before = np.cumsum(counts[jets]) - counts[jets]
        rows = starts[jets][owner] + np.arange(len(owner)) - before[owner]
        yield Batch(
            torch.from_numpy(features[rows]).to(device),
            torch.from_numpy(weight[rows]).to(device),
            torch.from_numpy(owner).to(device),
            len(jets),
        )
