"""Section ``datasets.<name>``: where the events of a dataset are, and what they are."""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from treasure.config.section import Section, kind_among
from treasure.config.simulation import SimulationSource

__all__ = ["CernOpenDataSource", "Dataset", "FileSource", "LocalSource", "Source"]

_XROOTD = ("root://", "xroot://", "roots://", "xroots://")


class FileSource(Section):
    """What all sources of existing ROOT files share."""

    tree: str = Field("Events", min_length=1, description="Name of the TTree with the events.")
    limit_files: int | None = Field(
        None,
        ge=1,
        description="Only so many files, the first in the order of the fileset. null: all.",
    )
    entry_start: int = Field(
        0, ge=0, description="First entry to read of each file; a shorter file gives none."
    )
    entry_stop: int | None = Field(
        None, ge=1, description="Read each file up to, not including, this entry. null: to its end."
    )
    allowed_bad_files: int = Field(
        0,
        ge=0,
        description="How many unreadable or empty files may be left out. They are listed in the"
        " fileset; one more is an error.",
    )
    stage: bool = Field(
        False,
        description="Copy each remote file to the scratch directory ($TREASURE_SCRATCH, else"
        " $TMPDIR, else /tmp), verified, before it is read, and remove it afterwards. Changes no"
        " result.",
    )
    verify: bool = Field(
        True,
        description="Before the skim reads a local file, compare its checksum with that of the"
        " fileset: the file is read once more, whole. Damage that decompression does not notice"
        " goes into the results otherwise.",
    )

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.entry_stop is not None and self.entry_stop <= self.entry_start:
            raise ValueError(
                f"entry_stop ({self.entry_stop}) is not above entry_start ({self.entry_start})"
            )
        return self


class LocalSource(FileSource):
    """ROOT files that the user names: on a file system, or on servers."""

    kind: Literal["local", "xrootd", "fsspec"] = Field(
        "local",
        description="local: paths, or URLs. xrootd: root:// URLs only. fsspec: URLs only, of any"
        " scheme that fsspec opens (https://, s3://, …).",
    )
    files: list[str] = Field(
        min_length=1,
        description="Where they are: paths, globs (** for any depth), directories (all *.root files"
        " below), .txt lists (one such entry a line, # for comments), or URLs of any of these but"
        " lists. Relative ones start from the working directory, those inside a list from its"
        " folder; ~ and environment variables are expanded. https:// has no globs or directories.",
    )

    @model_validator(mode="after")
    def _schemes(self) -> Self:
        for name in self.files:
            if self.kind == "xrootd" and not name.strip().startswith(_XROOTD):
                raise ValueError(f"files: {name!r} is not a root:// URL; or say kind: local")
            if self.kind == "fsspec" and "://" not in name:
                raise ValueError(f"files: {name!r} is not a URL; or say kind: local")
        return self


class CernOpenDataSource(FileSource):
    """A record of the CERN Open Data portal."""

    kind: Literal["cern_open_data"] = Field(description="A record of the CERN Open Data portal.")
    record: int | str = Field(
        description="Number of the record (31308), or its DOI (10.7483/OPENDATA.CMS.…).",
    )

    @field_validator("record")
    @classmethod
    def _names_a_record(cls, value: int | str) -> int | str:
        if not re.search(r"^(?:[A-Za-z]+-)?[1-9]\d*$|10\.\d{4,9}/\S+$", str(value).strip()):
            raise ValueError("expected the number of a record, such as 31308, or a DOI")
        return value

    protocol: Literal["root", "https"] = Field(
        "root", description="How the files are read: over XRootD, or HTTPS."
    )
    portal: str = Field(
        "https://opendata.cern.ch", description="Address of the portal, or of a mirror."
    )
    folder: str | None = Field(
        None,
        description="Folder of record JSONs and file indexes on disk, which are used instead of"
        " the portal. null: ask the portal.",
    )
    offline: bool = Field(
        False,
        description="Ask nothing of the portal: what an earlier run asked is in the cache"
        " ($TREASURE_CACHE, else ~/.cache/treasure).",
    )


Source = Annotated[SimulationSource | LocalSource | CernOpenDataSource, Field(discriminator="kind")]


class Dataset(Section):
    """One dataset: its events, its label, and how its files are shared out over branches."""

    title: str = Field(
        "", description="What the dataset is, for people who read the configuration."
    )
    label: int = Field(
        ge=0, description="Class of every selected jet, from 0 on (QCD 0, top 1 in the demo)."
    )
    is_mc: bool = Field(
        description="Simulation (generator weights, no golden JSON), or collision data."
    )
    source: Source = Field(description="Where the events are.")
    matching: Literal["none", "top", "W", "Z", "H"] = Field(
        "none",
        description="Generator matching: keep only jets that hold the whole decay within"
        " selection.matching_radius of the jet axis. top: all three quarks of a hadronic top. W, Z:"
        " both quarks of a hadronic W or Z (a W whose top is in the jet as a whole is not a W). H:"
        " both quarks or gluons of a Higgs boson.",
    )
    files_per_branch: int = Field(
        1, ge=1, description="How many consecutive files one branch of SkimJets reads."
    )
    shard_name: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$",
        description="Jet tables are named <shard_name>_batch<N>.h5 (RunG, RunH: as the public files"
        " of Aspen Open Jets). null: the name of the dataset.",
    )
    layout: Annotated[str, kind_among("auto", "A", "B", "C", "D")] = Field(
        "auto",
        description="Layout of the input. A: PFNano with PFCands and the link table FatJetPFCands."
        " B: older PFNano, candidates inline in FatJetPFCands. C: PFCands without links (CERN Open"
        " Data portal), jets are re-clustered. D: NanoAOD v15, PFCand and FatJetPFCand. auto:"
        " recognised from the branches. Or module:Class, a treasure.skim.layouts.Layout of your"
        " own.",
    )
