"""Fixtures of the tests of releases."""

from pathlib import Path

import pytest

from tests.release.workshop import Workshop


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release, for tests that only read."""
    return Workshop(tmp_path_factory.mktemp("made")).release()
