"""The model card of a tokenizer says what is so, and what it says runs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.tokenizer.test_artefact import make_tokenizer
from tests.tokenizer.toys import toy_jets
from treasure.config.tokenizer import TokenizerConfig
from treasure.tokenizer.artefact import Tokenizer
from treasure.tokenizer.card import summary

_METRICS = {
    "jets": 4004, "particles": 230149, "clipped_particles": 1, "codes": 64, "codes_used": 61,
    "entropy_bits": 5.9, "perplexity": 58.2, "training": {"epochs": []},
    "response": {
        name: {
            "jet_pt": {"median": 0.9993, "iqr_over_median": 0.0076},
            "jet_mass": {"median": 1.0001, "iqr_over_median": 0.0039},
        }
        for name in ("all", "q|cd")
    },
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tokenizer = make_tokenizer()
    tokenizer.provenance = {
        "datasets": {"qcd": ["a.h5", "b.h5"]}, "jets": 17687, "particles": 1012994, "seed": 1,
        "device": "cpu", "torch": "2.13.0", "best_epoch": 12,
    }  # fmt: skip
    tokenizer.measured = summary(_METRICS)
    tokenizer.save(tmp_path)
    return tmp_path


def test_machines_read_the_front_matter(folder: Path):
    _, front, _ = (folder / "README.md").read_text().split("---\n", 2)
    said = yaml.safe_load(front)
    assert said["library_name"] == "treasure" and said["license"] == "bsd-3-clause"
    assert {"jets", "tokenizer", "kinematic", "deep_sets", "vq"} <= set(said["tags"])


def test_it_says_what_it_is_how_it_was_trained_and_what_was_measured(folder: Path):
    text = (folder / "README.md").read_text()
    assert "one id of 64 (0 to 63, no special tokens)" in text
    assert "| `log_pt` | -3 to 8 | clip to range" in text
    assert "qcd (2 files). Jets 17,687, particles 1,012,994, best epoch 12, seed 1." in text
    assert "On 4,004 jets" in text and "Codes in use: 61 of 64" in text
    assert "| q\\|cd | 0.9993 | 0.0076 | 1.0001 | 0.0039 |" in text
    for path in folder.iterdir():
        assert path.name == "README.md" or f"| `{path.name}` | " in text


def test_what_was_measured_travels_with_the_artefact(folder: Path, tmp_path: Path):
    Tokenizer.load(folder).save(tmp_path / "copy")
    for name in ("README.md", "tokenizer.json"):
        assert (tmp_path / "copy" / name).read_bytes() == (folder / name).read_bytes()


def test_the_card_may_be_edited_or_be_absent(folder: Path):
    (folder / "README.md").write_text("mine")
    Tokenizer.load(folder)
    (folder / "README.md").unlink()
    Tokenizer.load(folder)


def test_its_examples_run(folder: Path):
    pytest.importorskip("onnxruntime", reason="needs the extra `onnx`")
    examples = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert len(examples) == 2
    candidates, kinematics = toy_jets(5)
    import numpy as np

    np.savez(folder / "jets.npz", candidates=candidates, kinematics=kinematics)
    start = "import numpy as np\njets = np.load('jets.npz')\n"
    start += "candidates, kinematics = jets['candidates'], jets['kinematics']\n"
    for number, example in enumerate(examples):
        (folder / f"example{number}.py").write_text(start + example)
        run = subprocess.run(
            [sys.executable, f"example{number}.py"], cwd=folder, capture_output=True, text=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}, timeout=120,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr


def test_a_tokenizer_that_needs_torch_says_so(tmp_path: Path):
    config = {"features": {"kind": "particle_flow"}, "quantizer": {"codes": 8}}
    Tokenizer(TokenizerConfig.model_validate(config)).save(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "It needs torch" in text and "portable" not in text
    assert text.count("Nothing is recorded.") == 2
