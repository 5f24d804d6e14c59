"""Classes of one's own, named in a configuration as module:Class, do the work of the built-in."""

from pathlib import Path

import awkward as ak
import fsspec
import numpy as np
import pytest
import torch
import uproot
import yaml

from tests.benchmark.toys import as_tokens, cloud
from tests.layout_a import FILTERS, TRIGGERS, random_events, write_events
from tests.release.workshop import Workshop, contents
from tests.tokenizer.toys import toy_jets, write_table
from treasure.benchmark.metrics import area_under_curve
from treasure.benchmark.training import train_tagger
from treasure.config.dataset import Dataset
from treasure.config.loading import load_config
from treasure.config.release import Destination
from treasure.config.selection import Selection
from treasure.config.tokenizer import QuantizerConfig
from treasure.errors import ConfigError, DataError
from treasure.fileset.inspection import inspect_file
from treasure.plugins import lookup
from treasure.release.destinations import publish
from treasure.release.read import Release
from treasure.skim.parts import read_parts
from treasure.skim.run import skim_files
from treasure.store import read_manifest
from treasure.tokenizer.artefact import Tokenizer
from treasure.tokenizer.quantizer import Quantizer
from treasure.tokenizer.train import train_tokenizer

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="module")
def config():
    return load_config(str(EXAMPLES / "own_classes.yaml")).config


def test_the_quantizer_is_trained_saved_and_read_again(config, tmp_path):
    table = write_table(tmp_path / "toys.h5", 300)
    metrics = train_tokenizer(
        {"toys": [table]},
        config.tokenizer.model_copy(
            update={"training": config.tokenizer.training.model_copy(update={"epochs": 1})}
        ),
        seed=1,
        directory=tmp_path / "tokenizer",
        device="cpu",
    )
    tokenizer = Tokenizer.load(tmp_path / "tokenizer")
    assert type(tokenizer.quantizer).__name__ == "RegularGrid"
    assert tokenizer.vocabulary_size == 1000 and tokenizer.codebook.shape == (1000, 3)
    assert 100 < metrics["codes_used"] <= 1000

    candidates, kinematics = toy_jets(20, seed=7)
    tokens = tokenizer.encode(candidates, kinematics)
    decoded = tokenizer.decode(tokens, kinematics)
    assert ak.all(ak.num(tokens) == (candidates[:, :, 3] != 0).sum(axis=1))
    original = np.hypot(*candidates[:, :, :2].sum(axis=1).T)
    again = np.hypot(ak.to_numpy(ak.sum(decoded.px, 1)), ak.to_numpy(ak.sum(decoded.py, 1)))
    assert abs(np.median(again / original) - 1) < 0.1


def test_the_grid_takes_the_nearest_cell_and_gives_its_centre(config):
    grid = lookup(Quantizer, config.tokenizer.quantizer.kind)(config.tokenizer.quantizer)
    latent = torch.rand(500, 3, generator=torch.Generator().manual_seed(1)) * 6 - 3
    ids = grid.ids(latent)
    vectors = torch.from_numpy(grid.codebook())
    assert torch.equal(ids, torch.cdist(latent, vectors).argmin(dim=1))
    assert torch.equal(grid.vectors(ids), vectors[ids])


def test_levels_that_do_not_fit_the_codes_are_refused():
    kind = "examples.own_quantizer:RegularGrid"
    wrong = QuantizerConfig(kind=kind, codes=10, dimension=2, options={"levels": [3, 3]})
    with pytest.raises(ConfigError, match="whose product is 10"):
        lookup(Quantizer, kind)(wrong)
    options = {"levels": [2, 5], "raech": 2.5}
    wrong = QuantizerConfig(kind=kind, codes=10, dimension=2, options=options)
    with pytest.raises(ConfigError, match="no raech; there are levels and reach"):
        lookup(Quantizer, kind)(wrong)


