"""Source of kind ``cern_open_data``: the files of a record of the CERN Open Data portal."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from treasure.config.dataset import CernOpenDataSource, Dataset
from treasure.errors import ConfigError
from treasure.fileset.open_data import Sections, open_catalogue, processed_sections, provenance
from treasure.fileset.portal import Missing, https_address
from treasure.fileset.record import Record
from treasure.fileset.sources import FilesetSource, Located, register

__all__ = ["CernOpenDataFiles"]


@register
class CernOpenDataFiles(FilesetSource):
    """Files of a record, with the size and checksum that the portal gives them."""

    kind = "cern_open_data"

    def __init__(self, dataset: Dataset, simulated: Sequence[Path], base: Path) -> None:
        if not isinstance(dataset.source, CernOpenDataSource):
            raise TypeError(
                f"source of kind {dataset.source.kind!r}; 'cern_open_data' was expected"
            )
        self.source = dataset.source
        self.is_mc = dataset.is_mc
        self.configured(dataset.source)

    @cached_property
    def record(self) -> Record:
        """The record; looked up when it is first needed.

        Raises
        ------
        ConfigError
            If it is simulation and the dataset is said to be collision data, or the reverse.
        """
        source = self.source
        catalogue = open_catalogue(source.portal, folder=source.folder, offline=source.offline)
        record = Record(catalogue, source.record)
        if record.is_simulation and not self.is_mc:
            raise ConfigError(f"{record} is simulation, the dataset says is_mc: false; correct it")
        if record.validated_run_records and self.is_mc:
            raise ConfigError(
                f"{record} is collision data, the dataset says is_mc: true; correct it"
            )
        return record

    def locate(self) -> list[Located]:
        located = []
        for file in self.record.files(self.limit_files):
            url = file.uri
            if self.source.protocol == "https":
                url = https_address(url, self.source.portal)
            checksum = None if file.adler32 is None else f"adler32:{file.adler32:08x}"
            located.append(Located(url, url, file.size, checksum))
        return located

    def provenance(self) -> dict[str, Any]:
        return {**provenance(self.record), "luminosity_sections": self._sections[1]}

    def luminosity_sections(self) -> Sections | None:
        return self._sections[0]

    @cached_property
    def _sections(self) -> tuple[Sections | None, str]:
        """The sections that all files together should hold, and who says so, or why not."""
        if self.is_mc:
            return None, "none: simulation"
        if self.limit_files is not None or self.entry_start or self.entry_stop is not None:
            return None, "not known: a part of the record"
        try:
            return processed_sections(self.record)
        except Missing:
            # Without the reason: paths of this machine do not belong in a fileset.
            return (
                None,
                "not known: the list of validated runs, or the parent record, is not at hand",
            )
