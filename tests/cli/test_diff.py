"""`treasure diff`: what differs is found and named, what does not is not."""

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.cli.jet_files import COLUMNS, KEYS, copied, in_process, random_jets, treasure, write
from treasure.cli.h5_keys import H5File
from treasure.cli.table_comparison import TableComparison, compare_tables

ALL_COLUMNS = [(key, column) for key in KEYS for column in COLUMNS[key]]


@pytest.fixture
def compare(tmp_path):
    """Compare two sets of arrays as files."""

    def run(a: dict, b: dict, **options) -> TableComparison:
        paths = [write(tmp_path / "a.h5", a), write(tmp_path / "b.h5", b)]
        with H5File(paths[0]) as file_a, H5File(paths[1]) as file_b:
            for file in (file_a, file_b):
                file.check_jet_table()
            return compare_tables(file_a, file_b, **options)

    return run


def columns_that_differ(found: TableComparison) -> list[tuple[str, str]]:
    return [(key.name, c.name) for key in found.keys for c in key.columns if c.values_differ]


@pytest.mark.parametrize(("key", "column"), ALL_COLUMNS)
def test_a_flipped_bit_is_found_and_named(compare, key, column):
    a = random_jets()
    b = copied(a)
    number = COLUMNS[key].index(column)
    where = (7, 2, number) if key == "PFCands" else (7, number)
    bits = b[key].view(np.uint32 if b[key].dtype == np.float32 else np.uint64)
    bits[where] ^= 1
    found = compare(a, b)
    assert columns_that_differ(found) == [(key, column)]
    [difference] = [c for k in found.keys for c in k.columns if c.values_differ]
    assert (difference.rows_differ, difference.values_differ) == (1, 1)
    assert difference.first.row == 7
    assert difference.first.place == (2 if key == "PFCands" else None)
    assert difference.max_ulp == 1
    assert not found.is_equal and found.rows_differ == found.rows_beyond == 1
    tolerant = compare(a, b, ulp=1)
    assert tolerant.is_equal and tolerant.rows_differ == 1
    assert columns_that_differ(tolerant) == [(key, column)]


@pytest.mark.parametrize("seed", range(5))
def test_counts_and_greatest_differences_are_those_of_numpy(compare, seed):
    rng = np.random.default_rng(seed)
    a = random_jets(40, 12)
    b = copied(a)
    for key in KEYS[1:]:
        changed = rng.random(b[key].shape) < 0.02
        changed &= b[key] != 0
        b[key][changed] *= rng.uniform(0.9, 1.1, changed.sum()).astype(np.float32)
    found = compare(a, b)
    rows = np.zeros(40, bool)
    for key, comparison in zip(KEYS, found.keys, strict=True):
        for number, column in enumerate(comparison.columns):
            first, second = a[key][..., number], b[key][..., number]
            differ = first != second
            rows |= differ.reshape(40, -1).any(axis=1)
            assert column.values_differ == differ.sum()
            assert column.rows_differ == differ.reshape(40, -1).any(axis=1).sum()
            apart = np.abs(first.astype(float) - second.astype(float))
            assert column.max_absolute == apart.max()
            scale = np.maximum(np.abs(first), np.abs(second)).astype(float)
            assert column.max_relative == np.max(apart[differ] / scale[differ], initial=0)
    assert found.rows_beyond == rows.sum()


def test_the_sign_of_zero_and_nan(compare):
    a = random_jets()
    a["jet_kinematics"][3, 1] = 0.0
    a["jet_tagging"][4, 2] = np.nan
    a["PFCands"][5, 0, 4] = np.inf
    same = compare(a, a)
    assert same.is_equal and same.rows_differ == 0
    b = copied(a)
    b["jet_kinematics"][3, 1] = -0.0
    assert columns_that_differ(compare(a, b)) == [("jet_kinematics", "eta")]
    b["jet_tagging"][4, 2] = 1
    b["PFCands"][5, 0, 4] = np.finfo(np.float32).max
    found = compare(a, b, ulp=10**9)  # no tolerance reaches what is not finite
    assert not found.is_equal
    assert [c.name for k in found.keys for c in k.columns if c.values_beyond] == ["tau2", "d0"]


