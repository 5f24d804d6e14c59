"""One shard of jets to one file of tokens, verified after writing."""

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import awkward as ak
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from treasure.errors import DataError
from treasure.jets.splits import SPLITS
from treasure.jets.table import JetChunk, JetTable, jet_index
from treasure.tokenizer.artefact import Tokenizer
from treasure.tokenizer.calibration import jet_pt_mass
from treasure.tokenizer.jetdata import check_columns
from treasure.tokenizer.metrics import response
from treasure.tokenizer.particles import Particles, pack
from treasure.tokens.pipeline import pipelined
from treasure.tokens.table import TokenMetadata, TokenTable, TokenWriter, token_lists

__all__ = ["tokenize_shard"]

_ROWS = 1_024  # a multiple of the chunks of our jet tables: no chunk is unpacked twice
_UNKNOWN_SPLIT = "unknown"
_CONSTITUENTS = 0  # column of `jet_tagging`: how many the jet has
_FEWEST_TO_JUDGE = 20
_LOG = logging.getLogger(__name__)


def tokenize_shard(
    jet_table: Path,
    tokenizer: Tokenizer,
    path: Path,
    *,
    dataset_name: str,
    source_checksum: str,
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Tokenize every jet of a jet table, in its order, and verify what was written.

    The written file is read back: as many jets and particles as the jet table has, and a sample of
    jets, decoded, has the pT and mass of the original within the tolerances of the tokenizer's
    configuration (plus three standard errors of the median; not judged below 20 jets).

    Parameters
    ----------
    jet_table
        The HDF5 file.
    tokenizer
        What encodes.
    path
        The parquet file to write.
    dataset_name, source_checksum
        Written into the file: dataset, and SHA-256 of `jet_table`.
    threads
        That encode, while another reads and writes; how many there are changes no byte.
    progress
        Called with jets done and jets in all.

    Returns
    -------
    dict
        ``jets``, ``particles``, ``clipped_particles``, ``cut_particles`` (that the jet table has
        no room for), ``codes_used``, ``response`` of the sample (``jets``, ``jet_pt``,
        ``jet_mass``), ``seconds``.

    Raises
    ------
    DataError
        If a jet has NaN or infinite momenta, or the verification fails.
    """
    jet_table, path, started = Path(jet_table), Path(path), time.monotonic()
    metadata = TokenMetadata(
        dataset=dataset_name,
        tokenizer_fingerprint=tokenizer.fingerprint,
        vocabulary=tokenizer.vocabulary,
        features=list(tokenizer.features),
        source_file=jet_table.name,
        source_checksum=source_checksum,
    )
    with JetTable(jet_table) as table:
        if tokenizer.feature_set.needs_other:
            check_columns(table)
        jets = len(table)
        sample = _Sample(jets, tokenizer.config.check.jets)
        particles, done = 0, 0
        encode = _Encoder(tokenizer, jet_table)
        with TokenWriter(path, metadata) as writer:
            for part in pipelined(_numbered(table), encode, threads=threads):
                writer.write(part.rows, part.clipped_particles, part.cut_particles)
                sample.take(part.chunk, slice(done, done + len(part.chunk)))
                # Counted from the table itself, not from what was packed.
                particles += int(np.count_nonzero(part.chunk.candidates[:, :, 3]))
                done += len(part.chunk)
                if progress is not None:
                    progress(done, jets)
    summary = _verify(path, jet_table, jets, particles, sample, tokenizer)
    seconds = time.monotonic() - started
    _LOG.info(
        "%s: %d jets, %d particles tokenized in %.1f s (%.0f jets/s)",
        *(path.name, jets, particles, seconds, jets / max(seconds, 1e-9)),
    )
    return {
        **summary,
        "clipped_particles": writer.clipped_particles,
        "cut_particles": writer.cut_particles,
        "seconds": round(seconds, 2),
    }


class _Numbered(NamedTuple):
    """Some rows of a jet table, where they begin, and the number of each jet in its event."""

    chunk: JetChunk
    first: int
    number_in_event: NDArray[np.int32]


def _numbered(table: JetTable) -> Iterator[_Numbered]:
    """All rows of a table; an event may go on from one chunk to the next."""
    first = 0
    last_event, last_number = np.zeros(3, dtype=np.int64), -1
    for chunk in table.chunks(_ROWS):
        number = jet_index(chunk.event_info)
        if first:
            going_on = np.logical_and.accumulate((chunk.event_info == last_event).all(axis=1))
            number[going_on] += last_number + 1
        yield _Numbered(chunk, first, number)
        first += len(chunk)
        last_event, last_number = chunk.event_info[-1], int(number[-1])


class _Encoded(NamedTuple):
    chunk: JetChunk
    rows: pa.Table
    clipped_particles: int
    cut_particles: int


class _Encoder:
    """From rows of a jet table to rows of the token table; called by several threads at once."""

    def __init__(self, tokenizer: Tokenizer, jet_table: Path) -> None:
        self._tokenizer, self._jet_table = tokenizer, jet_table
        tokenizer.prepare()

    def __call__(self, part: _Numbered) -> _Encoded:
        chunk = part.chunk
        try:
            packed = self._tokenizer.pack(chunk.candidates, chunk.kinematics)
        except DataError as error:
            last = part.first + len(chunk) - 1
            raise DataError(f"{self._jet_table}, rows {part.first} to {last}: {error}") from None
        tokens, clipped = self._tokenizer.encode_particles(packed)
        rows = _rows(chunk, packed, tokens, part.number_in_event)
        return _Encoded(chunk, rows, clipped, _cut(chunk, packed.counts))


def _cut(chunk: JetChunk, counts: NDArray[np.int64]) -> int:
    """Constituents of jets that fill all slots, beyond these."""
    full = counts == chunk.candidates.shape[1]
    said = np.nan_to_num(chunk.tagging[full, _CONSTITUENTS], posinf=0)
    return int(np.maximum(said.astype(np.int64) - counts[full], 0).sum())


def _rows(
    chunk: JetChunk, packed: Particles, tokens: ak.Array, number: NDArray[np.int32]
) -> pa.Table:
    """Rows of the token table."""
    ids = np.asarray(ak.to_numpy(ak.flatten(tokens, axis=1)), dtype=np.int32)
    names = pa.array([*SPLITS, _UNKNOWN_SPLIT])
    split = np.where(chunk.split < 0, len(SPLITS), chunk.split).astype(np.int32)
    event, kinematics = chunk.event_info, chunk.kinematics
    return pa.table(
        {
            "run": event[:, 0],
            "luminosityBlock": event[:, 1],
            "event": event[:, 2],
            "jet_index": number,
            "label": chunk.label.astype(np.int32),
            "split": pa.DictionaryArray.from_arrays(pa.array(split), names),
            "jet_pt": kinematics[:, 0],
            "jet_eta": kinematics[:, 1],
            "jet_phi": kinematics[:, 2],
            "jet_msoftdrop": kinematics[:, 3],
            "n_constituents": packed.counts.astype(np.int32),
            "tokens": token_lists(ids, packed.counts),
        }
    )


class _Sample:
    """Some jets of a table at equal distances, kept for the comparison."""

    def __init__(self, jets: int, wanted: int) -> None:
        count = min(jets, wanted)
        self.rows = np.unique(np.linspace(0, max(jets - 1, 0), count).astype(np.int64))
        self._parts: list[Particles] = []

    def take(self, chunk: JetChunk, rows: slice) -> None:
        mine = self.rows[(self.rows >= rows.start) & (self.rows < rows.stop)] - rows.start
        if len(mine):
            self._parts.append(pack(chunk.candidates[mine], chunk.kinematics[mine]))

    def particles(self) -> Particles:
        return Particles.joined(self._parts)


def _verify(
    path: Path, jet_table: Path, jets: int, particles: int, sample: _Sample, tokenizer: Tokenizer
) -> dict[str, Any]:
    """Read the file back, count, and compare a decoded sample with the original."""
    used = np.zeros(tokenizer.vocabulary_size, dtype=bool)
    kept: list[ak.Array] = []
    read_jets, read_particles = 0, 0
    with TokenTable(path) as table:
        for group in table.chunks(["n_constituents", "tokens"]):
            tokens = ak.from_arrow(group["tokens"])
            window = (sample.rows >= read_jets) & (sample.rows < read_jets + len(group))
            kept.append(tokens[sample.rows[window] - read_jets])
            ids = np.asarray(ak.to_numpy(ak.flatten(tokens, axis=None)))
            used[ids] = True
            read_jets += len(group)
            read_particles += int(ak.sum(ak.num(tokens, axis=1)))
    if (read_jets, read_particles) != (jets, particles):
        raise DataError(
            f"{path}: {read_jets} jets with {read_particles} particles, but {jet_table} has {jets}"
            f" jets with {particles}; remove the file and tokenize again"
        )
    summary: dict[str, Any] = {
        "jets": jets,
        "particles": particles,
        "codes_used": int(used.sum()),
    }
    if jets:
        summary["response"] = _compare(ak.concatenate(kept), sample.particles(), tokenizer, path)
    return summary


def _compare(
    tokens: ak.Array, original: Particles, tokenizer: Tokenizer, path: Path
) -> dict[str, Any]:
    counts = ak.to_numpy(ak.num(tokens, axis=1)).astype(np.int64)
    if not np.array_equal(counts, original.counts):
        row = int(np.argmin(counts == original.counts))
        raise DataError(
            f"{path}: sampled jet {row} has {counts[row]} tokens for {original.counts[row]}"
            " particles; remove the file and tokenize again"
        )
    axes = np.concatenate([np.zeros((len(counts), 1), np.float32), original.axes], axis=1)
    decoded = tokenizer.decode(tokens, axes)
    flat = ak.flatten(decoded, axis=1)
    momenta = np.stack([ak.to_numpy(flat[name]) for name in ("px", "py", "pz", "E")], axis=1)
    before, after = (jet_pt_mass(p, counts) for p in (original.momenta, momenta))
    check = tokenizer.config.check
    tolerances = (check.pt_tolerance, check.mass_tolerance)
    result: dict[str, Any] = {"jets": len(counts)}
    for number, (name, tolerance) in enumerate(
        zip(("jet_pt", "jet_mass"), tolerances, strict=True)
    ):
        # A jet of one particle has next to no mass, and so no mass response.
        judged = counts >= 2
        values = response(after[number][judged], before[number][judged])
        result[name] = values
        jets = int(judged.sum())
        if jets < _FEWEST_TO_JUDGE:
            continue
        # The standard error of a median is 0.93 IQR / sqrt(n) for a normal distribution.
        allowed = tolerance + 3 * 0.93 * values["iqr_over_median"] / np.sqrt(jets)
        if abs(values["median"] - 1) > allowed:
            raise DataError(
                f"{path}: median {name} of {jets} decoded jets is {values['median']:.4f} of the"
                f" original; allowed is 1 +- {allowed:.4f} (tokenizer.check). The tokenizer does"
                " not suit these jets: train longer, or on jets like these"
            )
    return result
