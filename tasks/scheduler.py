"""The central scheduler: a process of its own, with a page, that the commands of many share."""

import socket
import sys
import uuid
from collections.abc import Sequence
from urllib.parse import urlsplit

import luigi

__all__ = ["RUN", "use_named_scheduler"]

RUN = uuid.uuid4().hex[:10]
"""Of this command and the processes that it forks. It stands in the ids by which a scheduler knows
tasks: what one command has done or is doing in its store, must not be taken for another's. Commands
that share a store look at what is there, and at the locks of its directories."""

_SECONDS_TO_ANSWER = 5
_OPTIONS = ("--scheduler-host", "--scheduler-port", "--scheduler-url")


def use_named_scheduler(arguments: Sequence[str]) -> None:
    """Who names a scheduler on the command line means it, and not the one inside each command.

    Parameters
    ----------
    arguments
        Those of the command line.

    Raises
    ------
    SystemExit
        If it does not answer; luigi itself would try for a minute and more.
    """
    named = _named(arguments)
    if not named:
        return
    luigi.configuration.get_config().set("core", "local_scheduler", "False")
    url = urlsplit(named.get("--scheduler-url", ""))
    host = url.hostname or named.get("--scheduler-host", "localhost")
    default = (443 if url.scheme == "https" else 80) if url.hostname else 8082
    try:
        port = url.port or int(named.get("--scheduler-port", default))
        socket.create_connection((host, port), _SECONDS_TO_ANSWER).close()
    except ValueError:  # for luigi to complain of
        return
    except OSError as error:
        sys.exit(
            f"error: no scheduler answers at {host}:{port} ({error.strerror or error}); start one"
            f" with `law luigid --port {port}`, or leave out {', '.join(named)}"
        )


def _named(arguments: Sequence[str]) -> dict[str, str]:
    named = {}
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        option, equals, value = argument.partition("=")
        if option in _OPTIONS:
            named[option] = value if equals else following
    return named
