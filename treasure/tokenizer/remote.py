"""Tokenizers that are somewhere else: on the Hugging Face Hub, or in a folder of a web server.

Only ``tokenizer.json`` and the files that it lists are fetched, into the cache of `huggingface_hub`
or into ``tokenizers`` of ours (`treasure.fileset.portal.cache_directory`), in a folder named by the
checksum of ``tokenizer.json``. What is there already is not asked for again. Nothing that a server
says is believed: names of files stay in their folder, bytes are those of the checksums, and classes
that are not of this package are not imported.
"""

import hashlib
import http.client
import json
import re
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, unquote, urlsplit

from treasure import __version__
from treasure.errors import DataError
from treasure.fileset.portal import cache_directory
from treasure.fileset.remote import Unreachable
from treasure.store import atomic_file, checksums, fingerprint, read_json, write_bytes, write_json
from treasure.tokenizer.saved import DESCRIPTION, check_description

__all__ = ["located"]

_TIMEOUT = 60.0  # seconds without an answer
_PAUSES = (0.5, 2.0)  # seconds before the second and the third attempt
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
_LARGEST_DESCRIPTION, _LARGEST_FILE = 1 << 24, 1 << 32  # bytes
_BLOCK = 1 << 20

_HUB = re.compile(
    r"hf://(?:(?P<kind>models|datasets)/)?(?P<owner>[^/@]+)/(?P<name>[^/@]+)"
    r"(?:@(?P<revision>[^/]+))?(?:/(?P<folder>.+?))?/?"
)

T = TypeVar("T")


def located(source: str | Path) -> Path:
    """Folder on this machine with the files of a tokenizer.

    Parameters
    ----------
    source
        A folder; ``hf://owner/name[@revision][/folder]`` (``hf://datasets/…`` for one in a
        dataset); or the ``https://`` address of a folder.

    Raises
    ------
    DataError
        If it is not there or cannot be had, or the files are not those of its ``tokenizer.json``.
    """
    text = str(source)
    if text.startswith("hf://"):
        return _from_hub(text)
    if re.match(r"https?://", text):
        return _from_web(text)
    if scheme := re.match(r"([a-z][a-z0-9+.-]+)://", text):
        raise DataError(
            f"{text}: tokenizers are loaded from a folder, hf:// and https://, not {scheme[1]}://"
        )
    return Path(source)


def _checked(data: bytes, place: str) -> dict[str, Any]:
    """What a ``tokenizer.json`` from elsewhere says."""
    try:
        content = check_description(json.loads(data), place)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: not valid JSON ({error})") from None
    for part in ("features", "model", "quantizer"):
        for section in (content, content.get("config")):
            described = section.get(part) if isinstance(section, dict) else None
            kind = described.get("kind") if isinstance(described, dict) else None
            if not isinstance(kind, str) or ":" in kind:
                raise DataError(
                    f"{place}: {part} of kind {kind!r}, a class outside of treasure; if you trust"
                    " it, download the tokenizer and load it from its folder"
                )
    for name, expected in content["files"].items():
        if not 0 <= expected["size"] <= _LARGEST_FILE:
            raise DataError(f"{place}: says that {name} has {expected['size']} bytes")
    return content


# The Hub ----------------------------------------------------------------------------------------


def _from_hub(source: str) -> Path:
    found = _HUB.fullmatch(source)
    folder = (found and found["folder"]) or ""
    if found is None or (folder and {"", ".", ".."} & set(folder.split("/"))):
        raise DataError(f"{source}: expected hf://owner/name[@revision][/folder]")
    where = {
        "repo_id": f"{found['owner']}/{found['name']}",
        "repo_type": {"datasets": "dataset"}.get(found["kind"] or "", "model"),
        "subfolder": folder or None,
    }
    revision = unquote(found["revision"]) if found["revision"] else None
    path = _of_hub(source, DESCRIPTION, revision=revision, **where)
    content = _checked(path.read_bytes(), f"{source}/{DESCRIPTION}")
    # the same commit, whatever is pushed meanwhile: …/snapshots/<commit>/[folder/]tokenizer.json
    depth = len(folder.split("/")) if folder else 0
    commit = path.parents[depth].name
    for name, expected in content["files"].items():
        file = _of_hub(source, name, revision=commit, **where)
        if checksums(file) != expected:  # damaged in the cache, perhaps
            _of_hub(source, name, revision=commit, force_download=True, **where)
    return path.parent


