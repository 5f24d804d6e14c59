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

import argparse
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import law
import luigi

from tasks.messages import Progress, say
from treasure import store
from treasure.config.loading import LoadedConfig, load_config, nearest
from treasure.errors import ConfigError, DataError
from treasure.release.layout import check_name

__all__ = ["DatasetTask", "Stage", "StageTarget", "TreasureTask", "store_directory"]

_FINGERPRINT_IN_PATH = 10

# What a summary may say of time: kept apart, since the rest is the same in every run.
_TIMINGS = ("seconds", "events_per_second")


def store_directory() -> Path:
    """Where all results are: ``$TREASURE_STORE``, or ``./data``."""
    return Path(os.environ.get("TREASURE_STORE") or "data").expanduser().resolve()


class StageTarget(law.LocalDirectoryTarget):
    """The directory of a stage: it exists when its manifest does, and is removed manifest first."""

    def exists(self, **kwargs: Any) -> bool:
        return os.path.isfile(os.path.join(self.path, store.MANIFEST))

    def complete(self, **kwargs: Any) -> bool:
        return self.exists()

    def remove(self, silent: bool = True, **kwargs: Any) -> bool:
        directory = Path(self.path)
        if not directory.is_dir():
            return False
        (directory / store.MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(directory)
        return True

    @property
    def directory(self) -> Path:
        return Path(self.path)

    @property
    def manifest(self) -> dict[str, Any]:
        return store.read_manifest(self.path)

    def verified(self) -> Path:
        """The directory, after every file in it was hashed and compared with the manifest."""
        try:
            store.verify(self.path)
        except DataError as error:
            raise DataError(f"{error}. Remove {self.path} and run again") from None
        return self.directory


class Stage:
    """What a stage works with while it runs.

    Attributes
    ----------
    directory
        Where its files go.
    summary
        Counts for the manifest and the summary line; set by the stage.
    progress
        Callback ``progress(done, total)``.
    """

    def __init__(self, directory: Path, label: str) -> None:
        self.directory = directory
        self.summary: dict[str, Any] = {}
        self.progress = Progress(label)


class _Append(argparse.Action):
    """Collects a repeated flag: ``--set a=1 --set b=2``."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        earlier = getattr(namespace, self.dest, None)
        setattr(namespace, self.dest, values if earlier is None else f"{earlier},{values}")


class OverridesParameter(luigi.Parameter):
    """``key=value`` pairs, separated by commas (not those in brackets or quotes), repeatable."""

    @classmethod
    def _parser_kwargs(cls, param_name: str, task_name: str | None = None) -> dict[str, Any]:
        # luigi's only way to say how a flag is parsed; "store" would keep the last --set silently.
        return {**super()._parser_kwargs(param_name, task_name), "action": _Append}

    def parse(self, value: Any) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        parts, depth, quote, start = [], 0, "", 0
        for position, character in enumerate(value):
            if quote:
                quote = "" if character == quote else quote
            elif character in "'\"":
                quote = character
            elif character in "[{(":
                depth += 1
            elif character in "]})":
                depth -= 1
            elif character == "," and depth == 0:
                parts.append(value[start:position])
                start = position + 1
        return tuple(part.strip() for part in [*parts, value[start:]] if part.strip())

    def serialize(self, value: Any) -> str:
        return ",".join(value) if isinstance(value, tuple) else str(value)


class TreasureTask(law.Task):
    """A stage of the workflow."""

    version = luigi.Parameter(
        default="v1",
        description="name of this production, yours to choose; stands in every output path and is "
        "handed to all earlier stages; default: v1",
    )
    config = luigi.Parameter(
        default="demo",
        description="what to run on: a configuration in config/ (demo, test, aoj) or the path of a "
        "YAML file of your own; default: demo",
    )
    set = OverridesParameter(
        default=(),
        description="one-off changes of the configuration, section.key=value, separated by commas "
        "or by repeating --set; results go to another path; default: none",
    )

    exclude_index = True
    prefer_params_cli: ClassVar[Any] = {"version"}
    exclude_params_repr: ClassVar[Any] = {"effective_workflow", "workflow"}
    exclude_params_repr_empty: ClassVar[Any] = {"set", "branches"}

    schema: ClassVar[int] = 1
    """Raised when the same configuration gives other bytes than before: results are redone."""

    reqs: ClassVar[Mapping[str, type["TreasureTask"]]] = {}
    """Name → task class of what this stage requires, with this task's parameters."""

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

    # configuration

    @cached_property
    def loaded(self) -> LoadedConfig:
        return load_config(str(self.config), self.set)

    @property
    def tree(self) -> Any:
        """The configuration (`treasure.config.tree.Config`)."""
        return self.loaded.config

    @classmethod
    def modify_param_values(cls, params: dict[str, Any]) -> dict[str, Any]:
        """Refuse a wrong configuration or version before anything else happens."""
        params = super().modify_param_values(params)
        loaded = load_config(params["config"], params["set"])
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
    def directory(self) -> Path:
        """Where the files of this stage go."""
        return store_directory().joinpath(
            self.loaded.name,
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
        with _alone_in(directory, self.label):
            store.discard_leftovers(directory)
            stage = Stage(directory, self.label)
            start = time.monotonic()
            yield stage
            timing = {k: stage.summary.pop(k) for k in _TIMINGS if k in stage.summary}
            timing["seconds"] = round(time.monotonic() - start, 2)
            files = sorted(p for p in directory.rglob("*") if p.is_file())
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
        say(f"{self.label}: {_summary_line(stage.summary, timing['seconds'])} → {directory}")

    def provenance(self) -> list[dict[str, Any]]:
        """Describe this stage and all before it, in the order in which they ran, each once."""
        chain: dict[str, dict[str, Any]] = {}
        _collect(self, chain)
        # What this stage left in an earlier run must not find its way into what it writes now.
        chain[self.fingerprint]["outputs"] = []
        return list(chain.values())


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


def _summary_line(summary: Mapping[str, Any], seconds: float) -> str:
    numbers = {
        name: value
        for name, value in summary.items()
        if isinstance(value, (int, float, str))
        and not isinstance(value, bool)
        and name != "dataset"
    }
    shown = [
        f"{name.replace('_', ' ')} {value:,}" if isinstance(value, int) else
        f"{name.replace('_', ' ')} {value:.4g}" if isinstance(value, float) else
        f"{name.replace('_', ' ')} {value}"
        for name, value in numbers.items()
    ]  # fmt: skip
    unit = next((name for name in ("events", "jets") if isinstance(summary.get(name), int)), "")
    rate = f" ({summary[unit] / seconds:,.0f} {unit}/s)" if unit and seconds >= 1 else ""
    return f"{', '.join(shown) or 'done'} in {seconds:.1f} s{rate}"


@contextmanager
def _alone_in(directory: Path, label: str) -> Iterator[None]:
    """Hold the directory's lock, which the system takes back when the process dies."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{label}: another process is writing {directory}; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


class DatasetTask(TreasureTask):
    """A stage that works on one dataset of the configuration."""

    dataset = luigi.Parameter(
        default="",
        description="the dataset to work on, a name of the configuration; default: its first",
    )

    @classmethod
    def modify_param_values(cls, params: dict[str, Any]) -> dict[str, Any]:
        params = super().modify_param_values(params)
        loaded = load_config(params["config"], params["set"])
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


def section(model: Any, *names: str, exclude: tuple[str, ...] = ()) -> Any:
    """A section of the configuration (or only some of its fields) as plain JSON values."""
    values = json.loads(model.model_dump_json())
    kept = {k: v for k, v in values.items() if k not in exclude}
    return {name: kept[name] for name in names} if names else kept
