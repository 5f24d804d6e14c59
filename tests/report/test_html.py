import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from treasure.errors import DataError
from treasure.report.figures import curves, png_bytes
from treasure.report.html import Page

VOID = {"meta", "img", "br", "link"}


class Document(HTMLParser):
    """Checks that tags nest, and collects tags, attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def full_page(text: str) -> Page:
    page = Page(text, text)
    page.heading(text)
    page.heading(text, 3)
    page.text(text)
    page.table([text, "n"], [[text, 1], [text, None]], text)
    page.details(text, {text: [text, np.float32(0.5), np.arange(2)]})
    return page


PLAIN = Document(full_page("plain").html()).tags


@settings(deadline=None, max_examples=60)
@given(st.text(st.characters(), min_size=1).filter(str.strip))
def test_no_text_changes_the_structure_of_the_page(text):
    text = re.sub(r"\s+", " ", text)
    document = Document(full_page(text).html())
    # a blank paragraph disappears, nothing else may
    assert [t for t in document.tags if t != "p"] == [t for t in PLAIN if t != "p"]


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "</pre></details><b>",
        "</title></style>",
        "&lt;&amp;",
        "nul \x00 and lone surrogate \ud800",
        "<!-- ]]> -->",
    ],
)
def test_hostile_text_is_shown_and_not_executed(text, tmp_path: Path):
    path = full_page(text).write(tmp_path / "page.html")
    document = Document(path.read_text(encoding="utf-8"))
    assert document.tags == PLAIN
    if text.isprintable():
        assert text in document.text


def test_the_page_loads_nothing_from_anywhere(tmp_path: Path):
    page = full_page("x")
    page.figure(curves([0, 1], {"a": [0, 1]}, "x", "y"), "a figure")
    html = page.html()
    document = Document(html)
    for name, value in document.attributes:
        assert name not in ("action", "srcset", "poster") and not name.startswith("on")
        if name == "src":
            assert value.startswith("data:image/png;base64,")
        if name == "href":
            assert value.startswith("#")
    assert not {"script", "link", "iframe", "object", "embed"} & set(document.tags)
    assert "@import" not in html and "url(" not in html
    assert "default-src 'none'" in html


def test_a_figure_is_embedded_as_it_is(tmp_path: Path):
    figure = curves([0, 1], {"a": [0, 1]}, "x", "y")
    file = tmp_path / "a.png"
    file.write_bytes(png_bytes(figure))
    page = Page("t")
    page.figures([(figure, "drawn"), (file, "read")])
    found = re.findall(r"base64,([^\"]+)", page.html())
    assert [base64.b64decode(data) for data in found] == [png_bytes(figure)] * 2


def test_a_file_that_is_no_image_is_refused(tmp_path: Path):
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(DataError, match="not a PNG"):
        Page("t").figure(tmp_path / "a.png")
    with pytest.raises(DataError, match="no such file"):
        Page("t").figure(tmp_path / "b.png")


def test_cells_are_written_for_people():
    page = Page("t")
    page.table(
        ["name", "count", "value", "flag"],
        [["a", 1234567, 0.123456, True], ["b", np.int64(2), None, False]],
    )
    text = Document(page.html()).text
    for cell in ("1\u202f234\u202f567", "0.1235", "–", "yes", "no"):
        assert cell in text
    assert page.html().count('<td class="number">') == 4


def test_a_row_of_the_wrong_length_is_refused():
    with pytest.raises(DataError, match="row 0 has 1 cells, expected 2"):
        Page("t").table(["a", "b"], [[1]])


def test_details_hold_readable_json():
    value = {"b": 1, "a": {"path": Path("x/y"), "numbers": np.arange(3)}}
    page = Page("t")
    page.details("configuration", value)
    text = next(part for part in Document(page.html()).text if part.startswith("{"))
    assert json.loads(text) == {"b": 1, "a": {"path": "x/y", "numbers": [0, 1, 2]}}
