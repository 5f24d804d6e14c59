"""Tokens of many jets between a token table and the dialects of others."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from treasure.config.splits import Splits
from treasure.errors import DataError
from treasure.jets.splits import SPLITS, assign_split
from treasure.store import checksums
from treasure.tokens.dialects.dialect import UNKNOWN, Options, Report
from treasure.tokens.dialects.parquet import flat
from treasure.tokens.table import TokenMetadata, TokenTable, TokenWriter, token_lists

__all__ = [
    "MOST_CODES",
    "TokenBlock",
    "TokenImport",
    "check_ids",
    "cut",
    "token_blocks",
    "token_ids",
]

_ROWS = 8192
MOST_CODES = 2**31 - 1
"""Codes that the int32 of token tables can tell apart, one kept for a size."""


@dataclass(frozen=True)
class TokenBlock:
    """Some jets.

    Attributes
    ----------
    ids : (P,) or (P, Q) int64
        Codes 0 … K - 1 of packed particles.
    counts : (N,) int64
        Particles of each jet.
    label : (N,) int64
        Class; −1: not known.
    event : (N,) int64
        Number of the event.
    """

    ids: NDArray[np.int64]
    counts: NDArray[np.int64]
    label: NDArray[np.int64]
    event: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.counts)

    def of(self, jets: NDArray[np.bool_]) -> "TokenBlock":
        """Some of the jets."""
        ids = self.ids[np.repeat(jets, self.counts)]
        return TokenBlock(ids, self.counts[jets], self.label[jets], self.event[jets])


def token_blocks(table: TokenTable) -> Iterator[TokenBlock]:
    """Jets of a token table, some thousand at a time, in their order.

    Raises
    ------
    DataError
        At the end, if these are not as many jets and particles as were written.
    """
    jets = particles = 0
    for group in table.chunks(["label", "event", "tokens"]):
        for start in range(0, len(group), _ROWS):
            rows, where = group.slice(start, _ROWS), f"{table.path}, tokens"
            ids, counts = token_ids(rows["tokens"], table.metadata.codebooks, where)
            label, event = (flat(rows[name], where).astype(np.int64) for name in ("label", "event"))
            jets, particles = jets + len(counts), particles + len(ids)
            yield TokenBlock(ids, counts, label, event)
    written = (table.counts["rows"], table.counts["particles"])
    if (jets, particles) != written:
        raise DataError(
            f"{table.path}: {jets} jets with {particles} particles, but {written[0]} with"
            f" {written[1]} were written; get the file again"
        )


def token_ids(
    column: pa.ChunkedArray, codebooks: int, where: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ids (P,) or (P, Q) and particles of each jet (N,) of the column `tokens`."""
    tokens = column.combine_chunks()
    counts = np.asarray(tokens.value_lengths(), dtype=np.int64)
    values = tokens.flatten()
    if codebooks == 1:
        return flat(values, where, "i").astype(np.int64), counts
    ids = flat(values.flatten(), where, "i").astype(np.int64)
    return ids.reshape(-1, codebooks), counts


def cut(block: TokenBlock, most: int) -> tuple[TokenBlock, int, int]:
    """The first `most` particles of each jet, how many jets were cut, and how many particles."""
    over = block.counts > most
    if not over.any():
        return block, 0, 0
    slot = np.arange(len(block.ids)) - np.repeat(
        np.cumsum(block.counts) - block.counts, block.counts
    )
    counts = np.minimum(block.counts, most)
    lost = int((block.counts - counts).sum())
    return (
        TokenBlock(block.ids[slot < most], counts, block.label, block.event),
        int(over.sum()),
        lost,
    )


