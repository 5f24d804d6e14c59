"""Loops over particles as machine code."""

from collections.abc import Callable
from typing import Any

import numba

__all__ = ["compiled"]


def compiled(function: Callable[..., Any]) -> Any:
    """The same, compiled, and kept on disk where that is possible; other threads may run beside."""
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no directory that may be written
        return numba.njit(nogil=True)(function)
