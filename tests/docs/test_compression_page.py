"""docs/compression.md is what its generator makes of docs/compression.json."""

import importlib.util
from pathlib import Path

from treasure.store import read_json

DOCS = Path(__file__).resolve().parents[2] / "docs"


def generator():
    path = DOCS / "scripts" / "compression_page.py"
    spec = importlib.util.spec_from_file_location("compression_page", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_made_of_the_numbers():
    found = generator().page(read_json(DOCS / "compression.json"))
    assert (DOCS / "compression.md").read_text(encoding="utf-8") == found


def test_the_coders_reach_what_is_claimed():
    """Near the entropy of their models, and fast enough, in the run that the page shows."""
    coders = read_json(DOCS / "compression.json")["coders"]
    variants = [c for c in coders if c["variant"] != "parquet"]
    assert {c["variant"] for c in variants} == {"static", "rank", "previous", "order_free"}
    for coder in variants:
        assert coder["above_entropy"] < 0.02
        assert min(coder["encode_rate"], coder["decode_rate"]) >= 1e7
