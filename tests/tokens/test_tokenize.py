from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pytest

from tests.tokenizer.toys import SMALL, toy_jets, write_table
from treasure.errors import DataError
from treasure.store import checksums
from treasure.tokenizer.artefact import Tokenizer
from treasure.tokenizer.train import train_tokenizer
from treasure.tokens.table import TokenTable, read_tokens
from treasure.tokens.tokenize import tokenize_shard


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("jets") / "qcd_3.h5", 300, 5, label=1)


@pytest.fixture(scope="module")
def tokenizer(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    directory = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer({"qcd": [table]}, SMALL, seed=1, directory=directory, device="cpu")
    return Tokenizer.load(directory)


def tokenize(table: Path, tokenizer: Tokenizer, path: Path, **options) -> dict:
    return tokenize_shard(
        table, tokenizer, path, dataset_name="qcd", source_checksum="ab" * 32, **options
    )


def test_every_jet_and_particle_comes_out(table: Path, tokenizer: Tokenizer, tmp_path: Path):
    path = tmp_path / "qcd_3_tokenized.parquet"
    done: list[tuple[int, int]] = []
    summary = tokenize(table, tokenizer, path, progress=lambda a, b: done.append((a, b)))
    candidates, kinematics = toy_jets(300, 5)
    assert summary["jets"] == 300
    assert summary["particles"] == (candidates[:, :, 3] != 0).sum()
    assert summary["response"]["jets"] == 50
    assert done[-1] == (300, 300)
    rows = read_tokens(path)
    assert rows["tokens"].to_pylist() == tokenizer.encode(candidates, kinematics).tolist()
    with h5py.File(table) as file:
        event = file["event_info"][:]
        np.testing.assert_array_equal(np.asarray(rows["event"]), event[:, 2])
        names = np.array(["train", "val", "test"])[file["split"][:]]
    np.testing.assert_array_equal(np.asarray(rows["luminosityBlock"]), event[:, 1])
    assert rows["split"].to_pylist() == names.tolist()
    assert rows["jet_index"].to_pylist() == [0, 1] * 150
    assert set(rows["label"].to_pylist()) == {1}
    np.testing.assert_array_equal(np.asarray(rows["jet_pt"]), kinematics[:, 0])
    with TokenTable(path) as read:
        assert read.metadata.tokenizer_fingerprint == tokenizer.fingerprint
        assert read.metadata.source_file == "qcd_3.h5"
        assert read.metadata.source_checksum == "ab" * 32
        assert read.counts["clipped_particles"] == summary["clipped_particles"]


def test_tokens_of_the_file_decode(table: Path, tokenizer: Tokenizer, tmp_path: Path):
    path = tmp_path / "a.parquet"
    tokenize(table, tokenizer, path)
    rows = read_tokens(path)
    axes = np.stack([np.asarray(rows[f"jet_{name}"]) for name in ("pt", "eta", "phi")], axis=1)
    decoded = tokenizer.decode(ak.from_arrow(rows["tokens"]), axes)
    pt = np.hypot(ak.sum(decoded.px, axis=1), ak.sum(decoded.py, axis=1))
    original = toy_jets(300, 5)[0][:, :, :2].sum(axis=1)
    assert np.median(pt / np.hypot(*original.T)) == pytest.approx(1, abs=0.05)


def test_the_bytes_depend_neither_on_chunks_nor_on_threads_nor_on_the_place(
    table: Path, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    tokenize(table, tokenizer, tmp_path / "a.parquet")
    elsewhere = tmp_path / "elsewhere" / "qcd_3.h5"
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(table.read_bytes())
    for rows, threads in ((7, 1), (7, 4), (300, 2)):
        monkeypatch.setattr("treasure.tokens.tokenize._ROWS", rows)
        tokenize(elsewhere, tokenizer, tmp_path / "b.parquet", threads=threads)
        assert checksums(tmp_path / "a.parquet") == checksums(tmp_path / "b.parquet")


def test_jets_are_numbered_in_their_event_across_chunks(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = write_table(tmp_path / "jets.h5", 30)
    event = np.repeat([5, 6, 7, 5], [1, 13, 2, 14])  # the last is another event of this number
    with h5py.File(path, "r+") as file:
        file["event_info"][:, 2] = event
    expected = [*range(1), *range(13), *range(2), *range(14)]
    for rows in (1, 4, 5, 30):
        monkeypatch.setattr("treasure.tokens.tokenize._ROWS", rows)
        tokenize(path, tokenizer, tmp_path / "a.parquet")
        assert read_tokens(tmp_path / "a.parquet")["jet_index"].to_pylist() == expected


def test_particles_that_the_jet_table_has_no_room_for_are_counted(
    tokenizer: Tokenizer, tmp_path: Path
):
    path = write_table(tmp_path / "jets.h5", 40)
    with h5py.File(path, "r+") as file:
        slots = file["PFCands"].shape[1]
        candidates = file["PFCands"][:]
        candidates[:3, :, :4] = candidates[:3, :1, :4] / slots  # all slots are filled
        file["PFCands"][:] = candidates
        constituents = file["jet_tagging"][:]
        constituents[:5, 0] = [slots, slots + 2, slots + 5, slots + 9, np.nan]
        file["jet_tagging"][:] = constituents
    assert tokenize(path, tokenizer, tmp_path / "a.parquet")["cut_particles"] == 7
    with TokenTable(tmp_path / "a.parquet") as table:
        assert table.counts["cut_particles"] == 7


def test_a_table_without_jets_gives_a_table_without_rows(tokenizer: Tokenizer, tmp_path: Path):
    empty = write_table(tmp_path / "none.h5", 0)
    summary = tokenize(empty, tokenizer, tmp_path / "a.parquet")
    assert summary["jets"] == 0
    assert len(read_tokens(tmp_path / "a.parquet")) == 0


def test_jets_without_particles_are_kept(tokenizer: Tokenizer, tmp_path: Path):
    path = write_table(tmp_path / "some.h5", 60)
    with h5py.File(path, "r+") as file:
        candidates = file["PFCands"][:]
        candidates[[0, 7, 59]] = 0.0
        file["PFCands"][:] = candidates
    tokenize(path, tokenizer, tmp_path / "a.parquet")
    lengths = read_tokens(tmp_path / "a.parquet")["n_constituents"].to_pylist()
    assert [i for i, n in enumerate(lengths) if n == 0] == [0, 7, 59]


def test_a_jet_with_nan_is_refused_and_nothing_is_left(tokenizer: Tokenizer, tmp_path: Path):
    path = write_table(tmp_path / "bad.h5", 60)
    with h5py.File(path, "r+") as file:
        file["PFCands"][13, 0, 1] = np.nan
    for threads in (1, 3):
        with pytest.raises(DataError, match=r"bad\.h5.*jet 13"):
            tokenize(path, tokenizer, tmp_path / "a.parquet", threads=threads)
        assert [p.name for p in tmp_path.iterdir()] == ["bad.h5"]


def test_jets_that_the_tokenizer_does_not_suit_are_an_error(
    table: Path, tokenizer: Tokenizer, tmp_path: Path
):
    path = tmp_path / "far.h5"
    path.write_bytes(table.read_bytes())
    with h5py.File(path, "r+") as file:
        # Particles of a thousand times the energy: none of them was seen in training.
        scaled = file["PFCands"][:]
        scaled[:, :, :4] *= 1000
        file["PFCands"][:] = scaled
    with pytest.raises(DataError, match="jet_pt of 50 decoded jets"):
        tokenize(path, tokenizer, tmp_path / "a.parquet")
