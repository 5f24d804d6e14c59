"""The row groups of many token files: which rows of them are wanted, read when they are needed."""

import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from treasure.errors import ConfigError, DataError
from treasure.jets.splits import SPLITS
from treasure.store import fingerprint
from treasure.tokens.pages import PagedTable
from treasure.tokens.rows import TokenRows
from treasure.tokens.table import TokenMetadata, TokenTable, schema

__all__ = ["Group", "RowGroups", "Wanted"]

_OPEN_FILES = 16


@dataclass(frozen=True)
class Wanted:
    """Which rows, and what of them; `None` stands for all.

    Attributes
    ----------
    split
        ``train``, ``val``, ``test`` or ``unknown``.
    labels
        Classes.
    datasets
        Names of datasets.
    columns
        Columns beside the tokens, all of them numbers.
    """

    split: str | None = None
    labels: tuple[int, ...] | None = None
    datasets: tuple[str, ...] | None = None
    columns: tuple[str, ...] = ("label", "jet_pt", "jet_eta", "jet_phi", "jet_msoftdrop")

    def __post_init__(self) -> None:
        if self.split not in (None, *SPLITS, "unknown"):
            raise ConfigError(f"split {self.split!r}; expected {', '.join(SPLITS)} or unknown")
        if odd := [label for label in self.labels or () if not isinstance(label, Integral)]:
            raise ConfigError(f"label {odd[0]!r}; expected whole numbers, as in the column label")
        known = [name for name in schema().names if name != "tokens"]
        if unknown := [name for name in self.columns if name not in known]:
            raise ConfigError(f"no column {unknown[0]!r}; there are {', '.join(known)}")

    @property
    def judges(self) -> bool:
        """Whether rows are chosen by what is in them."""
        return self.split is not None or self.labels is not None

    @property
    def judged(self) -> list[str]:
        """Columns by which rows are chosen."""
        by = {"split": self.split, "label": self.labels}
        return [name for name, value in by.items() if value is not None]

    def mask(self, columns: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
        """(n,) bool: the rows that are wanted, by the columns of `judged`."""
        masks = []
        if self.split is not None:
            number = SPLITS.index(self.split) if self.split in SPLITS else -1
            masks.append(columns["split"] == number)
        if self.labels is not None:
            masks.append(np.isin(columns["label"], self.labels))
        return np.logical_and.reduce(masks)


@dataclass(frozen=True)
class Group:
    """A row group: its dataset, the number of its file, its own in it, its rows that are wanted."""

    dataset: str
    file: int
    number: int
    wanted: int


@dataclass
class RowGroups:
    """The row groups of token files that fit together.

    Parameters
    ----------
    paths
        The files, in the order of their rows.
    wanted
        Which rows and columns.
    memory
        Bytes of row groups that are kept; the one in use is kept always.

    Attributes
    ----------
    groups : list of Group
        Those with rows that are wanted, in the order of the files.
    starts : ndarray
        (groups + 1,) int64: number of the first row of each among the rows that are wanted.
    metadata : TokenMetadata
        Of the first file; vocabulary and tokenizer are those of all.

    Raises
    ------
    DataError
        Naming the file that is missing, damaged, of a newer version, or of another tokenizer.
    """

    paths: Sequence[Path]
    wanted: Wanted
    memory: int = 1 << 28
    groups: list[Group] = field(init=False, default_factory=list)
    _kept: OrderedDict[int, TokenRows] = field(init=False, repr=False)
    _open: OrderedDict[int, PagedTable] = field(init=False, repr=False)
    _bytes: int = field(init=False, repr=False)
    _process: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.paths:
            raise DataError("no token files; expected at least one")
        if self.memory < 0:
            raise ConfigError(f"memory {self.memory}; expected bytes, at least 0")
        self._forget()
        self._states = [_state(path) for path in self.paths]
        self._identities: list[Any] = []
        datasets: set[str] = set()
        first: TokenMetadata | None = None
        for file, path in enumerate(self.paths):
            table = self._opened(file)
            first = first or table.metadata
            _must_fit(path, table.metadata, self.paths[0], first)
            datasets.add(table.metadata.dataset)
            self._add(file, table)
        assert first is not None
        self.metadata = first
        self.starts = np.cumsum([0, *(group.wanted for group in self.groups)], dtype=np.int64)
        if unknown := set(self.wanted.datasets or ()) - datasets:
            raise DataError(
                f"{self.paths[0]} and {len(self.paths) - 1} more: no dataset"
                f" {sorted(unknown)[0]!r}; there are {', '.join(sorted(datasets))}"
            )

    def __len__(self) -> int:
        return int(self.starts[-1])

    @property
    def kinds(self) -> tuple[int, ...]:
        """Of each of `groups`, the number of its dataset among their names."""
        names = sorted({group.dataset for group in self.groups})
        return tuple(names.index(group.dataset) for group in self.groups)

    @property
    def fingerprint(self) -> str:
        """What the rows are, wherever the files lie."""
        wanted = [self.wanted.split, self.wanted.labels, self.wanted.datasets]
        return fingerprint([self._identities, wanted])

    def read(self, number: int) -> TokenRows:
        """The wanted rows of one of `groups`, from memory or from its file.

        Raises
        ------
        DataError
            Naming the rows that are damaged, or the file that changed since it was opened.
        """
        if number in self._kept:
            self._kept.move_to_end(number)
            return self._kept[number]
        group = self.groups[number]
        names = list(dict.fromkeys([*self.wanted.columns, *self.wanted.judged]))
        rows = _read(self._table(group.file), group.number, names)
        if self.wanted.judges:
            mask = self.wanted.mask(rows.columns)
            rows = rows if mask.all() else rows.take(np.flatnonzero(mask)).compact()
        if len(rows) != group.wanted:
            raise DataError(
                f"{self.paths[group.file]}, row group {group.number}: {len(rows)} wanted rows, but"
                f" there were {group.wanted} when it was opened; open the dataset again"
            )
        columns = {name: rows.columns[name] for name in self.wanted.columns}
        rows = TokenRows(rows.tokens, rows.starts, rows.counts, columns)
        self._keep(number, rows)
        return rows

    def __getstate__(self) -> dict[str, Any]:
        """Without what is open or in memory."""
        transient = ("_kept", "_open", "_bytes", "_process")
        return {key: value for key, value in self.__dict__.items() if key not in transient}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def _add(self, file: int, table: TokenTable) -> None:
        """The row groups of a file, with how many rows of each are wanted."""
        described = table.metadata
        sizes = table.row_groups
        self._identities.append(
            [
                *(described.dataset, described.source_file, described.source_checksum),
                *(described.tokenizer_fingerprint, sizes),
            ]
        )
        if self.wanted.datasets is not None and described.dataset not in self.wanted.datasets:
            return
        for number, rows in enumerate(sizes):
            found = _count(table, number, rows, self.wanted)
            if found:
                self.groups.append(Group(described.dataset, file, number, found))

    def _keep(self, number: int, rows: TokenRows) -> None:
        self._kept[number] = rows
        self._bytes += rows.bytes
        while self._bytes > self.memory and len(self._kept) > 1:
            _, old = self._kept.popitem(last=False)
            self._bytes -= old.bytes

    def _table(self, file: int) -> PagedTable:
        # A file that a forked process reads is opened by it: a position may be shared otherwise.
        if self._process != os.getpid():
            self._open.clear()
            self._process = os.getpid()
        path = self.paths[file]
        if _state(path) != self._states[file]:
            raise DataError(f"{path}: changed since it was opened; open the dataset again")
        if file in self._open:
            self._open.move_to_end(file)
            return self._open[file]
        return self._opened(file)

    def _opened(self, file: int) -> PagedTable:
        while len(self._open) >= _OPEN_FILES:
            self._open.popitem(last=False)[1].__exit__()
        self._open[file] = PagedTable(self.paths[file])
        return self._open[file]

    def _forget(self) -> None:
        self._kept, self._open = OrderedDict(), OrderedDict()
        self._bytes, self._process = 0, os.getpid()


def _state(path: Path) -> tuple[int, int]:
    """What changes when a file is written again; of one that is missing, its opening tells."""
    try:
        found = path.stat()
    except OSError:
        return -1, -1
    return found.st_size, found.st_mtime_ns


def _must_fit(path: Path, found: TokenMetadata, first: Path, expected: TokenMetadata) -> None:
    for name in ("size", "codebooks"):
        if getattr(found, name) != getattr(expected, name):
            raise DataError(
                f"{path}: a vocabulary of {found.size} ids and {found.codebooks} codebooks, but"
                f" {first} has {expected.size} and {expected.codebooks}; load them apart"
            )
    if found.tokenizer_fingerprint != expected.tokenizer_fingerprint:
        raise DataError(
            f"{path}: tokens of tokenizer {found.tokenizer_fingerprint[:10]}, but {first} has those"
            f" of {expected.tokenizer_fingerprint[:10]}: the same ids mean other particles; load"
            " them apart"
        )


def _read(table: PagedTable, number: int, names: Sequence[str]) -> TokenRows:
    """A row group, verified: by its pages, or, where they are unusual or damaged, by Arrow."""
    columns = list(dict.fromkeys(["n_constituents", *names]))
    size, codebooks = table.metadata.size, table.metadata.codebooks
    # Half of the memory, and so of what moving ids costs, where that will do.
    dtype: type[np.integer[Any]] = np.uint16 if size <= 1 << 16 else np.int32
    if (found := table.ids(number, dtype)) is None:
        whole = table.row_group(number, [*columns, "tokens"], threads=False)
        rows = TokenRows.from_arrow(whole, names)
        return replace(rows, tokens=rows.tokens.astype(dtype))
    ids, counts = found
    beside = table.row_group(number, columns, threads=False)
    if len(ids) and not (ids.min() >= 0 and ids.max() < size):
        raise DataError(
            f"{table.where(number)}: ids from {ids.min()} to {ids.max()}, but the vocabulary has"
            f" 0 to {size - 1}"
        )
    if not np.array_equal(counts, beside["n_constituents"].to_numpy() * codebooks):
        raise DataError(f"{table.where(number)}: n_constituents differs from the number of tokens")
    particles = counts // codebooks
    return TokenRows(
        ids if codebooks == 1 else ids.reshape(-1, codebooks),
        np.cumsum(particles) - particles,
        particles,
        TokenRows.numbers(beside, names),
    )


def _count(table: TokenTable, number: int, rows: int, wanted: Wanted) -> int:
    """How many rows of a row group are wanted.

    By its columns, which have checksums, not by its statistics, which have none.
    """
    if not wanted.judges:
        return rows
    found = table.row_group(number, wanted.judged, threads=False)
    columns = TokenRows.numbers(found, wanted.judged)
    return int(np.count_nonzero(wanted.mask(columns)))
