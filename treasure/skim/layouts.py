"""Input layouts: one class each, one interface, registered by name.

A layout reads a chunk of NanoEvents and gives the typed records of `treasure.skim.record`. A new
one is a class in a module of its own: subclass `Layout`, give it `name`, `summary`, `required` and
`candidates`, decorate it with `register`, and import the module in `treasure.skim.processor`.
"""

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, ClassVar

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from treasure.errors import ConfigError, DataError
from treasure.skim.record import (
    JET_COLUMNS,
    Candidates,
    EventRecord,
    GeneratorParticles,
    Jets,
    offsets_of,
)

__all__ = ["LAYOUTS", "SENTINEL", "Layout", "branches_of", "recognise", "register"]

SENTINEL = np.float32(-1)  # stands for a column that the input does not have

_EVENT_BRANCHES = ("run", "luminosityBlock", "event")
_JET_BRANCHES = ("FatJet_pt", "FatJet_eta", "FatJet_phi", "FatJet_msoftdrop")
_GENERATOR_BRANCHES = (
    "GenPart_pdgId", "GenPart_genPartIdxMother", "GenPart_eta", "GenPart_phi",
)  # fmt: skip


def branches_of(events: Any) -> set[str]:
    """Names of the branches behind a chunk of NanoEvents, counters aside."""
    names: set[str] = set()
    for field in events.fields:
        inner = events[field].fields
        names.update(f"{field}_{name}" for name in inner)
        if not inner:
            names.add(field)
    return names


