"""The whole configuration: one typed tree of sections."""

import re
from typing import Self

from pydantic import Field, field_validator, model_validator

from treasure.config.benchmark import BenchmarkConfig, TaggerConfig
from treasure.config.comparison import ComparisonConfig
from treasure.config.dataset import Dataset
from treasure.config.jets import JetTableConfig
from treasure.config.release import Destination, ReleaseConfig
from treasure.config.section import Section
from treasure.config.selection import Selection
from treasure.config.splits import Splits
from treasure.config.tokenizer import TokenizerConfig

__all__ = ["Config"]

_DATASET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class Config(Section):
    """What to run on, and how: everything that decides the bytes of the results."""

    store_as: str = Field(
        "",
        pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]{0,63})?$",
        description="folder of the store that the results go to, where configurations with the same"
        " one share every stage that is the same in both; empty: the name of the file",
    )
    seed: int = Field(1, ge=0, description="seed from which every random number is derived")
    datasets: dict[str, Dataset] = Field(
        min_length=1, description="the datasets, by name; the first is the default of --dataset"
    )
    selection: Selection = Field(description="event and jet selection; a name in selections/")
    jet_table: JetTableConfig = Field(
        JetTableConfig(), description="how jets are shared out over HDF5 files"
    )
    splits: Splits = Field(Splits(), description="fractions of train, validation and test events")
    tokenizer: TokenizerConfig = Field(description="the tokenizer; a name in tokenizers/")
    training_datasets: list[str] = Field(
        [], description="datasets whose jets train the tokenizer; empty: all"
    )
    tagger: TaggerConfig = Field(description="the top tagger; a name in taggers/")
    benchmark: BenchmarkConfig = Field(BenchmarkConfig(), description="how taggers are compared")
    comparison: ComparisonConfig = Field(
        ComparisonConfig(), description="tokenizers that are compared; a name in comparisons/"
    )
    release: ReleaseConfig = Field(ReleaseConfig(), description="what the published dataset says")
    destination: Destination = Field(
        description="where the dataset is published; a name in destinations/"
    )

    @field_validator("datasets")
    @classmethod
    def _names_are_path_safe(cls, value: dict[str, Dataset]) -> dict[str, Dataset]:
        for name in value:
            if not _DATASET_NAME.fullmatch(name):
                raise ValueError(
                    f"dataset name {name!r}: letters, digits, '_' and '-' only, 64 at most"
                )
        return value

    @model_validator(mode="after")
    def _training_datasets_exist(self) -> Self:
        for name in self.training_datasets:
            if name not in self.datasets:
                raise ValueError(
                    f"training_datasets: no dataset {name!r}; there are {', '.join(self.datasets)}"
                )
        return self
