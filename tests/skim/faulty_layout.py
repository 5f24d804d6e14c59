"""A layout whose reading dies or waits where a file in a folder `faults` beside the input says so.

Files in `faults`: ``kill-…`` (the process that takes one kills itself), ``poison-<entry>`` (every
process that reads the chunk from this entry on kills itself), ``wait`` (chunks wait until it is
gone). Whoever waits leaves ``waits-<process id>``.
"""

import os
import signal
import time
from pathlib import Path
from typing import Any

from treasure.skim.layout_a import LayoutA

__all__ = ["FaultyLayout", "faults"]


def faults(directory: Path, *names: str) -> Path:
    """Have faults happen to the files of a directory."""
    folder = directory / "faults"
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


class FaultyLayout(LayoutA):
    summary = "that of PFNano, on bad days"

    def __init__(self, events: Any, branches: set[str], where: str) -> None:
        super().__init__(events, branches, where)
        folder = Path(where).parent / "faults"
        if (folder / f"poison-{events.metadata['entrystart']}").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        for path in folder.glob("kill-*"):
            try:
                path.unlink()
            except FileNotFoundError:
                continue  # another process took it
            os.kill(os.getpid(), signal.SIGKILL)
        while (folder / "wait").exists():
            (folder / f"waits-{os.getpid()}").touch()
            time.sleep(0.02)
