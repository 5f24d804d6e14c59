"""Parts of a skim: parquet, one row a selected jet, candidates as lists, nothing padded."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from treasure.errors import DataError
from treasure.skim.record import CANDIDATE_COLUMNS, JET_COLUMNS, offsets_of
from treasure.store import atomic_file

__all__ = [
    "CUTFLOW",
    "EVENT_SCALARS",
    "SCHEMA",
    "column_of",
    "part_rows",
    "read_parts",
    "write_part",
]

CUTFLOW = "cutflow.json"  # beside the parts, written last
EVENT_SCALARS = ("run", "luminosityBlock", "event")
_INTEGER_CANDIDATES = ("charge", "pdgId")
_FORMAT = {"treasure_format": "skim", "treasure_schema_version": "1"}

SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.int64(), nullable=False) for name in EVENT_SCALARS),
        pa.field("genWeight", pa.float64(), nullable=False),
        pa.field("FatJet_index", pa.int32(), nullable=False),
        *(pa.field(f"FatJet_{name}", pa.float32(), nullable=False) for name in JET_COLUMNS),
        *(
            pa.field(
                f"PFCands_{name}",
                pa.list_(
                    pa.field(
                        "element",
                        pa.int32() if name in _INTEGER_CANDIDATES else pa.float32(),
                        nullable=False,
                    )
                ),
                nullable=False,
            )
            for name in CANDIDATE_COLUMNS
        ),
    ],
    metadata=_FORMAT,
)

# Parts are read once and then of no use. The fastest codec, and none where it gains next to
# nothing, takes two fifths off what it costs to write and read them.
_NOISE = ("px", "py", "pz", "E", "d0", "dz", "puppiWeight")
_COMPRESSION = {
    **{column.name: "lz4" for column in SCHEMA if not pa.types.is_list(column.type)},
    **{
        f"PFCands_{name}.list.element": "none" if name in _NOISE else "lz4"
        for name in CANDIDATE_COLUMNS
    },
}


def write_part(
    path: Path,
    scalars: dict[str, NDArray[Any]],
    counts: NDArray[np.int64],
    candidates: dict[str, NDArray[Any]],
) -> None:
    """Write one part, whole or not at all.

    Parameters
    ----------
    path
        Final name.
    scalars
        The columns of `SCHEMA` that are not lists, by their names there; shape (n_rows,).
    counts
        Candidates of each row; shape (n_rows,).
    candidates
        `CANDIDATE_COLUMNS`, flat.
    """
    offsets = _array(offsets_of(counts), pa.int32())
    arrays = []
    for column in SCHEMA:
        if column.name in scalars:
            arrays.append(_array(scalars[column.name], column.type))
        else:
            values = _array(
                candidates[column.name.removeprefix("PFCands_")], column.type.value_type
            )
            arrays.append(pa.ListArray.from_arrays(offsets, values, type=column.type))
    table = pa.Table.from_arrays(arrays, schema=SCHEMA)
    with atomic_file(path) as temporary:
        pq.write_table(
            table,
            temporary,
            compression=_COMPRESSION,
            use_dictionary=False,  # momenta do not repeat
            write_statistics=[column.name for column in SCHEMA if column.name in scalars],
            write_page_checksum=True,  # parquet itself does not notice a flipped bit
        )


def _array(values: NDArray[Any], kind: pa.DataType) -> pa.Array:
    """Numbers as they lie in memory: `pyarrow.array` would import pandas first."""
    whole = np.ascontiguousarray(values, kind.to_pandas_dtype())
    return pa.Array.from_buffers(kind, len(whole), [None, pa.py_buffer(whole)])


def _open(path: Path) -> pq.ParquetFile:
    try:
        part = pq.ParquetFile(path, page_checksum_verification=True)
    except FileNotFoundError:
        raise DataError(f"{path}: no such part of a skim; run SkimJets again") from None
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path}: not a readable parquet file ({error}); remove it and run SkimJets again"
        ) from error
    if not part.schema_arrow.equals(SCHEMA):
        missing = [name for name in SCHEMA.names if name not in part.schema_arrow.names]
        raise DataError(
            f"{path}: not a part of a skim"
            f" ({'no column ' + missing[0] if missing else 'columns of other types'}); run SkimJets"
            " again"
        )
    return part


def column_of(table: pa.Table, name: str) -> NDArray[Any]:
    """A column that is not a list, as it lies in memory; pyarrow's own way imports pandas."""
    return np.from_dlpack(table[name].combine_chunks())


def part_rows(path: Path) -> int:
    """Rows of a part, from its footer."""
    return int(_open(path).metadata.num_rows)


def read_parts(paths: Sequence[Path], rows: int) -> Iterator[pa.Table]:
    """Rows of several parts in their order, `rows` at a time (the last table may be shorter).

    Raises
    ------
    DataError
        If a part is missing, damaged, or not a part of a skim.
    """
    held: list[pa.Table] = []
    n_held = 0
    for path in paths:
        part = _open(path)
        missing = part.metadata.num_rows
        try:
            for batch in part.iter_batches(batch_size=rows):
                missing -= len(batch)
                held.append(pa.Table.from_batches([batch]))
                n_held += len(batch)
                while n_held >= rows:
                    table = pa.concat_tables(held)
                    yield table.slice(0, rows)
                    n_held -= rows
                    held = [table.slice(rows)] if n_held else []
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"{path}: cannot be read ({error}); remove it and run SkimJets again"
            ) from error
        if missing:  # a damaged page header can end the reading without an error
            raise DataError(
                f"{path}: {missing} rows fewer than its footer says; remove it and run SkimJets"
                " again"
            )
    if n_held:
        yield pa.concat_tables(held)
