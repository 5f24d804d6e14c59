"""Columns of lists and numbers, from parquet or from a TTree, in blocks of jets."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from treasure.errors import DataError
from treasure.tokens.dialects.parquet import ParquetBlocks, flat, flat_lists

__all__ = ["JetFile", "open_jets"]

_ROWS = 8192

Block = dict[str, NDArray[Any]]


class JetFile(ABC):
    """A file of jets with named columns.

    Attributes
    ----------
    path, names, rows
    """

    path: Path
    names: list[str]
    rows: int

    @abstractmethod
    def blocks(self, lists: Sequence[str], scalars: Sequence[str]) -> Iterator[tuple[int, Block]]:
        """First row, and the packed values of each column; ``counts``: particles of each jet."""


class _Parquet(JetFile):
    def __init__(self, file: ParquetBlocks) -> None:
        self._file, self.path, self.rows = file, file.path, file.rows
        self.names = list(file.schema.names)

    def blocks(self, lists: Sequence[str], scalars: Sequence[str]) -> Iterator[tuple[int, Block]]:
        for first, rows in self._file.blocks([*lists, *scalars], _ROWS):
            where = f"{self.path}, rows {first} and on"
            block: Block = {}
            for name in lists:
                values, counts = flat_lists(rows[name], f"{where}, {name}")
                _add(block, name, values, counts, where)
            for name in scalars:
                block[name] = flat(rows[name], f"{where}, {name}", "iufbOSU")
            yield first, block


class _Root(JetFile):
    def __init__(self, path: Path, tree: Any) -> None:
        self._tree, self.path, self.rows = tree, path, int(tree.num_entries)
        self.names = list(tree.keys())

    def blocks(self, lists: Sequence[str], scalars: Sequence[str]) -> Iterator[tuple[int, Block]]:
        wanted = [*lists, *scalars]
        for first in range(0, self.rows, _ROWS):
            where = f"{self.path}, rows {first} and on"
            stop = min(first + _ROWS, self.rows)
            try:
                arrays = {
                    name: self._tree[name].array(entry_start=first, entry_stop=stop)
                    for name in wanted
                }
            except Exception as error:  # whatever uproot meets in a damaged file
                reason = str(error).strip().splitlines()[:1]
                raise DataError(f"{where}: cannot be read: {''.join(reason)}") from error
            if any(len(values) != stop - first for values in arrays.values()):
                raise DataError(f"{where}: fewer entries than the {self.rows} of the tree's header")
            block: Block = {}
            for name in lists:
                if arrays[name].ndim != 2:
                    raise DataError(f"{where}: {name} is {arrays[name].type}; lists were expected")
                counts = np.asarray(ak.num(arrays[name], axis=1), dtype=np.int64)
                _add(block, name, ak.to_numpy(ak.flatten(arrays[name], axis=1)), counts, where)
            for name in scalars:
                if arrays[name].ndim != 1:
                    raise DataError(
                        f"{where}: {name} is {arrays[name].type}; numbers were expected"
                    )
                block[name] = ak.to_numpy(arrays[name])
            yield first, block


def _add(
    block: Block, name: str, values: NDArray[Any], counts: NDArray[np.int64], where: str
) -> None:
    if values.dtype.kind not in "iufb":
        raise DataError(f"{where}: {name} is {values.dtype}; numbers were expected")
    before = block.setdefault("counts", counts)
    if not np.array_equal(before, counts):
        row = int(np.argmax(before != counts))
        raise DataError(
            f"{where}: the {row}th of them has {counts[row]} values of {name}, but {before[row]}"
            " particles"
        )
    block[name] = values


@contextmanager
def open_jets(path: Path, tree: str | None) -> Iterator[JetFile]:
    """Open parquet, or a TTree of a ROOT file (the only one, or `tree`)."""
    if path.suffix != ".root":
        with ParquetBlocks(path) as file:
            yield _Parquet(file)
        return
    # not before: a second to import
    import uproot

    from treasure.fileset.opening import open_options

    if not path.is_file():
        raise DataError(f"{path}: no such file; a ROOT file was expected")
    try:
        root = uproot.open({str(path): None}, **open_options(str(path)))
    except Exception as error:
        reason = "".join(str(error).strip().splitlines()[:1])
        raise DataError(f"{path}: cannot be read as a ROOT file: {reason}") from error
    with root:
        yield _Root(path, _tree_of(root, path, tree))


def _tree_of(root: Any, path: Path, wanted: str | None) -> Any:
    trees = sorted(
        {
            name.split(";")[0]
            for name, kind in root.classnames().items()
            if kind in ("TTree", "TNtuple", "ROOT::RNTuple")
        }
    )
    name = wanted or ("tree" if "tree" in trees else trees[0] if len(trees) == 1 else None)
    if name is None or name not in trees:
        raise DataError(
            f"{path}: has the trees {', '.join(trees) or '(none)'}; say which with --tree"
        )
    try:
        return root[name]
    except Exception as error:
        reason = "".join(str(error).strip().splitlines()[:1])
        raise DataError(f"{path}: {name} cannot be read: {reason}") from error
