"""Section ``splits``: the shares of training, validation and test events."""

import math

from pydantic import Field, model_validator

from treasure.config.section import Section

__all__ = ["Splits"]


class Splits(Section):
    """Expected shares of the events; a hash of (run, lumi block, event) decides for each."""

    train: float = Field(0.70, ge=0, le=1, description="Share of the events used in training.")
    val: float = Field(0.10, ge=0, le=1, description="Share of the events used to choose and stop.")
    test: float = Field(0.20, ge=0, le=1, description="Share of the events that measure a result.")

    @model_validator(mode="after")
    def _whole(self) -> "Splits":
        total = self.train + self.val + self.test
        if not math.isclose(total, 1.0, abs_tol=1e-9):
            raise ValueError(f"train + val + test is {total:g}; the shares must add up to 1")
        return self
