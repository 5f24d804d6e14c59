"""The examples that are run with law, as their first lines say."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from treasure.config.loading import load_config

HOME = Path(__file__).resolve().parents[2]
EXAMPLES = HOME / "examples"
FEW = "datasets.qcd.source.n_files=1,datasets.qcd.source.events_per_file=40"


class Place:
    """A directory to work in, with a store of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder, folder / "store"

    def __call__(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=self.folder, text=True, timeout=300, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=os.environ | {"TREASURE_STORE": str(self.store), "COLUMNS": "100"},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout

    def summary(self, pattern: str) -> dict:
        (manifest,) = self.store.glob(f"{pattern}/manifest.json")
        return json.loads(manifest.read_text())["summary"]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    """Where the task of the example has run on a few simulated events."""
    place = Place(tmp_path_factory.mktemp("examples"))
    arguments = ("--config", "test", "--dataset", "qcd", "--set", FEW)
    place.text = place("law", "run", "examples.jet_spectrum.JetSpectrum", *arguments)
    return place


def test_the_task_leaves_a_figure_and_every_jet_in_numbers(place):
    (folder,) = place.store.glob("test/JetSpectrum/qcd/v1-*")
    assert {p.name for p in folder.iterdir()} == {"jet_pt.png", "jet_pt.json", "manifest.json"}
    content = json.loads((folder / "jet_pt.json").read_text())
    written = place.summary("test/WriteH5/qcd/v1-*/qcd_batch0")["jets"]
    assert sum(map(sum, content["jets"].values())) == written > 20
    assert f"JetSpectrum qcd: jets {written}" in place.text


def test_another_number_of_bins_is_another_result(place):
    arguments = ("--config", "test", "--dataset", "qcd", "--set", FEW, "--bins", "20")
    text = place(
        "law", "run", "examples.jet_spectrum.JetSpectrum", *arguments, "--print-status", "1"
    )
    assert "absent" in text and "existent (1/1)" in text


def test_own_files_are_listed_and_selected_with_an_own_selection(place):
    (simulated,) = place.store.glob("test/SimulatePFNano/qcd/*/*/*.root")
    (place.folder / "my_files").mkdir()
    shutil.copy(simulated, place.folder / "my_files")
    place("law", "run", "CreateFileset", "--config", str(EXAMPLES / "my_data.yaml"))
    place("law", "run", "SkimJets", "--config", str(EXAMPLES / "tight.yaml"))
    assert place.summary("my_data/CreateFileset/mine/*")["events"] == 40
    tight = place.summary("tight/SkimJets/mine/*/mine_0000")
    assert tight["events"] == 40
    assert 0 < tight["jets"] < place.summary("test/SkimJets/qcd/*/qcd_0000")["jets"]
    (cutflow,) = place.store.glob("tight/SkimJets/mine/*/mine_0000/cutflow.json")
    selection = json.loads(cutflow.read_text())["selection"]
    assert (selection["jet_pt_min"], selection["softdrop_mass_min"]) == (450.0, 50.0)


@pytest.mark.parametrize("name", ["my_data", "tight", "own_classes"])
def test_every_configuration_is_valid_and_says_who_set_what(name):
    loaded = load_config(str(EXAMPLES / f"{name}.yaml"))
    assert loaded.name == name
    assert any(origin.startswith("examples/") for origin in loaded.origins.values())
