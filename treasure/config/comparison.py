"""Section ``comparison``: which tokenizers are compared, with which budget, and the goals."""

import re
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from treasure.config.measurement import MeasurementConfig
from treasure.config.section import Section
from treasure.config.tokenizer import TokenizerConfig

__all__ = ["ComparedTokenizer", "ComparisonConfig", "Goals"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class ComparedTokenizer(TokenizerConfig):
    """A tokenizer of the comparison: a section ``tokenizer``, and what it is called."""

    title: str = Field("", description="Its name in tables and figures; empty: that of the entry.")
    description: str = Field("", description="What it is, in a sentence.")
    family: str = Field(
        "", description="Entries of a family are joined by a line in the rate-distortion figure."
    )


class Goals(Section):
    """What the chosen tokenizer is to reach."""

    iqr_share: float = Field(
        0.5,
        gt=0,
        description="Resolution (IQR/median of the response) of jet pT and of jet mass, as a share"
        " of the baseline's, at most.",
    )
    auc_lost_share: float = Field(
        0.5, gt=0, description="AUC lost in top tagging, as a share of the baseline's, at most."
    )
    codes_used_share: float = Field(0.95, ge=0, le=1, description="Share of codes used, at least.")
    iqr_target: float = Field(
        0.01, gt=0, description="Resolution of jet pT and of jet mass, at most."
    )
    auc_target: float = Field(0.002, gt=0, description="AUC lost in top tagging, at most.")


class ComparisonConfig(Section):
    """Tokenizers, trained and measured alike."""

    tokenizers: dict[str, ComparedTokenizer] = Field(
        {},
        description="The tokenizers, by name: each a name in tokenizers/, or a section `tokenizer`"
        " that may start from one with `defaults: NAME`. null drops an entry.",
    )
    baseline: str | None = Field(
        "omnijet", description="The tokenizer that goals refer to. null: no goals."
    )
    chosen: str | None = Field(
        "vq", description="The tokenizer that is to reach the goals. null: no goals."
    )
    curve: tuple[str, ...] = Field(
        (),
        description="Entries that are points of the rate-distortion curve only: first seed, no"
        " classifiers.",
    )
    seeds: tuple[int, ...] = Field((1,), description="One training of each tokenizer per seed.")
    seconds: float | None = Field(
        None,
        gt=0,
        description="Time of each training [s], in place of the entry's training.max_seconds. null:"
        " that of the entry.",
    )
    seconds_of: dict[str, float | None] = Field(
        {}, description="Exceptions from `seconds`, by name of the entry; null: that of the entry."
    )
    measurement: MeasurementConfig = Field(
        default_factory=MeasurementConfig, description="What is measured of each tokenizer."
    )
    goals: Goals = Field(default_factory=Goals, description="What the chosen one is to reach.")

    @field_validator("tokenizers")
    @classmethod
    def _names_are_path_safe(
        cls, value: dict[str, ComparedTokenizer]
    ) -> dict[str, ComparedTokenizer]:
        for name in value:
            if not _NAME.fullmatch(name):
                raise ValueError(
                    f"name of a tokenizer {name!r}: letters, digits, '_' and '-' only, 64 at most"
                )
        return value

    @field_validator("seeds")
    @classmethod
    def _different_seeds(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0:
            raise ValueError("needs at least one number, none of them negative or twice")
        return seeds

    @field_validator("seconds_of")
    @classmethod
    def _some_time(cls, seconds: dict[str, float | None]) -> dict[str, float | None]:
        for name, value in seconds.items():
            if value is not None and not value > 0:
                raise ValueError(f"{name}: expected more than 0 s, or null")
        return seconds

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        if not self.tokenizers:  # nothing is compared
            return self
        asked: dict[str, list[str | None]] = {
            "baseline": [self.baseline],
            "chosen": [self.chosen],
        }
        # an entry that is dropped keeps its inherited place among seconds_of, which null takes back
        limited: list[str | None] = [
            name
            for name, seconds in self.seconds_of.items()
            if seconds is not None or not _NAME.fullmatch(name)
        ]
        asked |= {"curve": [*self.curve], "seconds_of": limited}
        for key, names in asked.items():
            for name in names:
                if name is not None and name not in self.tokenizers:
                    raise ValueError(
                        f"{key}: no tokenizer {name!r}; there are {', '.join(self.tokenizers)}"
                    )
        for key, name in (("baseline", self.baseline), ("chosen", self.chosen)):
            if name in self.curve:
                raise ValueError(f"{key}: {name!r} is in curve, and so measured in part only")
        return self

    def seeds_of(self, name: str) -> tuple[int, ...]:
        """Seeds with which a tokenizer is trained."""
        return self.seeds[:1] if name in self.curve else self.seeds

    def trained(self, name: str) -> TokenizerConfig:
        """A tokenizer as it is trained: with its budget, without what changes nothing of it."""
        entry = self.tokenizers[name]
        seconds = self.seconds_of.get(name, self.seconds) or entry.training.max_seconds
        kept: dict[str, Any] = {
            key: getattr(entry, key) for key in TokenizerConfig.model_fields if key != "check"
        }
        kept["training"] = entry.training.model_copy(update={"max_seconds": seconds})
        return TokenizerConfig(**kept)

    def measured(self, name: str) -> MeasurementConfig:
        """What is measured of a tokenizer."""
        if name in self.curve:
            return self.measurement.model_copy(update={"classifiers": False})
        return self.measurement
