"""What the store promises: files whole or absent, manifests last, fingerprints canonical."""

import hashlib
import json
import os
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
    with pytest.raises(DataError, match=r"manifest\.json"):
        store.read_manifest(tmp_path)


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
