"""What is handed to batch systems: submit files, scripts, names; and what is told of failures."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tasks import batch, htcondor, jobs, slurm
from tasks.batch_commands import Refused, Silent
from tasks.jets import WriteH5
from tasks.skim import SkimJets
from treasure.config.site import Environment, HTCondor, Resources, Slurm
from treasure.errors import ConfigError, DataError

ASKED = Resources(memory_gb=2, hours=1.5, cpus=4, gpus=1, disk_gb=10)
SCRIPT = Path("/store/test/SkimJets/qcd/v1-0/jobs/job.sh")


@pytest.fixture
def skim(tmp_path, monkeypatch):
    monkeypatch.setenv("TREASURE_STORE", str(tmp_path))
    return SkimJets(version="v1", config="test", dataset="qcd", workflow="slurm")


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Writes stand-ins for commands of batch systems, which are found before others."""
    folder = tmp_path / "commands"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def write(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/bash\n{script}\n")
        (folder / name).chmod(0o755)

    return write


def test_the_way_to_run_is_handed_on_and_in_no_fingerprint(tmp_path, monkeypatch):
    monkeypatch.setenv("TREASURE_STORE", str(tmp_path))
    options = {"version": "v1", "config": "test", "dataset": "qcd"}
    here = WriteH5(**options)
    there = WriteH5(
        **options,
        site="generic_slurm",
        tasks_per_job=7,
        retries=0,
        max_runtime=1.0,
        parallel_jobs=3,
    )
    assert (here.workflow, there.workflow) == ("local", "slurm")
    skim = there.skims
    assert (skim.workflow, skim.tasks_per_job, skim.retries) == ("slurm", 7, 0)
    assert skim.job_resources().hours == 1
    assert here.fingerprint == there.fingerprint
    assert here.directory == there.directory
    assert here.provenance() == there.provenance()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"workflow": "slrum"}, "--workflow slrum: .*did you mean 'slurm'"),
        ({"site": "generic_slrum"}, "did you mean 'generic_slurm'"),
        ({"tasks_per_job": 0}, "--tasks-per-job 0: more than 0"),
    ],
)
def test_a_wrong_option_is_told(options, told):
    with pytest.raises(ConfigError, match=told):
        SkimJets(version="v1", config="test", **options)


def test_a_site_says_how_branches_run(tmp_path):
    site = tmp_path / "mine.yaml"
    site.write_text("workflow: htcondor\n")
    assert SkimJets(version="v1", config="test", site=str(site)).workflow == "htcondor"


def test_a_job_has_the_same_name_each_time_and_no_other_has_it(skim, tmp_path, monkeypatch):
    name = jobs.job_name(skim, [3, 4, 5])
    assert name == jobs.job_name(skim, [3, 4, 5])
    assert name.startswith("SkimJets_qcd_3-5_")
    others = {jobs.job_name(skim, [3]), jobs.job_name(skim, [3, 5]), name}
    monkeypatch.setenv("TREASURE_STORE", str(tmp_path / "other"))
    assert len(others | {jobs.job_name(skim, [3, 4, 5])}) == 4


def test_the_script_runs_the_branches_in_the_same_place(tmp_path, monkeypatch):
    (tmp_path / "with space").mkdir()
    monkeypatch.chdir(tmp_path / "with space")
    monkeypatch.setenv("TREASURE_STORE", str(tmp_path / "the store"))
    monkeypatch.delenv("TREASURE_SCRATCH", raising=False)
    told = "import os, sys; print(os.getcwd(), os.environ['TREASURE_STORE'], os.environ['MINE'], "
    command = ["python", "-c", told + "os.environ['TREASURE_SCRATCH'], *sys.argv[1:], sep='\\n')"]
    environment = Environment(setup=["export MINE=loaded"])
    text = jobs.script_text(environment, command, "$HOME/scratch", label="a stage")
    path = tmp_path / "job.sh"
    path.write_text(text)

    def run(*arguments: str) -> list[str]:
        done = subprocess.run(
            ["bash", str(path), *arguments],
            env={"PATH": "/usr/bin:/bin", "HOME": "/home/me"}, cwd="/",
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout.splitlines()[1:]

    here = [str(tmp_path / "with space"), str(tmp_path / "the store"), "loaded", "/home/me/scratch"]
    assert run("3,4", "2") == [*here, "--branches=3,4", "--workers=2"]
    assert run("7") == [*here, "--branch=7", "--workers=1"]


@pytest.mark.parametrize("runtime", ["apptainer", "singularity", "shifter", "podman-hpc"])
def test_in_a_container_its_own_software_is_used(tmp_path, monkeypatch, runtime):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TREASURE_STORE", "/results")
    environment = Environment(kind="container", image="my.sif", runtime=runtime, options=["--x"])
    text = jobs.script_text(environment, ["law", "run", "X"], None, label="a stage")
    command = shlex.split(text.splitlines()[-1])
    assert command[:2] == ["exec", runtime]
    assert command[-5:-2] == ["law", "run", "X"]
    assert any("my.sif" in part for part in command) and "--x" in command
    assert "TREASURE_HOME" not in text and ".venv" not in text
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)


