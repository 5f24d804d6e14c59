"""Small simulated files, made once."""

from pathlib import Path

import pytest

from treasure.config.simulation import SimulationSource
from treasure.simulation.generate import simulate_file

QCD = SimulationSource(process="qcd", events_per_file=60, pthat_min=400.0)
TOP = SimulationSource(
    process="ttbar", events_per_file=40, pthat_min=500.0, bias_power=4.0, bias_reference=500.0
)


@pytest.fixture(scope="session")
def qcd_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("qcd") / "events_2.root"
    simulate_file(QCD, seed=3, branch=2, path=path)
    return path


@pytest.fixture(scope="session")
def top_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("top") / "events_0.root"
    simulate_file(TOP, seed=3, branch=0, path=path)
    return path
