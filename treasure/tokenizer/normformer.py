"""The transformer of OmniJet-alpha (arXiv:2403.05618), without work on padding.

Attention is the only place where particles meet. Everything else runs on packed particles, sorted
so that jets of one size stand together; attention takes these jets as one array without padding (on
one core), or jets of similar size with little (in parallel, where a few large arrays are quicker).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from treasure.config.tokenizer import ModelConfig
from treasure.tokenizer.model import Model

__all__ = ["Layout", "NormFormer", "dropped", "packed_layout", "padded_layout"]

# Slots per particle in a group of jets, at most, where attention runs in parallel: on a GPU, or on
# several cores, which wait for each other after every array.
_SLOTS_PER_PARTICLE = 1.1
# Particles that an evaluation on a CPU takes at once: what is computed of them stays in its cache.
_PARTICLES_AT_ONCE = 4096
# Random numbers of dropout have 16 bits: its rate is a multiple of this.
_RATE_UNIT = 2.0**-16


# Where the particles are ------------------------------------------------------------------------


@dataclass(frozen=True)
class Group:
    """Some jets that attention takes together: rows first … first + jets * size of the layout.

    With `slots`, not every jet has `size` particles, and the rows stand in the layout packed.
    """

    first: int
    rows: int
    jets: int
    size: int
    slots: Tensor | None = None  # (jets * size,): row within the group; anything for padding
    real: Tensor | None = None  # (rows,): slot of each row
    mask: Tensor | None = None  # (jets, size) bool: which slots are particles


@dataclass(frozen=True)
class Layout:
    """How packed particles are arranged for attention.

    Attributes
    ----------
    rows : (R,) int64
        Particle of each row; anything where there is padding.
    place : (P,) int64
        Row of each particle.
    groups
        Jets that attention takes together; their rows follow each other.
    real : (R, 1) float32, optional
        1 for particles and 0 for padding. None: no row is padding.
    """

    rows: Tensor
    place: Tensor
    groups: tuple[Group, ...]
    real: Tensor | None = None


def packed_layout(owner: Tensor, jets: int, slots_per_particle: float = 1.0) -> Layout:
    """Rows are the particles, by the size of their jet.

    Parameters
    ----------
    owner : (P,)
        Jet of each particle, ascending.
    jets
        Number of jets.
    slots_per_particle
        Jets of different sizes share a group while it has at most so many slots per particle.
    """
    device = owner.device
    counts = torch.bincount(owner, minlength=jets)
    # Stable, so that a jet's particles stay together and in their order.
    rows = torch.argsort(counts[owner], stable=True)
    place = torch.empty_like(rows)
    place[rows] = torch.arange(len(rows), device=device)
    of_size = torch.bincount(counts).tolist()
    groups, row = [], 0
    for sizes in _shared(of_size, slots_per_particle):
        numbers = torch.tensor([of_size[size] for size in sizes])
        particles = int((numbers * torch.tensor(sizes)).sum())
        group = Group(row, particles, int(numbers.sum()), max(sizes))
        if len(sizes) > 1:
            each = torch.repeat_interleave(torch.tensor(sizes), numbers).to(device)
            mask = torch.arange(group.size, device=device) < each[:, None]
            flat = mask.flatten()
            slots = (flat.cumsum(0) - 1).clamp_(min=0)
            real = flat.nonzero().squeeze(1)
            group = replace(group, slots=slots, real=real, mask=mask)
        groups.append(group)
        row += particles
    return Layout(rows, place, tuple(groups))


def _shared(of_size: list[int], slots_per_particle: float) -> list[list[int]]:
    """Sizes that share a group, ascending, from the number of jets of each size."""
    shared: list[list[int]] = []
    sizes: list[int] = []
    jets = particles = 0
    for size, number in enumerate(of_size):
        if size == 0 or number == 0:
            continue
        jets, particles = jets + number, particles + number * size
        if sizes and jets * size > slots_per_particle * particles:
            shared.append(sizes)
            sizes, jets, particles = [], number, number * size
        sizes.append(size)
    return [*shared, sizes] if sizes else []


def padded_layout(owner: Tensor, jets: int, slots: int) -> Layout:
    """Rows are the slots of jets padded to `slots`, or to the longest jet if that is longer."""
    if not len(owner):  # nothing that could stand in a slot
        return packed_layout(owner, jets)
    counts = torch.bincount(owner, minlength=jets)
    size = max(slots, int(counts.max()) if jets else 0)
    before = counts.cumsum(0) - counts
    within = torch.arange(len(owner), device=owner.device) - before[owner]
    place = owner * size + within
    rows = torch.zeros(jets * size, dtype=torch.int64, device=owner.device)
    rows[place] = torch.arange(len(owner), device=owner.device)
    mask = torch.arange(size, device=owner.device) < counts[:, None]
    group = Group(0, jets * size, jets, size, mask=mask)
    return Layout(rows, place, (group,), mask.reshape(-1, 1).float())


# Dropout ----------------------------------------------------------------------------------------


def _kept(shape: tuple[int, ...], rate: float, like: Tensor) -> tuple[Tensor, float]:
    """1 for what is kept and 0 for what is dropped, and the scale that keeps the mean."""
    threshold = round(rate / _RATE_UNIT)
    number = math.prod(shape)
    bits = torch.empty((number + 3) // 4, dtype=torch.int64)
    bits.random_(-(2**63), None)
    kept = torch.empty(number, dtype=like.dtype)
    torch.ge(bits.view(torch.int16)[:number], threshold - 2**15, out=kept)
    return kept.view(shape), 1 / (1 - threshold * _RATE_UNIT)


class _Scaled(torch.autograd.Function):
    """x * mask * scale without a second array."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kept: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(kept)
        ctx.scale = scale
        return (x * kept).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (kept,) = ctx.saved_tensors
        return (gradients[0] * kept).mul_(ctx.scale), None, None


