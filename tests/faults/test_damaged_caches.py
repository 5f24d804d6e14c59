"""What only saves time may be damaged: it is ignored, and written again."""

import os
from pathlib import Path

import pytest

from tests.faults.running import Started, copy_of, data
from tests.faults.test_damaged_files import configuration, started, undisturbed

__all__ = ["undisturbed"]

pytestmark = pytest.mark.slow

GARBAGE = [b"", b"\xff\x00garbage", b'{"files": 7}']


@pytest.mark.parametrize("garbage", GARBAGE)
def test_a_cache_of_inspections(undisturbed, tmp_path, garbage):
    (tmp_path / "files").symlink_to(undisturbed / "files")
    configuration(tmp_path)
    first = started(tmp_path, "CreateFileset")
    assert first.finish() == 0, first.text
    made = data(tmp_path / "store")
    caches = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    for path in caches:
        path.write_bytes(garbage)
    (fileset,) = (tmp_path / "store").glob("**/fileset.json")
    (fileset.parent / "manifest.json").unlink()
    again = started(tmp_path, "CreateFileset")
    assert again.finish() == 0 and "Traceback" not in again.text, again.text
    assert data(tmp_path / "store") == made


@pytest.mark.parametrize("garbage", GARBAGE)
def test_records_of_runs_and_of_files(finished, tmp_path, garbage):
    store = copy_of(finished.store, tmp_path / "store", without=("WriteH5",))
    records = [p for p in (store / ".progress").rglob("*") if p.is_file()]
    records += store.rglob("made_of.json")
    assert len(records) > 10
    for path in records:
        path.write_bytes(garbage)
    run = Started(
        store, tmp_path / "scratch", "law", "run", "WriteH5", "--version", "v1", "--config", "test"
    )
    assert run.finish() == 0 and "Traceback" not in run.text, run.text
    wanted, made = data(finished.store), data(store)
    made = {name: digest for name, digest in made.items() if "made_of" not in name}
    assert made == {name: wanted[name] for name in made}
    status = Started(store, tmp_path / "scratch", "treasure", "status")
    status.finish()
    assert "Traceback" not in status.text, status.text


@pytest.mark.parametrize("garbage", [b"", b"\x00\x01", b"no:such\n"])
def test_the_index_of_law(indexed, tmp_path, garbage):
    index = tmp_path / "index"
    index.write_bytes(garbage)
    settings = Path(os.environ["LAW_CONFIG_FILE"]).read_text()
    (tmp_path / "law.cfg").write_text(settings.replace("$TREASURE_HOME/.law/index", str(index)))
    run = Started(
        tmp_path / "store", tmp_path / "scratch", "law", "run", "SimulatePFNano", "--version",
        "v1", "--config", "test", "--print-status", "0", LAW_CONFIG_FILE=str(tmp_path / "law.cfg"),
    )  # fmt: skip
    assert run.finish() != 0
    assert run.text.strip() == "task family 'SimulatePFNano' not found in index"
