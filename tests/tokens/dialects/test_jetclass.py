"""JetClass: what is exported has its names, units and signs, and comes back."""

from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tokenizer.toys import SMALL, toy_jets, write_table
from tests.tokens.dialects.toys import codes, token_table
from treasure.errors import DataError
from treasure.jets.table import JetTable
from treasure.tokenizer.artefact import Tokenizer
from treasure.tokenizer.train import train_tokenizer
from treasure.tokens.dialects import Options, export_file, import_file
from treasure.tokens.table import read_tokens
from treasure.tokens.tokenize import tokenize_shard

# Of the paper: particle-flow classes, and Delphes's track without details.
FLAGS = {211: "ChargedHadron", 130: "NeutralHadron", 22: "Photon", 11: "Electron", 13: "Muon"}


def jet_table(path: Path, counts: list[int], seed: int = 0) -> Path:
    """Jets of all kinds of particles, some charged ones without track details."""
    n = len(counts)
    candidates, kinematics = toy_jets(n, seed, np.array(counts, np.int64))
    rng = np.random.default_rng([seed, n])
    pdg_id = rng.choice([211, -211, 130, 22, 11, -11, 13, -13, 1, 2], (n, 150))
    charge = np.where(np.isin(np.abs(pdg_id), (11, 13)), -1, 1) * np.sign(pdg_id)
    charge = np.where(np.isin(np.abs(pdg_id), (22, 130, 1, 2)), 0, charge)
    track = (charge != 0) & (rng.uniform(size=charge.shape) < 0.9)
    details = rng.normal(0, 0.02, (n, 150, 4))
    details[..., [1, 3]] = np.abs(details[..., [1, 3]]) + 1e-4
    real = candidates[:, :, 3] != 0
    candidates[..., 4:8] = np.where(track[..., None], details, -1)
    candidates[..., 8], candidates[..., 9] = charge, pdg_id
    candidates[..., 10] = rng.uniform(0, 1, (n, 150))
    candidates[~real] = 0
    event = np.stack([np.full(n, 280000), np.arange(n) // 4, np.arange(n) // 2], axis=1)
    tagging = rng.uniform(0, 1, (n, 13)).astype(np.float32)
    tagging[:, 0] = counts
    with h5py.File(path, "w") as file:
        file["event_info"] = event.astype(np.int64)
        file["jet_kinematics"] = kinematics
        file["jet_tagging"] = tagging
        file["PFCands"] = candidates
        file["label"] = (np.arange(n) % 3 - 1).astype(np.int32)
        file["split"] = (np.arange(n) % 3).astype(np.int8)
    return path


def read(path: Path) -> dict[str, np.ndarray]:
    with h5py.File(path) as file:
        return {key: file[key][:] for key in file}


COUNTS = st.lists(st.one_of(st.integers(0, 5), st.sampled_from([127, 128, 149, 150])), max_size=6)


@settings(max_examples=20, deadline=None)
@given(COUNTS, st.integers(0, 9))
def test_jets_have_the_names_units_and_signs_of_jetclass_and_come_back(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int], seed: int
):
    folder = tmp_path_factory.mktemp("jetclass")
    source = jet_table(folder / "a.h5", counts, seed)
    out, back = folder / "a.parquet", folder / "back.h5"
    export_file(source, out, "jetclass", Options(names={0: "QCD", 1: "Tbqq"}))
    ours, theirs = read(source), ak.from_parquet(out)
    assert ak.num(theirs.part_px).tolist() == counts
    for row, count in enumerate(counts):
        jet, particles = theirs[row], ours["PFCands"][row, :count].astype(np.float64)
        eta, phi = ours["jet_kinematics"][row, 1:3].astype(np.float64)
        for place, name in enumerate(("px", "py", "pz", "energy")):
            assert jet[f"part_{name}"].to_numpy().tolist() == particles[:, place].tolist()
        pt = np.hypot(particles[:, 0], particles[:, 1])
        sign = -1 if eta < 0 else 1
        deta = (np.arcsinh(particles[:, 2] / pt) - eta) * sign
        np.testing.assert_allclose(jet.part_deta.to_numpy(), deta, atol=1e-5)
        dphi = np.arctan2(particles[:, 1], particles[:, 0]) - phi
        assert np.abs(np.sin((jet.part_dphi.to_numpy() - dphi) / 2)).max(initial=0) < 1e-5
        assert np.abs(jet.part_dphi.to_numpy()).max(initial=0) <= np.pi + 1e-6
        track = particles[:, 5] != -1
        for place, name in ((4, "d0val"), (5, "d0err"), (6, "dzval"), (7, "dzerr")):
            in_mm = np.where(track, particles[:, place] * 10, 0)
            np.testing.assert_allclose(jet[f"part_{name}"].to_numpy(), in_mm, rtol=1e-6)
        assert jet.part_charge.tolist() == particles[:, 8].tolist()
        kind = np.abs(particles[:, 9])
        kind = np.where(kind == 1, 130, np.where(kind == 2, 22, kind))
        for number, name in FLAGS.items():
            assert jet[f"part_is{name}"].tolist() == (kind == number).tolist()
    assert theirs.jet_pt.tolist() == ours["jet_kinematics"][:, 0].tolist()
    assert theirs.jet_label.tolist() == ours["label"].tolist()
    assert theirs.label_QCD.tolist() == (ours["label"] == 0).tolist()
    assert theirs.label_Tbqq.tolist() == (ours["label"] == 1).tolist()
    import_file(out, back)
    found = read(back)
    for key in ("event_info", "jet_kinematics", "label", "split"):
        assert np.array_equal(found[key], ours[key]), key
    assert np.array_equal(found["jet_tagging"][:, :5], ours["jet_tagging"][:, :5])
    same = [0, 1, 2, 3, 8, 9, 10]
    assert np.array_equal(found["PFCands"][..., same], ours["PFCands"][..., same])
    np.testing.assert_allclose(found["PFCands"], ours["PFCands"], rtol=2e-7)


def test_jets_of_jetclass_ii_are_imported_in_our_units_and_exported_again_the_same(
    shared: Path, tmp_path: Path
):
    source = shared / "data/ml/jetclass2_100_jets.parquet"
    report = import_file(source, tmp_path / "a.h5")
    assert (report.jets, report.particles) == (100, 4529)
    theirs, ours = ak.from_parquet(source), read(tmp_path / "a.h5")
    real = ours["PFCands"][:, :, 3] != 0
    assert real.sum(axis=1).tolist() == ak.num(theirs.part_px).tolist()
    packed = ours["PFCands"][real]
    d0, error = (ak.flatten(theirs[f"part_{name}"]).to_numpy() for name in ("d0val", "d0err"))
    np.testing.assert_allclose(packed[:, 4], np.where(error > 0, d0 / 10, -1), rtol=1e-6)
    assert ((packed[:, 5] == -1) == (error == 0)).all()
    electron = ak.flatten(theirs.part_isElectron).to_numpy()
    charge = ak.flatten(theirs.part_charge).to_numpy()
    assert electron.sum() > 0 and (packed[electron, 9] == -11 * charge[electron]).all()
    assert ours["label"].tolist() == theirs.jet_label.tolist()
    with JetTable(tmp_path / "a.h5") as table:
        assert table.attributes["imported_from"] == "jetclass"
        assert "PFCands_puppiWeight" in table.attributes["absent_columns"]
    export_file(tmp_path / "a.h5", tmp_path / "b.parquet", "jetclass")
    again = ak.from_parquet(tmp_path / "b.parquet")
    names = [name for name in again.fields if name in theirs.fields]
    assert len(names) == 27
    plain, mine = (pq.read_schema(path) for path in (source, tmp_path / "b.parquet"))
    for name in names:
        assert mine.field(name).equals(plain.field(name)), name
    for name in names:
        one, two = (
            ak.to_numpy(ak.flatten(a[name], axis=None)).astype(np.float64) for a in (theirs, again)
        )
        # A jet table does not hold the energy of a jet: ours is that of its particles.
        rtol = 0.05 if name == "jet_energy" else 2e-6
        np.testing.assert_allclose(two, one, rtol=rtol, atol=1e-6, err_msg=name)


CLASSES = ["QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl"]


def columns(jets: int = 20, seed: int = 0) -> dict:
    """Jets by names of JetClass, as awkward arrays."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 9, jets)
    total = int(counts.sum())
    momenta = rng.normal(0, 10, (3, total)).astype(np.float32)
    energy = np.sqrt((momenta.astype(np.float64) ** 2).sum(axis=0) + 0.02).astype(np.float32)
    parts = dict(zip(("px", "py", "pz", "energy"), (*momenta, energy), strict=True))
    found = {f"part_{name}": ak.unflatten(values, counts) for name, values in parts.items()}
    label = np.arange(jets) % 10
    return found | {f"label_{name}": label == i for i, name in enumerate(CLASSES)}


def write_root(path: Path, arrays: dict, tree: str = "tree") -> Path:
    with uproot.recreate(path) as file:
        file.mktree(
            tree,
            {n: a.type.content if isinstance(a, ak.Array) else a.dtype for n, a in arrays.items()},
        )
        file[tree].extend(arrays)
    return path


def test_root_files_with_the_ten_classes_are_imported(tmp_path: Path):
    arrays = columns(25)
    source = write_root(tmp_path / "HToBB_000.root", arrays)
    report = import_file(source, tmp_path / "a.h5", options=Options(split="test", dataset="mine"))
    ours = read(tmp_path / "a.h5")
    assert report.jets == 25
    assert ours["label"].tolist() == [row % 10 for row in range(25)]
    assert set(ours["split"].tolist()) == {2}
    assert ours["event_info"].tolist() == [[0, 0, row] for row in range(25)]
    for row in range(25):
        px, py, pz, energy = (
            arrays[f"part_{name}"][row].to_numpy() for name in ("px", "py", "pz", "energy")
        )
        order = np.argsort(-np.hypot(px.astype(np.float64), py.astype(np.float64)))
        found = ours["PFCands"][row, : len(px)]
        assert np.array_equal(found[:, :4], np.stack([px, py, pz, energy], axis=1)[order])
        assert (ours["PFCands"][row, len(px) :] == 0).all()
        pt, eta, phi, msoftdrop = ours["jet_kinematics"][row]
        x, y, z = (v.astype(np.float64).sum() for v in (px, py, pz))
        assert pt == pytest.approx(np.hypot(x, y), rel=1e-5)
        assert eta == pytest.approx(np.arcsinh(z / np.hypot(x, y)), rel=1e-4, abs=1e-5)
        assert phi == pytest.approx(np.arctan2(y, x), rel=1e-5) and msoftdrop == -1
    with JetTable(tmp_path / "a.h5") as table:
        absent = table.attributes["absent_columns"]
        assert table.attributes["dataset"] == "mine"
    for name in ("FatJet_pt", "FatJet_tau1", "PFCands_d0", "PFCands_charge", "PFCands_pdgId"):
        assert name in absent


def test_the_tree_of_a_root_file_must_be_clear(tmp_path: Path):
    path = tmp_path / "a.root"
    with uproot.recreate(path) as file:
        for name in ("one", "two"):
            file.mktree(name, {"x": "float32"})
            file[name].extend({"x": np.zeros(3, np.float32)})
    with pytest.raises(DataError, match="has the trees one, two; say which with --tree"):
        import_file(path, tmp_path / "a.h5")
    with pytest.raises(DataError, match="has the trees one, two"):
        import_file(path, tmp_path / "a.h5", options=Options(tree="three"))
    with pytest.raises(DataError, match=r"no column part_px, part_py, part_pz, part_energy"):
        import_file(path, tmp_path / "a.h5", options=Options(tree="two"))
    path.write_bytes(b"no ROOT file")
    with pytest.raises(DataError, match="cannot be read as a ROOT file"):
        import_file(path, tmp_path / "a.h5")


def test_jets_with_more_than_150_particles_lose_the_softest_and_it_is_said(tmp_path: Path):
    pt = np.arange(1, 161, dtype=np.float32)  # rising: they are sorted, too
    arrays = {
        "part_px": ak.Array([pt, pt[:2]]),
        "part_py": ak.Array([pt * 0, pt[:2] * 0]),
        "part_pz": ak.Array([pt * 0, pt[:2] * 0]),
        "part_energy": ak.Array([pt, pt[:2]]),
    }
    ak.to_parquet(ak.zip(arrays, depth_limit=1), tmp_path / "a.parquet")
    report = import_file(tmp_path / "a.parquet", tmp_path / "a.h5")
    assert "10 particles, the softest, of 1 jets with more than 150" in report.losses
    assert "particles of 2 jets were sorted by pt" in report.notes
    ours = read(tmp_path / "a.h5")["PFCands"]
    assert ours[0, :, 0].tolist() == list(range(160, 10, -1))
    assert report.particles == 152


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"part_px": [[1.0], [np.nan]]}, "row 1 has a momentum that is NaN or infinite"),
        ({"part_px": [[1.0], [np.inf]]}, "row 1 has a momentum that is NaN or infinite"),
        ({"part_energy": [[2.0], [0.0]]}, "row 1 has a particle without energy"),
        ({"part_energy": [[2.0], [-1.0]]}, "row 1 has a particle without energy"),
        ({"part_px": [[1.0], [1.0, 2.0]]}, "1 values of part_py, but 2"),
        ({"part_px": [1.0, 2.0]}, "lists were expected"),
        ({"part_px": [["a"], ["b"]]}, "not the numbers expected"),
        ({"part_px": [[1.0], None]}, "1 rows are null"),
        ({"part_charge": [[1], [2]]}, "row 1 has a charge that is none of"),
        ({"jet_pt": [1.0, np.nan]}, "row 1 has a value of its jet that is NaN"),
        ({"label_QCD": [True, False]}, r"is of 0 classes; one of label_QCD"),
        ({"label_QCD": [True, True], "label_Hbb": [False, True]}, r"is of 2 classes"),
        ({"label_mine": [True, True]}, r"label_mine is none of JetClass's classes; say --name"),
        ({"jet_label": [1, None]}, "1 nulls"),
        ({"jet_label": [1, 2**40]}, f"jet_label: {2**40} in row 1 of these; .* of 32 bits"),
        ({"jet_label": [1, 1.5]}, "jet_label: 1.5 in row 1"),
        ({"jet_label": [1, np.nan]}, "jet_label: nan in row 1"),
        ({"jet_label": ["a", "b"]}, "jet_label: is object; whole numbers"),
        ({"event": [1.0, 2.0**60]}, "event: 1.152.* in row 1"),
        ({"part_pdgId": [[1.0], [np.nan]]}, "row 1 has a value of a particle that is NaN"),
        (
            {f"part_{n}": [[0.1], [-0.1]] for n in ("d0val", "d0err", "dzval", "dzerr")},
            "an error of d0 or dz below 0",
        ),
    ],
)
def test_columns_that_cannot_be_are_refused(tmp_path: Path, changes: dict, message: str):
    good = {name: [[1.0], [1.0]] for name in ("part_px", "part_py", "part_pz")}
    pq.write_table(
        pa.table({**good, "part_energy": [[2.0], [2.0]], **changes}), tmp_path / "a.parquet"
    )
    with pytest.raises(DataError, match=message):
        import_file(tmp_path / "a.parquet", tmp_path / "a.h5", "jetclass")
    assert not (tmp_path / "a.h5").exists()


@pytest.fixture(scope="module")
def tokenized(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A token table, and its tokenizer."""
    folder = tmp_path_factory.mktemp("tokenized")
    table = write_table(folder / "qcd.h5", 120, 5)
    train_tokenizer({"qcd": [table]}, SMALL, seed=1, directory=folder / "tokenizer", device="cpu")
    tokenizer = Tokenizer.load(folder / "tokenizer")
    out = folder / "tokens.parquet"
    tokenize_shard(table, tokenizer, out, dataset_name="qcd", source_checksum="0" * 64)
    return out, folder / "tokenizer"


def test_tokens_are_decoded_for_jetclass(tokenized: tuple[Path, Path], tmp_path: Path):
    table, directory = tokenized
    report = export_file(table, tmp_path / "a.parquet", "jetclass", Options(tokenizer=directory))
    found, rows = ak.from_parquet(tmp_path / "a.parquet"), read_tokens(table)
    axes = np.stack([np.asarray(rows[f"jet_{n}"]) for n in ("pt", "eta", "phi")], axis=1)
    expected = Tokenizer.load(directory).decode(ak.from_arrow(rows["tokens"]), axes)
    for ours, theirs in (("px", "px"), ("py", "py"), ("pz", "pz"), ("E", "energy")):
        assert ak.array_equal(found[f"part_{theirs}"], expected[ours], check_parameters=False)
    assert found.event.tolist() == rows["event"].to_pylist()
    assert found.split.tolist() == rows["split"].to_pylist()
    assert "part_charge" not in found.fields and "jet_tau1" not in found.fields
    assert any("part_charge" in loss for loss in report.losses)
    assert ak.all(found.jet_energy >= found.jet_pt * np.cosh(found.jet_eta) * (1 - 1e-6))


def test_tokens_need_the_tokenizer_that_made_them(tokenized: tuple[Path, Path], tmp_path: Path):
    table, directory = tokenized
    out = tmp_path / "a.parquet"
    with pytest.raises(DataError, match="tokens have to be decoded for JetClass"):
        export_file(table, out, "jetclass")
    other = token_table(tmp_path / "other.parquet", codes([3], 64), 64)
    with pytest.raises(DataError, match="made with tokenizer ffffffffff, but"):
        export_file(other, out, "jetclass", Options(tokenizer=directory))
    larger = token_table(tmp_path / "l.parquet", codes([3], 65), 65, fingerprint="unknown")
    with pytest.raises(DataError, match=r"of 65 codes, but .* has 1 of 64"):
        export_file(larger, out, "jetclass", Options(tokenizer=directory))
    for dialect, name in (("gabbro", "ZJetsToNuNu_a.parquet"), ("heptokens", "a.parquet")):
        with pytest.raises(DataError, match="made with tokenizer ffffffffff, but"):
            export_file(other, tmp_path / name, dialect, Options(tokenizer=directory))
    with pytest.raises(DataError, match="no such file"):
        export_file(table, out, "jetclass", Options(tokenizer=tmp_path / "nothing"))
    assert not out.exists()


def test_an_import_takes_what_is_known_of_the_tokenizer(
    tokenized: tuple[Path, Path], tmp_path: Path
):
    table, directory = tokenized
    out, back = tmp_path / "ZJetsToNuNu_a.parquet", tmp_path / "back.parquet"
    exported = export_file(table, out, "gabbro", Options(tokenizer=directory))
    assert not any("not checked" in note for note in exported.notes)
    imported = import_file(out, back, options=Options(tokenizer=directory))
    said = "not checked: whether this tokenizer made the tokens (the file does not say)"
    assert said in imported.notes
    again = tmp_path / "a.npz"
    export_file(back, again, "heptokens-npz", Options(tokenizer=directory))
    codebook = np.load(directory / "codebook.npz")["codebook"]
    assert np.array_equal(np.load(again)["codebooks"], codebook[None])
    assert read_tokens(back)["tokens"].to_pylist() == read_tokens(table)["tokens"].to_pylist()


def test_tables_without_jets_are_exported_and_imported(
    tokenized: tuple[Path, Path], tmp_path: Path
):
    empty = token_table(tmp_path / "e.parquet", [], 64, fingerprint="unknown")
    jets = jet_table(tmp_path / "e.h5", [])
    for source in (empty, jets):
        export_file(source, tmp_path / "a.parquet", "jetclass", Options(tokenizer=tokenized[1]))
        assert len(pq.read_table(tmp_path / "a.parquet")) == 0
        import_file(tmp_path / "a.parquet", tmp_path / "a.h5")
        with JetTable(tmp_path / "a.h5") as table:
            assert len(table) == 0


def test_lost_columns_and_particles_that_were_counted_but_are_not_there_are_said(tmp_path: Path):
    source, out = jet_table(tmp_path / "own.h5", [3, 150, 7]), tmp_path / "a.parquet"
    with h5py.File(source, "a") as file:
        file["jet_tagging"][:, 0] = [3, 163, 8]
    report = export_file(source, out, "jetclass")
    said = "14 particles of 2 jets, which nConstituents counts, are not in the table"
    assert any(note.startswith(said) for note in report.notes)
    rows = pq.read_table(out)
    rows = rows.set_column(
        rows.column_names.index("jet_nparticles"), "jet_nparticles", pa.array([3, 163, 8])
    )
    for name in "abcdefgh":
        rows = rows.append_column(f"aux_{name}", pa.array([0, 1, 2]))
    pq.write_table(rows, out)
    report = import_file(out, tmp_path / "a.h5")
    said = "14 particles of 2 jets, which jet_nparticles counts, are not in the file"
    assert said in report.notes
    lost = ", ".join(f"aux_{name}" for name in "abcdefgh")
    assert f"columns {lost}, jet_energy, jet_index" in report.losses
