"""Questions to the CERN Open Data portal over HTTP, and the cache of its answers.

Every answer that was found good is kept under ``$TREASURE_CACHE`` (else ``~/.cache/treasure``),
by the hash of its URL, and not asked again: records and the files that they list do not change once
they are published, except that files go to tape and come back. Remove the folder ``open_data`` of
the cache to ask anew. An entry that was damaged on disk is noticed and asked again.
"""

import hashlib
import http.client
import json
import os
import re
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from treasure import __version__
from treasure.errors import ConfigError, DataError
from treasure.store import read_json, write_bytes, write_json

__all__ = [
    "ADDRESS",
    "Missing",
    "Portal",
    "cache_directory",
    "check_bytes",
    "https_address",
    "parse_adler32",
    "record_number",
]

ADDRESS = "https://opendata.cern.ch"

_TIMEOUT = 60.0  # seconds without an answer
_ATTEMPTS = 4
_PAUSE = 0.5  # seconds before the second attempt; doubles with each
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
_GONE = {404, 410}

# Where the portal's files are over XRootD; the same paths are served by the portal over HTTPS.
_XROOTD = re.compile(r"^x?root://eospublic\.cern\.ch(:\d+)?/+")

_REMEDY = (
    "try again later; for a source of kind cern_open_data, source.offline: true takes what an"
    " earlier run asked, and source.folder records and file indexes on disk"
)

Check = Callable[[bytes], str | None]  # what is wrong with an answer; None: nothing


class Missing(DataError):
    """What was asked for is not there: no such record or file, or offline and not in the cache."""


def cache_directory() -> Path:
    """Folder of the cache: ``$TREASURE_CACHE``, else ``~/.cache/treasure``; it need not exist."""
    chosen = os.environ.get("TREASURE_CACHE", "")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "treasure"


def parse_adler32(checksum: str | None) -> int | None:
    """Adler-32 as a number, from ``adler32:<hexadecimal digits>`` or the digits alone.

    The portal drops leading zeros, so that strings cannot be compared. None for no checksum, and
    for one of another kind.
    """
    digits = (checksum or "").removeprefix("adler32:")
    return int(digits, 16) if re.fullmatch("[0-9a-fA-F]{1,8}", digits) else None


def check_bytes(data: bytes, size: int | None, adler32: int | None) -> str | None:
    """What differs from the size and Adler-32 that a record gives; None: nothing."""
    if size is not None and len(data) != size:
        return f"{len(data)} bytes, its record says {size}"
    if adler32 is not None and zlib.adler32(data) != adler32:
        return f"adler32 {zlib.adler32(data):08x}, its record says {adler32:08x}"
    return None


def https_address(uri: str, portal: str = ADDRESS) -> str:
    """Where a portal serves, over HTTP(S), a file that a record names by XRootD.

    Raises
    ------
    DataError
        If the file is on a server of which no such address is known.
    """
    if uri.startswith(("http://", "https://")):
        return uri
    path, replaced = _XROOTD.subn("/", uri)
    if replaced or uri.startswith("/eos/"):
        return portal.rstrip("/") + path
    raise DataError(f"{uri}: no HTTPS address is known for this server; set protocol: root")


