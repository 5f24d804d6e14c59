"""How the branches of a stage are run: the one place where batch systems are chosen.

Every stage with branches derives from `Workflow`. It runs them as processes of this machine; what
else ``--workflow`` can say is one base class here.
"""

from typing import Any

import law
import luigi

from tasks.htcondor import HTCondorBranches
from tasks.outputs import ListedLocally
from tasks.site import SiteParameters
from tasks.slurm import SlurmBranches
from treasure.config.site import Resources

__all__ = ["Workflow"]


class Workflow(SiteParameters, law.LocalWorkflow, SlurmBranches, HTCondorBranches):
    """A stage that is shared out over branches: processes here, or jobs of a batch system."""

    exclude_index = True
    workflow_proxy_cls = ListedLocally

    tolerance = luigi.FloatParameter(
        default=20.0,
        significant=False,
        description="of jobs in a batch system, how many may fail for good before the others are "
        "not waited for; a number, or up to 1 a fraction; default: 20",
    )

    def job_resources(self) -> Resources:
        """What a job of this stage asks for."""
        asked: Resources = self.place.resources_of(self.get_task_family())
        if self.max_runtime == law.NO_FLOAT:
            return asked
        return Resources(hours=float(self.max_runtime)).over(asked)

    def process_resources(self) -> Any:
        return {}  # of luigi's scheduler, which has none to share out
