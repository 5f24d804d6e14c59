"""The token table: parquet, one row a jet, with its own description and page checksums.

Columns are those of `schema`. Ids run from 0 to K - 1, without special tokens and without padding.
The metadata of the file says which tokenizer made it, of which file, with which features.
Parquet does not notice a flipped bit unless page checksums are written and asked for: both happen
here, always.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from treasure.errors import DataError
from treasure.store import atomic_file, canonical_json, fingerprint
from treasure.tokens.checked import CheckedParquet, checked_description

__all__ = [
    "COMPRESSION_LEVEL",
    "COUNTS",
    "ENCODINGS",
    "FORMAT_VERSION",
    "KEY",
    "ROW_GROUP",
    "TokenMetadata",
    "TokenTable",
    "TokenWriter",
    "check_rows",
    "counts_text",
    "read_tokens",
    "schema",
    "token_lists",
    "write_tokens",
]

FORMAT_VERSION = 1
ROW_GROUP = 100_000
KEY = "treasure_tokens"
COUNTS = "treasure_counts"
_LOST = ("clipped_particles", "cut_particles")  # not known of a part of a table
COMPRESSION_LEVEL = 9
# Encodings that a measurement chose, see docs/compression.md; other columns are plain.
ENCODINGS = {
    **dict.fromkeys(("jet_pt", "jet_eta", "jet_phi", "jet_msoftdrop"), "BYTE_STREAM_SPLIT"),
    **dict.fromkeys(("event", "jet_index", "n_constituents"), "DELTA_BINARY_PACKED"),
}


@dataclass(frozen=True)
class TokenMetadata:
    """What a token file says of itself.

    Attributes
    ----------
    dataset
        Name of the dataset.
    tokenizer_fingerprint
        SHA-256 of the tokenizer, see `treasure.tokenizer.artefact.Tokenizer.fingerprint`.
    vocabulary
        ``{"size": K, "codebooks": Q, "specials": {}}``.
    features
        Names of the encoded features of a particle.
    source_file, source_checksum
        Name and SHA-256 of the jet table.
    """

    dataset: str
    tokenizer_fingerprint: str
    vocabulary: Mapping[str, Any]
    features: Sequence[str]
    source_file: str
    source_checksum: str
    format_version: int = field(default=FORMAT_VERSION)

    @property
    def size(self) -> int:
        """K, the number of ids."""
        return int(self.vocabulary["size"])

    @property
    def codebooks(self) -> int:
        """Q, the ids of a particle."""
        return int(self.vocabulary["codebooks"])


def schema(codebooks: int = 1) -> pa.Schema:
    """Columns of a token table.

    `tokens` is list<int32>, or list<fixed_size_list<int32, Q>> with Q > 1 codebooks.
    """
    particle = pa.int32() if codebooks == 1 else pa.list_(pa.int32(), codebooks)
    return pa.schema(
        [
            pa.field("run", pa.int64(), nullable=False),
            pa.field("luminosityBlock", pa.int64(), nullable=False),
            pa.field("event", pa.int64(), nullable=False),
            pa.field("jet_index", pa.int32(), nullable=False),
            pa.field("label", pa.int32(), nullable=False),
            pa.field("split", pa.dictionary(pa.int32(), pa.string()), nullable=False),
            pa.field("jet_pt", pa.float32(), nullable=False),
            pa.field("jet_eta", pa.float32(), nullable=False),
            pa.field("jet_phi", pa.float32(), nullable=False),
            pa.field("jet_msoftdrop", pa.float32(), nullable=False),
            pa.field("n_constituents", pa.int32(), nullable=False),
            pa.field("tokens", pa.list_(particle), nullable=False),
        ]
    )


def token_lists(ids: NDArray[np.integer[Any]], counts: NDArray[np.integer[Any]]) -> pa.Array:
    """The column `tokens` of ids (P,) or (P, Q) of jets with `counts` particles."""
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    values: Any = pa.array(ids.astype(np.int32, copy=False).reshape(-1))
    if ids.ndim == 2 and ids.shape[1] > 1:
        values = pa.FixedSizeListArray.from_arrays(values, ids.shape[1])
    return pa.ListArray.from_arrays(pa.array(offsets), values)


class TokenWriter:
    """Writes a token table in row groups as rows come; the file appears when the block ends well.

    Parameters
    ----------
    path
        The parquet file.
    metadata
        What the file says of itself.
    row_group
        Rows a row group.

    Raises
    ------
    DataError
        From `write`, for rows that break the contract.
    """

    def __init__(self, path: Path, metadata: TokenMetadata, row_group: int = ROW_GROUP) -> None:
        self.path, self.metadata, self._row_group = Path(path), metadata, row_group
        content = asdict(metadata)
        # Parquet has no checksum over its own metadata.
        text = canonical_json({**content, "checksum": fingerprint(content)})
        self._schema = schema(metadata.codebooks).with_metadata({KEY: text})
        self._waiting: list[pa.Table] = []
        self._file = atomic_file(self.path)
        self.rows = 0
        self.particles = 0
        self.clipped_particles: int | None = 0
        self.cut_particles: int | None = 0

    def __enter__(self) -> Self:
        temporary = self._file.__enter__()
        try:
            self._writer = pq.ParquetWriter(
                temporary,
                self._schema,
                compression="zstd",
                compression_level=COMPRESSION_LEVEL,
                use_dictionary=["split", "tokens.list.element"],
                column_encoding=ENCODINGS,
                write_page_checksum=True,
                version="2.6",
            )
        except BaseException as failure:  # it writes at once: there may be no room
            self._file.__exit__(type(failure), failure, failure.__traceback__)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._flush(everything=True)
                counts = {"rows": self.rows, "particles": self.particles}
                lost = {name: getattr(self, name) for name in _LOST}
                counts |= {name: value for name, value in lost.items() if value is not None}
                self._writer.add_key_value_metadata({COUNTS: counts_text(counts)})
            self._writer.close()
        except BaseException as failure:
            self._file.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._file.__exit__(kind, error, trace)

    def write(self, rows: pa.Table, clipped_particles: int = 0, cut_particles: int = 0) -> None:
        """Add rows with the columns of `schema`, in any order of columns.

        `clipped_particles` were outside the range of the features; `cut_particles` are no tokens,
        since the jets had too many.
        """
        try:
            rows = rows.select(self._schema.names).cast(self._schema)
        except (KeyError, ValueError, pa.ArrowException) as error:
            raise DataError(f"{self.path}: rows do not fit the token table: {error}") from error
        check_rows(rows, self.metadata, str(self.path))
        self._waiting.append(_copied(rows))
        self.rows += len(rows)
        self.particles += pc.sum(rows["n_constituents"]).as_py() or 0
        self.clipped_particles = (self.clipped_particles or 0) + clipped_particles
        self.cut_particles = (self.cut_particles or 0) + cut_particles
        self._flush(everything=False)

    def _flush(self, *, everything: bool) -> None:
        if not self._waiting:
            return
        table = pa.concat_tables(self._waiting).unify_dictionaries()
        while len(table) >= self._row_group or (everything and len(table)):
            self._writer.write_table(
                table.slice(0, self._row_group).combine_chunks(), row_group_size=self._row_group
            )
            table = table.slice(self._row_group)
        self._waiting = [table] if len(table) else []


class TokenTable(CheckedParquet):
    """Reader of a token table.

    Opening checks the format version, the columns and the vocabulary; reading checks every page.

    Parameters
    ----------
    path
        The parquet file.

    Attributes
    ----------
    metadata : TokenMetadata
    counts : dict
        ``rows``, ``particles``, ``clipped_particles`` and ``cut_particles``, as they were written
        (of a part of a table, such as a split in a release, the first two).

    Raises
    ------
    DataError
        Naming the file that is missing, damaged, of a newer version, or no token table.
    """

    called = "a token table (parquet)"

    def _describe(self) -> None:
        stored = self._file.metadata.metadata or {}
        text = stored.get(KEY.encode())
        if text is None:
            hint = ""
            if b"treasure_compressed_tokens" in stored:
                hint = (
                    "; it is a compressed one, which `treasure decompress` or read_compressed reads"
                )
            raise DataError(f"{self.path}: parquet, but no token table (no metadata {KEY!r}){hint}")
        try:
            self.metadata = TokenMetadata(**checked_description(text, FORMAT_VERSION, self.path))
            counts = json.loads(stored[COUNTS.encode()])
            # files from before there was one have none
            if counts.pop("checksum", None) not in (None, fingerprint(counts)):
                raise ValueError(f"the checksum of {COUNTS!r} does not fit")
            self.counts = {name: int(counts[name]) for name in ("rows", "particles")}
            self.counts |= {name: int(counts[name]) for name in _LOST if name in counts}
            if min(self.metadata.size, self.metadata.codebooks) < 1:
                raise ValueError("its vocabulary has no ids")
            expected = schema(self.metadata.codebooks)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{self.path}: its metadata {KEY!r} is damaged ({error})") from error
        self._expect(expected, self.counts["rows"], "the token table")

    def row_group(
        self, number: int, columns: Sequence[str] | None = None, *, threads: bool = True
    ) -> pa.Table:
        """One row group, as a table of the columns (default: all).

        Raises
        ------
        DataError
            Naming the rows where a page is damaged, or ids are out of range.
        """
        table = self._stored(number, columns or schema().names, threads=threads)
        check_rows(table, self.metadata, self.where(number))
        return table


def counts_text(counts: Mapping[str, int]) -> str:
    """The counts of a table as its file has them, with a checksum."""
    return canonical_json({**counts, "checksum": fingerprint(counts)})


def _copied(rows: pa.Table) -> pa.Table:
    """The same rows in one block of Arrow's own memory.

    Arrays of others, kept while thousands more come and go, would lie scattered between these, and
    no memory around them could be used again or given back.
    """
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_table(rows)
    return pa.ipc.open_stream(sink.getvalue()).read_all()


def write_tokens(path: Path, rows: pa.Table, metadata: TokenMetadata) -> None:
    """Write a token table in one go; see `TokenWriter`."""
    with TokenWriter(path, metadata) as writer:
        writer.write(rows)


def read_tokens(path: str | Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A whole token table (or some columns) in memory, verified; see `TokenTable`."""
    with TokenTable(path) as table:
        return table.whole(columns, schema(table.metadata.codebooks))


def check_rows(rows: pa.Table, metadata: TokenMetadata, where: str) -> None:
    """Ids within the vocabulary, and one for each constituent."""
    if "tokens" not in rows.column_names or not len(rows):
        return
    tokens = rows["tokens"]
    ids = pc.list_flatten(tokens)
    if metadata.codebooks > 1:
        ids = pc.list_flatten(ids)
    if ids.null_count:
        raise DataError(f"{where}: {ids.null_count} tokens are missing (null)")
    if len(ids):
        limits = pc.min_max(ids).as_py()
        if limits["min"] < 0 or limits["max"] >= metadata.size:
            raise DataError(
                f"{where}: ids from {limits['min']} to {limits['max']}, but the vocabulary has"
                f" 0 to {metadata.size - 1}"
            )
    if "n_constituents" in rows.column_names:
        lengths = pc.cast(pc.list_value_length(tokens), pa.int32())
        if not pc.all(pc.equal(lengths, rows["n_constituents"])).as_py():
            raise DataError(f"{where}: n_constituents differs from the number of tokens")
