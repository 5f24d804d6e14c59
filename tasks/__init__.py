"""The law tasks of TREASURE: thin stages over the library `treasure`.

Each stage says what it requires, what it leaves, and makes one call into the library. Heavy
packages are imported inside ``run()`` only, so that the command line answers at once and worker
processes can be forked.
"""

import logging
import os
import sys

import law  # noqa: F401  (hands the luigi sections of law.cfg to luigi)
import luigi

from tasks.messages import ShortErrors
from tasks.scheduler import use_named_scheduler

# Stages share out work over processes, not over threads that wait for each other on busy cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# All cores, unless law.cfg or --workers says otherwise.
_configuration = luigi.configuration.get_config()
if not _configuration.has_option("core", "workers"):
    _configuration.set("core", "workers", str(len(os.sched_getaffinity(0))))

use_named_scheduler(sys.argv)

# When the clock jumps, as on a laptop that slept, the scheduler inside a command shall not give up
# its own worker, nor forget what is done.
for _option in ("worker_disconnect_delay", "remove_delay"):
    _configuration.set("scheduler", _option, "1e9")  # seconds

logging.getLogger("luigi-interface").addFilter(ShortErrors())
