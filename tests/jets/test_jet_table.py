import json
import random
import shutil
import time

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.jets.conftest import random_rows
from treasure.config.selection import Selection
from treasure.config.splits import Splits
from treasure.errors import DataError
from treasure.jets.compress import ChunkWriter, create_compressed
from treasure.jets.splits import SPLITS, assign_split
from treasure.jets.table import (
    CANDIDATE_COLUMNS,
    KINEMATICS_COLUMNS,
    TAGGING_COLUMNS,
    JetTable,
)
from treasure.jets.write import pad_candidates, write_jet_table
from treasure.store import checksums


def whole(path):
    with JetTable(path) as table:
        chunks = list(table.chunks())
    names = ("event_info", "kinematics", "tagging", "candidates", "label", "split")
    return {name: np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in names}


def padded_by_hand(part, width: int) -> np.ndarray:
    result = np.zeros((len(part["counts"]), width, 11), np.float32)
    start = 0
    for row, count in enumerate(part["counts"]):
        for slot in range(min(count, width)):
            for column, name in enumerate(CANDIDATE_COLUMNS):
                result[row, slot, column] = part["candidates"][name][start + slot]
        start += count
    return result


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=30), min_size=1, max_size=3),
    st.integers(1, 12),
)
def test_rows_come_back_as_they_were_skimmed(write, parts, width):
    rows = [random_rows(counts, seed=n) for n, counts in enumerate(parts)]
    path, summary = write(*rows, selection=Selection(max_candidates=width))
    table = whole(path)
    n = sum(map(len, parts))
    assert summary["jets"] == n == sum(summary["splits"].values())
    assert summary["candidates"] == sum(min(c, width) for counts in parts for c in counts)

    def scalars(*names):
        return np.concatenate([np.stack([r["scalars"][x] for x in names], axis=1) for r in rows])

    assert (table["event_info"] == scalars("run", "luminosityBlock", "event")).all()
    assert (table["kinematics"] == scalars(*(f"FatJet_{x}" for x in KINEMATICS_COLUMNS))).all()
    assert (table["tagging"] == scalars(*(f"FatJet_{x}" for x in TAGGING_COLUMNS))).all()
    expected = np.concatenate([padded_by_hand(r, width) for r in rows])
    assert (table["candidates"] == expected).all()
    counts = np.concatenate([r["counts"] for r in rows])
    assert ((table["candidates"][:, :, 3] != 0).sum(axis=1) == np.minimum(counts, width)).all()
    assert (table["label"] == 1).all()
    assert (table["split"] == assign_split(table["event_info"], Splits())).all()


def test_there_is_neither_minus_zero_nor_nan(write):
    path, _ = write(random_rows([5, 0, 200]))
    candidates = whole(path)["candidates"]
    assert not (np.signbit(candidates) & (candidates == 0)).any()
    assert np.isfinite(candidates).all()


def test_the_format_is_that_of_aspen_open_jets(write):
    path, _ = write(random_rows([3, 160] * 100))
    with h5py.File(path) as file:  # plain h5py, without anything of ours
        found = {
            key: (
                file[key].shape,
                file[key].dtype,
                file[key].compression,
                file[key].compression_opts,
            )
            for key in file
        }
        names = {key: list(file[key].attrs["columns"]) for key in file}
    assert found == {
        "event_info": ((200, 3), np.int64, None, None),
        "jet_kinematics": ((200, 4), np.float32, "gzip", 4),
        "jet_tagging": ((200, 13), np.float32, "gzip", 4),
        "PFCands": ((200, 150, 11), np.float32, "gzip", 4),
        "label": ((200,), np.int32, None, None),
        "split": ((200,), np.int8, None, None),
    }
    assert names["PFCands"] == list(CANDIDATE_COLUMNS)
    assert len(names["jet_tagging"]) == 13


