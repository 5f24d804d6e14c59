"""Figures in the mplhep style: histograms with ratio panels, curves with bands, ROC curves.

Every function takes plain arrays and returns a `matplotlib.figure.Figure` that no global state
knows of (no pyplot), so nothing needs closing and threads do not meet. `save` and `png_bytes` write
the same bytes for the same figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from treasure.errors import DataError
from treasure.report.canvas import canvas, png_bytes, save, style

__all__ = ["canvas", "curves", "histogram_comparison", "png_bytes", "roc", "save", "style"]

SERIES_STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
"""Line styles in turn, so that series differ without colour too."""


def histogram_comparison(
    series: Mapping[str, npt.ArrayLike],
    bins: int | Sequence[float] | npt.NDArray[Any],
    xlabel: str,
    *,
    weights: Mapping[str, npt.ArrayLike] | None = None,
    ratio_to: str | None = None,
    density: bool = False,
    log: bool = False,
    ylabel: str | None = None,
    ratio_range: tuple[float, float] = (0.5, 1.5),
    label: str = "simulation",
    right: str = "",
) -> Figure:
    """Draw histograms of several samples on the same bins, with statistical uncertainties.

    Parameters
    ----------
    series : mapping of str to array_like, shape (n_i,)
        Values of each sample, finite, in the unit that `xlabel` names. Values outside the bins are
        not shown; they count in the normalisation of `density`, so shapes are not distorted.
    bins : int or array_like, shape (n_bins + 1,)
        Bin edges, or a number of equal bins between the 0.1 % and 99.9 % quantiles of all samples.
    xlabel : str
        Label of the x axis, with the unit.
    weights : mapping of str to array_like, optional
        Weights of the values, for some or all of the samples.
    ratio_to : str, optional
        The sample that the lower panel divides by; no lower panel when None. The bars of the
        ratio are the numerator's uncertainty alone, the band around 1 the denominator's: where
        both are the same jets, the two are correlated and the bars too large.
    density : bool
        Whether to divide by the sum of weights and the bin width.
    log : bool
        Whether the y axis is logarithmic.
    ylabel : str, optional
        Label of the y axis; chosen from `density` when None.
    ratio_range : (float, float)
        Range of the ratio panel.
    label, right : str
        See `canvas`.

    Returns
    -------
    Figure

    Raises
    ------
    DataError
        If there are no samples, a value is not finite, or `ratio_to` names none of them.

    Notes
    -----
    The variance of a bin is the sum of its squared weights, n for unweighted data.
    """
    values = {name: np.asarray(array, dtype=np.float64).ravel() for name, array in series.items()}
    _check_series(values, ratio_to)
    edges = _edges(values, bins)
    with style():
        figure, main, lower = canvas(ratio=ratio_to is not None, label=label, right=right)
        contents = {
            name: _histogram(
                array, edges, None if weights is None else weights.get(name), density=density
            )
            for name, array in values.items()
        }
        for index, (name, (height, error)) in enumerate(contents.items()):
            colour, line = f"C{index % 6}", SERIES_STYLES[index % len(SERIES_STYLES)]
            main.stairs(height, edges, color=colour, linestyle=line, linewidth=2, label=name)
            _error_band(main, edges, height, error, colour)
        main.set_ylabel(ylabel or ("Density" if density else "Entries"))
        main.set_xlim(edges[0], edges[-1])
        positive = np.concatenate([height[height > 0] for height, _ in contents.values()])
        if log and positive.size:
            main.set_yscale("log")
            lowest, highest = float(positive.min()), float(positive.max())
            main.set_ylim(0.5 * lowest, highest * max(4.0, (highest / lowest) ** 0.35))
        else:
            main.set_ylim(0, 1.35 * max(max(float(h.max()) for h, _ in contents.values()), 1e-12))
        main.legend(loc="upper right")
        if lower is not None and ratio_to is not None:
            _ratio_panel(lower, edges, contents, ratio_to)
            lower.set_ylim(*ratio_range)
        (lower or main).set_xlabel(xlabel)
    return figure


def curves(
    x: npt.ArrayLike,
    series: Mapping[str, npt.ArrayLike],
    xlabel: str,
    ylabel: str,
    *,
    log: bool = False,
    label: str = "simulation",
    right: str = "",
) -> Figure:
    """Draw curves over common x values, with a band where a curve was measured several times.

    Parameters
    ----------
    x : array_like, shape (n,)
    series : mapping of str to array_like, shape (n,) or (n_repetitions, n)
        Of several repetitions the mean is the line and the standard deviation the band.
    xlabel, ylabel : str
        Labels with units.
    log : bool
        Whether the y axis is logarithmic.
    label, right : str
        See `canvas`.
    """
    abscissa = np.asarray(x, dtype=np.float64)
    with style():
        figure, main, _ = canvas(label=label, right=right)
        for index, (name, array) in enumerate(series.items()):
            mean, spread = _mean_and_spread(array)
            colour, line = f"C{index % 6}", SERIES_STYLES[index % len(SERIES_STYLES)]
            main.plot(abscissa, mean, color=colour, linestyle=line, label=name)
            main.fill_between(
                abscissa, mean - spread, mean + spread, color=colour, alpha=0.25, lw=0
            )
        if log:
            main.set_yscale("log")
        main.set_xlabel(xlabel)
        main.set_ylabel(ylabel)
        main.margins(x=0)
        main.legend(loc="best")
    return figure


def roc(
    signal_efficiency: npt.ArrayLike,
    background_efficiency: Mapping[str, npt.ArrayLike],
    *,
    ratio_to: str | None = None,
    legend: Mapping[str, str] | None = None,
    label: str = "simulation",
    right: str = "",
) -> Figure:
    """Draw background rejection 1/εB against signal efficiency εS, with bands over repetitions.

    Parameters
    ----------
    signal_efficiency : array_like, shape (n,)
        εS, ascending, in (0, 1].
    background_efficiency : mapping of str to array_like, shape (n_repetitions, n) or (n,)
        εB of each tagger at these εS; where it is 0 nothing is drawn.
    ratio_to : str, optional
        The tagger whose mean rejection the lower panel divides by; no lower panel when None.
    legend : mapping of str to str, optional
        Longer names for the legend, e.g. with the area under the curve.
    label, right : str
        See `canvas`.

    Raises
    ------
    DataError
        If there are no curves, or `ratio_to` names none of them.
    """
    efficiency = np.asarray(signal_efficiency, dtype=np.float64)
    background = {
        name: np.atleast_2d(np.asarray(array, dtype=np.float64))
        for name, array in background_efficiency.items()
    }
    _check_series({name: array.ravel() for name, array in background.items()}, ratio_to)
    rejection = {
        name: np.where(array > 0, 1.0 / np.maximum(array, 1e-300), np.nan)
        for name, array in background.items()
    }
    with style():
        figure, main, lower = canvas(ratio=ratio_to is not None, label=label, right=right)
        reference = rejection[ratio_to].mean(axis=0) if ratio_to is not None else None
        for index, (name, array) in enumerate(rejection.items()):
            colour, line = f"C{index % 6}", SERIES_STYLES[index % len(SERIES_STYLES)]
            panels = [(main, array)]
            if lower is not None and reference is not None:
                panels.append((lower, array / reference))
            for axes, measured in panels:
                mean, spread = _mean_and_spread(measured)
                text = (legend or {}).get(name, name)
                axes.plot(efficiency, mean, color=colour, linestyle=line, label=text)
                axes.fill_between(
                    efficiency,
                    np.maximum(mean - spread, 1e-3),
                    mean + spread,
                    color=colour,
                    alpha=0.25,
                    lw=0,
                )
        main.plot(efficiency, 1.0 / efficiency, color="0.5", ls=":", lw=1.5, label="no separation")
        main.set_yscale("log")
        main.set_xlim(0, 1)
        main.set_ylim(bottom=0.9)
        main.set_ylabel(r"Background rejection $1/\varepsilon_B$")
        main.legend(loc="upper right")
        if lower is not None:
            lower.set_ylim(0.4, 1.6)
            lower.set_ylabel(f"Ratio to\n{ratio_to}", fontsize=18, loc="center")
            lower.axhline(1.0, color="0.5", lw=1)
        (lower or main).set_xlabel(r"Signal efficiency $\varepsilon_S$")
    return figure


def _check_series(values: Mapping[str, npt.NDArray[Any]], ratio_to: str | None) -> None:
    if not values:
        raise DataError("figure: found no samples to draw, expected at least one")
    for name, array in values.items():
        bad = int(np.count_nonzero(~np.isfinite(array)))
        if bad:
            raise DataError(
                f"figure: {bad} of {array.size} values of sample {name!r} are not finite; "
                "remove or count them before drawing"
            )
    if ratio_to is not None and ratio_to not in values:
        raise DataError(
            f"figure: ratio_to is {ratio_to!r}, expected one of {', '.join(map(repr, values))}"
        )


def _edges(
    values: Mapping[str, npt.NDArray[Any]], bins: int | Sequence[float] | npt.NDArray[Any]
) -> npt.NDArray[np.float64]:
    if not isinstance(bins, (int, np.integer)):
        return np.asarray(bins, dtype=np.float64)
    everything = np.concatenate(list(values.values()))
    if everything.size == 0:
        return np.linspace(0.0, 1.0, int(bins) + 1)
    low, high = np.quantile(everything, [0.001, 0.999])
    if low == high:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, int(bins) + 1)


def _histogram(
    values: npt.NDArray[Any],
    edges: npt.NDArray[np.float64],
    weights: npt.ArrayLike | None,
    *,
    density: bool,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return heights and standard deviations of the bins."""
    weight = np.ones(values.size) if weights is None else np.asarray(weights, dtype=np.float64)
    height = np.histogram(values, edges, weights=weight)[0].astype(np.float64)
    error = np.sqrt(np.histogram(values, edges, weights=weight**2)[0].astype(np.float64))
    total = weight.sum()
    if density and total > 0:
        scale = 1.0 / (total * np.diff(edges))
        height, error = height * scale, error * scale
    return height, error


