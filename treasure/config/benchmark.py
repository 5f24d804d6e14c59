"""Configuration of the top-tagging benchmark: the tagger, its training, and what is compared."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from treasure.config.section import Section, kind_among

__all__ = ["BenchmarkConfig", "InputName", "TaggerConfig"]

InputName = Literal["continuous", "tokens", "decoded", "xval"]


class TaggerConfig(Section):
    """Architecture and training of a tagger; the same for every input that is compared."""

    kind: Annotated[str, kind_among("deepsets")] = Field(
        "deepsets",
        description="Class of the tagger. deepsets: the particle-flow network of arXiv:1810.05165. "
        "Or module:Class, a Tagger of your own.",
    )
    particle_layers: tuple[int, ...] = Field(
        (32, 32),
        description="Widths of the layers of the per-particle network; the last one is the "
        "dimension in which the particles of a jet are summed.",
    )
    jet_layers: tuple[int, ...] = Field(
        (64, 64), description="Widths of the layers of the per-jet network, before its one output."
    )
    epochs: int = Field(8, ge=1, description="Passes over the training jets.")
    batch_size: int = Field(128, ge=1, description="Jets in one optimiser step.")
    learning_rate: float = Field(
        1e-2, gt=0.0, description="Peak learning rate of the one-cycle schedule (arXiv:1708.07120)."
    )
    weight_decay: float = Field(1e-4, ge=0.0, description="Decoupled weight decay of AdamW.")
    token_embedding: Literal["codebook", "random"] = Field(
        "codebook",
        description="First values of the embedding of the token ids: the released codebook's "
        "vectors, or random ones.",
    )
    train_embedding: bool = Field(
        False,
        description="Whether training changes the embedding of the token ids. With some ten "
        "thousand jets for thousands of ids it then overfits.",
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="What a tagger of your own needs."
    )

    @field_validator("particle_layers", "jet_layers")
    @classmethod
    def _positive_widths(cls, widths: tuple[int, ...]) -> tuple[int, ...]:
        if not widths or min(widths) < 1:
            raise ValueError("needs at least one layer, each of width 1 or more")
        return widths


class BenchmarkConfig(Section):
    """What the benchmark compares, on which jets, how often."""

    inputs: tuple[InputName, ...] = Field(
        ("continuous", "tokens", "decoded"),
        description="Inputs to compare; 'continuous' is the reference and must be among them. "
        "xval: the continuous numbers as scaled embeddings (arXiv:2310.02989).",
    )
    seeds: tuple[int, ...] = Field(
        (1, 2, 3),
        description="One training of each input per seed: the weights at the start and the order "
        "of the jets.",
    )
    pt_bin_width: float = Field(
        25.0,
        gt=0.0,
        description="Width [GeV] of the jet-pT bins in which the classes are resampled to the "
        "same number of jets, in each split.",
    )
    max_particles: int = Field(
        150, ge=1, description="Hardest particles of a jet that a tagger sees, for every input."
    )
    max_jets: int | None = Field(
        None, ge=2, description="Most jets per class and split after resampling; all when null."
    )
    bootstrap: int = Field(
        200,
        ge=0,
        description="Resamplings of the test jets for the statistical uncertainty of rejections "
        "and of differences to continuous; 0 for none.",
    )

    @model_validator(mode="after")
    def _reference_and_seeds(self) -> BenchmarkConfig:
        if "continuous" not in self.inputs:
            raise ValueError("inputs must contain 'continuous', the reference of the comparison")
        if len(set(self.inputs)) != len(self.inputs):
            raise ValueError("inputs must not repeat a name")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds must be at least one number, none of them twice")
        if min(self.seeds) < 0:
            raise ValueError("seeds must not be negative")
        return self
