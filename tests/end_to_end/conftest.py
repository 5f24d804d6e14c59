"""The workflow as a user runs it: law on the command line, in a store of its own."""

import pytest

from tests.terminal import STAGES, Run, Terminal, release_checksums

__all__ = ["STAGES", "Run", "Terminal", "release_checksums"]


@pytest.fixture(autouse=True)
def _law_knows_the_tasks(indexed: None) -> None:
    pass
