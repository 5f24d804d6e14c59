"""The plan of a run: which stages it goes through, written when it starts."""

import contextlib
import hashlib
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from treasure.errors import DataError
from treasure.progress.record import FOLDER, Saved, read_json, write_json

__all__ = ["Plan", "PlannedStage", "add_parts", "find_plan", "new_path", "plans", "read_plan"]

_KEPT = 30


@dataclass(frozen=True)
class PlannedStage:
    """A stage of a run.

    Attributes
    ----------
    task, dataset
        Its name; the dataset is empty for a stage that works on all.
    directory
        Where its results go, below the store.
    parts
        The directories of its branches, below `directory`; ``("",)`` for a stage without branches;
        None while they are not known.
    """

    task: str
    dataset: str
    directory: str
    parts: tuple[str, ...] | None


@dataclass(frozen=True)
class Plan(Saved):
    """What a run is going to do.

    Attributes
    ----------
    task, version, config
        What was asked for.
    stages
        In an order in which they can run; the last one is what was asked for.
    started
        When, seconds since 1970 by the clock of the machine that started it.
    process
        The process that runs it, or the one that sends its jobs to a batch system.
    ended
        Whether that process ended of itself.
    written
        When it last showed that it lives, seconds by the clock of the file system.
    """

    task: str
    version: str
    config: str
    stages: tuple[PlannedStage, ...]
    started: float
    process: dict[str, Any] = field(default_factory=dict)
    ended: bool = False
    written: float = 0


def new_path(store: Path) -> Path:
    """Where the plan of a run that starts now goes; the oldest ones are removed.

    Raises
    ------
    OSError
        If the place cannot be written.
    """
    folder = store / FOLDER / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.glob("*.json"))[: -_KEPT + 1]:
        for file in folder.glob(f"{path.stem}.*"):
            with contextlib.suppress(OSError):
                file.unlink()
    return folder / f"{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}-{uuid.uuid4().hex[:6]}.json"


def read_plan(path: Path) -> Plan | None:
    """The plan in a file; None if there is none, or the file is damaged."""
    content = read_json(path)
    try:
        if content is None:
            return None
        return Plan(
            task=str(content["task"]),
            version=str(content["version"]),
            config=str(content["config"]),
            stages=tuple(_stage(path, stage) for stage in content["stages"]),
            started=float(content["started"]),
            process=dict(content["process"]),
            ended=bool(content["ended"]),
            written=path.stat().st_mtime,
        )
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return None


def add_parts(path: Path, directory: str, parts: Sequence[str]) -> None:
    """Say which branches a stage has, of a plan that was written before that was known.

    Any process of the run may say it: each stage has a file of its own.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    write_json(_parts_path(path, directory), {"parts": list(parts)})


def _parts_path(path: Path, directory: str) -> Path:
    return path.with_suffix(f".{hashlib.sha256(directory.encode()).hexdigest()[:12]}")


def _stage(path: Path, content: Mapping[str, Any]) -> PlannedStage:
    parts = content["parts"]
    directory = Path(str(content["directory"]))
    if parts is None:
        parts = (read_json(_parts_path(path, directory.as_posix())) or {}).get("parts")
    known = None if parts is None else tuple(str(part) for part in parts)
    if directory.is_absolute() or ".." in directory.parts:
        raise ValueError("a stage is below the store")
    return PlannedStage(str(content["task"]), str(content["dataset"]), directory.as_posix(), known)


def plans(store: Path) -> list[tuple[Path, Plan]]:
    """The plans of a store that can be read, latest run first."""
    paths = (store / FOLDER / "runs").glob("*.json")
    read = [(path, plan) for path in paths if (plan := read_plan(path)) is not None]
    return sorted(read, key=lambda pair: (pair[1].started, pair[0].name), reverse=True)


def find_plan(store: Path, version: str | None = None, config: str | None = None) -> Path:
    """The latest run, of one version or configuration if asked for.

    Raises
    ------
    DataError
        If there is none, saying which there are.
    """
    recorded = plans(store)
    for path, plan in recorded:
        if version in (None, plan.version) and config in (None, plan.config):
            return path
    if not recorded:
        raise DataError(
            f"{store}: no run is recorded in this store; start one with `law run`, or name"
            " another store with --store or TREASURE_STORE"
        )
    known = sorted({f"{plan.version} (--config {plan.config})" for _, plan in recorded})
    asked = " ".join(
        [f"version {version!r}" if version else "", f"configuration {config!r}" if config else ""]
    ).strip()
    raise DataError(f"{store}: no run of {asked} is recorded; there are {', '.join(known)}")