@pytest.mark.parametrize("prepare", [lambda sample: sample, as_tokens])
def test_the_tagger_learns_on_features_and_on_tokens(config, prepare):
    sample = prepare(cloud(600))
    tagger = config.tagger.model_copy(update={"epochs": 4, "batch_size": 32})
    trained = train_tagger(sample, tagger, seed=1)
    assert area_under_curve(sample.labels[sample.splits == 2], trained.scores) > 0.7


def test_the_destination_is_complete_verified_and_never_changed(tmp_path):
    release = Workshop(tmp_path / "work").release()
    place = Destination(
        kind="examples.own_destination:UrlPlace", path="memory://published/{name}/{version}"
    )
    receipt = publish(release, place)
    assert receipt["location"] == "memory://published/jets/v1"
    files = fsspec.filesystem("memory")
    there = {
        name.removeprefix("/published/jets/v1/"): files.cat_file(name)
        for name in files.find("/published/jets/v1")
    }
    assert there == contents(release)

    again = publish(release, place)
    assert (again["written"], again["found"]) == (0, receipt["files"])
    files.rm_file("/published/jets/v1/README.md")
    assert publish(release, place)["written"] == 1
    files.pipe_file("/published/jets/v1/README.md", b"other")
    with pytest.raises(DataError, match=r"README.md is there with other bytes"):
        publish(release, place)


def test_a_release_at_a_file_url_is_opened_by_its_location(config, tmp_path, monkeypatch):
    monkeypatch.setenv("TREASURE_STORE", str(tmp_path / "store"))
    release = Workshop(tmp_path / "work").release()
    receipt = publish(release, config.destination)
    assert receipt["location"].startswith(str(tmp_path / "store" / "published" / "jets" / "v1-"))
    Release(receipt["location"]).verify()
    assert read_manifest(receipt["location"])["name"] == "jets"


def test_the_layout_reads_branches_of_other_names(tmp_path):
    selection = Selection(triggers=list(TRIGGERS), filters=list(FILTERS))
    usual = write_events(tmp_path / "usual.root", random_events(30, seed=4))
    other = write_under_other_names(usual, tmp_path / "other.root")

    def rows(path, layout):
        entry = f"label: 0\nis_mc: true\nlayout: {layout}\nsource: {{kind: local, files: [x]}}"
        dataset = Dataset(**yaml.safe_load(entry))
        file = inspect_file(str(path), "Events", str(path))
        folder = tmp_path / f"{path.stem}_skim"
        summary = skim_files([file], "mine", dataset, selection, folder)
        assert summary["layouts"] == [layout]
        return [t.to_pylist() for t in read_parts([folder / p for p in summary["parts"]], 1000)]

    found = rows(other, "examples.own_layout:OtherNames")
    assert found == rows(usual, "A") and found[0]
    with pytest.raises(DataError, match=r"OtherNames .* also needs Particle_pt"):
        rows(usual, "examples.own_layout:OtherNames")


def write_under_other_names(source: Path, target: Path) -> Path:
    names = {"PFCands": "Particle", "FatJetPFCands": "JetParticle", "FatJet": "FatJet"}
    with uproot.open(source) as file:
        arrays = file["Events"].arrays()
    data = {
        name: arrays[name]
        for name in arrays.fields
        if name.split("_")[0] not in names and not name.startswith("n")
    }
    for old, new in names.items():
        fields = [name for name in arrays.fields if name.startswith(f"{old}_")]
        columns = {
            name.removeprefix(f"{old}_").replace("pFCandsIdx", "particleIdx"): arrays[name]
            for name in fields
        }
        data[new] = ak.zip(columns)
    types = {
        name: array.type.content if name in names.values() else np.asarray(array).dtype
        for name, array in data.items()
    }
    with uproot.recreate(target) as file:
        file.mktree("Events", types, counter_name=lambda name: f"n{name}").extend(data)
    return target
