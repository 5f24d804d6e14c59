"""Taggers: networks from the particles of a jet to one number, chosen by name."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from treasure.config.benchmark import TaggerConfig
from treasure.plugins import Plugin, lookup

__all__ = ["DeepSets", "ScaledEmbedding", "Tagger", "TokenEmbedding", "build_tagger"]

TYPICAL_PARTICLES = 40.0
"""Scale of a sum over particles, so that the per-jet network starts with inputs of order one."""


class Tagger(nn.Module, Plugin, family=True):
    """The family of taggers; one of your own is named as ``module:Class`` (`tagger.kind`).

    Particles come packed, jet after jet, instead of padded: nothing is computed for padding and
    nothing can leak from it. A tagger must not draw random numbers except for its first weights.

    Parameters
    ----------
    features
        Number F of features of a particle.
    config
        Widths and what else the configuration says.
    """

    def __init__(self, features: int, config: TaggerConfig) -> None:
        super().__init__()

    def forward(self, features: Tensor, owner: Tensor, jets: int) -> Tensor:
        """Return logits (jets,) of packed particles.

        Parameters
        ----------
        features
            float32, (P, F): standardised features of the particles.
        owner
            int64, (P,), ascending: the jet of each particle.
        jets
            Number of jets, some of which may have no particles.
        """
        raise NotImplementedError


def build_tagger(
    features: int,
    config: TaggerConfig,
    *,
    seed: int,
    codebook: Tensor | None = None,
    scaled: bool = False,
) -> nn.Module:
    """Build the tagger that the configuration names, with weights drawn from `seed`.

    Parameters
    ----------
    features : int
        Number of features of a particle; of a token, the length of its embedding vector.
    config : TaggerConfig
    seed : int
        The same seed gives the same weights; the global generator is left as it was. Not safe
        while another thread draws from that.
    codebook : Tensor, shape (Q, K, features), optional
        For tokens: first values of the embedding of K ids in each of Q codebooks.
    scaled : bool
        Whether features enter as scaled embeddings, see `ScaledEmbedding`.

    Raises
    ------
    ConfigError
        If there is no tagger of that name.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if scaled:
            width = config.particle_layers[0]
            return ScaledEmbedding(features, lookup(Tagger, config.kind)(width, config), width)
        tagger = lookup(Tagger, config.kind)(features, config)
        return tagger if codebook is None else TokenEmbedding(codebook, tagger, config)


class DeepSets(Tagger, kind="deepsets"):
    """Particle-flow network F(Σ φ(p)) of P. Komiske, E. Metodiev, J. Thaler, arXiv:1810.05165.

    A sum over particles in between makes the result independent of their order.
    """

    def __init__(self, features: int, config: TaggerConfig) -> None:
        super().__init__(features, config)
        widths = (features, *config.particle_layers)
        self.particle_network = nn.Sequential(
            *(m for a, b in pairwise(widths) for m in (nn.Linear(a, b), nn.ReLU()))
        )
        widths = (config.particle_layers[-1], *config.jet_layers)
        self.jet_network = nn.Sequential(
            *(m for a, b in pairwise(widths) for m in (nn.Linear(a, b), nn.ReLU())),
            nn.Linear(widths[-1], 1),
        )

    def forward(self, features: Tensor, owner: Tensor, jets: int) -> Tensor:
        """Return logits (jets,); a jet without particles is a sum of nothing."""
        hidden = self.particle_network(features)
        summed = hidden.new_zeros(jets, hidden.shape[1]).index_add_(0, owner, hidden)
        return self.jet_network(summed / TYPICAL_PARTICLES).squeeze(1)


class TokenEmbedding(nn.Module):
    """A tagger on token ids: each id becomes a vector, of which a tagger on features is made.

    The vectors begin as the released codebook's, so the tagger starts with the geometry that the
    tokenizer learned, and a rare id means something too. Vectors of several codebooks are summed,
    as in residual quantization.
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

    def forward(self, tokens: Tensor, owner: Tensor, jets: int) -> Tensor:
        """Return logits (jets,) of ids (P, Q)."""
        vectors = self.embedding(tokens + self.first).sum(dim=1)
        return self.tagger(vectors, owner, jets)


class ScaledEmbedding(nn.Module):
    """A tagger on numbers as scaled embeddings: xVal of S. Golkar et al., arXiv:2310.02989.

    Each feature has one learned vector, which its value multiplies; the layer norm of their sum is
    the particle. Values are to lie in [-5, 5]. One more vector, not multiplied by anything, takes
    the place of the paper's position embedding: without it the layer norm would lose the scale.
    """

    def __init__(self, features: int, tagger: nn.Module, width: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(features, width)
        self.norm = nn.LayerNorm(width)
        self.tagger = tagger

    def forward(self, features: Tensor, owner: Tensor, jets: int) -> Tensor:
        """Return logits (jets,) of features (P, F)."""
        return self.tagger(self.norm(self.embedding(features)), owner, jets)
