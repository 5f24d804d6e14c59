"""Building a release."""

import json
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.release.workshop import SPLITS, Workshop, contents
from treasure.config.release import ReleaseConfig
from treasure.errors import DataError
from treasure.release.build import build_release
from treasure.release.manifest import Manifest, without_machine_paths
from treasure.store import checksums, read_json
from treasure.tokens.table import TokenTable, read_tokens


def test_layout(made: Path) -> None:
    files = set(contents(made))
    tokens = {
        f"tokens/{dataset}/{split}/{dataset}_{i}_tokenized.parquet"
        for dataset in ("qcd", "ttbar")
        for split in SPLITS
        for i in range(2)
    }
    metadata = {
        "manifest.json",
        "croissant.json",
        "README.md",
        "readiness.json",
        "readiness.html",
        "checksums.sha256",
    }
    tokenizer = {"tokenizer.json", "tokenizer.safetensors", "metrics.json", "figures/pt.png"}
    assert files == tokens | metadata | {f"tokenizer/{name}" for name in tokenizer}


def test_manifest_lists_every_other_file_with_checksums_rows_and_schema(made: Path) -> None:
    files = read_json(made / "manifest.json")["files"]
    assert set(files) == set(contents(made)) - {"manifest.json"}
    for name, entry in files.items():
        expected = checksums(made / name)
        assert {key: entry[key] for key in expected} == expected
        if name.startswith("tokens/"):
            with TokenTable(made / name) as table:
                assert entry["rows"] == len(table)
            schema = read_json(made / "manifest.json")["schemas"][entry["schema"]]
            assert [column["name"] for column in schema] == pq.read_schema(made / name).names


def test_rows_of_the_release_are_those_of_the_shards(workshop: Workshop) -> None:
    shards = workshop.shards()
    release = workshop.release(shards)
    manifest = Manifest.load(release)
    for dataset, paths in shards.items():
        source = [row for path in paths for row in read_tokens(path).to_pylist()]
        found = [
            row
            for split in SPLITS
            for name in manifest.token_files(dataset, split)
            for row in read_tokens(release / name).to_pylist()
        ]
        assert sorted(found, key=str) == sorted(source, key=str)
        assert manifest.rows(dataset) == len(source)
        for path in paths:
            shard = manifest.datasets[dataset].shards[path.name.removesuffix("_tokenized.parquet")]
            assert shard.sha256 == checksums(path)["sha256"]


