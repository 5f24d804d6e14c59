"""Compressed token tables: parquet, with the entropy-coded ids of a row group in one value."""

from treasure.tokens.compressed.table import CompressedTable, read_compressed
from treasure.tokens.compressed.write import decompress, write_compressed

__all__ = ["CompressedTable", "decompress", "read_compressed", "write_compressed"]
