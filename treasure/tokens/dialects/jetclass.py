"""Jets as JetClass has them: parquet to export, parquet or ROOT to import."""

from pathlib import Path
from typing import ClassVar

from treasure.errors import DataError
from treasure.plugins import lookup
from treasure.tokens.dialects.dialect import OF_JETS, Dialect, Options, Report
from treasure.tokens.dialects.parquet import columns_of

__all__ = ["JetClass"]


class JetClass(Dialect, kind="jetclass"):
    """Particles and jets by JetClass's names, from a jet table or from decoded tokens."""

    summary: ClassVar[str] = "JetClass: parquet (import also ROOT), columns part_px … jet_label"
    imports_to: ClassVar[tuple[str, ...]] = (".h5", ".hdf5")
    reads: ClassVar[frozenset[str]] = OF_JETS | {"names", "tree"}
    writes: ClassVar[frozenset[str]] = frozenset({"tokenizer", "codebook", "names"})

    @classmethod
    def recognises(cls, source: Path) -> bool:
        if source.suffix == ".root":
            return not lookup(Dialect, "nanoaod").recognises(source)
        return "part_px" in columns_of(source)

    def write(self, source: Path, path: Path, options: Options) -> Report:
        from treasure.tokens.dialects.jetclass_write import write_jetclass

        if path.suffix != ".parquet":
            raise DataError(f"{path}: JetClass is exported as .parquet; give such a name")
        return write_jetclass(source, path, options)

    def read(self, source: Path, path: Path, options: Options) -> Report:
        from treasure.tokens.dialects.jetclass_read import read_jetclass

        return read_jetclass(source, path, options)
