"""A quantizer of one's own: a regular grid in place of a learned codebook.

Finite scalar quantization (F. Mentzer et al., arXiv:2309.15505) rounds every latent dimension to a
few levels. Nothing has to be learned, no code can die, and an id is the number of a cell. Named in
a configuration (see own_classes.yaml)::

    tokenizer:
      quantizer:
        kind: examples.own_quantizer:RegularGrid
        codes: 512                      # the product of the levels
        dimension: 3                    # how many there are
        options: {levels: [8, 8, 8], reach: 2.5}
"""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from treasure.config.tokenizer import QuantizerConfig
from treasure.errors import ConfigError
from treasure.tokenizer.quantizer import Quantized, Quantizer

__all__ = ["RegularGrid"]


class RegularGrid(Quantizer):
    """Levels of equal distance between -reach and +reach in every dimension.

    The features are standardised and the encoder starts as the identity, so a reach of 2.5 is two
    and a half standard deviations.

    Parameters
    ----------
    config
        Its `options`: `levels`, a number (2 or more) for each dimension, and `reach`.
    """

    levels: Tensor  # (D,) int64
    place: Tensor  # (D,) int64: what one level counts in the id, as digits of a number do
    step: Tensor  # (D,): distance of two levels

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__(config)
        options: dict[str, Any] = {"levels": [], "reach": 2.5} | config.options
        if unknown := options.keys() - {"levels", "reach"}:
            raise ConfigError(
                f"tokenizer.quantizer.options: no {', '.join(sorted(unknown))}; there are levels"
                " and reach"
            )
        levels = [int(count) for count in options["levels"]]
        if len(levels) != config.dimension or math.prod(levels) != config.codes:
            raise ConfigError(
                f"tokenizer.quantizer.options.levels: {levels}; expected {config.dimension} numbers"
                f" (dimension) whose product is {config.codes} (codes)"
            )
        self.reach = float(options["reach"])
        places = np.cumprod([1, *levels[:-1]])
        # Buffers follow the quantizer to another device. These come from the configuration, so
        # they need not be saved; what is learned is a parameter, or a buffer that is.
        for name, values in (("levels", levels), ("place", places.tolist())):
            self.register_buffer(name, torch.tensor(values), persistent=False)
        steps = [2 * self.reach / (count - 1) for count in levels]
        self.register_buffer("step", torch.tensor(steps), persistent=False)

    def forward(self, latent: Tensor, weight: Tensor, generator: torch.Generator) -> Quantized:
        ids = self.ids(latent.detach())
        codes = self.vectors(ids)
        # Beyond the outermost levels nothing is left to choose from: keep the encoder inside.
        outside = (latent.abs() - self.reach).clamp(min=0)
        loss = (weight * outside.square().mean(dim=1)).mean()
        # Rounding has no gradient: that of the decoder goes straight through to the encoder.
        return Quantized(latent + (codes - latent).detach(), ids, loss)

    @torch.no_grad()
    def ids(self, latent: Tensor) -> Tensor:
        index = ((latent + self.reach) / self.step).round().long()
        index = torch.minimum(index.clamp(min=0), self.levels - 1)
        return (index * self.place).sum(dim=1)

    def vectors(self, ids: Tensor) -> Tensor:
        index = (ids[:, None] // self.place) % self.levels
        return index * self.step - self.reach

    def codebook(self) -> NDArray[np.float32]:
        ids = torch.arange(self.codes, device=self.step.device)
        return self.vectors(ids).cpu().numpy().astype(np.float32)
