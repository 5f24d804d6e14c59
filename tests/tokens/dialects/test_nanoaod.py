"""NanoAOD and PFNano as jet tables, without the stages."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import uproot

from treasure.errors import DataError
from treasure.jets.table import JetTable
from treasure.tokens.dialects import Options, import_file


@pytest.mark.parametrize(("name", "jets"), [("a_qcd_mc", 24), ("c_qcd_mc", 6), ("d_ttbar_mc", 64)])
def test_every_jet_is_imported_whatever_the_layout(
    shared: Path, tmp_path: Path, name: str, jets: int
):
    source = shared / f"data/pfnano/layout_{name}.root"
    report = import_file(source, tmp_path / "a.h5", options=Options(label=2, dataset="mine"))
    pt = uproot.open(source)["Events"]["FatJet_pt"].array()
    with h5py.File(tmp_path / "a.h5") as file:
        assert np.array_equal(file["jet_kinematics"][:, 0], np.concatenate(pt.tolist()))
        assert set(file["label"][:].tolist()) == {2}
        assert (file["PFCands"][:, :, 3] != 0).sum() == report.particles > 0
    assert report.jets == jets
    with JetTable(tmp_path / "a.h5") as table:
        assert table.attributes["dataset"] == "mine" and table.attributes["is_mc"]


def test_files_without_candidates_or_class_are_refused(shared: Path, tmp_path: Path):
    source = shared / "data/nanoaod/collisions_2018_dimuon.root"
    with pytest.raises(DataError, match="says no class of its jets; give --label"):
        import_file(source, tmp_path / "a.h5")
    with pytest.raises(DataError, match="no particle-flow candidates"):
        import_file(source, tmp_path / "a.h5", options=Options(label=0))
    with pytest.raises(DataError, match="leave --split out"):
        import_file(source, tmp_path / "a.h5", options=Options(label=0, split="test"))
    assert not (tmp_path / "a.h5").exists()
