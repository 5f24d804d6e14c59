"""The tree ``LuminosityBlocks`` of a NanoAOD file.

It alone knows of sections of which no event was stored. Where a file has no such tree, or is not
read as a whole, its events say which sections were processed.
"""

import numpy as np
import uproot

__all__ = ["luminosity_blocks"]

_TREE = "LuminosityBlocks"
_BRANCHES = ("run", "luminosityBlock")


def luminosity_blocks(file: uproot.ReadOnlyDirectory) -> set[tuple[int, int]] | None:
    """(run, luminosity section) of all entries of the tree; None if the file has no such tree."""
    if _TREE not in file.keys(cycle=False, recursive=False):
        return None
    tree = file[_TREE]
    if not set(_BRANCHES) <= set(tree.keys()):
        return None
    runs, blocks = (np.asarray(tree[name].array()).tolist() for name in _BRANCHES)
    return set(zip(runs, blocks, strict=True))