def dropped(x: Tensor, rate: float) -> Tensor:
    """Dropout, drawn from torch's default generator.

    On a CPU the generator of torch takes longer than all else, one number of 32 bits and a
    division for every entry; here 64 bits decide over four entries. The rate is rounded to a
    multiple of 2^-16, and the scale is that of the rounded rate.
    """
    if rate == 0:
        return x
    if x.device.type != "cpu":
        return functional.dropout(x, rate, training=True)
    return _Scaled.apply(x, *_kept(tuple(x.shape), rate, x))


# Attention --------------------------------------------------------------------------------------


def _attention(qkv: Tensor, heads: int, layout: Layout, rate: float) -> Tensor:
    """Attention within jets: rows (R, 3 W) to (R, W); `rate` of the weights is dropped."""
    if qkv.device.type == "cpu" and torch.is_grad_enabled():
        return _Attention.apply(qkv, heads, layout.groups, rate)
    parts = []
    for group, rows in zip(layout.groups, _split(qkv, layout.groups), strict=True):
        q, k, v = _by_head(rows, group, 3 * heads).unflatten(1, (3, heads)).unbind(1)
        mask = None if group.mask is None else group.mask[:, None, None, :]
        mixed = functional.scaled_dot_product_attention(q, k, v, mask, dropout_p=rate)
        parts.append(_by_row(mixed, group))
    return torch.cat(parts) if parts else qkv[:, : qkv.shape[1] // 3]


def _split(rows: Tensor, groups: tuple[Group, ...]) -> tuple[Tensor, ...]:
    return rows.split([group.rows for group in groups]) if groups else ()


def _by_head(rows: Tensor, group: Group, heads: int) -> Tensor:
    """(R, H d) to (jets, H, size, d)."""
    slots = rows if group.slots is None else rows[group.slots]
    return slots.view(group.jets, group.size, heads, -1).transpose(1, 2)


def _by_row(heads: Tensor, group: Group) -> Tensor:
    """(jets, H, size, d) to (R, H d)."""
    flat = heads.transpose(1, 2).reshape(group.jets * group.size, -1)
    return flat if group.real is None else flat[group.real]


class _Attention(torch.autograd.Function):
    """Attention with dropped weights, on a CPU, where torch has none that is fused.

    The gradient of all groups goes into one array; torch would fill an array of zeros for each.
    """

    @staticmethod
    def forward(
        ctx: Any, qkv: Tensor, heads: int, groups: tuple[Group, ...], rate: float
    ) -> Tensor:
        result = qkv.new_zeros(len(qkv), qkv.shape[1] // 3)
        ctx.heads, ctx.groups, ctx.rate = heads, groups, rate
        saved = []
        for group, rows, into in zip(
            groups, _split(qkv, groups), _split(result, groups), strict=True
        ):
            q, k, v = _three(rows, group, heads)
            scores = torch.bmm(q, k.transpose(1, 2)).mul_(q.shape[2] ** -0.5)
            if group.mask is not None:
                each = scores.view(group.jets, heads, group.size, group.size)
                # Finite: a jet without particles would be all -inf, and NaN.
                low = torch.finfo(scores.dtype).min
                each.masked_fill_(~group.mask[:, None, None, :], low)
            weights = scores.softmax(2).to(v.dtype)
            kept = dropped(weights, rate)
            mixed = torch.bmm(kept, v)
            into.copy_(_by_row(mixed.view(group.jets, heads, group.size, -1), group))
            saved += [q, k, v, weights, kept]
        ctx.save_for_backward(*saved)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = gradients
        heads, groups, saved = ctx.heads, ctx.groups, ctx.saved_tensors
        result = gradient.new_empty(len(gradient), 3 * gradient.shape[1])
        for n, (group, rows, into) in enumerate(
            zip(groups, _split(gradient, groups), _split(result, groups), strict=True)
        ):
            q, k, v, weights, kept = saved[5 * n : 5 * n + 5]
            mixed = _by_head(rows, group, heads).reshape(q.shape)
            if group.real is not None:  # slots of padding hold rows of particles
                real = group.mask[:, None, :, None]
                mixed.view(group.jets, heads, group.size, -1).mul_(real)
            three = q.new_empty(3, *q.shape)
            torch.bmm(kept.transpose(1, 2), mixed, out=three[2])
            # Of softmax p with dropout m: p m g - p sum(p m g), g the gradient of p m.
            scores = torch.bmm(mixed, v.transpose(1, 2)).mul_(kept)
            scores.addcmul_(weights, scores.sum(2, keepdim=True), value=-1)
            scores.mul_(q.shape[2] ** -0.5)
            torch.bmm(scores, k, out=three[0])
            torch.bmm(scores.transpose(1, 2), q, out=three[1])
            by_head = three.view(3, group.jets, heads, group.size, -1)
            by_row = by_head.permute(1, 3, 0, 2, 4)
            if group.real is None:
                into.view(by_row.shape).copy_(by_row)
            else:
                into.copy_(by_row.reshape(group.jets * group.size, -1)[group.real])
        return result, None, None, None


def _three(rows: Tensor, group: Group, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values, (jets * heads, size, d) each."""
    each = _by_head(rows, group, 3 * heads).unflatten(1, (3, heads)).transpose(0, 1).contiguous()
    q, k, v = each.flatten(1, 2)
    return q, k, v


# Networks ---------------------------------------------------------------------------------------


class _Block(nn.Module):
    """Attention between two layer norms, then an MLP behind one; both are corrections."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.width
        self.heads, self.attention, self.dropout = config.heads, config.attention, config.dropout
        self.before = nn.LayerNorm(width)
        self.inward = nn.Linear(width, 3 * width)  # queries, keys, values
        self.outward = nn.Linear(width, width)
        self.after = nn.LayerNorm(width)
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, config.mlp_width)
        self.down = nn.Linear(config.mlp_width, width)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        rate = self.dropout if self.training else 0.0
        if layout.real is not None:
            x = x * layout.real
        x = x + self.after(self.outward(self._mixed(self.before(x), layout, rate)))
        hidden = functional.silu(self.up(self.norm(x)))
        return x + self.down(dropped(hidden, rate))

    def _mixed(self, x: Tensor, layout: Layout, rate: float) -> Tensor:
        if self.attention:
            return _attention(self.inward(x), self.heads, layout, rate)
        # The weight of the only particle is one, or dropped.
        width = x.shape[1]
        values = functional.linear(x, self.inward.weight[-width:], self.inward.bias[-width:])
        weight = dropped(values.new_ones(len(x), self.heads, 1), rate)
        return (values.view(len(x), self.heads, -1) * weight).reshape(values.shape)

    def initialise(self, generator: torch.Generator) -> None:
        """As OmniJet-alpha: each block starts as the identity."""
        for norm in (self.before, self.after, self.norm):
            nn.init.ones_(norm.weight)
            nn.init.zeros_(norm.bias)
        nn.init.zeros_(self.before.weight)
        nn.init.xavier_uniform_(self.inward.weight, generator=generator)
        nn.init.zeros_(self.inward.bias)
        _linear(self.outward, generator)
        nn.init.zeros_(self.outward.bias)
        _linear(self.up, generator)
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.down.bias)


class _Stack(nn.Module):
    """A linear map into the width, blocks, and a linear map out of it."""

    def __init__(self, config: ModelConfig, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, config.width)
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.blocks))
        self.last = nn.Linear(config.width, outputs)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        x = self.first(x)
        for block in self.blocks:
            x = block(x, layout)
        return self.last(x)

    def initialise(self, generator: torch.Generator) -> None:
        _linear(self.first, generator)
        for block in self.blocks:
            assert isinstance(block, _Block)
            block.initialise(generator)
        _linear(self.last, generator)


