"""`treasure inspect`: what a file is, how much is in it, its first rows, its provenance."""

from pathlib import Path

from treasure.errors import DataError

__all__ = ["inspect_path"]


def inspect_path(path: Path, rows: int) -> None:
    """Print what is at a path; the kind is recognised from its name and content."""
    from treasure.cli.folders import inspect_directory, provenance

    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    # Each kind is a module of its own, so that only the packages that it needs are loaded.
    if path.is_dir():
        inspect_directory(path)
    elif path.suffix == ".root":
        from treasure.cli.root_files import inspect_root

        inspect_root(path, rows)
    elif path.suffix in (".h5", ".hdf5"):
        from treasure.cli.jet_tables import inspect_h5

        inspect_h5(path, rows)
    elif path.suffix == ".parquet":
        from treasure.cli.parquet_files import inspect_parquet

        inspect_parquet(path, rows)
    elif path.suffix == ".json":
        from treasure.cli.json_files import inspect_json

        inspect_json(path)
    else:
        raise DataError(
            f"{path}: neither .root, .h5, .parquet nor .json, nor a folder with a manifest;"
            " cannot tell what it is"
        )
    provenance(path)
