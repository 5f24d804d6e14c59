"""From a record of a portal to jet tables: one command, over HTTP, and again without the portal."""

import json
from pathlib import Path

import pytest

from tests.fileset.portal_server import PortalServer, running
from tests.layouts import separated_events, write_layout
from treasure.jets.table import JetTable

from .conftest import Terminal

# Section 2 of run 1 is not validated; 4 is, but its events were lost.
CERTIFICATE = json.dumps({"1": [[1, 1], [3, 4]], "2": [[1, 100]]}).encode()
EVENTS = 30

CONFIG = """
defaults: aoj
datasets:
  mine:
    source: {{kind: cern_open_data, record: 1, portal: "{address}", protocol: https}}
    label: 0
    is_mc: false
    shard_name: RunX
"""


def publish(server: PortalServer, folder: Path) -> None:
    """A record of collision data with two PFNano files as those of the portal, one event short."""
    events = separated_events(EVENTS)
    files = []
    for number, rows in enumerate((slice(0, 12), slice(12, EVENTS))):
        part = {name: values[rows] for name, values in events.items() if name != "genWeight"}
        path = write_layout(folder / f"{number}.root", part, "C")
        files.append(server.add_file(f"/eos/pfnano/{number}.root", path.read_bytes()))
    index = server.add_file("/eos/pfnano/x_file_index.json", json.dumps(files).encode())
    server.add_record(
        {
            "recid": "1",
            "title": "Dataset in NanoAOD format enhanced with Particle Flow candidates",
            "distribution": {"formats": ["nanoaod-pf", "root"], "number_events": EVENTS + 1},
            "files": [{**index, "type": "index.json"}],
            "run_numbers": ["1"],
            "validated_runs": [{"recid": "14220", "validation": "full"}],
        }
    )
    server.add_certificate(CERTIFICATE)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Terminal, Path]:
    """A store in which the jet tables were made, and the configuration; the portal is gone."""
    folder = tmp_path_factory.mktemp("portal")
    terminal = Terminal(folder / "store")
    terminal.environment |= {"TREASURE_CACHE": str(folder / "cache"), "NO_PROXY": "127.0.0.1"}
    config = folder / "my.yaml"
    with running() as server:
        publish(server, folder)
        config.write_text(CONFIG.format(address=server.address))
        terminal.run = terminal.law("WriteH5", "--dataset", "mine", config=str(config))
    assert terminal.run.code == 0, terminal.run.text
    return terminal, config


def test_jets_of_validated_sections_are_written_under_the_public_name(made):
    store = made[0].store
    (path,) = store.glob("my/WriteH5/mine/*/RunX_batch0/RunX_batch0.h5")
    with JetTable(path) as table:
        info, particles = table.column("event_info"), next(table.chunks()).candidates
    events = separated_events(EVENTS)
    expected = [
        (1, block, number)
        for block, number, jets in zip(
            events["luminosityBlock"], events["event"], events["FatJet"], strict=True
        )
        for jet in jets
        if block != 2 and jet["pt"] > 300
    ]
    assert [tuple(row) for row in info.tolist()] == expected
    assert (particles[:, :, 3] != 0).any()


def test_luminosity_sections_read_stand_beside_those_expected(made):
    (path,) = made[0].store.glob("my/MergeCutflows/mine/*/cutflow.json")
    luminosity = json.loads(path.read_text())["luminosity"]
    assert luminosity["processed"] == {"1": [[1, 1], [3, 3]]}
    assert luminosity["expected"] == {"1": [[1, 1], [3, 4]]}
    assert luminosity["missing"] == {"1": [[4, 4]]}
    assert luminosity["outside"] == {"1": [[2, 2]]}


def test_events_that_the_record_has_more_are_said(made):
    assert f"the record says {EVENTS + 1} events, its files hold {EVENTS}" in made[0].run.text


def test_the_portal_is_not_needed_again(made):
    terminal, config = made
    again = terminal.law("WriteH5", "--dataset", "mine", config=str(config))
    assert again.code == 0 and "complete, nothing to do" in again.text
    # What is left of the record is its answers in the cache: the files themselves are gone.
    other = terminal.law(
        "CreateFileset", "--dataset", "mine", "--set",
        "datasets.mine.source.offline=true,datasets.mine.source.limit_files=1", config=str(config),
    )  # fmt: skip
    assert other.code != 0
    assert "/eos/pfnano/0.root" in other.text and "Traceback" not in other.text
