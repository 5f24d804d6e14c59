"""Publishing: complete, verified, never changed, and resumed after a kill."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.release.workshop import Workshop, contents
from treasure.config.release import Destination
from treasure.errors import ConfigError, DataError
from treasure.release.destinations import Place, publish
from treasure.release.read import Release
from treasure.store import Checksums, checksums

HERE = Destination(kind="local", path="out")


def test_every_file_arrives_and_the_receipt_says_so(made: Path, tmp_path: Path) -> None:
    receipt = publish(made, HERE, base=tmp_path)
    expected = contents(made)
    assert contents(tmp_path / "out") == expected
    assert receipt == {
        "kind": "local",
        "location": str(tmp_path / "out"),
        "name": "jets",
        "version": "v1",
        "manifest_sha256": checksums(made / "manifest.json")["sha256"],
        "files": len(expected),
        "bytes": sum(map(len, expected.values())),
        "written": len(expected),
        "found": 0,
    }


def test_the_path_is_filled_in(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE", "somewhere")
    destination = Destination(path="$PLACE/{name}/{version}-{fingerprint}")
    location = publish(made, destination, base=tmp_path)["location"]
    fingerprint = checksums(made / "manifest.json")["sha256"][:10]
    assert location == str(tmp_path / "somewhere" / "jets" / f"v1-{fingerprint}")
    with pytest.raises(ConfigError, match=r"\{nane\} .* is not known; there are \{name\}"):
        publish(made, Destination(path="{nane}"), base=tmp_path)
    with pytest.raises(ConfigError, match="environment variable not set"):
        publish(made, Destination(path="$NOT_SET_AT_ALL/x"), base=tmp_path)


def test_the_same_release_again_is_verified_and_accepted(made: Path, tmp_path: Path) -> None:
    publish(made, HERE, base=tmp_path)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")}
    receipt = publish(made, HERE, base=tmp_path)
    assert receipt["written"] == 0 and receipt["found"] == receipt["files"]
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")}


def test_another_release_is_refused_and_nothing_is_touched(
    workshop: Workshop, tmp_path: Path
) -> None:
    shards = workshop.shards()
    publish(workshop.release(shards, "a"), HERE, base=tmp_path)
    before = contents(tmp_path / "out")
    other = workshop.release(shards, "b", title="Another title")
    with pytest.raises(DataError, match="another release is published there"):
        publish(other, HERE, base=tmp_path)
    assert contents(tmp_path / "out") == before
    (tmp_path / "out" / "manifest.json").unlink()
    with pytest.raises(DataError, match="is there with other bytes"):
        publish(other, HERE, base=tmp_path)


def test_a_directory_in_other_use_is_refused(made: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("important")
    with pytest.raises(DataError, match=r"thesis\.tex is there and not of this release"):
        publish(made, HERE, base=tmp_path)
    assert contents(tmp_path / "out") == {"thesis.tex": b"important"}
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is a file"):
        publish(made, Destination(path="file"), base=tmp_path)


def test_a_flipped_bit_at_the_destination_is_found(made: Path, tmp_path: Path) -> None:
    publish(made, HERE, base=tmp_path)
    target = tmp_path / "out/tokens/qcd/train/qcd_1_tokenized.parquet"
    target.chmod(0o644)
    data = bytearray(target.read_bytes())
    data[len(data) // 2] ^= 1
    target.write_bytes(data)
    with pytest.raises(DataError, match=r"qcd_1_tokenized\.parquet is there with other bytes"):
        publish(made, HERE, base=tmp_path)
    release = Release(tmp_path / "out")
    release.files("ttbar")
    with pytest.raises(DataError, match=r"train/qcd_1_tokenized\.parquet: sha256 is"):
        release.files("qcd", "train")
    target.unlink()
    assert publish(made, HERE, base=tmp_path)["written"] == 1
    assert contents(tmp_path / "out") == contents(made)


def test_a_damaged_release_is_not_published(workshop: Workshop, tmp_path: Path) -> None:
    release = workshop.release()
    damaged = release / "tokens/qcd/val/qcd_0_tokenized.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"X")
    with pytest.raises(DataError, match=r"val/qcd_0_tokenized\.parquet: differs from the manifest"):
        publish(release, HERE, base=tmp_path)
    assert not (tmp_path / "out" / "manifest.json").exists()
    damaged.unlink()
    with pytest.raises(DataError, match=r"val/qcd_0_tokenized\.parquet: listed in manifest\.json"):
        publish(release, HERE, base=tmp_path)
    (release / "manifest.json").unlink()
    with pytest.raises(DataError, match=r"manifest\.json: no such file"):
        publish(release, HERE, base=tmp_path)


def test_a_killed_publication_goes_on_to_the_same_bytes(workshop: Workshop, tmp_path: Path) -> None:
    release = workshop.release(workshop.shards(rows=3000))
    expected = contents(release)
    code = (
        "import sys; from pathlib import Path; from treasure.config.release import Destination\n"
        "from treasure.release.destinations import publish\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "publish(Path(sys.argv[1]), Destination(path='out'), base=Path(sys.argv[2]))"
    )
    started = time.perf_counter()
    publish(release, Destination(path="timed"), base=tmp_path)
    duration = time.perf_counter() - started
    rng = np.random.default_rng(5)
    stopped = 0
    for delay in (0.0, *sorted(rng.uniform(0, 0.9 * duration, 4))):
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(release), str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin and process.stdout
        process.stdout.readline()
        process.stdin.write("\n")
        process.stdin.flush()
        time.sleep(delay)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        out = tmp_path / "out"
        done = contents(out) if out.exists() else {}
        whole = {name: data for name, data in done.items() if name in expected}
        assert all(expected[name] == data for name, data in whole.items())
        # what a killed writer leaves beside them counts as nothing, and the next one removes it
        assert all(".tmp" in name for name in done if name not in expected)
        if "manifest.json" in done:
            assert whole == expected
        else:
            stopped += 1
            with pytest.raises(DataError, match="publication was not finished"):
                Release(out)
    assert stopped
    publish(release, HERE, base=tmp_path)
    assert contents(tmp_path / "out") == expected


def test_a_full_disk_is_said_and_publishing_goes_on(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, calls = shutil.copyfile, 0

    def full(source: Path, target: Path) -> None:
        nonlocal calls
        calls += 1
        if calls > 4:
            raise OSError(28, "No space left on device")
        copy(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", full)
        with pytest.raises(DataError, match=r"cannot write .*No space left on device"):
            publish(made, HERE, base=tmp_path)
    receipt = publish(made, HERE, base=tmp_path)
    assert receipt["found"] == 4
    assert contents(tmp_path / "out") == contents(made)


def test_file_systems_without_links_work_too(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", unsupported)
    publish(made, HERE, base=tmp_path)
    assert contents(tmp_path / "out") == contents(made)


def test_an_unknown_kind_is_refused_and_a_new_one_is_one_class(made: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'carrier-pigeon' is neither local nor module:Class"):
        Destination(kind="carrier-pigeon")
    with pytest.raises(ConfigError, match="cannot be imported"):
        publish(made, Destination(kind="no.such:Pigeon"), base=tmp_path)

    stored: dict[str, bytes] = {}

    class Memory(Place, kind="memory"):
        def __init__(self, destination: Destination, path: str, base: Path) -> None:
            self.path = path

        @property
        def location(self) -> str:
            return f"memory:{self.path}"

        def names(self) -> list[str]:
            return list(stored)

        def read(self, name: str) -> bytes | None:
            return stored.get(name)

        def checksums(self, name: str) -> Checksums | None:
            if name not in stored:
                return None
            (tmp_path / "copy").write_bytes(stored[name])
            return checksums(tmp_path / "copy")

        def put(self, source: Path, name: str, expected: Checksums) -> None:
            stored[name] = source.read_bytes()

    order: list[int] = []
    memory = Destination.model_construct(
        kind="memory", path="published/{name}/{version}-{fingerprint}"
    )
    receipt = publish(made, memory, progress=lambda done, total: order.append(done))
    assert receipt["location"].startswith("memory:published/jets/v1-")
    assert stored == contents(made)
    assert list(stored)[-2:] == ["checksums.sha256", "manifest.json"]
    assert order == sorted(order) and len(order) == len(stored) - 1
