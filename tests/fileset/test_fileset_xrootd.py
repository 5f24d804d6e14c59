"""Filesets and skims over a real XRootD server, alone in a network namespace."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

NOBODY = 65534  # xrootd refuses to run as root
PORT = 10940
CONFIGURATION = """
xrd.port {port}
xrd.network nodnr
all.role server
all.export /store nolock
oss.localroot {folder}/data
all.adminpath {folder}/admin
all.pidpath {folder}/run
xrootd.async off
xrootd.chksum max 16 adler32
ofs.persist auto hold 0
"""
# The server binds every address: it gets a network with nothing in it but itself.
SESSION = """
ip link set lo up
setpriv --reuid={nobody} --regid={nobody} --clear-groups \\
    xrootd -c {folder}/xrd.cfg -l {folder}/run/log -n t -I v4 &
server=$!
for _ in $(seq 600); do
    (exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null && break
    sleep 0.1
done
"$@"
result=$?
kill -9 $server
exit $result
"""
CLIENT = {"XRD_CONNECTIONWINDOW": "2", "XRD_CONNECTIONRETRY": "1", "XRD_REQUESTTIMEOUT": "20"}


@pytest.fixture
def served() -> Iterator[Path]:
    """Folder of a server to be; `data/store` in it is what the server exports as /store."""
    missing = [name for name in ("xrootd", "unshare", "setpriv", "ip") if not shutil.which(name)]
    if missing:
        pytest.skip(f"needs {', '.join(missing)} (Debian: xrootd-server, util-linux, iproute2)")
    if os.geteuid() != 0:
        pytest.skip("needs root, to give the server a network of its own")
    with tempfile.TemporaryDirectory(prefix="xrd") as name:
        folder = Path(name)
        for part in ("data/store", "admin", "run"):
            (folder / part).mkdir(parents=True)
        (folder / "xrd.cfg").write_text(CONFIGURATION.format(port=PORT, folder=folder))
        yield folder


def checks_pass(checks: Path, served: Path) -> None:
    """Run a file of tests beside the server of a folder, which now belongs to nobody."""
    session = SESSION.format(nobody=NOBODY, folder=served, port=PORT)
    pytest_command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", str(checks)]
    subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", str(served)], check=True)
    served.chmod(0o755)
    done = subprocess.run(
        ["unshare", "--net", "bash", "-c", session, "session", *pytest_command],
        env={**os.environ, **CLIENT, "XROOTD_TEST_FOLDER": str(served)},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "passed" in done.stdout


@pytest.mark.slow
def test_a_real_server(served: Path):
    checks_pass(Path(__file__).with_name("xrootd_checks.py"), served)
