"""Jets of other formats as a jet table."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from treasure.errors import DataError
from treasure.jets.compress import ChunkWriter, create_compressed
from treasure.jets.table import CANDIDATE_COLUMNS, JetChunk
from treasure.jets.write import (
    BLOCK_ROWS,
    CANDIDATE_CHUNK_ROWS,
    NARROW_CHUNK_ROWS,
    NarrowKeys,
    new_file,
    write_attributes,
)
from treasure.store import atomic_file

__all__ = ["write_imported"]


def write_imported(
    path: Path,
    chunks: Iterable[JetChunk],
    *,
    rows: int,
    slots: int,
    attributes: Mapping[str, Any],
) -> None:
    """Write a jet table of rows that come from anywhere.

    Parameters
    ----------
    path
        The HDF5 file; made whole or not at all. The same rows give the same bytes.
    chunks
        All rows in order, in portions of any size.
    rows, slots
        How many rows come in all, and slots for candidates of each.
    attributes
        Of the file; read when all rows were written, so that what was counted on the way may be
        put in.

    Raises
    ------
    DataError
        If there are more or fewer rows than announced.
    """
    done = 0
    with atomic_file(path) as temporary, new_file(temporary) as file, ChunkWriter() as writer:
        kinematics = create_compressed(file, "jet_kinematics", rows, (4,), NARROW_CHUNK_ROWS)
        tagging = create_compressed(file, "jet_tagging", rows, (13,), NARROW_CHUNK_ROWS)
        trailing = (slots, len(CANDIDATE_COLUMNS))
        particles = create_compressed(file, "PFCands", rows, trailing, CANDIDATE_CHUNK_ROWS)
        narrow = NarrowKeys(file, rows)
        for block in _blocks(chunks, BLOCK_ROWS):
            last = len(block) < BLOCK_ROWS
            if done + len(block) > rows or (last and done + len(block) != rows):
                raise DataError(
                    f"{path}: {done + len(block)} jets came, but {rows} were announced; the file"
                    " that is imported is not whole"
                )
            narrow.write(
                done,
                {"event_info": block.event_info, "label": block.label, "split": block.split},
            )
            zero = np.float32(0)  # −0 becomes 0
            writer.write(kinematics, done, block.kinematics + zero)
            writer.write(tagging, done, block.tagging + zero)
            writer.write(particles, done, block.candidates + zero)
            done += len(block)
        if done != rows:
            raise DataError(f"{path}: {done} jets came, but {rows} were announced")
        narrow.finish()
        write_attributes(file, attributes)


def _blocks(chunks: Iterable[JetChunk], rows: int) -> Iterator[JetChunk]:
    """The same rows in portions of equal size, the last one smaller."""
    waiting: list[JetChunk] = []
    held = 0
    for chunk in chunks:
        waiting.append(chunk)
        held += len(chunk)
        while held >= rows:
            joined = _joined(waiting)
            yield joined[:rows]
            waiting = [joined[rows:]]
            held -= rows
    if held:
        yield _joined(waiting)


def _joined(chunks: list[JetChunk]) -> JetChunk:
    if len(chunks) == 1:
        return chunks[0]
    return JetChunk(
        *(np.concatenate([getattr(c, field.name) for c in chunks]) for field in fields(JetChunk))
    )
