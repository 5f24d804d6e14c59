"""JetClass parquet and ROOT as a jet table."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from treasure.errors import DataError
from treasure.jets.imported import write_imported
from treasure.jets.splits import SPLITS
from treasure.jets.table import CANDIDATE_COLUMNS, JetChunk
from treasure.jets.write import pad_candidates
from treasure.skim.record import JET_COLUMNS
from treasure.tokenizer.particles import jet_sums, owners
from treasure.tokens.dialects.aoj import described, with_split
from treasure.tokens.dialects.dialect import Options, Report
from treasure.tokens.dialects.jetclass_columns import (
    CLASSES,
    FLAGS,
    JETS,
    MOMENTA,
    TRACK,
    axis_of_sum,
    pdg_id_of,
    track_from_jetclass,
)
from treasure.tokens.dialects.jetclass_files import JetFile, open_jets
from treasure.tokens.dialects.parquet import whole_numbers

__all__ = ["read_jetclass"]

_SLOTS = 150  # as Aspen Open Jets
_OTHER = ("part_charge", "part_pdgId", "part_puppiWeight")
_IDENTITY = ("run", "luminosityBlock", "event")
_ORDER_TOLERANCE = 1e-5  # of pt that is computed from float32 px and py, relative


def read_jetclass(source: Path, path: Path, options: Options) -> Report:
    """Import jets by the names of JetClass."""
    report = Report(files=[path])
    with open_jets(source, options.tree) as file:
        present = set(file.names)
        if missing := [name for name in MOMENTA if name not in present]:
            raise DataError(
                f"{source}: no column {', '.join(missing)} (found: {', '.join(file.names[:8])});"
                " not a file of JetClass"
            )
        classes = _classes(file, options)
        absent = _absent(present, classes, options)
        lists = [n for n in (*MOMENTA, *TRACK, *_OTHER, *FLAGS) if n in present]
        scalars = [
            n
            for n in ("jet_pt", "jet_eta", "jet_phi", *JETS, "jet_label", "split", *_IDENTITY)
            if n in present
        ]
        counted = {"cut_jets": 0, "cut_particles": 0, "sorted": 0, "short": 0, "missing": 0}

        def chunks() -> Iterator[JetChunk]:
            for first, block in file.blocks(lists, [*scalars, *classes.values()]):
                where = f"{source}, rows {first} and on"
                chunk, counts = _chunk(block, classes, options, where, first, counted)
                report.jets += len(chunk)
                report.particles += int(np.minimum(counts, _SLOTS).sum())
                yield chunk

        attributes = described(source, options, "jetclass") | {"absent_columns": absent}
        write_imported(path, chunks(), rows=file.rows, slots=_SLOTS, attributes=attributes)
    used = {*lists, *scalars, *classes.values(), "part_deta", "part_dphi"}
    if others := sorted(present - used):
        report.losses.append(f"column{'s' * (len(others) > 1)} {', '.join(others)}")
    if counted["cut_jets"]:
        report.losses.append(
            f"{counted['cut_particles']:,} particles, the softest, of {counted['cut_jets']:,} jets"
            f" with more than {_SLOTS}"
        )
    if counted["short"]:
        report.notes.append(
            f"{counted['missing']:,} particles of {counted['short']:,} jets, which jet_nparticles"
            " counts, are not in the file"
        )
    if counted["sorted"]:
        report.notes.append(f"particles of {counted['sorted']:,} jets were sorted by pt")
    if absent:
        said = "; ".join(f"{name}: {value}" for name, value in absent.items())
        report.notes.append(f"what the file does not say: {said}")
    if "run" not in present:
        report.notes.append("run and luminosityBlock are 0, and event counts the rows")
    return report


def _classes(file: JetFile, options: Options) -> dict[int, str]:
    """Class → column that is true for it; empty where `jet_label` or the options say the class."""
    flags = [name for name in file.names if name.startswith("label_")]
    if options.label is not None or "jet_label" in file.names or not flags:
        return {}
    names = dict(options.names) or dict(enumerate(CLASSES))
    numbers = {f"label_{name}": number for number, name in names.items()}
    if unknown := [name for name in flags if name not in numbers]:
        raise DataError(
            f"{file.path}: {', '.join(unknown)} is none of JetClass's classes; say --name N=NAME"
            " for each column label_NAME, or --label for all jets"
        )
    return {numbers[name]: name for name in flags}


def _absent(present: set[str], classes: Mapping[int, str], options: Options) -> dict[str, str]:
    """Columns of the jet table that the file does not have → what stands there."""
    found: dict[str, str] = {}
    for name in ("jet_pt", "jet_eta", "jet_phi"):
        if name not in present:
            found[f"FatJet_{name[4:]}"] = "of the sum of the particles"
    for theirs, ours in JETS.items():
        if theirs not in present:
            found[f"FatJet_{ours}"] = "counted" if theirs == "jet_nparticles" else "-1"
    found |= {f"FatJet_{name}": "-1" for name in JET_COLUMNS if name.startswith("particleNet")}
    if not set(TRACK) <= present:
        found |= {f"PFCands_{ours}": "-1" for ours in TRACK.values()}
    if "part_charge" not in present:
        found["PFCands_charge"] = "0"
    if "part_pdgId" not in present:
        said = "computed from the flags" if set(FLAGS) & present else "0"
        found["PFCands_pdgId"] = said
    if "part_puppiWeight" not in present:
        found["PFCands_puppiWeight"] = "-1 (in the momenta already)"
    if options.label is None and not classes and "jet_label" not in present:
        found["label"] = "-1"
    return found


def _chunk(
    block: Mapping[str, Any],
    classes: Mapping[int, str],
    options: Options,
    where: str,
    first: int,
    counted: dict[str, int],
) -> tuple[JetChunk, NDArray[np.int64]]:
    """Rows of the jet table, and particles of each before the cut."""
    counts: NDArray[np.int64] = block["counts"]
    n, owner = len(counts), owners(counts)

    def refuse(bad: Any, found: str, rows: NDArray[np.int64] = owner) -> None:
        if np.any(bad):
            raise DataError(f"{where}: row {first + int(rows[np.argmax(bad)])} {found}")

    momenta = np.stack([block[name] for name in MOMENTA], axis=1).astype(np.float32)
    refuse(~np.isfinite(momenta).all(axis=1), "has a momentum that is NaN or infinite")
    refuse(
        momenta[:, 3] <= 0,
        "has a particle without energy, which a jet table would take for padding; leave it out",
    )
    columns = np.zeros((len(owner), len(CANDIDATE_COLUMNS)), np.float32)
    columns[:, :4], columns[:, 4:8], columns[:, 10] = momenta, -1, -1
    if all(name in block for name in TRACK):
        track = np.stack([block[name] for name in TRACK], axis=1).astype(np.float32)
        refuse(~np.isfinite(track).all(axis=1), "has d0, dz or an error that is NaN or infinite")
        try:
            columns[:, 4:8] = track_from_jetclass(track)
        except DataError as error:
            raise DataError(f"{where}: {error}") from None
    charge = np.asarray(block.get("part_charge", np.zeros(len(owner))), np.float32)
    refuse(~np.isin(charge, (-1, 0, 1)), "has a charge that is none of -1, 0 and 1")
    columns[:, 8] = charge
    flags = {name: block[name] for name in FLAGS if name in block}
    columns[:, 9] = block.get("part_pdgId", pdg_id_of(flags, charge))
    if "part_puppiWeight" in block:
        columns[:, 10] = block["part_puppiWeight"]
    refuse(~np.isfinite(columns).all(axis=1), "has a value of a particle that is NaN or infinite")
    columns = _by_falling_pt(columns, counts, counted)
    over = np.maximum(counts - _SLOTS, 0)
    counted["cut_jets"] += int((over > 0).sum())
    counted["cut_particles"] += int(over.sum())
    if "jet_nparticles" in block:
        missing = np.maximum(block["jet_nparticles"] - counts, 0)
        counted["short"] += int((missing > 0).sum())
        counted["missing"] += int(np.nan_to_num(missing).sum())
    jets = _jet_columns(block, momenta, counts)
    bad = ~np.isfinite(jets).all(axis=1)
    refuse(bad, "has a value of its jet that is NaN or infinite", np.arange(n))
    event = np.zeros((n, 3), np.int64)
    event[:, 2] = np.arange(first, first + n)
    for i, name in enumerate(_IDENTITY):
        if name in block:
            event[:, i] = whole_numbers(np.asarray(block[name]), f"{where}, {name}")
    chunk = JetChunk(
        event_info=event,
        kinematics=jets[:, :4],
        tagging=jets[:, 4:],
        candidates=pad_candidates(counts, list(columns.T), _SLOTS),
        label=_label(block, classes, options, n, where),
        split=_split(block, n),
    )
    keeps = options.split is None and bool((chunk.split >= 0).any())
    return (chunk if keeps else with_split(chunk, options)), counts


def _split(block: Mapping[str, Any], n: int) -> NDArray[np.int8]:
    """Split by the names that our own exports have; -1 where there is none."""
    said = np.asarray(block.get("split", np.full(n, "")), dtype=str)
    found = np.full(n, -1, np.int8)
    for number, name in enumerate(SPLITS):
        found[said == name] = number
    return found


def _by_falling_pt(
    columns: NDArray[np.float32], counts: NDArray[np.int64], counted: dict[str, int]
) -> NDArray[np.float32]:
    """Particles (P, 11) of each jet by falling pt; a jet that has this order is left as it is."""
    pt = np.hypot(columns[:, 0].astype(np.float64), columns[:, 1].astype(np.float64))
    owner = owners(counts)
    rising = (pt[1:] > pt[:-1] * (1 + _ORDER_TOLERANCE)) & (owner[1:] == owner[:-1])
    if not rising.any():
        return columns
    wrong = np.unique(owner[1:][rising])
    counted["sorted"] += len(wrong)
    key = np.where(np.isin(owner, wrong), -pt, np.arange(len(pt)))
    return columns[np.lexsort((key, owner))]


def _jet_columns(
    block: Mapping[str, Any], momenta: NDArray[np.float32], counts: NDArray[np.int64]
) -> NDArray[np.float32]:
    """`JET_COLUMNS`, (N, 17); −1 where nothing says them."""
    jets = np.full((len(counts), len(JET_COLUMNS)), -1, np.float32)
    computed = axis_of_sum(jet_sums(momenta, counts))
    for i, name in enumerate(("pt", "eta", "phi")):
        jets[:, i] = block.get(f"jet_{name}", computed[:, i])
    jets[:, JET_COLUMNS.index("nConstituents")] = counts
    for theirs, ours in JETS.items():
        if theirs in block:
            jets[:, JET_COLUMNS.index(ours)] = block[theirs]
    return jets


def _label(
    block: Mapping[str, Any], classes: Mapping[int, str], options: Options, n: int, where: str
) -> NDArray[np.int32]:
    if options.label is not None:
        return np.full(n, options.label, np.int32)
    if "jet_label" in block:
        label = whole_numbers(np.asarray(block["jet_label"]), f"{where}, jet_label", 32)
        return label.astype(np.int32)
    if not classes:
        return np.full(n, -1, np.int32)
    flags = np.stack([np.asarray(block[name]) != 0 for name in classes.values()], axis=1)
    if (flags.sum(axis=1) != 1).any():
        row = int(np.argmax(flags.sum(axis=1) != 1))
        raise DataError(
            f"{where}: the {row}th of them is of {int(flags[row].sum())} classes; one of"
            f" {', '.join(classes.values())} was expected to be true"
        )
    return np.array(list(classes), np.int32)[flags.argmax(axis=1)]
