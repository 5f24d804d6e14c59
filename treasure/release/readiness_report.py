"""What an AI-readiness report consists of."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Item", "ReadinessReport", "judged", "not_applicable"]

Verdict = Literal["pass", "fail", "not applicable"]
Sign = Literal["≤", "≥"]


class Item(BaseModel):
    """One question of the report and its answer."""

    model_config = ConfigDict(frozen=True)

    id: str
    title: str
    explanation: str = Field(description="what was counted, and why it matters")
    value: float | int | None
    condition: str = Field(description="the threshold, as a condition on the value")
    verdict: Verdict
    details: dict[str, Any] = {}


class ReadinessReport(BaseModel):
    """All items, and the tables behind them."""

    model_config = ConfigDict(frozen=True)

    rows: int
    verdict: Verdict
    items: list[Item]
    counts: list[dict[str, Any]] = Field(description="rows by dataset, split and label")
    columns: list[dict[str, Any]] = Field(
        description="of each column: missing values (null, NaN, infinite), smallest and largest"
    )
    thresholds: dict[str, Any]


def judged(
    identifier: str,
    title: str,
    explanation: str,
    value: float | int,
    sign: Sign,
    limit: float | int,
    details: Mapping[str, Any] | None = None,
) -> Item:
    """Item that passes if `value` is at most (≤) or at least (≥) `limit`."""
    passed = value <= limit if sign == "≤" else value >= limit
    return Item(
        id=identifier,
        title=title,
        explanation=explanation,
        value=value,
        condition=f"{sign} {limit:g}",
        verdict="pass" if passed else "fail",
        details=dict(details or {}),
    )


def not_applicable(
    identifier: str, title: str, explanation: str, sign: Sign, limit: float | int
) -> Item:
    """Item about which these tables say nothing."""
    return Item(
        id=identifier,
        title=title,
        explanation=explanation,
        value=None,
        condition=f"{sign} {limit:g}",
        verdict="not applicable",
    )
