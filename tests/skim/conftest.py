from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.layout_a import FILTERS, TRIGGERS
from treasure.config.dataset import Dataset
from treasure.config.selection import Selection
from treasure.fileset.inspection import inspect_file
from treasure.skim.parts import read_parts
from treasure.skim.run import skim_files


@pytest.fixture
def selection() -> Selection:
    return Selection(triggers=list(TRIGGERS), filters=list(FILTERS))


@pytest.fixture
def dataset() -> Dataset:
    return Dataset(label=1, is_mc=True, source={"kind": "local", "files": ["*.root"]})


@pytest.fixture
def skim(tmp_path: Path, selection: Selection, dataset: Dataset) -> Callable[..., Any]:
    """Skim some files: (summary, rows as a list of dicts)."""

    def run(
        *paths: Path, folder: str = "skim", dataset: Dataset = dataset, **changes: Any
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        files = [inspect_file(str(path), "Events", str(path)) for path in paths]
        changed = selection.model_copy(update=changes)
        directory = tmp_path / folder
        summary = skim_files(files, "x", dataset, changed, directory)
        tables = list(read_parts([directory / name for name in summary["parts"]], 1000))
        return summary, pa.concat_tables(tables).to_pylist() if tables else []

    return run
