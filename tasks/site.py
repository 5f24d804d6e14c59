"""Where and how branches run: parameters that every stage hands to those before it."""

import os
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import law
import luigi

from treasure.config.loading import nearest
from treasure.config.site import FILL_IN, Site, load_site, not_filled_in
from treasure.errors import ConfigError

__all__ = ["SiteParameters"]

_WORKFLOWS = ("local", "slurm", "htcondor")

# Stages whose jobs are in a batch system only wait: so many may wait at the same time.
_WAITING = 16


class SiteParameters:
    """The site, the batch system, and how its jobs are treated; nothing of it changes a byte.

    ``law run WriteH5 --workflow slurm`` runs the branches of all stages as jobs; with the name of a
    stage before an option (``--SkimJets-tasks-per-job 5``) it is for that stage alone.
    """

    site = luigi.Parameter(
        default="",
        significant=False,
        description="where this runs: a site in config/sites/ or the path of a YAML file of your "
        "own; default: $TREASURE_SITE, else local",
    )
    workflow = luigi.Parameter(
        default=law.NO_STR,
        significant=False,
        description="how branches run: local (processes of this machine), slurm or htcondor; "
        "default: what the site says, else local",
    )
    tasks_per_job = luigi.IntParameter(
        default=1,
        significant=False,
        description="branches in one job of a batch system; default: 1",
    )
    parallel_jobs = luigi.IntParameter(
        default=law.NO_INT,
        significant=False,
        description="most jobs of a stage in the batch system at a time; default: all",
    )
    retries = luigi.IntParameter(
        default=2,
        significant=False,
        description="how often a job that failed is submitted again; default: 2",
    )
    max_runtime = law.DurationParameter(
        default=law.NO_FLOAT,
        unit="h",
        significant=False,
        description="longest run time of a job, such as 90min; default unit is hours; default: "
        "what the site says, else 4",
    )
    poll_interval = law.DurationParameter(
        default=0.5,
        unit="m",
        significant=False,
        description="time between questions to the batch system; default unit is minutes; "
        "default: 0.5",
    )

    site_parameters: ClassVar[set[str]] = {
        "site", "workflow", "tasks_per_job", "parallel_jobs", "retries", "max_runtime",
        "poll_interval",
    }  # fmt: skip

    @classmethod
    def modify_param_values(cls, params: dict[str, Any]) -> dict[str, Any]:
        """Refuse a wrong site or workflow, and use what the site says."""
        chosen = _entered(str(params["site"]))
        if params["workflow"] in (None, law.NO_STR):
            params["workflow"] = chosen.workflow
        elif params["workflow"] not in _WORKFLOWS:
            raise ConfigError(
                f"--workflow {params['workflow']}: no such way to run branches"
                + nearest(str(params["workflow"]), _WORKFLOWS)
            )
        if params["workflow"] != "local":
            _let_stages_wait()
        for name in ("tasks_per_job", "max_runtime", "poll_interval"):
            if params[name] != law.NO_FLOAT and params[name] <= 0:
                flag = name.replace("_", "-")
                raise ConfigError(f"--{flag} {params[name]}: more than 0 was expected")
        modified: dict[str, Any] = super().modify_param_values(params)  # type: ignore[misc]
        return modified

    @property
    def place(self) -> Site:
        """The site."""
        return _entered(str(self.site))

    def check_site_is_filled_in(self) -> None:
        """Raise ConfigError if the site lacks what jobs need and only its user knows."""
        loaded = load_site(_named(str(self.site)))
        keys = not_filled_in(loaded.config)
        if "store" in keys and not _is_default(os.environ.get("TREASURE_STORE")):
            keys.remove("store")
        if keys:
            files = ", ".join(dict.fromkeys(loaded.origins[key] for key in keys))
            named = _named(str(self.site))
            where = (
                f"in {named}"
                if named.endswith((".yaml", ".yml"))
                else f"there, or in a site of your own that begins with `defaults: {loaded.name}`"
            )
            raise ConfigError(f"{files}: {', '.join(keys)} still to be filled in; do it {where}")


@lru_cache(maxsize=4)
def _entered(name: str) -> Site:
    """A site, whose store, scratch and servers are used by this process and its children."""
    site: Site = load_site(_named(name)).config
    if site.store and site.store != FILL_IN and _is_default(os.environ.get("TREASURE_STORE")):
        store = os.path.expandvars(str(Path(site.store).expanduser()))
        if "$" in store:
            raise ConfigError(
                f"--site {name}: store {site.store!r} has a variable that is not set; set it, or"
                " TREASURE_STORE"
            )
        os.environ["TREASURE_STORE"] = store
    if site.scratch and not os.environ.get("TREASURE_SCRATCH") and "$" not in site.scratch:
        os.environ["TREASURE_SCRATCH"] = str(Path(site.scratch).expanduser())
    if site.xrootd.redirectors:
        os.environ["TREASURE_XROOTD_SERVERS"] = ",".join(site.xrootd.redirectors)
        os.environ["TREASURE_XROOTD_REPLACES"] = ",".join(site.xrootd.replaces)
    return site


def _named(name: str) -> str:
    return name or os.environ.get("TREASURE_SITE") or "local"


def _is_default(store: str | None) -> bool:
    """Whether nobody chose a store: what setup.sh sets is no choice."""
    home = os.environ.get("TREASURE_HOME")
    return not store or (home is not None and Path(store) == Path(home) / "data")


@lru_cache(maxsize=1)
def _let_stages_wait() -> None:
    """More workers than the default of one a core: the work is elsewhere."""
    configuration = luigi.configuration.get_config()
    cores = len(os.sched_getaffinity(0))
    if configuration.getint("core", "workers", cores) == cores:
        configuration.set("core", "workers", str(max(_WAITING, cores)))
