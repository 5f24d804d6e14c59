"""Made-up measurements of tokenizers, for the tests of tables, figures and the page."""

from typing import Any

from treasure.comparison.collect import collect
from treasure.config.comparison import ComparisonConfig

OBSERVABLES = ("pt", "mass", "softdrop_mass", "tau21", "tau32")
CONFIG = ComparisonConfig(
    tokenizers={
        "omnijet": {"title": "OmniJet-α", "description": "the <baseline> & more"},
        "vq": {"title": "VQ", "family": "VQ"},
        "kmeans": {},
        "vq_64": {"family": "VQ"},
    },
    curve=("vq_64",),
    seeds=(1, 2),
)


def measures(iqr: float, lost: float | None = None, **more: float) -> dict[str, Any]:
    """What is measured of a tokenizer with a resolution; AUCs only if one says what is lost."""
    found: dict[str, Any] = {
        "jets": 100, "bits": 13.0, "entropy_bits": 12.0, "codes": 8192, "codebooks": 1,
        "codes_used": 8000, "codes_used_share": 8000 / 8192, "perplexity": 4000.0,
        "energy_flow_distance": 0.05, "encode_jets_per_second": 900.0,
        "decode_jets_per_second": 1900.0, "size_bytes": 100_000, "parameters": 40_000,
        "train_seconds": 60.0, "jets_seen": 5000, "steps": 50,
    }  # fmt: skip
    for name in OBSERVABLES:
        found |= {f"jet_{name}_iqr": iqr, f"jet_{name}_iqr_error": 0.0, f"jet_{name}_median": 1.0}
    if lost is not None:
        found |= {
            "auc_original": 0.96, "auc_decoded": 0.96 - lost, "auc_lost": lost,
            "auc_lost_error": 0.0003, "auc_separation": 0.8, "auc_separation_error": 0.01,
        }  # fmt: skip
    return found | more


MEASURED = {
    "omnijet": {1: measures(0.040, 0.010), 2: measures(0.044, 0.012)},
    "vq": {1: measures(0.010, 0.0010), 2: measures(0.012, 0.0014)},
    "kmeans": {1: measures(0.03, 0.005, jets_seen=0), 2: measures(0.03, 0.005, jets_seen=0)},
    "vq_64": {1: measures(0.3, jets=50, bits=6.0)},
}


def comparison() -> dict[str, Any]:
    return collect(CONFIG, MEASURED, {"auc_original": 0.96, "auc_xval": 0.95})