def test_sha256sum_checks_the_release(made: Path) -> None:
    command = ["sha256sum", "--check", "--strict", "checksums.sha256"]
    done = subprocess.run(command, cwd=made, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == len(contents(made)) - 2  # not itself, not the manifest


def test_the_same_input_gives_the_same_bytes(workshop: Workshop) -> None:
    shards = workshop.shards()
    first, second = workshop.release(shards, "a"), workshop.release(shards, "b")
    assert contents(first) == contents(second)
    assert contents(workshop.release(shards, "a")) == contents(second)


def test_an_interrupted_build_is_resumed_to_the_same_bytes(workshop: Workshop) -> None:
    shards = workshop.shards()
    expected = contents(workshop.release(shards, "whole"))
    done = 0

    def stop(count: int, total: int) -> None:
        nonlocal done
        done = count
        if count == 3:
            raise KeyboardInterrupt

    arguments = (shards, workshop.tokenizer(), workshop.path / "stopped")
    options = {
        "config": ReleaseConfig(),
        "name": "jets",
        "version": "v1",
        "provenance": {"filesets": {"qcd": [{"uri": "qcd_0.root", "sha256": "00"}]}},
    }
    with pytest.raises(KeyboardInterrupt):
        build_release(*arguments, **options, progress=stop)
    assert done == 3 and not (workshop.path / "stopped" / "manifest.json").exists()
    kept = workshop.path / "stopped/tokens/qcd/train/qcd_0_tokenized.parquet"
    torn = workshop.path / "stopped/tokens/qcd/train/qcd_1_tokenized.parquet"
    torn.write_bytes(torn.read_bytes()[:-1])
    inode = kept.stat().st_ino
    build_release(*arguments, **options)
    assert contents(workshop.path / "stopped") == expected
    assert kept.stat().st_ino == inode  # not written again


def test_empty_splits_and_empty_shards_have_no_file_and_are_in_the_manifest(
    workshop: Workshop,
) -> None:
    def all_train(columns: dict) -> None:
        columns["split"] = ["train"] * len(columns["split"])

    shards = {
        "qcd": [workshop.shard("qcd", "a", 4, change=all_train), workshop.shard("qcd", "b", 0)]
    }
    release = workshop.release(shards)
    manifest = Manifest.load(release)
    assert manifest.token_files() == ["tokens/qcd/train/a_tokenized.parquet"]
    assert manifest.datasets["qcd"].rows == {"train": 4, "val": 0, "test": 0}
    assert manifest.datasets["qcd"].shards["b"].rows == {"train": 0, "val": 0, "test": 0}
    assert not (release / "tokens/qcd/val").exists()
    assert manifest.readiness["rows_per_split"] == "fail"
    assert manifest.readiness["class_balance"] == "not applicable"


def test_a_release_without_any_row_is_refused(workshop: Workshop) -> None:
    with pytest.raises(DataError, match="none of 1 shards has a row"):
        workshop.release({"qcd": [workshop.shard("qcd", "a", 0)]})
    with pytest.raises(DataError, match="no token files"):
        workshop.release({"qcd": []})


@pytest.mark.parametrize(
    ("stem", "message"),
    [
        ("two words", "' ' is not portable"),
        ("new\nline", "is not portable"),
        ("*", r"'\*' is not portable"),
        ("ünicode", "'ü' is not portable"),
        ("-rf", "'-' is not portable"),
        (".hidden", "'.' is not portable"),
        ("a" * 161, "161 characters"),
    ],
)
def test_names_that_some_destination_cannot_hold_are_refused(
    workshop: Workshop, stem: str, message: str
) -> None:
    shards = {"qcd": [workshop.shard("qcd", stem, 4)]}
    with pytest.raises(DataError, match=message):
        workshop.release(shards)


@pytest.mark.parametrize("dataset", ["", "..", "a/b", "default", "_splits"])
def test_dataset_names_that_would_break_the_layout_are_refused(
    workshop: Workshop, dataset: str
) -> None:
    with pytest.raises(DataError):
        workshop.release({dataset: [workshop.shard("qcd", "a", 4)]})


def test_portable_odd_stems_are_kept(workshop: Workshop) -> None:
    release = workshop.release({"qcd": [workshop.shard("qcd", "Run2016G+v1=a@b.c-d_0", 40)]})
    assert "tokens/qcd/train/Run2016G+v1=a@b.c-d_0_tokenized.parquet" in contents(release)


def test_duplicate_stems_are_refused(workshop: Workshop) -> None:
    one = workshop.shard("qcd", "a", 4)
    other = workshop.shard("more", "A", 4)
    for pair in ([one, one], [one, other]):
        with pytest.raises(DataError, match="rename one"):
            workshop.release({"qcd": pair})
    workshop.release({"qcd": [one], "more": [other]})


def test_a_missing_or_misnamed_shard_is_named(workshop: Workshop) -> None:
    with pytest.raises(DataError, match=r"gone_tokenized\.parquet: no such token file"):
        workshop.release({"qcd": [workshop.path / "gone_tokenized.parquet"]})
    with pytest.raises(DataError, match="a token file is named <stem"):
        workshop.release({"qcd": [workshop.path / "tokens.parquet"]})


def test_a_shard_of_another_tokenizer_is_refused(workshop: Workshop) -> None:
    shards = workshop.shards()
    shards["ttbar"][1] = workshop.shard("ttbar", "ttbar_1", 10, fingerprint="ab" * 32)
    with pytest.raises(DataError, match=r"ttbar_1_tokenized\.parquet: tokens of tokenizer abab"):
        workshop.release(shards)


def test_a_shard_of_another_schema_is_refused(workshop: Workshop) -> None:
    shards = {"qcd": [workshop.shard("qcd", "a", 4), workshop.shard("qcd", "b", 4, codebooks=2)]}
    with pytest.raises(DataError, match=r"b_tokenized\.parquet: columns .* expected those of .*a_"):
        workshop.release(shards)


def test_a_damaged_tokenizer_is_refused(workshop: Workshop) -> None:
    shards, tokenizer = workshop.shards(), workshop.tokenizer()
    arguments = {"config": ReleaseConfig(), "name": "j", "version": "v1", "provenance": {}}
    (tokenizer / "tokenizer.safetensors").write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"tokenizer\.safetensors: damaged"):
        build_release(shards, tokenizer, workshop.path / "r", **arguments)
    (tokenizer / "tokenizer.safetensors").unlink()
    with pytest.raises(DataError, match=r"tokenizer\.safetensors: missing"):
        build_release(shards, tokenizer, workshop.path / "r", **arguments)


