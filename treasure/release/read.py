"""Reading a release, as a user of the dataset does: nothing is handed out unverified."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from treasure.errors import DataError
from treasure.release.manifest import Manifest
from treasure.store import MANIFEST, checksums
from treasure.tokens.table import TokenTable

__all__ = ["Release"]


class Release:
    """A release on this machine.

    Opening it reads the manifest and looks at the size of every file; the bytes of a file are
    checked against their SHA-256 when the file is first asked for.

    Parameters
    ----------
    path
        Directory of the release.

    Raises
    ------
    DataError
        If it is not a complete release, or a file is missing or has another size.

    Examples
    --------
    >>> release = Release("published/jets/v1")                      # doctest: +SKIP
    >>> for table in release.tables("ttbar", "train"):              # doctest: +SKIP
    ...     print(table.num_rows)
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.manifest = Manifest.load(self.path)
        self._verified: set[str] = set()
        for name, file in self.manifest.files.items():
            found = self.path / name
            if not found.is_file():
                raise DataError(f"{found}: missing, but {self.path / MANIFEST} lists it")
            if (size := found.stat().st_size) != file.size:
                raise DataError(
                    f"{found}: {size} bytes, but {self.path / MANIFEST} says {file.size}; fetch "
                    "this file again"
                )

    @property
    def datasets(self) -> list[str]:
        """Names of the datasets."""
        return sorted(self.manifest.datasets)

    @property
    def tokenizer_directory(self) -> Path:
        """Artefact of the tokenizer, verified: for `Tokenizer.load`."""
        folder = self.manifest.tokenizer.path
        for name in self.manifest.files:
            if name.startswith(f"{folder}/"):
                self._verify(name)
        return self.path / folder

    def rows(self, dataset: str | None = None, split: str | None = None) -> int:
        """Number of rows, of one dataset and one split or of all."""
        self._check(dataset, split)
        return self.manifest.rows(dataset, split)

    def files(self, dataset: str, split: str | None = None) -> list[Path]:
        """Verified token files of a dataset, sorted by split and name; empty if it has no rows.

        Raises
        ------
        DataError
            If a file is damaged, or the release has no such dataset or split.
        """
        self._check(dataset, split)
        names = self.manifest.token_files(dataset, split)
        for name in names:
            self._verify(name)
        return [self.path / name for name in names]

    def tables(
        self,
        dataset: str,
        split: str | None = None,
        *,
        columns: list[str] | None = None,
        rows: int = 10_000,
    ) -> Iterator[pa.Table]:
        """Rows of a dataset in tables of at most `rows` rows; every page is verified.

        Raises
        ------
        DataError
            As `files`, or if the release has no such column.
        """
        known = [column.name for column in self.manifest.schemas["tokens"]]
        if unknown := [name for name in columns or [] if name not in known]:
            raise DataError(f"{self.path}: no column {unknown[0]!r}; there are {', '.join(known)}")
        for path in self.files(dataset, split):
            with TokenTable(path) as table:
                for group in table.chunks(columns):
                    for first in range(0, len(group), rows):
                        yield group.slice(first, rows)

    def verify(self) -> None:
        """Check every file of the release.

        Raises
        ------
        DataError
            Naming the first damaged file.
        """
        for name in self.manifest.files:
            self._verify(name)

    def _verify(self, name: str) -> None:
        if name in self._verified:
            return
        path, expected = self.path / name, self.manifest.files[name]
        found = checksums(path)
        if (found["size"], found["sha256"]) != (expected.size, expected.sha256):
            raise DataError(
                f"{path}: sha256 is {found['sha256']}, but {self.path / MANIFEST} says "
                f"{expected.sha256}; the file was damaged or changed, fetch it again"
            )
        self._verified.add(name)

    def _check(self, dataset: str | None, split: str | None) -> None:
        if dataset is not None and dataset not in self.manifest.datasets:
            raise DataError(
                f"{self.path}: no dataset {dataset!r}; there are {', '.join(self.datasets)}"
            )
        splits = {key for entry in self.manifest.datasets.values() for key in entry.rows}
        if split is not None and split not in splits:
            raise DataError(
                f"{self.path}: no split {split!r}; there are {', '.join(sorted(splits))}"
            )
