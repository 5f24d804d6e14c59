"""The transformer: the published one in size and start; a jet does not know what is beside it."""

import copy
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor, nn

from treasure.config.tokenizer import ModelConfig
from treasure.tokenizer.normformer import NormFormer, dropped, packed_layout, padded_layout

SIZES = [1, 2, 127, 128, 129, 150]


def made(seed: int = 0, *, trained: bool = True, **config: object) -> NormFormer:
    """A small model in float64; `trained`: away from its start, where blocks are the identity."""
    small = {"width": 16, "heads": 4, "blocks": 2, "mlp_width": 8} | config
    model = NormFormer(ModelConfig.model_validate({"kind": "normformer"} | small), 3, 4)
    generator = torch.Generator().manual_seed(seed)
    model.initialise(generator)
    if trained:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return model.double()


def jets_of(counts: list[int], seed: int = 1) -> tuple[Tensor, Tensor, int]:
    generator = torch.Generator().manual_seed(seed)
    owner = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return (
        torch.randn(len(owner), 3, generator=generator, dtype=torch.float64),
        owner,
        len(counts),
    )


def both(model: NormFormer, features: Tensor, owner: Tensor, jets: int) -> Tensor:
    latent = model.encode(features, owner, jets)
    return torch.cat([latent, model.decode(latent, owner, jets)], dim=1)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Arrays as small as these are slower on several."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def close(a: Tensor, b: Tensor, tolerance: float = 1e-11) -> None:
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


# What it is --------------------------------------------------------------------------------------


def test_as_many_parameters_as_the_published_model():
    model = NormFormer(ModelConfig(kind="normformer", width=128), 3, 4)
    ours = sum(parameter.numel() for parameter in model.parameters())
    codebook = 8192 * 4
    affine = 2 * 4  # mean and scale of all codes, of vqtorch: arXiv:2305.08842
    assert ours + codebook + affine == 833_551


def published_block(block: nn.Module, x: Tensor, mask: Tensor) -> Tensor:
    """A block of the published model on padded jets, in torch's own attention."""
    attention = nn.MultiheadAttention(x.shape[2], block.heads, batch_first=True).double()
    attention.load_state_dict(
        {
            "in_proj_weight": block.inward.weight,
            "in_proj_bias": block.inward.bias,
            "out_proj.weight": block.outward.weight,
            "out_proj.bias": block.outward.bias,
        }
    )
    x = x * mask[:, :, None]
    normed = block.before(x)
    mixed, _ = attention(normed, normed, normed, key_padding_mask=~mask)
    x = x + block.after(mixed)
    return x + block.down(nn.functional.silu(block.up(block.norm(x))))


def test_packed_is_what_torchs_attention_makes_of_padded_jets():
    model = made().eval()
    features, owner, jets = jets_of(SIZES)
    layout = padded_layout(owner, jets, 0)
    mask = layout.real.reshape(jets, -1).bool()
    x = features[layout.rows].reshape(jets, 150, 3)
    with torch.no_grad():
        for stack in (model.encoder, model.decoder):
            x = stack.first(x)
            for block in stack.blocks:
                x = published_block(block, x, mask)
            x = stack.last(x)
        expected = x[mask]
        close(both(model, features, owner, jets)[:, 4:], expected)


def test_blocks_start_as_the_identity():
    model = made(trained=False).eval()
    features, owner, jets = jets_of([3, 5])
    straight = model.encoder.last(model.encoder.first(features))
    close(model.encode(features, owner, jets), straight)


def test_the_start_comes_from_the_generator_alone():
    torch.manual_seed(1)
    first = made(5, trained=False).state_dict()
    before = torch.get_rng_state()
    torch.manual_seed(2)
    again = made(5, trained=False)
    other = made(6, trained=False).state_dict()
    assert all(torch.equal(first[k], v) for k, v in again.state_dict().items())
    assert not torch.equal(first["encoder.first.weight"], other["encoder.first.weight"])
    torch.set_rng_state(before)
    again.initialise(torch.Generator().manual_seed(1))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_start_is_as_wide_as_that_of_torch():
    torch.manual_seed(0)
    model = NormFormer(ModelConfig(kind="normformer", width=128), 3, 4)
    fresh = copy.deepcopy(model.encoder.blocks[0])
    model.initialise(torch.Generator().manual_seed(0))
    ours = model.encoder.blocks[0]
    attention = nn.MultiheadAttention(128, 8)
    for mine, reference in (
        (ours.inward.weight, attention.in_proj_weight),
        (ours.outward.weight, attention.out_proj.weight),
        (ours.up.weight, fresh.up.weight),
        (ours.up.bias, fresh.up.bias),
    ):
        mine, reference = mine.detach(), reference.detach()
        assert float(mine.std() / reference.std()) == pytest.approx(1, abs=0.15)
        assert float(mine.abs().max() / reference.abs().max()) == pytest.approx(1, abs=0.05)
    for zero in (ours.before.weight, ours.down.weight, ours.down.bias, ours.outward.bias):
        assert not zero.any()