def test_a_directory_with_other_files_is_left_alone(workshop: Workshop) -> None:
    (workshop.path / "release").mkdir()
    (workshop.path / "release" / "thesis.tex").write_text("important")
    with pytest.raises(DataError, match=r"thesis\.tex: not a file of this release"):
        workshop.release()
    assert (workshop.path / "release" / "thesis.tex").read_text() == "important"
    assert not (workshop.path / "release" / "manifest.json").exists()


def test_no_path_of_the_machine_is_published(workshop: Workshop) -> None:
    build_release(
        workshop.shards(),
        workshop.tokenizer(),
        workshop.path / "release",
        config=ReleaseConfig(),
        name="jets",
        version="v1",
        provenance={"files": [str(workshop.path / "jets.h5")], str(workshop.path / "a"): 1},
    )
    for name, content in contents(workshop.path / "release").items():
        assert str(workshop.path).encode() not in content, name
    assert Manifest.load(workshop.path / "release").provenance == {"files": ["jets.h5"], "a": 1}


def test_urls_and_dataset_names_are_no_machine_paths() -> None:
    kept = [
        "root://eospublic.cern.ch//eos/opendata/cms/a.root",
        "/JetHT/Run2016G-UL2016_MiniAODv2-v2/MINIAOD",
        "relative/path.root",
        "~5 GeV",
        "pt > 300",
    ]
    assert without_machine_paths(kept) == kept
    cut = ["/home/someone/a.root", "~/a.root", "file:///data/a.root", "C:\\data\\a.root"]
    assert without_machine_paths({"x": cut}) == {"x": ["a.root"] * 4}
    with pytest.raises(DataError, match="differ in their folder only"):
        without_machine_paths({"/a/x": 1, "/b/x": 2})


def test_enforced_readiness_stops_the_release(workshop: Workshop) -> None:
    with pytest.raises(DataError, match="not AI-ready \\(Codebook use\\)"):
        workshop.release(
            {"qcd": [workshop.shard("qcd", "a", 40, label=0)]},
            readiness={"enforce": True, "min_codebook_use": 1.0, "min_rows_per_split": 0},
        )
    assert not (workshop.path / "release" / "manifest.json").exists()


def test_an_entry_says_only_what_applies_to_its_file(made: Path) -> None:
    files = json.loads((made / "manifest.json").read_text())["files"]
    plain = {name for name, entry in files.items() if set(entry) == {"size", "sha256", "adler32"}}
    assert "README.md" in plain
    tables = {name for name in files if name.endswith(".parquet")}
    assert tables == set(files) - plain
    assert all(set(files[t]) > {"rows", "schema", "dataset", "split", "shard"} for t in tables)
