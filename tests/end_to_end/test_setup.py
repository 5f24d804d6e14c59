"""setup.sh in the user's shell: bash and zsh, again, after a failure, beside other environments."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow

# A project small enough to be installed in seconds, with the commands that setup.sh calls.
_PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "small"
version = "1"
dependencies = ["iniconfig"]

[project.optional-dependencies]
test = []

[project.scripts]
law = "small:main"
treasure = "small:main"
"""


def shell(name: str, script: str, cwd: Path, *options: str, **extra: str):
    if shutil.which(name) is None:
        pytest.skip(f"needs {name} (Debian: apt-get install {name})")
    keep = {k: v for k, v in os.environ.items() if k.startswith(("PIP_", "SSL_", "LANG"))}
    path = ":".join(p for p in os.environ["PATH"].split(":") if ".venv" not in p)
    home = cwd / "home"
    home.mkdir(exist_ok=True)
    environment = keep | {"HOME": str(home), "PATH": path, "TERM": "dumb"} | extra
    return subprocess.run(
        [name, *options, "-c", script], cwd=cwd, env=environment, text=True, timeout=500,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["bash", "zsh"])
@pytest.mark.parametrize("options", [(), ("-i",)])
def test_an_installed_project_is_ready_at_once(name, options, tmp_path):
    script = f"""
source {HOME}/setup.sh || exit 7
echo "store=$TREASURE_STORE"
law run SkimJets --print-status 0
treasure config --section seed
echo "alive"
"""
    run = shell(name, script, tmp_path, *options)
    assert run.returncode == 0, run.stdout
    assert f"store={HOME}/data" in run.stdout
    assert "absent" in run.stdout or "existent" in run.stdout
    assert "seed: 1" in run.stdout and run.stdout.rstrip().endswith("alive")
    assert "installing" not in run.stdout


def test_what_the_user_set_is_kept_and_nothing_of_ours_is_left_behind(tmp_path):
    script = f"source {HOME}/setup.sh; echo $TREASURE_STORE; set | grep -c '^_treasure_[shf]'"
    run = shell("bash", script, tmp_path, TREASURE_STORE="/somewhere")
    assert run.stdout.split() == ["/somewhere", "0"]


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "a project"
    folder.mkdir()
    shutil.copy(HOME / "setup.sh", folder)
    (folder / "pyproject.toml").write_text(_PROJECT)
    (folder / "constraints.txt").write_text("iniconfig==2.0.0\n")
    (folder / "law.cfg").write_text("")
    (folder / "small.py").write_text("def main():\n    print('small')\n")
    return folder


@pytest.mark.parametrize("name", ["bash", "zsh"])
def test_a_failed_install_says_so_and_is_mended_by_sourcing_again(name, project, tmp_path):
    (project / "constraints.txt").write_text("iniconfig==99.99\n")
    source = f"source '{project}/setup.sh'"
    failed = shell(name, f"{source}; echo status=$?; echo alive", tmp_path)
    assert "status=1" in failed.stdout and "alive" in failed.stdout, failed.stdout
    assert "99.99" in failed.stdout and "source setup.sh again" in failed.stdout

    (project / "constraints.txt").write_text("iniconfig==2.0.0\n")
    mended = shell(name, f"{source} && law; echo status=$?", tmp_path)
    assert "small" in mended.stdout and "status=0" in mended.stdout, mended.stdout
    # without network
    again = shell(name, f"{source} && law", tmp_path, PIP_NO_INDEX="1", PIP_FIND_LINKS="")
    assert "installing" not in again.stdout and "small" in again.stdout


def test_a_broken_environment_is_made_anew(project, tmp_path):
    source = f"source '{project}/setup.sh'"
    assert shell("bash", source, tmp_path).returncode == 0
    (project / ".venv" / "bin" / "python").unlink()
    run = shell("bash", f"{source} && law", tmp_path)
    assert run.returncode == 0 and "small" in run.stdout, run.stdout


def test_the_users_own_environment_is_not_touched(project, tmp_path):
    own = tmp_path / "own"
    script = f"""
python3 -m venv --without-pip {own} && source {own}/bin/activate
before=$(find {own} -type f | sort | cksum)
source '{project}/setup.sh' && law
[ "$before" = "$(find {own} -type f | sort | cksum)" ] && echo untouched
[ "$VIRTUAL_ENV" = '{project}/.venv' ] && echo ours
"""
    run = shell("bash", script, tmp_path)
    assert "untouched" in run.stdout and "ours" in run.stdout, run.stdout


def test_without_a_python_it_says_what_to_install(project, tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("cat", "cksum", "dirname", "env", "bash", "rm"):
        (tools / tool).symlink_to(shutil.which(tool))
    run = shell("bash", f"source '{project}/setup.sh'; echo status=$?", tmp_path, PATH=str(tools))
    assert "apt-get install" in run.stdout and "status=1" in run.stdout