def check_ids(block: TokenBlock, size: int, where: str, first: int) -> None:
    """Codes are within the vocabulary.

    Parameters
    ----------
    block, size
        Jets, and K.
    where, first
        File and number of the first row, for the message.
    """
    if not len(block.ids):
        return
    wrong = (block.ids < 0) | (block.ids >= size)
    if wrong.any():
        worst = block.ids[wrong][0]
        place = int(np.flatnonzero(wrong.reshape(len(block.ids), -1).any(axis=1))[0])
        row = first + int(np.searchsorted(np.cumsum(block.counts), place, side="right"))
        raise DataError(
            f"{where}, row {row}: code {worst}, but a vocabulary of {size} has 0 to {size - 1}; it"
            " was made with another tokenizer, or is another dialect"
        )


def _stand_ins(event_known: bool) -> str:
    """What stands for what the file does not say."""
    zeros = "run, luminosityBlock and jet_index are 0"
    event = "" if event_known else ", event counts the rows"
    return f"{zeros}{event}, jet_pt and jet_msoftdrop are -1, the axis is (0, 0): nothing says them"


class TokenImport:
    """Writes imported tokens as a token table; the file appears when the block ends well.

    Parameters
    ----------
    source, path
        The file of others, and the table to write.
    options
        What the file does not say.
    size, codebooks
        K and Q.
    features
        Names of the encoded features, as far as the dialect fixes them.
    fingerprint
        Of the tokenizer, where it is known.
    event_known
        Whether the file says the event of a jet; else its rows are counted.
    room
        Particles of a jet that the format has room for, where it does not say which jets were cut.
    """

    def __init__(
        self,
        source: Path,
        path: Path,
        options: Options,
        *,
        size: int,
        codebooks: int = 1,
        features: tuple[str, ...] = (),
        fingerprint: str = UNKNOWN,
        event_known: bool = False,
        room: int | None = None,
    ) -> None:
        self._source, self._options, self._size = source, options, size
        self._codebooks, self._room, self._full = codebooks, room, 0
        metadata = TokenMetadata(
            dataset=options.dataset or source.stem,
            tokenizer_fingerprint=fingerprint,
            vocabulary={"size": size, "codebooks": codebooks, "specials": {}},
            features=list(features),
            source_file=source.name,
            source_checksum=checksums(source)["sha256"],
        )
        self._writer = TokenWriter(path, metadata)
        self.report = Report(files=[path], notes=[_stand_ins(event_known)])

    def __enter__(self) -> "TokenImport":
        self._writer.__enter__()
        return self

    def __exit__(self, *failure: object) -> None:
        self._writer.__exit__(*failure)  # type: ignore[arg-type]
        if self._full:
            self.report.notes.append(
                f"{self._full:,} jets have {self._room} particles, as many as the format has room"
                " for, and may have lost more"
            )

    def write(self, block: TokenBlock) -> None:
        """Add jets; codes outside the vocabulary are refused."""
        check_ids(block, self._size, str(self._source), self.report.jets)
        n = len(block)
        split = self._splits(block.event)
        zero, none = np.zeros(n, np.float32), np.full(n, -1, np.float32)
        self._writer.write(
            pa.table(
                {
                    "run": np.zeros(n, np.int64),
                    "luminosityBlock": np.zeros(n, np.int64),
                    "event": block.event,
                    "jet_index": np.zeros(n, np.int32),
                    "label": block.label.astype(np.int32),
                    "split": split,
                    "jet_pt": none,
                    "jet_eta": zero,
                    "jet_phi": zero,
                    "jet_msoftdrop": none,
                    "n_constituents": block.counts.astype(np.int32),
                    "tokens": token_lists(block.ids, block.counts),
                }
            )
        )
        if self._room is not None:
            self._full += int((block.counts >= self._room).sum())
        self.report.jets += n
        self.report.particles += len(block.ids)

    def _splits(self, event: NDArray[np.int64]) -> pa.DictionaryArray:
        names = (*SPLITS, UNKNOWN)
        wanted = self._options.split or UNKNOWN
        if wanted == "hash":
            info = np.stack([np.zeros_like(event), np.zeros_like(event), event], axis=1)
            number = assign_split(info, Splits()).astype(np.int32)
        else:
            number = np.full(len(event), names.index(wanted), np.int32)
        return pa.DictionaryArray.from_arrays(pa.array(number), pa.array(names))
