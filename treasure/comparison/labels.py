"""Labels beside the points of a figure, where they cover neither points, lines nor each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

__all__ = ["Label", "place_labels"]

_DISTANCES = (14.0, 22.0, 32.0, 48.0, 70.0, 100.0)  # pixels from the point to the label
_DIRECTIONS = 16
_MARGIN = 3.0  # pixels around a label
_FAR = 24.0  # pixels from which on a line joins point and label


@dataclass(frozen=True)
class Label:
    """The name of a point, in data coordinates."""

    x: float
    y: float
    text: str
    colour: str
    bold: bool = False


def place_labels(
    axes: Axes, labels: Sequence[Label], avoid: Sequence[tuple[float, float]], fontsize: float = 16
) -> None:
    """Write the labels of points, each where it disturbs least.

    Parameters
    ----------
    axes : Axes
        With its final limits and scales.
    labels : sequence of Label
        In the order of their importance.
    avoid : sequence of (float, float)
        Points of markers and lines, in data coordinates.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    box = axes.get_window_extent()
    inside = np.array([[box.x0 + 4, box.y0 + 4], [box.x1 - 4, box.y1 - 4]])
    points = _pixels(axes, [*avoid, *((label.x, label.y) for label in labels)])
    taken: list[NDArray[Any]] = []
    for label in labels:
        text = axes.text(
            label.x, label.y, label.text,
            fontsize=fontsize, color=label.colour, weight="bold" if label.bold else "normal",
            parse_math=False,
        )  # fmt: skip
        extent = text.get_window_extent()
        text.remove()
        size = np.array([extent.width, extent.height])
        point = _pixels(axes, [(label.x, label.y)])[0]
        _, centre = min(
            (
                (_cost(c, size, point, points, taken, inside), tuple(c))
                for c in _places(point, size)
            ),
        )
        taken.append(_box(np.array(centre), size))
        far = _distance(np.array(centre), size, point) > _FAR
        axes.annotate(
            label.text,
            xy=(label.x, label.y),
            xytext=tuple(axes.transAxes.inverted().transform(centre)),
            textcoords="axes fraction",
            ha="center",
            va="center",
            fontsize=fontsize,
            color=label.colour,
            weight="bold" if label.bold else "normal",
            parse_math=False,  # a title may have a $
            arrowprops={"arrowstyle": "-", "color": label.colour, "lw": 0.8} if far else None,
        )


def _pixels(axes: Axes, points: Sequence[tuple[float, float]]) -> NDArray[Any]:
    return np.asarray(axes.transData.transform(np.array(points, dtype=np.float64).reshape(-1, 2)))


def _places(point: NDArray[Any], size: NDArray[Any]) -> list[NDArray[Any]]:
    """Centres of a label around a point, the best first: to the right, then around."""
    found = []
    for distance in _DISTANCES:
        for step in range(_DIRECTIONS):
            angle = 2 * np.pi * step / _DIRECTIONS
            direction = np.array([np.cos(angle), np.sin(angle)])
            found.append(point + direction * (size / 2 + distance))
    return found


def _box(centre: NDArray[Any], size: NDArray[Any]) -> NDArray[Any]:
    half = size / 2 + _MARGIN
    return np.array([centre - half, centre + half])


def _cost(
    centre: NDArray[Any],
    size: NDArray[Any],
    point: NDArray[Any],
    points: NDArray[Any],
    taken: Sequence[NDArray[Any]],
    inside: NDArray[Any],
) -> float:
    low, high = _box(centre, size)
    outside = np.maximum(inside[0] - low, 0).sum() + np.maximum(high - inside[1], 0).sum()
    covered = int(((points > low - 4) & (points < high + 4)).all(axis=1).sum())
    overlap = 0.0
    for other in taken:
        width, height = np.maximum(np.minimum(high, other[1]) - np.maximum(low, other[0]), 0)
        overlap += float(width * height) + (200.0 if width * height > 0 else 0.0)
    distance = _distance(centre, size, point)
    crossed = 0
    if distance > _FAR:
        line = point + np.linspace(0, 1, 20)[:, None] * (centre - point)
        crossed = sum(bool(((line > o[0]) & (line < o[1])).all(axis=1).any()) for o in taken)
    return distance + 60.0 * (covered + crossed) + overlap + 50.0 * float(outside)


def _distance(centre: NDArray[Any], size: NDArray[Any], point: NDArray[Any]) -> float:
    """From a point to the edge of a label."""
    return float(np.hypot(*np.maximum(np.abs(centre - point) - size / 2, 0)))
