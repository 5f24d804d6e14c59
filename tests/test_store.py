"""What the store promises: files whole or absent, manifests last, fingerprints canonical."""

import errno
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treasure import store
from treasure.errors import DataError

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)  # fmt: skip


@given(json_values)
def test_canonical_json_says_the_same_value(value):
    assert json.loads(store.canonical_json(value)) == value


@given(st.dictionaries(st.text(), st.integers(), min_size=2))
def test_fingerprint_does_not_depend_on_the_order_of_keys(value):
    reordered = dict(reversed(value.items()))
    assert store.fingerprint(value) == store.fingerprint(reordered)


def test_fingerprint_is_the_sha256_of_compact_sorted_json():
    expected = hashlib.sha256(b'{"a":[1,2.5],"b":"\xc3\xa9"}').hexdigest()
    assert store.fingerprint({"b": "é", "a": [1, 2.5]}) == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"x"])
def test_fingerprint_refuses_what_json_cannot_say(value):
    with pytest.raises((ValueError, TypeError)):
        store.fingerprint({"key": value})


def test_atomic_file_appears_only_when_the_block_ends(tmp_path):
    final = tmp_path / "new" / "a.txt"
    with store.atomic_file(final) as temporary:
        assert temporary.parent == final.parent and temporary.suffix == ".txt"
        temporary.write_text("whole")
        assert not final.exists()
    assert final.read_text() == "whole"
    assert [p.name for p in final.parent.iterdir()] == ["a.txt"]


def test_atomic_file_keeps_the_old_content_when_the_block_fails(tmp_path):
    final = tmp_path / "a.txt"
    final.write_text("old")
    with pytest.raises(RuntimeError), store.atomic_file(final) as temporary:
        temporary.write_text("ha")
        raise RuntimeError
    assert final.read_text() == "old"
    assert list(tmp_path.iterdir()) == [final]


def test_atomic_file_complains_when_nothing_was_written(tmp_path):
    with pytest.raises(DataError, match="nothing was written"), store.atomic_file(tmp_path / "a"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["folder", "."])
def test_atomic_file_does_not_begin_where_a_folder_is(tmp_path, monkeypatch, place):
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="a folder; name a file"), store.atomic_file(place):
        raise AssertionError("nothing is written")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="no /proc, where no file can be made")
def test_atomic_file_says_that_no_file_can_be_made_there():
    with (
        pytest.raises(DataError, match=r"cannot write /proc/a\.txt: No such file"),
        store.atomic_file("/proc/a.txt") as temporary,
    ):
        temporary.write_text("x")


def test_atomic_file_leaves_alone_that_something_else_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError), store.atomic_file(tmp_path / "a.txt"):
        (tmp_path / "missing").read_text()


