"""Identity, path, manifest and atomicity of a stage."""

import argparse
import contextlib
import logging
import subprocess
import sys
import time
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st
from luigi.cmdline_parser import CmdlineParser

import tasks.jets
from tasks.base import DatasetTask
from tasks.benchmark import BenchmarkTopTagging
from tasks.fileset import CreateFileset
from tasks.jets import WriteH5
from tasks.parameters import OverridesParameter
from tasks.release import PublishFDP
from tasks.simulation import SimulatePFNano
from tasks.skim import MergeCutflows, SkimJets
from tasks.stage import StageTarget
from tasks.tokenizer import TrainTokenizer
from tasks.tokens import TokenizeShards
from treasure import store
from treasure.errors import ConfigError, DataError
from treasure.fileset.model import Fileset, FilesetFile

CHAIN = (
    SimulatePFNano, CreateFileset, SkimJets, MergeCutflows, WriteH5,
    TrainTokenizer, TokenizeShards, PublishFDP, BenchmarkTopTagging,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("TREASURE_STORE", str(tmp_path))


def fingerprints(**parameters):
    return {task.__name__: task(**parameters).fingerprint for task in CHAIN}


def changed(**parameters):
    before, after = fingerprints(), fingerprints(**parameters)
    return [name for name in before if before[name] != after[name]]


def names(*tasks):
    return [task.__name__ for task in tasks]


def test_variables_in_the_place_of_the_store(tmp_path, monkeypatch):
    monkeypatch.setenv("PLACE", str(tmp_path / "there"))
    monkeypatch.setenv("TREASURE_STORE", "$PLACE/store")
    directory = CreateFileset(version="v1", config="test").directory
    assert directory.is_relative_to(tmp_path / "there" / "store")
    for place in ("$NOPE/store", f"{tmp_path}/a $ b"):
        monkeypatch.setenv("TREASURE_STORE", place)
        with pytest.raises(ConfigError, match=r"TREASURE_STORE: .* has a \$, of a variable"):
            CreateFileset(version="v1", config="test").directory  # noqa: B018


def test_fingerprints_are_stable_and_distinct():
    one = fingerprints()
    assert one == fingerprints()
    assert len(set(one.values())) == len(CHAIN)


@pytest.mark.parametrize(
    ("override", "first"),
    [
        ("datasets.qcd.source.pthat_min=310", 0),
        ("datasets.qcd.source.n_files=3", 1),
        ("selection.jet_pt_min=350", 2),
        ("datasets.qcd.files_per_branch=2", 1),
        ("splits={train: 0.6, val: 0.2, test: 0.2}", 4),
        ("datasets.qcd.label=3", 4),
        ("datasets.qcd.shard_name=RunG", 4),
        ("jet_table.jets_per_shard=50", 4),
        ("tokenizer.training.epochs=99", 5),
        ("release.title=other", 7),
        ("tagger.epochs=99", 8),
    ],
)
def test_a_change_redoes_what_depends_on_it_and_nothing_else(override, first):
    assert changed(set=(override,)) == names(*CHAIN[first:])


def test_a_title_and_the_number_of_workers_change_no_fingerprint():
    assert changed(set=("datasets.qcd.title=other",)) == []


def test_a_change_in_one_dataset_leaves_the_stages_of_the_other_alone():
    override = ("datasets.qcd.source.pthat_min=310",)
    for task in CHAIN[:5]:
        before = task(dataset="ttbar").fingerprint
        assert task(dataset="ttbar", set=override).fingerprint == before


def test_version_is_part_of_the_identity_of_all_that_follows():
    assert changed(version="v2") == names(*CHAIN)


def test_branches_share_the_fingerprint_and_have_a_directory_each(tmp_path):
    whole = WriteH5(dataset="ttbar")
    branch = whole.as_branch(3)
    assert branch.fingerprint == whole.fingerprint
    expected = tmp_path / "demo" / "WriteH5" / "ttbar" / f"v1-{whole.fingerprint[:10]}"
    assert whole.directory == expected
    assert branch.directory == expected / "ttbar_batch3"
    named = WriteH5(dataset="ttbar", branch=3, set=("datasets.ttbar.shard_name=RunG",))
    assert named.directory.name == "RunG_batch3"
    assert SkimJets(dataset="ttbar", branch=3).directory.name == "ttbar_0003"


def test_the_branches_of_a_simulated_dataset_are_known_before_its_fileset():
    overrides = ("datasets.qcd.source.n_files=7", "datasets.qcd.files_per_branch=3")
    assert len(SimulatePFNano(set=overrides).branch_map) == 7
    assert len(SkimJets(set=overrides).branch_map) == 3
    # those of shards follow from the jets that there are
    assert (
        WriteH5(set=overrides).branch_map == TokenizeShards(set=overrides).branch_map == {0: None}
    )


def test_a_branch_requires_the_same_branch_of_its_dataset_and_all_of_the_tokenizer():
    requirements = TokenizeShards(dataset="ttbar", branch=2).requires()
    assert requirements["jets"].branch == 2 and requirements["jets"].dataset == "ttbar"
    assert requirements["tokenizer"] == TrainTokenizer()


def test_a_stage_is_complete_with_its_manifest_and_not_before(tmp_path):
    task = CreateFileset()
    assert not task.complete()
    with task.stage() as stage:
        store.write_text(stage.directory / "fileset.json", "{}")
        stage.summary = {"files": 0}
        assert not task.complete()
    assert task.complete()
    manifest = task.output().manifest
    assert manifest["task"] == "CreateFileset"
    assert manifest["fingerprint"] == task.fingerprint
    assert manifest["summary"] == {"files": 0}
    assert set(manifest["files"]) == {"fileset.json"}


def test_a_failed_stage_is_not_complete_and_the_next_run_cleans_up():
    task = CreateFileset()
    with pytest.raises(RuntimeError), task.stage() as stage:
        leftover = stage.directory / f".x.{'0' * 32}.tmp.json"
        leftover.write_text("half")
        raise RuntimeError
    assert not task.complete()
    with task.stage():
        assert not leftover.exists()


def test_removing_a_target_removes_the_whole_directory():
    task = CreateFileset()
    with task.stage() as stage:
        store.write_text(stage.directory / "a", "a")
    task.output().remove()
    assert not task.directory.exists() and not task.output().remove()


def test_an_empty_directory_is_not_complete(tmp_path):
    (tmp_path / "x").mkdir()
    assert not StageTarget(str(tmp_path / "x")).exists()


def test_a_damaged_input_is_named_with_the_remedy():
    task = CreateFileset()
    with task.stage() as stage:
        store.write_text(stage.directory / "a", "a")
    assert task.output().verified() == task.directory
    (task.directory / "a").write_text("b")
    with pytest.raises(DataError, match="Remove"):
        task.output().verified()


class Slow(DatasetTask):
    """A stage that says when it works."""

    def run(self):
        with self.stage():
            print("working", flush=True)


@pytest.mark.parametrize("first_ends_well", [True, False])
def test_a_second_process_waits_and_works_only_if_the_first_did_not_end_well(first_ends_well):
    code = "from tests.tasks.test_base import Slow; Slow().run()"
    with contextlib.suppress(RuntimeError), Slow().stage():
        other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert "another process is writing" in other.stdout.readline()
        time.sleep(0.2)
        assert other.poll() is None
        if not first_ends_well:
            raise RuntimeError
    rest, _ = other.communicate(timeout=60)
    assert other.returncode == 0 and Slow().complete()
    assert ("working" in rest, "done by another process" in rest) == (
        (False, True) if first_ends_well else (True, False)
    )


def test_provenance_lists_every_stage_once_in_the_order_of_the_chain():
    labels = [stage["label"] for stage in BenchmarkTopTagging().provenance()]
    assert labels[0] == "SimulatePFNano qcd" and labels[-1] == "BenchmarkTopTagging"
    assert len(labels) == len(set(labels)) == 15
    assert labels.index("WriteH5 ttbar") < labels.index("TrainTokenizer")


@pytest.mark.parametrize("version", ["", "a/b", ".hidden", " v1", "../v1"])
def test_a_version_that_cannot_stand_in_a_path_is_refused(version):
    with pytest.raises(ConfigError, match="--version"):
        CreateFileset(version=version)


def test_a_wrong_dataset_gets_the_nearest_match():
    with pytest.raises(ConfigError, match="did you mean 'ttbar'"):
        SkimJets(dataset="tbar")


def test_simulating_a_dataset_that_is_not_simulated_is_refused():
    task = SimulatePFNano(config="aoj")
    with pytest.raises(ConfigError, match="nothing to generate"):
        task.get_branch_map()


_key = st.from_regex(r"[a-z]{1,5}(\.[a-z]{1,5}){0,2}", fullmatch=True)
_value = st.one_of(
    st.integers().map(str),
    st.lists(st.integers(0, 9)).map(str),
    st.text("ab ,;", max_size=8).map(lambda text: f"'{text}'"),
)


@given(st.lists(st.tuples(_key, _value).map("=".join), max_size=4))
def test_overrides_survive_being_handed_on(overrides):
    parameter = OverridesParameter()
    assert parameter.parse(parameter.serialize(tuple(overrides))) == tuple(overrides)


def fresh(task, **parameters):
    """A task as another process makes it: luigi hands out the same object twice in one."""
    task.clear_instance_cache()
    return task(**parameters)


def _fileset(*names):
    files = [
        FilesetFile(uri=f"/{n}", tree="Events", entries=1, size=1, checksum=None, uuid=n)
        for n in names
    ]
    return Fileset(dataset="x", files=files).model_dump(mode="json")


def _local_config(tmp_path, pattern):
    path = tmp_path / "local.yaml"
    path.write_text(
        "defaults: aoj\ndatasets:\n  jetht_2016g: null\n  x:\n    label: 0\n    is_mc: true\n"
        f"    source: {{kind: local, files: [{pattern!r}]}}\n"
    )
    return str(path)


def test_a_relative_path_is_another_dataset_in_another_folder(tmp_path, monkeypatch):
    config = _local_config(tmp_path, "data/*.root")
    settings = {}
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        settings[name] = CreateFileset(config=config).settings()
    assert settings["one"] != settings["two"]
    assert settings["two"]["source"]["files"] == [str(tmp_path / "two" / "data" / "*.root")]


def test_results_of_other_files_than_the_fileset_lists_now_are_refused(tmp_path):
    config = _local_config(tmp_path, "/data/*.root")
    fileset = CreateFileset(config=config)

    def list_files(*names):
        fileset.output().remove()
        _finish(fileset, fileset=_fileset(*names))

    list_files("b")
    before = SkimJets(config=config, branch=0)
    with before.stage():
        pass
    assert SkimJets(config=config).branch_map[0][0].uuid == "b"
    list_files("b", "c")
    assert len(fresh(SkimJets, config=config).branch_map) == 2
    list_files("a", "b")
    with pytest.raises(DataError, match=r"x_0000: made of other files .* --version"):
        fresh(SkimJets, config=config).get_branch_map()


def _finish(task, **content):
    """A stage that somebody ran: complete, with some JSON files."""
    with task.stage() as stage:
        for name, value in content.items():
            store.write_json(stage.directory / f"{name}.json", value)


def _merged(*jets, files="a", most=2):
    branches = [{"branch": number, "jets": n} for number, n in enumerate(jets)]
    return {
        "jets": sum(jets), "most_jets_in_event": most, "branches": branches,
        "files": [{"uuid": name} for name in files],
    }  # fmt: skip


SMALL = {"set": ("jet_table.jets_per_shard=10",)}


def test_shards_follow_from_the_merged_cutflow_and_need_the_skims_that_they_overlap():
    _finish(MergeCutflows(**SMALL), cutflow=_merged(4, 12, 0, 3))
    for task in (WriteH5, TokenizeShards):
        assert sorted(task(**SMALL).branch_map) == [0, 1]
    needed = []
    for branch in range(2):
        requirements = WriteH5(branch=branch, **SMALL).requires()
        assert requirements["cutflow"] == MergeCutflows(**SMALL)
        needed.append([skim.branch for skim in requirements["skim"]])
    assert needed == [[0, 1], [1, 2, 3]]
    assert WriteH5(branch=1, **SMALL).branch_data[1] == (6, 15)
    whole = WriteH5(**SMALL).workflow_requires()
    assert whole == {"cutflow": MergeCutflows(**SMALL)}


def test_what_is_not_known_yet_is_not_complete_whatever_was_left():
    parameters = SMALL | {"dataset": "ttbar"}
    _finish(MergeCutflows(**parameters), cutflow=_merged(15))
    for branch in range(2):
        _finish(WriteH5(branch=branch, **parameters))
    whole = fresh(WriteH5, **parameters)
    assert whole.complete() and fresh(WriteH5, branch=0, **parameters).complete()
    MergeCutflows(**parameters).output().remove()
    whole = fresh(WriteH5, **parameters)
    assert not whole.complete() and not fresh(WriteH5, branch=0, **parameters).complete()
    _finish(MergeCutflows(**parameters), cutflow=_merged(15))
    assert whole.complete()


def test_branches_asked_for_before_they_are_known_are_the_ones_that_run():
    parameters = SMALL | {"branches": ((1,),)}
    whole = WriteH5(**parameters)
    assert not whole.complete()
    _finish(MergeCutflows(**SMALL), cutflow=_merged(25))
    assert list(whole.branch_map) == [1]


@pytest.mark.parametrize(
    ("family", "branches", "told"),
    [
        (SkimJets, ((7,),), r"--branches 7: SkimJets qcd has branches 0 to 1$"),
        (SkimJets, ((0,), (7,)), r"--branches 7: SkimJets qcd has branches 0 to 1$"),
        (SkimJets, ((2, 9),), r"--branches 2:9: SkimJets qcd has"),
        (SimulatePFNano, ((5, None),), r"--branches 5:: SimulatePFNano qcd has"),
    ],
)
@pytest.mark.parametrize("workflow", ["local", "slurm"])
def test_branches_that_do_not_exist_are_refused(family, branches, told, workflow, tmp_path):
    task = family(config="test", branches=branches, workflow=workflow)
    for look in (task.complete, task.output, lambda: task.branch_map):
        with pytest.raises(ConfigError, match=told):
            look()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("branches", [((0, 10),), ((1,),), ((None, 1),), ((0, 1), (1,))])
def test_a_range_may_be_longer_than_there_are_branches(branches):
    assert set(SimulatePFNano(config="test", branches=branches).branch_map) <= {0, 1}


@pytest.mark.parametrize("family", [SimulatePFNano, SkimJets])
def test_a_branch_that_does_not_exist_is_refused(family, tmp_path):
    told = rf"--branch 9: {family.__name__} qcd has branches 0 to 1$"
    for look in ("complete", "output", "deps"):
        with pytest.raises(ConfigError, match=told):
            getattr(family(config="test", branch=9), look)()
    assert not list(tmp_path.iterdir())


def test_a_shard_that_does_not_exist_is_refused_once_the_shards_are_known():
    missing = {"branch": 5, **SMALL}
    assert not fresh(WriteH5, **missing).complete()
    _finish(MergeCutflows(**SMALL), cutflow=_merged(25))
    with pytest.raises(ConfigError, match=r"--branch 5: WriteH5 \S+ has branches 0 to"):
        fresh(WriteH5, **missing).deps()


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("--max-runtime abc", "--max-runtime abc: cannot parse duration string 'abc'"),
        ("--poll-interval=abc", "--poll-interval abc: cannot parse duration string 'abc'"),
        ("--retries abc", "--retries abc: expected a whole number"),
        ("--SkimJets-retries abc", "--retries abc: expected a whole number"),
        ("--branch abc", "--branch abc: expected a whole number"),
        ("--branches x", "--branches x: range 'x' contains non-integer elements"),
    ],
)
def test_a_value_that_cannot_be_read_is_told_with_its_option(option, told):
    line = ["SkimJets", "--module", "tasks.skim", "--version", "v1", *option.split()]
    with CmdlineParser.global_instance(line) as parser, pytest.raises(ConfigError) as error:
        parser.get_task_obj()
    assert str(error.value) == told


