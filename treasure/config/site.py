"""Sites: what a place offers to run on. None of it changes a byte of the results.

A site is a YAML file, one in ``config/sites/`` or of your own: where results and scratch files go,
which batch system there is, what jobs ask of it, which XRootD servers are near.
"""

import difflib
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from treasure.config.loading import LoadedConfig, find, read_layers, validated
from treasure.config.section import Section

__all__ = [
    "FILL_IN", "SITES", "Environment", "HTCondor", "Resources", "Site", "Slurm", "XRootD",
    "load_site", "not_filled_in",
]  # fmt: skip

SITES = "sites"

# The value of what a site needs and only its user knows.
FILL_IN = "FILL_IN"

_DEFAULT = "default"

# Of the stages that come with the project, a name that is nearly right is a mistake; other names
# may be stages of the user's own.
_STAGES = ("SimulatePFNano", "SkimJets", "WriteH5", "TokenizeShards")


class Resources(Section):
    """What one job asks for. What is not said is as in `resources.default`."""

    memory_gb: float | None = Field(
        None, gt=0, description="memory of the job in GB of 10^9 bytes; 2 if nothing says otherwise"
    )
    hours: float | None = Field(
        None, gt=0, description="longest run time in hours; 4 if nothing says otherwise"
    )
    cpus: int | None = Field(None, ge=1, description="cores of the job; 1 unless said otherwise")
    gpus: int | None = Field(None, ge=0, description="GPUs of the job; 0 unless said otherwise")
    disk_gb: float | None = Field(
        None, gt=0, description="scratch space in GB, of HTCondor; the pool's default if not said"
    )

    def over(self, default: "Resources") -> "Resources":
        """These, with what they do not say taken from others."""
        said = self.model_dump(exclude_none=True)
        return Resources.model_validate({**default.model_dump(), **said})


_FALLBACK = Resources(memory_gb=2, hours=4, cpus=1, gpus=0)


class Slurm(Section):
    """What jobs tell Slurm, beside their resources."""

    partition: str | None = Field(None, description="partition (sbatch --partition)")
    account: str | None = Field(None, description="account that pays (sbatch --account)")
    qos: str | None = Field(None, description="quality of service (sbatch --qos)")
    constraint: str | None = Field(None, description="features of the node (sbatch --constraint)")
    reservation: str | None = Field(None, description="reservation (sbatch --reservation)")
    extra: dict[str, str | int | float | bool | None] = Field(
        {},
        description="more options of sbatch, name without dashes → value; null: an option without"
        " value",
    )
    ask_memory: bool = Field(
        True, description="say --mem; false where whole nodes are given, whatever they have"
    )

    @field_validator("extra")
    @classmethod
    def _without_dashes(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            if name.startswith("-"):
                raise ValueError(f"{name!r} has dashes; write {name.lstrip('-')!r}")
        return value


class HTCondor(Section):
    """What jobs tell HTCondor, beside their resources."""

    pool: str | None = Field(None, description="collector of the pool (condor_submit -pool)")
    scheduler: str | None = Field(None, description="submit machine (condor_submit -name)")
    accounting_group: str | None = Field(None, description="accounting group")
    requirements: str | None = Field(None, description="expression that machines must fulfil")
    time_attribute: str = Field(
        "allowed_job_duration",
        pattern=r"\+?[A-Za-z_]\w*",
        description="the command that sets the longest run time, in seconds; +MaxRuntime at CERN",
    )
    extra: dict[str, str | int | float | bool] = Field(
        {}, description="more commands of the submit description, name → value as it is written"
    )


class Environment(Section):
    """How a job comes to the software."""

    kind: Literal["shared", "bundle", "container"] = Field(
        "shared",
        description="shared: jobs see this checkout and its packages; bundle: an archive of both in"
        " the store is unpacked on the node's scratch; container: an image in which `law` runs",
    )
    image: str | None = Field(None, description="image of the container: a path or a name")
    runtime: Literal["apptainer", "singularity", "shifter", "podman-hpc"] = Field(
        "apptainer", description="the program that runs the container"
    )
    options: list[str] = Field([], description="more options of that program")
    setup: list[str] = Field(
        [], description="shell commands before anything else, such as `module load python`"
    )

    @model_validator(mode="after")
    def _image_of_container(self) -> Self:
        if (self.kind == "container") != (self.image is not None):
            raise ValueError("an image is needed for kind container, and for it alone")
        return self


class XRootD(Section):
    """Servers that are near, asked instead of those in the URLs of files."""

    redirectors: list[str] = Field(
        [],
        description="servers (host or host:port) to ask for root:// files, in this order; the first"
        " that has the file is read; the server of the URL itself is asked last",
    )
    replaces: list[str] = Field(
        [],
        description="servers for which these stand (host or host:port); others are left as they"
        " are; empty: all",
    )

    @field_validator("redirectors", "replaces")
    @classmethod
    def _no_urls(cls, value: list[str]) -> list[str]:
        for server in value:
            if not server or any(c in server for c in "/, "):
                raise ValueError(f"{server!r} is not a host or host:port")
        return value


class Site(Section):
    """A place to run."""

    description: str = Field("", description="what place this is, in a line")
    workflow: Literal["local", "slurm", "htcondor"] = Field(
        "local", description="how branches run if --workflow does not say it"
    )
    store: str | None = Field(
        None,
        description="where results go if TREASURE_STORE is not set; variables such as $USER are"
        " filled in when the run starts",
    )
    scratch: str | None = Field(
        None,
        description="where jobs put temporary files if TREASURE_SCRATCH is not set; variables such"
        " as $SLURM_TMPDIR are filled in on the node",
    )
    environment: Environment = Field(Environment(), description="how jobs come to the software")
    resources: dict[str, Resources] = Field(
        {}, description="what jobs ask for: of all stages (default), and by the name of a stage"
    )
    slurm: Slurm = Field(Slurm(), description="what jobs tell Slurm")
    htcondor: HTCondor = Field(HTCondor(), description="what jobs tell HTCondor")
    xrootd: XRootD = Field(XRootD(), description="XRootD servers that are near")

    @field_validator("resources")
    @classmethod
    def _stages_are_spelt_right(cls, value: dict[str, Resources]) -> dict[str, Resources]:
        known = (*_STAGES, _DEFAULT)
        for name in value:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
            if name not in known and near:
                raise ValueError(f"no stage {name!r}; did you mean {near[0]!r}?")
        return value

    def resources_of(self, stage: str) -> Resources:
        """What a job of a stage asks for."""
        default = self.resources.get(_DEFAULT, Resources()).over(_FALLBACK)
        return self.resources.get(stage, Resources()).over(default)


def load_site(name: str) -> LoadedConfig:
    """Load a site by name (``generic_slurm``) or by path (``path/to/my.yaml``).

    Raises
    ------
    ConfigError
        In one or two lines: the file, the key, what was found and what is allowed.
    """
    path = find(name, SITES, f"--site {name}")
    return _load(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=16)
def _load(path: Path, _changed: int) -> LoadedConfig:
    origins: dict[str, str] = {}
    values = read_layers(path, origins, SITES)
    return LoadedConfig(path.stem, validated(values, origins, path, Site), origins)


def not_filled_in(site: Section) -> list[str]:
    """Dotted keys of a site, such as ``slurm.account``, that its user has still to fill in."""
    found = []
    for name, value in site:
        if isinstance(value, Section):
            found += [f"{name}.{key}" for key in not_filled_in(value)]
        elif value == FILL_IN:
            found.append(name)
    return found
