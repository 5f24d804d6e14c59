"""A tagger of one's own: Deep Sets whose sum over particles is weighted by learned gates.

Named in a configuration (see own_classes.yaml)::

    tagger:
      kind: examples.own_tagger:GatedSum
      options: {width: 32}
"""

from torch import Tensor, nn

from treasure.benchmark.taggers import TYPICAL_PARTICLES, Tagger
from treasure.config.benchmark import TaggerConfig

__all__ = ["GatedSum"]


class GatedSum(Tagger):
    """Sum over the particles of hidden features, each times a gate between 0 and 1.

    The benchmark builds it once for each input and seed; `features` differs between inputs.
    """

    def __init__(self, features: int, config: TaggerConfig) -> None:
        super().__init__(features, config)
        width = int(config.options.get("width", 32))
        self.hidden = nn.Sequential(nn.Linear(features, width), nn.ReLU(), nn.Linear(width, width))
        self.gate = nn.Sequential(nn.Linear(features, width), nn.Sigmoid())
        self.score = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, features: Tensor, owner: Tensor, jets: int) -> Tensor:
        # Particles of all jets, one after the other; `owner` says to which jet each belongs. A sum
        # by owner does not depend on their order, and a jet without particles gets zeros.
        gated = self.gate(features) * self.hidden(features)
        summed = gated.new_zeros(jets, gated.shape[1]).index_add_(0, owner, gated)
        return self.score(summed / TYPICAL_PARTICLES).squeeze(1)
