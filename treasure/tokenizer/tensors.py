"""Named tensors in a file: safetensors, so that nothing is ever unpickled."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
from torch import Tensor

from treasure.errors import DataError
from treasure.store import write_bytes

__all__ = ["digest", "read_tensors", "write_tensors"]


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, dtypes, shapes and bytes, independent of any file format."""
    sha256 = hashlib.sha256()
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name].detach().cpu().numpy())
        sha256.update(json.dumps([name, str(array.dtype), array.shape]).encode())
        sha256.update(array.tobytes())
    return sha256.hexdigest()


def write_tensors(
    path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors atomically; the same tensors give the same bytes."""
    ordered = {name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)}
    write_bytes(path, safetensors.torch.save(ordered, dict(metadata or {}) or None))


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Read what `write_tensors` wrote.

    Raises
    ------
    DataError
        If the file is missing or is not a whole safetensors file.
    """
    try:
        return safetensors.torch.load(Path(path).read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except safetensors.SafetensorError as error:
        raise DataError(f"{path}: not a whole safetensors file ({error})") from error