def test_minus_zero_in_padding_is_a_difference(compare):
    a = random_jets()
    a["PFCands"][0, 6:] = 0
    b = copied(a)
    b["PFCands"][0, 9, 0] = -0.0
    assert columns_that_differ(compare(a, b)) == [("PFCands", "px")]


def with_equal_pt() -> dict[str, np.ndarray]:
    """Jets in which candidates 1 and 2 have one pt: mirrored in px."""
    arrays = random_jets()
    arrays["PFCands"][:, 2] = arrays["PFCands"][:, 1]
    arrays["PFCands"][:, 2, 0] *= -1
    arrays["PFCands"][:, 2, 9] = 13
    return arrays


def test_candidates_of_equal_pt_may_swap(compare):
    a = with_equal_pt()
    b = copied(a)
    b["PFCands"][[2, 5]] = b["PFCands"][[2, 5]][:, [0, 2, 1, *range(3, 10)]]
    found = compare(a, b)
    assert found.is_equal and found.rows_swapped == 2 and found.rows_differ == 0
    assert columns_that_differ(found) == []
    strict = compare(a, b, order_matters=True)
    assert not strict.is_equal and strict.rows_beyond == 2 and strict.rows_swapped == 0
    b["PFCands"][5, 1, 4] += 1  # and a change in one of the two
    found = compare(a, b)
    assert not found.is_equal and found.rows_swapped == 1 and found.rows_beyond == 1
    assert columns_that_differ(found) == [("PFCands", "d0")]


def test_candidates_of_other_pt_may_not(compare):
    a = random_jets()
    b = copied(a)
    b["PFCands"][2] = b["PFCands"][2][[1, 0, *range(2, 10)]]
    found = compare(a, b)
    assert not found.is_equal and found.rows_swapped == 0 and found.rows_beyond == 1


def test_rows_in_another_order_and_rows_that_miss(compare):
    a = random_jets(20)
    order = np.random.default_rng(1).permutation(10)
    rows = (2 * order[:, None] + [0, 1]).ravel()  # events change places, jets of an event do not
    b = {key: values[rows] for key, values in a.items()}
    found = compare(a, b)
    assert found.is_equal and found.match.by == "event" and found.match.is_reordered
    assert not compare(a, b, match="order").is_equal
    b = {key: np.delete(values, [6, 7], axis=0) for key, values in a.items()}
    found = compare(a, b)
    assert not found.is_equal and found.rows_differ == 0
    assert found.match.only_a.tolist() == [6, 7] and len(found.match.only_b) == 0


def test_rows_at_the_borders_of_blocks(compare, monkeypatch):
    monkeypatch.setattr("treasure.cli.table_comparison.BLOCK_ROWS", 7)
    monkeypatch.setattr("treasure.cli.h5_keys.BLOCK_ROWS", 5)
    a = random_jets(30)
    b = {key: values[::-1].copy() for key, values in a.items()}
    b["event_info"][:, 2] = np.arange(30)[::-1]
    a["event_info"][:, 2] = np.arange(30)
    for row in (0, 6, 7, 13, 14, 29):
        b["jet_tagging"][29 - row, 0] += 1
    found = compare(a, b)
    assert found.match.by == "event" and found.rows_beyond == 6
    assert columns_that_differ(found) == [("jet_tagging", "nConstituents")]


def test_more_slots_are_no_difference_unless_they_are_filled(compare):
    a = random_jets(12, 10)
    b = copied(a)
    b["PFCands"] = np.pad(a["PFCands"], ((0, 0), (0, 5), (0, 0)))
    found = compare(a, b)
    assert found.is_equal and "shapes" in found.keys[-1].note
    b["PFCands"][3, 12, 3] = 1
    found = compare(b, a)
    assert not found.is_equal and found.rows_longer == 1 and found.rows_beyond == 1