def test_heads_share_the_width_evenly():
    with pytest.raises(ValidationError, match="width 20 cannot be shared out among 8 heads"):
        ModelConfig(kind="normformer", width=20)


# The same jets, whatever is beside them ----------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("attention", [True, False])
def test_a_jet_does_not_know_its_batch(size, attention):
    model = made(attention=attention).eval()
    counts = [40, 0, size, 3, size, 0]
    features, owner, jets = jets_of(counts)
    with torch.no_grad():
        together = both(model, features, owner, jets)
        mine = owner == 2
        alone = both(model, features[mine], torch.zeros(size, dtype=torch.int64), 1)
    close(together[mine], alone, 1e-12)


def test_the_parts_of_a_large_evaluation_are_that_of_one(monkeypatch):
    model = made().eval()
    counts = [0, 3, 9, 0, 0, 40, 1, 1, 7, 0]
    with torch.no_grad():
        expected = both(model, *jets_of(counts))
        for at_once in (1, 8, 12):
            monkeypatch.setattr("treasure.tokenizer.normformer._PARTICLES_AT_ONCE", at_once)
            close(both(model, *jets_of(counts)), expected, 1e-13)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=8), st.integers(0, 2**31), st.booleans())
def test_permuted_particles_give_permuted_rows(counts, seed, training):
    model = made(dropout=0.0).train(training)
    features, owner, jets = jets_of(counts)
    order = torch.randperm(len(owner), generator=torch.Generator().manual_seed(seed))
    order = order[torch.argsort(owner[order], stable=True)]
    with torch.no_grad():
        rows = both(model, features, owner, jets)
        close(both(model, features[order], owner, jets), rows[order], 1e-12)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=8),
    st.sampled_from([1.0, 1.1, 1.5, 9.0]),
    st.booleans(),
)
@example([0], 1.0, True)
def test_packed_grouped_and_padded_are_the_same_with_the_same_gradient(counts, share, padded):
    model = made(dropout=0.0).train()
    features, owner, jets = jets_of(counts)
    layouts = packed_layout(owner, jets), packed_layout(owner, jets, share)
    if padded:
        layouts = layouts[0], padded_layout(owner, jets, 16)
    found = []
    for layout in layouts:
        x = features.clone().requires_grad_()
        rows = model.encoder(x[layout.rows], layout)[layout.place]
        model.zero_grad()
        (rows * torch.arange(4)).square().sum().backward()
        with torch.no_grad():  # the attention of evaluation
            close(model.encoder(x[layout.rows], layout)[layout.place], rows)
        found.append([rows.detach(), x.grad, *(p.grad for p in model.encoder.parameters())])
    for one, other in zip(*found, strict=True):
        close(one, other, 1e-9)


def test_groups_have_little_padding_and_every_particle_once():
    counts = np.random.default_rng(0).integers(0, 150, 300).tolist()
    _, owner, jets = jets_of(counts)
    exact, shared = packed_layout(owner, jets), packed_layout(owner, jets, 1.1)
    assert all(group.mask is None for group in exact.groups)
    assert len(shared.groups) < len(exact.groups) / 4
    assert sum(g.jets * g.size for g in shared.groups) <= 1.1 * len(owner)
    for layout in (exact, shared):
        assert torch.equal(layout.rows[layout.place], torch.arange(len(owner)))
        assert sum(group.rows for group in layout.groups) == len(owner)


def test_training_on_slots_is_training_on_particles_without_dropout():
    features, owner, jets = jets_of(SIZES)
    rows = [both(made(padded_to=p, dropout=0.0).train(), features, owner, jets) for p in (0, 128)]
    close(*rows)


