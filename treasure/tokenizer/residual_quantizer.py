"""Residual vector quantization: each codebook refines what those before it left."""

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from treasure.config.tokenizer import QuantizerConfig
from treasure.tokenizer.quantizer import Quantized, Quantizer, VectorQuantizer

__all__ = ["ResidualQuantizer"]


class ResidualQuantizer(Quantizer, kind="rvq"):
    """Q codebooks for one particle, whose vectors sum up (arXiv:2107.03312, section III.C).

    Every stage is a `VectorQuantizer` of the residual of the stages before it.
    """

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__(config)
        self.codebooks = config.codebooks
        self.stages = nn.ModuleList(VectorQuantizer(config) for _ in range(config.codebooks))

    def _each(self) -> list[VectorQuantizer]:
        return [cast(VectorQuantizer, stage) for stage in self.stages]

    @torch.no_grad()
    def start(self, latent: Tensor, weight: Tensor, generator: torch.Generator) -> None:
        for stage in self._each():
            stage.start(latent, weight, generator)
            latent = latent - stage.vectors(stage.ids(latent))

    def forward(self, latent: Tensor, weight: Tensor, generator: torch.Generator) -> Quantized:
        residual, total = latent, torch.zeros_like(latent)
        loss = latent.new_zeros(())
        ids = []
        for stage in self._each():
            stage.parts = self.parts
            found: Quantized = stage(residual, weight, generator)
            vectors = found.latent.detach()
            residual, total = residual - vectors, total + vectors
            loss = loss + found.loss
            ids.append(found.ids)
        return Quantized(latent + (total - latent).detach(), torch.stack(ids, dim=1), loss)

    @torch.no_grad()
    def ids(self, latent: Tensor) -> Tensor:
        ids = []
        for stage in self._each():
            ids.append(stage.ids(latent))
            latent = latent - stage.vectors(ids[-1]).to(latent.dtype)
        return torch.stack(ids, dim=1)

    def candidates(self, latent: Tensor, wanted: int) -> Tensor:
        """Ids (P, C, Q): the codes of all stages but the last are the nearest."""
        *first, last = self._each()
        ids = []
        for stage in first:
            ids.append(stage.ids(latent))
            latent = latent - stage.vectors(ids[-1]).to(latent.dtype)
        choices = last.candidates(latent, wanted)
        fixed = [each[:, None].expand_as(choices) for each in ids]
        return torch.stack([*fixed, choices], dim=2)

    def vectors(self, ids: Tensor) -> Tensor:
        parts = [stage.vectors(ids[..., i]) for i, stage in enumerate(self._each())]
        return torch.stack(parts).sum(dim=0)

    def codebook(self) -> NDArray[np.float32]:
        return np.stack([stage.codebook() for stage in self._each()])
