"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[1]
SHARED = HOME.parent / "shared"

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
