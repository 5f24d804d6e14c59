"""TokenizeShards: from jets to tokens."""

from typing import Any

from tasks.jets import ShardBranches, WriteH5
from tasks.tokenizer import TrainTokenizer

__all__ = ["TokenizeShards"]

MOST_THREADS = 16  # one reads and writes for all of them, and each holds 1,024 jets in memory


class TokenizeShards(ShardBranches):
    """Turn every jet table into a table of tokens; one branch a shard.

    On every shard, jets in and out are counted and a decoded sample is compared.
    """

    reqs = {"jets": WriteH5, "tokenizer": TrainTokenizer}
    progress_unit = "jets"
    schema = 3

    @property
    def cutflow(self) -> Any:
        return self.required["jets"].cutflow

    def run(self) -> None:
        from treasure.jets.compress import threads_to_use
        from treasure.tokenizer.artefact import Tokenizer
        from treasure.tokens.tokenize import tokenize_shard

        jets = self.input()["jets"]
        name = f"{self.stem}.h5"
        with self.stage() as stage:
            stage.summary = tokenize_shard(
                jets.verified() / name,
                Tokenizer.load(self.input()["tokenizer"].verified()),
                stage.directory / f"{self.stem}_tokenized.parquet",
                dataset_name=str(self.dataset),
                source_checksum=jets.manifest["files"][name]["sha256"],
                threads=threads_to_use(most=MOST_THREADS),
                progress=stage.progress,
            )
