import numpy as np
import pytest
import torch

from tests.tokenizer.toys import toy_jets
from treasure.config.tokenizer import TokenizerConfig
from treasure.tokenizer.artefact import Tokenizer
from treasure.tokenizer.particles import pack


@pytest.fixture
def kmeans_of_toys() -> Tokenizer:
    """256 codes of toy jets, no network, chosen so that jets keep their four-momentum."""
    config = TokenizerConfig.model_validate(
        {
            "model": {"kind": "identity", "decoder_context": 0},
            "quantizer": {"kind": "kmeans", "codes": 256, "dimension": 3},
            "jet_constraint": {"candidates": 8},
        }
    )
    tokenizer = Tokenizer(config)
    features = tokenizer.feature_set
    raw, _ = features.clipped(pack(*toy_jets(500)))
    features.fit(raw)
    columns = torch.from_numpy(features.standardise(raw).astype(np.float32))
    weight = torch.from_numpy(features.weight(raw, 0.5).astype(np.float32))
    tokenizer.quantizer.start(columns, weight, torch.Generator().manual_seed(1))
    return tokenizer
