"""PublishFDP: the dataset as others get it."""

from typing import Any

from tasks.base import TreasureTask, section, store_directory
from tasks.tokenizer import TrainTokenizer
from tasks.tokens import TokenizeShards
from treasure import store

__all__ = ["PublishFDP"]


class PublishFDP(TreasureTask):
    """Publish the tokens of all datasets, with the tokenizer, metadata and a readiness report.

    The release is built here, copied to the destination and verified there.
    """

    def settings(self) -> dict[str, Any]:
        return {
            "release": section(self.tree.release),
            "destination": section(self.tree.destination),
            "labels": {name: entry.label for name, entry in self.tree.datasets.items()},
        }

    def requirements(self) -> dict[str, Any]:
        shards = {
            f"tokens_{name}": TokenizeShards.req(self, dataset=name) for name in self.tree.datasets
        }
        return {"tokenizer": TrainTokenizer.req(self), **shards}

    def run(self) -> None:
        from treasure.release.build import build_release
        from treasure.release.destinations import publish

        inputs = self.input()
        shards = {
            name: [
                path
                for target in inputs[f"tokens_{name}"]["collection"].targets.values()
                for path in sorted(target.verified().glob("*.parquet"))
            ]
            for name in self.tree.datasets
        }
        with self.stage() as stage:
            release = stage.directory / "release"
            built = build_release(
                shards,
                inputs["tokenizer"].verified(),
                release,
                config=self.tree.release,
                name=self.loaded.store_as,
                version=str(self.version),
                provenance={"chain": self.provenance()},
                progress=stage.progress,
            )
            receipt = publish(release, self.tree.destination, base=store_directory())
            store.write_json(stage.directory / "receipt.json", receipt)
            stage.summary = {**built, "published": receipt["location"]}
