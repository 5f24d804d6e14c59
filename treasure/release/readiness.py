"""The AI-readiness report: is the release complete, free of duplicates and leakage, and balanced?

Everything is counted by DuckDB on the token files themselves, out of core: tables far larger than
the memory need time only. Counts are exact, except that contents are compared by a 64-bit hash
(among 10^8 rows, one false duplicate is expected in a few thousand releases).
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from treasure.config.release import Readiness
from treasure.errors import DataError
from treasure.release import readiness_items as items
from treasure.release.readiness_items import TokenRows, quoted
from treasure.release.readiness_report import ReadinessReport

__all__ = ["measure_readiness"]

_MEMORY = "2GB"


def measure_readiness(
    files: Mapping[str, Sequence[Path]],
    thresholds: Readiness,
    *,
    vocabulary_size: int | None = None,
) -> ReadinessReport:
    """Measure the AI-readiness of token files.

    Parameters
    ----------
    files
        Token files (one schema) by dataset.
    thresholds
        What is still ready.
    vocabulary_size
        Number of token ids of each codebook; None: not known, the items about it do not apply.

    Raises
    ------
    DataError
        If there are no files, or DuckDB cannot read them.
    """
    paths = [path for group in files.values() for path in group]
    if not paths:
        raise DataError("readiness: no token files; expected at least one")
    with (
        tempfile.TemporaryDirectory(prefix="treasure_readiness_") as scratch,
        duckdb.connect(config=_settings(scratch)) as database,
    ):
        try:
            _create_view(database, files)
            rows = TokenRows(database, pq.read_schema(paths[0]), list(files))
            return _report(rows, thresholds, vocabulary_size)
        except duckdb.Error as error:
            raise DataError(f"readiness of {paths[0].parent} …: {error}") from None


def _report(rows: TokenRows, thresholds: Readiness, vocabulary_size: int | None) -> ReadinessReport:
    columns, counts = items.column_table(rows), items.count_table(rows)
    answers = [
        items.completeness(rows, columns, thresholds),
        items.duplicate_identities(rows, thresholds),
        *items.equal_contents(rows, thresholds),
        items.split_overlap(rows, thresholds),
        items.rows_per_split(rows, counts, thresholds),
        items.class_balance(counts, thresholds),
        items.empty_rows(rows, thresholds),
        *items.vocabulary(rows, vocabulary_size, thresholds),
    ]
    return ReadinessReport(
        rows=rows.count,
        verdict="fail" if any(item.verdict == "fail" for item in answers) else "pass",
        items=answers,
        counts=counts,
        columns=columns,
        thresholds=thresholds.model_dump(mode="json"),
    )


def _settings(scratch: str) -> dict[str, Any]:
    return {
        "temp_directory": scratch,
        "memory_limit": _MEMORY,
        "preserve_insertion_order": False,
        "autoinstall_known_extensions": False,
        # Parquet's statistics leave NaN out, and DuckDB 2.0 then takes it for impossible: a largest
        # finite value comes out as NaN.
        "disabled_optimizers": "statistics_propagation",
    }


def _create_view(database: duckdb.DuckDBPyConnection, files: Mapping[str, Sequence[Path]]) -> None:
    selects = [
        f"SELECT *, {_text(dataset)} AS dataset FROM read_parquet([{_names(group)}])"
        for dataset, group in files.items()
        if group
    ]
    database.execute(f"CREATE VIEW rows AS {' UNION ALL BY NAME '.join(selects)}")


def _names(group: Sequence[Path]) -> str:
    # DuckDB expands patterns in names; a class of one letter stands for that letter itself.
    def literal(path: Path) -> str:
        return "".join(f"[{c}]" if c in "*?[" else c for c in str(path))

    return ", ".join(_text(literal(path)) for path in group)


def _text(value: str) -> str:
    return quoted(value, "'")
