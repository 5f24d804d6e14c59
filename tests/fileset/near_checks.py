"""What must hold with a server that is near; run by `test_near` inside its network."""

import os
from pathlib import Path

from tests.fileset.test_fileset_xrootd import NOBODY, PORT
from tests.layout_a import FILTERS, TRIGGERS, random_events, write_events
from treasure.config.dataset import Dataset
from treasure.config.selection import Selection
from treasure.fileset.near import located
from treasure.fileset.sources import create_fileset
from treasure.skim.run import skim_files

STORE = Path(os.environ["XROOTD_TEST_FOLDER"]) / "data" / "store"
NEAR = f"localhost:{PORT}"


def test_a_far_file_is_read_near_and_keeps_its_name(tmp_path, monkeypatch):
    write_events(STORE / "a.root", random_events(40, seed=1))
    os.chown(STORE / "a.root", NOBODY, NOBODY)
    far = "root://far.invalid//store/a.root"
    entry = Dataset(label=0, is_mc=True, source={"kind": "local", "files": [far]})

    # the first does not answer, the second has it
    monkeypatch.setenv("TREASURE_XROOTD_SERVERS", f"localhost:1,{NEAR}")
    assert located(far) == f"root://{NEAR}//store/a.root"
    fileset = create_fileset("x", entry, base=tmp_path)
    assert [file.uri for file in fileset.files] == [far]
    assert fileset.entries == 40
    selection = Selection(triggers=TRIGGERS, filters=FILTERS, jet_pt_min=200)
    summary = skim_files(fileset.files, "x", entry, selection, tmp_path / "skim")
    assert summary["events"] == 40

    # what no near server has is asked of its own
    lacking = f"root://{NEAR}//store/none.root"
    assert located(lacking) == lacking

    monkeypatch.setenv("TREASURE_XROOTD_REPLACES", "elsewhere.example")
    assert located(far) == far