def test_a_killed_writer_leaves_no_final_file_and_its_leftover_is_found(tmp_path):
    code = (
        "import sys, time; from treasure import store\n"
        f"with store.atomic_file({str(tmp_path / 'a.h5')!r}) as t:\n"
        "    t.write_bytes(b'half'); print('ready', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "a.h5").exists()
    (leftover,) = tmp_path.iterdir()
    assert leftover.suffix == ".h5"
    assert store.discard_leftovers(tmp_path) == [leftover.name]
    assert list(tmp_path.iterdir()) == []


def test_discarding_leftovers_spares_everything_else(tmp_path):
    for name in (".hidden", "a.tmp", ".a.tmp.h5", "x" * 32 + ".tmp"):
        (tmp_path / name).write_text("mine")
    assert store.discard_leftovers(tmp_path) == []
    assert store.discard_leftovers(tmp_path / "absent") == []


def test_two_writers_do_not_meet(tmp_path):
    with store.atomic_file(tmp_path / "a") as one, store.atomic_file(tmp_path / "a") as two:
        assert one != two
        one.write_text("one")
        two.write_text("two")
    assert (tmp_path / "a").read_text() == "one"


@given(st.binary(max_size=4096))
def test_checksums_agree_with_the_standard_library(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("sums") / "x"
    path.write_bytes(data)
    found = store.checksums(path)
    assert found == {
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "adler32": f"{zlib.adler32(data):08x}",
    }


def test_checksums_of_more_than_one_block(tmp_path):
    data = os.urandom((1 << 20) + 17)
    (tmp_path / "x").write_bytes(data)
    assert store.checksums(tmp_path / "x")["adler32"] == f"{zlib.adler32(data):08x}"


def _finished(directory: Path) -> Path:
    store.write_text(directory / "sub" / "a.txt", "hello")
    store.write_manifest(directory, files=[directory / "sub" / "a.txt"], task="T", summary={"n": 1})
    return directory


def test_manifest_says_what_was_written_and_with_what(tmp_path):
    manifest = store.read_manifest(_finished(tmp_path))
    assert manifest["files"]["sub/a.txt"] == store.checksums(tmp_path / "sub" / "a.txt")
    assert manifest["task"] == "T" and manifest["summary"] == {"n": 1}
    assert {"treasure", "python", "numpy"} <= set(manifest["software"])
    store.verify(tmp_path)


def test_verify_names_the_damaged_file(tmp_path):
    _finished(tmp_path)
    (tmp_path / "sub" / "a.txt").write_text("hellO")
    with pytest.raises(DataError, match=r"sub/a\.txt: sha256 is"):
        store.verify(tmp_path)
    (tmp_path / "sub" / "a.txt").unlink()
    with pytest.raises(DataError, match="missing"):
        store.verify(tmp_path)


def test_manifest_refuses_files_that_are_absent_or_elsewhere(tmp_path):
    outside = tmp_path / "outside.txt"
    outside.write_text("x")
    with pytest.raises(DataError, match="not there"):
        store.write_manifest(tmp_path / "in", files=[tmp_path / "in" / "a"])
    with pytest.raises(DataError, match="outside"):
        store.write_manifest(tmp_path / "in", files=[outside])
    assert not (tmp_path / "in" / "manifest.json").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"files": []}', "\xff"])
def test_a_damaged_manifest_is_named(tmp_path, text):
    (tmp_path / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"manifest\.json") as error:
        store.read_manifest(tmp_path)
    assert str(error.value).endswith(f". Remove {tmp_path} and run again")
    assert str(error.value).lower().count("remove") == 1


def test_write_json_refuses_nan_and_leaves_nothing(tmp_path):
    with pytest.raises(ValueError):
        store.write_json(tmp_path / "a.json", {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_store_and_configuration_import_nothing_heavy():
    heavy = ["torch", "awkward", "coffea", "uproot", "h5py", "pyarrow", "matplotlib", "numpy"]
    check = f"import sys, treasure.store, treasure.config.loading as l; l.load_config('test'); \
print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_a_full_disk_is_said_in_one_line_and_the_old_content_stays(tmp_path):
    final = tmp_path / "a.txt"
    final.write_text("old")
    said = pytest.raises(DataError, match=r"cannot write .*a\.txt: No space left on device; mend")
    with said, store.atomic_file(final) as temporary:
        temporary.symlink_to("/dev/full")
        temporary.write_text("new")
    assert final.read_text() == "old" and list(tmp_path.iterdir()) == [final]


def test_a_full_disk_is_said_whatever_the_writer_makes_of_it(tmp_path):
    import h5py

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # bytes
    try:
        said = pytest.raises(DataError, match=r"cannot write .*a\.h5: File too large")
        with said, store.atomic_file(tmp_path / "a.h5") as path, h5py.File(path, "w") as file:
            file["x"] = list(range(10_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_the_number_of_the_system_is_found_in_the_text_of_hdf5(tmp_path):
    text = "flush failed (file write failed: file descriptor = 12, errno = 28, error message = …)"
    said = pytest.raises(DataError, match=r"cannot write .*a\.h5: No space left on device")
    with said, store.atomic_file(tmp_path / "a.h5"):
        raise RuntimeError(text)
    with pytest.raises(RuntimeError), store.atomic_file(tmp_path / "a.h5"):
        raise RuntimeError(text.replace("28", "5"))


def test_other_errors_of_the_system_stay_what_they_are(tmp_path):
    with pytest.raises(PermissionError), store.atomic_file(tmp_path / "a"):
        raise PermissionError(errno.EACCES, "Permission denied", "input")
    with pytest.raises(FileNotFoundError), store.atomic_file(tmp_path / "a"):
        (tmp_path / "input").read_bytes()


def test_a_file_in_the_way_of_a_directory_is_said(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match=r"cannot write .*: Not a directory"):
        store.write_text(tmp_path / "file" / "sub" / "a.txt", "x")
    with pytest.raises(DataError, match=r"cannot write .*: File exists"):
        store.make_directory(tmp_path / "file")
    store.make_directory(tmp_path)
    store.make_directory(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()


def _order_of_system_calls(monkeypatch, action):
    """Name and target of the calls that make a file durable, in their order; they all happen."""
    calls = []

    def recorded(name, real, target):
        def call(*arguments):
            calls.append((name, target(*arguments)))
            return real(*arguments)

        monkeypatch.setattr(os, name, call)

    def opened(handle):
        return Path(os.readlink(f"/proc/self/fd/{handle}")).name

    recorded("fsync", os.fsync, opened)
    recorded("replace", os.replace, lambda source, target: Path(target).name)
    action()
    return calls


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no /proc here")
def test_bytes_are_on_disk_before_the_name_and_the_name_before_success(tmp_path, monkeypatch):
    before = len(os.listdir("/proc/self/fd"))
    directory = tmp_path / "d"
    calls = _order_of_system_calls(monkeypatch, lambda: store.write_text(directory / "a", "x"))
    (_, temporary), *rest = calls
    assert calls[0][0] == "fsync" and temporary.startswith(".a.") and ".tmp" in temporary
    assert rest == [("replace", "a"), ("fsync", "d")]
    assert len(os.listdir("/proc/self/fd")) == before


def test_leftovers_are_found_below_and_by_their_whole_name(tmp_path):
    directory = tmp_path / "sub"
    directory.mkdir()
    hexadecimal = "0123456789abcdef" * 2
    (directory / f".a.{hexadecimal}.tmp").write_text("half")
    (directory / f".b.{hexadecimal}.tmp.h5").write_text("half")
    (directory / f".c.{hexadecimal}.tmp.d").mkdir()
    for spared in (f"a.{hexadecimal}.tmp", f".a.{hexadecimal[1:]}.tmp", f".a.{hexadecimal}.tmpx"):
        (directory / spared).write_text("mine")
    found = store.discard_leftovers(str(tmp_path))
    assert found == [f".a.{hexadecimal}.tmp", f".b.{hexadecimal}.tmp.h5"]
    assert len(list(directory.iterdir())) == 4


def test_what_is_no_json_is_said_with_the_remedy(tmp_path):
    with pytest.raises(DataError, match=r"a\.json: no such file"):
        store.read_json(tmp_path / "a.json")
    for content in (b"{", b"\xff"):
        (tmp_path / "a.json").write_bytes(content)
        with pytest.raises(DataError, match=r"a\.json: not valid JSON .* remove it and run again"):
            store.read_json(tmp_path / "a.json")


def test_json_for_people_has_one_text(tmp_path):
    store.write_json(tmp_path / "a.json", {"b": [1, {}], "a": "é"})
    expected = '{\n  "a": "é",\n  "b": [\n    1,\n    {}\n  ]\n}\n'
    assert (tmp_path / "a.json").read_bytes() == expected.encode()


def test_directories_may_be_given_as_text(tmp_path):
    _finished(tmp_path)
    path = store.write_manifest(str(tmp_path), files=[str(tmp_path / "sub" / "a.txt")])
    assert path == tmp_path / "manifest.json"
    store.verify(str(tmp_path))
    (tmp_path / "sub" / "a.txt").write_text("longer than before")
    with pytest.raises(DataError, match=r"size is 18, but .* says 5"):
        store.verify(str(tmp_path))
