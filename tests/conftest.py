"""Fixtures shared by all tests."""

import os
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.terminal import Terminal

HOME = Path(__file__).resolve().parents[1]
SHARED = HOME.parent / "shared"

# No example of a property has a time to keep to; what the command line chose stays.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
if settings.get_current_profile_name() == "default":
    settings.load_profile("any machine")

# What setup.sh sets, for a pytest that was started without it.
os.environ.setdefault("TREASURE_HOME", str(HOME))
os.environ.setdefault("LAW_HOME", str(HOME / ".law"))
os.environ.setdefault("LAW_CONFIG_FILE", str(HOME / "law.cfg"))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory) -> None:
    """What is remembered of files is not mixed with the user's."""
    os.environ["TREASURE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of sample files beside the project; skips where it is absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"needs the sample files in {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def indexed() -> None:
    """The index that `law run` looks tasks up in."""
    subprocess.run(["law", "index", "--quiet"], check=True)


@pytest.fixture(scope="session")
def finished(indexed: None, tmp_path_factory: pytest.TempPathFactory) -> Terminal:
    """A store in which the whole chain has run, with the output of that run in `.run`."""
    terminal = Terminal(tmp_path_factory.mktemp("store"))
    start = time.monotonic()
    terminal.run = terminal.law("BenchmarkTopTagging")
    terminal.seconds = time.monotonic() - start
    assert terminal.run.code == 0, terminal.run.text
    return terminal
