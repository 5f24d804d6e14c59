"""The whole benchmark on a release that is made here: tokenizer, token tables and all."""

import json
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.benchmark.toys import FAST
from tests.tokenizer.toys import SMALL, write_table
from treasure.benchmark.loading import decode_jets, load_jets
from treasure.benchmark.metrics import METRICS
from treasure.benchmark.run import run_benchmark
from treasure.config.benchmark import BenchmarkConfig
from treasure.config.release import ReleaseConfig
from treasure.errors import DataError
from treasure.jets.table import JetTable
from treasure.release.build import build_release
from treasure.release.read import Release
from treasure.store import checksums
from treasure.tokenizer.artefact import Tokenizer
from treasure.tokenizer.train import train_tokenizer
from treasure.tokens.tokenize import tokenize_shard

LABELS = {"qcd": 0, "ttbar": 1}
INPUTS = ("continuous", "tokens", "decoded", "xval")
CONFIG = BenchmarkConfig(inputs=INPUTS, seeds=(1, 2), pt_bin_width=200.0, bootstrap=20)
HOSTILE = "<script>alert('cut')</script>"


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> dict[str, list[Path]]:
    folder = tmp_path_factory.mktemp("jets")
    return {
        "qcd": [write_table(folder / f"qcd_{i}.h5", 150, i, 0) for i in range(2)],
        "ttbar": [write_table(folder / f"ttbar_{i}.h5", 150, 10 + i, 1) for i in range(2)],
    }


