"""Configuration: layers, parts, one-off changes, origins, and messages that help."""

from pathlib import Path

import pytest

from treasure.config.loading import CONFIG_DIRECTORY, available, load_config
from treasure.errors import ConfigError


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", available())
def test_every_shipped_configuration_is_valid(name):
    loaded = load_config(name)
    assert loaded.name == name
    assert loaded.config.datasets


@pytest.mark.parametrize(
    ("folder", "section"),
    [
        ("selections", "selection"),
        ("tokenizers", "tokenizer"),
        ("taggers", "tagger"),
        ("destinations", "destination"),
        ("comparisons", "comparison"),
    ],
)
def test_every_shipped_part_is_valid(folder, section):
    for part in available(folder):
        load_config("demo", (f"{section}={part}",))


def test_a_file_starts_from_another_and_its_own_values_win(tmp_path):
    path = write(tmp_path / "my.yaml", "defaults: demo\nselection: {jet_pt_min: 450}\nseed: 7\n")
    loaded = load_config(path)
    assert loaded.name == "my"
    assert loaded.config.seed == 7
    assert loaded.config.selection.jet_pt_min == 450
    assert loaded.config.selection.triggers == load_config("demo").config.selection.triggers
    assert loaded.origins["selection.jet_pt_min"] == path
    assert loaded.origins["selection.triggers"] == "config/selections/aoj.yaml"


def test_own_datasets_beside_inherited_ones_which_null_drops(tmp_path):
    text = """
defaults: aoj
datasets:
  jetht_2016g: null
  mine: {source: {kind: local, files: ["/somewhere/*.root"]}, label: 0, is_mc: true}
selection: {candidate_order: aoj}
"""
    config = load_config(write(tmp_path / "my.yaml", text)).config
    assert list(config.datasets) == ["mine"]
    assert config.datasets["mine"].source.files == ["/somewhere/*.root"]
    assert config.selection.candidate_order == "aoj"
    assert len(config.selection.triggers) == 85


def test_what_is_not_there_cannot_be_taken_away(tmp_path):
    path = write(tmp_path / "my.yaml", "defaults: aoj\ndatasets: {jetht_2016: null}\n")
    with pytest.raises(ConfigError, match=r"my.yaml: datasets.jetht_2016: nothing to take away; d"):
        load_config(path)
    with pytest.raises(ConfigError, match=r"^--set: comparison.tokenizers.learned_65: nothing to"):
        load_config("test", ("comparison.tokenizers.learned_65=null",))


def test_of_several_keys_that_do_not_fit_the_file_is_that_of_the_one_that_is_named():
    with pytest.raises(ConfigError, match=r"^--set: training_datasets: no dataset 'qcdd'"):
        load_config("test", ("training_datasets=[qcdd]",))


def test_a_mapping_of_another_kind_replaces_the_inherited_one(tmp_path):
    text = "defaults: demo\ndatasets: {qcd: {source: {kind: local, files: [a.root]}}}\n"
    config = load_config(write(tmp_path / "my.yaml", text)).config
    assert config.datasets["qcd"].source.kind == "local"
    assert config.datasets["qcd"].label == 0


def test_parts_beside_the_file_by_path_and_with_defaults(tmp_path):
    write(tmp_path / "tight.yaml", "defaults: aoj\njet_pt_min: 500\n")
    path = write(tmp_path / "my.yaml", "defaults: demo\nselection: ./tight.yaml\n")
    loaded = load_config(path)
    assert loaded.config.selection.jet_pt_min == 500
    assert len(loaded.config.selection.filters) == 8
    assert loaded.origins["selection.jet_pt_min"] == str(tmp_path / "tight.yaml")
    text = "defaults: demo\nselection: {defaults: aoj, jet_pt_min: 510}\n"
    assert load_config(write(tmp_path / "b.yaml", text)).config.selection.jet_pt_min == 510


def test_one_off_changes_win_and_are_known_as_such():
    loaded = load_config("demo", ("selection.jet_pt_min=350", "datasets.qcd.title='a, b'"))
    assert loaded.config.selection.jet_pt_min == 350
    assert loaded.config.datasets["qcd"].title == "a, b"
    assert loaded.origins["selection.jet_pt_min"] == "--set"
    assert load_config("demo").config.selection.jet_pt_min == 300


def test_values_may_refer_to_others(tmp_path):
    text = "defaults: demo\nseed: 5\nbenchmark: {seeds: ['${seed}', 6]}\n"
    path = write(tmp_path / "a.yaml", text)
    assert load_config(path).config.benchmark.seeds == (5, 6)


def test_an_edited_file_is_read_again(tmp_path):
    path = tmp_path / "my.yaml"
    write(path, "defaults: demo\nseed: 5\n")
    assert load_config(str(path)).config.seed == 5
    write(path, "defaults: demo\nseed: 66\n")
    assert load_config(str(path)).config.seed == 66


