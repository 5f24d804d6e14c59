"""Token files are plain parquet: what others read of them is what was written."""

from pathlib import Path

import awkward as ak
import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from datasets import load_dataset
from datasets.utils.logging import disable_progress_bar

from tests.tokens.toys import folder


@pytest.fixture(params=[1, 2], ids=["one codebook", "two codebooks"])
def written(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, list[dict]]:
    """Files with several row groups, and their rows."""
    rows = folder(tmp_path / "tokens", [40, 25], row_group=15, codebooks=request.param)
    return tmp_path / "tokens", rows.to_pylist()


def test_hugging_face_datasets(written: tuple[Path, list[dict]], tmp_path: Path):
    place, rows = written
    disable_progress_bar()
    files = {"train": [str(path) for path in sorted(place.glob("*.parquet"))]}
    found = load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path))
    assert found.to_list() == rows
    streamed = load_dataset("parquet", data_files=files, split="train", streaming=True)
    assert list(streamed) == rows


def test_duckdb(written: tuple[Path, list[dict]]):
    place, rows = written
    found = duckdb.sql(f"from '{place}/*.parquet' order by event").to_arrow_table()
    assert plain(found) == rows
    ((counted,),) = duckdb.sql(f"select sum(len(tokens)) from '{place}/*.parquet'").fetchall()
    assert counted == sum(row["n_constituents"] for row in rows)


def test_polars(written: tuple[Path, list[dict]]):
    place, rows = written
    assert plain(pl.read_parquet(place / "*.parquet").to_arrow()) == rows
    lazily = pl.scan_parquet(place / "*.parquet").filter(pl.col("split") == "val")
    assert lazily.collect()["event"].to_list() == [
        row["event"] for row in rows if row["split"] == "val"
    ]


def test_awkward(written: tuple[Path, list[dict]]):
    place, rows = written
    columns = [name for name in rows[0] if name != "split"]
    found = ak.from_parquet(place, columns=columns)
    assert ak.to_list(found) == [{name: row[name] for name in columns} for row in rows]
    # Awkward cannot put categories of several row groups together: `split` is read by row group.
    first = place / "part00_tokenized.parquet"
    parts = [ak.from_parquet(first, row_groups=[number]) for number in range(3)]
    assert [jet for part in parts for jet in ak.to_list(part)] == rows[:40]


def test_pandas(written: tuple[Path, list[dict]]):
    place, rows = written
    found = pd.concat(pd.read_parquet(path) for path in sorted(place.glob("*.parquet")))
    assert found["event"].tolist() == [row["event"] for row in rows]
    jets = [[getattr(id, "tolist", lambda i=id: i)() for id in jet] for jet in found["tokens"]]
    assert jets == [row["tokens"] for row in rows]


def plain(table: pa.Table) -> list[dict]:
    """Rows with the values of dictionaries, as Python objects."""
    return table.to_pylist()