def test_keys_and_columns_that_one_file_lacks(compare):
    a = random_jets()
    ours = a | {"label": np.zeros(12, np.int32), "split": np.zeros(12, np.int8)}
    found = compare(ours, a)
    assert found.is_equal and found.only_a == ["label", "split"] and found.only_b == []
    assert not compare(a | {"truth": np.zeros(12)}, a).is_equal
    without = {key: values for key, values in a.items() if key != "jet_tagging"}
    found = compare(without, a)
    assert not found.is_equal and found.only_b == ["jet_tagging"] and found.rows_differ == 0


def test_other_dtypes_and_text(compare):
    a = random_jets()
    b = copied(a)
    b["jet_kinematics"] = b["jet_kinematics"].astype(np.float64)
    found = compare(a, b)
    assert not found.is_equal and found.rows_beyond == 0
    assert found.keys[1].columns[0].note == "float32 and float64"
    a["names"] = np.array([b"one"] * 12)
    c = copied(a)
    c["names"][5] = b"two"
    assert columns_that_differ(compare(a, c)) == [("names", "names")]


def test_no_rows(compare):
    none = {key: values[:0] for key, values in random_jets().items()}
    assert compare(none, none).is_equal
    assert not compare(none, random_jets()).is_equal


def test_exit_status_and_verdict(tmp_path):
    arrays = with_equal_pt()
    a = write(tmp_path / "a.h5", arrays)
    run = treasure("diff", a, a)
    assert run.returncode == 0 and "equal: all 12 rows agree bit for bit" in run.stdout
    changed = copied(arrays)
    changed["PFCands"][3, 0, 0] = np.nextafter(changed["PFCands"][3, 0, 0], np.float32(1e9))
    b = write(tmp_path / "b.h5", changed)
    run = treasure("diff", a, b)
    assert run.returncode == 1
    assert run.stdout.splitlines()[-1] == "different: 1 of 12 rows differ, in PFCands.px"
    assert str(changed["PFCands"][3, 0, 0]) in run.stdout
    run = in_process("diff", a, b, "--ulp", 1)
    assert run.exit_code == 0
    assert run.output.splitlines()[-1] == "equal: all 12 rows agree within 1 ulp"


@pytest.mark.parametrize(
    ("b", "says"),
    [
        ("nothing.h5", "no such file"),
        (".", "a folder; jet tables (.h5) and .parquet files are compared"),
        ("other.h5", "not a jet table: it lacks"),
        ("broken.h5", "cannot be read as HDF5"),
        ("short.h5", "the file is not whole"),
        ("table.parquet", "cannot be compared"),
        ("file.root", "neither .h5 nor .parquet"),
    ],
)
def test_what_cannot_be_compared_is_said_in_a_line(tmp_path, b, says):
    a = write(tmp_path / "a.h5", random_jets())
    write(tmp_path / "other.h5", {"x": np.zeros(3)})
    (tmp_path / "broken.h5").write_bytes(a.read_bytes()[:3000])
    write(tmp_path / "short.h5", random_jets() | {"jet_tagging": np.zeros((3, 13))})
    pq.write_table(pa.table({"x": [1]}), tmp_path / "table.parquet")
    (tmp_path / "file.root").write_bytes(b"root")
    for names in ((a, tmp_path / b), (tmp_path / b, a)):
        run = in_process("diff", *names)
        assert run.exit_code == 2 and says in run.output
        assert len(run.output.splitlines()) == 1 and b in run.output


def test_not_comparable_is_status_2(tmp_path):
    run = treasure("diff", tmp_path / "a.h5", tmp_path / "b.h5")
    assert run.returncode == 2 and run.stdout == f"error: {tmp_path / 'a.h5'}: no such file\n"


def test_attributes_only_when_asked_for(tmp_path):
    arrays = random_jets()
    a = write(tmp_path / "a.h5", arrays, dataset="qcd", label=0)
    b = write(tmp_path / "b.h5", arrays, dataset="top", label=0)
    assert in_process("diff", a, b).exit_code == 0
    run = in_process("diff", a, b, "--attributes")
    assert run.exit_code == 1
    assert "attribute dataset differs" in run.output and "label differs" not in run.output
    assert in_process("diff", a, a, "--attributes").exit_code == 0


