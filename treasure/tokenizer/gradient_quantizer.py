"""Vector quantization with a codebook that the optimizer moves, as OmniJet-alpha uses it."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from treasure.config.tokenizer import QuantizerConfig
from treasure.tokenizer.nearest import nearest, several_nearest
from treasure.tokenizer.processes import from_first, summed
from treasure.tokenizer.quantizer import Quantized, Quantizer, VectorQuantizer

__all__ = ["GradientQuantizer"]


class GradientQuantizer(Quantizer, kind="vq_gradient"):
    """VQ of M. Huh et al., arXiv:2305.08842: affine codebook, synchronised gradients.

    The codebook is a parameter. A common scale and shift of all codes follow the encoder quickly;
    the gradient of the reconstruction reaches encoder and codes alike; codes that are not used for
    some steps move to random vectors.
    """

    unused: Tensor  # (K,): steps since a code was used

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__(config)
        self.codes_ = nn.Parameter(torch.zeros(config.codes, config.dimension))
        self.scale = nn.Parameter(torch.zeros(config.dimension))
        self.shift = nn.Parameter(torch.zeros(config.dimension))
        self.register_buffer("unused", torch.zeros(config.codes, dtype=torch.int64))

    def _vectors(self) -> Tensor:
        rate = self.config.affine_rate
        return self.codes_ * (1 + rate * self.scale) + rate * self.shift

    @torch.no_grad()
    def start(self, latent: Tensor, weight: Tensor, generator: torch.Generator) -> None:
        first = VectorQuantizer(self.config).to(latent.device)
        first.start(latent, weight, generator)
        self.codes_.copy_(from_first(first.vectors_))

    def forward(self, latent: Tensor, weight: Tensor, generator: torch.Generator) -> Quantized:
        if self.training:
            self._replace(latent.detach(), generator)
        vectors = self._vectors()
        ids = nearest(latent.detach(), vectors.detach())
        codes = vectors[ids]
        if self.training:
            used = torch.zeros(self.codes, device=ids.device)
            used[ids] = 1.0
            self.unused += 1
            self.unused[summed(used)[0] > 0] = 0
        beta = self.config.beta
        encoder = (weight * (latent - codes.detach()).square().mean(dim=1)).mean()
        book = (weight * (latent.detach() - codes).square().mean(dim=1)).mean()
        loss = self.config.commitment * ((1 - beta) * encoder + beta * book)
        # both the latent vector and its code get the gradient of what is decoded
        straight = latent + (codes - latent).detach() + codes - codes.detach()
        return Quantized(straight, ids, loss)

    @torch.no_grad()
    def _replace(self, latent: Tensor, generator: torch.Generator) -> None:
        if not self.config.replace_every:
            return
        dead = self.unused >= self.config.replace_every * self.parts
        wanted = int(dead.sum())
        if wanted:
            rows = torch.randint(len(latent), (wanted,), generator=generator).to(latent.device)
            rate = self.config.affine_rate
            moved = (latent[rows] - rate * self.shift) / (1 + rate * self.scale)
            self.codes_[dead] = from_first(moved)
            self.unused[dead] = 0

    @torch.no_grad()
    def ids(self, latent: Tensor) -> Tensor:
        return nearest(latent, self._vectors().to(latent.dtype))

    def vectors(self, ids: Tensor) -> Tensor:
        return self._vectors()[ids]

    def candidates(self, latent: Tensor, wanted: int) -> Tensor:
        return several_nearest(latent, self._vectors().detach().to(latent.dtype), wanted)

    def codebook(self) -> NDArray[np.float32]:
        return self._vectors().detach().cpu().numpy()
