"""Formats of others: what our tables are exported to, and imported from.

A dialect is one class, ``class Mine(Dialect, kind="mine")`` with `write` and `read`; one of your
own is named ``package.module:Class``.
"""

from dataclasses import fields
from pathlib import Path

from treasure.errors import DataError
from treasure.plugins import lookup
from treasure.tokens.dialects import (  # noqa: F401  what a command may name
    aoj,
    gabbro,
    heptokens,
    heptokens_npz,
    jetclass,
    nanoaod,
)
from treasure.tokens.dialects.dialect import Dialect, Options, Report
from treasure.tokens.dialects.parquet import columns_of

__all__ = ["Dialect", "Options", "Report", "export_file", "import_file"]


def export_file(source: Path, path: Path, dialect: str, options: Options | None = None) -> Report:
    """Write a table of ours in another format.

    Parameters
    ----------
    source
        A token table (parquet), or for ``jetclass`` also a jet table (HDF5).
    path
        The file to write; for ``gabbro`` also a folder.
    dialect
        ``gabbro``, ``heptokens``, ``heptokens-npz``, ``jetclass``, or ``package.module:Class``.
    options
        What the table does not say.

    Raises
    ------
    DataError
        If the table does not fit the format, or is damaged.
    """
    options = options or Options()
    _distinct(source, path)
    writer = lookup(Dialect, dialect)()
    _meaningful(options, writer.writes, f"an export to {dialect}")
    return writer.write(source, path, options)


def import_file(
    source: Path, path: Path, dialect: str | None = None, options: Options | None = None
) -> Report:
    """Read a file of another format into a jet table, a token table or a tokenizer of ours.

    Parameters
    ----------
    source
        The file; or a folder with a tokenizer of gabbro.
    path
        What to write: HDF5 for jets (``aoj``, ``jetclass``, ``nanoaod``), parquet for tokens, a
        folder for a tokenizer.
    dialect
        As in `export_file`, or ``aoj`` or ``nanoaod``. None: recognised from the file.
    options
        What the file does not say.

    Raises
    ------
    DataError
        If the file is damaged, or is not what the description of its format says.
    """
    options = options or Options()
    if not source.exists():
        raise DataError(f"{source}: no such file or folder")
    _distinct(source, path)
    if not -1 <= (options.label or 0) < 2**31:
        raise DataError(f"--label {options.label}: a class is a number from 0 on, or -1: unknown")
    if dialect is None:
        found = [kind for kind, one in sorted(Dialect.kinds.items()) if one.recognises(source)]
        if len(found) != 1:
            known = ", ".join(sorted(Dialect.kinds))
            unknown = f"cannot tell which dialect it is; say --dialect ({known})"
            raise DataError(f"{source}: {_ours(source) or unknown}")
        dialect = found[0]
    reader = lookup(Dialect, dialect)()
    _meaningful(options, reader.reads, f"an import of {dialect}")
    _must_end(source, path, reader)
    return reader.read(source, path, options)


def _must_end(source: Path, path: Path, reader: Dialect) -> None:
    """What is written has a name that says what it is."""
    if source.is_dir():  # a tokenizer, which becomes a folder
        if path.suffix in (".h5", ".hdf5", ".parquet"):
            raise DataError(f"{path}: a tokenizer is a folder; name one without {path.suffix}")
    elif reader.imports_to and path.suffix not in reader.imports_to:
        raise DataError(
            f"{path}: {reader.kind} is imported to {' or '.join(reader.imports_to)}; name the file"
            " so"
        )


def _ours(source: Path) -> str | None:
    """What to do with a file that is one of ours already."""
    columns = set(columns_of(source))
    if "tokens_coded" in columns:
        return "a compressed token table of treasure; use treasure decompress"
    return "a token table of treasure already" if {"tokens", "jet_msoftdrop"} <= columns else None


def _meaningful(options: Options, meaning: frozenset[str] | None, what: str) -> None:
    """No option is given that would do nothing."""
    for one in fields(options):
        given = getattr(options, one.name) not in (None, {})
        if given and meaning is not None and one.name not in meaning:
            option = "name" if one.name == "names" else one.name
            raise DataError(f"--{option} means nothing to {what}; leave it out")


def _distinct(source: Path, path: Path) -> None:
    if path.exists() and source.exists() and path.resolve() == source.resolve():
        raise DataError(f"{path}: is the file that is read; choose another name")
