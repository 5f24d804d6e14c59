"""Input layouts: one class each, one interface, chosen by name or recognised.

A layout reads a chunk of NanoEvents and gives the typed records of `treasure.skim.record`. A kind
is one class: ``class Mine(Layout, kind="mine")`` with `summary`, `required` and `candidates`; where
candidates are the rows of a collection, as in A to D, `treasure.skim.stored_candidates` does the
rest. One of your own is named in the configuration as ``module:Class``
(`datasets.<name>.layout`). Where only the names of branches differ, subclass the layout that fits
and give `renamed`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from treasure.errors import DataError
from treasure.plugins import Plugin, lookup
from treasure.skim.record import (
    JET_COLUMNS,
    Candidates,
    EventRecord,
    GeneratorParticles,
    Jets,
    offsets_of,
)

__all__ = ["SENTINEL", "Layout", "branches_of", "branches_to_read", "recognise"]

SENTINEL = np.float32(-1)  # stands for a column that the input does not have

# What every layout reads, by name or glob.
_COMMON = (
    "run", "luminosityBlock", "event", "genWeight", "HLT_*", "Flag_*",
    "nFatJet", "FatJet_*", "nGenPart", "GenPart_*",
    # Of all layouts, so that messages can say what is there.
    *(f"{start}{name}" for name in ("PFCand", "PFCands", "FatJetPFCand", "FatJetPFCands")
      for start in ("n", "")),
    *(f"{name}_*" for name in ("PFCand", "PFCands", "FatJetPFCand", "FatJetPFCands")),
)  # fmt: skip
_EVENT_BRANCHES = ("run", "luminosityBlock", "event")
_JET_BRANCHES = ("FatJet_pt", "FatJet_eta", "FatJet_phi", "FatJet_msoftdrop")
_AXIS = ("pt", "eta", "phi")  # what makes a jet; −1 would be a value like any other
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


class Layout(ABC, Plugin, family=True):
    """One chunk of events in one layout.

    A layout speaks of branches by the names of CMS NanoAOD and PFNano, also where the input calls
    them otherwise: `renamed` leads from the one to the other.

    Parameters
    ----------
    events
        NanoEvents with virtual arrays: only what is used is read.
    branches
        Its branches, from `branches_of`.
    where
        The file, for messages.

    Attributes
    ----------
    summary
        What the layout is, in a few words, for messages.
    required
        Branches that make the layout known, in addition to those of event and jet.
    renamed
        Name of a collection (``PFCands``) or of a branch (``FatJetPFCands_pFCandsIdx``) -> what the
        input calls it.
    puppi_applied
        Whether the stored momenta of candidates are multiplied by their PUPPI weights already.
    absent_columns
        Column that the input lacks -> what stands there instead; filled while columns are read.
    replaced_values
        Column -> how many values were not finite.
    notes
        What else was done to jets -> to how many.
    """

    summary: ClassVar[str]
    required: ClassVar[tuple[str, ...]]
    renamed: ClassVar[Mapping[str, str]] = {}
    puppi_applied: ClassVar[bool] = False

    def __init__(self, events: Any, branches: set[str], where: str) -> None:
        self.events = events
        self._found = branches
        self.where = where
        self.absent_columns: dict[str, str] = {}
        self.replaced_values: dict[str, int] = {}
        self.notes: dict[str, int] = {}

    @classmethod
    def in_input(cls, branch: str) -> str:
        """What the input calls a branch."""
        collection, underscore, name = branch.partition("_")
        whole = f"{cls.renamed.get(collection, collection)}{underscore}{name}"
        return cls.renamed.get(branch, whole) if underscore else whole

    @classmethod
    def missing(cls, branches: set[str]) -> list[str]:
        """Branches that this layout needs and the input lacks, as the input would call them."""
        needed = (*_EVENT_BRANCHES, *_JET_BRANCHES, *cls.required)
        return [name for name in map(cls.in_input, needed) if name not in branches]

    @classmethod
    def contradicted(cls, branches: set[str]) -> bool:
        """Whether branches say that an input is of another layout, though none is missing."""
        return False

    @classmethod
    def branch_filter(cls) -> list[str]:
        """Names and globs of all branches that a layout may read."""
        names = [*cls.required, *_EVENT_BRANCHES, *_JET_BRANCHES, *_GENERATOR_BRANCHES]
        renamed = {cls.in_input(name) for name in (*names, *cls.renamed, "genWeight")}
        collections = {name.split("_")[0] for name in renamed}
        globs = (glob for name in collections for glob in (f"{name}_*", f"n{name}"))
        return sorted({*_COMMON, *renamed, *globs})

    def has(self, branch: str) -> bool:
        """Whether the input has a branch, whatever it calls it."""
        return self.in_input(branch) in self._found

    @abstractmethod
    def candidates(self, jets: NDArray[np.int64]) -> Candidates:
        """Candidates of some jets (positions in `jets()`), in that order of jets."""

    @cached_property
    def record(self) -> EventRecord:
        """The events.

        Raises
        ------
        DataError
            If a number of run, section or event does not fit into int64, or a weight is not finite.
        """
        info = np.stack([self._number(name) for name in _EVENT_BRANCHES], axis=1)
        if not self.has("genWeight"):
            return EventRecord(info, np.ones(len(self.events)))
        weight = np.asarray(self._column("genWeight")).astype(np.float64)
        if not (good := np.isfinite(weight)).all():
            raise DataError(
                f"{self.where}: {self.in_input('genWeight')} is {weight[~good][0]} in"
                f" {np.count_nonzero(~good)} events, so that no weights can be added up; the file"
                " is damaged, make it again or leave it out"
            )
        return EventRecord(info, weight)

    def _number(self, branch: str) -> NDArray[np.int64]:
        values = np.asarray(self._column(branch))
        if values.dtype == np.uint64 and (values > np.iinfo(np.int64).max).any():
            raise DataError(
                f"{self.where}: {self.in_input(branch)} is {values.max()}, which the int64 of jet"
                " tables cannot hold; the file is damaged, make it again or leave it out"
            )
        return values.astype(np.int64)

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
        if self.has("FatJet_jetId"):
            jet_id = self.flat("FatJet_jetId").astype(np.int32)
        columns = {name: self.flat(f"FatJet_{name}") for name in JET_COLUMNS[:4]}
        return Jets(event, index, columns, jet_id)

    def jet_columns(self, jets: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
        """`JET_COLUMNS` of some jets, float32; sentinels where the input has no such column.

        Raises
        ------
        DataError
            If the pt, eta or phi of a jet is not finite.
        """
        columns: dict[str, NDArray[np.float32]] = {}
        for name in JET_COLUMNS:
            branch = f"FatJet_{name}"
            if self.has(branch):
                values = self.flat(branch)[jets].astype(np.float32)
                if name in _AXIS and not (good := np.isfinite(values)).all():
                    raise DataError(
                        f"{self.where}: {self.in_input(branch)} is {values[~good][0]} for"
                        f" {np.count_nonzero(~good)} selected jets; the file is damaged, make it"
                        " again or leave it out"
                    )
                columns[name] = self.finite(branch, values)
                if branch in self.renamed:
                    self.absent_columns[branch] = self.in_input(branch)
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
        return np.asarray(self._column(branch)).astype(bool) if self.has(branch) else None

    def generator(self) -> GeneratorParticles:
        """Generator particles; DataError where the file has none."""
        missing = [name for name in _GENERATOR_BRANCHES if not self.has(name)]
        if missing:
            raise DataError(
                f"{self.where}: no branch {missing[0]}, which generator matching needs; set"
                " datasets.<name>.matching to none, or use files with generator particles"
            )
        counts = self.counts("GenPart_pdgId")
        event = np.repeat(np.arange(len(counts)), counts)
        local = self.flat("GenPart_genPartIdxMother").astype(np.int64)
        if (local >= counts[event]).any():
            raise DataError(
                f"{self.where}: GenPart_genPartIdxMother leads to no particle of its event; the"
                " file is damaged, make it again"
            )
        mother = np.where(local < 0, -1, local + offsets_of(counts)[:-1][event])
        return GeneratorParticles(
            event,
            self.flat("GenPart_pdgId").astype(np.int32),
            mother,
            self.flat("GenPart_eta"),
            self.flat("GenPart_phi"),
        )

    def _column(self, branch: str) -> Any:
        collection, _, name = self.in_input(branch).partition("_")
        return self.events[collection][name] if name else self.events[collection]

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


def _known() -> dict[str, type[Layout]]:
    """Layouts by name; those of the project join the family when they are imported."""
    from treasure.skim import layout_a, layout_b, layout_c, layout_d  # noqa: F401

    return Layout.kinds


def _chosen(wanted: str) -> list[type[Layout]]:
    """The layouts to try: with "auto" all known ones, A before C, whose branches A has too."""
    known = _known()
    if wanted == "auto":
        return [known[kind] for kind in sorted(known)]
    return [lookup(Layout, wanted)]  # type: ignore[type-abstract]


def branches_to_read(wanted: str) -> list[str]:
    """Names and globs of the branches that a layout, or with "auto" any known one, may read."""
    return sorted({*_COMMON, *(name for each in _chosen(wanted) for name in each.branch_filter())})


def recognise(branches: set[str], wanted: str, where: str) -> type[Layout]:
    """The layout of an input.

    Parameters
    ----------
    branches
        What the input has.
    wanted
        "auto", the name of a layout, or ``module:Class``.
    where
        The file, for messages.

    Raises
    ------
    ConfigError
        If `wanted` is no known layout.
    DataError
        If the branches do not fit; names what was found and what is missing.
    """
    tried = _chosen(wanted)
    contradicted = [x for x in tried if wanted == "auto" and x.contradicted(branches)]
    tried = [layout for layout in tried if layout not in contradicted]
    for layout in tried:
        if not layout.missing(branches):
            return layout
    best = min(tried, key=lambda layout: len(layout.missing(branches)))
    missing = best.missing(branches)
    for needed, why in (
        (_EVENT_BRANCHES, "an event is known by run, luminosityBlock and event"),
        (_JET_BRANCHES, "jets are NanoAOD's FatJet"),
    ):
        absent = [name for name in map(best.in_input, needed) if name in missing]
        if absent:
            raise DataError(
                f"{where}: no branch {_listed(absent)}; {why}. Use CMS NanoAOD or PFNano from which"
                " it was not dropped, or a layout of your own (layout: module:Class)"
            )
    found = sorted({name.split("_")[0] for name in branches if "PFCand" in name})
    if not found and wanted == "auto":
        raise DataError(
            f"{where}: no particle-flow candidates (no branch PFCands_*, FatJetPFCands_* or"
            " PFCand_*), as in NanoAOD before version 15; use PFNano made from the same MiniAOD"
            " (github.com/cms-jet/PFNano), or NanoAOD 15"
        )
    raise DataError(
        f"{where}: candidate collections found: {', '.join(found) or 'none'}; layout"
        f" {best.kind or wanted} ({best.summary}) also needs {_listed(missing)}. Known are:"
        f" {', '.join(sorted(_known()))}, and module:Class"
        + "".join(
            f"; layout {layout.kind} ({layout.summary}) would fit: name it if that is meant"
            for layout in contradicted
            if not layout.missing(branches)
        )
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
