"""Reading one file of a fileset: verify it, divide it into chunks, run a processor over them."""

import itertools
import time
import uuid
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import uproot
from coffea.processor import IterativeExecutor, Runner, accumulate
from coffea.processor.executor import WorkItem

from treasure.errors import DataError, TreasureError
from treasure.fileset.inspection import adler32_of, same_checksum
from treasure.fileset.model import FilesetFile, is_url
from treasure.fileset.opening import close_kept, options_for_chunks
from treasure.fileset.remote import (
    RemoteFile,
    Unreachable,
    forget_open,
    may_pass,
    patiently,
    remote_file,
)
from treasure.skim.luminosity_blocks import luminosity_blocks
from treasure.skim.memory import keep_freed_memory, release_chunk
from treasure.skim.processor import SkimProcessor, SkimSchema
from treasure.store import MANIFEST

__all__ = ["check_checksum", "check_size", "chunk_bounds", "read_file"]

# Seconds before a chunk whose server failed is read again: servers are restarted within a minute.
_PAUSES = (2.0, 10.0, 30.0)


class _PatientExecutor(IterativeExecutor):
    """One chunk after the other, again where a server failed.

    Coffea's own draws a progress bar that cannot be switched off, and repeats at once, and
    whatever the reason was.
    """

    def __call__(self, items: Any, function: Any, accumulator: Any) -> Any:
        keep_freed_memory()

        def attempt(item: Any) -> Any:
            for pause in (*_PAUSES, None):
                try:
                    return function(item)
                except Exception as error:
                    forget_open(item.filename)
                    if pause is None or not is_url(item.filename) or not may_pass(error):
                        raise
                time.sleep(pause)

        def results() -> Iterator[Any]:
            for item in items:
                yield attempt(item)
                release_chunk()

        return accumulate(results(), accumulator), 0


