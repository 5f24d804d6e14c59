"""The sections `release` and `destination`: what a dataset says of itself, and where it goes."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from treasure.config.section import Section, kind_among

__all__ = ["Destination", "Readiness", "ReleaseConfig"]

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class Readiness(Section):
    """Thresholds of the AI-readiness report; an item beyond its threshold gets the verdict `fail`.

    The thresholds are this project's own: no public metric of AI-readiness comes with any.
    """

    max_missing_fraction: Fraction = Field(
        default=0.0,
        description="largest fraction of null, NaN or infinite values in any one column",
    )
    max_duplicate_fraction: Fraction = Field(
        default=0.0,
        description="largest fraction of rows that repeat an earlier row, by identity "
        "(run, luminosityBlock, event, jet_index) or by content (tokens and kinematics)",
    )
    max_split_overlap: int = Field(
        default=0,
        ge=0,
        description="largest number of events, and of distinct contents, in more than one split",
    )
    min_class_ratio: Fraction = Field(
        default=0.1,
        description="smallest allowed ratio of the rarest to the commonest class, in any split",
    )
    min_rows_per_split: int = Field(
        default=1, ge=0, description="smallest number of rows of each dataset in each split"
    )
    min_codebook_use: Fraction = Field(
        default=0.5,
        description="smallest fraction of the codebook that occurs in the tokens; "
        "with several codebooks, of each",
    )
    enforce: bool = Field(
        default=False,
        description="true: a release with a failed item is not built; false: it is reported",
    )


class ReleaseConfig(Section):
    """What the dataset card, the Croissant description and the manifest say about the release."""

    title: str = Field(
        default="Tokenized jets", min_length=1, description="title of the dataset, for people"
    )
    description: str = Field(
        default="Jets from high-energy proton-proton collisions as sequences of tokens, one row "
        "a jet, with the tokenizer that made them.",
        min_length=1,
        description="what the dataset is, in one paragraph; opens the dataset card",
    )
    licence: str = Field(
        default="CC0-1.0",
        pattern=r"^[A-Za-z0-9.+-]+$",
        description="SPDX identifier (https://spdx.org/licenses); CERN Open Data is CC0-1.0",
    )
    authors: list[str] = Field(
        default=["The TREASURE authors"],
        min_length=1,
        description="people or collaborations, in the order of the citation",
    )
    year: int | None = Field(
        default=None, ge=1950, le=2200, description="year of the citation; null: not given"
    )
    date_published: str | None = Field(
        default=None,
        pattern=r"^\d{4}-\d{2}-\d{2}$",
        description="ISO 8601 date for the metadata; null: not given, so that a release "
        "does not depend on the day on which it was built",
    )
    citation: str | None = Field(
        default=None, description="BibTeX entry; null: made from title, authors, year and version"
    )
    url: str | None = Field(default=None, description="landing page of the dataset; null: none yet")
    derived_from: list[str] = Field(
        default=[], description="DOIs or URLs of the data from which this dataset was made"
    )
    keywords: list[str] = Field(
        default=["high-energy physics", "jets", "tokens", "LHC"], description="search terms"
    )
    row: str = Field(
        default="jet",
        pattern=r"^[a-z][a-z_]*$",
        description="what one row of the token table is, in the singular",
    )
    readiness: Readiness = Field(
        default=Readiness(), description="thresholds of the AI-readiness report"
    )


class Destination(Section):
    """Where a release is published."""

    kind: Annotated[str, kind_among("local")] = Field(
        default="local",
        description="kind of destination; local: a directory. Or module:Class, a "
        "treasure.release.destinations.Place of your own",
    )
    path: str = Field(
        default="published/{name}/{version}-{fingerprint}",
        min_length=1,
        description="place of the release at the destination; `{name}`, `{version}` and "
        "`{fingerprint}` (first 10 hexadecimal digits of the manifest's SHA-256) are filled in, "
        "`~` and environment variables expanded; relative to the store",
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="what a destination of your own needs; no secrets"
    )
