"""The base of all tasks: version, configuration, path, fingerprint, manifest, atomicity.

A stage is one class::

    class CountJets(DatasetTask):
        reqs = {"jets": WriteH5}

        def run(self):
            with self.stage() as stage:
                ...  # write files into stage.directory with treasure.store
                stage.summary = {"jets": 42}

The directory of a stage is ``$TREASURE_STORE/<config>/<Task>/<dataset>/<version>-<fingerprint>/``;
``manifest.json``, written last when the block ends well, is what makes it complete.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, lru_cache, wraps
from pathlib import Path
from typing import Any, ClassVar

import law
import luigi

from tasks.executing import ExecutorParameters
from tasks.following import follow_failures, missing
from tasks.interruption import end_well
from tasks.messages import say, shown_path, summary_line
from tasks.parameters import OverridesParameter, tell_option
from tasks.progress import Progress
from tasks.scheduler import RUN
from tasks.site import SiteParameters
from tasks.stage import DoneByAnother, Stage, StageTarget, alone_in
from treasure import store
from treasure.config.loading import LoadedConfig, load_config, nearest
from treasure.errors import ConfigError, DataError
from treasure.plugins import check_own
from treasure.release.layout import check_name

__all__ = ["DatasetTask", "TreasureTask", "section", "store_directory"]

_FINGERPRINT_IN_PATH = 10

# Tasks whose classes are there.
_checked: set[str] = set()

# What a summary may say of time: kept apart, since the rest is the same in every run.
_TIMINGS = ("seconds", "train_seconds", "events_per_second")


def store_directory() -> Path:
    """Where all results are: ``$TREASURE_STORE``, or ``./data``."""
    return _resolved(os.environ.get("TREASURE_STORE") or "data", os.environ.get("HOME"), Path.cwd())


@lru_cache(maxsize=8)
def _resolved(path: str, _home: str | None, _here: Path) -> Path:
    # once: each of thousands of branches asks, and every part of the path is a question of its own
    place = Path(os.path.expandvars(path)).expanduser().resolve()
    if "$" in str(place):  # law would fill in variables
        raise ConfigError(
            f"TREASURE_STORE: {place} has a $, of a variable that is not set or in a name; set the"
            " variable, or choose another directory"
        )
    return place


@lru_cache(maxsize=64)
def _loaded(name: str, overrides: tuple[str, ...], _here: Path) -> LoadedConfig:
    """The configuration as it was when this process first asked for it.

    A run does not mix two states of a file that is edited meanwhile, and thousands of branches do
    not ask for it again.
    """
    return load_config(name, overrides)


class TreasureTask(ExecutorParameters, SiteParameters, law.Task):
    """A stage of the workflow."""

    version = luigi.Parameter(
        default="v1",
        description="name of this production, yours to choose; stands in every output path and is "
        "handed to all earlier stages; default: v1",
    )
    config = luigi.Parameter(
        default="demo",
        description="what to run on: a configuration in config/ (demo, test, aoj, compare) or the "
        "path of a YAML file of your own; default: demo",
    )
    set = OverridesParameter(
        default=(),
        description="one-off changes of the configuration, section.key=value, separated by commas "
        "or by repeating --set; results go to another path; default: none",
    )

    exclude_index = True
    prefer_params_cli: ClassVar[Any] = {
        "version",
        *ExecutorParameters.executor_parameters,
        *SiteParameters.site_parameters,
    }
    exclude_params_repr: ClassVar[Any] = {"effective_workflow", "workflow"}
    exclude_params_repr_empty: ClassVar[Any] = {"set", "branches"}

    schema: ClassVar[int] = 1
    """Raised when the same configuration gives other bytes than before: results are redone."""

    progress_unit: ClassVar[str] = ""
    """What `stage.progress` counts, if that is events or jets."""

    reqs: ClassVar[Mapping[str, type["TreasureTask"]]] = {}
    """Name → task class of what this stage requires, with this task's parameters."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.task_id: str = f"{self.task_id}_{RUN}"

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "run" in vars(cls):
            cls.run = _unless_done(vars(cls)["run"])

    @classmethod
    def get_params(cls) -> list[tuple[str, Any]]:
        named: list[tuple[str, Any]] = super().get_params()
        for name, parameter in named:
            tell_option(parameter, name)
        return named

    @classmethod
    def get_param_values(cls, params: Any, args: Any, kwargs: Any) -> Any:
        try:
            return super().get_param_values(params, args, kwargs)
        except ValueError as error:  # so luigi wraps what --SkimJets-retries and the like raise
            if isinstance(error.__cause__, ConfigError):
                raise error.__cause__ from None
            raise

    # Law compares each task with all that were added before: two tasks are equal as luigi says,
    # but without law's lookup of attributes.
    def __eq__(self, other: object) -> bool:
        attribute = object.__getattribute__
        return self is other or (
            type(self) is type(other)
            and bool(attribute(self, "task_id") == attribute(other, "task_id"))
        )

    __hash__ = law.Task.__hash__

    # what the stage is

    def settings(self) -> dict[str, Any]:
        """The values of the configuration that decide the bytes of this stage."""
        return {}

    def requirements(self) -> dict[str, Any]:
        """Name → task, or list of tasks, of what this stage requires as a whole."""
        return {name: task.req(self) for name, task in self.reqs.items()}

    def requires(self) -> Any:
        return self.requirements()

    def output(self) -> Any:
        return StageTarget(str(self.directory))

    def deps(self) -> Any:
        """What luigi waits for before it runs this stage; it asks only if the stage is missing."""
        end_well()
        missing(self, store_directory)
        self.check_classes()
        return super().deps()

    def check_classes(self) -> None:
        """The classes that this stage and those before it name are there, before anything runs."""
        if self.task_id in _checked:
            return
        for kind in _own_classes(self.settings()):
            check_own(kind)
        for needed in self.requirements().values():
            for task in _as_list(needed):
                if isinstance(task, TreasureTask):
                    task.check_classes()
        _checked.add(self.task_id)

    # configuration

    @cached_property
    def loaded(self) -> LoadedConfig:
        return _loaded(str(self.config), self.set, Path.cwd())

    @property
    def tree(self) -> Any:
        """The configuration (`treasure.config.tree.Config`)."""
        return self.loaded.config

    @classmethod
    def modify_param_values(cls, params: dict[str, Any]) -> dict[str, Any]:
        """Refuse a wrong configuration or version before anything else happens."""
        params = super().modify_param_values(params)
        loaded = _loaded(params["config"], params["set"], Path.cwd())
        for flag, name in (("--version", params["version"]), ("--config", loaded.name)):
            try:
                check_name(name, f"{flag}: name")
            except DataError as error:
                raise ConfigError(str(error)) from None
        return params

    # identity

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over all that decides the bytes of this stage."""
        return store.fingerprint(self.identity())

    def identity(self) -> dict[str, Any]:
        return {
            "task": self.get_task_family(),
            "schema": self.schema,
            "version": self.version,
            "settings": self.settings(),
            "requires": {
                name: [task.fingerprint for task in _as_list(tasks)]
                for name, tasks in self.requirements().items()
            },
        }

    @property
    def path_parts(self) -> tuple[str, ...]:
        """What stands between the task's name and the version in the path."""
        return ()

    @property
    def parts(self) -> list[str] | None:
        """The directories of the branches, below `directory`; None while they are not known."""
        return [""]

    @property
    def directory(self) -> Path:
        """Where the files of this stage go."""
        return store_directory().joinpath(
            self.loaded.store_as,
            self.get_task_family(),
            *self.path_parts,
            f"{self.version}-{self.fingerprint[:_FINGERPRINT_IN_PATH]}",
        )

    @property
    def label(self) -> str:
        """How this stage is called in messages."""
        return " ".join((self.get_task_family(), *self.path_parts))

    # running

    @contextmanager
    def stage(self) -> Iterator[Stage]:
        """Work on this stage's directory alone; the manifest follows when the block ends well."""
        directory = self.directory
        store.make_directory(directory)
        with alone_in(directory, self.label):
            store.discard_leftovers(directory)
            progress = Progress(
                self.label, store_directory(), directory, self.progress_unit, self._publish
            )
            stage = Stage(directory, progress)
            start = time.monotonic()
            with progress.followed():
                yield stage
            timing = {k: stage.summary.pop(k) for k in _TIMINGS if k in stage.summary}
            timing["seconds"] = round(time.monotonic() - start, 2)
            # A worker elsewhere that was given up may still write a file, which is of no use.
            files = sorted(
                p for p in directory.rglob("*") if p.is_file() and not store.is_temporary(p)
            )
            store.write_manifest(
                directory,
                files=[p for p in files if p != directory / store.MANIFEST],
                task=self.get_task_family(),
                label=self.label,
                config={"name": self.loaded.name, "set": list(self.set)},
                fingerprint=self.fingerprint,
                identity=self.identity(),
                summary=stage.summary,
                timing=timing,
            )
            progress.complete(stage.summary)
        told = summary_line(stage.summary, timing["seconds"])
        say(f"{self.label}: {told} → {shown_path(directory)}")

    def _publish(self, percent: float, told: str) -> None:
        """Tell the page of the scheduler how far this stage is."""
        # luigi sets these while it runs the task
        if getattr(self, "set_progress_percentage", None) is not None:
            self.set_progress_percentage(round(percent, 1))
            self.set_status_message(told)

    def provenance(self) -> list[dict[str, Any]]:
        """Describe this stage and all before it, in the order in which they ran, each once."""
        chain: dict[str, dict[str, Any]] = {}
        _collect(self, chain)
        # What this stage left in an earlier run must not find its way into what it writes now.
        chain[self.fingerprint]["outputs"] = []
        return list(chain.values())


