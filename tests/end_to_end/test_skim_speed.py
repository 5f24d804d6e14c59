"""The benchmark of the skim, at a small size: it runs, and memory stays bounded."""

import argparse
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))


@pytest.mark.slow
def test_the_benchmark_runs_and_memory_does_not_grow_with_the_data(shared, tmp_path):
    from skim_speed import Case, tables

    source = shared / "reference" / "aoj_maker" / "qcd_300.root"
    options = argparse.Namespace(file=source, jets=3000, files=2, repeats=1)
    titles = [str(table.title) for table in tables(options, tmp_path / "small")]
    assert len(titles) == 3 and "3," in titles[0]

    peaks = {}
    for files, repeats in ((1, 12), (8, 12), (1, 96)):
        case = Case(tmp_path / f"{files}_{repeats}", source, files, repeats, files_per_branch=files)
        assert case.jets == 437 * files * repeats
        peaks[files, repeats] = case.run(workers=1).megabytes
    assert max(peaks.values()) < 1024, peaks
    # Of one chunk or of ten: the same, but for what a block of the jet table takes.
    assert max(peaks.values()) < peaks[1, 12] + 250, peaks


@pytest.mark.slow
def test_the_prediction_is_made_for_both_layouts(shared, tmp_path):
    from cms_events import tables

    source = shared / "data" / "pfnano" / "layout_a_qcd_mc.root"
    measured, predicted = tables(source, 30, 2, tmp_path)
    columns = {column.header: list(column.cells) for column in measured.columns}
    assert columns["layout"] == ["A", "C"]
    # The same events: where candidates are linked or found by clustering, the jets are the same.
    assert columns["jets/event"][0] == columns["jets/event"][1]
    assert float(columns["jets/event"][0]) > 1
    assert [len(list(column.cells)) for column in predicted.columns] == [4] * 7