def test_shards_of_other_files_than_the_fileset_lists_now_are_refused(tmp_path):
    config = _local_config(tmp_path, "/data/*.root")
    _finish(MergeCutflows(config=config), cutflow=_merged(5, files="ab"))
    _finish(fresh(WriteH5, config=config, branch=0))
    assert fresh(WriteH5, config=config).complete()
    _finish(CreateFileset(config=config), fileset=_fileset("a", "b"))
    assert fresh(WriteH5, config=config).complete()
    CreateFileset(config=config).output().remove()
    _finish(CreateFileset(config=config), fileset=_fileset("a", "c"))
    with pytest.raises(DataError, match=r"MergeCutflows/.*: made of other files .* --version"):
        fresh(WriteH5, config=config).get_branch_map()
    # A file of which the range of entries leaves nothing is listed, and read by no branch.
    CreateFileset(config=config).output().remove()
    listed = _fileset("a", "b", "c")
    listed["files"][2] |= {"entries": 3, "entry_start": 5}
    _finish(CreateFileset(config=config), fileset=listed)
    assert fresh(WriteH5, config=config).complete()
    CreateFileset(config=config).output().remove()
    _finish(CreateFileset(config=config), fileset=_fileset("a", "c"))
    MergeCutflows(config=config).output().remove()
    _finish(MergeCutflows(config=config), cutflow=_merged(5, files="ac"))
    with pytest.raises(DataError, match=r"x_batch0: made of other files .* --version"):
        fresh(WriteH5, config=config).get_branch_map()


