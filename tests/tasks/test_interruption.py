"""Signals that come at a wrong moment."""

import logging
import os
import signal
import subprocess
import sys

import pytest

# The signal comes when logging has its lock, and before it knows to give it back.
SCRIPT = """
import logging, os, sys, threading, time
sys.argv = ["law run"]
from tasks import interruption
interruption.end_well()
usual = logging._acquireLock
exec("def acquire():\\n _lock.acquire()\\n os.kill(os.getpid(), %d)", vars(logging))
logging._acquireLock = logging.acquire
try:
    logging.getLogger("one").isEnabledFor(10)
    logging._acquireLock = usual
    time.sleep(60)
    print("no signal")
except KeyboardInterrupt as stopped:
    logging._acquireLock = usual
    print(stopped)
thread = threading.Thread(target=logging.getLogger("two").info, args=("a word",), daemon=True)
thread.start()
thread.join(20)
print("waits for ever" if thread.is_alive() else "ends")
"""


@pytest.mark.skipif(not hasattr(logging, "_acquireLock"), reason="logging has no such function")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_while_logging_takes_its_lock_leaves_no_lock_taken(name):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT % signal.Signals[name]], env=os.environ, text=True,
        capture_output=True, timeout=300,
    )  # fmt: skip
    assert done.stdout == f"stopped by {name}\nends\n", done.stdout + done.stderr
