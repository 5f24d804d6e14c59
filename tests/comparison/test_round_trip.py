import awkward as ak
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.tokenizer.toys import SMALL, toy_jets
from treasure.comparison import round_trip as module
from treasure.comparison.choice import ChosenJets
from treasure.comparison.code_use import code_use
from treasure.comparison.round_trip import round_trip
from treasure.config.tokenizer import TokenizerConfig
from treasure.tokenizer.artefact import Tokenizer
from treasure.tokenizer.particles import pack
from treasure.tokenizer.quantizer import Quantizer


class Steps(Quantizer):
    """Two codebooks: steps of the first and of the second latent number."""

    codebooks = 2

    def ids(self, latent: Tensor) -> Tensor:
        steps = torch.round((latent.clamp(-1, 1) + 1) / 2 * (self.codes - 1))
        return steps.long()

    def vectors(self, ids: Tensor) -> Tensor:
        return ids.float() / (self.codes - 1) * 2 - 1

    def codebook(self) -> NDArray[np.float32]:
        steps = np.linspace(-1, 1, self.codes, dtype=np.float32)
        zero = np.zeros_like(steps)
        return np.stack([np.stack([steps, zero], 1), np.stack([zero, steps], 1)])


def make(kind: str) -> Tokenizer:
    dump = SMALL.model_dump(mode="json", exclude_unset=True)
    dump["quantizer"] = {"kind": kind, "codes": 16, "dimension": 2}
    tokenizer = Tokenizer(TokenizerConfig.model_validate(dump))
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for tensor in tokenizer.state().values():
            tensor.normal_(0, 0.3, generator=generator)
        for parameter in tokenizer.model.parameters():
            parameter.normal_(0, 0.3, generator=generator)
    tokenizer.feature_set.fit(tokenizer.feature_set.clipped(pack(*toy_jets(50)))[0])
    return tokenizer


@pytest.mark.parametrize(("kind", "codebooks"), [("vq", 1), (f"{__name__}:Steps", 2)])
def test_jets_come_back_to_their_places(kind: str, codebooks: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_JETS_AT_ONCE", 6)
    tokenizer = make(kind)
    counts = np.random.default_rng(0).integers(0, 9, 50)
    candidates, kinematics = toy_jets(50, 1, counts)
    splits = np.arange(50) % 3
    jets = ChosenJets(pack(candidates, kinematics), kinematics, np.arange(50) % 2, splits)
    seen: list[tuple[int, int]] = []
    found = round_trip(tokenizer, jets, lambda done, total: seen.append((done, total)))

    tokens = tokenizer.encode(candidates, kinematics)
    decoded = ak.flatten(tokenizer.decode(tokens, kinematics), axis=1)
    for i, name in enumerate(("px", "py", "pz", "E")):
        np.testing.assert_allclose(found.momenta[:, i], decoded[name], rtol=1e-4, atol=1e-4)
    ids = ak.to_numpy(ak.flatten(tokens[splits == 2], axis=1))
    np.testing.assert_array_equal(found.ids, ids)
    assert found.ids.ndim == codebooks
    assert len(found.original) == len(found.decoded) == len(found.ids)
    assert code_use(found.ids, tokenizer.vocabulary_size)["codebooks"] == codebooks
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (50, 50)
