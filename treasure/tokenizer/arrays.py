"""Plain arrays of npz files of others: nothing is unpickled."""

import tokenize
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from treasure.errors import DataError

__all__ = ["DAMAGED_NPZ", "read_npz"]

DAMAGED_NPZ: tuple[type[Exception], ...] = (
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,
    OSError,
    ValueError,
    KeyError,
    EOFError,
    SyntaxError,
    RuntimeError,  # a flipped bit may say that it is encrypted, or compressed in an unknown way
)
"""What zipfile and numpy raise where an npz file is damaged."""


def read_npz(
    path: Path, required: Collection[str] = (), wanted: Collection[str] | None = None
) -> dict[str, NDArray[Any]]:
    """Named arrays of an npz file.

    Parameters
    ----------
    path
        The file.
    required
        Arrays that must be there.
    wanted
        Arrays that are read where they are there; None: all.

    Raises
    ------
    DataError
        If the file is missing or damaged, or an array is missing, or is no plain array.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; an npz file was expected")
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise DataError(f"{path}: a single array; an npz file was expected")
            if missing := [name for name in required if name not in file.files]:
                found = ", ".join(sorted(file.files)) or "nothing"
                raise DataError(f"{path}: no array {', '.join(missing)} (found: {found})")
            names = file.files if wanted is None else [*required, *wanted]
            return {name: file[name] for name in names if name in file.files}
    except DAMAGED_NPZ as error:
        raise DataError(f"{path}: not a whole npz file of plain arrays ({error})") from error
