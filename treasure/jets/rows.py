"""The rows of consecutive branches of a skim, read from any row to any other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from treasure.errors import DataError
from treasure.skim.parts import CUTFLOW, EVENT_SCALARS, column_of, part_rows, read_parts
from treasure.store import read_json

__all__ = ["SkimRows"]

_ROWS = 4096


@dataclass(frozen=True)
class SkimRows:
    """The rows of consecutive branches of a skim, as one sequence.

    Attributes
    ----------
    parts
        Path of each part, and its rows, in order.
    """

    parts: list[tuple[Path, int]]

    @classmethod
    def of(cls, skims: Sequence[Path]) -> "SkimRows":
        """Find the parts of some branches, by what their cutflows say.

        Raises
        ------
        DataError
            If a part is missing, damaged, or has other rows than announced.
        """
        parts = []
        for directory in skims:
            cutflow = read_json(directory / CUTFLOW)
            for name in cutflow["parts"]:
                path, announced = directory / name, cutflow["rows"][name]
                if (rows := part_rows(path)) != announced:
                    raise DataError(
                        f"{path}: {rows} rows, but {CUTFLOW} beside it says {announced}; run"
                        " SkimJets again"
                    )
                parts.append((path, rows))
        return cls(parts)

    def __len__(self) -> int:
        return sum(rows for _, rows in self.parts)

    def event_start(self, row: int) -> int:
        """First row of the event that contains a row; the number of rows for what is behind."""
        first = 0
        for path, rows in self.parts:
            if row < first + rows:
                return first + _event_start(path, row - first)
            first += rows
        return first

    def tables(self, start: int, stop: int, rows: int) -> Iterator[pa.Table]:
        """Rows from `start` to before `stop`, `rows` at a time (the last table may be shorter)."""
        held: list[pa.Table] = []
        first = n_held = 0
        for path, of_part in self.parts:
            if first < stop and first + of_part > start:
                row = first
                for table in read_parts([path], rows):
                    begin, end = max(start - row, 0), min(stop - row, len(table))
                    row += len(table)
                    if begin < end:
                        held.append(table.slice(begin, end - begin))
                        n_held += end - begin
                    if n_held >= rows:  # by less than a table, so once is enough
                        whole = pa.concat_tables(held)
                        yield whole.slice(0, rows)
                        held, n_held = [whole.slice(rows)], n_held - rows
            first += of_part
        if n_held:
            yield pa.concat_tables(held)


def _event_start(path: Path, row: int) -> int:
    """The same within a part; events never go on in another part."""
    if row == 0:
        return 0
    columns = (*EVENT_SCALARS, "FatJet_index")
    numbers = np.concatenate(
        [
            np.stack([column_of(table, name) for name in columns], axis=1)
            for table in read_parts([path], _ROWS)
        ]
    )[: row + 1]
    before, after = numbers[:-1], numbers[1:]
    # Simulation may number its events as it likes, even all the same; the jets of one event have
    # rising positions.
    is_same = (before[:, :3] == after[:, :3]).all(axis=1) & (before[:, 3] < after[:, 3])
    starts = np.flatnonzero(~is_same) + 1
    return int(starts[-1]) if len(starts) else 0
