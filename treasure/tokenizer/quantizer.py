"""The bottleneck: latent vectors to integers and back."""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from treasure.config.tokenizer import QuantizerConfig
from treasure.errors import ConfigError
from treasure.plugins import Plugin
from treasure.tokenizer.nearest import nearest, several_nearest
from treasure.tokenizer.processes import from_first, summed

__all__ = ["KMeans", "Quantized", "Quantizer", "VectorQuantizer"]


class Quantized(NamedTuple):
    """What a quantizer makes of latent vectors in training."""

    latent: Tensor  # (P, D): quantized, with gradients passed straight through
    ids: Tensor  # (P,) or (P, Q) int64
    loss: Tensor  # scalar


class Quantizer(nn.Module, Plugin, family=True):
    """Latent vectors (P, D) to ids and back; one id a particle, or Q of them.

    Attributes
    ----------
    codes
        Ids are 0 … codes - 1, in every codebook.
    codebooks
        Q, the ids of a particle.
    dimension
        D, the length of a latent vector.
    bits
        Nominal bits of a particle.
    """

    codebooks = 1

    parts = 1
    """Calls of `forward` that make up a step of training: more than one when memory is short."""

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__()
        self.config, self.codes, self.dimension = config, config.codes, config.dimension

    @property
    def bits(self) -> float:
        return self.codebooks * math.log2(self.codes)

    def start(self, latent: Tensor, weight: Tensor, generator: torch.Generator) -> None:
        """Prepare for training from latent vectors of training particles."""

    def forward(self, latent: Tensor, weight: Tensor, generator: torch.Generator) -> Quantized:
        """Quantize in training, and learn.

        Parameters
        ----------
        latent : (P, D)
        weight : (P,)
            Weights of the particles; their mean is 1.
        generator
            Source of all randomness, on the CPU.
        """
        raise NotImplementedError

    def ids(self, latent: Tensor) -> Tensor:
        """Ids (P,) or (P, Q) int64; each depends on its own vector alone."""
        raise NotImplementedError

    def vectors(self, ids: Tensor) -> Tensor:
        """Quantized latent vectors (P, D) of ids."""
        raise NotImplementedError

    def candidates(self, latent: Tensor, wanted: int) -> Tensor:
        """Ids (P, C) or (P, C, Q) of the codes nearest to each vector, nearest first."""
        raise ConfigError(
            f"jet_constraint.candidates: a quantizer {self.config.kind} has no nearest codes to"
            " choose from; set it to 0"
        )

    def codebook(self) -> NDArray[np.float32]:
        """(K, D), or (Q, K, D), of which a particle's sum up."""
        raise NotImplementedError