class Portal:
    """A portal, asked over HTTP, with a cache on disk.

    Parameters
    ----------
    address
        Of the portal, or a mirror or local server with the same paths.
    offline
        Ask nothing: only the cache is used, and no connection is opened.
    cache
        Folder of the cache; None: `cache_directory`.
    timeout, attempts, pause
        Seconds without an answer; how often a question is asked; seconds before the second time,
        doubled for each that follows.
    """

    def __init__(
        self,
        address: str = ADDRESS,
        *,
        offline: bool = False,
        cache: Path | None = None,
        timeout: float = _TIMEOUT,
        attempts: int = _ATTEMPTS,
        pause: float = _PAUSE,
    ) -> None:
        if not re.match(r"https?://[^/]", address):
            raise ConfigError(
                f"source.portal: {address!r} is no address of a portal; https://host was expected"
            )
        self.address = address.rstrip("/")
        self.offline = offline
        self.cache = (cache or cache_directory()) / "open_data"
        self.timeout, self.attempts, self.pause = timeout, attempts, pause

    def record(self, number: int, *, anew: bool = False) -> dict[str, Any]:
        """Metadata of a record, as the portal's API gives them; `anew`: not those of the cache.

        Raises
        ------
        Missing
            If the portal has no such record, or is not to be asked and the cache lacks it.
        DataError
            If it does not answer, or with something else.
        """
        path = self.fetch(f"{self.address}/api/records/{number}", _not_a_record, anew=anew)
        metadata = read_json(path)["metadata"]
        assert isinstance(metadata, dict)
        return metadata

    def record_by_doi(self, doi: str) -> dict[str, Any]:
        """Metadata of the record with a DOI; errors as of `record`."""
        url = f"{self.address}/api/records?page=1&size=5&q=doi:{quote(chr(34) + doi + chr(34))}"
        answer = read_json(self.fetch(url, _not_hits))
        for hit in answer["hits"]["hits"]:
            metadata = hit.get("metadata") or {}
            if str(metadata.get("doi", "")).lower() == doi.lower():
                # What a search finds may be abridged: its files are asked of the record itself.
                return self.record(record_number(metadata.get("recid") or hit.get("id")))
        raise Missing(f"{url}: no record has the DOI {doi}; look it up at {self.address}")

    def file(self, uri: str, size: int | None, adler32: int | None) -> Path:
        """A small file of a record (file index, list of validated runs), checked, in the cache.

        Raises
        ------
        Missing
            If it is not there, or must not be asked for and is not in the cache.
        DataError
            If the portal does not answer, or the file is not what its record says.
        """
        return self.fetch(
            https_address(uri, self.address), lambda data: check_bytes(data, size, adler32)
        )

    def fetch(self, url: str, check: Check, *, anew: bool = False) -> Path:
        """The answer to a URL, as a file in the cache that passes a check.

        What is in the cache is asked again only `anew`, and if this portal is not offline.
        """
        path, damage = self._cached(url, check)
        if path is not None and (self.offline or not anew):
            return path
        if self.offline:
            what = damage or f"not in the cache ({self.cache})"
            raise Missing(
                f"{url}: {what}, and source.offline is true; run once without it, or give"
                " source.folder"
            )
        return self._keep(url, self._ask(url, check))

    def _entry(self, url: str) -> Path:
        return self.cache / f"{hashlib.sha256(url.encode()).hexdigest()}.json"

    def _cached(self, url: str, check: Check) -> tuple[Path | None, str]:
        """The answer in the cache; or None, and what is wrong with an entry that is there."""
        entry = self._entry(url)
        if not entry.is_file():
            return None, ""
        damage = f"the copy in the cache is damaged ({entry})"
        try:
            known = read_json(entry)
            path = self.cache / known["sha256"] / known["name"]
            data = path.read_bytes()
        except (DataError, OSError, KeyError, TypeError):
            return None, damage
        if hashlib.sha256(data).hexdigest() != known["sha256"]:
            return None, damage
        if reason := check(data):
            return None, f"the copy in the cache has {reason} ({entry})"
        return path, ""

    def _keep(self, url: str, data: bytes) -> Path:
        # Named by its content: of two processes that get different answers at the same time,
        # each entry still leads to the answer that it describes.
        digest = hashlib.sha256(data).hexdigest()
        name = re.sub(r"[^A-Za-z0-9._-]", "_", urlsplit(url).path.rsplit("/", 1)[-1]) or "answer"
        path = self.cache / digest / name
        write_bytes(path, data)
        write_json(
            self._entry(url), {"url": url, "name": name, "sha256": digest, "size": len(data)}
        )
        return path

    def _ask(self, url: str, check: Check) -> bytes:
        reason = ""
        for attempt in range(self.attempts):
            if attempt:
                time.sleep(self.pause * 2 ** (attempt - 1))
            try:
                data = self._get(url)
            except urllib.error.HTTPError as error:
                error.close()
                if error.code in _GONE:
                    raise Missing(
                        f"{url}: the portal has no such thing (HTTP {error.code}); look it up at"
                        f" {self.address}"
                    ) from None
                reason = f"HTTP {error.code} {error.reason}"
                if error.code not in _TRANSIENT:
                    raise DataError(
                        f"{url}: refused ({reason}); check the address and source.portal"
                    ) from None
            except (OSError, http.client.HTTPException) as error:
                reason = _in_words(error)
            else:
                wrong = check(data)
                if wrong is None:
                    return data
                reason = f"the answer is not what it should be: {wrong}"
        times = f"{self.attempts} attempts" if self.attempts > 1 else "one attempt"
        raise DataError(f"{url}: no good answer in {times}; the last: {reason}; {_REMEDY}")

    def _get(self, url: str) -> bytes:
        request = urllib.request.Request(url, headers={"User-Agent": f"treasure/{__version__}"})
        with urllib.request.urlopen(request, timeout=self.timeout) as response:
            data = response.read()
        assert isinstance(data, bytes)
        return data


def record_number(recid: object) -> int:
    """Number of a record, from ``31308``, or ``CMS-31308`` as the portal may call it.

    Raises
    ------
    DataError
        If it is neither.
    """
    found = re.fullmatch(r"(?:[A-Za-z]+-)?(\d+)", str(recid).strip())
    if found is None:
        raise DataError(f"{recid!r}: not the number of a record of the portal")
    return int(found[1])


def _not_a_record(data: bytes) -> str | None:
    answer = _parsed(data)
    metadata = answer.get("metadata") if isinstance(answer, dict) else None
    if isinstance(metadata, dict) and "recid" in metadata:
        return None
    return "no record (a JSON object with `metadata` was expected)"


def _not_hits(data: bytes) -> str | None:
    answer = _parsed(data)
    hits = answer.get("hits") if isinstance(answer, dict) else None
    if isinstance(hits, dict) and isinstance(hits.get("hits"), list):
        return None
    return "no result of a search (a JSON object with `hits` was expected)"


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None


def _in_words(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return "timed out"
    if isinstance(cause, http.client.IncompleteRead):
        return f"the connection broke after {len(cause.partial)} bytes"
    return " ".join(str(cause).split()) or type(cause).__name__
