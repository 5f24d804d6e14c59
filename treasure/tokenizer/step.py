"""One training step: what is lost, and what the quantizer learns."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from treasure.tokenizer.artefact import Tokenizer
from treasure.tokenizer.batches import Batch

__all__ = ["Step", "Stepped", "learning_rate", "ran_out_of_memory"]

_PEAK_AT = 0.1  # share of the training before the learning rate peaks


class Stepped(NamedTuple):
    """What a step gives."""

    loss: Tensor  # scalar, with gradients
    distortion: Tensor  # scalar
    ids: Tensor  # (P,) or (P, Q) int64


class Step(nn.Module):
    """Encode, quantize and decode a batch, and sum up the losses."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.model, self.quantizer = tokenizer.model, tokenizer.quantizer
        self.feature_set, self.config = tokenizer.feature_set, tokenizer.config

    def forward(self, batch: Batch, generator: torch.Generator) -> Stepped:
        latent = self.model.encode(batch.features, batch.owner, batch.jets).float()
        weight, empty = batch.weight, self._empty_slots(batch)
        if empty:
            latent = torch.cat([latent, latent.new_zeros(empty, latent.shape[1])])
            weight = torch.cat([weight, weight.new_ones(empty)])
        quantized = self.quantizer(latent, weight, generator)
        particles = len(batch.features)
        decoded = self.model.decode(quantized.latent[:particles], batch.owner, batch.jets)
        # of empty slots nothing is decoded, and their zeros are met: the mean is over all slots
        share = particles / (particles + empty)
        distortion = self.feature_set.distortion(decoded.float(), batch.features, batch.weight)
        loss = share * distortion + quantized.loss
        training = self.config.training
        if training.jet_pt_loss or training.jet_mass_loss:
            pt, mass = self.feature_set.jet_terms(
                decoded.float(), batch.features, batch.owner, batch.jets
            )
            loss = loss + training.jet_pt_loss * pt + training.jet_mass_loss * mass
        return Stepped(loss, distortion.detach(), quantized.ids[:particles])

    def _empty_slots(self, batch: Batch) -> int:
        slots = self.config.quantizer.padding
        if not slots:
            return 0
        filled = torch.bincount(batch.owner, minlength=batch.jets)
        return int((slots - filled).clamp(min=0).sum())


def learning_rate(peak: float, share: float) -> float:
    """One cycle: linear up to the peak, then half a cosine down to zero (arXiv:1708.07120)."""
    if share < _PEAK_AT:
        return peak * (0.05 + 0.95 * share / _PEAK_AT)
    return peak * 0.5 * (1 + math.cos(math.pi * min((share - _PEAK_AT) / (1 - _PEAK_AT), 1.0)))


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether torch could not get memory, on an accelerator or on the CPU."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)