class Layout(ABC):
    """One chunk of events in one layout.

    Parameters
    ----------
    events
        NanoEvents with virtual arrays: only what is used is read.
    branches
        Its branches, from `branches_of`.
    where
        The file, for messages.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    required: ClassVar[tuple[str, ...]]  # what makes the layout known, in addition to the common

    def __init__(self, events: Any, branches: set[str], where: str) -> None:
        self.events = events
        self.branches = branches
        self.where = where
        self.absent_columns: dict[str, str] = {}  # column -> what stands there instead
        self.replaced_values: dict[str, int] = {}  # column -> values that were not finite

    @classmethod
    def missing(cls, branches: set[str]) -> list[str]:
        """Branches that this layout needs and the input lacks."""
        needed = (*_EVENT_BRANCHES, *_JET_BRANCHES, *cls.required)
        return [name for name in needed if name not in branches]

    @classmethod
    def branch_filter(cls) -> list[str]:
        """Names and globs of all branches that a layout may read."""
        collections = {name.split("_")[0] for name in cls.required}
        return [*(f"{name}_*" for name in collections), *(f"n{name}" for name in collections)]

    @abstractmethod
    def candidates(self, jets: NDArray[np.int64]) -> Candidates:
        """Candidates of some jets (positions in `jets()`), in that order of jets."""

    @cached_property
    def record(self) -> EventRecord:
        """The events."""
        info = [np.asarray(self.events[name]).astype(np.int64) for name in _EVENT_BRANCHES]
        if "genWeight" in self.branches:
            weight = np.asarray(self.events["genWeight"]).astype(np.float64)
        else:
            weight = np.ones(len(self.events))
        return EventRecord(np.stack(info, axis=1), weight)

    @cached_property
    def jet_offsets(self) -> NDArray[np.int64]:
        """Where the jets of each event begin (int64, shape (n_events + 1,))."""
        return offsets_of(self.counts("FatJet_pt"))

    @cached_property
    def jets(self) -> Jets:
        """All AK8 jets of the chunk, kinematics and jetId; the other columns follow later."""
        counts = np.diff(self.jet_offsets)
        event = np.repeat(np.arange(len(counts)), counts)
        index = (np.arange(len(event)) - self.jet_offsets[:-1][event]).astype(np.int32)
        jet_id = None
        if "FatJet_jetId" in self.branches:
            jet_id = self.flat("FatJet_jetId").astype(np.int32)
        columns = {name: self.flat(f"FatJet_{name}") for name in JET_COLUMNS[:4]}
        return Jets(event, index, columns, jet_id)

    def jet_columns(self, jets: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
        """`JET_COLUMNS` of some jets, float32; sentinels where the input has no such column."""
        columns: dict[str, NDArray[np.float32]] = {}
        for name in JET_COLUMNS:
            branch = f"FatJet_{name}"
            if branch in self.branches:
                columns[name] = self.finite(branch, self.flat(branch)[jets].astype(np.float32))
            elif (computed := self.computed_column(name, jets)) is not None:
                columns[name] = computed.astype(np.float32)
                self.absent_columns[branch] = "computed"
            else:
                columns[name] = np.full(len(jets), SENTINEL)
                self.absent_columns[branch] = "-1"
        return columns

    def computed_column(self, name: str, jets: NDArray[np.int64]) -> NDArray[Any] | None:
        """A column of `JET_COLUMNS` that the input lacks but the layout can work out, or None."""
        return None

    def decision(self, branch: str) -> NDArray[np.bool_] | None:
        """A trigger path or filter, bool (n_events,), or None where the file has no such branch."""
        if branch not in self.branches:
            return None
        collection, _, name = branch.partition("_")
        return np.asarray(self.events[collection][name]).astype(bool)

    def generator(self) -> GeneratorParticles:
        """Generator particles; DataError where the file has none."""
        missing = [name for name in _GENERATOR_BRANCHES if name not in self.branches]
        if missing:
            raise DataError(
                f"{self.where}: no branch {missing[0]}, which generator matching needs; set"
                " datasets.<name>.matching to none, or use files with generator particles"
            )
        counts = self.counts("GenPart_pdgId")
        event = np.repeat(np.arange(len(counts)), counts)
        local = self.flat("GenPart_genPartIdxMother").astype(np.int64)
        mother = np.where(local < 0, -1, local + offsets_of(counts)[:-1][event])
        return GeneratorParticles(
            event,
            self.flat("GenPart_pdgId").astype(np.int32),
            mother,
            self.flat("GenPart_eta"),
            self.flat("GenPart_phi"),
        )

    def _column(self, branch: str) -> Any:
        collection, _, name = branch.partition("_")
        return self.events[collection][name]

    def counts(self, branch: str) -> NDArray[np.int64]:
        """How many values of a branch each event has."""
        return np.asarray(ak.num(self._column(branch), axis=1)).astype(np.int64)

    def flat(self, branch: str) -> NDArray[Any]:
        """All values of a jagged branch, one after the other."""
        return np.asarray(ak.flatten(self._column(branch), axis=1))

    def finite(self, branch: str, values: NDArray[Any]) -> NDArray[Any]:
        """Put −1 in the place of NaN and infinities, and count them: a jet table holds none."""
        if values.dtype.kind == "f" and not (good := np.isfinite(values)).all():
            self.replaced_values[branch] = int(np.count_nonzero(~good))
            return np.where(good, values, SENTINEL).astype(values.dtype)
        return values


LAYOUTS: dict[str, type[Layout]] = {}


def register(layout: type[Layout]) -> type[Layout]:
    """Class decorator: make a layout known by its name."""
    LAYOUTS[layout.name] = layout
    return layout


def recognise(branches: set[str], wanted: str, where: str) -> type[Layout]:
    """The layout of an input.

    Parameters
    ----------
    branches
        What the input has.
    wanted
        "auto", or the name of a layout.
    where
        The file, for messages.

    Raises
    ------
    ConfigError
        If `wanted` is no known layout.
    DataError
        If the branches do not fit; names what was found and what is missing.
    """
    if wanted != "auto" and wanted not in LAYOUTS:
        raise ConfigError(f"layout: {wanted!r}; auto, {', '.join(sorted(LAYOUTS))} are allowed")
    tried = sorted(LAYOUTS) if wanted == "auto" else [wanted]
    for name in tried:
        if not LAYOUTS[name].missing(branches):
            return LAYOUTS[name]
    best = min(tried, key=lambda name: len(LAYOUTS[name].missing(branches)))
    missing = LAYOUTS[best].missing(branches)
    shown = ", ".join(missing[:4]) + (f" and {len(missing) - 4} more" if len(missing) > 4 else "")
    found = sorted({name.split("_")[0] for name in branches if "PFCand" in name})
    raise DataError(
        f"{where}: candidate collections found: {', '.join(found) or 'none'}; layout {best}"
        f" ({LAYOUTS[best].summary}) also needs {shown}. Known are: {', '.join(sorted(LAYOUTS))}"
    )
