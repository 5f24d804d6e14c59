"""Scalar quantization: each dimension by itself, on levels that are given or on quantiles."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from treasure.config.tokenizer import QuantizerConfig
from treasure.tokenizer.quantizer import Quantized, Quantizer

__all__ = ["QuantileBins", "ScalarQuantizer"]

# With more codes than this, a codebook of all combinations is of no use.
_LARGEST_CODEBOOK = 2**20


class ScalarQuantizer(Quantizer, kind="fsq"):
    """Finite scalar quantization (arXiv:2309.15505), of `vector-quantize-pytorch`.

    There is no codebook to learn, so none can collapse: every dimension is squashed by tanh and
    rounded to one of its levels; an id stands for a combination of levels.
    """

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__(config)
        from vector_quantize_pytorch import FSQ

        self.dimension, self.codes = len(config.levels), math.prod(config.levels)
        self.levels = FSQ(
            levels=list(config.levels),
            return_indices=True,
            allowed_dtypes=(torch.float32, torch.float64),
            force_quantization_f32=False,
        )

    def forward(self, latent: Tensor, weight: Tensor, generator: torch.Generator) -> Quantized:
        quantized, ids = self.levels(latent[None])
        return Quantized(quantized[0], ids[0].to(torch.int64), latent.new_zeros(()))

    @torch.no_grad()
    def ids(self, latent: Tensor) -> Tensor:
        return self.levels(latent[None])[1][0].to(torch.int64)

    def vectors(self, ids: Tensor) -> Tensor:
        return self.levels.indices_to_codes(ids)

    def codebook(self) -> NDArray[np.float32]:
        return self.levels.implicit_codebook.cpu().numpy().astype(np.float32)


class QuantileBins(Quantizer, kind="binning"):
    """Bins of equal weight in every dimension; a bin decodes to the mean of its particles.

    One id a particle for the combination of bins, or, beyond 2^20 combinations, one id a feature.
    """

    edges: Tensor  # (D, L - 1), +inf where a dimension has fewer levels
    centres: Tensor  # (D, L)
    bases: Tensor  # (D,) int64: what a step of each bin adds to the id

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__(config)
        levels = config.levels
        self.dimension = len(levels)
        self.joint = math.prod(levels) <= _LARGEST_CODEBOOK
        self.codes = math.prod(levels) if self.joint else max(levels)
        self.codebooks = 1 if self.joint else len(levels)
        self.register_buffer("edges", torch.full((len(levels), max(levels) - 1), torch.inf))
        self.register_buffer("centres", torch.zeros(len(levels), max(levels)))
        bases = (
            np.concatenate([[1], np.cumprod(levels)[:-1]]) if self.joint else np.ones(len(levels))
        )
        self.register_buffer("bases", torch.tensor(bases, dtype=torch.int64), persistent=False)

    @property
    def bits(self) -> float:
        return math.log2(math.prod(self.config.levels))

    @torch.no_grad()
    def start(self, latent: Tensor, weight: Tensor, generator: torch.Generator) -> None:
        """Edges at the weighted quantiles, centres at the weighted means of the bins."""
        for axis, levels in enumerate(self.config.levels):
            values, order = latent[:, axis].to(torch.float64).sort(stable=True)
            mass = weight[order].to(torch.float64)
            share = (mass.cumsum(0) - mass / 2) / mass.sum()
            wanted = torch.arange(1, levels, dtype=torch.float64, device=latent.device) / levels
            places = torch.searchsorted(share, wanted).clamp(max=len(values) - 1)
            edges = values[places].to(self.edges.dtype)
            self.edges[axis, : levels - 1] = edges
            bins = torch.bucketize(latent[:, axis].contiguous(), edges, right=True)
            held = torch.zeros(levels, dtype=torch.float64, device=latent.device)
            total = torch.zeros_like(held)
            held.scatter_add_(0, bins, weight.to(torch.float64))
            total.scatter_add_(0, bins, (weight * latent[:, axis]).to(torch.float64))
            # an empty bin, between equal quantiles, decodes to its lower edge
            lower = torch.cat([edges[:1], edges]).to(torch.float64)
            self.centres[axis, :levels] = torch.where(held > 0, total / held, lower)

    def forward(self, latent: Tensor, weight: Tensor, generator: torch.Generator) -> Quantized:
        ids = self.ids(latent.detach())
        return Quantized(latent + (self.vectors(ids) - latent).detach(), ids, latent.new_zeros(()))

    @torch.no_grad()
    def ids(self, latent: Tensor) -> Tensor:
        # as the edges were found: a value on an edge in float32 may be below it in float64
        values, edges = latent.to(torch.float32), self.edges.to(torch.float32)
        bins = torch.stack(
            [
                torch.bucketize(values[:, axis].contiguous(), edges[axis], right=True)
                for axis in range(self.dimension)
            ],
            dim=1,
        )
        return (bins * self.bases).sum(dim=1) if self.joint else bins

    def vectors(self, ids: Tensor) -> Tensor:
        return torch.stack(
            [self.centres[axis][self._bin(ids, axis)] for axis in range(self.dimension)], dim=-1
        )

    def _bin(self, ids: Tensor, axis: int) -> Tensor:
        if not self.joint:
            return ids[..., axis]
        return (ids // self.bases[axis]) % self.config.levels[axis]

    def codebook(self) -> NDArray[np.float32]:
        if self.joint:
            return self.vectors(torch.arange(self.codes)).cpu().numpy()
        books = torch.diag_embed(self.centres.T.contiguous()).transpose(0, 1)
        return books.cpu().numpy()
