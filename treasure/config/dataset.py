"""Section ``datasets.<name>``: where the events of a dataset are, and what they are."""

from typing import Annotated, Literal

from pydantic import Field

from treasure.config.section import Section, kind_among
from treasure.config.simulation import SimulationSource

__all__ = ["Dataset", "LocalSource", "Source"]


class LocalSource(Section):
    """ROOT files that exist already: on a file system, or on XRootD servers."""

    kind: Literal["local"] = Field("local", description="Files that exist already.")
    files: list[str] = Field(
        min_length=1,
        description="Where they are: paths, globs (** for any depth), directories (all *.root files"
        " below), .txt lists (one such entry a line, # for comments), or root:// URLs of any of"
        " these but lists. Relative ones start from the working directory, those inside a list"
        " from its folder; ~ and environment variables are expanded.",
    )
    tree: str = Field("Events", min_length=1, description="Name of the TTree with the events.")
    allowed_bad_files: int = Field(
        0,
        ge=0,
        description="How many unreadable or empty files may be left out. They are listed in the"
        " fileset; one more is an error.",
    )


Source = Annotated[SimulationSource | LocalSource, Field(discriminator="kind")]


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
    matching: Literal["none", "top"] = Field(
        "none",
        description="Generator matching of the jets. top: keep only jets that hold all three quarks"
        " of a hadronic top decay within selection.matching_radius of the jet axis.",
    )
    files_per_branch: int = Field(
        1, ge=1, description="How many consecutive files one branch of SkimJets reads."
    )
    layout: Annotated[str, kind_among("auto", "A")] = Field(
        "auto",
        description="Layout of the input: A (PFNano: PFCands and FatJetPFCands link table), or"
        " auto to recognise it from the branches. Or module:Class, a treasure.skim.layouts.Layout"
        " of your own.",
    )
