"""SimulatePFNano: collision events where there are none yet."""

from typing import Any

from tasks.base import section
from tasks.workflow import BranchedTask
from treasure.errors import ConfigError

__all__ = ["SimulatePFNano"]


class SimulatePFNano(BranchedTask):
    """Simulate proton-proton collisions as PFNano files: Pythia8 and a CMS-like response.

    One branch a file. Needs a dataset whose source is of kind simulation.
    """

    progress_unit = "events"

    def settings(self) -> dict[str, Any]:
        # A file does not depend on how many others there are: a dataset can grow.
        return {"seed": self.tree.seed, "source": section(self.source, exclude=("n_files",))}

    @property
    def source(self) -> Any:
        if self.entry.source.kind != "simulation":
            raise ConfigError(
                f"dataset {self.dataset!r} of configuration {self.loaded.name!r} is not simulated"
                f" (source kind {self.entry.source.kind!r}): nothing to generate; run CreateFileset"
            )
        return self.entry.source

    def create_branch_map(self) -> dict[int, int]:
        return {number: number for number in range(self.source.n_files)}

    def run(self) -> None:
        from treasure.simulation.generate import simulate_file

        with self.stage() as stage:
            stage.summary = simulate_file(
                self.source,
                seed=self.tree.seed,
                branch=self.branch,
                path=stage.directory / f"{self.stem}.root",
                progress=stage.progress,
            )
