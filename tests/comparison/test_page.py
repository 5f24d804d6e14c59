"""Tables, figures and the page of a comparison."""

import json
import re

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from treasure.comparison.collect import collect
from treasure.comparison.figures import draw
from treasure.comparison.labels import Label, place_labels
from treasure.comparison.page import write_comparison
from treasure.comparison.table import TABLES, markdown, rows
from treasure.config.comparison import ComparisonConfig
from treasure.report.canvas import canvas, png_bytes, style

from .measured import CONFIG, MEASURED, comparison, measures

FIGURES = {
    "rate_distortion_mass", "rate_distortion_pt", "resolutions", "tagging",
    "cost_train_seconds", "cost_jets_seen",
}  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    directory = tmp_path_factory.mktemp("comparison")
    summary = write_comparison(
        directory, CONFIG, MEASURED, {"auc_original": 0.96}, [{"label": "x"}]
    )
    return directory, summary


def test_a_row_for_each_tokenizer_and_none_for_points_of_the_curve():
    found = rows(comparison(), TABLES[0].columns)
    assert [row[0] for row in found] == ["OmniJet-α", "VQ", "kmeans"]
    assert found[0][1:] == [
        "13.0",
        "97.7",
        "4.20 ± 0.28",
        "4.20 ± 0.28",
        "11.0 ± 1.4",
        "0.800 ± 0.010",
    ]


def test_negative_numbers_and_what_is_missing():
    runs = {1: measures(0.02, -0.001), 2: measures(0.02, -0.001)}
    found = rows(collect(CONFIG, MEASURED | {"kmeans": runs}, {}), TABLES[0].columns)
    assert found[2][5] == "−1.0 ± 0.3"
    plain = {1: measures(0.02)}
    found = rows(collect(CONFIG, MEASURED | {"kmeans": plain}, {}), TABLES[0].columns)
    assert found[2][5] == found[2][6] == "–"


def test_tables_in_markdown_have_as_many_cells_in_every_line():
    text = markdown(comparison())
    blocks = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    assert len(blocks) == len(TABLES) + 2  # goals, and the curve
    for block in blocks:
        assert len({line.count("|") for line in block.splitlines()}) == 1
    assert "100 test jets, 2 trainings of each." in text
    assert "| jet mass IQR/median, vq | ≤ 0.01 | 0.0110 ± 0.0010 | no |" in text
    assert "(`omnijet`): the <baseline> & more" in text


def test_everything_is_written(written):
    directory, summary = written
    assert {path.stem for path in directory.glob("*.png")} == FIGURES
    assert json.loads((directory / "comparison.json").read_text()) == comparison() | {
        "originals": {"auc_original": 0.96}
    }
    assert (directory / "comparison.md").read_text() == markdown(comparison())
    assert summary == {
        "tokenizers": 3, "points_of_curves": 1, "trainings": 7, "goals": 7, "goals_met": 5,
    }  # fmt: skip


def test_the_page_holds_tables_figures_and_goals_and_loads_nothing(written):
    page = (written[0] / "report.html").read_text()
    assert page.count("<img ") == len(FIGURES)
    assert page.count("<table>") == len(TABLES) + 3  # goals, curve, tokenizers
    assert "the &lt;baseline&gt; &amp; more" in page
    assert "11.0 ± 1.4" in page and "Provenance" in page
    assert 'src="http' not in page and "<script" not in page


def test_without_classifiers_there_is_no_figure_of_tagging_nor_of_jets_that_nobody_saw():
    config = ComparisonConfig(tokenizers={"kmeans": {}}, baseline=None, chosen=None)
    runs = {"kmeans": {1: measures(0.02, jets_seen=0)}}
    assert set(draw(collect(config, runs, {}))) == FIGURES - {"tagging", "cost_jets_seen"}


def test_figures_are_the_same_bytes_every_time():
    found = comparison()
    for name, (figure, caption) in draw(found).items():
        assert caption.endswith(".")
        assert png_bytes(figure) == png_bytes(draw(found)[name][0])


def boxes(figure: Figure, texts):
    figure.draw_without_rendering()
    # without the lines to their points
    return [Text.get_window_extent(text) for text in texts]


def test_labels_of_points_that_are_close_do_not_cover_each_other():
    with style():
        figure, main, _ = canvas()
        x = np.array([1.0, 1.01, 1.02, 1.0, 1.01, 5.0])
        y = np.array([1.0, 1.02, 0.98, 1.01, 0.99, 5.0])
        main.plot(x, y, "o")
        main.set_xlim(0, 6)
        main.set_ylim(0, 6)
        labels = [
            Label(a, b, f"tokenizer {n}", "k") for n, (a, b) in enumerate(zip(x, y, strict=True))
        ]
        place_labels(main, labels, [])
    found = boxes(figure, main.texts)
    inside = main.get_window_extent()
    assert [text.get_text() for text in main.texts] == [label.text for label in labels]
    for number, one in enumerate(found):
        assert inside.x0 <= one.x0 and one.x1 <= inside.x1
        assert not any(one.overlaps(other) for other in found[number + 1 :])
