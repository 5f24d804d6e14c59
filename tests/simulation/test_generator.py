"""Generation: settings, weights, and the configuration of it."""

import numpy as np
import pytest
from pydantic import ValidationError

from treasure.config.simulation import Detector, SimulationSource
from treasure.errors import ConfigError
from treasure.simulation.generator_particles import select_generator_particles
from treasure.simulation.pythia import EventBatch, Generator

#: The hard process alone: fast.
PARTONS_ONLY = ("PartonLevel:all = off", "HadronLevel:all = off")


def generate(source: SimulationSource, n: int) -> EventBatch:
    (batch,) = Generator(source, seed=11).batches(n, n)
    return batch


@pytest.mark.parametrize("process", ["qcd", "ttbar"])
def test_weights_undo_the_bias(process: str) -> None:
    n = 4000
    common = {"process": process, "pthat_min": 300.0, "settings": PARTONS_ONLY}
    plain = generate(SimulationSource(**common, bias_power=0.0), n)
    biased = generate(SimulationSource(**common, bias_power=4.0), n)
    assert np.all(plain.weight == plain.weight[0])
    np.testing.assert_allclose(biased.weight, (300.0 / biased.pthat) ** 4, rtol=1e-3)
    assert np.median(biased.pthat) > 1.2 * np.median(plain.pthat)
    for threshold in (330.0, 400.0, 500.0):
        above = biased.pthat > threshold
        expected = np.mean(plain.pthat > threshold)
        share = np.average(above, weights=biased.weight)
        w = biased.weight / biased.weight.sum()
        error = np.sqrt(np.sum((w * (above - share)) ** 2) + expected * (1 - expected) / n)
        assert share == pytest.approx(expected, abs=4 * error)


def test_the_range_of_pthat_is_respected() -> None:
    source = SimulationSource(
        process="qcd", pthat_min=400.0, pthat_max=500.0, settings=PARTONS_ONLY
    )
    pthat = generate(source, 300).pthat
    assert pthat.min() >= 400 and pthat.max() <= 500


def test_dijet_events_keep_the_two_hard_partons() -> None:
    no_radiation = tuple(f"PartonLevel:{part} = off" for part in ("ISR", "FSR", "MPI"))
    source = SimulationSource(
        process="qcd", pthat_min=400.0, settings=(*no_radiation, "HadronLevel:all = off")
    )
    batch = generate(source, 50)
    particles = select_generator_particles(batch)
    assert np.bincount(particles.event).tolist() == [2] * 50
    assert set(np.abs(particles.pdg_id)) <= {1, 2, 3, 4, 5, 21}
    assert set(particles.mother) == {-1} and set(particles.status) == {23}
    np.testing.assert_allclose(particles.pt, np.repeat(batch.pthat, 2), rtol=0.2)


def test_an_unknown_pythia_setting_is_named() -> None:
    with pytest.raises(ConfigError, match="Nonsense:yes = 1"):
        Generator(SimulationSource(process="qcd", settings=("Nonsense:yes = 1",)), seed=1)


def test_an_empty_range_of_pthat_is_refused() -> None:
    with pytest.raises(ValidationError, match="above pthat_min"):
        SimulationSource(process="qcd", pthat_min=500.0, pthat_max=400.0)


@pytest.mark.parametrize("section", [SimulationSource, Detector])
def test_every_value_is_described(section: type[SimulationSource] | type[Detector]) -> None:
    for name, field in section.model_fields.items():
        assert field.description and field.description.rstrip().endswith((".", ")")), name
