"""Section `comparison`: entries chosen as tokenizers are, budgets, and names that must exist."""

from pathlib import Path

import pytest

from treasure.config.loading import load_config
from treasure.config.tokenizer import TokenizerConfig
from treasure.errors import ConfigError


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def comparison(tmp_path, text):
    return load_config(write(tmp_path / "my.yaml", f"defaults: test\ncomparison:\n{text}"))


def test_an_entry_is_a_name_or_a_mapping_that_may_start_from_one(tmp_path):
    loaded = comparison(
        tmp_path,
        """
  tokenizers:
    plain: kmeans
    changed: {defaults: kmeans, quantizer: {codes: 99}}
    learned: {training: {epochs: 7}}
""",
    )
    found, origins = loaded.config.comparison.tokenizers, loaded.origins
    assert list(found) == ["bins", "learned", "learned_64", "plain", "changed"]
    assert found["plain"].quantizer.kind == found["changed"].quantizer.kind == "kmeans"
    assert found["plain"].quantizer.codes == 8192 and found["changed"].quantizer.codes == 99
    # what is inherited is changed, and not replaced
    assert found["learned"].training.epochs == 7 and found["learned"].quantizer.codes == 512
    prefix = "comparison.tokenizers"
    assert origins[f"{prefix}.plain.quantizer.codes"] == "config/tokenizers/kmeans.yaml"
    assert origins[f"{prefix}.changed.quantizer.codes"] == str(tmp_path / "my.yaml")
    assert origins[f"{prefix}.learned_64.quantizer.codes"] == "config/comparisons/test.yaml"
    assert origins[f"{prefix}.learned.training.epochs"] == str(tmp_path / "my.yaml")


def test_another_part_file_replaces_the_inherited_comparison(tmp_path):
    path = write(tmp_path / "my.yaml", "defaults: demo\ncomparison: test\n")
    loaded = load_config(path)
    assert list(loaded.config.comparison.tokenizers) == ["bins", "learned", "learned_64"]
    assert not any(key.startswith("comparison.tokenizers.omnijet") for key in loaded.origins)


def test_a_comparison_of_ones_own_has_tokenizers_beside_it(tmp_path):
    write(tmp_path / "mine.yaml", "defaults: kmeans\nquantizer: {codes: 77}\n")
    write(
        tmp_path / "both.yaml",
        "baseline: a\nchosen: b\ntokenizers: {a: kmeans, b: ./mine.yaml}\n",
    )
    path = write(tmp_path / "my.yaml", "defaults: test\ncomparison: ./both.yaml\n")
    found = load_config(path).config.comparison.tokenizers
    assert [entry.quantizer.codes for entry in found.values()] == [8192, 77]


def test_null_drops_an_entry():
    before = load_config("test").config.comparison
    assert before.curve == ("learned_64",)
    found = load_config("test", ("comparison.tokenizers.learned_64=null",)).config.comparison
    assert list(found.tokenizers) == ["bins", "learned"]
    assert found.curve == ()  # nor is it a point of the curve


def test_an_entry_with_a_budget_of_its_own_can_be_dropped(tmp_path):
    text = "defaults: test\ncomparison: {seconds_of: {learned_64: 9}, curve: []}\n"
    write(tmp_path / "base.yaml", text)
    drop = "defaults: ./base.yaml\ncomparison: {tokenizers: {learned_64: null}, seconds_of: %s}\n"
    path = write(tmp_path / "my.yaml", drop % "{learned_64: null}")
    assert list(load_config(path).config.comparison.tokenizers) == ["bins", "learned"]
    with pytest.raises(ConfigError, match="seconds_of: no tokenizer 'learned_64'"):
        load_config(write(tmp_path / "other.yaml", drop % "{}"))


def test_the_budget_is_that_of_all_but_for_exceptions(tmp_path):
    text = """
  seconds: 60
  seconds_of: {learned: 600, learned_64: null}
  tokenizers: {learned_64: {training: {max_seconds: 7}}}
"""
    found = comparison(tmp_path, text).config.comparison
    limits = {name: found.trained(name).training.max_seconds for name in found.tokenizers}
    assert limits == {"bins": 60, "learned": 600, "learned_64": 7}
    assert load_config("test").config.comparison.trained("bins").training.max_seconds is None


def test_what_is_trained_is_a_plain_tokenizer_without_its_title_and_check():
    config = load_config("test").config
    trained = config.comparison.trained("learned")
    assert type(trained) is TokenizerConfig
    assert trained.check == TokenizerConfig().check
    assert trained.quantizer == config.tokenizer.quantizer


def test_points_of_the_curve_have_one_seed_and_no_classifiers():
    found = load_config("test", ("comparison.seeds=[3,4]",)).config.comparison
    assert found.seeds_of("learned") == (3, 4) and found.seeds_of("learned_64") == (3,)
    assert found.measured("learned").classifiers and not found.measured("learned_64").classifiers


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("comparison=dmo", "--set: comparison: no 'dmo' in config/comparisons/; did you mean"),
        ("comparison.tokenizers.x=kmean", "x: no 'kmean' in config/tokenizers/; did you mean"),
        ("comparison.tokenizers.bins.training.epoch=3", "unknown key; did you mean 'epochs'"),
        ("comparison.chosen=lerned", "chosen: no tokenizer 'lerned'; there are bins, learned,"),
        ("comparison.tokenizers.learned=null", "chosen: no tokenizer 'learned'"),
        ("comparison.curve=[bins]", "baseline: 'bins' is in curve"),
        ("comparison.seeds=[1,1]", "none of them negative or twice"),
        ("comparison.seconds_of={bins: -1}", "bins: expected more than 0 s"),
        ("comparison.seconds_of={bin: 1}", "seconds_of: no tokenizer 'bin'"),
        ("comparison.seconds_of={bins:1}", "seconds_of: no tokenizer 'bins:1'"),  # no space
        ("comparison.tokenizers={a b: kmeans}", "letters, digits"),
    ],
)
def test_mistakes_are_told_in_a_line(override, says):
    with pytest.raises(ConfigError) as caught:
        load_config("test", (override,))
    message = str(caught.value)
    assert says in message and len(message.splitlines()) == 1, message
