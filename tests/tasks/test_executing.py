"""Parameters of SkimJets' executor: handed on, refused where wrong, in no fingerprint."""

import shutil
from pathlib import Path

import pytest

from tasks.jets import WriteH5
from tasks.skim import MergeCutflows, SkimJets
from tests.terminal import Terminal
from treasure.errors import ConfigError
from treasure.store import checksums, read_manifest, write_text

DASK = {"executor": "dask", "executor_workers": 3, "dask_address": "tcp://host:8786"}


def skim_of(task):
    """The SkimJets of the same dataset that leads to a stage."""
    required = task.requirements().values()
    found = [one for one in required if isinstance(one, (SkimJets, MergeCutflows))]
    skims = [one for one in found if isinstance(one, SkimJets)]
    return skims[0] if skims else skim_of(found[0])


def test_later_stages_hand_the_executor_on_and_no_fingerprint_knows_it():
    for family in (MergeCutflows, WriteH5):
        plain, chosen = family(config="test"), family(config="test", **DASK)
        assert {name: getattr(skim_of(chosen), name) for name in DASK} == DASK
        assert skim_of(plain).executor == "iterative"
        assert chosen.fingerprint == plain.fingerprint
        assert skim_of(chosen).directory == skim_of(plain).directory
        assert chosen.task_id == plain.task_id


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"executor": "future"}, "--executor future: .*did you mean 'futures'"),
        ({"executor": "futures", "executor_workers": -1}, "--executor-workers -1: expected"),
        ({"dask_address": "tcp://a:1"}, "--executor is iterative; add --executor dask"),
        ({"executor_workers": 3}, "--executor-workers 3: --executor is iterative, which has none"),
        (
            {"executor": "dask", "dask_address": "nonsense"},
            "--dask-address nonsense: expected host",
        ),
        ({"executor": "dask", "dask_address": "tcp://host"}, "--dask-address tcp://host: expected"),
    ],
)
def test_what_cannot_be_meant_is_refused(parameters, message):
    with pytest.raises(ConfigError, match=message):
        SkimJets(config="test", **parameters)


@pytest.mark.parametrize(
    "address", ["host:8786", "tcp://10.0.0.1:8786", "tls://[::1]:8786", "ws://host:80/ws"]
)
def test_addresses_of_schedulers_are_taken(address):
    assert SkimJets(config="test", executor="dask", dask_address=address).dask_address == address


def skims(store: Path) -> dict[str, str]:
    """File -> checksum of what the two wrote; not of manifests, which have times."""
    return {
        str(path.relative_to(store)): checksums(path)["sha256"]
        for family in ("SkimJets", "MergeCutflows")
        for path in (store / "test" / family).rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        ("--executor", "futures"),
        ("--SkimJets-executor", "futures", "--executor", "dask", "--executor-workers", "2"),
        ("--executor", "dask", "--workers", "2"),
    ],
    ids=["futures", "by family", "dask"],
)
def test_on_the_command_line_the_results_are_the_same(tmp_path, options):
    terminal = Terminal(tmp_path)
    changes = ("--set", "selection.events_per_chunk=20", "--set", "datasets.qcd.files_per_branch=2")
    assert terminal.law("MergeCutflows", *changes).code == 0
    expected = skims(tmp_path)
    assert len([name for name in expected if "part_" in name]) == 10
    for family in ("SkimJets", "MergeCutflows"):
        shutil.rmtree(tmp_path / "test" / family)
    run = terminal.law("MergeCutflows", *changes, *options)
    assert run.code == 0
    assert run.stages == ["SkimJets", "MergeCutflows"]
    assert skims(tmp_path) == expected
    assert run.text.count("Dask dashboard: http") == ("dask" in options[1])
    assert "Traceback" not in run.text and "WARNING" not in run.text


def test_a_file_that_a_lost_worker_still_writes_is_in_no_manifest(tmp_path, monkeypatch):
    monkeypatch.setenv("TREASURE_STORE", str(tmp_path))
    task = SkimJets(config="test", branch=0)
    with task.stage() as stage:
        write_text(stage.directory / "part_1.parquet", "whole")
        (stage.directory / f".part_2.{32 * 'b'}.tmp.parquet").write_text("half")
    assert set(read_manifest(stage.directory)["files"]) == {"part_1.parquet"}
