"""Sites: those that are shipped are valid, what is said wins, and mistakes are told in one line."""

import pytest

from treasure.config.loading import available
from treasure.config.site import SITES, Resources, load_site, not_filled_in
from treasure.errors import ConfigError


def written(tmp_path, text: str) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", available(SITES))
def test_every_shipped_site_is_valid_and_says_what_it_is(name):
    loaded = load_site(name)
    assert loaded.name == name
    assert loaded.config.description
    asked = loaded.config.resources_of("SkimJets")
    assert asked.memory_gb and asked.hours and asked.cpus


def test_the_default_changes_nothing():
    site = load_site("local").config
    assert (site.workflow, site.store, site.scratch) == ("local", None, None)
    assert site.xrootd.redirectors == []


def test_a_stage_asks_for_what_it_says_and_else_for_the_default(tmp_path):
    text = "resources: {default: {hours: 9}, SkimJets: {memory_gb: 3}, MyStage: {gpus: 1}}\n"
    site = load_site(written(tmp_path, text)).config
    assert site.resources_of("SkimJets") == Resources(memory_gb=3, hours=9, cpus=1, gpus=0)
    assert site.resources_of("WriteH5") == Resources(memory_gb=2, hours=9, cpus=1, gpus=0)
    assert site.resources_of("MyStage").gpus == 1


def test_a_site_starts_from_another_and_its_own_values_win(tmp_path):
    path = written(tmp_path, "defaults: generic_slurm\nslurm: {partition: long, account: phys}\n")
    loaded = load_site(path)
    assert loaded.config.workflow == "slurm"
    assert (loaded.config.slurm.partition, loaded.config.slurm.account) == ("long", "phys")
    assert loaded.origins["slurm.partition"] == path
    assert loaded.origins["workflow"] == "config/sites/generic_slurm.yaml"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("slurm: {partion: x}", "slurm.partion: unknown key; did you mean 'partition'?"),
        ("workflow: slrum", "workflow: found 'slrum'; did you mean 'slurm'?"),
        ("resources: {SkimJet: {cpus: 2}}", "no stage 'SkimJet'; did you mean 'SkimJets'?"),
        ("resources: {SkimJets: {cpus: 0}}", "resources.SkimJets.cpus: found 0"),
        ("slurm: {extra: {'--exclude': x}}", "'--exclude' has dashes; write 'exclude'"),
        ("environment: {kind: container}", "an image is needed"),
        ("xrootd: {redirectors: ['root://a.b//']}", "is not a host or host:port"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_file(tmp_path, text, told):
    path = written(tmp_path, text + "\n")
    with pytest.raises(ConfigError) as error:
        load_site(path)
    assert str(error.value).startswith(path)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_the_name_of_no_site_has_a_nearest_match():
    with pytest.raises(ConfigError, match="did you mean 'generic_slurm'"):
        load_site("generic_slrum")


def test_a_site_says_what_is_still_to_be_filled_in(tmp_path):
    assert not_filled_in(load_site("generic_slurm").config) == []
    assert not_filled_in(load_site("fnal_lpc").config) == ["store", "environment.image"]
    mine = written(tmp_path, "defaults: fnal_lpc\nstore: /here\nenvironment: {image: my.sif}\n")
    assert not_filled_in(load_site(mine).config) == []
