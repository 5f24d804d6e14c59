"""A stage for tests of batch systems: its branches do what files tell them."""

import os
import time
from pathlib import Path
from typing import Any

from tasks.workflow import BranchedTask
from treasure import store
from treasure.errors import DataError


class ToldStage(BranchedTask):
    """Each of three branches notes that it started, and waits until it is told to go on.

    In the directory ``$TOLD``: ``started`` has a line for each start; ``go`` lets all branches end;
    while there is ``eat_N`` or ``fail_N``, branch N takes too much memory, or fails.
    """

    def create_branch_map(self) -> dict[int, int]:
        return {number: number for number in range(3)}

    def run(self) -> None:
        told = Path(os.environ["TOLD"])
        with open(told / "started", "a") as file:
            file.write(f"{self.branch}\n")
        with self.stage() as stage:
            if (told / f"fail_{self.branch}").exists():
                raise DataError(f"branch {self.branch} was told to fail")
            eaten: list[Any] = []
            while not (told / "go").exists() or (told / f"eat_{self.branch}").exists():
                if (told / f"eat_{self.branch}").exists() and len(eaten) < 100:
                    eaten.append(bytearray(os.urandom(1 << 20) * 16))
                time.sleep(0.05)
            store.write_text(stage.directory / "number.txt", f"{self.branch}\n")
            stage.summary = {"numbers": 1}