@pytest.fixture(scope="module")
def release(tables, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("release")
    train_tokenizer(tables, SMALL, seed=1, directory=folder / "tokenizer", device="cpu")
    tokenizer = Tokenizer.load(folder / "tokenizer")
    shards: dict[str, list[Path]] = {}
    for name, paths in tables.items():
        for path in paths:
            shard = folder / f"{path.stem}_tokenized.parquet"
            checksum = checksums(path)["sha256"]
            tokenize_shard(path, tokenizer, shard, dataset_name=name, source_checksum=checksum)
            shards.setdefault(name, []).append(shard)
    build_release(
        shards,
        folder / "tokenizer",
        folder / "release",
        config=ReleaseConfig(),
        name="toy",
        version="v1",
        provenance={},
    )
    return folder / "release"


def run(release: Path, tables, directory: Path, **options):
    provenance = {
        "datasets": {"qcd": {"cutflow": [{"cut": HOSTILE, "jets": 3}], "sources": ["a.root"]}},
        "chain": [{"task": "WriteH5", "version": "v1", "fingerprint": "ab" * 32}],
    }
    return run_benchmark(
        release, tables, LABELS, FAST, CONFIG, seed=1, directory=directory, provenance=provenance,
        **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def result(release, tables, tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("benchmark")
    run(release, tables, directory)
    return directory


def load(release: Path, tables, **options):
    arguments = {"bin_width": 200.0, "seed": 1} | options
    return load_jets(Release(release), tables, LABELS, **arguments)


def test_metrics_are_those_of_the_contract(result):
    metrics = json.loads((result / "metrics.json").read_text())
    assert set(metrics["inputs"]) == set(INPUTS)
    assert metrics["seeds"] == [1, 2]
    for found in metrics["inputs"].values():
        for name in METRICS:
            assert {"mean", "std"} <= set(found[name])
            assert {"mean", "std"} <= set(found["difference"][name])
        assert 0 <= found["auc"]["mean"] <= 1
    background, signal = metrics["jets"]["after_resampling"]["test"]
    assert background == signal and metrics["n_test"] == background + signal


def test_the_report_is_self_contained_and_escaped(result):
    html = (result / "report.html").read_text()
    assert HOSTILE not in html and "&lt;script&gt;alert(" in html
    assert "<script" not in html and not re.search(r"""(src|href)=["'](?!data:|#)""", html)
    for section in ("Result", "ROC curves", "Reconstruction", "Cutflow", "Provenance"):
        assert f">{section}</h2>" in html
    assert html.count("data:image/png;base64,") > 10  # the tokenizer's figures too
    assert "a.root" in html and "WriteH5" in html


def test_a_second_run_gives_the_same_bytes_and_trains_nothing(release, tables, result, tmp_path):
    shutil.copytree(result, tmp_path / "again")
    kept = {p: p.stat().st_mtime_ns for p in (tmp_path / "again/trainings").iterdir()}
    assert len(kept) == 2 * len(INPUTS)
    reported: list[tuple[int, int]] = []
    run(release, tables, tmp_path / "again", progress=lambda a, b: reported.append((a, b)))
    for name in ("metrics.json", "report.html"):
        assert (tmp_path / "again" / name).read_bytes() == (result / name).read_bytes()
    assert {p: p.stat().st_mtime_ns for p in kept} == kept
    assert reported == sorted(reported) and reported[-1] == (100, 100)


def test_tokens_and_particles_are_of_the_same_jets(release, tables):
    jets = load(release, tables)
    tokenizer = Tokenizer.load(Release(release).tokenizer_directory)
    candidates, kinematics = [], []
    for path in [p for name in sorted(tables) for p in tables[name]]:
        with JetTable(path) as table:
            for chunk in table.chunks():
                candidates.append(chunk.candidates)
                kinematics.append(chunk.kinematics)
    kinematics = np.concatenate(kinematics)
    # a jet is known by its kinematics here; encode its particles anew
    row = {tuple(k): i for i, k in enumerate(kinematics.tolist())}
    rows = [row[tuple(k)] for k in jets.kinematics.tolist()]
    found = tokenizer.encode(np.concatenate(candidates)[rows], kinematics[rows])
    np.testing.assert_array_equal(np.concatenate([*map(np.asarray, found)]), jets.tokens.values)
    np.testing.assert_array_equal(jets.tokens.counts, jets.continuous.counts)
    decoded = decode_jets(tokenizer, jets)
    assert decoded.values.shape == jets.continuous.values.shape


def test_the_order_of_the_jet_tables_does_not_matter(release, tables):
    backwards = {name: paths[::-1] for name, paths in tables.items()}
    first, second = load(release, tables), load(release, backwards)
    np.testing.assert_array_equal(first.continuous.values, second.continuous.values)


def test_datasets_of_other_classes_are_left_out(release, tables):
    jets = load(release, tables)
    assert set(jets.counts) == {"qcd", "ttbar"}
    with pytest.raises(DataError, match="no dataset with label 1"):
        load_jets(Release(release), tables, {"qcd": 0, "ttbar": 2}, bin_width=25.0, seed=1)
    with pytest.raises(DataError, match="'ttbar' has no label"):
        load_jets(Release(release), tables, {"qcd": 0}, bin_width=25.0, seed=1)


def test_jet_tables_that_are_not_of_the_release_are_refused(release, tables, tmp_path):
    with pytest.raises(DataError, match="are not exactly once in its jet tables"):
        load(release, {**tables, "qcd": tables["qcd"][:1]})
    with pytest.raises(DataError, match="2 times"):
        load(release, {**tables, "qcd": [*tables["qcd"], tables["qcd"][0]]})
    with pytest.raises(DataError, match="no jet table"):
        load(release, {"ttbar": tables["ttbar"]})
    shutil.copy(tables["qcd"][0], tmp_path / "qcd_0.h5")
    with h5py.File(tmp_path / "qcd_0.h5", "r+") as file:
        candidates = file["PFCands"][:]
        candidates[:, 0] = 0  # one particle less in every jet
        file["PFCands"][:] = candidates
    with pytest.raises(DataError, match="another number of tokens"):
        load(release, {**tables, "qcd": [tmp_path / "qcd_0.h5", tables["qcd"][1]]})
