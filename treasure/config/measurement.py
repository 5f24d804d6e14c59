"""Configuration of the measurement of one tokenizer: on which jets, with which classifiers."""

from __future__ import annotations

from pydantic import Field, field_validator

from treasure.config.section import Section

__all__ = ["MeasurementConfig"]


class MeasurementConfig(Section):
    """What is measured of every tokenizer that is compared, and on how many jets.

    The tagger of the classifiers is that of the benchmark (section ``tagger``).
    """

    max_training_jets: int = Field(
        6000,
        ge=2,
        description="Most jets of the training split, of both classes together, that the "
        "classifiers are trained on.",
    )
    max_validation_jets: int = Field(
        1000,
        ge=2,
        description="Most jets of the validation split, of both classes together, on which the "
        "best epoch of a classifier is chosen.",
    )
    max_test_jets: int = Field(
        4000,
        ge=2,
        description="Most jets of the test split, of both classes together: everything that is "
        "reported is measured on them.",
    )
    distance_jets: int = Field(
        500,
        ge=1,
        description="Most test jets, evenly spaced, whose energy-flow distance (arXiv:1902.02346) "
        "to their decoded selves is computed.",
    )
    pt_bin_width: float = Field(
        25.0,
        gt=0.0,
        description="Width [GeV] of the jet-pT bins in which both classes have the same number of "
        "jets, in each split.",
    )
    max_particles: int = Field(
        150, ge=1, description="Hardest particles of a jet that a classifier sees."
    )
    tagger_seeds: tuple[int, ...] = Field(
        (1, 2), description="One training of each classifier per seed; AUCs are their mean."
    )
    bootstrap: int = Field(
        200,
        ge=2,
        description="Resamplings of the test jets for the statistical uncertainties.",
    )
    classifiers: bool = Field(
        True,
        description="Whether classifiers are trained. false: only code use, resolutions, "
        "responses, distances and rates, as for the points of a rate-distortion curve.",
    )

    @field_validator("tagger_seeds")
    @classmethod
    def _different_seeds(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0:
            raise ValueError("needs at least one number, none of them negative or twice")
        return seeds