def test_a_job_does_not_go_on_where_its_environment_is_not_set_up(tmp_path, monkeypatch):
    monkeypatch.setenv("TREASURE_STORE", str(tmp_path))
    lines = ["true  # a comment", "sleep 0 &", "if true; then", "touch once", "fi"]
    lines += ["module load 'it' 2>/dev/null", "touch never"]
    environment = Environment(setup=lines)
    script = jobs.script_text(environment, ["law"], None, label="a stage")
    done = subprocess.run(
        ["bash", "-s", "0"], input=script, text=True, capture_output=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 1 and not (tmp_path / "never").exists()
    assert (tmp_path / "once").exists()
    assert "environment.setup of the site: \"module load 'it' 2>/dev/null\" failed" in done.stderr


def test_names_that_slurm_takes_for_something_else(tmp_path, monkeypatch):
    for name in ("a'b", 'a"b', "a,b", "a#b", "a\\b"):
        monkeypatch.setenv("TREASURE_STORE", str(tmp_path / name))
        task = SkimJets(version="v1", config="test", dataset="qcd", workflow="slurm")
        with pytest.raises(ConfigError, match="which Slurm does not take in the name of a log"):
            task.workflow_proxy.job_text("x", SCRIPT, ["0", "1"])
    monkeypatch.setenv("TREASURE_STORE", str(tmp_path / "50 %j ü (x)"))
    task = SkimJets(version="v1", config="test", dataset="qcd", workflow="slurm")
    text = task.workflow_proxy.job_text("x", SCRIPT, ["0", "1"])
    assert "50 %%j ü (x)/test/SkimJets/qcd/" in text and '/jobs/x.%j.log"' in text


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("sbatch: unrecognized option '--nosuch=1'\nTry \"sbatch --help\" for more information",
         "unrecognized option '--nosuch=1'"),
        ("sbatch: error: invalid partition specified: x\nsbatch: error: Batch job submission"
         " failed: Invalid partition name specified",
         "Batch job submission failed: Invalid partition name specified"),
        ("", "no answer"),
    ],
)  # fmt: skip
def test_the_error_of_slurm_is_told_and_not_its_advice(commands, said, told):
    commands("sbatch", f"cat >&2 <<'END'\n{said}\nEND\nexit 1")
    with pytest.raises(Refused, match=f"^sbatch: {re.escape(told)}$"):
        slurm.SlurmJobs().submit_file(SCRIPT)


def test_it_is_said_what_waiting_jobs_wait_for(skim, commands):
    states = {7: "PENDING 0 BeginTime", 8: "PENDING 0 None"}
    commands("squeue", "".join(f"echo '{n} {state}'\n" for n, state in states.items()))
    manager = skim.workflow_proxy.job_manager
    manager.query([7, 8])
    line = "jobs: all: 3, pending: 3, running: 0, finished: 0, retry: 0, failed: 0"
    told = "SkimJets qcd: 0 of 3 jobs done (0%), 3 pending, waiting for: BeginTime"
    assert skim.modify_polling_status_line(line) == told
    assert skim.modify_polling_status_line(line) == ""  # nothing new
    running = line.replace("pending: 3, running: 0", "pending: 2, running: 1")
    assert "waiting" not in skim.modify_polling_status_line(running)
    commands("squeue", "echo '7 RUNNING 0 None'")
    manager.query([7])
    assert "waiting" not in skim.modify_polling_status_line(line)
    manager.waits_for[9] = "Resources"
    commands("squeue", "true")
    commands("sacct", "exit 1")
    manager.query([9])  # it is gone
    assert manager.waits_for == {}