def _of_hub(source: str, name: str, **where: Any) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(hf_hub_download(filename=name, library_name="treasure", **where))
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        raise DataError(f"{source}: {name} cannot be had from the Hub: {reason}") from error


# A web server -----------------------------------------------------------------------------------


def _from_web(source: str) -> Path:
    parts = urlsplit(source)
    if parts.query or parts.fragment or not parts.netloc:
        raise DataError(f"{source}: expected the address of a folder, https://host/folder")
    base = source.removesuffix(DESCRIPTION).rstrip("/")
    cache = cache_directory() / "tokenizers"
    last = cache / "addresses" / f"{hashlib.sha256(base.encode()).hexdigest()}.json"
    address = f"{base}/{DESCRIPTION}"
    try:
        data = _patiently(address, lambda: _read(address))
    except Unreachable as error:
        return _as_before(cache, last, error)
    content = _checked(data, address)
    folder = cache / fingerprint(content)
    for name, expected in content["files"].items():
        _fetch(f"{base}/{quote(name)}", folder / name, expected)
    write_bytes(folder / DESCRIPTION, data)
    write_json(last, {"address": base, "folder": folder.name})
    return folder


class _Another(DataError):
    """Another file than was expected, which may be the right one in another attempt."""


def _as_before(cache: Path, last: Path, error: DataError) -> Path:
    try:
        name = read_json(last)["folder"]
    except (DataError, KeyError, TypeError):
        raise error from None
    folder = cache / str(name)
    if not re.fullmatch("[0-9a-f]{64}", str(name)) or not (folder / DESCRIPTION).is_file():
        raise error
    warnings.warn(f"{error}; taking the copy of before, {folder}", stacklevel=4)
    return folder


def _fetch(address: str, path: Path, expected: dict[str, Any]) -> None:
    """Have the file of a checksum at a path; kept if it is there."""
    if path.is_file() and checksums(path) == expected:
        return

    def copied() -> None:
        with atomic_file(path) as temporary:
            with _opened(address) as answer, open(temporary, "wb") as file:
                size = 0
                while block := answer.read(_BLOCK):
                    size += len(block)
                    if size > expected["size"]:
                        break  # and it is not that file
                    file.write(block)
            found = checksums(temporary)
            if size != found["size"] or found != expected:
                raise _Another(
                    f"{address}: not the file that {DESCRIPTION} lists ({size} bytes, sha256"
                    f" {found['sha256'][:12]}…, but {expected['size']} and"
                    f" {expected['sha256'][:12]}… were expected)"
                )

    _patiently(address, copied)


def _read(address: str) -> bytes:
    with _opened(address) as answer:
        data: bytes = answer.read(_LARGEST_DESCRIPTION + 1)
        announced = str(answer.headers.get("Content-Length", ""))
    if len(data) > _LARGEST_DESCRIPTION:
        raise DataError(f"{address}: longer than {_LARGEST_DESCRIPTION} bytes")
    if announced.isdecimal() and len(data) < int(announced):
        raise Unreachable(f"{address}: ended after {len(data)} of {announced} bytes")
    return data


def _opened(address: str) -> Any:
    request = urllib.request.Request(address, headers={"User-Agent": f"treasure/{__version__}"})
    return urllib.request.urlopen(request, timeout=_TIMEOUT)


def _patiently(address: str, action: Callable[[], T]) -> T:
    """Try again what another attempt may change."""
    for pause in (*_PAUSES, None):
        kind: type[DataError] = Unreachable
        try:
            return action()
        except urllib.error.HTTPError as error:
            error.close()
            reason = f"HTTP {error.code} {error.reason}"
            if error.code not in _TRANSIENT:
                raise DataError(f"{address}: {reason}; check the address") from None
        except (_Another, Unreachable) as error:
            reason = str(error).removeprefix(f"{address}: ")
            kind = DataError if isinstance(error, _Another) else Unreachable
        except (OSError, http.client.HTTPException) as error:
            cause = getattr(error, "reason", None) or error
            reason = str(cause) or type(cause).__name__
        if pause is not None:
            time.sleep(pause)
    raise kind(f"{address}: {reason} (in {1 + len(_PAUSES)} attempts)")