def chunk_bounds(file: FilesetFile, most: int) -> list[tuple[int, int]]:
    """Entries (start, stop) of the chunks of a file's range: as few and as even as can be.

    Parameters
    ----------
    most
        Entries that a chunk may have.
    """
    start, stop = file.entry_range
    number = -(-(stop - start) // most)
    bounds = [start + (stop - start) * i // number for i in range(number)] + [stop]
    return list(itertools.pairwise(bounds))


def check_size(file: FilesetFile) -> None:
    """DataError if a file is gone, or not of the size that the fileset says.

    Nor of its checksum, where a server tells that.
    """
    if is_url(file.location):
        told = _told_by_server(file)
        size = told.size
        if told.adler32 is not None:
            _compare_checksums(file, told.adler32)
    else:
        path = Path(file.location)
        if not path.is_file():
            raise DataError(
                f"{path}: no such file, but the fileset lists it; bring it back, or give the new"
                " files a --version of their own"
            )
        size = path.stat().st_size
    if size != file.size:
        raise _changed(file, "size", size, file.size)


def _told_by_server(file: FilesetFile) -> RemoteFile:
    for pause in _PAUSES:
        try:
            return remote_file(file.location)
        except Unreachable:
            time.sleep(pause)
    return remote_file(file.location)


def check_checksum(file: FilesetFile) -> None:
    """DataError if a local file has not the checksum that the fileset says.

    Not all that ROOT writes carries a checksum of its own: a flipped bit in a basket compressed
    with ZSTD, or not at all, would be another number.
    """
    if file.checksum is None or is_url(file.location):
        return
    try:
        found = adler32_of(file.location)
    except OSError as error:
        raise DataError(
            f"{file.location}: cannot be read ({error.strerror}); check the disk and the"
            " permissions"
        ) from error
    _compare_checksums(file, found)


def _compare_checksums(file: FilesetFile, adler32: str) -> None:
    found = f"adler32:{adler32}"
    if file.checksum is not None and not same_checksum(found, file.checksum):
        raise DataError(
            f"{file.location}: damaged, or changed since the fileset was made: its checksum is"
            f" {found}, was {file.checksum}; {_bring_back(file)}"
        )


def read_file(
    file: FilesetFile,
    path: str,
    dataset_name: str,
    processor: SkimProcessor,
    *,
    bounds: Iterable[tuple[int, int]],
    branches: list[str],
    verify: bool = True,
) -> tuple[dict[str, Any], set[tuple[int, int]]]:
    """Run a processor over chunks of a file.

    Parameters
    ----------
    file, path
        The file as the fileset knows it, and what to open: its location, or a copy of it.
    processor
        Gets every chunk, with the file's location as ``metadata["filename"]``.
    bounds
        Entries (start, stop) of the chunks.
    branches
        Names and globs of the branches to read.
    verify
        Compare the file with the fileset first, and read its luminosity blocks: once a file.

    Returns
    -------
    What the processor returned, added up, and luminosity sections (run, section): those of the
    chunks, and with `verify` those of the file where it is read whole.

    Raises
    ------
    DataError
        If the file is another one than that of the fileset, is damaged, or a chunk was lost.
    """
    options = options_for_chunks(path)
    try:
        blocks = None
        if verify and is_url(path):
            blocks = patiently(lambda: _verified(file, path, options), path)
        elif verify:
            blocks = _verified(file, path, options)
        chunks = [
            WorkItem(
                dataset=dataset_name,
                filename=path,
                treename=file.tree,
                entrystart=start,
                entrystop=stop,
                fileuuid=uuid.UUID(file.uuid).bytes,
                usermeta={"filename": file.location},
            )
            for start, stop in bounds
        ]
        runner = Runner(
            executor=_PatientExecutor(retries=0),  # it has a rule of its own
            schema=SkimSchema,
            skipbadfiles=False,
            processor_compression=None,  # run this very instance: it tells the progress
        )
        with warnings.catch_warnings():
            # Counters and collections of branches that are left aside.
            warnings.filterwarnings("ignore", module="coffea.nanoevents")
            result = runner.run(
                chunks,
                processor_instance=processor,
                uproot_options=options,
                # Trees of the experiments have thousands of branches more than are read.
                iteritems_options={"filter_name": branches},
            )
    except Exception as error:
        close_kept()
        raise _explained(error, file) from error
    if path != file.location:  # a copy that is removed
        close_kept()
    lost = set(chunks) - set(result["processed"])
    if lost:
        first = min(chunk.entrystart for chunk in lost)
        raise DataError(
            f"{file.location}: {len(lost)} of {len(chunks)} chunks were not processed, the first"
            f" from entry {first}; run again"
        )
    out = result["out"]
    return out, (blocks or set()) | out.get("sections", set())


def _verified(file: FilesetFile, path: str, options: dict[str, Any]) -> set[tuple[int, int]] | None:
    """Luminosity blocks of a file that is read whole and is the one of the fileset."""
    with uproot.open({path: None}, **options) as opened:
        if str(opened.file.uuid) != file.uuid:
            raise _changed(file, "UUID", opened.file.uuid, file.uuid)
        entries = int(opened[file.tree].num_entries)
        if entries != file.entries:
            raise _changed(file, "number of entries", entries, file.entries)
        return luminosity_blocks(opened) if file.selected_entries == entries else None


def _changed(file: FilesetFile, what: str, now: object, then: object) -> DataError:
    return DataError(
        f"{file.location}: file changed since the fileset was made: {what} is {now}, was {then};"
        f" {_bring_back(file)}"
    )


def _bring_back(file: FilesetFile) -> str:
    """What to do about a file that is not as the fileset says."""
    folder = Path(file.location).parent
    if not is_url(file.location) and (folder / MANIFEST).is_file():  # made by an earlier stage
        return f"remove {folder} and run SimulatePFNano again, which makes the same file"
    again = "put it back" if is_url(file.location) else "copy it again from where it came"
    return f"{again}; if it was meant to change, give the new files a --version of their own"


def _explained(error: Exception, file: FilesetFile) -> TreasureError:
    """What went wrong, out of the layers that coffea puts around it."""
    cause: BaseException | None = error
    innermost: BaseException = error
    while cause is not None:
        if isinstance(cause, TreasureError):
            return cause
        innermost = cause
        cause = cause.__cause__
    text = " ".join(f"{type(innermost).__name__}: {innermost}".split())[:300]
    remedy = (
        "the file may be damaged: compare it with where it comes from. If it is, copy or make it"
        " again and take another --version, since the fileset knows the damaged one; or take it off"
        " the list (source.files)"
    )
    if is_url(file.location) and may_pass(error):
        remedy = "the server failed several times: run again, or set source.stage to true"
    return DataError(f"{file.location}: cannot be read ({text}); {remedy}")