def _linear(layer: nn.Linear, generator: torch.Generator) -> None:
    """Uniform within ± 1/sqrt(inputs), weight and bias, as torch does by default."""
    bound = layer.in_features**-0.5
    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    nn.init.uniform_(layer.bias, -bound, bound, generator=generator)


class NormFormer(Model, kind="normformer"):
    """Encoder and decoder of OmniJet-alpha (arXiv:2403.05618).

    Before and after attention within the jet stands a layer norm (NormFormer, arXiv:2110.09456).
    There is no position: permuting the particles of a jet permutes the result.
    """

    def __init__(self, config: ModelConfig, features: int, dimension: int) -> None:
        super().__init__(config, features, dimension)
        self.encoder = _Stack(config, features, dimension)
        self.decoder = _Stack(config, dimension, features)
        self._last: tuple[Tensor, int, bool, Layout] | None = None

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        self.encoder.initialise(generator)
        self.decoder.initialise(generator)

    def encode(self, features: Tensor, owner: Tensor, jets: int) -> Tensor:
        return self._run(self.encoder, features, owner, jets)

    def decode(self, latent: Tensor, owner: Tensor, jets: int) -> Tensor:
        return self._run(self.decoder, latent, owner, jets)

    def _run(self, stack: _Stack, x: Tensor, owner: Tensor, jets: int) -> Tensor:
        if not len(owner):
            return stack.last(stack.first(x))
        if torch.is_grad_enabled() or self.training or owner.device.type != "cpu":
            return self._at_once(stack, x, owner, jets)
        parts = [
            self._at_once(stack, x[rows], owner[rows] - first, last - first)
            for first, last, rows in _parts(owner, jets)
        ]
        return torch.cat(parts)

    def _at_once(self, stack: _Stack, x: Tensor, owner: Tensor, jets: int) -> Tensor:
        layout = self._layout(owner, jets)
        rows = stack(x[layout.rows], layout)
        return rows[layout.place]

    def _layout(self, owner: Tensor, jets: int) -> Layout:
        """The same for encoder and decoder of a step."""
        last = self._last
        if last and last[0] is owner and last[1:3] == (jets, self.training):
            return last[3]
        if self.training and self.config.padded_to:
            layout = padded_layout(owner, jets, self.config.padded_to)
        else:
            serial = owner.device.type == "cpu" and torch.get_num_threads() == 1
            layout = packed_layout(owner, jets, 1.0 if serial else _SLOTS_PER_PARTICLE)
        self._last = owner, jets, self.training, layout
        return layout


def _parts(owner: Tensor, jets: int) -> Iterator[tuple[int, int, slice]]:
    """First jet, end of jets and rows of parts with `_PARTICLES_AT_ONCE` or one jet."""
    ends = torch.bincount(owner, minlength=jets).cumsum(0)
    first = row = 0
    while row < len(owner):
        fitting = int(torch.searchsorted(ends, row + _PARTICLES_AT_ONCE, right=True))
        last = max(fitting, first + 1)
        yield first, last, slice(row, int(ends[last - 1]))
        first, row = last, int(ends[last - 1])
