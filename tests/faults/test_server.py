"""A real XRootD server that is killed while a skim reads from it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fileset.test_fileset_xrootd import CLIENT, NOBODY, served

__all__ = ["served"]

pytestmark = pytest.mark.slow


def test_a_server_goes_and_comes(served, indexed):
    checks = Path(__file__).with_name("server_checks.py")
    subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", str(served)], check=True)
    served.chmod(0o755)
    inside = 'ip link set lo up && exec "$@"'
    done = subprocess.run(
        ["unshare", "--net", "bash", "-c", inside, "session", sys.executable, "-m", "pytest",
         "-x", "-s", "-p", "no:cacheprovider", str(checks)],
        env={**os.environ, **CLIENT, "XROOTD_TEST_FOLDER": str(served)},
        capture_output=True,
        text=True,
        timeout=1500,
    )  # fmt: skip
    print(done.stdout[-3000:])
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "passed" in done.stdout