def test_a_job_of_slurm(tmp_path):
    site = Slurm(partition="long", account="phys", qos="q", constraint="cpu", extra={"nice": 5})
    text = slurm.job_text("name", "/log.%j.log", SCRIPT, ["3,4", "2"], ASKED, site)
    options = [line.split("--", 1)[1] for line in text.splitlines() if line.startswith("#SBATCH")]
    assert options == [
        "job-name=name", "output=/log.%j.log", "open-mode=append", "ntasks=1", "cpus-per-task=4",
        "time=90", "mem=1908M", "gpus=1", "partition=long", "account=phys", "qos=q",
        "constraint=cpu", "nice=5",
    ]  # fmt: skip
    assert text.splitlines()[-1] == f"exec bash {SCRIPT} 3,4 2"
    text = slurm.job_text("name", "log", SCRIPT, ["3"], ASKED, Slurm(ask_memory=False))
    assert "--mem" not in text and "partition" not in text


def test_a_job_of_htcondor_as_its_own_parser_reads_it(monkeypatch):
    monkeypatch.setenv("CONDOR_CONFIG", "/dev/null")
    htcondor2 = pytest.importorskip("htcondor2", reason="pip install htcondor")
    site = HTCondor(
        accounting_group="group_u_CMS",
        requirements='Machine != "a"',
        extra={"MY.SendCredential": True},
    )
    text = htcondor.job_text(
        "name", "/log.$(ClusterId).0.log", Path("/a b/job.sh"), ["3,4", "2"], ASKED, site
    )
    submit = htcondor2.Submit(text)
    expected = {
        "universe": "vanilla",
        "batch_name": "name",
        "executable": "/bin/bash",
        "arguments": "\"'/a b/job.sh' 3,4 2\"",
        "request_cpus": "4",
        "request_gpus": "1",
        "request_memory": "1908MB",
        "request_disk": "9537MB",
        "allowed_job_duration": "5400",
        "accounting_group": "group_u_CMS",
        "requirements": 'Machine != "a"',
        "MY.SendCredential": "true",
    }
    assert {key: submit.expand(key) for key in expected} == expected
    assert submit.getQArgs() in ("", "1")


def test_what_htcondor_says_is_understood(tmp_path, monkeypatch):
    """Stand-ins speak as condor_submit and condor_q do by their manuals: there is no pool."""
    for name, says in {
        "condor_submit": "echo 'Submitting job(s).'; echo '1 job(s) submitted to cluster 42.'",
        "condor_q": "echo '42.0 SkimJets_qcd_0_abc'",
        "condor_version": "echo '$CondorVersion: 24.0.1 2024-10-31 $'",
    }.items():
        path = tmp_path / name
        path.write_text(f"#!/bin/bash\n{says}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    manager = htcondor.HTCondorJobs()
    assert manager.submit_file(tmp_path / "x.sub") == "42.0"
    assert manager.find_jobs() == {"SkimJets_qcd_0_abc": "42.0"}
    (tmp_path / "condor_q").write_text(
        "#!/bin/bash\necho 'Failed to connect to schedd' >&2; exit 1\n"
    )
    with pytest.raises(Silent):
        manager.find_jobs()
    (tmp_path / "condor_submit").write_text(
        "#!/bin/bash\necho 'ERROR: no such group' >&2; exit 1\n"
    )
    with pytest.raises(Refused, match="no such group"):
        manager.submit_file(tmp_path / "x.sub")


def test_without_a_batch_system_its_command_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="no squeue on this machine"):
        slurm.SlurmJobs().find_jobs()
    with pytest.raises(ConfigError, match="no condor_q on this machine"):
        htcondor.HTCondorJobs().find_jobs()


def test_the_end_of_a_log_tells_what_happened_once(tmp_path):
    log = tmp_path / "log"
    log.write_text("# start\nevents 3\nerror: the file is gone\n\n===\nerror: the file is gone\n")
    assert jobs.end_of_log(log) == ["events 3", "error: the file is gone"]
    assert jobs.end_of_log(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ("slurmstepd: error: Exceeded job memory limit", "memory_gb"),
        ("out of memory", "memory_gb"),
        ("slurmstepd: error: Detected 1 oom_kill event in StepId=1.batch", "memory_gb"),
        ("JOB 5 ON n1 CANCELLED AT 2024-01-01 DUE TO TIME LIMIT", "--max-runtime"),
        ("the file is damaged", ""),
    ],
)
def test_what_to_do_is_said_where_it_is_known(said, word):
    told = jobs.hint("exit code 1", [said], "SkimJets")
    assert (word in told) if word else (told == "")


