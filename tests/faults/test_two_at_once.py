"""The same command twice at the same time."""

import signal

import pytest

from tests.faults.running import Started, copy_of, data

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("killed", [False, True])
def test_two_who_start_the_same_command_get_the_same_result(finished, tmp_path, killed):
    store = copy_of(finished.store, tmp_path / "store", without=("SimulatePFNano", "CreateFileset"))
    command = ("law", "run", "CreateFileset", "--version", "v1", "--config", "test")
    runs = [Started(store, tmp_path / f"scratch{n}", *command, "--workers", "2") for n in range(2)]
    if killed:
        assert runs[0].wait_until(runs[0].workers), runs[0].text
        runs[0].kill(signal.SIGKILL)
    text = ""
    for run in runs[killed:]:
        assert run.finish() == 0, run.text
        assert "Traceback" not in run.text and "error" not in run.text, run.text
        assert not [p for p in run.scratch.iterdir() if p.name.startswith("pymp-")]
        text += run.text
    wanted, made = data(finished.store), data(store)
    assert made == {name: wanted[name] for name in made}
    if not killed:  # every branch was made once
        assert text.count("SimulatePFNano qcd 0: events") == 1
        assert text.count("SimulatePFNano qcd 1: events") == 1
    assert runs[1].is_clean()
