"""The commands of batch systems: what they print, or why there is no answer."""

import re
import subprocess
from collections.abc import Callable
from functools import partial

from treasure.errors import ConfigError

__all__ = ["Ask", "Refused", "Silent", "questions"]

Ask = Callable[..., str]

_TIMEOUT = 120.0  # seconds, for one question


class Silent(Exception):
    """The batch system does not answer now."""


class Refused(Exception):
    """The batch system does not take a job, and will not when asked again."""


def questions(workflow: str, silent: re.Pattern[str], brief: Callable[[str], str]) -> Ask:
    """A function that runs a command of a batch system and returns what it prints.

    Parameters
    ----------
    workflow
        What ``--workflow`` calls the system.
    silent
        Found in the errors of a system that is down, restarts, or has too much to do.
    brief
        Makes one line of what a command printed.

    Raises
    ------
    Silent
        By that function, if the system does not answer now.
    Refused
        If it answers with an error.
    ConfigError
        If there is no such command.
    """
    return partial(_answer, workflow, silent, brief)


def _answer(
    workflow: str, silent: re.Pattern[str], brief: Callable[[str], str], *command: str
) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except FileNotFoundError:
        raise ConfigError(
            f"--workflow {workflow}: no {command[0]} on this machine; run on a machine from which"
            " jobs are submitted"
        ) from None
    except subprocess.TimeoutExpired:
        raise Silent(f"{command[0]} took more than {_TIMEOUT:.0f} s") from None
    if done.returncode == 0:
        return done.stdout
    said = f"{command[0]}: {brief(done.stderr or done.stdout)}"
    raise Silent(said) if silent.search(said) else Refused(said)
