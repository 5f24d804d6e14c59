"""Memory of a process that reads one chunk after the other, all about as large."""

import ctypes
import gc
from functools import cache

__all__ = ["keep_freed_memory", "release_chunk"]

# Parameters of mallopt (malloc.h of the GNU C library).
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_NEVER = 2**31 - 1


@cache
def keep_freed_memory() -> None:
    """Let the process keep the memory of a chunk for the next one.

    By default the GNU C library gives every large array back to the system when it is freed; the
    system then hands out the same pages again, zeroed, a fault each: a fifth of the time of a skim.
    Other C libraries are left as they are. Python's collections of cycles skip what is there now.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, _NEVER)
    gc.freeze()


def release_chunk() -> None:
    """Free a chunk that was processed: its arrays are in cycles of references.

    Left to Python, they stay until many more chunks were read.
    """
    gc.collect()
    _skip_what_is_there()


@cache
def _skip_what_is_there() -> None:
    """Modules that the first chunk imported would take each later collection 20 ms."""
    gc.freeze()
