"""The console program on its own: what it prints, and how it answers mistakes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from treasure.cli.scaffold import create_task
from treasure.errors import ConfigError

HOME = Path(__file__).resolve().parents[2]


def treasure(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; sys.argv[0] = 'treasure'; from treasure.cli import app; app()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | {"COLUMNS": "200"} | environment,
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
    )  # fmt: skip


def test_help_names_every_command():
    run = treasure("--help")
    assert run.returncode == 0
    for command in ("inspect", "config", "new-task"):
        assert command in run.stdout


def test_config_shows_values_origins_and_meaning():
    run = treasure("config", "test", "--set", "selection.jet_pt_min=321")
    assert "selection.jet_pt_min: 321.0   ← --set" in run.stdout
    assert "datasets.qcd.source.n_files: 2   ← config/test.yaml" in run.stdout
    assert 'datasets.qcd.source.process: "qcd"   ← config/demo.yaml' in run.stdout
    assert "datasets.qcd.source.energy: 13000.0   ← default" in run.stdout
    assert "GeV" in run.stdout


def test_config_as_yaml_is_a_configuration_again(tmp_path):
    text = treasure("config", "demo", "--yaml").stdout
    path = tmp_path / "again.yaml"
    path.write_text(text)
    assert yaml.safe_load(text)["selection"]["jet_pt_min"] == 300
    assert treasure("config", str(path), "--yaml").stdout == text


def test_a_section_of_the_configuration_and_a_wrong_one():
    run = treasure("config", "--section", "splits", "--no-describe")
    assert [line.split(":")[0] for line in run.stdout.splitlines()[1:]] == [
        "splits.train",
        "splits.val",
        "splits.test",
    ]
    wrong = treasure("config", "--section", "split")
    assert wrong.returncode == 1 and "did you mean 'splits'" in wrong.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("config", "dmo"), "did you mean 'demo'"),
        (("config", "demo", "--set", "selection.pt=3"), "selection.pt: unknown key"),
        (("inspect", "/nowhere.h5"), "no such file"),
        (("inspect", str(HOME / "README.md")), "cannot tell what it is"),
        (("inspect", str(HOME / "config")), "without manifest.json"),
        (("new-task", "count jets"), "called like a class"),
    ],
)
def test_mistakes_are_answered_in_a_line(arguments, says):
    run = treasure(*arguments)
    assert run.returncode == 1
    assert says in run.stdout and len(run.stdout.splitlines()) <= 2, run.stdout


@pytest.mark.parametrize("suffix", [".root", ".h5", ".parquet", ".json"])
def test_inspecting_a_damaged_file_names_it(tmp_path, suffix):
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(b"not what the name says")
    run = treasure("inspect", str(path))
    assert run.returncode == 1
    assert str(path) in run.stdout and "Traceback" not in run.stdout


def test_inspect_shows_the_first_jets_of_the_reference_table(shared):
    run = treasure("inspect", str(shared / "reference" / "aoj_maker" / "qcd_300.h5"), "--rows", "1")
    assert "jets: 437" in run.stdout and "308.79" in run.stdout


def test_inspect_reads_the_samples_of_all_layouts(shared):
    for path in sorted((shared / "data" / "pfnano").glob("*.root")):
        run = treasure("inspect", str(path), "--rows", "1")
        assert run.returncode == 0 and "tree Events" in run.stdout, run.stdout


def test_a_new_task_is_a_module_a_test_and_a_line_in_law_cfg(tmp_path, monkeypatch):
    shutil.copy(HOME / "law.cfg", tmp_path)
    monkeypatch.setenv("TREASURE_HOME", str(tmp_path))
    create_task("CountWJets2", None)
    module = (tmp_path / "custom" / "count_w_jets2.py").read_text()
    assert "class CountWJets2(DatasetTask)" in module
    compile((tmp_path / "custom" / "test_count_w_jets2.py").read_text(), "test", "exec")
    lines = (tmp_path / "law.cfg").read_text().splitlines()
    modules = lines[lines.index("[modules]") + 1 : lines.index("")]
    assert modules[-1] == "custom.count_w_jets2" and "tasks.benchmark" in modules
    with pytest.raises(ConfigError, match="there already"):
        create_task("CountWJets2", None)
    with pytest.raises(ConfigError, match="inside"):
        create_task("Other", tmp_path.parent / "elsewhere")
    with pytest.raises(ConfigError, match="not the name of a module"):
        create_task("Other", tmp_path / "not-a-module")
