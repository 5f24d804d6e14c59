from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from treasure.config.dataset import Dataset
from treasure.config.selection import Selection
from treasure.config.splits import Splits
from treasure.jets.write import write_jet_table
from treasure.skim.parts import write_part
from treasure.skim.record import CANDIDATE_COLUMNS, JET_COLUMNS
from treasure.store import write_json


@pytest.fixture
def dataset() -> Dataset:
    return Dataset(title="top", label=1, is_mc=True, source={"kind": "local", "files": ["x"]})


def random_rows(counts: list[int], *, seed: int = 1) -> dict[str, Any]:
    """Rows of a skim with so many candidates each, two rows an event."""
    rng = np.random.default_rng([seed, len(counts)])
    n, total = len(counts), sum(counts)
    event = np.arange(n) // 2
    scalars: dict[str, Any] = {"run": event // 50 + 1, "luminosityBlock": event // 10 + 1}
    scalars |= {"event": event + 1, "genWeight": np.ones(n), "FatJet_index": np.arange(n) % 2}
    scalars |= {f"FatJet_{name}": rng.normal(size=n).astype(np.float32) for name in JET_COLUMNS}
    candidates: dict[str, Any] = {
        name: rng.normal(size=total).astype(np.float32) for name in CANDIDATE_COLUMNS
    }
    candidates["E"] = np.abs(candidates["E"]) + np.float32(0.1)
    candidates["px"][rng.random(total) < 0.2] = -0.0
    for name in ("charge", "pdgId"):
        candidates[name] = rng.integers(-1, 2, total).astype(np.int32)
    return {"scalars": scalars, "counts": np.array(counts, np.int64), "candidates": candidates}


def write_skim(
    directory: Path,
    parts: list[dict[str, Any]],
    selection: Selection = Selection(),  # noqa: B008  (immutable)
    *,
    source: str = "a.root",
    **said: Any,
) -> Path:
    """A branch of a skim, as SkimJets leaves it; `said` changes its cutflow."""
    rows = {}
    for number, part in enumerate(parts):
        file = f"part_{number:04d}.parquet"
        write_part(directory / file, part["scalars"], part["counts"], part["candidates"])
        rows[file] = len(part["counts"])
    jets = sum(rows.values())
    cutflow = {
        "dataset": "top", "is_mc": True, "chunks": len(rows), "parts": list(rows), "rows": rows,
        "events": jets, "jets": jets, "most_jets_in_event": min(jets, 2),
        "cutflow": [],
        "layouts": ["A"], "missing_triggers": {}, "absent_columns": {}, "replaced_values": {},
        "notes": {}, "puppi": "stored", "jets_with_candidates_left_out": 0,
        "luminosity_sections": {},
        "files": [{"uri": source, "checksum": "adler32:00000001"}],
        "selection": selection.model_dump(mode="json"),
    }  # fmt: skip
    write_json(directory / "cutflow.json", cutflow | said)
    return directory


@pytest.fixture
def write(tmp_path: Path, dataset: Dataset) -> Callable[..., Any]:
    """Write parts of a skim, then a jet table of them: (path, summary)."""

    def run(
        *parts: dict[str, Any],
        name: str = "jets.h5",
        selection: Selection = Selection(),  # noqa: B008  (immutable)
        attributes: dict[str, Any] | None = None,
        progress: Any = None,
        rows: tuple[int, int] | None = None,
    ) -> tuple[Path, dict[str, Any]]:
        skim = write_skim(tmp_path / "skim", list(parts), selection)
        path = tmp_path / name
        summary = write_jet_table(
            [skim],
            path,
            dataset_name="top",
            dataset=dataset,
            selection=selection,
            splits=Splits(),
            attributes=attributes or {},
            rows=rows,
            progress=progress,
        )
        return path, summary

    return run
