"""XRootD servers that are near, asked for ``root://`` files instead of those in their URLs.

``TREASURE_XROOTD_SERVERS`` lists them (``host[:port]``, by commas, in the order in which to ask);
``TREASURE_XROOTD_REPLACES`` lists the servers for which they stand, all if it is empty. A site sets
both. URLs in filesets stay as they are: where a file is read from changes nothing that is written.
"""

import math
import os
import time

from treasure.errors import DataError
from treasure.fileset.remote import Unreachable, is_xrootd

__all__ = ["candidates", "located"]

_FORGET_AFTER = 600.0  # seconds, after which a server that did not answer is asked again

_silent: dict[str, float] = {}  # server → when it did not answer


def candidates(url: str) -> list[str]:
    """Where a file can be read, in the order to ask: servers that are near, then its own.

    Examples
    --------
    >>> os.environ["TREASURE_XROOTD_SERVERS"] = "near.example,b.example:1095"
    >>> candidates("root://far.example//store/a.root")[:2]
    ['root://near.example//store/a.root', 'root://b.example:1095//store/a.root']
    >>> del os.environ["TREASURE_XROOTD_SERVERS"]
    """
    scheme, _, rest = url.partition("://")
    server, _, path = rest.partition("/")
    near = _listed("TREASURE_XROOTD_SERVERS")
    replaced = _listed("TREASURE_XROOTD_REPLACES")
    if not is_xrootd(url) or not near or (replaced and _host(server) not in map(_host, replaced)):
        return [url]
    urls = [f"{scheme}://{other}/{path}" for other in near]
    return [*dict.fromkeys([*urls, url])]


def located(url: str) -> str:
    """The URL at which a file is read: of the first server that has it, else its own."""
    urls = candidates(url)
    if urls[-1] == url:  # what it answers would change nothing
        urls.pop()
    for candidate in urls:
        server = candidate.split("/", 3)[2]
        if time.monotonic() - _silent.get(server, -math.inf) < _FORGET_AFTER:
            continue
        try:
            _ask(candidate)
        except Unreachable:
            _silent[server] = time.monotonic()
        except DataError:  # it answers, and has no such file
            continue
        else:
            return candidate
    return url


def _ask(url: str) -> None:
    from treasure.fileset import xrootd

    xrootd.require(url)


def _listed(variable: str) -> list[str]:
    return [name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()]


def _host(server: str) -> str:
    """A server as it is compared: without user, and without the usual port."""
    return server.rpartition("@")[2].removesuffix(":1094")