def test_evaluation_never_pads():
    model = made(padded_to=128).eval()
    model.encode(*jets_of([3, 4]))
    assert model._last[3].real is None
    model.train().encode(*jets_of([3, 4]))
    assert len(model._last[3].real) == 2 * 128


@pytest.mark.parametrize("counts", [[0], [0, 0, 0]])
@pytest.mark.parametrize("padded_to", [0, 128])
@pytest.mark.parametrize("training", [True, False])
def test_jets_without_particles(counts, padded_to, training):
    model = made(padded_to=padded_to).train(training)
    assert both(model, *jets_of(counts)).shape == (0, 7)
    with_others = both(model, *jets_of([*counts, 2]))
    assert with_others.shape == (2, 7) and with_others.isfinite().all()


def test_particle_by_particle_sees_no_other():
    features, owner, jets = jets_of([5, 9])
    for attention in (True, False):
        model = made(attention=attention).eval()
        x = features.clone().requires_grad_()
        both(model, x, owner, jets)[0].sum().backward()
        seen = x.grad.abs().sum(dim=1) > 1e-9
        expected = owner == 0 if attention else torch.arange(len(owner)) == 0
        assert torch.equal(seen, expected)


def test_particle_by_particle_is_attention_of_jets_with_one_particle():
    features, owner, jets = jets_of([5, 9])
    with torch.no_grad():
        alone = both(made(attention=False).eval(), features, owner, jets)
        one_each = both(made().eval(), features, torch.arange(len(owner)), len(owner))
    close(alone, one_each)


# Training ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("padded_to", [0, 128])
@pytest.mark.parametrize("attention", [True, False])
def test_every_parameter_gets_a_gradient(padded_to, attention):
    model = made(padded_to=padded_to, attention=attention).train()
    both(model, *jets_of([5, 130, 1])).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.any(), name


def test_the_gradient_of_attention_is_right():
    model = made().train()
    features, owner, jets = jets_of([2, 3, 3, 1])

    def function(x: Tensor) -> Tensor:
        torch.manual_seed(0)  # the same weights are dropped
        return model.encode(x, owner, jets)

    assert torch.autograd.gradcheck(function, features[:9].requires_grad_())


@pytest.mark.parametrize("rate", [0.1, 0.37])
def test_dropout_drops_its_share_and_keeps_the_mean(rate):
    torch.manual_seed(3)
    number = 1_000_003
    x = torch.ones(number, requires_grad=True)
    y = dropped(x, rate)
    share = float((y == 0).double().mean())
    assert abs(share - rate) < 4 * (rate * (1 - rate) / number) ** 0.5 + 2**-16
    kept = y[y != 0]
    assert torch.equal(kept, kept[:1].expand_as(kept))
    assert float(kept[0].detach()) == pytest.approx(1 / (1 - rate), abs=1e-4)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())
    # Neighbours, which share a random number of 64 bits, are independent.
    drop = (y == 0).double() - share
    for lag in range(1, 9):
        assert abs(float((drop[lag:] * drop[:-lag]).mean())) < 4.5 * rate * (1 - rate) / 1e3


def test_dropout_follows_torchs_seed_and_only_in_training():
    model, jets = made(), jets_of([5, 9])
    rows = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        rows.append(both(model.train(), *jets))
    assert torch.equal(rows[0], rows[1]) and not torch.equal(rows[0], rows[2])
    model.eval()
    assert torch.equal(both(model, *jets), both(model, *jets))


def test_a_copy_can_be_made_and_pickled_sizes_change_between_calls():
    model = made().eval()
    with torch.no_grad():
        first = both(model, *jets_of([5, 9]))
        both(model, *jets_of([7]))
        close(both(copy.deepcopy(model), *jets_of([5, 9])), first, 1e-14)


def test_it_learns():
    model = made(trained=False, dropout=0.0).float().train()
    features, owner, jets = jets_of([20] * 20)
    features = features.float()
    features[:, 2] = features[:, 0] * features[:, 1]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    torch.manual_seed(0)
    for _ in range(60):
        latent = model.encode(features, owner, jets)
        loss = (model.decode(latent, owner, jets) - features).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.4 * losses[0]
