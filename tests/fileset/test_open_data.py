"""Records of the CERN Open Data portal: a local server with the real ones, and every fault."""

import json
import multiprocessing
import re
import socket
from pathlib import Path

import pytest
from coffea.dataset_tools import DataGroupSpec
from pydantic import ValidationError

from tests.fileset.portal_server import (
    CERTIFICATE,
    EOS,
    PortalServer,
    altered,
    entry,
    files_of_30525,
    running,
    silent,
    status,
    truncated,
    web_page,
)
from tests.layout_a import random_events, write_events
from treasure.config.dataset import Dataset
from treasure.config.loading import CONFIG_DIRECTORY, available, load_config
from treasure.errors import ConfigError, DataError
from treasure.fileset.cern_open_data import CernOpenDataFiles
from treasure.fileset.open_data import open_catalogue, processed_sections, validated_runs
from treasure.fileset.portal import (
    Missing,
    Portal,
    cache_directory,
    check_bytes,
    https_address,
    parse_adler32,
    record_number,
)
from treasure.fileset.record import Record
from treasure.fileset.sources import create_fileset

JETHT_G_NANO, JETHT_H_NANO = 30525, 30558


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own for each test, and no proxy between it and its server."""
    monkeypatch.setenv("TREASURE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "cache" / "open_data"


@pytest.fixture
def samples(shared: Path) -> Path:
    return shared / "data" / "open_data"


@pytest.fixture
def server():
    with running() as started:
        yield started


@pytest.fixture
def portal(server: PortalServer, samples: Path) -> PortalServer:
    server.add_samples(samples)
    return server


def source(record: int | str, *, is_mc: bool = False, **more: object) -> CernOpenDataFiles:
    dataset = Dataset(
        label=0, is_mc=is_mc, source={"kind": "cern_open_data", "record": record, **more}
    )
    return CernOpenDataFiles(dataset, (), Path())


def quick(server: PortalServer, **more: object) -> Portal:
    return Portal(server.address, **{"pause": 0.0, "timeout": 30.0, "attempts": 3, **more})


def listed(samples: Path, pattern: str) -> dict[str, dict]:
    """URI -> entry, read from the real file indexes independently."""
    found: dict[str, dict] = {}
    for path in sorted(samples.glob(f"file_indexes/{pattern}")):
        found |= {one["uri"]: one for one in json.loads(path.read_bytes())}
    return found


# What a record stands for


def test_a_record_is_resolved_to_its_files_with_size_and_checksum(portal, samples):
    expected = listed(samples, "CMS_Run2016G_JetHT_NANOAOD*")
    located = source(JETHT_G_NANO, portal=portal.address).locate()
    assert [file.uri for file in located] == sorted(expected)
    assert len(located) == 70
    for file in located:
        assert file.location == file.uri
        assert file.size == expected[file.uri]["size"]
        assert int(file.checksum.removeprefix("adler32:"), 16) == int(
            expected[file.uri]["checksum"].removeprefix("adler32:"), 16
        )


@pytest.mark.parametrize(
    "name",
    [
        "10.7483/OPENDATA.CMS.14F4.VPP9",
        "doi:10.7483/opendata.cms.14f4.vpp9",
        "https://doi.org/10.7483/OPENDATA.CMS.14F4.VPP9",
        "30525",
        "CMS-30525",
    ],
)
@pytest.mark.parametrize("on_disk", [False, True])
def test_a_doi_or_a_spelling_of_the_number_means_the_same_record(portal, samples, name, on_disk):
    where = {"folder": str(samples)} if on_disk else {"portal": portal.address}
    found = source(name, **where)
    assert found.record.number == JETHT_G_NANO
    assert len(found.locate()) == 70


def test_provenance_says_what_the_record_says(portal):
    assert source(JETHT_G_NANO, portal=portal.address).provenance() == {
        "record": 30525,
        "url": "https://opendata.cern.ch/record/30525",
        "title": "/JetHT/Run2016G-UL2016_MiniAODv2_NanoAODv9-v1/NANOAOD",
        "doi": "10.7483/OPENDATA.CMS.14F4.VPP9",
        "events": 120688407,
        "number_files": 70,
        "formats": ["nanoaod", "root"],
        "run_period": ["Run2016G"],
        "global_tag": "106X_dataRun2_v37",
        "validated_runs": [14220, 14221],
        "licence": "CC0-1.0",
        "parent": {
            "record": 30508,
            "title": "/JetHT/Run2016G-UL2016_MiniAODv2-v2/MINIAOD",
            "doi": "10.7483/OPENDATA.CMS.1KTG.X0W4",
            "events": 120745085,
        },
        "notes": ["NanoAOD: holds no particle-flow candidates, unless of version 15 or later"],
        "luminosity_sections": "validated runs (record 14220) of the runs of record 30525",
    }


def test_portal_folder_and_cache_give_the_same(portal, samples, tmp_path):
    folder = tmp_path / "folder"
    (folder / "deep" / "er").mkdir(parents=True)
    for path in samples.glob("file_indexes/*"):
        (folder / "deep" / "er" / path.name).write_bytes(path.read_bytes())
    (folder / "answer.json").write_bytes(portal.answer(f"/api/records/{JETHT_H_NANO}"))
    records = [portal.records["30541"], portal.records["14220"]]
    (folder / "deep" / "list.json").write_text(json.dumps(records))
    (folder / CERTIFICATE).write_bytes((samples / CERTIFICATE).read_bytes())
    (folder / "broken.json").write_text("{")

    def everything(**where: object) -> tuple:
        found = source(JETHT_H_NANO, **where)
        return found.locate(), found.provenance(), found.luminosity_sections()

    asked = everything(portal=portal.address)
    assert asked[2] is not None
    assert everything(folder=str(folder)) == asked
    before = portal.requests
    assert everything(portal=portal.address, offline=True) == asked
    assert portal.requests == before


def test_https_rewrites_the_address_of_each_file(portal):
    located = source(JETHT_G_NANO, portal=portal.address, protocol="https").locate()
    assert all(
        file.uri.startswith(f"{portal.address}/eos/opendata/cms/Run2016G/") for file in located
    )
    assert https_address("root://eospublic.cern.ch//eos/a.root") == (
        "https://opendata.cern.ch/eos/a.root"
    )
    with pytest.raises(DataError, match="protocol: root"):
        https_address("root://elsewhere.example//eos/a.root")


def test_a_limit_takes_the_first_files_and_promises_no_sections(portal):
    limited = source(JETHT_G_NANO, portal=portal.address, limit_files=3)
    assert limited.locate() == source(JETHT_G_NANO, portal=portal.address).locate()[:3]
    assert limited.luminosity_sections() is None
    assert limited.provenance()["luminosity_sections"] == "not known: a part of the record"


def dataset_record(server: PortalServer, number: int = 1, **more: object) -> dict:
    record = {
        "recid": str(number),
        "title": f"Dataset {number}",
        "distribution": {"formats": ["nanoaod-pf", "root"]},
        "files": [],
        **more,
    }
    server.add_record(record)
    return record


def test_files_in_the_answer_itself_are_used_and_each_once(server):
    files = [entry(f"{EOS}/eos/{name}.root", name.encode()) for name in "bab"]
    dataset_record(
        server,
        _file_indices=[
            {"key": "x_file_index.json", "files": files[:2]},
            {"key": "y_file_index.json", "files": files[1:]},
        ],
        files=[entry(f"{EOS}/eos/x_file_index.json", b"never asked for", type="index.json")],
    )
    located = source(1, portal=server.address).locate()
    assert [file.uri for file in located] == [f"{EOS}/eos/a.root", f"{EOS}/eos/b.root"]
    assert server.requests == 1


@pytest.mark.parametrize("key", ["uri", "uri_root"])
def test_files_that_a_record_lists_itself_are_used(server, key):
    data = [entry(f"{EOS}/eos/{name}", b"x") for name in ("b.root", "a.root", "README.txt")]
    dataset_record(server, files=[{key: one.pop("uri"), **one} for one in data])
    located = source(1, portal=server.address).locate()
    assert [file.uri for file in located] == [f"{EOS}/eos/a.root", f"{EOS}/eos/b.root"]


def test_json_and_text_indexes_list_each_file_once(server):
    uris = [f"{EOS}/eos/{name}.root" for name in "ab"]
    index = json.dumps([entry(uri, b"x") for uri in [*uris, uris[0]]]).encode()
    text = "\n".join(uris).encode()
    files = [
        server.add_file("/eos/x_file_index.txt", text, type="index.txt"),
        server.add_file("/eos/x_file_index.json", index, type="index.json"),
    ]
    dataset_record(server, files=files)
    assert [file.size for file in source(1, portal=server.address).locate()] == [1, 1]
    dataset_record(server, 2, files=files[:1])
    located = source(2, portal=server.address).locate()
    assert [(file.uri, file.size, file.checksum) for file in located] == [
        (uri, None, None) for uri in uris
    ]


def test_a_file_listed_twice_with_other_content_is_refused(server):
    uri = f"{EOS}/eos/a.root"
    dataset_record(server, files=[entry(uri, b"x"), entry(uri, b"y")])
    with pytest.raises(DataError, match=r"a\.root: listed twice by record 1"):
        source(1, portal=server.address).locate()


def test_a_number_of_files_that_differs_from_those_listed_is_noted(server):
    uri = f"{EOS}/eos/a.root"
    distribution = {"formats": ["nanoaod-pf"], "number_files": 2}
    dataset_record(server, files=[entry(uri, b"x")], distribution=distribution)
    notes = source(1, portal=server.address).provenance()["notes"]
    assert notes == ["1 files are listed, the record speaks of 2"]


def test_leading_zeros_of_checksums_do_not_matter(server):
    data = next(b"%d" % n for n in range(1000) if f"{parse_of(b'%d' % n):08x}".startswith("00"))
    assert entry("x", data)["checksum"] != f"adler32:{parse_of(data):08x}"
    dataset_record(server, files=[entry(f"{EOS}/eos/a.root", data)])
    (file,) = source(1, portal=server.address).locate()
    assert file.checksum == f"adler32:{parse_of(data):08x}"
    assert parse_adler32("adler32:1564c6a") == parse_adler32("01564C6A") == 0x01564C6A
    assert parse_adler32("sha1:0123") is parse_adler32(None) is None
    assert check_bytes(data, len(data), parse_of(data)) is None


def parse_of(data: bytes) -> int:
    """Adler-32 by its definition (RFC 1950)."""
    low, high = 1, 0
    for byte in data:
        low = (low + byte) % 65521
        high = (high + low) % 65521
    return high << 16 | low


# What is refused


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (30508, "MiniAOD.*use its PFNano, record 31308, or make"),
        (30516, "MiniAOD.*use its PFNano, record 31316"),
        (30541, "MiniAOD.*; make PFNano from it with CMSSW.*kind: local"),
        (14220, "lists no ROOT file"),
    ],
)
def test_records_that_are_no_flat_table_are_refused_with_what_to_do(portal, record, words):
    with pytest.raises(DataError, match=words):
        source(record, portal=portal.address).locate()


def test_the_tier_in_the_title_counts_where_no_format_is_given(server):
    dataset_record(server, title="/TT/X-v1/MINIAODSIM", distribution={})
    with pytest.raises(DataError, match="is MiniAOD"):
        source(1, portal=server.address, is_mc=True).locate()


def test_files_on_tape_are_refused_unless_they_are_not_asked_for(server):
    files = [
        entry(f"{EOS}/eos/a.root", b"a", availability="online"),
        entry(f"{EOS}/eos/b.root", b"b", availability="on demand"),
    ]
    dataset_record(server, _file_indices=[{"key": "x", "files": files}])
    with pytest.raises(DataError) as error:
        source(1, portal=server.address).locate()
    message = str(error.value)
    assert "1 of 2 files are on tape" in message
    assert "request them on the record's page, https://opendata.cern.ch/record/1" in message
    assert len(source(1, portal=server.address, limit_files=1).locate()) == 1
    files[1]["availability"] = "online"  # back from tape, which the cache does not know
    with pytest.raises(DataError, match="on tape"):
        source(1, portal=server.address, offline=True).locate()
    assert len(source(1, portal=server.address).locate()) == 2
    assert len(source(1, portal=server.address, offline=True).locate()) == 2


def test_data_called_simulation_and_the_reverse_are_refused(portal):
    with pytest.raises(ConfigError, match=r"record 30525.* is collision data.*is_mc: true"):
        source(JETHT_G_NANO, portal=portal.address, is_mc=True).locate()
    dataset_record(portal, type={"primary": "Dataset", "secondary": ["Simulated"]})
    with pytest.raises(ConfigError, match=r"is simulation.*is_mc: false"):
        source(1, portal=portal.address).locate()


def test_a_record_or_doi_that_does_not_exist_is_named(portal, samples):
    with pytest.raises(Missing, match=r"/api/records/99: .*HTTP 404"):
        source(99, portal=portal.address).locate()
    assert portal.asked["/api/records/99"] == 1  # nothing that another attempt would change
    # One that differs in its last letters is found by the server's search, and is another.
    with pytest.raises(Missing, match=r"no record has the DOI 10\.7483/OPENDATA\.CMS\.14F4\.XXXX"):
        source("10.7483/OPENDATA.CMS.14F4.XXXX", portal=portal.address).locate()
    with pytest.raises(Missing, match=r"no record 99 \(it holds 30507, "):
        source(99, folder=str(samples)).locate()
    with pytest.raises(Missing, match="no record with the DOI"):
        source("10.7483/OPENDATA.CMS.14F4.XXXX", folder=str(samples)).locate()
    with pytest.raises(ValidationError, match="expected the number of a record"):
        source("JetHT", portal=portal.address)


def test_a_folder_without_the_index_names_it(samples, tmp_path):
    with pytest.raises(Missing, match=r"JetHT_PFNano_29-Feb-24.*_file_index.json: not in"):
        source(31308, folder=str(samples)).locate()
    with pytest.raises(DataError, match=r"no such folder; check source.folder"):
        source(31308, folder=str(tmp_path / "nowhere")).locate()


def test_a_damaged_index_in_a_folder_is_named(samples, tmp_path):
    for path in [*samples.glob("records_2016_*.json"), *samples.glob("file_indexes/*G_JetHT*")]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    index = next(tmp_path.glob("*_130000_file_index.json"))
    index.write_bytes(index.read_bytes().replace(b"root", b"rOOt", 1))
    with pytest.raises(DataError, match=f"{index.name}: adler32 .*its record says 49364cc7"):
        source(JETHT_G_NANO, folder=str(tmp_path)).locate()


def test_an_index_that_is_no_list_of_files_is_refused(server):
    file = server.add_file("/eos/x_file_index.json", b'{"a": 1}', type="index.json")
    dataset_record(server, files=[file])
    with pytest.raises(DataError, match="no file index"):
        source(1, portal=server.address).locate()


def test_an_address_that_is_none_is_refused():
    with pytest.raises(ConfigError, match=r"source.portal: 'file:///etc'"):
        Portal("file:///etc")
    assert record_number("CMS-31308") == record_number(31308) == 31308


# A network that fails


@pytest.fixture
def index(portal) -> str:
    """Path of one of the two file indexes of the record, 290 bytes."""
    (path,) = [path for path in portal.files if "2016G_JetHT" in path and "_130000_" in path]
    return path


@pytest.mark.parametrize("fault", [status(500), status(503), truncated, altered, web_page])
def test_a_fault_of_an_index_that_passes_is_not_seen(portal, index, fault):
    portal.fail(index, fault, fault)
    assert len(Record(quick(portal), JETHT_G_NANO).files()) == 70
    assert portal.asked[index] == 3


@pytest.mark.parametrize("fault", [status(500), status(429), truncated, altered, web_page])
def test_a_fault_of_the_api_that_passes_is_not_seen(portal, fault):
    portal.fail("/api/records", fault)
    portal.fail("/api/records/30525", fault, fault)
    assert Record(quick(portal), "10.7483/OPENDATA.CMS.14F4.VPP9").number == JETHT_G_NANO
    assert portal.asked["/api/records"] == 2
    assert portal.asked["/api/records/30525"] == 3


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (status(500), "HTTP 500"),
        (truncated, "the connection broke after 145 bytes"),
        (altered, r"adler32 [0-9a-f]{8}, its record says 49364cc7"),
        (web_page, "24 bytes, its record says 290"),
    ],
)
def test_a_fault_that_stays_names_address_reason_and_remedy(portal, cache, index, fault, words):
    portal.fail(index, *[fault] * 3)
    with pytest.raises(DataError) as error:
        Record(quick(portal), JETHT_G_NANO).files()
    message = str(error.value)
    assert message.startswith(f"{portal.address}{index}: no good answer in 3 attempts")
    assert re.search(words, message)
    assert "source.offline: true" in message
    assert "source.folder" in message
    assert not list(cache.rglob("*_130000_*"))  # nothing bad is kept
    assert len(Record(quick(portal), JETHT_G_NANO).files()) == 70


def test_a_server_that_says_nothing_is_given_up(portal):
    portal.fail("/api/records/30525", *[silent(portal)] * 2)
    with pytest.raises(DataError, match="no good answer in 2 attempts; the last: timed out"):
        Record(quick(portal, timeout=0.2, attempts=2), JETHT_G_NANO)


def test_a_refusal_is_not_asked_again(portal):
    portal.fail("/api/records/30525", status(403))
    with pytest.raises(DataError, match=r"refused \(HTTP 403"):
        Record(quick(portal), JETHT_G_NANO)
    assert portal.asked["/api/records/30525"] == 1


def test_no_server_at_all_is_an_error_and_not_a_traceback():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(DataError, match=r"Connection refused.*try again later"):
        Record(Portal(address, pause=0, attempts=2), 1)


# The cache


def test_the_next_run_needs_no_network(samples):
    with running() as server:
        server.add_samples(samples)
        address = server.address
        first = source("10.7483/OPENDATA.CMS.14F4.VPP9", portal=address)
        located, sections = first.locate(), first.luminosity_sections()
        asked = server.requests
        again = source("10.7483/OPENDATA.CMS.14F4.VPP9", portal=address)
        assert (again.locate(), again.luminosity_sections()) == (located, sections)
        assert server.requests == asked
    gone = source("10.7483/OPENDATA.CMS.14F4.VPP9", portal=address)
    assert (gone.locate(), gone.luminosity_sections()) == (located, sections)


def test_offline_opens_no_socket(portal, monkeypatch):
    filled = source(JETHT_G_NANO, portal=portal.address).locate()

    def refuse(*arguments: object, **more: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert source(JETHT_G_NANO, portal=portal.address, offline=True).locate() == filled
    with pytest.raises(Missing, match=r"not in the cache .* source.offline is true; run once"):
        source(JETHT_H_NANO, portal=portal.address, offline=True).locate()


def _damage(how: str, cache: Path) -> None:
    entries = sorted(cache.glob("*.json"))
    bodies = sorted(path for path in cache.glob("*/*"))
    for path in {"entry": entries, "not_an_object": entries}.get(how, bodies):
        match how:
            case "flipped":
                data = bytearray(path.read_bytes())
                data[len(data) // 2] ^= 4
                path.write_bytes(data)
            case "truncated" | "entry":
                path.write_bytes(path.read_bytes()[:-5])
            case "not_an_object":
                path.write_text("[]")
            case "removed":
                path.unlink()


@pytest.mark.parametrize("how", ["flipped", "truncated", "removed", "entry", "not_an_object"])
def test_a_damaged_cache_is_noticed_and_asked_again(portal, cache, how):
    expected = source(JETHT_G_NANO, portal=portal.address).locate()
    _damage(how, cache)
    with pytest.raises(Missing, match=r"the copy in the cache is damaged.*offline is true"):
        source(JETHT_G_NANO, portal=portal.address, offline=True).locate()
    assert source(JETHT_G_NANO, portal=portal.address).locate() == expected
    assert source(JETHT_G_NANO, portal=portal.address, offline=True).locate() == expected


def test_many_processes_at_once_share_the_cache(portal, cache):
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert pool.map(files_of_30525, [portal.address] * 4) == [70] * 4
    before = portal.requests
    assert files_of_30525(portal.address) == 70
    assert portal.requests == before
    assert not [path for path in cache.rglob(".*") if path.is_file()]


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    assert cache_directory() == tmp_path / "cache"
    monkeypatch.delenv("TREASURE_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_directory() == tmp_path / ".cache" / "treasure"


# Validated runs and luminosity sections


def test_validated_runs_are_the_file_of_their_record(portal, samples):
    path = validated_runs(14220, "8690115c", portal=portal.address)
    assert path.read_bytes() == (samples / CERTIFICATE).read_bytes()
    before = portal.requests
    assert validated_runs(14220, "8690115C", portal=portal.address, offline=True) == path
    assert portal.requests == before


def test_validated_runs_of_another_checksum_are_refused(portal):
    with pytest.raises(DataError, match=r"adler32 8690115d was expected.*golden_json_adler32"):
        validated_runs(14220, "8690115d", portal=portal.address)
    with pytest.raises(DataError, match="lists no JSON file"):
        dataset_record(portal)
        validated_runs(1, portal=portal.address)


def test_validated_runs_on_disk_are_known_by_their_checksum(samples):
    path = validated_runs(14220, "8690115c", folder=str(samples))
    assert path == samples / CERTIFICATE
    with pytest.raises(Missing):
        validated_runs(14220, folder=str(samples))


@pytest.mark.parametrize(
    ("record", "first", "last"), [(JETHT_G_NANO, 278820, 280385), (JETHT_H_NANO, 281613, 284044)]
)
def test_sections_to_expect_are_the_validated_ones_of_the_runs(
    portal, samples, record, first, last
):
    golden = json.loads((samples / CERTIFICATE).read_bytes())
    held = set(portal.records[str(record)]["run_numbers"])
    expected = {run: golden[run] for run in golden if run in held}
    sections = source(record, portal=portal.address).luminosity_sections()
    assert sections == expected
    assert all(first <= int(run) <= last for run in sections)
    # Those that the golden JSON has of this period: only runs that the record holds.
    assert set(sections) <= {run for run in golden if first <= int(run) <= last}


def test_the_run_period_of_the_abstract_or_of_the_parent_does_as_well(portal, samples):
    golden = json.loads((samples / CERTIFICATE).read_bytes())
    between = {run: golden[run] for run in golden if 278820 <= int(run) <= 280385}
    del portal.records["30525"]["run_numbers"]
    sections, by = processed_sections(Record(quick(portal), JETHT_G_NANO))
    assert sections == between
    assert by.endswith("of the runs of record 30525")
    # A PFNano record says nothing of runs, but names its parent, ZeroBias 2016 G.
    sections, by = processed_sections(Record(quick(portal), 31316))
    held = set(portal.records["30516"]["run_numbers"])
    assert sections == {run: golden[run] for run in golden if run in held}
    assert by.endswith("of the runs of record 30516")


def test_sections_that_the_record_lists_come_first(portal):
    processed = {"278820": [[17, 22], [25, 1199]], "278822": [[1, 1627]]}
    record = portal.records["31308"]
    path = record["files"][0]["uri"].removeprefix(EOS)
    assert path.endswith("processedLumis.json")
    record["files"][0] = portal.add_file(path, json.dumps(processed).encode())
    sections, by = processed_sections(Record(quick(portal), 31308))
    assert sections == processed
    assert by == "processedLumis.json of record 31308"


def test_sections_that_cannot_be_had_are_none_and_said_so(portal, samples):
    found = source(JETHT_G_NANO, folder=str(samples))
    assert found.luminosity_sections() is None
    assert found.provenance()["luminosity_sections"].startswith("not known: the list of validated")
    simulation = dataset_record(portal, type={"secondary": ["Simulated"]})
    assert simulation["recid"] == "1"
    assert source(1, portal=portal.address, is_mc=True).luminosity_sections() is None


def test_a_list_of_runs_that_is_none_is_refused(portal):
    record = portal.records["31308"]
    path = record["files"][0]["uri"].removeprefix(EOS)
    record["files"][0] = portal.add_file(path, b'{"278820": [17, 22]}')
    with pytest.raises(DataError, match="no list of luminosity sections"):
        processed_sections(Record(quick(portal), 31308))


def test_pfnano_knows_its_parent_and_miniaod_has_none(portal):
    catalogue = open_catalogue(portal.address)
    parents = {
        number: Record(catalogue, number).parent_number for number in (31308, 30525, 30508, 30516)
    }
    assert parents == {31308: 30508, 30525: 30508, 30508: None, 30516: None}
    # Its title is a sentence that has "NanoAOD" in it, and no name of a dataset.
    assert Record(catalogue, 31308).formats == ["json", "nanoaod-pf", "root"]


# From the record to the fileset


@pytest.fixture
def dataset_on_server(server: PortalServer, tmp_path: Path) -> dict[str, Path]:
    paths, files = {}, []
    for number, name in enumerate("ba"):
        paths[name] = tmp_path / f"{name}.root"
        write_events(paths[name], random_events(4 + number, seed=number))
        files.append(server.add_file(f"/eos/pfnano/{name}.root", paths[name].read_bytes()))
    index = server.add_file("/eos/pfnano/x_file_index.json", json.dumps(files).encode())
    distribution = {"formats": ["nanoaod-pf", "root"], "number_events": 9, "number_files": 2}
    dataset_record(server, files=[{**index, "type": "index.json"}], distribution=distribution)
    return paths


def over_https(server: PortalServer, **more: object) -> Dataset:
    where = {"record": 1, "portal": server.address, "protocol": "https", **more}
    return Dataset(label=0, is_mc=True, source={"kind": "cern_open_data", **where})


def test_a_fileset_of_a_record_is_read_over_http(server, dataset_on_server, tmp_path):
    fileset = create_fileset("mine", over_https(server), base=tmp_path, threads=2)
    assert [file.uri for file in fileset.files] == [
        f"{server.address}/eos/pfnano/{name}.root" for name in "ab"
    ]
    assert [file.entries for file in fileset.files] == [5, 4]
    for name, file in zip("ab", fileset.files, strict=True):
        data = dataset_on_server[name].read_bytes()
        assert file.size == len(data)
        assert file.checksum == f"adler32:{parse_of(data):08x}"
    assert fileset.provenance["events"] == fileset.entries
    DataGroupSpec.model_validate(fileset.to_coffea())
    # How and where the portal is asked is not part of it.
    assert not {"portal", "folder", "offline"} & set(fileset.source)


def test_a_file_that_is_not_what_its_record_says_is_a_bad_one(server, dataset_on_server, tmp_path):
    server.files["/eos/pfnano/b.root"] += b"more"
    with pytest.raises(DataError, match=r"b\.root"):
        create_fileset("mine", over_https(server), base=tmp_path, threads=1)
    fileset = create_fileset(
        "mine", over_https(server, allowed_bad_files=1), base=tmp_path, threads=1
    )
    assert [file.uri.rsplit("/", 1)[-1] for file in fileset.files] == ["a.root"]
    assert [file.uri.rsplit("/", 1)[-1] for file in fileset.bad_files] == ["b.root"]


# Shipped datasets


@pytest.mark.parametrize("name", available("datasets"))
def test_every_shipped_dataset_is_valid(name, tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text(f"defaults: aoj\ndatasets: {{mine: {name}}}\n")
    dataset = load_config(str(path)).config.datasets["mine"]
    assert dataset.title
    text = (CONFIG_DIRECTORY / "datasets" / f"{name}.yaml").read_text()
    assert text.startswith("#")
    assert ("NOT CHECKED" in text) == dataset.is_mc
    if dataset.source.kind == "local":
        assert dataset.source.files[0].startswith("$TREASURE_PFNANO/")
    assert (dataset.matching == "top") == (dataset.label == 1)


def test_shipped_records_are_the_pfnano_ones(portal):
    for name, number in [("jetht_2016g", 31308), ("zerobias_2016g", 31316)]:
        path = CONFIG_DIRECTORY / "datasets" / f"{name}.yaml"
        assert f"record: {number}\n" in path.read_text()
        record = Record(quick(portal), number)
        assert "nanoaod-pf" in record.formats
        assert f"{record.events:,} events" in path.read_text()
        assert f"{record.number_of_files} files" in path.read_text()


def test_uncertain_records_are_those_of_the_table(samples):
    table = json.loads((samples / "mc2016_UL16_QCDHT_TT_thirdparty.json").read_bytes())
    texts = {
        name: (CONFIG_DIRECTORY / "datasets" / f"{name}.yaml").read_text()
        for name in available("datasets")
        if name.endswith("_ul16")
    }
    assert len(texts) == len(table["records"]) == 13
    for row in table["records"]:
        primary, processing = row["title"].split("/")[1:3]
        (text,) = [text for text in texts.values() if f"/{primary}/" in text]
        assert processing in text
        assert f"portal: {row['recid']} for\n# NANOAODSIM ({row['number_events']:,} events)" in text
        assert f"MINIAODSIM should be {int(row['recid']) - 1}," in text


def test_the_aoj_configuration_means_its_validated_runs():
    selection = load_config("aoj").config.selection
    assert selection.golden_json == "record:14220"
    # A golden JSON of the user's own must not be compared with that record.
    assert selection.golden_json_adler32 is None
