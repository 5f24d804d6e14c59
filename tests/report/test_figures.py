from pathlib import Path

import numpy as np
import pytest

from treasure.errors import DataError
from treasure.report import figures


def sample(n: int = 500, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(500.0, 50.0, n)


def heights(figure, panel: int = 0) -> list[np.ndarray]:
    patches = figure.axes[panel].patches
    return [p.get_data().values for p in patches if not p.get_fill()]


def test_the_same_data_give_the_same_bytes():
    def draw() -> bytes:
        series = {"original": sample(), "decoded": sample(seed=1)}
        return figures.png_bytes(
            figures.histogram_comparison(series, 20, "Jet $p_T$ [GeV]", ratio_to="original")
        )

    assert draw() == draw()


def test_an_image_names_no_software_and_no_date():
    data = figures.png_bytes(figures.curves([0, 1], {"a": [0, 1]}, "x", "y"))
    assert data.startswith(b"\x89PNG") and b"tEXt" not in data and b"tIME" not in data


def test_bins_hold_counts_with_poisson_uncertainties():
    figure = figures.histogram_comparison({"a": [0.5, 0.5, 0.5, 0.5, 1.5]}, [0, 1, 2], "x")
    assert heights(figure)[0].tolist() == [4, 1]
    band = next(p for p in figure.axes[0].patches if p.get_fill()).get_data()
    assert band.values.tolist() == [4 + 2, 1 + 1]
    assert np.asarray(band.baseline).tolist() == [4 - 2, 0]


def test_weights_enter_squared_in_the_uncertainty():
    figure = figures.histogram_comparison({"a": [0.5, 0.5]}, [0, 1], "x", weights={"a": [3.0, 4.0]})
    band = next(p for p in figure.axes[0].patches if p.get_fill()).get_data()
    assert heights(figure)[0].tolist() == [7] and band.values.tolist() == [7 + 5]


def test_a_density_integrates_to_the_fraction_inside_the_bins():
    edges = np.array([400.0, 450.0, 600.0])
    values = sample()
    figure = figures.histogram_comparison({"a": values}, edges, "x", density=True)
    inside = np.mean((values >= 400) & (values <= 600))
    assert np.sum(heights(figure)[0] * np.diff(edges)) == pytest.approx(inside)


def test_drawing_leaves_global_settings_and_pyplot_alone():
    import matplotlib.pyplot

    before = dict(matplotlib.rcParams)
    figures.png_bytes(figures.histogram_comparison({"a": sample()}, 10, "x", log=True))
    assert dict(matplotlib.rcParams) == before
    assert matplotlib.pyplot.get_fignums() == []


@pytest.mark.parametrize("values", [[], [1.0], [2.0, 2.0, 2.0]])
def test_few_or_equal_values_can_be_drawn(values):
    figure = figures.histogram_comparison(
        {"a": values, "b": values}, 5, "x", ratio_to="a", log=True
    )
    assert len(figures.png_bytes(figure)) > 1000


def test_values_that_are_not_finite_are_refused_by_name():
    with pytest.raises(DataError, match="1 of 2 values of sample 'mass'"):
        figures.histogram_comparison({"mass": [1.0, np.nan]}, 5, "x")


def test_the_ratio_needs_a_sample_that_is_there():
    with pytest.raises(DataError, match="expected one of 'a'"):
        figures.histogram_comparison({"a": [1.0]}, 5, "x", ratio_to="b")
    with pytest.raises(DataError, match="no samples"):
        figures.roc([0.5], {})


def test_roc_draws_rejection_and_its_spread_over_repetitions():
    efficiency = np.array([0.25, 0.5, 1.0])
    background = np.array([[0.0, 0.1, 1.0], [0.05, 0.2, 1.0]])
    figure = figures.roc(efficiency, {"a": background}, ratio_to="a", legend={"a": "a (AUC 0.9)"})
    line = figure.axes[0].lines[0]
    np.testing.assert_allclose(line.get_ydata()[1:], [7.5, 1.0])
    assert np.isnan(line.get_ydata()[0])  # one repetition has no background left there
    assert line.get_label() == "a (AUC 0.9)"


def test_save_writes_png_files_only(tmp_path: Path):
    figure = figures.curves([0, 1], {"a": [0, 1]}, "x", "y")
    assert figures.save(figure, tmp_path / "a.png").read_bytes() == figures.png_bytes(figure)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    with pytest.raises(DataError, match="pdf"):
        figures.save(figure, tmp_path / "a.pdf")