@pytest.mark.parametrize(
    ("workflow", "command", "says", "told"),
    [
        (
            "slurm", "squeue", "squeue: fatal: Could not establish a configuration source",
            "slurm does not take questions .*squeue: Could not establish.*check SLURM_CONF",
        ),
        (
            "htcondor", "condor_q", "or put a condor_config file in /etc/condor/\nExiting.",
            "htcondor does not take questions .*put a condor_config.*check CONDOR_CONFIG",
        ),
    ],
)  # fmt: skip
def test_a_batch_system_that_is_not_set_up_is_told_in_a_line(
    tmp_path, monkeypatch, commands, workflow, command, says, told
):
    monkeypatch.setenv("TREASURE_STORE", str(tmp_path / "store"))
    commands(command, f"echo '{says}' >&2; exit 1")
    commands("condor_version", "echo '$CondorVersion: 24.0.1 2024-10-31 $'")
    task = SkimJets(version="v1", config="test", dataset="qcd", workflow=workflow)
    with pytest.raises(DataError, match=told) as error:
        task.workflow_proxy.run()
    assert "\n" not in str(error.value)


def test_of_a_server_that_does_not_answer_is_said_again_and_again(
    tmp_path, monkeypatch, capsys, commands
):
    monkeypatch.setattr(batch, "_BETWEEN_QUESTIONS", 0)
    monkeypatch.setattr(batch, "_REMINDED_EVERY", 0)
    script = f"""echo x >> {tmp_path}/asked
    case $(wc -l < {tmp_path}/asked) in
      4|6) echo "7 RUNNING mine" ;;
      *) echo "squeue: error: Unable to contact slurm controller" >&2; exit 1 ;;
    esac"""
    commands("squeue", script)
    manager = slurm.SlurmJobs()
    assert manager.patiently_found() == {"mine": 7}
    first, *reminders, last = capsys.readouterr().out.splitlines()
    assert "does not answer (squeue: Unable to contact slurm controller)" in first
    assert len(reminders) == 2 and all("no answer of the" in line for line in reminders)
    for line in (first, *reminders):
        assert "not submitted anything here yet, Ctrl-C ends it; check SLURM_CONF" in line
    assert last == "the batch system answers"
    manager.patiently_found()
    first, last = capsys.readouterr().out.splitlines()
    assert first.endswith("; waiting for it") and last.endswith("answers again")


def test_a_job_is_not_submitted_from_a_site_that_is_not_filled_in(tmp_path, monkeypatch, commands):
    monkeypatch.setenv("TREASURE_STORE", str(tmp_path / "store"))
    commands("squeue", f"touch {tmp_path}/asked")
    task = SkimJets(version="v1", config="test", dataset="qcd", site="nersc_perlmutter")
    with pytest.raises(ConfigError, match=r"nersc_perlmutter.yaml: slurm.account still to be"):
        task.workflow_proxy.run()
    assert not (tmp_path / "asked").exists()

    mine = tmp_path / "mine.yaml"
    mine.write_text("defaults: nersc_perlmutter\nslurm: {account: m1234}\n")
    task = SkimJets(version="v1", config="test", dataset="qcd", site=str(mine))
    task.check_site_is_filled_in()
    mine.write_text("defaults: nersc_perlmutter\n")
    task = SkimJets(version="v1", config="test", dataset="qcd", site=str(mine))
    with pytest.raises(
        ConfigError, match=rf"slurm.account still .*; do it in {re.escape(str(mine))}"
    ):
        task.check_site_is_filled_in()


def test_a_store_that_is_chosen_needs_no_filling_in(tmp_path, monkeypatch):
    monkeypatch.setenv("TREASURE_HOME", str(tmp_path))
    monkeypatch.setenv("TREASURE_STORE", str(tmp_path / "data"))  # as setup.sh sets it
    task = SkimJets(version="v1", config="test", dataset="qcd", site="cern_lxbatch")
    with pytest.raises(ConfigError, match=r"cern_lxbatch.yaml: store still to be"):
        task.check_site_is_filled_in()
    monkeypatch.setenv("TREASURE_STORE", str(tmp_path / "chosen"))
    task.check_site_is_filled_in()


def test_with_no_jobs_to_cancel_it_says_so(skim, capsys):
    task = SkimJets(version="v1", config="test", dataset="qcd", workflow="slurm", cancel_jobs=True)
    task.workflow_proxy.run()
    assert capsys.readouterr().out == "SkimJets qcd: no jobs to cancel\n"


def test_a_log_that_was_never_written_is_named_as_such(skim, tmp_path, capsys):
    log = tmp_path / "a.log"
    job = {"extra": {"log": str(log)}, "error": "failed", "code": 1, "branches": [0]}
    skim.forward_dashboard_event(None, job, "status.failed", 1)
    assert "a.log (never written)" in capsys.readouterr().out
    log.write_text("it began\n")
    skim.forward_dashboard_event(None, job, "status.failed", 1)
    assert "never written" not in capsys.readouterr().out