def _unless_done(run: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Of two processes that start the same stage, the second accepts what the first has done."""

    @wraps(run)
    def run_unless_done(task: Any) -> Any:
        try:
            return run(task)
        except DoneByAnother:
            say(f"{task.label}: done by another process → {shown_path(task.directory)}")
            return None

    return run_unless_done


follow_failures(TreasureTask, store_directory)


@TreasureTask.event_handler(luigi.Event.DEPENDENCY_PRESENT)
def _say_that_all_is_done(task: Any) -> None:
    """Of a command whose stage is complete, say so: luigi looks at it, and stops."""
    asked = sys.argv[2].rpartition(".")[2] if len(sys.argv) > 2 else ""
    is_whole = getattr(task, "branch", -1) == -1 or "--branch" in sys.argv
    if task.get_task_family() == asked and is_whole:
        say(f"{task.label}: complete, nothing to do → {shown_path(task.directory)}")


def _collect(task: TreasureTask, chain: dict[str, dict[str, Any]]) -> None:
    for tasks in task.requirements().values():
        for requirement in _as_list(tasks):
            if requirement.fingerprint not in chain:
                _collect(requirement, chain)
    chain[task.fingerprint] = {
        "task": task.get_task_family(),
        "label": task.label,
        "version": task.version,
        "fingerprint": task.fingerprint,
        "settings": task.settings(),
        "outputs": [
            _without_time(target.manifest)
            | {"path": os.path.relpath(target.path, store_directory())}
            for target in law.util.flatten(task.output())
            for target in _as_list(getattr(target, "_flat_target_list", target))
            if isinstance(target, StageTarget) and target.exists()
        ],
    }


def _without_time(manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest as it is the same in every run: a release that holds it can be compared."""
    return {k: v for k, v in manifest.items() if k != "timing"}


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


class DatasetTask(TreasureTask):
    """A stage that works on one dataset of the configuration."""

    dataset = luigi.Parameter(
        default="",
        description="the dataset to work on, a name of the configuration; default: its first",
    )

    @classmethod
    def modify_param_values(cls, params: dict[str, Any]) -> dict[str, Any]:
        params = super().modify_param_values(params)
        loaded = _loaded(params["config"], params["set"], Path.cwd())
        names = list(loaded.config.datasets)
        if not params["dataset"]:
            params["dataset"] = names[0]
        elif params["dataset"] not in names:
            raise ConfigError(
                f"--dataset {params['dataset']}: not in configuration {loaded.name!r}"
                + nearest(params["dataset"], names)
            )
        return params

    @property
    def path_parts(self) -> tuple[str, ...]:
        return (str(self.dataset),)

    @property
    def entry(self) -> Any:
        """The dataset's part of the configuration (`treasure.config.dataset.Dataset`)."""
        return self.tree.datasets[self.dataset]

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "dataset": self.dataset}


def _own_classes(values: Any) -> Iterator[str]:
    """The classes that settings name as ``module:Class``."""
    if isinstance(values, dict):
        kind = values.get("kind")
        if isinstance(kind, str) and ":" in kind:
            yield kind
        values = list(values.values())
    if isinstance(values, list):
        for value in values:
            yield from _own_classes(value)


def section(model: Any, *names: str, exclude: tuple[str, ...] = ()) -> Any:
    """A section of the configuration (or only some of its fields) as plain JSON values."""
    values = json.loads(model.model_dump_json())
    kept = {k: v for k, v in values.items() if k not in exclude}
    return {name: kept[name] for name in names} if names else kept