def test_the_reference_table_with_candidates_swapped(shared, tmp_path):
    reference = shared / "reference" / "aoj_maker" / "qcd_300.h5"
    with h5py.File(reference) as file:
        arrays = {key: file[key][:] for key in file}
    arrays["PFCands"][7, 3] = arrays["PFCands"][7, 2] * np.float32([-1, *[1] * 10])
    a = write(tmp_path / "a.h5", arrays)
    arrays["PFCands"][7, [2, 3]] = arrays["PFCands"][7, [3, 2]]
    b = write(tmp_path / "b.h5", arrays)
    run = in_process("diff", a, b)
    assert run.exit_code == 0
    assert "1 of them up to the order of candidates of equal pt" in run.output
    assert in_process("diff", a, b, "--order-matters").exit_code == 1
    run = in_process("diff", reference, b)
    assert run.exit_code == 1 and "1 of 437 rows differ, in PFCands." in run.output


def parquet(path, rows=30, group=7, **changed):
    rng = np.random.default_rng(5)
    counts = rng.integers(0, 5, rows)
    lists = np.split(rng.normal(size=counts.sum()).astype(np.float32), np.cumsum(counts)[:-1])
    columns = {
        "event": pa.array(np.arange(rows)),
        "pt": pa.array(rng.uniform(size=rows).astype(np.float32)),
        "d0": pa.array(lists, pa.list_(pa.float32())),
        "codes": pa.array([[[1, 2]] * n for n in counts], pa.list_(pa.list_(pa.int32(), 2))),
        "split": pa.array(["train", "val"] * (rows // 2)).dictionary_encode(),
    } | {name: change for name, change in changed.items() if change is not None}
    columns = {k: v for k, v in columns.items() if not (k in changed and changed[k] is None)}
    pq.write_table(pa.table(columns), path, row_group_size=group)
    return path


def test_parquet_tables_column_by_column(tmp_path):
    a = parquet(tmp_path / "a.parquet")
    same = parquet(tmp_path / "b.parquet", group=11)  # other row groups
    assert in_process("diff", a, same).exit_code == 0
    table = pq.read_table(a).to_pydict()
    row = next(row for row, values in enumerate(table["d0"]) if len(values) > 2)

    def with_change(column, change, type_):
        values = [list(v) if isinstance(v, list) else v for v in table[column]]
        change(values)
        return parquet(tmp_path / "b.parquet", **{column: pa.array(values, type_)})

    def set_value(values):
        values[row][1] = 7.0

    run = in_process("diff", a, with_change("d0", set_value, pa.list_(pa.float32())))
    assert run.exit_code == 1
    assert f"d0   {row}   1" in " ".join(run.output.split()).replace(" ", "   ")

    def drop_value(values):
        values[row].pop()

    run = in_process("diff", a, with_change("d0", drop_value, pa.list_(pa.float32())))
    assert run.exit_code == 1 and f"{len(table['d0'][row])} values" in run.output

    def rename(values):
        values[3] = "test"

    run = in_process("diff", a, with_change("split", rename, pa.string()))
    assert run.exit_code == 1 and "1 of 30 rows differ, in split" in run.output

    def code(values):
        values[row] = [[1, 2]] * (len(values[row]) - 1) + [[1, 3]]

    codes = with_change("codes", code, pa.list_(pa.list_(pa.int32(), 2)))
    assert "1 of 30 rows differ, in codes" in in_process("diff", a, codes).output

    run = in_process("diff", a, parquet(tmp_path / "b.parquet", pt=None))
    assert run.exit_code == 1 and "pt only in A" in run.output
    run = in_process("diff", a, parquet(tmp_path / "b.parquet", rows=28))
    assert run.exit_code == 1
    assert in_process("diff", a, same, "--match", "event").exit_code == 2
