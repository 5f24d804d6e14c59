"""The same bytes every time, complete or not at all."""

import hashlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from treasure.config.simulation import SimulationSource
from treasure.errors import TreasureError
from treasure.simulation.generate import simulate_file
from treasure.simulation.reproducible import fix_times

SOURCE = SimulationSource(process="qcd", events_per_file=12, pthat_min=500.0)
PROGRAM = """
import sys
from pathlib import Path
from treasure.config.simulation import SimulationSource
from treasure.simulation.generate import simulate_file
source = SimulationSource.model_validate_json(sys.argv[1])
simulate_file(source, seed=5, branch=1, path=Path(sys.argv[2]))
"""


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_same_seed_and_branch_give_the_same_bytes_in_any_process(tmp_path: Path) -> None:
    # Other names, other seconds and other processes must not show in the files.
    steps: list[tuple[int, int]] = []
    simulate_file(
        SOURCE, seed=5, branch=1, path=tmp_path / "a.root", progress=lambda *s: steps.append(s)
    )
    assert steps[-1] == (12, 12)
    time.sleep(1.1)
    other = tmp_path / "elsewhere" / "with_another_name.root"
    subprocess.run(
        [sys.executable, "-c", PROGRAM, SOURCE.model_dump_json(), str(other)], check=True
    )
    assert digest(tmp_path / "a.root") == digest(other)

    simulate_file(SOURCE, seed=5, branch=0, path=tmp_path / "b.root")
    assert digest(tmp_path / "a.root") != digest(tmp_path / "b.root")


def test_a_killed_run_leaves_no_final_file(tmp_path: Path) -> None:
    path = tmp_path / "killed.root"
    source = SOURCE.model_copy(update={"events_per_file": 100_000})
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, source.model_dump_json(), str(path)],
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".*.tmp.root")) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert list(tmp_path.glob(".*.tmp.root")), "writing did not start"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not path.exists()


def test_fixing_the_times_of_something_else_is_an_error(tmp_path: Path, qcd_file: Path) -> None:
    cut = tmp_path / "cut.root"
    cut.write_bytes(qcd_file.read_bytes()[:-100])
    with pytest.raises(TreasureError, match="not a complete ROOT file"):
        fix_times(cut)
    damaged = bytearray(qcd_file.read_bytes())
    damaged[300:340] = b"\xff" * 40
    cut.write_bytes(damaged)
    before = digest(cut)
    with pytest.raises(TreasureError):
        fix_times(cut)
    assert digest(cut) == before


def test_a_rest_of_the_list_of_free_segments_is_no_damage(tmp_path: Path) -> None:
    # uproot had two free segments, then one: seen behind the list in a file of 1,000 events.
    source = SimulationSource(process="qcd", events_per_file=1, pthat_min=500.0)
    path = tmp_path / "a.root"
    simulate_file(source, seed=5, branch=0, path=path)
    data = path.read_bytes()
    end = int.from_bytes(data[12:16], "big")
    rest = b"\x00\x01\x00\x17\xc8\xefw5\x94\x00"
    longer = data[:12] + (end + len(rest)).to_bytes(4, "big") + data[16:] + rest
    path.write_bytes(longer)
    fix_times(path)
    assert path.read_bytes()[-len(rest) :] == rest
    path.write_bytes(longer[:-1] + b"\x01" * 100)
    with pytest.raises(TreasureError, match="not a complete ROOT file"):
        fix_times(path)
    much = longer[:12] + (end + 100).to_bytes(4, "big") + longer[16:end] + b"\x01" * 100
    path.write_bytes(much)
    with pytest.raises(TreasureError, match=f"no record at byte {end} of {end + 100}"):
        fix_times(path)
