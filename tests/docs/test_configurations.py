"""Every configuration and every site that the documentation shows is valid."""

import re
from pathlib import Path

import pytest
import yaml

from treasure.config.loading import load_config
from treasure.config.site import Site, load_site

DOCS = Path(__file__).resolve().parents[2] / "docs"


def yaml_blocks(page: Path) -> list[str]:
    text = page.read_text()
    return re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


PAGES = [
    page
    for page in [DOCS / "configuration.md", *sorted((DOCS / "howto").glob("*.md"))]
    if yaml_blocks(page)
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_configurations_of_a_page_are_valid(page, tmp_path):
    """A block is the file that its first line names, or is laid over the test configuration."""
    written = []
    for number, block in enumerate(yaml_blocks(page)):
        named = re.match(r"# (\w+\.yaml)\n", block)
        values = yaml.safe_load(block)
        path = tmp_path / (named[1] if named else f"block{number}.yaml")
        if set(values) - {"defaults"} <= set(Site.model_fields):
            path.write_text(block)
            assert load_site(str(path)).name == path.stem
            continue
        path.write_text(block if "defaults" in values else f"defaults: test\n{block}")
        if "jet_pt_min" not in values:  # a part, which another block names
            written.append(path)
    for path in written:
        assert load_config(str(path)).name == path.stem
    assert written or page.stem == "sites"
