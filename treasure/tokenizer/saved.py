"""The files of a saved tokenizer: written with checksums, and checked before anything is used."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from treasure.errors import DataError
from treasure.store import (
    atomic_file,
    checksums,
    fingerprint,
    read_json,
    write_bytes,
    write_json,
    write_text,
)
from treasure.tokenizer.card import CARD, CODEBOOK, DESCRIPTION, PARAMETERS, model_card
from treasure.tokenizer.tensors import write_tensors

__all__ = [
    "CODEBOOK",
    "DESCRIPTION",
    "FORMAT_VERSION",
    "PARAMETERS",
    "check_description",
    "read_description",
    "write_artefact",
]

FORMAT_VERSION = 2


# A name in the folder itself; nothing that a system or a shell takes for something else.
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")


def write_artefact(
    directory: Path,
    content: Mapping[str, Any],
    parameters: Mapping[str, Tensor],
    codebook: NDArray[np.float32],
    others: Mapping[str, bytes],
) -> None:
    """Write the files of a tokenizer; ``tokenizer.json``, with the checksums of the rest, last.

    Parameters
    ----------
    directory
        The folder; it need not exist.
    content
        What ``tokenizer.json`` says, but for `files` and `checksum`.
    parameters, codebook
        For ``tokenizer.safetensors`` and ``codebook.npz``.
    others
        What else belongs to the tokenizer, by name.
    """
    write_tensors(directory / PARAMETERS, parameters)
    with atomic_file(directory / CODEBOOK) as temporary:
        np.savez(temporary, codebook=codebook)
    for name, data in others.items():
        write_bytes(directory / name, data)
    names = (PARAMETERS, CODEBOOK, *others)
    write_text(directory / CARD, model_card(content, names))
    said = {**content, "files": {name: checksums(directory / name) for name in names}}
    write_json(directory / DESCRIPTION, {**said, "checksum": fingerprint(said)})


def read_description(directory: Path) -> dict[str, Any]:
    """What ``tokenizer.json`` says, checked, as are the files that it lists.

    Raises
    ------
    DataError
        Naming the file that is missing, damaged, or does not belong to the others.
    """
    path = directory / DESCRIPTION
    if directory.is_file():
        raise DataError(f"{directory}: a file; a tokenizer is the folder with {DESCRIPTION}")
    if not path.exists() and (directory / "tokenizer" / DESCRIPTION).is_file():
        raise DataError(f"{path}: no such file; the tokenizer is {directory / 'tokenizer'}")
    content = check_description(read_json(path), str(path))
    for name, expected in content["files"].items():
        if not (directory / name).is_file():
            raise DataError(f"{directory / name}: missing, but {path.name} lists it")
        if checksums(directory / name) != expected:
            raise DataError(f"{directory / name}: damaged, or not the file of {path.name}")
    return content


def check_description(content: Any, place: str) -> dict[str, Any]:
    """What a ``tokenizer.json`` says, without its checksum.

    Raises
    ------
    DataError
        If it is of another version, was changed, or lists something that is no file of the folder;
        the message begins with `place`.
    """
    if not isinstance(content, dict) or "format_version" not in content:
        raise DataError(f"{place}: not the description of a tokenizer")
    if content["format_version"] != FORMAT_VERSION:
        raise DataError(
            f"{place}: format version {content['format_version']}, this code reads"
            f" {FORMAT_VERSION}; read it with the release of treasure that wrote it"
        )
    said = {key: value for key, value in content.items() if key != "checksum"}
    if content.get("checksum") != _fingerprint(said):
        raise DataError(f"{place}: its checksum does not fit its content; it was changed")
    files = said.get("files")
    if not isinstance(files, dict) or not {PARAMETERS, CODEBOOK} <= set(files):
        raise DataError(f"{place}: `files` does not list {PARAMETERS} and {CODEBOOK}")
    for name, expected in files.items():
        if not _FILE_NAME.fullmatch(name) or name == DESCRIPTION:
            raise DataError(f"{place}: lists {name!r}, which is no name of a file beside it")
        kinds = {"size": int, "sha256": str, "adler32": str}
        if (
            not isinstance(expected, dict)
            or expected.keys() != kinds.keys()
            or not all(type(expected[key]) is kind for key, kind in kinds.items())
        ):
            raise DataError(f"{place}: of {name}, {', '.join(kinds)} were expected")
    return said


def _fingerprint(value: Any) -> str | None:
    try:
        return fingerprint(value)
    except ValueError:  # NaN, which is no JSON
        return None
