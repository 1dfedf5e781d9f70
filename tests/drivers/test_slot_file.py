"""What a kill leaves of a file that is written anew all the time."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from radiosync.drivers import slot_file
from radiosync.drivers.slot_file import SLOT_BYTES, SlotFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "state"


def test_what_was_written_last_is_read(path: Path) -> None:
    file = SlotFile(path)
    for data in (b"a longer text", b"short", b"", b"the last"):
        file.write(data)
        assert SlotFile(path).read() == data
    assert path.stat().st_mode & 0o077 == 0


def test_another_goes_on_where_one_was_killed(path: Path) -> None:
    for number in range(5):
        file = SlotFile(path)
        if number:
            file.read()
        file.write(b"%d" % number)
        file.close()
        assert SlotFile(path).read() == b"%d" % number


@pytest.mark.parametrize("spoilt", [0, 1])
@pytest.mark.parametrize("at", [0, 5, 9, 15, 20, 24])
def test_a_slot_that_is_not_whole_leaves_the_other(path: Path, spoilt: int, at: int) -> None:
    file = SlotFile(path)
    file.write(b"first")  # into slot 1
    file.write(b"second")
    with path.open("r+b") as raw:
        raw.seek(spoilt * SLOT_BYTES + at)
        byte = raw.read(1)
        raw.seek(-1, os.SEEK_CUR)
        raw.write(bytes([byte[0] ^ 1]))
    assert SlotFile(path).read() == (b"first", b"second")[spoilt]


def test_a_write_that_fails_half_way_never_harms_what_is_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = SlotFile(path)
    file.write(b"good")
    real = os.write
    monkeypatch.setattr(slot_file.os, "write", lambda fd, data: real(fd, data[: len(data) // 2]))
    for _ in range(3):
        with pytest.raises(OSError, match="full"):
            file.write(b"never whole")
        assert SlotFile(path).read() == b"good"


def test_what_does_not_fit_is_refused(path: Path) -> None:
    with pytest.raises(OSError, match="fit"):
        SlotFile(path).write(bytes(SLOT_BYTES))


@pytest.mark.parametrize("raw", [b"", b"{}", bytes(2 * SLOT_BYTES), b"RSS1" + b"\xff" * 40])
def test_any_other_file_is_a_value_error(path: Path, raw: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(raw)
    with pytest.raises(ValueError, match="whole"):
        SlotFile(path).read()


def test_removed_is_gone_and_may_be_written_again(path: Path) -> None:
    file = SlotFile(path)
    file.remove()
    file.write(b"a")
    file.remove()
    with pytest.raises(FileNotFoundError):
        SlotFile(path).read()
    file.write(b"b")
    assert SlotFile(path).read() == b"b"


WRITER = """
import sys
import time
from pathlib import Path
from radiosync.drivers.slot_file import SlotFile
file = SlotFile(Path(sys.argv[1]))
print("ready", flush=True)
number = 0
while True:
    number += 1
    file.write(b"%d " % number * 20_000)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_kill_at_any_instant_leaves_something_whole(path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        for _ in range(10_000):
            if path.exists() and path.stat().st_size > SLOT_BYTES:
                break
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    data = SlotFile(path).read().split()
    assert len(data) == 20_000
    assert len(set(data)) == 1
