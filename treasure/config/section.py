"""The base of every section of the configuration."""

from pydantic import BaseModel, ConfigDict

__all__ = ["Section"]


class Section(BaseModel):
    """One validated, immutable part of the configuration; unknown keys are errors.

    Every field is declared with ``Field(default, description="…")``; the description (with unit
    and source where it is physics) is what ``treasure config`` shows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
