"""The software as one archive in the store, for nodes that do not see the checkout.

It holds the packages of this Python's environment and the project. A node unpacks it once on its
scratch, whatever the number of jobs, and runs it with its own Python of the same version.
"""

import gzip
import shlex
import sys
import sysconfig
import tarfile
from functools import cache
from importlib import metadata
from pathlib import Path

from tasks.messages import say, shown_path
from treasure import store
from treasure.config.loading import CONFIG_DIRECTORY
from treasure.errors import ConfigError

__all__ = ["unpacked", "write_bundle"]

_FOLDER = ".bundles"
_OF_THE_PROJECT = ("treasure", "tasks", "config", "custom", "examples", "law.cfg")
_NOT_TAKEN = ("__pycache__",)
_PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
_PYTHIA_DATA = "share/Pythia8"  # of a wheel, outside its package
_LAW = "import sys; from law.cli.cli import run; sys.argv[0] = 'law'; sys.exit(run())"


@cache
def write_bundle(results: Path) -> Path:
    """Write the archive, unless the store has it: one for each content.

    Raises
    ------
    ConfigError
        If there is no checkout to take the project from.
    """
    home = CONFIG_DIRECTORY.parent
    if not (home / "law.cfg").is_file():
        raise ConfigError(
            "environment.kind bundle: needs a checkout of the project; use kind shared or container"
        )
    files = sorted(_project_files(home))
    content = {
        "layout": 1,
        "python": sys.version,
        "packages": sorted({f"{d.name}=={d.version}" for d in metadata.distributions()}),
        "project": {str(p.relative_to(home)): store.checksums(p)["sha256"] for p in files},
    }
    path = results / _FOLDER / f"{store.fingerprint(content)[:16]}.tar.gz"
    if path.is_file():
        return path
    say("packing the software for the jobs; this takes some minutes, once")
    packages = Path(sysconfig.get_paths()["purelib"])
    with (
        store.atomic_file(path) as temporary,
        gzip.open(temporary, "wb", compresslevel=1) as packed,
        tarfile.open(fileobj=packed, mode="w|") as archive,
    ):
        for file in files:
            archive.add(file, f"project/{file.relative_to(home)}")
        archive.add(packages, "packages", filter=_taken)
        if (shared := Path(sys.prefix) / _PYTHIA_DATA).is_dir():
            archive.add(shared, _PYTHIA_DATA)
    say(f"packed {path.stat().st_size / 1e9:.1f} GB → {shown_path(path)}")
    return path


def _project_files(home: Path) -> list[Path]:
    found = []
    for name in _OF_THE_PROJECT:
        path = home / name
        found += [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return [p for p in found if not set(p.parts) & set(_NOT_TAKEN)]


def _taken(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if Path(member.name).name in _NOT_TAKEN else member


def unpacked(archive: Path) -> tuple[list[str], list[str]]:
    """Lines of bash that unpack an archive once a node and set it up; and what stands for `law`."""
    name = archive.name.removesuffix(".tar.gz")
    lines = [
        f'place="${{TREASURE_SCRATCH:-${{TMPDIR:-/tmp}}}}/treasure-software-$(id -u)/{name}"',
        'mkdir -p "$place" || exit 1',
        # Other jobs on this node wait for the first.
        "( flock 9",
        '  if [ ! -e "$place/complete" ]; then',
        f'    tar -xzf {shlex.quote(str(archive))} -C "$place" && touch "$place/complete"',
        '  fi ) 9>"$place.lock" || exit 1',
        'export TREASURE_HOME="$place/project" LAW_HOME="$place/project/.law"',
        'export LAW_CONFIG_FILE="$place/project/law.cfg"',
        'export PYTHONPATH="$place/project:$place/packages"; unset PYTHONHOME',
        f'export PYTHIA8DATA="$place/{_PYTHIA_DATA}/xmldoc"',
    ]
    return lines, [_PYTHON, "-c", _LAW]
