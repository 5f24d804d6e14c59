"""Compare two jet tables column by column, a block of rows at a time."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from treasure.cli.equal_pt import pair_candidates
from treasure.cli.h5_keys import BLOCK_ROWS, CANDIDATES, OPTIONAL, H5File
from treasure.cli.row_matching import MatchBy, RowMatch, match_rows
from treasure.cli.ulp import ColumnDifference, distance, same_bits

__all__ = ["KeyComparison", "TableComparison", "compare_tables"]

_PAIRED_ROWS = 512  # jets whose candidates are paired at a time: 8 bytes a value and step


@dataclass(slots=True)
class KeyComparison:
    """One key of both tables.

    Attributes
    ----------
    name
        Of the key.
    columns
        Those that both have, in the order of the first.
    only_a, only_b
        Columns that one of them has.
    note
        Shapes or dtypes that differ.
    """

    name: str
    columns: list[ColumnDifference]
    only_a: list[str] = field(default_factory=list)
    only_b: list[str] = field(default_factory=list)
    note: str = ""


@dataclass(slots=True)
class TableComparison:
    """Two tables, compared.

    Attributes
    ----------
    match
        Which rows were compared.
    keys
        Keys that both have.
    only_a, only_b
        Keys that one of them has.
    rows_differ
        Rows with a value whose bits differ, candidates of equal pt put in one order.
    rows_beyond
        Rows with a value beyond the tolerance.
    rows_swapped
        Rows whose candidates agree within the tolerance, but those of equal pt in another order.
    rows_longer
        Rows with candidates in slots that the other table does not have.
    """

    match: RowMatch
    keys: list[KeyComparison] = field(default_factory=list)
    only_a: list[str] = field(default_factory=list)
    only_b: list[str] = field(default_factory=list)
    rows_differ: int = 0
    rows_beyond: int = 0
    rows_swapped: int = 0
    rows_longer: int = 0

    @property
    def is_equal(self) -> bool:
        """Equal within the tolerance; keys that public files lack may be in one only."""
        missing = {*self.only_a, *self.only_b} - set(OPTIONAL)
        columns = any(key.only_a or key.only_b for key in self.keys)
        alone = len(self.match.only_a) + len(self.match.only_b)
        dtypes = any(column.note for key in self.keys for column in key.columns)
        return not (missing or columns or alone or dtypes or self.rows_beyond)


def compare_tables(
    a: H5File,
    b: H5File,
    *,
    ulp: int = 0,
    match: MatchBy = "auto",
    order_matters: bool = False,
    advance: Callable[[int], None] = lambda rows: None,
) -> TableComparison:
    """Compare two jet tables.

    Parameters
    ----------
    a, b
        Open files, checked to be jet tables.
    ulp
        Floating-point numbers so far apart count as equal.
    match
        How rows are found that belong together: see `treasure.cli.row_matching.match_rows`.
    order_matters
        Whether candidates of equal pt in another order are different.
    advance
        Called with the number of rows just compared.
    """
    events = [file.read("event_info", 0, len(file)) for file in (a, b)]
    matched = match_rows(events[0], events[1], match)
    found = TableComparison(
        matched,
        only_a=[key for key in a.keys if key not in b.keys],
        only_b=[key for key in b.keys if key not in a.keys],
    )
    readers = [_KeyPair(a, b, name, ulp) for name in a.keys if name in b.keys]
    found.keys = [reader.comparison for reader in readers]
    for start in range(0, len(matched.a), BLOCK_ROWS):
        rows_a, rows_b = (rows[start : start + BLOCK_ROWS] for rows in (matched.a, matched.b))
        differ = np.zeros(len(rows_a), bool)
        beyond = np.zeros(len(rows_a), bool)
        for reader in readers:
            block = reader.read(rows_a, rows_b)
            if reader.has_candidates:
                longer = block.longer()  # where all slots that both have may agree
                found.rows_longer += int(np.count_nonzero(longer))
                differ |= longer
                beyond |= longer
                if not order_matters:
                    found.rows_swapped += block.undo_swaps(ulp)
            reader.count(block, rows_a, differ, beyond)
        found.rows_differ += int(np.count_nonzero(differ))
        found.rows_beyond += int(np.count_nonzero(beyond))
        advance(len(rows_a))
    return found


@dataclass(slots=True)
class _Block:
    """Rows of one key of both tables: (n, M, k) each, their common columns, one dtype."""

    a: NDArray[Any]
    b: NDArray[Any]
    columns: list[str]
    beyond_a: NDArray[Any]  # slots that the other table does not have
    beyond_b: NDArray[Any]

    def longer(self) -> NDArray[np.bool_]:
        """Rows with a candidate in a slot that the other table does not have."""
        found = np.zeros(len(self.a), bool)
        if "E" in self.columns:
            energy = self.columns.index("E")
            for slots in (self.beyond_a, self.beyond_b):
                found |= (slots[:, :, energy] != 0).any(axis=1)
        return found

    def undo_swaps(self, ulp: int) -> int:
        """Put candidates of equal pt of `b` in the order of `a`; returns the rows so made equal."""
        if not {"px", "py"} <= set(self.columns) or same_bits(self.a, self.b).all():
            return 0
        px, py = self.columns.index("px"), self.columns.index("py")
        disagreeing = np.flatnonzero(~same_bits(self.a, self.b).all(axis=(1, 2)))
        made_equal = 0
        for first in range(0, len(disagreeing), _PAIRED_ROWS):
            rows = disagreeing[first : first + _PAIRED_ROWS]
            a, b = self.a[rows], self.b[rows]
            paired = pair_candidates(a, b, px, py, ulp)
            moved = (paired != np.arange(paired.shape[1])).any(axis=1)
            if not moved.any():
                continue
            rows, a, b, paired = rows[moved], a[moved], b[moved], paired[moved]
            b = np.take_along_axis(b, paired[:, :, None], axis=1)
            self.b[rows] = b
            made_equal += int((distance(a, b) <= ulp).all(axis=(1, 2)).sum())
        return made_equal


class _KeyPair:
    """One key that both tables have: reads what they share of it, and counts what differs."""

    def __init__(self, a: H5File, b: H5File, name: str, ulp: int) -> None:
        self.a, self.b, self.name = a, b, name
        key_a, key_b = a.keys[name], b.keys[name]
        common = [column for column in key_a.columns if column in key_b.columns]
        self._of_a = [key_a.columns.index(column) for column in common]
        self._of_b = [key_b.columns.index(column) for column in common]
        self.has_candidates = name == CANDIDATES
        self.comparison = KeyComparison(
            name,
            [ColumnDifference(column, ulp) for column in common],
            [column for column in key_a.columns if column not in key_b.columns],
            [column for column in key_b.columns if column not in key_a.columns],
        )
        self._dtype = key_a.dtype
        if key_a.dtype != key_b.dtype:
            for column in self.comparison.columns:
                column.note = f"{key_a.dtype} and {key_b.dtype}"
            self._dtype = np.result_type(key_a.dtype, key_b.dtype)
        if key_a.shape[1:] != key_b.shape[1:]:
            self.comparison.note = f"shapes {key_a.shape} and {key_b.shape}"

    def read(self, rows_a: NDArray[np.intp], rows_b: NDArray[np.intp]) -> _Block:
        values = [
            self._places(file.take(self.name, rows), columns)
            for file, rows, columns in (
                (self.a, rows_a, self._of_a),
                (self.b, rows_b, self._of_b),
            )
        ]
        slots = min(values[0].shape[1], values[1].shape[1])
        names = [column.name for column in self.comparison.columns]
        return _Block(
            values[0][:, :slots],
            values[1][:, :slots],
            names,
            values[0][:, slots:],
            values[1][:, slots:],
        )

    def _places(self, values: NDArray[Any], columns: list[int]) -> NDArray[Any]:
        """As (rows, places, columns), the columns that both tables have, in one order."""
        if values.ndim == 1:
            values = values[:, None]
        places = values.reshape(len(values), -1, values.shape[-1])
        if columns != list(range(places.shape[2])):
            places = places[:, :, columns]
        return np.ascontiguousarray(places).astype(self._dtype, copy=False)

    def count(
        self,
        block: _Block,
        rows: NDArray[np.intp],
        differ: NDArray[np.bool_],
        beyond: NDArray[np.bool_],
    ) -> None:
        """Add what differs to the columns, and mark its rows (of the block)."""
        filled = block.a.shape[0] * block.a.shape[1]
        if self.has_candidates and "E" in block.columns:
            energy = block.columns.index("E")
            filled = int(
                np.count_nonzero((block.a[:, :, energy] != 0) | (block.b[:, :, energy] != 0))
            )
        same = same_bits(block.a, block.b)
        whole = bool(same.all())
        for number, column in enumerate(self.comparison.columns):
            column.values += filled
            if whole:
                continue
            where, place = np.nonzero(~same[:, :, number])
            differ[where] = True
            changed = column.add(
                rows[where],
                place if block.a.shape[1] > 1 else None,
                block.a[where, place, number],
                block.b[where, place, number],
            )
            beyond[np.searchsorted(rows, changed)] = True