def test_attributes_tell_where_it_is_from(write):
    long = {"text": "x" * 100_000}  # more than HDF5 keeps in an object header
    path, _ = write(random_rows([3]), attributes={"fingerprint": "abc", "upstream": long})
    with JetTable(path) as table:
        found = table.attributes
    assert found["fingerprint"] == "abc"
    assert json.loads(found["upstream"]) == long
    assert json.loads(found["source_files"]) == [{"uri": "a.root", "checksum": "adler32:00000001"}]
    assert json.loads(found["selection"]) == Selection().model_dump(mode="json")
    assert (found["dataset"], found["label"], found["is_mc"]) == ("top", 1, True)


def test_the_same_rows_give_the_same_bytes_however_they_are_cut_into_parts(write):
    rows = random_rows([n % 9 for n in range(5000)])
    path, _ = write(rows)
    again, _ = write(rows, name="again.h5")
    assert checksums(path) == checksums(again)
    start, parts, candidate = 0, [], 0
    for n in (1, 4500, 499):
        size = int(rows["counts"][start : start + n].sum())
        parts.append(
            {
                "scalars": {k: v[start : start + n] for k, v in rows["scalars"].items()},
                "counts": rows["counts"][start : start + n],
                "candidates": {
                    k: v[candidate : candidate + size] for k, v in rows["candidates"].items()
                },
            }
        )
        start, candidate = start + n, candidate + size
    cut, _ = write(*parts, name="cut.h5")
    assert checksums(path) == checksums(cut)


def test_compressed_chunks_depend_on_nothing_but_their_content(tmp_path):
    rng = np.random.default_rng(4)
    counts = rng.integers(0, 9, 128 * 8)
    part = random_rows(counts.tolist())
    columns = [part["candidates"][name] for name in CANDIDATE_COLUMNS]
    values = pad_candidates(part["counts"], columns, 150)
    stored = set()
    for number in range(40):
        with h5py.File(tmp_path / f"{number}.h5", "w") as file:
            # What an allocator hands out next is full of what was there before.
            garbage = [rng.bytes(int(rng.integers(1_000, 600_000))) for _ in range(20)]
            del garbage
            data = create_compressed(file, "x", len(values), values.shape[1:], 128)
            with ChunkWriter(threads=1 + number % 4) as writer:
                writer.write(data, 0, values)
            stored.add(b"".join(data.id.read_direct_chunk((i * 128, 0, 0))[1] for i in range(8)))
    assert len(stored) == 1


def test_no_rows_at_all(write):
    path, summary = write()
    assert summary == {"jets": 0, "splits": dict.fromkeys(SPLITS, 0), "candidates": 0}
    with JetTable(path) as table:
        assert len(table) == 0
        assert table.max_candidates == 150
        assert list(table.chunks()) == []
        assert table.column("label").shape == (0,)


def test_chunks_are_bounded_and_splits_divide_the_table(write):
    told = []
    path, summary = write(
        random_rows([2] * 300), random_rows([3] * 50), progress=lambda *p: told.append(p)
    )
    assert told[-1] == (350, 350)
    with JetTable(path) as table:
        everything = list(table.chunks(70))
        assert [len(chunk) for chunk in everything] == [70] * 5
        for number, split in enumerate(SPLITS):
            chunks = list(table.chunks(70, split=split))
            assert all((chunk.split == number).all() and len(chunk) for chunk in chunks)
            found = np.concatenate([chunk.event_info for chunk in chunks])
            wanted = np.concatenate([c.event_info[c.split == number] for c in everything])
            assert (found == wanted).all()
            assert len(found) == summary["splits"][split]
        with pytest.raises(ValueError, match="train, val, test"):
            next(table.chunks(split="dev"))
        with pytest.raises(ValueError, match="chunks"):
            table.column("PFCands")


@given(st.lists(st.integers(0, 20), max_size=20), st.integers(1, 20))
def test_padding_keeps_the_first_of_each_row(counts, width):
    part = random_rows(counts)
    columns = [part["candidates"][name] for name in CANDIDATE_COLUMNS]
    padded = pad_candidates(part["counts"], columns, width)
    assert padded.shape == (len(counts), width, 11)
    assert (padded == padded_by_hand(part, width)).all()
    assert not (np.signbit(padded) & (padded == 0)).any()


