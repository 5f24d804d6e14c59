"""Input files that are truncated, damaged, gone or replaced: one clear error, then the same bytes.

Every fault is tried through the command line, and each is mended by bringing the file back.
"""

import random
import shutil

import pytest
import uproot

from tests.faults.running import Started, data, one_error
from tests.layout_a import FILTERS, TRIGGERS, random_events, write_events
from treasure.config.dataset import Dataset
from treasure.config.selection import Selection
from treasure.errors import DataError
from treasure.fileset.inspection import inspect_file
from treasure.skim.run import skim_files

COMPRESSIONS = {
    "zlib": uproot.ZLIB(1), "lzma": uproot.LZMA(1), "lz4": uproot.LZ4(1), "zstd": uproot.ZSTD(1),
    "none": None,
}  # fmt: skip
LOCAL = Dataset(label=1, is_mc=True, source={"kind": "local", "files": ["*.root"]})


def write(path, monkeypatch, compression, events=60, seed=1):
    create = uproot.recreate
    with monkeypatch.context() as patch:
        patch.setattr(uproot, "recreate", lambda where: create(where, compression=compression))
        return write_events(path, random_events(events, seed=seed))


def flipped(content, chosen, start=0, stop=None):
    """With one random bit inverted."""
    damaged = bytearray(content)
    damaged[chosen.randrange(start, stop or len(content))] ^= 1 << chosen.randrange(8)
    return bytes(damaged)


@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_every_flipped_bit_is_noticed_before_the_skim(tmp_path, monkeypatch, kind):
    path = write(tmp_path / "a.root", monkeypatch, COMPRESSIONS[kind])
    file = inspect_file(str(path), "Events", str(path))
    whole, chosen = path.read_bytes(), random.Random(kind)
    selection = Selection(triggers=list(TRIGGERS), filters=list(FILTERS))
    for _ in range(100):
        path.write_bytes(flipped(whole, chosen))
        with pytest.raises(DataError, match=r"a\.root: damaged, or changed .* checksum"):
            skim_files([file], "x", LOCAL, selection, tmp_path / "skim")
    assert not (tmp_path / "skim" / "cutflow.json").exists()
    path.write_bytes(whole)
    assert skim_files([file], "x", LOCAL, selection, tmp_path / "skim")["events"] == 60


@pytest.fixture(scope="module")
def undisturbed(indexed, tmp_path_factory):
    """Two files, and a store with the fileset and the jets that are made of them."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        for number, name in enumerate("ab"):
            write(folder / "files" / f"{name}.root", patch, uproot.ZSTD(1), seed=number)
    configuration(folder)
    run = started(folder, "SkimJets")
    assert run.finish() == 0, run.text
    return folder


def configuration(folder):
    (folder / "mine.yaml").write_text(
        f"defaults: aoj\n"
        f"selection: {{triggers: [{', '.join(TRIGGERS)}], filters: [{', '.join(FILTERS)}]}}\n"
        f"datasets:\n  mine: {{label: 1, is_mc: true, source: {{kind: local, files: "
        f"['files/*.root']}}}}\n"
    )


def started(folder, task, *more):
    return Started(
        folder / "store", folder / "scratch", "bash", "-c", f'cd {folder} && exec "$@"', "law",
        "law", "run", task, "--config", str(folder / "mine.yaml"), "--version", "v1", "--dataset",
        "mine", "--workers", "1", *more,
        TREASURE_CACHE=str(folder / "cache"),
    )  # fmt: skip


def truncated(share):
    return lambda path, whole, other: path.write_bytes(whole[: int(share * len(whole))])


def one_bit(path, whole, other):
    with uproot.open(path) as file:  # of a basket that is used
        start = int(file["Events"]["PFCands_pt"].member("fBasketSeek")[0])
    path.write_bytes(flipped(whole, random.Random(7), start + 90, start + 900))


FAULTS = {
    "empty": (truncated(0), r"size is 0, was"),
    "cut in the header": (truncated(0.0005), "size is"),
    "half": (truncated(0.5), "size is"),
    "nearly whole": (truncated(0.999), "size is"),
    "flipped bit": (one_bit, "damaged, or changed since the fileset was made"),
    "gone": (lambda path, whole, other: path.unlink(), "no such file"),
    "another": (lambda path, whole, other: path.write_bytes(other), "changed since the fileset"),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_changes_between_fileset_and_skim(undisturbed, tmp_path, fault):
    folder = tmp_path / "project"
    shutil.copytree(undisturbed, folder)
    configuration(folder)
    for name in ("store", "scratch"):
        shutil.rmtree(folder / name, ignore_errors=True)
    first = started(folder, "CreateFileset")
    assert first.finish() == 0, first.text
    path = folder / "files" / "b.root"
    whole = path.read_bytes()
    # Of the same size, with another UUID and other events.
    other = (folder / "files" / "a.root").read_bytes()
    other = (other + bytes(len(whole)))[: len(whole)]
    damage, reason = FAULTS[fault]
    damage(path, whole, other)
    run = started(folder, "SkimJets")
    assert run.finish() == 30, run.text
    error = one_error(run.text)
    assert f"{path}: " in error and reason in error
    assert not list(folder.glob("store/mine/SkimJets/**/*_0001/cutflow.json"))
    path.write_bytes(whole)
    again = started(folder, "SkimJets")
    assert again.finish() == 0 and again.is_clean(), again.text
    jets = {name: digest for name, digest in data(folder / "store").items() if "part_" in name}
    wanted = data(undisturbed / "store")
    assert sorted(jets.values()) == sorted(v for k, v in wanted.items() if "part_" in k)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0, 0.0005, 0.3, 0.999])
def test_a_file_that_is_truncated_before_the_fileset_is_made(undisturbed, tmp_path, share):
    folder = tmp_path / "project"
    shutil.copytree(undisturbed / "files", folder / "files")
    configuration(folder)
    path = folder / "files" / "b.root"
    truncated(share)(path, path.read_bytes(), None)
    run = started(folder, "SkimJets")
    assert run.finish() == 30, run.text
    assert "1 of 2 files cannot be used" in one_error(run.text)
    (reason,) = (line for line in run.text.splitlines() if f"{path}: " in line)
    assert "copy" in reason
    assert not list(folder.glob("store/mine/CreateFileset/**/*.json"))
