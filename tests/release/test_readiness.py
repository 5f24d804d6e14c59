"""The AI-readiness report finds what was planted."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.release.workshop import VOCABULARY, token_columns, write_plain
from treasure.config.release import Readiness
from treasure.errors import DataError
from treasure.release.readiness import measure_readiness
from treasure.release.readiness_report import Item, ReadinessReport


def measure(
    path: Path, *tables: dict[str, Any], codebooks: int = 1, **thresholds: Any
) -> ReadinessReport:
    """Report on tables of one dataset each."""
    files = {}
    for number, columns in enumerate(tables):
        name = f"dataset{number}"
        files[name] = [write_plain(path / f"{name}.parquet", columns, codebooks)]
    return measure_readiness(files, Readiness(**thresholds), vocabulary_size=VOCABULARY)


def item(report: ReadinessReport, identifier: str) -> Item:
    return next(item for item in report.items if item.id == identifier)


def failed(report: ReadinessReport) -> set[str]:
    return {item.id for item in report.items if item.verdict == "fail"}


def columns(rows: int = 400, **options: int) -> dict[str, Any]:
    return token_columns(rows, **options)


def two_classes(rows: tuple[int, int] = (400, 400)) -> list[dict[str, Any]]:
    return [columns(n, label=label, seed=label) for label, n in enumerate(rows)]


def repeat(table: dict[str, Any], row: int, names: tuple[str, ...]) -> None:
    """Append a copy of a row in these columns; the others come from row 0."""
    for name, values in table.items():
        chosen = values[row] if name in names else values[0]
        if isinstance(values, np.ndarray):
            table[name] = np.append(values, [chosen]).astype(values.dtype)
        else:
            table[name] = [*values, chosen]


IDENTITY = ("run", "luminosityBlock", "event", "jet_index")
CONTENT = ("jet_pt", "jet_eta", "jet_phi", "jet_msoftdrop", "n_constituents", "tokens")


def test_good_tables_pass(tmp_path: Path) -> None:
    report = measure(tmp_path, *two_classes())
    assert failed(report) == set() and report.verdict == "pass"
    assert report.rows == 800
    assert item(report, "class_balance").value == 1.0
    assert item(report, "codebook_use").value == 1.0


def test_missing_values_are_counted(tmp_path: Path) -> None:
    table = columns()
    table["jet_pt"][[3, 5]] = np.nan
    table["jet_eta"][7] = np.inf
    report = measure(tmp_path, table)
    assert failed(report) == {"completeness"}
    assert item(report, "completeness").value == 2 / 400
    assert item(report, "completeness").details == {"jet_pt": 2, "jet_eta": 1}
    ranges = {c["column"]: c for c in report.columns}
    assert 300 <= ranges["jet_pt"]["min"] <= ranges["jet_pt"]["max"] <= 900
    assert failed(measure(tmp_path, table, max_missing_fraction=0.01)) == set()


def test_a_repeated_object_is_found(tmp_path: Path) -> None:
    table = columns()
    repeat(table, 11, (*IDENTITY, "split", "label"))
    table["jet_pt"][-1] = 123.0
    report = measure(tmp_path, table)
    assert failed(report) == {"duplicate_identities"}
    assert item(report, "duplicate_identities").details == {"dataset0": 1}
    assert item(report, "duplicate_identities").value == 1 / 401


def test_the_same_event_number_in_another_dataset_is_no_duplicate(tmp_path: Path) -> None:
    assert failed(measure(tmp_path, columns(seed=1), columns(seed=2))) == set()


def test_repeated_contents_are_found_in_any_dataset(tmp_path: Path) -> None:
    first, second = columns(seed=1), columns(seed=2)
    for name in CONTENT:
        second[name][2] = first[name][2]
    report = measure(tmp_path, first, second)
    assert failed(report) == {"duplicate_contents"}
    assert item(report, "duplicate_contents").details == {"rows": 1}


def test_contents_in_two_splits_and_with_two_labels_are_found(tmp_path: Path) -> None:
    first, second = columns(seed=1, label=0), columns(seed=2, label=1)
    test = second["split"].index("test")
    assert first["split"][2] == "train"
    for name in CONTENT:
        second[name][test] = first[name][2]
    report = measure(tmp_path, first, second)
    assert failed(report) == {"duplicate_contents", "content_overlap", "label_conflicts"}
    assert item(report, "content_overlap").value == item(report, "label_conflicts").value == 1


def test_an_event_in_two_splits_is_found(tmp_path: Path) -> None:
    table = columns()
    assert table["event"][20] == table["event"][21]
    table["split"][20], table["split"][21] = "train", "test"
    report = measure(tmp_path, table)
    assert failed(report) == {"split_overlap"}
    assert item(report, "split_overlap").value == 1


def test_imbalance_is_found_and_unlabelled_rows_are_left_out(tmp_path: Path) -> None:
    report = measure(tmp_path, *two_classes((1000, 50)), min_class_ratio=0.1)
    assert "class_balance" in failed(report)
    assert item(report, "class_balance").value == pytest.approx(0.05, rel=0.3)
    unlabelled = measure(tmp_path, columns(label=0), columns(label=-1, seed=1))
    assert item(unlabelled, "class_balance").verdict == "not applicable"


def test_a_class_missing_in_one_split_is_found(tmp_path: Path) -> None:
    first, second = two_classes()
    second["split"] = ["train"] * 400
    report = measure(tmp_path, first, second, min_rows_per_split=0)
    assert failed(report) == {"class_balance"}
    assert item(report, "class_balance").details == {"train": 0.7, "val": 0.0, "test": 0.0}


def test_an_empty_split_is_found(tmp_path: Path) -> None:
    table = columns()
    table["split"] = ["train" if s == "val" else s for s in table["split"]]
    report = measure(tmp_path, table)
    assert failed(report) == {"rows_per_split"}
    assert item(report, "rows_per_split").details["dataset0/val"] == 0


@pytest.mark.parametrize("codebooks", [1, 3])
def test_ids_outside_of_the_vocabulary_and_unused_ids_are_found(
    tmp_path: Path, codebooks: int
) -> None:
    table = columns(codebooks=codebooks)
    last = (
        (lambda token: token) if codebooks == 1 else (lambda token: [*token[:-1], token[-1] // 4])
    )
    table["tokens"] = [
        [token // 4 if codebooks == 1 else last(token) for token in row] for row in table["tokens"]
    ]
    bad = [VOCABULARY, -1]
    table["tokens"][0] = bad if codebooks == 1 else [[0, 0, value] for value in bad]
    report = measure(tmp_path, table, codebooks=codebooks)
    assert failed(report) == {"token_range", "codebook_use"}
    assert item(report, "token_range").value == 2
    assert item(report, "codebook_use").value == 0.25
    if codebooks == 3:
        assert list(item(report, "codebook_use").details.values()) == [1.0, 1.0, 0.25]


def test_rows_without_tokens_are_found(tmp_path: Path) -> None:
    table = columns()
    table["tokens"][4] = []
    report = measure(tmp_path, table)
    assert failed(report) == {"empty_rows"}


def test_folders_with_pattern_characters_and_quotes_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "it's [a]*?"
    folder.mkdir()
    (tmp_path / "it's a").mkdir()
    write_plain(tmp_path / "it's a" / "dataset0.parquet", columns(20))
    assert measure(folder, columns(40)).rows == 40


def test_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    path = write_plain(tmp_path / "a.parquet", columns(40))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError):
        measure_readiness({"a": [path]}, Readiness())
    with pytest.raises(DataError, match="no token files"):
        measure_readiness({"a": []}, Readiness())