def test_public_files_without_label_and_split_are_read(shared):
    with JetTable(shared / "reference" / "aoj_maker" / "qcd_300.h5") as table:
        assert len(table) == 437
        (chunk,) = table.chunks()
        assert (chunk.label == -1).all()
        assert (chunk.split == -1).all()
        with pytest.raises(DataError, match="no key 'split'"):
            next(table.chunks(split="train"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.pop("PFCands"), r"no key 'PFCands' \(found: event_info, "),
        (lambda f: replace(f, "PFCands", np.zeros((20, 150), np.float32)), r"\(N, M, 11\)"),
        (lambda f: replace(f, "jet_kinematics", np.zeros((20, 5), np.float32)), r"\(N, 4\)"),
        (lambda f: replace(f, "jet_kinematics", np.zeros((20, 4))), "is float64"),
        (lambda f: replace(f, "label", np.zeros(19, np.int32)), "'label' has 19 rows"),
        (lambda f: (f.pop("split"), f.create_group("split")), "is a group"),
        (lambda f: f["event_info"].write_direct(np.ones((20, 3), np.int64)), "adler32 of"),
    ],
)
def test_what_is_not_a_jet_table_is_named(write, change, message):
    path, _ = write(random_rows([3] * 20))
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(DataError, match=message) as caught:
        JetTable(path)
    assert str(path) in str(caught.value)


def replace(file, key, values):
    del file[key]
    file[key] = values


def test_missing_foreign_and_truncated_files_are_named(write, tmp_path):
    path, _ = write(random_rows([3] * 20))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=f"{path}: not a readable HDF5"):
        JetTable(path)
    path.write_text("hello")
    with pytest.raises(DataError, match="not a readable HDF5"):
        JetTable(path)
    with pytest.raises(DataError, match="no such file"):
        JetTable(tmp_path / "none.h5")


def test_a_flipped_bit_in_the_data_is_noticed(write):
    path, _ = write(random_rows([30] * 400))
    expected, data = whole(path), path.read_bytes()
    ranges = []
    with h5py.File(path) as file:
        for key in file:
            if file[key].chunks is None:
                ranges.append((file[key].id.get_offset(), file[key].id.get_storage_size()))
            else:
                infos = [
                    file[key].id.get_chunk_info(i) for i in range(file[key].id.get_num_chunks())
                ]
                ranges += [(info.byte_offset, info.size) for info in infos]
    chosen = random.Random(3)
    for offset, size in ranges:
        for _ in range(3):
            damaged = bytearray(data)
            damaged[chosen.randrange(offset, offset + size)] ^= 1 << chosen.randrange(8)
            path.write_bytes(damaged)
            try:
                # Only a bit that carries nothing (a flag of the deflate header) may go unnoticed.
                found = whole(path)
                assert all((found[key] == expected[key]).all() for key in expected)
            except DataError as error:
                assert str(path) in str(error)


def test_a_part_that_lost_rows_or_has_another_schema_is_refused(write, tmp_path, dataset):
    write(random_rows([3] * 10), random_rows([2] * 4))
    directory = tmp_path / "skim"

    def again():
        write_jet_table(
            [directory], tmp_path / "other.h5",
            dataset_name="top", dataset=dataset, selection=Selection(), splits=Splits(),
            attributes={},
        )  # fmt: skip

    again()
    (tmp_path / "other.h5").unlink()
    shutil.copy(directory / "part_0001.parquet", directory / "part_0000.parquet")
    with pytest.raises(DataError, match=r"part_0000.parquet: 4 rows, but cutflow.json .* says 10"):
        again()
    table = pq.read_table(directory / "part_0001.parquet").drop_columns(["FatJet_tau3"])
    pq.write_table(table, directory / "part_0001.parquet")
    shutil.copy(directory / "part_0001.parquet", directory / "part_0000.parquet")
    with pytest.raises(DataError, match="no column FatJet_tau3"):
        again()
    (directory / "part_0000.parquet").unlink()
    with pytest.raises(DataError, match="no such part"):
        again()
    assert not (tmp_path / "other.h5").exists()


