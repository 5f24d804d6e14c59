"""Servers that are near: which are asked, in which order, and what stays as it was."""

from pathlib import Path

import pytest

from tests.fileset.test_fileset_xrootd import checks_pass, served  # noqa: F401
from treasure.fileset.near import candidates, located

URL = "root://far.example:1094//store/a.root"


def test_without_a_site_a_url_stays_as_it_is(monkeypatch):
    monkeypatch.delenv("TREASURE_XROOTD_SERVERS", raising=False)
    assert candidates(URL) == [URL]
    assert located(URL) == URL


def test_near_servers_are_asked_in_order_and_the_own_one_last(monkeypatch):
    monkeypatch.setenv("TREASURE_XROOTD_SERVERS", "near.example, b.example:1095")
    monkeypatch.delenv("TREASURE_XROOTD_REPLACES", raising=False)
    assert candidates(URL) == [
        "root://near.example//store/a.root",
        "root://b.example:1095//store/a.root",
        URL,
    ]


@pytest.mark.parametrize("replaced", ["far.example", "other.example,far.example:1094"])
def test_only_the_servers_that_are_replaced(monkeypatch, replaced):
    monkeypatch.setenv("TREASURE_XROOTD_SERVERS", "near.example")
    monkeypatch.setenv("TREASURE_XROOTD_REPLACES", replaced)
    assert len(candidates(URL)) == 2
    assert candidates("root://third.example//a.root") == ["root://third.example//a.root"]


@pytest.mark.parametrize("other", ["/disk/a.root", "https://far.example/a.root", "s3://b/a.root"])
def test_what_is_not_xrootd_is_left_alone(monkeypatch, other):
    monkeypatch.setenv("TREASURE_XROOTD_SERVERS", "near.example")
    assert candidates(other) == [other]


@pytest.mark.slow
def test_a_real_server_that_is_near(served: Path):  # noqa: F811
    checks_pass(Path(__file__).with_name("near_checks.py"), served)
