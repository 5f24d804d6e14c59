"""Section ``jet_table``: how selected jets are shared out over HDF5 files."""

from pydantic import Field

from treasure.config.section import Section

__all__ = ["JetTableConfig"]


class JetTableConfig(Section):
    """Shards of the jet table; the layout itself is that of Aspen Open Jets."""

    jets_per_shard: int = Field(
        100_000,
        ge=1,
        description="Jets of one HDF5 file at most. Files are filled in the order of the events,"
        " and never divide an event.",
    )
