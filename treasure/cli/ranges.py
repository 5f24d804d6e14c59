"""Ranges of columns, in one pass over chunks: least, mean and greatest real value, and the rest.

What is not a real value is counted apart: sentinels, NaN, infinity, and the sign of zero.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from treasure.cli.h5_keys import CANDIDATES, unit_of

__all__ = ["CandidateSlots", "ColumnRange", "KeyRanges"]

NONE = -1  # the format's "there is none"
_TRACK_DETAILS = ("d0", "d0Err", "dz", "dzErr")
_NUMBERED = ("run", "luminosityBlock", "event", "pdgId", "label", "split")  # a mean says nothing
_SAME_PT = 1e-6  # relative; px and py are rounded to single precision


@dataclass(slots=True)
class ColumnRange:
    """What a column holds.

    Attributes
    ----------
    name, unit
        Of the column; the unit is empty where there is none.
    minimum, maximum
        Of the real values; None where there are none.
    values, sentinels, zeros
        How many there are (padding aside), how many say "none", and how many are 0.
    nan, infinite, negative_zero
        How many of what the format excludes.
    """

    name: str
    unit: str = ""
    minimum: float | int | None = None
    maximum: float | int | None = None
    values: int = 0
    sentinels: int = 0
    zeros: int = 0
    nan: int = 0
    infinite: int = 0
    negative_zero: int = 0
    _sum: float = 0.0
    _real: int = 0

    @property
    def mean(self) -> float | None:
        """Of the real values; None for numbers that only name something, such as `pdgId`."""
        return self._sum / self._real if self._real and self.name not in _NUMBERED else None

    @property
    def faults(self) -> dict[str, int]:
        """What the format excludes, where there is any."""
        counts = {"NaN": self.nan, "infinite": self.infinite, "−0": self.negative_zero}
        return {name: count for name, count in counts.items() if count}

    def add(self, values: NDArray[Any], sentinel: NDArray[np.bool_] | None = None) -> None:
        """Count a chunk of the column.

        Parameters
        ----------
        values
            Shape (n,), integers or floating-point numbers.
        sentinel
            Shape (n,): which of them say "none". None: no value does.
        """
        self.values += len(values)
        zero = values == 0
        self.zeros += int(np.count_nonzero(zero))
        if values.dtype.kind == "f":
            self.negative_zero += int(np.count_nonzero(np.signbit(values[zero])))
            finite = np.isfinite(values)
            if not finite.all():
                self.nan += int(np.count_nonzero(np.isnan(values)))
                self.infinite += int(np.count_nonzero(np.isinf(values)))
                values = values[finite]
                sentinel = None if sentinel is None else sentinel[finite]
        if sentinel is not None and sentinel.any():
            self.sentinels += int(np.count_nonzero(sentinel))
            values = values[~sentinel]
        if len(values) == 0:
            return
        least, greatest = values.min().item(), values.max().item()
        self.minimum = least if self.minimum is None else min(self.minimum, least)
        self.maximum = greatest if self.maximum is None else max(self.maximum, greatest)
        self._sum += float(values.sum(dtype=np.float64))
        self._real += len(values)


class KeyRanges:
    """Ranges of the columns of one key.

    Sentinels are −1 in `msoftdrop`, in all of `jet_tagging`, in `puppiWeight`, `label` and `split`;
    in d0, d0Err, dz and dzErr where d0Err is −1 (−1 cm is a possible d0); elsewhere what
    `absent_columns` says.

    Parameters
    ----------
    key
        Name of the key.
    columns
        Names of its columns.
    absent
        Attribute `absent_columns` of the file: ``{"FatJet_tau1": "-1", …}``.
    """

    def __init__(self, key: str, columns: tuple[str, ...], absent: Mapping[str, str]) -> None:
        self.columns = [ColumnRange(name, unit_of(name)) for name in columns]
        self._track = columns.index("d0Err") if "d0Err" in columns else None
        prefix = "PFCands_" if key == CANDIDATES else "FatJet_"
        self._sentinels: dict[str, float] = {}
        for name in columns:
            with_none = name in ("msoftdrop", "puppiWeight", "label", "split")
            if with_none or key == "jet_tagging":
                self._sentinels[name] = NONE
            instead = str(absent.get(f"{prefix}{name}", ""))
            if instead.removeprefix("-").isdecimal():
                self._sentinels[name] = float(instead)

    def add(self, values: NDArray[Any]) -> None:
        """Count a chunk, shape (n, k): padding must be left out."""
        transposed = np.ascontiguousarray(values.T)
        no_track = None if self._track is None else transposed[self._track] == NONE
        for column, data in zip(self.columns, transposed, strict=True):
            sentinel = None
            if column.name in self._sentinels:
                sentinel = data == self._sentinels[column.name]
            elif column.name in _TRACK_DETAILS:
                sentinel = no_track
            column.add(data, sentinel)


class CandidateSlots:
    """How the slots for candidates are filled, and whether they are as the format says.

    Parameters
    ----------
    slots
        Slots of a jet, M.

    Attributes
    ----------
    counts : int64, (M + 1,)
        How many jets have 0, 1, … M candidates.
    dirty_padding
        Values of padding that are not exact zeros.
    holes, unordered
        Jets with a candidate behind padding; jets whose candidates do not fall in pt.
    """

    def __init__(self, slots: int) -> None:
        self.counts = np.zeros(slots + 1, np.int64)
        self.dirty_padding = 0
        self.holes = 0
        self.unordered = 0

    def add(self, candidates: NDArray[Any], columns: tuple[str, ...]) -> NDArray[Any]:
        """Count a chunk, shape (n, M, k); returns its candidates without padding, (m, k)."""
        filled = candidates[:, :, columns.index("E")] != 0
        self.counts += np.bincount(filled.sum(axis=1), minlength=len(self.counts))
        self.holes += int((filled[:, 1:] & ~filled[:, :-1]).any(axis=1).sum())
        real = candidates[filled]
        bits = f"u{candidates.dtype.itemsize}"  # the sign of zero counts, too
        self.dirty_padding += int(
            np.count_nonzero(candidates.view(bits)) - np.count_nonzero(real.view(bits))
        )
        px, py = (candidates[:, :, columns.index(name)] for name in ("px", "py"))
        squared = px * px + py * py
        rises = squared[:, 1:] > squared[:, :-1] * (1 + 2 * _SAME_PT)
        self.unordered += int((rises & filled[:, 1:] & filled[:, :-1]).any(axis=1).sum())
        return real

    def per_jet(self) -> tuple[int, float, int] | None:
        """Least, median and greatest number of candidates of a jet; None without jets."""
        jets = int(self.counts.sum())
        if jets == 0:
            return None
        present = np.flatnonzero(self.counts)
        below = np.cumsum(self.counts)
        middle = [
            int(np.searchsorted(below, rank, "right")) for rank in ((jets - 1) // 2, jets // 2)
        ]
        return int(present[0]), sum(middle) / 2, int(present[-1])
