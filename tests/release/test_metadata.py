"""Croissant and the dataset card, as the programs see them for which they are made."""

import logging
import re
import subprocess
import sys
from pathlib import Path

import mlcroissant
import numpy as np
import pyarrow as pa
import pytest
from huggingface_hub import DatasetCard

from tests.release.workshop import SPLITS, Workshop
from treasure.release.manifest import Manifest
from treasure.store import read_json
from treasure.tokens.table import read_tokens


def records(release: Path, dataset: str) -> list[dict]:
    return list(mlcroissant.Dataset(release / "croissant.json").records(dataset))


@pytest.mark.parametrize("codebooks", [1, 2])
def test_mlcroissant_loads_every_row_with_its_values(workshop: Workshop, codebooks: int) -> None:
    release = workshop.release(codebooks=codebooks)
    manifest = Manifest.load(release)
    for dataset in ("qcd", "ttbar"):
        files = [release / name for name in manifest.token_files(dataset)]
        rows = pa.concat_tables([read_tokens(file) for file in files]).to_pylist()
        found = records(release, dataset)
        assert len(found) == len(rows) == manifest.rows(dataset)
        for record, row in zip(found, rows, strict=True):
            assert set(record) == {f"{dataset}/{name}" for name in row}
            for name, value in row.items():
                got = record[f"{dataset}/{name}"]
                if name == "tokens":
                    assert np.asarray(got).tolist() == value
                else:
                    assert got == (value.encode() if name == "split" else value)


def test_mlcroissant_accepts_the_description(
    workshop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    release = workshop.release(date_published="2026-01-01", derived_from=["10.7483/OPENDATA.X"])
    with caplog.at_level(logging.WARNING):
        dataset = mlcroissant.Dataset(release / "croissant.json")
    assert not caplog.records
    issues = dataset.metadata.ctx.issues
    assert not issues.errors and not issues.warnings
    assert dataset.metadata.ctx.conforms_to.value == "http://mlcommons.org/croissant/1.1"
    assert dataset.metadata.version == "1.0.0"
    splits = list(dataset.records("_splits"))
    assert [split["_splits/name"] for split in splits] == list(SPLITS)


def test_croissant_lists_files_with_the_checksums_of_the_manifest(made: Path) -> None:
    manifest = Manifest.load(made)
    document = read_json(made / "croissant.json")
    objects = [d for d in document["distribution"] if d["@type"] == "cr:FileObject"]
    assert {o["contentUrl"] for o in objects} >= set(manifest.token_files())
    for entry in objects:
        assert entry["sha256"] == manifest.files[entry["contentUrl"]].sha256
        if entry["contentUrl"].endswith(".parquet"):
            assert entry["encodingFormat"] == "application/x-parquet"


@pytest.mark.parametrize(
    ("version", "semantic"),
    [("v1", "1.0.0"), ("v2.3", "2.3.0"), ("1.2.3", "1.2.3"), ("test_a", "0.0.0+test-a")],
)
def test_versions_are_semantic_in_croissant(
    workshop: Workshop, version: str, semantic: str
) -> None:
    shards = {"qcd": [workshop.shard("qcd", "a", 20)]}
    release = workshop.release(shards, version=version)
    dataset = mlcroissant.Dataset(release / "croissant.json")
    assert dataset.metadata.version == semantic


def test_front_matter_of_the_card(made: Path) -> None:
    data = DatasetCard.load(made / "README.md").data.to_dict()
    assert data["license"] == "cc0-1.0"
    assert data["size_categories"] == ["n<1K"]
    names = [configuration["config_name"] for configuration in data["configs"]]
    assert names == ["default", "qcd", "ttbar"]
    manifest = Manifest.load(made)
    for configuration, dataset in zip(data["configs"], (None, "qcd", "ttbar"), strict=True):
        for entry in configuration["data_files"]:
            found = sorted(p.relative_to(made).as_posix() for p in made.glob(entry["path"]))
            assert found == manifest.token_files(dataset, entry["split"])


def test_a_licence_that_the_hub_does_not_know_is_linked(workshop: Workshop) -> None:
    release = workshop.release({"qcd": [workshop.shard("qcd", "a", 20)]}, licence="CERN-OHL-P-2.0")
    data = DatasetCard.load(release / "README.md").data.to_dict()
    assert data["license"] == "other"
    assert data["license_name"] == "cern-ohl-p-2.0"


def test_hostile_text_stays_in_its_place(workshop: Workshop) -> None:
    release = workshop.release(
        {"qcd": [workshop.shard("qcd", "a", 20)]},
        title="Jets: 100 % | <script>alert(1)</script> 'x' \"y\"",
        keywords=["a: b", "- c", "#d"],
        authors=["O'Neill, J.", "李 雷"],
    )
    card = DatasetCard.load(release / "README.md")
    assert card.data.to_dict()["pretty_name"].startswith("Jets: 100 % | <script>")
    assert set(card.data.to_dict()["tags"]) >= {"a: b", "- c", "#d"}
    assert "<script>" not in re.sub(r"```.*?```", "", card.text, flags=re.DOTALL)
    assert "<script>" not in (release / "readiness.html").read_text()
    assert not mlcroissant.Dataset(release / "croissant.json").metadata.ctx.issues.errors


def test_commands_of_the_card_run(made: Path) -> None:
    text = (made / "README.md").read_text()
    blocks = re.findall(r"```(bash|python)\n(.*?)```", text, flags=re.DOTALL)
    # The last loads the parameters of a real tokenizer; datasets is not a dependency.
    chosen = [(kind, code) for kind, code in blocks if "Tokenizer" not in code]
    chosen = [(kind, code) for kind, code in chosen if "load_dataset" not in code]
    assert len(chosen) == len(blocks) - 2 == 4
    for kind, code in chosen:
        command = ["bash", "-ec", code] if kind == "bash" else [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=made, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
