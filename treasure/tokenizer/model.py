"""Networks between features and latent vectors, on packed particles."""

from typing import Any

import torch
from torch import Tensor, nn

from treasure.config.tokenizer import ModelConfig
from treasure.errors import ConfigError
from treasure.plugins import Plugin

__all__ = ["DeepSets", "Identity", "Model"]


class Model(nn.Module, Plugin, family=True):
    """An encoder and a decoder.

    Both take packed particles with `owner` (P,) int64, the jet of each, ascending, and the number
    of jets. Permuting the particles of a jet must permute the rows of the result, and jets must
    not know of each other: then tokens depend neither on batches nor on padding.
    """

    def __init__(self, config: ModelConfig, features: int, dimension: int) -> None:
        super().__init__()
        self.config, self.features, self.dimension = config, features, dimension

    def initialise(self, generator: torch.Generator) -> None:
        """Set every parameter from a generator; the global one is never used."""
        raise NotImplementedError

    def encode(self, features: Tensor, owner: Tensor, jets: int) -> Tensor:
        """Latent vectors (P, D) of standardised features (P, F)."""
        raise NotImplementedError

    def decode(self, latent: Tensor, owner: Tensor, jets: int) -> Tensor:
        """Standardised features (P, F) of quantized latent vectors (P, D)."""
        raise NotImplementedError


class _Residual(nn.Module):
    """A linear map plus a correction that knows the particle and a summary of its jet."""

    def __init__(self, inputs: int, outputs: int, width: int, depth: int, context: int) -> None:
        super().__init__()
        self.straight = nn.Linear(inputs, outputs)
        self.summary = nn.Sequential(
            nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, context)
        ) if context else None  # fmt: skip
        self.first = nn.Linear(inputs, width)
        self.from_jet = nn.Linear(context, width, bias=False) if context else None
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(depth - 1))
        self.last = nn.Linear(width, outputs)

    def forward(self, x: Tensor, owner: Tensor, jets: int) -> Tensor:
        h = self.first(x)
        if self.summary is not None and self.from_jet is not None:
            per_particle = self.summary(x)
            index = owner[:, None].expand_as(per_particle)
            summed = per_particle.new_zeros(jets, per_particle.shape[1])
            # A tenth of the sum: jets have tens of particles, and the number of them matters too.
            jet = torch.nn.functional.silu(summed.scatter_add(0, index, per_particle) * 0.1)
            h = h + self.from_jet(jet)[owner]
        h = torch.nn.functional.silu(h)
        for layer in self.hidden:
            h = torch.nn.functional.silu(layer(h))
        return self.straight(x) + self.last(h)


class DeepSets(Model, kind="deep_sets"):
    """Particle-wise networks which see a sum over the jet's particles (arXiv:1810.05165).

    Encoder and decoder start as the identity, with a correction of zero, so that training starts
    from k-means in the standardised features and only improves on it.
    """

    def __init__(self, config: ModelConfig, features: int, dimension: int) -> None:
        super().__init__(config, features, dimension)
        sizes: dict[str, Any] = {"width": config.width, "depth": config.depth}
        self.encoder = _Residual(features, dimension, **sizes, context=config.encoder_context)
        self.decoder = _Residual(dimension, features, **sizes, context=config.decoder_context)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        for name, parameter in self.named_parameters():
            if parameter.ndim == 1 or ".last." in name:
                parameter.zero_()
            elif ".straight." in name:
                parameter.copy_(torch.eye(*parameter.shape))
            else:
                # He et al., arXiv:1502.01852: keeps the variance through rectifier-like units.
                bound = (3.0 / parameter.shape[1]) ** 0.5
                values = torch.empty(parameter.shape)
                parameter.copy_(values.uniform_(-bound, bound, generator=generator))

    def encode(self, features: Tensor, owner: Tensor, jets: int) -> Tensor:
        return self.encoder(features, owner, jets)

    def decode(self, latent: Tensor, owner: Tensor, jets: int) -> Tensor:
        return self.decoder(latent, owner, jets)


class Identity(Model, kind="identity"):
    """No networks: the latent vectors are the standardised features."""

    def __init__(self, config: ModelConfig, features: int, dimension: int) -> None:
        super().__init__(config, features, dimension)
        if features != dimension:
            raise ConfigError(
                f"tokenizer.model.kind identity: {features} features, but latent vectors of"
                f" {dimension}; set quantizer.dimension (or the number of quantizer.levels) to"
                f" {features}"
            )

    def initialise(self, generator: torch.Generator) -> None:
        pass

    def encode(self, features: Tensor, owner: Tensor, jets: int) -> Tensor:
        return features

    def decode(self, latent: Tensor, owner: Tensor, jets: int) -> Tensor:
        return latent
