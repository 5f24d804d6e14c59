"""Token tables that the tests make, and the codes that are in them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st
from numpy.typing import NDArray

from treasure.tokens.table import TokenMetadata, schema, write_tokens

# Around the 128 positions of others, and the 150 slots of the jet table.
COUNTS = st.lists(
    st.one_of(st.integers(0, 6), st.integers(124, 130), st.sampled_from([127, 128, 149, 150])),
    max_size=12,
)
LARGEST = 2**31 - 1
SIZES = st.sampled_from([1, 2, 64, 8192, 32767, 32768, 10**6, LARGEST])


def codes(counts: list[int], size: int, codebooks: int = 1, seed: int = 0) -> list[NDArray]:
    """Codes of each jet, (n,) or (n, Q); the least and the largest come up."""
    rng = np.random.default_rng([seed, len(counts), size % 1000])
    found = []
    for number, count in enumerate(counts):
        ids = rng.integers(0, size, (count, codebooks), dtype=np.int64)
        if count:
            ids[0], ids[-1] = (0, size - 1) if number % 2 else (size - 1, 0)
        found.append(ids[:, 0] if codebooks == 1 else ids)
    return found


def token_table(
    path: Path,
    jets: list[NDArray],
    size: int,
    *,
    codebooks: int = 1,
    labels: list[int] | None = None,
    fingerprint: str = "f" * 64,
) -> Path:
    """Write codes as a token table; event 10, 11, …; class 0 unless `labels` say otherwise."""
    n = len(jets)
    fields = schema(codebooks)
    rng = np.random.default_rng(n)
    table = pa.table(
        {
            "run": np.full(n, 280000),
            "luminosityBlock": np.arange(n) // 3 + 1,
            "event": np.arange(n) + 10,
            "jet_index": np.zeros(n, np.int32),
            "label": np.array(labels if labels is not None else [0] * n, np.int32),
            "split": pa.array(["train"] * n, pa.string()),
            "jet_pt": rng.uniform(300, 900, n).astype(np.float32),
            "jet_eta": rng.uniform(-2, 2, n).astype(np.float32),
            "jet_phi": rng.uniform(-3, 3, n).astype(np.float32),
            "jet_msoftdrop": np.full(n, 80, np.float32),
            "n_constituents": np.array([len(jet) for jet in jets], np.int32),
            "tokens": pa.array([jet.tolist() for jet in jets], fields.field("tokens").type),
        }
    )
    metadata = TokenMetadata(
        dataset="toys",
        tokenizer_fingerprint=fingerprint,
        vocabulary={"size": size, "codebooks": codebooks, "specials": {}},
        features=["log_pt", "delta_eta", "delta_phi"],
        source_file="toys.h5",
        source_checksum="0" * 64,
    )
    write_tokens(path, table, metadata)
    return path
