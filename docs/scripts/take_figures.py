"""Take figures out of a benchmark's report, for the page of results.

    python docs/scripts/take_figures.py $TREASURE_STORE/demo/BenchmarkTopTagging/v1-*/report.html \
        docs/figures

A figure of the report is known by what its caption begins with.
"""

from __future__ import annotations

import base64
import re
import sys
from pathlib import Path

from treasure.store import write_bytes

# Beginning of the caption, which of the figures that begin so, and the name of the file.
FIGURES = {
    "results_roc": ("Background rejection", 0),
    "results_jet_pt": ("After resampling", 0),
    "results_response_pt": ("Response", 0),
    "results_response_mass": ("Response", 1),
}
_FIGURE = re.compile(
    r'<img alt="[^"]*" src="data:image/png;base64,([^"]+)">\s*<figcaption>([^<]*)</figcaption>'
)


def take_figures(report: Path, folder: Path) -> list[Path]:
    """Write the figures of `FIGURES` that are in a report as PNG files."""
    found = _FIGURE.findall(report.read_text(encoding="utf-8"))
    paths = []
    for name, (caption, number) in FIGURES.items():
        fitting = [image for image, text in found if text.startswith(caption)]
        paths.append(folder / f"{name}.png")
        write_bytes(paths[-1], base64.b64decode(fitting[number]))
    return paths


if __name__ == "__main__":
    for path in take_figures(Path(sys.argv[1]), Path(sys.argv[2])):
        print(path)
