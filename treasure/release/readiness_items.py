"""The items of the AI-readiness report: one function asks one question of the token rows."""

from typing import Any

import duckdb
import pyarrow as pa

from treasure.config.release import Readiness
from treasure.jets.splits import SPLITS
from treasure.release.columns import type_name
from treasure.release.readiness_report import Item, judged, not_applicable

__all__ = [
    "TokenRows",
    "class_balance",
    "column_table",
    "completeness",
    "count_table",
    "duplicate_identities",
    "empty_rows",
    "equal_contents",
    "quoted",
    "rows_per_split",
    "split_overlap",
    "vocabulary",
]

# Columns that say which object a row is; the last does not belong to the event.
_EVENT = ("run", "luminosityBlock", "event")
_IDENTITY = (*_EVENT, "jet_index")


def quoted(text: str, quote: str = '"') -> str:
    """SQL identifier (or, with a single quote, text)."""
    return quote + text.replace(quote, quote * 2) + quote


class TokenRows:
    """The view `rows` of a database: all token files, with the column `dataset`."""

    def __init__(
        self, database: duckdb.DuckDBPyConnection, schema: pa.Schema, datasets: list[str]
    ) -> None:
        self.database, self.schema, self.datasets = database, schema, datasets
        self.identity = [name for name in _IDENTITY if name in schema.names]
        self.event = [name for name in _EVENT if name in schema.names]
        self.content = [n for n in schema.names if n not in (*_IDENTITY, "label", "split")]
        self.label = "label" if "label" in schema.names else "NULL"
        self.count: int = self.one("SELECT count(*) FROM rows")[0]

    def all(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of an answer."""
        return self.database.execute(query).fetchall()

    def one(self, query: str) -> tuple[Any, ...]:
        """The one row of an aggregate."""
        return self.all(query)[0]


def column_table(rows: TokenRows) -> list[dict[str, Any]]:
    """Missing values and range of every column, in one pass."""
    parts: list[str] = []
    for field in rows.schema:
        name, kind = quoted(field.name), field.type
        absent = f"{name} IS NULL"
        if pa.types.is_floating(kind):
            absent += f" OR NOT isfinite({name})"
        parts.append(f"count(*) FILTER ({absent})")
        number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
        finite = f"FILTER (NOT ({absent}))"
        parts += [f"{f}({name}) {finite}" if number else "NULL" for f in ("min", "max")]
    found = rows.one(f"SELECT {', '.join(parts)} FROM rows")
    return [
        {
            "column": field.name,
            "type": type_name(field.type),
            "missing": found[3 * i],
            "min": found[3 * i + 1],
            "max": found[3 * i + 2],
        }
        for i, field in enumerate(rows.schema)
    ]


def count_table(rows: TokenRows) -> list[dict[str, Any]]:
    """Rows by dataset, split and label."""
    query = (
        f"SELECT dataset, split::VARCHAR AS split, {rows.label} AS label, count(*) FROM rows "
        "GROUP BY ALL ORDER BY ALL"
    )
    keys = ("dataset", "split", "label", "rows")
    table = [dict(zip(keys, row, strict=True)) for row in rows.all(query)]
    return sorted(table, key=lambda row: (row["dataset"], SPLITS.index(row["split"])))


def completeness(rows: TokenRows, columns: list[dict[str, Any]], thresholds: Readiness) -> Item:
    """Is a value missing?"""
    worst = max(column["missing"] for column in columns)
    return judged(
        "completeness",
        "Missing values",
        "Largest fraction of null, NaN or infinite values in any one column.",
        worst / rows.count,
        "≤",
        thresholds.max_missing_fraction,
        {c["column"]: c["missing"] for c in columns if c["missing"]},
    )


def duplicate_identities(rows: TokenRows, thresholds: Readiness) -> Item:
    """Is an object there twice?"""
    about = (
        "duplicate_identities",
        "Repeated objects",
        f"Fraction of rows that repeat ({', '.join(rows.identity)}) within a dataset.",
    )
    limit = thresholds.max_duplicate_fraction
    if not rows.event:
        return not_applicable(*about, "≤", limit)
    query = (
        "SELECT dataset, sum(n - 1)::BIGINT FROM (SELECT dataset, count(*) AS n FROM rows "
        f"GROUP BY dataset, {', '.join(map(quoted, rows.identity))} HAVING count(*) > 1) "
        "GROUP BY dataset ORDER BY dataset"
    )
    repeats = dict(rows.all(query))
    return judged(*about, sum(repeats.values()) / rows.count, "≤", limit, repeats)


def equal_contents(rows: TokenRows, thresholds: Readiness) -> list[Item]:
    """Are two rows the same but for their identity: at all, across splits, across labels?"""
    query = (
        "SELECT coalesce(sum(n - 1), 0)::BIGINT, count(*) FILTER (leaks), "
        "count(*) FILTER (conflict) FROM (SELECT count(*) AS n, "
        "min(split) <> max(split) AS leaks, min(label) <> max(label) AS conflict FROM ("
        f"SELECT hash({', '.join(map(quoted, rows.content))}) AS content, "
        f"split::VARCHAR AS split, {rows.label} AS label FROM rows) "
        "GROUP BY content HAVING count(*) > 1)"
    )
    repeated, overlapping, conflicting = rows.one(query)
    return [
        judged(
            "duplicate_contents",
            "Repeated contents",
            f"Fraction of rows equal to another in every one of: {', '.join(rows.content)}.",
            repeated / rows.count,
            "≤",
            thresholds.max_duplicate_fraction,
            {"rows": repeated},
        ),
        judged(
            "content_overlap",
            "Equal contents in several splits",
            "Number of distinct contents found in more than one split, in any dataset: what was "
            "seen in training would be tested on.",
            overlapping,
            "≤",
            thresholds.max_split_overlap,
        ),
        judged(
            "label_conflicts",
            "Equal contents with different labels",
            "Number of distinct contents that carry more than one label.",
            conflicting,
            "≤",
            0,
        ),
    ]


def split_overlap(rows: TokenRows, thresholds: Readiness) -> Item:
    """Is an event divided between splits?"""
    about = (
        "split_overlap",
        "Events in several splits",
        f"Number of events ({', '.join(rows.event)} of a dataset) with rows in more than one "
        "split; objects of one event are not independent.",
    )
    limit = thresholds.max_split_overlap
    if not rows.event:
        return not_applicable(*about, "≤", limit)
    query = (
        "SELECT dataset, count(*) FROM (SELECT dataset FROM rows "
        f"GROUP BY dataset, {', '.join(map(quoted, rows.event))} "
        "HAVING min(split::VARCHAR) <> max(split::VARCHAR)) GROUP BY dataset ORDER BY dataset"
    )
    overlaps = dict(rows.all(query))
    return judged(*about, sum(overlaps.values()), "≤", limit, overlaps)


def rows_per_split(rows: TokenRows, counts: list[dict[str, Any]], thresholds: Readiness) -> Item:
    """Has every dataset rows in every split?"""
    found = {(dataset, split): 0 for dataset in rows.datasets for split in SPLITS}
    for count in counts:
        found[count["dataset"], count["split"]] += count["rows"]
    return judged(
        "rows_per_split",
        "Rows in every split",
        "Smallest number of rows of a dataset in a split.",
        min(found.values()),
        "≥",
        thresholds.min_rows_per_split,
        {f"{dataset}/{split}": n for (dataset, split), n in found.items()},
    )


def class_balance(counts: list[dict[str, Any]], thresholds: Readiness) -> Item:
    """Is a class rare?"""
    about = (
        "class_balance",
        "Class balance",
        "Rows of the rarest over rows of the commonest class, in the worst split. Negative labels "
        "mean: not labelled, and are left out.",
    )
    limit = thresholds.min_class_ratio
    classes = sorted({c["label"] for c in counts if c["label"] is not None and c["label"] >= 0})
    if len(classes) < 2:
        return not_applicable(*about, "≥", limit)
    ratios: dict[str, float] = {}
    for split in SPLITS:
        n = [
            sum(c["rows"] for c in counts if (c["split"], c["label"]) == (split, label))
            for label in classes
        ]
        if max(n):
            ratios[split] = min(n) / max(n)
    return judged(*about, min(ratios.values()), "≥", limit, ratios)


def empty_rows(rows: TokenRows, thresholds: Readiness) -> Item:
    """Is a row without tokens?"""
    empty = rows.one("SELECT count(*) FILTER (len(tokens) = 0) FROM rows")[0]
    return judged(
        "empty_rows",
        "Rows without tokens",
        "Fraction of rows whose list of tokens is empty.",
        empty / rows.count,
        "≤",
        thresholds.max_missing_fraction,
        {"rows": empty},
    )


def vocabulary(rows: TokenRows, size: int | None, thresholds: Readiness) -> list[Item]:
    """Are all ids in the vocabulary, and how much of it occurs?"""
    unknown = (
        "token_range",
        "Unknown token ids",
        "Number of token ids outside of 0 … vocabulary size − 1.",
    )
    use = (
        "codebook_use",
        "Codebook use",
        "Fraction of the codebook that occurs; of several codebooks, the smallest.",
    )
    wanted = thresholds.min_codebook_use
    if size is None:
        return [not_applicable(*unknown, "≤", 0), not_applicable(*use, "≥", wanted)]
    outside, used = 0, {}
    for number, ids in enumerate(_ids_by_codebook(rows.schema.field("tokens").type)):
        inside = f"id BETWEEN 0 AND {size - 1}"
        bad, different = rows.one(
            f"SELECT coalesce(sum(n) FILTER (NOT {inside}), 0)::BIGINT, count(*) FILTER "
            f"({inside}) FROM (SELECT id, count(*) AS n FROM (SELECT unnest({ids}) AS id "
            "FROM rows) WHERE id IS NOT NULL GROUP BY id)"
        )
        outside += bad
        used[f"codebook {number}"] = different / size
    return [
        judged(*unknown, outside, "≤", 0),
        judged(*use, min(used.values()), "≥", wanted, used),
    ]


def _ids_by_codebook(tokens: pa.DataType) -> list[str]:
    """SQL expressions, one a codebook: the list of its ids in a row."""
    inner = tokens.value_type
    if not pa.types.is_fixed_size_list(inner):
        return ["tokens"]
    return [f"list_transform(tokens, lambda t: t[{q + 1}])" for q in range(inner.list_size)]
