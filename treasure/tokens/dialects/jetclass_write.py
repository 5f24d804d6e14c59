"""A jet table, or decoded tokens, with the columns of JetClass."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from treasure.errors import DataError
from treasure.jets.splits import SPLITS
from treasure.jets.table import CANDIDATE_COLUMNS, JetChunk, JetTable, jet_index
from treasure.skim.record import JET_COLUMNS
from treasure.tokenizer.particles import jet_sums, owners
from treasure.tokens.dialects.blocks import token_ids
from treasure.tokens.dialects.dialect import UNKNOWN, Options, Report
from treasure.tokens.dialects.jetclass_columns import (
    FLAGS,
    JETS,
    MOMENTA,
    TRACK,
    angles,
    flags_of,
    jet_energy,
    known_axis,
    track_to_jetclass,
)
from treasure.tokens.dialects.parquet import flat, parquet_writer
from treasure.tokens.dialects.vocabulary import check_table, known_of, load_tokenizer
from treasure.tokens.table import TokenTable, schema

__all__ = ["write_jetclass"]

_ROWS = 8192
_IDENTITY = ("run", "luminosityBlock", "event", "jet_index", "split")
_AXIS = ("pt", "eta", "phi")
_KINEMATICS = ("jet_pt", "jet_eta", "jet_phi", "jet_msoftdrop")


@dataclass(frozen=True)
class _Jets:
    """Some jets on their way to JetClass.

    Attributes
    ----------
    momenta : (P, 4)
        px, py, pz, E of packed particles, GeV.
    counts : (N,)
    kinematics : (N, 4)
        pt, eta, phi, msoftdrop.
    label : (N,)
    other
        Columns of particles in the units of the jet table, as far as they are known.
    tagging
        Columns of jets, as far as they are known.
    identity
        `_IDENTITY`.
    """

    momenta: NDArray[np.float32]
    counts: NDArray[np.int64]
    kinematics: NDArray[np.float32]
    label: NDArray[np.int64]
    other: dict[str, NDArray[Any]]
    tagging: dict[str, NDArray[Any]]
    identity: dict[str, Any] = field(default_factory=dict)


def write_jetclass(source: Path, path: Path, options: Options) -> Report:
    """Export a jet table (HDF5), or a token table with the tokenizer that decodes it."""
    report = Report(files=[path])
    if source.suffix in (".h5", ".hdf5"):
        with JetTable(source) as jets:
            _write(_of_table(jets), path, options, report)
        report.losses.append("the particleNet scores")
        return report
    with TokenTable(source) as tokens:
        if options.tokenizer is None:
            raise DataError(
                f"{source}: tokens have to be decoded for JetClass; give --tokenizer, the folder"
                " of the tokenizer that made them"
            )
        check_table(tokens, known_of(options), options)
        if tokens.metadata.tokenizer_fingerprint == UNKNOWN:
            report.notes.append("which tokenizer made the tokens is not known: taken on trust")
        _write(_decoded(tokens, load_tokenizer(options.tokenizer)), path, options, report)
    report.notes.insert(0, "particles are decoded from tokens")
    return report


def _write(parts: Iterator[_Jets], path: Path, options: Options, report: Report) -> None:
    """Write what comes; the first part, which may have no jets, says which columns there are."""
    first = next(parts)
    found = pa.schema(
        [field.with_nullable(False) for field in pa.table(_columns(first, options)).schema]
    )
    names = ["part_charge", "part_pdgId", "part_puppiWeight", *TRACK, *FLAGS, *JETS]
    if absent := [name for name in names if name not in found.names]:
        plural = "s" * (len(absent) > 1)
        report.losses.append(f"column{plural} {', '.join(absent)}: nothing says what is in them")
    without_track = without_axis = short = missing_particles = 0
    with parquet_writer(path, found) as writer:
        for part in chain([first], parts):
            if len(part.counts):
                writer.write(pa.table(_columns(part, options)))
            report.jets += len(part.counts)
            report.particles += len(part.momenta)
            without_axis += int((part.kinematics[:, 0] < 0).sum())
            missing_of = np.maximum(part.tagging["nConstituents"] - part.counts, 0)
            short += int((missing_of > 0).sum())
            missing_particles += int(np.nan_to_num(missing_of).sum())
            if "charge" in part.other and "d0Err" in part.other:
                missing = (part.other["charge"] != 0) & (part.other["d0Err"] == -1)
                without_track += int(missing.sum())
    if short:
        report.notes.append(
            f"{missing_particles:,} particles of {short:,} jets, which nConstituents counts, are"
            " not in the table; jet_nparticles counts those that are written"
        )
    if without_axis:
        report.notes.append(
            f"pt and axis of {without_axis:,} jets are not known: those of the sum of their"
            " particles, which are decoded around the axis (0, 0)"
        )
    if without_track:
        report.notes.append(
            f"{without_track:,} charged particles have no track details, and so 0 in d0 and dz"
        )


def _of_table(table: JetTable) -> Iterator[_Jets]:
    number = jet_index(table.column("event_info"))
    yield _of_chunk(_NO_JETS, number[:0])
    done = 0
    for chunk in table.chunks(_ROWS):
        yield _of_chunk(chunk, number[done : done + len(chunk)])
        done += len(chunk)


_NO_JETS = JetChunk(
    event_info=np.zeros((0, 3), np.int64),
    kinematics=np.zeros((0, 4), np.float32),
    tagging=np.zeros((0, 13), np.float32),
    candidates=np.zeros((0, 1, 11), np.float32),
    label=np.zeros(0, np.int32),
    split=np.zeros(0, np.int8),
)


def _of_chunk(chunk: JetChunk, number: NDArray[np.int32]) -> _Jets:
    real = chunk.candidates[:, :, 3] != 0
    packed = chunk.candidates[real]
    jets = np.concatenate([chunk.kinematics, chunk.tagging], axis=1)
    split = np.array([*SPLITS, UNKNOWN])[np.where(chunk.split < 0, len(SPLITS), chunk.split)]
    return _Jets(
        momenta=packed[:, :4],
        counts=real.sum(axis=1, dtype=np.int64),
        kinematics=chunk.kinematics,
        label=chunk.label.astype(np.int64),
        other={name: packed[:, 4 + i] for i, name in enumerate(CANDIDATE_COLUMNS[4:])},
        tagging={ours: jets[:, JET_COLUMNS.index(ours)] for ours in JETS.values()},
        identity=dict(
            zip(_IDENTITY, (*chunk.event_info.T, number, split.astype(object)), strict=True)
        ),
    )


def _decoded(table: TokenTable, tokenizer: Any) -> Iterator[_Jets]:
    yield _of_tokens(schema(table.metadata.codebooks).empty_table(), tokenizer, str(table.path))
    for group in table.chunks():
        for start in range(0, len(group), _ROWS):
            yield _of_tokens(group.slice(start, _ROWS), tokenizer, str(table.path))


def _of_tokens(rows: pa.Table, tokenizer: Any, where: str) -> _Jets:
    columns = {name: flat(rows[name], f"{where}, {name}") for name in _KINEMATICS}
    kinematics = np.stack(list(columns.values()), axis=1).astype(np.float32)
    tokens, counts = token_ids(rows["tokens"], tokenizer.codebooks, where)
    decoded = tokenizer.decode(ak.unflatten(tokens, counts), kinematics)
    flattened = {name: ak.to_numpy(ak.flatten(decoded[name], axis=1)) for name in decoded.fields}
    momenta = np.stack([flattened.pop(name) for name in CANDIDATE_COLUMNS[:4]], axis=1)
    return _Jets(
        momenta=momenta.astype(np.float32),
        counts=counts,
        kinematics=kinematics,
        label=flat(rows["label"], where).astype(np.int64),
        other={n: v.astype(np.float32) for n, v in flattened.items() if n in CANDIDATE_COLUMNS},
        tagging={
            "msoftdrop": kinematics[:, 3],
            "nConstituents": flat(rows["n_constituents"], where),
        },
        identity={
            name: flat(rows[name], where)
            if name != "split"
            else rows[name].cast(pa.string()).to_pylist()
            for name in _IDENTITY
        },
    )


def _columns(jets: _Jets, options: Options) -> dict[str, pa.Array]:
    """Columns of a part, in the order of JetClass; then those of ours that it does not have."""
    offsets = pa.array(np.concatenate([[0], np.cumsum(jets.counts)]).astype(np.int32))

    def lists(values: NDArray[Any], dtype: Any = np.float32) -> pa.Array:
        items = pa.array(np.ascontiguousarray(values, dtype))
        kind = pa.list_(pa.field("item", items.type, nullable=False))
        return pa.ListArray.from_arrays(offsets, items, type=kind)

    sums = jet_sums(jets.momenta, jets.counts)
    axis = known_axis(jets.kinematics, sums)
    deta, dphi = angles(jets.momenta, axis[owners(jets.counts), 1:3])
    found = {name: lists(jets.momenta[:, i]) for i, name in enumerate(MOMENTA)}
    found |= {"part_deta": lists(deta), "part_dphi": lists(dphi)}
    if all(ours in jets.other for ours in TRACK.values()):
        track = np.stack([jets.other[ours] for ours in TRACK.values()], axis=1)
        track = track_to_jetclass(track.astype(np.float32))
        found |= {name: lists(track[:, i]) for i, name in enumerate(TRACK)}
    if "charge" in jets.other:
        found["part_charge"] = lists(jets.other["charge"], np.int32)
    if "pdgId" in jets.other:
        flags = flags_of(jets.other["pdgId"])
        found |= {name: lists(flags[name], np.bool_) for name in flags}
    found |= {f"jet_{n}": pa.array(axis[:, i]) for i, n in enumerate(_AXIS)}
    found["jet_energy"] = pa.array(jet_energy(sums, axis))
    found |= {
        name: pa.array(np.asarray(jets.tagging[ours], np.float32))
        for name, ours in JETS.items()
        if ours in jets.tagging
    }
    found["jet_nparticles"] = pa.array(jets.counts.astype(np.int32))
    found["jet_label"] = pa.array(jets.label.astype(np.int32))
    found |= {
        f"label_{name}": pa.array(jets.label == number)
        for number, name in sorted(options.names.items())
    }
    if "pdgId" in jets.other:
        found["part_pdgId"] = lists(jets.other["pdgId"], np.int32)
    if "puppiWeight" in jets.other:
        found["part_puppiWeight"] = lists(jets.other["puppiWeight"])
    return found | {
        name: pa.array(values, pa.string() if name == "split" else None)
        for name, values in jets.identity.items()
    }
