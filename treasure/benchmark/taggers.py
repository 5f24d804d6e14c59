"""Taggers: networks from the particles of a jet to one number, registered by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn

from treasure.config.benchmark import TaggerConfig
from treasure.errors import ConfigError

__all__ = ["TAGGERS", "DeepSets", "TokenEmbedding", "build_tagger", "register"]

Factory = TypeVar("Factory", bound=Callable[[int, TaggerConfig], nn.Module])

TAGGERS: dict[str, Callable[[int, TaggerConfig], nn.Module]] = {}
"""Registered taggers: name → class, called with (number of features, configuration)."""

TYPICAL_PARTICLES = 40.0
"""Scale of a sum over particles, so that the per-jet network starts with inputs of order one."""


def register(name: str) -> Callable[[Factory], Factory]:
    """Register a tagger class under the name by which the configuration's `kind` calls it.

    The class is an `nn.Module`; its `forward(features, jets, n_jets)` takes packed particles,
    float32 (n_particles, F), the number of the jet of each, int64 (n_particles,), ascending, and
    the number of jets, and returns one logit per jet, (n_jets,). It must not depend on the order of
    the particles in a jet if the benchmark is to compare sets.
    """

    def decorate(tagger: Factory) -> Factory:
        TAGGERS[name] = tagger
        return tagger

    return decorate


def build_tagger(
    n_features: int, config: TaggerConfig, *, seed: int, codebook: Tensor | None = None
) -> nn.Module:
    """Build the tagger that the configuration names, with weights drawn from `seed`.

    Parameters
    ----------
    n_features : int
        Number of features of a particle; of a token, the length of its embedding vector.
    config : TaggerConfig
    seed : int
        The same seed gives the same weights; the global generator is left as it was. Not safe
        while another thread draws from that.
    codebook : Tensor, shape (Q, K, n_features), optional
        For tokens: first values of the embedding of K ids in each of Q codebooks.

    Raises
    ------
    ConfigError
        If no tagger of that name is registered.
    """
    if config.kind not in TAGGERS:
        close = difflib.get_close_matches(config.kind, TAGGERS, n=1)
        raise ConfigError(
            f"tagger.kind: found {config.kind!r}, expected one of {', '.join(sorted(TAGGERS))}"
            + (f"; did you mean {close[0]!r}?" if close else "")
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tagger = TAGGERS[config.kind](n_features, config)
        return tagger if codebook is None else TokenEmbedding(codebook, tagger, config)


@register("deepsets")
class DeepSets(nn.Module):
    """Particle-flow network F(Σ φ(p)) of P. Komiske, E. Metodiev, J. Thaler, arXiv:1810.05165.

    Particles come packed, jet after jet, instead of padded: nothing is computed for padding and
    nothing can leak from it.
    """

    def __init__(self, n_features: int, config: TaggerConfig) -> None:
        super().__init__()
        widths = (n_features, *config.particle_layers)
        self.particle_network = nn.Sequential(
            *(m for a, b in pairwise(widths) for m in (nn.Linear(a, b), nn.ReLU()))
        )
        widths = (config.particle_layers[-1], *config.jet_layers)
        self.jet_network = nn.Sequential(
            *(m for a, b in pairwise(widths) for m in (nn.Linear(a, b), nn.ReLU())),
            nn.Linear(widths[-1], 1),
        )

    def forward(self, features: Tensor, jets: Tensor, n_jets: int) -> Tensor:
        """Return logits (n_jets,); see `register`. A jet without particles is a sum of nothing."""
        hidden = self.particle_network(features)
        summed = hidden.new_zeros(n_jets, hidden.shape[1]).index_add_(0, jets, hidden)
        return self.jet_network(summed / TYPICAL_PARTICLES).squeeze(1)


class TokenEmbedding(nn.Module):
    """A tagger on token ids: each id becomes a vector, of which a tagger on features is made.

    The vectors begin as the released codebook's, so the tagger starts with the geometry that the
    tokenizer learned, and a rare id, which training hardly moves, still means something. Vectors
    of several codebooks are summed, as in residual quantization.
    """

    first: Tensor

    def __init__(self, codebook: Tensor, tagger: nn.Module, config: TaggerConfig) -> None:
        super().__init__()
        n_codebooks, self.vocabulary_size, _ = codebook.shape
        flat = codebook.flatten(0, 1)
        if config.token_embedding == "random":
            flat = torch.randn(flat.shape)
        self.embedding = nn.Embedding.from_pretrained(
            flat.clone(), freeze=not config.train_embedding
        )
        self.register_buffer(
            "first", self.vocabulary_size * torch.arange(n_codebooks), persistent=False
        )
        self.tagger = tagger

    def forward(self, tokens: Tensor, jets: Tensor, n_jets: int) -> Tensor:
        """Return logits (n_jets,) from ids (n_particles, Q)."""
        vectors = self.embedding(tokens + self.first).sum(dim=1)
        return self.tagger(vectors, jets, n_jets)