def test_what_only_says_how_files_are_read_changes_no_fingerprint(tmp_path):
    config = _local_config(tmp_path, "/data/*.root")
    before = CreateFileset(config=config).fingerprint
    for change, is_same in (
        ("stage=true", True),
        ("verify=false", True),
        ("entry_stop=5", False),
        ("limit_files=1", False),
        ("tree=x", False),
    ):
        after = CreateFileset(config=config, set=(f"datasets.x.source.{change}",)).fingerprint
        assert (after == before) == is_same, change
    path = tmp_path / "portal.yaml"
    path.write_text(
        "defaults: aoj\ndatasets:\n  jetht_2016g: null\n  x: {label: 0, is_mc: true,"
        " source: {kind: cern_open_data, record: 31308}}\n"
    )
    before = CreateFileset(config=str(path)).fingerprint
    for change, is_same in (
        ("offline=true", True), ("portal=http://a", True), ("folder=/a", True),
        ("record=31316", False), ("protocol=https", False),
    ):  # fmt: skip
        after = CreateFileset(config=str(path), set=(f"datasets.x.source.{change}",)).fingerprint
        assert (after == before) == is_same, change


def test_the_merged_cutflow_is_where_the_library_writes_it():
    from treasure.skim.merge import MERGED

    assert tasks.jets.MERGED == MERGED


