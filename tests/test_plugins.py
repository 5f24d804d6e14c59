"""Classes of the user's own, named as ``package.module:Class``."""

import sys

import pytest

from treasure.errors import ConfigError
from treasure.plugins import check_own


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module that must not be imported."""
    (tmp_path / "mine.py").write_text("class Grid:\n    pass\n\nOther = Grid\nassert False\n")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "mine.py"


def test_a_class_that_is_there_is_found_without_an_import(module):
    check_own("mine:Grid")
    check_own("mine:Other")
    assert "mine" not in sys.modules


@pytest.mark.parametrize("kind", ["nine:Grid", "no.such.package:Grid"])
def test_a_module_that_is_not_there_is_said(module, kind):
    with pytest.raises(
        ConfigError, match=f"'{kind}': there is no module {kind[:-5]}; it is looked"
    ):
        check_own(kind)


def test_a_name_that_the_module_does_not_have_is_said_with_its_classes(module):
    with pytest.raises(ConfigError, match=r"'mine:Grit': .*mine.py has no Grit; its classes: Grid"):
        check_own("mine:Grit")
    module.write_text("from somewhere import *\n")
    check_own("mine:Grit")  # which nobody can know
