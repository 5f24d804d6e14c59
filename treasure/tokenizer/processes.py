"""What the processes of a training on several devices tell each other; alone, nothing."""

import torch
from torch import Tensor, distributed

__all__ = ["from_first", "summed"]


def _alone() -> bool:
    return not (distributed.is_available() and distributed.is_initialized())


@torch.no_grad()
def summed(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Each tensor's sum over all processes."""
    if _alone():
        return tensors
    for tensor in tensors:
        distributed.all_reduce(tensor)
    return tensors


@torch.no_grad()
def from_first(tensor: Tensor) -> Tensor:
    """The tensor that the first process has."""
    if not _alone():
        tensor = tensor.contiguous()
        distributed.broadcast(tensor, 0)
    return tensor
