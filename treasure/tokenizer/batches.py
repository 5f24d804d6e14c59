"""Batches of packed jets in a reproducible random order."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from treasure.tokenizer.particles import owners

__all__ = ["Batch", "batches"]


class Batch:
    """Particles of some jets on a device.

    No collection of tensors: what Lightning finds in such, it would turn into half precision.

    Attributes
    ----------
    features : (P, F) float32
    weight : (P,) float32
    owner : (P,) int64
        Ascending.
    jets
        Number of jets.
    """

    def __init__(self, features: Tensor, weight: Tensor, owner: Tensor, jets: int) -> None:
        self.features, self.weight, self.owner, self.jets = features, weight, owner, jets


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