def _error_band(
    axes: Axes,
    edges: npt.NDArray[Any],
    centre: npt.NDArray[Any],
    error: npt.NDArray[Any],
    colour: str,
) -> None:
    axes.stairs(
        centre + error,
        edges,
        baseline=np.maximum(centre - error, 0.0),
        fill=True,
        color=colour,
        alpha=0.25,
        linewidth=0,
    )


def _ratio_panel(
    axes: Axes,
    edges: npt.NDArray[Any],
    contents: Mapping[str, tuple[npt.NDArray[Any], npt.NDArray[Any]]],
    ratio_to: str,
) -> None:
    reference, reference_error = contents[ratio_to]
    filled = reference > 0
    safe = np.where(filled, reference, 1.0)
    relative = np.where(filled, reference_error / safe, 0.0)
    _error_band(axes, edges, np.ones_like(safe), relative, "0.5")
    axes.axhline(1.0, color="0.5", linewidth=1)
    centres, half_widths = 0.5 * (edges[1:] + edges[:-1]), 0.5 * np.diff(edges)
    for index, (name, (height, error)) in enumerate(contents.items()):
        if name == ratio_to:
            continue
        axes.errorbar(
            centres[filled],
            (height / safe)[filled],
            yerr=(error / safe)[filled],
            xerr=half_widths[filled],
            fmt="o",
            markersize=4,
            linewidth=1.5,
            color=f"C{index % 6}",
        )
    axes.set_ylabel(f"Ratio to\n{ratio_to}", fontsize=18, loc="center")


def _mean_and_spread(array: npt.ArrayLike) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return mean and standard deviation over the repetitions (rows); NaN where any row is."""
    rows = np.atleast_2d(np.asarray(array, dtype=np.float64))
    spread = rows.std(axis=0, ddof=1) if len(rows) > 1 else np.zeros(rows.shape[1])
    return rows.mean(axis=0), spread
