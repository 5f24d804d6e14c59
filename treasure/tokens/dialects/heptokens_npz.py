"""Codes as HEPTokens keeps them in an npz file: `indices`, `labels`, `codebooks`, `eventNumber`.

`indices` is int16, (N, 128, Q): codes by falling pT without special tokens, -1 for padding. int16
holds vocabularies of up to 32,767 codes.
"""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from treasure.errors import DataError
from treasure.tokens.dialects.blocks import TokenBlock, TokenImport, cut, token_blocks
from treasure.tokens.dialects.dialect import OF_TOKENS, UNKNOWN, Dialect, Options, Report
from treasure.tokens.dialects.npz import NpzReader, NpzWriter
from treasure.tokens.dialects.parquet import whole_numbers
from treasure.tokens.dialects.vocabulary import check_table, known_of, vocabulary_size
from treasure.tokens.table import TokenTable

__all__ = ["HEPTokensNpz"]

POSITIONS = 128
MOST_CODES = 2**15 - 1
PADDING = -1


class HEPTokensNpz(Dialect, kind="heptokens-npz"):
    """Padded codes and their codebooks, as numpy arrays."""

    summary: ClassVar[str] = "HEPTokens: npz, codes (N, 128, Q) int16 with their codebooks"
    imports_to: ClassVar[tuple[str, ...]] = (".parquet",)
    reads: ClassVar[frozenset[str]] = OF_TOKENS
    writes: ClassVar[frozenset[str]] = frozenset({"tokenizer", "codebook"})

    @classmethod
    def recognises(cls, source: Path) -> bool:
        return source.suffix == ".npz"

    def write(self, source: Path, path: Path, options: Options) -> Report:
        if path.suffix != ".npz":
            raise DataError(f"{path}: HEPTokens reads .npz here; give such a name")
        known = known_of(options)
        report = Report(files=[path])
        jets_cut = particles_cut = 0
        with TokenTable(source) as table:
            check_table(table, known, options)
            size, codebooks = table.metadata.size, table.metadata.codebooks
            if size > MOST_CODES:
                raise DataError(
                    f"{source}: a vocabulary of {size} codes, but the int16 of this format holds"
                    f" {MOST_CODES} at most; export to heptokens (int64)"
                )
            if known.codebook is None:
                raise DataError(
                    f"{path}: the format holds the codebook, which tokens alone do not have; give"
                    " the --tokenizer that made them, or a --codebook"
                )
            labels, events = [np.zeros(0, np.int8)], [np.zeros(0, np.int64)]
            with NpzWriter(path) as file:
                shape = (len(table), POSITIONS, codebooks)
                with file.array("indices", np.dtype(np.int16), shape) as write:
                    for block in token_blocks(table):
                        block, jets, particles = cut(block, POSITIONS)
                        jets_cut, particles_cut = jets_cut + jets, particles_cut + particles
                        write(_padded(block, codebooks))
                        labels.append(_narrow(block.label, source))
                        events.append(block.event)
                        report.jets += len(block)
                        report.particles += len(block.ids)
                file.add("labels", np.concatenate(labels))
                file.add("codebooks", known.codebook)
                file.add("eventNumber", np.concatenate(events))
        report.losses.append(
            "run, section and number of each jet, its split, pT, axis and soft-drop mass"
        )
        if options.tokenizer is None:
            report.notes.append("not checked: whether the codebook is that of the tokens")
        if jets_cut:
            report.losses.append(
                f"{particles_cut:,} particles of {jets_cut:,} jets with more than {POSITIONS}"
            )
        return report

    def read(self, source: Path, path: Path, options: Options) -> Report:
        known = known_of(options)
        with NpzReader(source) as file:
            codebooks = file.whole("codebooks") if "codebooks" in file else None
            sizes: dict[str, int] = {}
            if codebooks is not None:
                if codebooks.ndim != 3 or codebooks.dtype.kind != "f":
                    raise DataError(
                        f"{source}: codebooks are {codebooks.dtype} {codebooks.shape}; expected"
                        " floating-point numbers (Q, K, D)"
                    )
                sizes = {"codebooks": codebooks.shape[0], "size": codebooks.shape[1]}
                if known.codebook is not None and not (
                    known.codebook.shape == codebooks.shape
                    and np.array_equal(known.codebook, codebooks)
                ):
                    raise DataError(
                        f"{source}: its codebooks are not those of"
                        f" {options.tokenizer or options.codebook}; give the one that made the"
                        " codes"
                    )
            size = vocabulary_size(
                source,
                {
                    "--vocabulary": options.vocabulary,
                    "tokenizer or codebook": known.sizes.get("size"),
                    "codebooks": sizes.get("size"),
                },
            )
            shape = file.shape("indices", "i")
            if len(shape) != 3 or shape[2] < 1:
                raise DataError(f"{source}: indices of shape {shape}; expected (jets, slots, Q)")
            stated = {found.get("codebooks", shape[2]) for found in (sizes, known.sizes)}
            if stated != {shape[2]}:
                raise DataError(
                    f"{source}: {shape[2]} codes a particle, but {max(stated - {shape[2]})}"
                    " codebooks; they do not belong together"
                )
            label, event = self._of_jets(file, options, shape[0])
            with TokenImport(
                source,
                path,
                options,
                size=size,
                codebooks=shape[2],
                features=known.features,
                fingerprint=known.fingerprint,
                event_known="eventNumber" in file,
                room=shape[1],
            ) as table:
                for first, indices in file.blocks("indices"):
                    ids, counts = _unpadded(indices, str(source), first)
                    rows = slice(first, first + len(indices))
                    table.write(TokenBlock(ids, counts, label[rows], event[rows]))
        report = table.report
        if known.fingerprint == UNKNOWN:
            report.losses.append("the codebook, which belongs to a tokenizer")
        return report

    def _of_jets(
        self, file: NpzReader, options: Options, rows: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Class and event of each jet."""

        def narrow(name: str, otherwise: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
            if name not in file:
                return otherwise
            values = file.whole(name)
            if values.shape != (rows,):
                raise DataError(f"{file.path}: {name} has shape {values.shape}; expected ({rows},)")
            return whole_numbers(values, f"{file.path}, {name}", bits)

        given = options.label
        label = np.full(rows, -1 if given is None else given, np.int64)
        if given is None:
            label = narrow("labels", label, 32)
        return label, narrow("eventNumber", np.arange(rows), 64)


def _padded(block: TokenBlock, codebooks: int) -> NDArray[np.int16]:
    indices = np.full((len(block), POSITIONS, codebooks), PADDING, np.int16)
    real = np.arange(POSITIONS) < block.counts[:, None]
    indices[real] = block.ids.reshape(-1, codebooks)
    return indices


def _narrow(label: NDArray[np.int64], source: Path) -> NDArray[np.int8]:
    if len(label) and (label.min() < -128 or label.max() > 127):
        raise DataError(
            f"{source}: classes from {label.min()} to {label.max()}, but the int8 of this format"
            " holds -128 to 127; export to heptokens"
        )
    return label.astype(np.int8)


def _unpadded(
    indices: NDArray[Any], where: str, first: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Packed codes, (P,) or (P, Q), and their numbers; padding may stand at the end only."""
    real = indices != PADDING
    jet = real.all(axis=2)
    counts = jet.sum(axis=1)
    bad = (real.any(axis=2) != jet).any(axis=1) | (
        jet != (np.arange(indices.shape[1]) < counts[:, None])
    ).any(axis=1)
    if bad.any():
        raise DataError(
            f"{where}, row {first + int(np.argmax(bad))}: {PADDING} among the particles; padding"
            " stands behind them, in all codebooks"
        )
    ids = indices[jet].astype(np.int64)
    return ids[:, 0] if ids.shape[1] == 1 else ids, counts.astype(np.int64)
