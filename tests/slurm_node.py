"""A Slurm of one node on this machine, for tests: munged, slurmctld and slurmd in a directory.

By hand: ``python tests/slurm_node.py DIRECTORY`` starts one, prints the variable to export, and
stops it at Ctrl-C.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel")

_CONFIGURATION = """\
ClusterName=local
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={directory}/munge.socket
CredType=cred/munge
SlurmctldPort={controller_port}
SlurmdPort={node_port}
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool
SlurmctldLogFile={directory}/slurmctld.log
SlurmdLogFile={directory}/slurmd.log
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
MinJobAge=86400
MessageTimeout=60
BatchStartTimeout=120
SlurmdParameters=config_overrides
KillWait=2
SchedulerParameters=sched_interval=1,sched_min_interval=1,batch_sched_delay=1
ReturnToService=2
MailProg=/bin/true
MpiDefault=none
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=12000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Why there can be no Slurm here; empty if there can."""
    if os.geteuid() != 0:
        return "needs root, to start the daemons of Slurm"
    lacking = [name for name in PROGRAMS if shutil.which(name, path=_search_path()) is None]
    return f"no {', '.join(lacking)}: apt-get install slurm-wlm munge" if lacking else ""


def _search_path() -> str:
    return os.environ["PATH"] + ":/usr/sbin:/sbin"


class SlurmNode:
    """The daemons, and the commands of its users."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = os.environ | {
            "SLURM_CONF": str(directory / "slurm.conf"),
            "PATH": _search_path(),
        }
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "SlurmNode":
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self) -> None:
        for name in ("state", "spool"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        controller_port, node_port = _free_ports(2)
        (self.directory / "slurm.conf").write_text(
            _CONFIGURATION.format(
                host=_host(),
                directory=self.directory,
                controller_port=controller_port,
                node_port=node_port,
            )
        )
        key = self.directory / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        files = {"socket": "munge.socket", "pid-file": "munge.pid", "log-file": "munge.log",
                 "seed-file": "munge.seed", "key-file": "munge.key"}  # fmt: skip
        options = [f"--{option}={self.directory / name}" for option, name in files.items()]
        self._run_daemon("munged", "--foreground", "--force", *options)
        _wait_for(lambda: (self.directory / "munge.socket").exists(), "munged", self)
        self.start_controller()
        self._run_daemon("slurmd", "-D")
        _wait_for(lambda: self.state() == "idle", "slurmd", self)

    def _run_daemon(self, name: str, *options: str) -> None:
        with open(self.directory / f"{name}.out", "ab") as out:
            self._daemons[name] = subprocess.Popen(
                [name, *options], env=self.environment, cwd=self.directory,
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip

    def start_controller(self) -> None:
        self._run_daemon("slurmctld", "-D")
        _wait_for(lambda: bool(self.state()), "slurmctld", self)

    def let_controller_save(self) -> None:
        """Wait until all that the controller knows is on disk, so that it survives being killed."""
        saved = self.directory / "state" / "job_state"
        since = time.time_ns()
        for number in self.jobs():
            self("scontrol", "update", f"JobId={number}", "Comment=saved")
        _wait_for(lambda: saved.exists() and saved.stat().st_mtime_ns > since, "its state", self)

    def heal(self) -> None:
        """Bring back a controller that was killed; take away the mark of a node in trouble."""
        daemon = self._daemons.get("slurmctld")
        if daemon is None or daemon.poll() is not None:
            self.start_controller()
        if "drain" in self.state():
            self("scontrol", "update", f"NodeName={_host()}", "State=RESUME")

    def kill_controller(self) -> None:
        """As a crash of the machine does: with no chance to save anything."""
        daemon = self._daemons.pop("slurmctld")
        daemon.send_signal(signal.SIGKILL)
        daemon.wait()

    def stop(self) -> None:
        if "slurmctld" in self._daemons:
            self("scancel", "--user=root")
            for _ in range(50):
                if not self("squeue", "--noheader"):
                    break
                time.sleep(0.1)
        for name in ("slurmd", "slurmctld", "munged"):
            if daemon := self._daemons.pop(name, None):
                daemon.terminate()
                try:
                    daemon.wait(20)
                except subprocess.TimeoutExpired:
                    daemon.kill()
                    daemon.wait()

    def __call__(self, *command: str) -> str:
        """What a command of Slurm prints."""
        done = subprocess.run(
            command, env=self.environment, text=True, capture_output=True, check=False
        )
        return done.stdout.strip()

    def state(self) -> str:
        return self("sinfo", "--noheader", "--format=%T")

    def jobs(self) -> dict[int, tuple[str, str]]:
        """Number → (name, state) of all jobs that the controller remembers."""
        listed = self("squeue", "--noheader", "--states=all", "--format=%i %T %j").splitlines()
        rows = (line.split(maxsplit=2) for line in listed)
        return {int(number): (name, state) for number, state, name in rows}

    def log(self) -> str:
        """The ends of the logs of the daemons."""
        paths = sorted([*self.directory.glob("*.log"), *self.directory.glob("*.out")])
        return "\n".join(f"--- {p.name}\n{p.read_text(errors='replace')[-2000:]}" for p in paths)


def _host() -> str:
    return socket.gethostname().partition(".")[0]


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _wait_for(condition, name: str, node: SlurmNode) -> None:
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.1)
    raise RuntimeError(f"{name} does not answer\n{node.log()}")


if __name__ == "__main__":
    with SlurmNode(Path(sys.argv[1]).resolve()) as started:
        print(f"export SLURM_CONF={started.environment['SLURM_CONF']}", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
