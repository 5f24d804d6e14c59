"""The code of `docs/howto/load_tokens.md` runs, on files made up here."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from tests.tokens.toys import jets, metadata, write
from treasure.store import checksums, write_json

PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "load_tokens.md"
PLACE = "data/published/demo/v1-…"


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """Jets of two classes, one of which has low ids."""
    files = {}
    for number, (dataset, split) in enumerate(
        [(d, s) for d in ("qcd", "ttbar") for s in ("train", "test")]
    ):
        rows = jets(800, 1000 * number, longest=30, size=100)
        if dataset == "qcd":
            ids = [[token // 4 for token in jet] for jet in rows["tokens"].to_pylist()]
            rows = rows.set_column(11, "tokens", pa.array(ids, pa.list_(pa.int32())))
        labels = np.full(800, dataset == "ttbar", dtype=np.int32)
        rows = rows.set_column(4, "label", pa.array(labels))
        rows = rows.set_column(5, "split", pa.array([split] * 800))
        name = f"tokens/{dataset}/{split}/a_tokenized.parquet"
        path = write(tmp_path / name, rows, metadata(100, dataset=dataset), row_group=300)
        files[name] = {**checksums(path), "rows": 800, "dataset": dataset, "split": split}
    write_json(tmp_path / "manifest.json", {"format": "treasure-release", "files": files})
    return tmp_path


def test_every_block_runs(
    release: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        names: dict[str, object] = {}
        for block in blocks():
            exec(block.replace(PLACE, str(release)), names)
    finally:
        torch.set_num_threads(threads)
    (accuracy,) = re.findall(r"^(\S+) of 1600 test jets right$", capsys.readouterr().out, re.M)
    assert float(accuracy) > 0.9
