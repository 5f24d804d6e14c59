import itertools

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tokenizer.toys import toy_jets
from treasure.config.tokenizer import TokenizerConfig
from treasure.tokenizer.calibration import jet_pt_mass
from treasure.tokenizer.constraint import choose, linear_response, mean_of_jet
from treasure.tokenizer.particles import owners, pack


def cost(distortion, candidates, momenta, counts, chosen, strength):
    """The sum that `choose` lowers, jet by jet, written out anew."""
    rows = np.arange(len(momenta))
    response = linear_response(momenta, counts)
    costs = []
    for jet in range(len(counts)):
        own = owners(counts) == jet
        error = (candidates[rows, chosen] - momenta)[own].sum(axis=0)
        own_cost = distortion[rows, chosen][own].sum()
        costs.append(own_cost + strength * np.square(response[jet] @ error).sum())
    return np.array(costs)


def made_up(seed: int, counts: list[int], candidates: int = 3):
    rng = np.random.default_rng(seed)
    sizes = np.array(counts, dtype=np.int64)
    number = int(sizes.sum())
    pt, eta = rng.exponential(20.0, number) + 0.5, rng.normal(0.0, 0.2, number)
    phi = rng.normal(0.0, 0.2, number)

    def momenta(pt, eta, phi):
        energy = np.sqrt((pt * np.cosh(eta)) ** 2 + 0.02)
        return np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), energy], axis=-1)

    true = momenta(pt, eta, phi)
    moves = rng.normal(0.0, 0.1, (3, number, candidates))
    near = momenta(pt[:, None] * np.exp(moves[0]), eta[:, None] + moves[1], phi[:, None] + moves[2])
    distortion = np.sort(np.square(moves).sum(axis=0), axis=1)
    return distortion, near, true, sizes


def test_the_response_is_the_derivative_of_pt_mass_eta_and_phi():
    _, _, momenta, counts = made_up(1, [12, 7, 30])
    response = linear_response(momenta, counts)

    def quantities(total):
        px, py, pz, energy = total.T
        pt = np.hypot(px, py)
        mass = np.sqrt(energy**2 - px**2 - py**2 - pz**2)
        return np.stack([np.log(pt), np.log(mass), np.arcsinh(pz / pt), np.arctan2(py, px)], axis=1)

    total = np.stack([momenta[owners(counts) == jet].sum(axis=0) for jet in range(len(counts))])
    for axis in range(4):
        step = np.zeros(4)
        step[axis] = 1e-4
        slope = (quantities(total + step) - quantities(total - step)) / 2e-4
        assert slope == pytest.approx(response[:, :, axis], rel=1e-4, abs=1e-7)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    counts=st.lists(st.integers(0, 6), min_size=1, max_size=4),
    sweeps=st.integers(1, 4),
)
def test_no_jet_is_worse_than_with_nearest_codes_or_better_than_the_best_choice(
    seed, counts, sweeps
):
    distortion, near, true, sizes = made_up(seed, counts)
    chosen = choose(distortion, near, true, sizes, sweeps=sweeps, strength=100.0)
    found = cost(distortion, near, true, sizes, chosen, 100.0)
    nearest = cost(distortion, near, true, sizes, np.zeros(len(true), int), 100.0)
    assert (found <= nearest + 1e-9).all()
    best = np.full(len(sizes), np.inf)
    for combination in itertools.product(range(3), repeat=max([*sizes, 0])):
        place = np.arange(len(true)) - (np.cumsum(sizes) - sizes)[owners(sizes)]
        chosen = np.array(combination, dtype=int)[place]
        best = np.minimum(best, cost(distortion, near, true, sizes, chosen, 100.0))
    assert (found >= best - 1e-9).all()


def test_the_order_of_jets_and_of_particles_changes_no_choice():
    distortion, near, true, counts = made_up(5, [9, 0, 25, 1, 14])
    options = {"sweeps": 2, "strength": 100.0}
    whole = choose(distortion, near, true, counts, **options)
    ends = np.cumsum(counts)
    for jet, end in enumerate(ends):
        rows = np.arange(end - counts[jet], end)
        alone = choose(distortion[rows], near[rows], true[rows], counts[jet : jet + 1], **options)
        assert (alone == whole[rows]).all()
        other = np.random.default_rng(jet).permutation(rows)
        alone = choose(
            distortion[other], near[other], true[other], counts[jet : jet + 1], **options
        )
        assert (alone == whole[other]).all()


def test_what_a_mean_of_a_jet_is():
    counts = np.array([2, 0, 3])
    assert mean_of_jet(np.array([1.0, 3.0, 1.0, 2.0, 6.0]), counts).tolist() == [2, 2, 3, 3, 3]


def test_constrained_codes_keep_pt_and_mass_of_jets_which_nearest_codes_do_not(kmeans_of_toys):
    tokenizer = kmeans_of_toys
    candidates, kinematics = toy_jets(300, seed=8)
    jets = pack(candidates, kinematics)
    before = jet_pt_mass(jets.momenta, jets.counts)
    spread = {}
    for constrained in (False, True):
        tokens, _ = tokenizer.encode_particles(jets, constrained=constrained)
        ids = np.asarray(ak.flatten(tokens, axis=1))
        momenta = tokenizer.decode_packed(ids, jets.counts, kinematics[:, 1:3])
        after = jet_pt_mass(momenta, jets.counts)
        spread[constrained] = [
            np.subtract(*np.percentile(a / b, [75, 25])) for a, b in zip(after, before, strict=True)
        ]
    assert spread[True][0] < spread[False][0] / 2
    assert spread[True][1] < spread[False][1] / 2


def test_a_decoder_that_sees_the_jet_cannot_be_constrained():
    with pytest.raises(ValueError, match=r"jet_constraint\.candidates needs a decoder"):
        TokenizerConfig.model_validate({"jet_constraint": {"candidates": 4}})


@pytest.mark.parametrize("kind", ["fsq", "binning"])
def test_quantizers_without_neighbours_are_refused_before_a_training(kind):
    with pytest.raises(ValueError, match=f"a quantizer {kind} has no nearest codes"):
        TokenizerConfig.model_validate(
            {
                "model": {"decoder_context": 0},
                "quantizer": {"kind": kind, "levels": [4, 4, 4]},
                "jet_constraint": {"candidates": 4},
            }
        )
