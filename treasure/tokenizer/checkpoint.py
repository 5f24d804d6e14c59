"""Checkpoints of a training: one safetensors file, written whole or not at all, never unpickled."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor

from treasure.errors import DataError
from treasure.store import canonical_json
from treasure.tokenizer.tensors import digest, read_tensors, write_tensors

__all__ = ["optimizer_tensors", "read_checkpoint", "restore_optimizer", "write_checkpoint"]


def write_checkpoint(
    path: Path, tensors: Mapping[str, Tensor], progress: Mapping[str, Any]
) -> None:
    """Write tensors, and what JSON can say of the progress, with a checksum over the tensors."""
    text = canonical_json({**progress, "sha256": digest(tensors)})
    # One key only: the format does not keep the order of several.
    write_tensors(path, tensors, {"progress": text})


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write_checkpoint` wrote.

    Raises
    ------
    DataError
        If the file is damaged.
    """
    tensors = read_tensors(path)
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
    progress = json.loads(metadata.get("progress", "{}"))
    if progress.pop("sha256", None) != digest(tensors):
        raise DataError(f"{path}: damaged checkpoint; remove it, and training starts anew")
    return tensors, progress


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of an optimizer as named tensors; empty before its first step."""
    return {
        f"optimizer.{number}.{name}": value
        for number, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give an optimizer the state that `optimizer_tensors` returned."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        part, *rest = key.split(".")
        if part == "optimizer":
            state.setdefault(int(rest[0]), {})[rest[1]] = value.clone()
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