class VectorQuantizer(Quantizer, kind="vq"):
    """VQ with a moving-average codebook (arXiv:1711.00937, appendix A.1; straight-through).

    Only real particles come here, so none of it learns from padding. A step does what
    `vector-quantize-pytorch` does (a test compares them), but that has a one-hot moving average
    and a matrix of all distances: with 8,192 codes and 12,800 particles in four dimensions its
    step took 58 times as long on one core, 5.8 s against 0.10 s (`benchmarks/quantizer.py`).
    """

    vectors_: Tensor  # (K, D)
    counts: Tensor  # (K,): moving average of a code's particles, in units of the mean over codes
    mass: Tensor  # (K,): the same of their weights
    sums: Tensor  # (K, D): the same of their weighted latent vectors

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__(config)
        shape = (config.codes, config.dimension)
        self.register_buffer("vectors_", torch.zeros(shape))
        self.register_buffer("counts", torch.zeros(config.codes))
        self.register_buffer("mass", torch.zeros(config.codes))
        self.register_buffer("sums", torch.zeros(shape))

    @torch.no_grad()
    def start(self, latent: Tensor, weight: Tensor, generator: torch.Generator) -> None:
        """Weighted k-means (Lloyd) on a sample; codes without particles move to random ones."""
        sample = self._random_rows(len(latent), self.config.kmeans_particles, generator)
        latent, weight = latent[sample.to(latent.device)], weight[sample.to(latent.device)]
        self.vectors_.copy_(self._random_vectors(latent, self.codes, generator))
        for _ in range(self.config.kmeans_iterations):
            counts, mass, sums = self._accumulate(latent, weight, nearest(latent, self.vectors_))
            used = counts > 0
            self.vectors_[used] = sums[used] / mass[used, None]
            empty = int((~used).sum())
            if empty:
                self.vectors_[~used] = self._random_vectors(latent, empty, generator)
        # As if a long row of average steps had gone by.
        self.counts.fill_(1.0)
        self.mass.fill_(1.0)
        self.sums.copy_(self.vectors_)

    def forward(self, latent: Tensor, weight: Tensor, generator: torch.Generator) -> Quantized:
        ids = nearest(latent.detach(), self.vectors_)
        codes = self.vectors_[ids]
        if self.training:
            self._learn(latent.detach(), weight, ids, generator)
        loss = self.config.commitment * (weight * (latent - codes).square().mean(dim=1)).mean()
        return Quantized(latent + (codes - latent).detach(), ids, loss)

    @torch.no_grad()
    def _learn(
        self, latent: Tensor, weight: Tensor, ids: Tensor, generator: torch.Generator
    ) -> None:
        decay = self.config.decay ** (1 / self.parts)
        counts, mass, sums = summed(*self._accumulate(latent, weight, ids))
        # In units of the mean share of a code, so that batches of all sizes count alike.
        share = self.codes / counts.sum()
        self.counts.lerp_(counts * share, 1 - decay)
        self.mass.lerp_(mass * share, 1 - decay)
        self.sums.lerp_(sums * share, 1 - decay)
        dead = self.counts < self.config.revive_below
        revived = int(dead.sum())
        if revived:
            vectors = from_first(self._random_vectors(latent, revived, generator))
            self.counts[dead] = 1.0
            self.mass[dead] = 1.0
            self.sums[dead] = vectors
        self.vectors_.copy_(self.sums / self.mass[:, None])

    def _accumulate(self, latent: Tensor, weight: Tensor, ids: Tensor) -> tuple[Tensor, ...]:
        """Particles, weights and weighted sums of each code."""
        counts = torch.bincount(ids, minlength=self.codes).to(latent.dtype)
        mass = torch.zeros_like(self.mass).scatter_add_(0, ids, weight)
        index = ids[:, None].expand_as(latent)
        sums = torch.zeros_like(self.sums).scatter_add_(0, index, latent * weight[:, None])
        return counts, mass, sums

    @staticmethod
    def _random_rows(rows: int, wanted: int, generator: torch.Generator) -> Tensor:
        return torch.randperm(rows, generator=generator)[:wanted]

    def _random_vectors(self, latent: Tensor, wanted: int, generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(latent), (wanted,), generator=generator)
        if wanted <= len(latent):
            rows = self._random_rows(len(latent), wanted, generator)
        return latent[rows.to(latent.device)]

    @torch.no_grad()
    def ids(self, latent: Tensor) -> Tensor:
        return nearest(latent, self.vectors_.to(latent.dtype))

    def vectors(self, ids: Tensor) -> Tensor:
        return self.vectors_[ids]

    def candidates(self, latent: Tensor, wanted: int) -> Tensor:
        return several_nearest(latent, self.vectors_.to(latent.dtype), wanted)

    def codebook(self) -> NDArray[np.float32]:
        return self.vectors_.detach().cpu().numpy()


class KMeans(VectorQuantizer, kind="kmeans"):
    """Weighted k-means of the first latent vectors; training moves no code."""

    def _learn(
        self, latent: Tensor, weight: Tensor, ids: Tensor, generator: torch.Generator
    ) -> None:
        pass
