"""How the branches of a stage are run: the one place where batch systems are chosen.

Every stage with branches derives from `Workflow`. It runs them as local processes; a batch system
is one more base class here (law's ``SlurmWorkflow``, ``HTCondorWorkflow``), chosen by
``--workflow`` on the command line.
"""

import law

from tasks.outputs import ListedLocally

__all__ = ["Workflow"]


class Workflow(law.LocalWorkflow):
    """A stage that is shared out over branches, one process each."""

    exclude_index = True
    workflow_proxy_cls = ListedLocally