def test_another_selection_than_that_of_the_skim_is_refused(write, tmp_path, dataset):
    write(random_rows([3]))
    with pytest.raises(DataError, match="another selection"):
        write_jet_table(
            [tmp_path / "skim"], tmp_path / "other.h5", dataset_name="top", dataset=dataset,
            selection=Selection(jet_pt_min=301.0), splits=Splits(), attributes={},
        )  # fmt: skip


def test_the_reference_file_is_reproduced_bit_for_bit(shared, tmp_path, dataset):
    from pathlib import Path

    from treasure.fileset.inspection import inspect_file
    from treasure.skim.run import skim_files

    aoj = Path(__file__).resolve().parents[2] / "config" / "selections" / "aoj.yaml"
    selection = Selection(**{**yaml.safe_load(aoj.read_text()), "candidate_order": "aoj"})
    folder = shared / "reference" / "aoj_maker"
    file = inspect_file(str(folder / "qcd_300.root"), "Events", str(folder / "qcd_300.root"))
    skim_files([file], "qcd", dataset, selection, tmp_path)
    path = tmp_path / "qcd.h5"
    write_jet_table(
        [tmp_path], path, dataset_name="qcd", dataset=dataset, selection=selection,
        splits=Splits(), attributes={},
    )  # fmt: skip
    ours, reference = whole(path), whole(folder / "qcd_300.h5")
    for key in ("event_info", "kinematics", "tagging"):
        assert ours[key].tobytes() == reference[key].tobytes()
    # Promised is 1 ulp in the momenta, and equality up to candidates of equal pt elsewhere.
    np.testing.assert_array_almost_equal_nulp(ours["candidates"], reference["candidates"], 1)
    assert (ours["candidates"][:, :, 4:] == reference["candidates"][:, :, 4:]).all()


def test_attributes_say_what_the_numbers_mean(write, dataset):
    path, _ = write(random_rows([3]))
    with h5py.File(path) as file:
        assert json.loads(file["split"].attrs["values"]) == {"0": "train", "1": "val", "2": "test"}
        assert list(file["split"].attrs["columns"]) == ["split"]
        assert list(file["event_info"].attrs["columns"]) == ["run", "luminosityBlock", "event"]
        found = dict(file.attrs)
    assert found["format"] == "treasure jet table" and found["schema_version"] == 1
    assert found["matching"] == dataset.matching
    assert json.loads(found["splits"]) == Splits().model_dump()
    assert json.loads(found["layouts"]) == ["A"]


def test_no_minus_zero_in_any_key_and_no_other_change(write):
    rows = random_rows([2] * 50)
    name = f"FatJet_{KINEMATICS_COLUMNS[1]}"
    rows["scalars"][name][::2] = -0.0
    table = whole(write(rows)[0])
    assert not np.signbit(table["kinematics"][::2, 1]).any()
    assert (table["kinematics"][1::2, 1] == rows["scalars"][name][1::2]).all()


def test_bytes_do_not_depend_on_the_time(write):
    first = checksums(write(random_rows([3]))[0])
    time.sleep(1.1)  # HDF5 notes times in seconds
    assert checksums(write(random_rows([3]), name="later.h5")[0]) == first


def test_tables_are_closed_when_their_block_ends_and_when_they_are_refused(write):
    path, _ = write(random_rows([3]))
    with JetTable(path) as table:
        assert len(table) == 1
    with pytest.raises(ValueError, match="was closed"):
        table.column("label")
    with h5py.File(path, "r+") as file:  # HDF5 would refuse to write what is open for reading
        del file["PFCands"]
    with pytest.raises(DataError):
        JetTable(path)
    with h5py.File(path, "r+"):
        pass
