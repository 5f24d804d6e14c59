"""The golden JSON of collision data: which luminosity sections are validated for physics.

Importing this module loads nothing heavy: the fingerprint of a skim asks it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from treasure.config.dataset import CernOpenDataSource, Dataset
from treasure.config.selection import Selection
from treasure.errors import ConfigError, TreasureError
from treasure.skim.luminosity import Sections, read_sections
from treasure.store import checksums

__all__ = ["EventFilter", "golden_digest", "golden_mask", "golden_sections", "mask_of"]

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Runs and luminosity blocks of events -> whether each is validated.
EventFilter = Callable[["NDArray[np.int64]", "NDArray[np.int64]"], "NDArray[np.bool_]"]

_KEY = "selection.golden_json"
_RECORD = re.compile(r"record:\s*(\d+)")


def golden_digest(selection: Selection, dataset: Dataset) -> str | None:
    """SHA-256 of a golden JSON that is a file; None where there is none to look at.

    A record of the portal is not looked up: its number and checksum say what it is.

    Raises
    ------
    ConfigError
        As `golden_sections`: one error before any branch starts.
    """
    if dataset.is_mc or selection.golden_json is None or _is_record(selection.golden_json):
        return None
    golden_sections(selection, dataset)
    return checksums(_path(selection.golden_json))["sha256"]


def golden_sections(selection: Selection, dataset: Dataset) -> Sections | None:
    """The validated sections; None for simulation, and where every section is used.

    Raises
    ------
    ConfigError
        If the golden JSON cannot be had, is not one, or has another checksum than configured.
    """
    if dataset.is_mc or selection.golden_json is None:
        return None
    path = _golden_json(selection, dataset)
    wanted = selection.golden_json_adler32
    if wanted is not None:
        found = checksums(path)["adler32"]
        # As numbers: the portal drops leading zeros.
        if int(found, 16) != int(wanted, 16):
            raise ConfigError(
                f"{_KEY}: {path}: adler32 is {found}, configured is {wanted}; download it again, or"
                " correct golden_json_adler32"
            )
    return read_sections(path, _KEY)


def golden_mask(selection: Selection, dataset: Dataset) -> EventFilter | None:
    """The function (runs, luminosity blocks) -> validated, or None where nothing is asked.

    Raises
    ------
    ConfigError
        As `golden_sections`.
    """
    golden = golden_sections(selection, dataset)
    return None if golden is None else mask_of(golden)


def mask_of(golden: Sections) -> EventFilter:
    """The function (runs, luminosity blocks) -> whether the set has them.

    What coffea's LumiMask finds, whose kernel takes seconds to compile whenever it is imported.

    Parameters
    ----------
    golden
        Ranges sorted and disjoint, as everything of `treasure.skim.luminosity` is.
    """
    import numpy as np

    ranges = [(int(run), *ends) for run, of_run in golden.items() for ends in of_run]
    run, first, last = np.array(ranges, np.uint64).reshape(-1, 3).T
    # Run and block are 32 bits each: of one number made of both, the order is that of the runs.
    starts, stops = run << np.uint64(32) | first, run << np.uint64(32) | last

    def validated(runs: NDArray[np.int64], lumis: NDArray[np.int64]) -> NDArray[np.bool_]:
        section = runs.astype(np.uint64) << np.uint64(32) | lumis.astype(np.uint64)
        begun = np.searchsorted(starts, section, side="right")
        return (begun > 0) & (section <= np.append(stops, np.uint64(0))[begun - 1])

    return validated


def _path(name: str) -> Path:
    return Path(os.path.expandvars(name)).expanduser()


def _is_record(name: str) -> bool:
    return name.startswith("record:")


def _golden_json(selection: Selection, dataset: Dataset) -> Path:
    name = str(selection.golden_json)
    if not _is_record(name):
        path = _path(name)
        if not path.is_file():
            raise ConfigError(
                f"{_KEY}: {path}: no such file; give the path of a golden JSON, record:<id> to get"
                " it from the CERN Open Data portal, or null to use every section"
            )
        return path
    number = _RECORD.fullmatch(name)
    if number is None:
        raise ConfigError(f"{_KEY}: {name!r}: expected record:<number>, such as record:14220")
    from treasure.fileset.open_data import validated_runs

    options: dict[str, Any] = {}
    if isinstance(dataset.source, CernOpenDataSource):  # the same portal, or folder
        options = {name: getattr(dataset.source, name) for name in ("portal", "folder", "offline")}
    try:
        return validated_runs(int(number[1]), selection.golden_json_adler32, **options)
    except TreasureError as error:
        raise ConfigError(
            f"{_KEY}: {name}: {error}. Or give the path of a local copy"
            " (--set selection.golden_json=PATH), or null to use every section"
        ) from error
