"""The base of every section of the configuration."""

import re

from pydantic import AfterValidator, BaseModel, ConfigDict

__all__ = ["Section", "kind_among"]

# A class of the user's own, importable from the project's folder or the environment.
_OWN_CLASS = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def kind_among(*known: str) -> AfterValidator:
    """Validate the name of a class: one that comes with the project, or ``module:Class``."""

    def check(kind: str) -> str:
        if kind not in known and not _OWN_CLASS.fullmatch(kind):
            raise ValueError(f"{kind!r} is neither {', '.join(known)} nor module:Class")
        return kind

    return AfterValidator(check)


class Section(BaseModel):
    """One validated, immutable part of the configuration; unknown keys are errors.

    Every field is declared with ``Field(default, description="…")``; the description (with unit
    and source where it is physics) is what ``treasure config`` shows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