def fails(name: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(name, overrides)
    message = str(caught.value)
    assert 1 <= len(message.splitlines()) <= 2, message
    return message


def test_an_unknown_configuration_gets_the_nearest_match():
    message = fails("dmo")
    assert "did you mean 'demo'" in message and "aoj, compare" in message


def test_a_missing_file_is_named():
    assert "/nowhere/x.yaml" in fails("/nowhere/x.yaml")


def test_an_unknown_key_names_the_file_and_the_nearest_key(tmp_path):
    path = write(tmp_path / "my.yaml", "defaults: demo\nselection: {jet_ptmin: 3}\n")
    message = fails(path)
    assert f"{path}: selection.jet_ptmin" in message
    assert "did you mean 'jet_pt_min'" in message


def test_a_wrong_key_inside_a_kind_of_source_lists_the_keys_of_that_kind():
    message = fails("demo", "datasets.qcd.source.proces=qcd")
    assert "datasets.qcd.source.proces" in message
    assert "did you mean 'process'" in message and "allowed_bad_files" not in message


def test_a_wrong_type_and_a_wrong_value_say_what_was_found(tmp_path):
    path = write(tmp_path / "my.yaml", "defaults: demo\nselection: {jet_pt_min: abc}\n")
    assert "selection.jet_pt_min: found 'abc'" in fails(path)
    assert "found -1" in fails("demo", "selection.jet_pt_min=-1")
    assert "did you mean 'hardest'" in fails("demo", "selection.candidate_order=hardes")


def test_a_wrong_kind_names_those_that_are_allowed():
    message = fails("demo", "datasets.qcd.source.kind=locl")
    assert "--set: datasets.qcd.source.kind" in message and "did you mean 'local'" in message


def test_a_missing_value_is_named(tmp_path):
    text = "defaults: demo\ndatasets: {x: {source: {kind: local, files: [a]}, is_mc: true}}\n"
    assert "datasets.x.label: missing" in fails(write(tmp_path / "a.yaml", text))


def test_keys_that_do_not_fit_each_other_are_named_where_the_user_said_them(tmp_path):
    message = fails("aoj", "selection.softdrop_mass_min=9", "selection.softdrop_mass_max=2")
    assert message.startswith("--set: selection: softdrop_mass_min (9.0) is not below")
    source = "{kind: local, files: [a], entry_start: 5, entry_stop: 5}"
    entry = f"{{source: {source}, is_mc: true, label: 0}}"
    path = write(tmp_path / "a.yaml", f"defaults: demo\ndatasets: {{x: {entry}}}\n")
    assert "a.yaml: datasets.x.source: entry_stop (5) is not above entry_start" in fails(path)


def test_an_unknown_part_gets_the_nearest_match():
    message = fails("demo", "tokenizer=kmean")
    assert "config/tokenizers/" in message and "'kmeans'" in message


def test_an_unsafe_dataset_name_is_refused(tmp_path):
    entry = "{source: {kind: local, files: [a]}, is_mc: true, label: 0}"
    path = write(tmp_path / "a.yaml", f"defaults: demo\ndatasets: {{'../x': {entry}}}\n")
    assert "'../x'" in fails(path)


def test_bad_yaml_names_the_line(tmp_path):
    assert "line 2" in fails(write(tmp_path / "a.yaml", "seed: 1\nselection: ]\n"))
    assert "key: value" in fails(write(tmp_path / "b.yaml", "- a\n- b\n"))
    assert "b.yaml" in fails(write(tmp_path / "b.yaml", "a: 1\na: 2\n"))


def test_defaults_in_a_circle_are_refused(tmp_path):
    write(tmp_path / "a.yaml", f"defaults: {tmp_path}/b.yaml\n")
    write(tmp_path / "b.yaml", f"defaults: {tmp_path}/a.yaml\n")
    assert "circle" in fails(str(tmp_path / "a.yaml"))


def test_a_malformed_one_off_change_is_explained():
    for override in ("seed", "=3", "a..b=1", ".=1"):
        assert "section.key=value" in fails("demo", override)


def test_training_datasets_must_exist():
    assert "no dataset 'nope'" in fails("demo", "training_datasets=[nope]")


def test_every_option_is_documented():
    from pydantic import BaseModel

    from treasure.config.tree import Config

    seen: set[type] = set()

    def undocumented(model: type[BaseModel], prefix: str) -> list[str]:
        if model in seen:
            return []
        seen.add(model)
        missing = []
        for name, field in model.model_fields.items():
            missing += [] if field.description else [f"{prefix}{name}"]
            for inner in _models(field.annotation):
                missing += undocumented(inner, f"{prefix}{name}.")
        return missing

    def _models(annotation):
        from typing import get_args

        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return [annotation]
        return [m for argument in get_args(annotation) for m in _models(argument)]

    assert undocumented(Config, "") == []


def test_the_shipped_directory_is_found():
    assert (CONFIG_DIRECTORY / "demo.yaml").is_file()