def test_provenance_is_the_same_whether_the_stage_ran_before_or_not():
    task = CreateFileset()
    before = task.provenance()
    with task.stage() as stage:
        store.write_text(stage.directory / "a", "a")
    assert task.provenance() == before


def test_a_target_loses_its_manifest_first(tmp_path, monkeypatch):
    task = CreateFileset()
    with task.stage() as stage:
        store.write_text(stage.directory / "a", "a")
    seen = []
    monkeypatch.setattr("shutil.rmtree", lambda path: seen.append(task.complete()))
    assert task.output().remove()
    assert seen == [False]


def test_set_may_be_repeated_on_the_command_line():
    parser = argparse.ArgumentParser()
    parser.add_argument("--set", **OverridesParameter._parser_kwargs("set"))
    values = parser.parse_args(["--set", "a=1", "--set", "b=[1,2]"]).set
    assert OverridesParameter().parse(values) == ("a=1", "b=[1,2]")


def test_one_summary_line_says_what_came_out_and_where(capsys):
    task = CreateFileset()
    with task.stage() as stage:
        stage.progress(1, 2)
        stage.summary = {"files": 1234, "share": 0.5, "events_per_second": 9.0, "seconds": 7}
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("CreateFileset qcd: files 1,234, share 0.5 in 0.")
    assert line.endswith(f"→ {task.directory}")
    manifest = task.output().manifest
    assert manifest["summary"] == {"files": 1234, "share": 0.5}
    assert set(manifest["timing"]) == {"events_per_second", "seconds"}


@pytest.mark.parametrize("kind", ["formatted by luigi", "attached"])
def test_an_error_that_the_user_can_mend_is_one_line(capsys, kind):
    logger = logging.getLogger("luigi-interface")
    try:
        raise ConfigError("datasets.x: what is wrong\nand what to do")
    except ConfigError:
        if kind == "attached":
            logger.error("[pid %s] Worker %s failed    %s", 1, "w", "SkimJets(x)", exc_info=True)
        else:
            logger.warning("Will not run %s:\n%s", "SkimJets(x)", traceback.format_exc())
    where = " in SkimJets(x)" if kind == "attached" else ""
    captured = capsys.readouterr()
    assert captured.err == f"error{where}: datasets.x: what is wrong\nand what to do\n"
    assert captured.out == ""
