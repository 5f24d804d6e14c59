"""What is handed to an executor: chunks of a file, and what is done with them where it runs."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from treasure.fileset.model import FilesetFile
from treasure.fileset.near import located
from treasure.fileset.staging import staged
from treasure.skim.processor import SkimProcessor
from treasure.skim.reading import check_checksum, chunk_bounds, read_file

__all__ = ["Job", "Skim", "jobs_of"]


@dataclass(frozen=True, slots=True)
class Job:
    """Chunks of one file that are read one after the other.

    Attributes
    ----------
    bounds
        Entries (start, stop) of the chunks.
    verify
        Compare the file with the fileset first, and read its luminosity blocks: once a file.
    """

    file: FilesetFile
    bounds: tuple[tuple[int, int], ...]
    verify: bool


def jobs_of(files: Sequence[FilesetFile], events_per_chunk: int, *, stage: bool) -> list[Job]:
    """All chunks of some files, in order: each a job, or all of a file that is staged.

    A copy on scratch is seen on one machine and removed when its file is read, so that a worker
    has at most one.
    """
    jobs = []
    for file in files:
        bounds = chunk_bounds(file, events_per_chunk)
        together = len(bounds) if stage else 1
        jobs += [
            Job(file, tuple(bounds[first : first + together]), verify=first == 0)
            for first in range(0, len(bounds), together)
        ]
    return jobs


@dataclass(frozen=True)
class Skim:
    """Runs the processor over a job, in this process or in a worker: it can be pickled."""

    dataset_name: str
    processor: SkimProcessor
    branches: list[str]
    stage: bool
    verify: bool = True

    def __call__(self, job: Job) -> tuple[dict[str, Any], set[tuple[int, int]]]:
        """What `treasure.skim.reading.read_file` gives."""
        if job.verify and self.verify:
            check_checksum(job.file)
        with staged(job.file) if self.stage else nullcontext(located(job.file.location)) as path:
            return read_file(
                job.file,
                path,
                self.dataset_name,
                self.processor,
                bounds=job.bounds,
                branches=self.branches,
                verify=job.verify,
            )
