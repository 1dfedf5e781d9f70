"""What a killed host leaves, and when the next one goes on with it."""

import json
import os
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import soundfile

from radiosync.audio.codec import Codec
from radiosync.config import Config
from radiosync.drivers import host_state as module
from radiosync.drivers.file_source import FileSource
from radiosync.drivers.host_state import FILES_MAX, HostState
from radiosync.drivers.interfaces import Interface
from radiosync.drivers.playlist import Entry
from radiosync.drivers.slot_file import SlotFile
from radiosync.host.packetizer import CodedAudio
from radiosync.host.session import HostSession
from radiosync.units import NS_PER_S, HostNs

RATE = 8_000
LO = Interface("127.0.0.1", "lo")
TURN_NS = NS_PER_S // 20


class Frozen:
    """A media clock that stands still, whatever the machine is busy with."""

    at = HostNs(0)

    def __init__(self, minus_local_ns: int | None = None) -> None:
        self.minus_local_ns = 5 if minus_local_ns is None else minus_local_ns

    def now(self) -> HostNs:
        return self.at


@pytest.fixture(autouse=True)
def _frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MediaClock", Frozen)
    Frozen.at = HostNs(1_795_000_000 * NS_PER_S)


class Run:
    """A host that plays three songs of 2 s, without its sockets."""

    def __init__(self, folder: Path, said: list[str], **keys: object) -> None:
        self.config = Config.load(None, {"radio_sync.buffer_duration": 4.0, "host.codec": "pcm", **keys})
        self.source = FileSource([Entry(path=folder / f"{n}.wav") for n in (1, 2, 3)], warn=said.append)
        state = HostState.open(self.config, self.source, LO, said.append)
        assert state is not None
        self.state = state
        self.now = state.clock.now()
        self.session = HostSession(
            self.config,
            self.source.format,
            rng=Random(1),
            now=self.now,
            control_port=1,
            clock_port=2,
            name="den",
            continued=state.remembered,
        )
        self.lengths = list(state.lengths())
        self.made: dict[int, tuple[int, bytes]] = {}

    def turn(self) -> None:
        session = self.session
        while session.audio_wanted(self.now):
            block = self.source.read(self.lengths.pop(0) if self.lengths else session.sender.chunk_frames)
            if block is None:
                session.end_of_audio(0, self.now)
                break
            data = block.samples.tobytes()
            place = session.sender.packetizer
            coded = CodedAudio(
                song=block.song, song_frame=block.song_frame, frames=len(block.samples), codec=Codec.PCM, data=data
            )
            session.add_audio(coded, self.now)
            self.made[place.next_seq - 1] = (place.next_frame - coded.frames, data)
        session.handle_timeout(self.now)
        self.state.save(session, self.now)
        list(session.datagrams_to_send(self.now))

    def run(self, seconds: float) -> None:
        """Run so long in a time of its own, ahead of the clock."""
        for _ in range(round(seconds * NS_PER_S / TURN_NS)):
            self.turn()
            self.now = HostNs(self.now + TURN_NS)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "run").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "run"))
    for number in (1, 2, 3):
        noise = np.random.default_rng(number).integers(-9000, 9000, 2 * RATE)
        soundfile.write(tmp_path / f"{number}.wav", noise.astype(np.int16), RATE, subtype="PCM_16")
    return tmp_path


def left(folder: Path) -> Path:
    (path,) = (folder / "run" / "radiosync").glob("host-*.state")
    return path


def written(folder: Path) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(SlotFile(left(folder)).read())
    return whole


def write(folder: Path, whole: dict[str, Any]) -> None:
    file = SlotFile(left(folder))
    file.read()
    file.write(json.dumps(whole).encode())
    file.close()


@pytest.fixture
def killed(folder: Path, said: list[str]) -> Run:
    run = Run(folder, said)
    run.run(4.0)
    Frozen.at = run.now
    return run


def test_a_second_host_makes_the_same_chunks_at_the_same_places(killed: Run, folder: Path, said: list[str]) -> None:
    again = Run(folder, said)
    assert again.state.remembered is not None
    assert again.session.session == killed.session.session
    assert again.state.clock.minus_local_ns == killed.state.clock.minus_local_ns
    again.run(1.0)
    both = again.made.keys() & killed.made.keys()
    assert len(both) >= 4
    assert max(again.made) > max(killed.made) or again.session.final_frame is not None
    assert all(again.made[seq] == killed.made[seq] for seq in both)
    assert again.session.sender.history.get(min(both)) is not None, "what was sent can be repaired"
    assert again.session.reception.cookies.of(("10.0.0.1", 5)) == killed.session.reception.cookies.of(("10.0.0.1", 5))
    assert said == []


def test_a_file_that_has_changed_is_another_session(killed: Run, folder: Path, said: list[str]) -> None:
    os.utime(folder / "2.wav", ns=(1, 1))
    assert Run(folder, said).session.session != 0
    assert Run(folder, said).state.remembered is None
    del killed


@pytest.mark.parametrize("keys", [{"network.datagram_max": 1000}, {"host.codec": "flac"}], ids=str)
def test_chunks_that_would_be_others_are_another_session(
    killed: Run, folder: Path, said: list[str], keys: dict[str, object]
) -> None:
    assert Run(folder, said, **keys).state.remembered is None
    del killed


def test_another_group_has_a_state_of_its_own(killed: Run, folder: Path, said: list[str]) -> None:
    assert Run(folder, said, **{"network.port": 45500}).state.remembered is None
    assert Run(folder, said).state.remembered is not None
    del killed


def test_what_is_older_than_the_buffer_is_ignored(killed: Run, folder: Path, said: list[str]) -> None:
    Frozen.at = HostNs(Frozen.at + 4 * NS_PER_S)
    assert Run(folder, said).state.remembered is None
    assert said == []
    del killed


def test_after_a_reboot_it_is_ignored(
    killed: Run, folder: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    boot = folder / "boot_id"
    boot.write_text("another\n")
    monkeypatch.setattr(module, "BOOT_ID", boot)
    assert Run(folder, said).state.remembered is None
    del killed


@pytest.mark.parametrize(("later_ns", "same"), [(0, True), (30 * NS_PER_S, False), (-NS_PER_S, False)])
def test_where_boots_have_no_name_the_clocks_tell(
    folder: Path, said: list[str], monkeypatch: pytest.MonkeyPatch, later_ns: int, same: bool
) -> None:
    monkeypatch.setattr(module, "BOOT_ID", folder / "none")
    run = Run(folder, said)
    run.run(4.0)
    Frozen.at = run.now
    whole = written(folder)
    whole["saved_local"] += -later_ns if later_ns >= 0 else 10 * NS_PER_S
    write(folder, whole)
    assert (Run(folder, said).state.remembered is not None) == same


def test_nothing_is_left_before_anything_is_heard_and_after_the_end(folder: Path, said: list[str]) -> None:
    run = Run(folder, said)
    run.run(0.5)
    assert not list((folder / "run").rglob("host-*"))
    run.run(2.0)
    assert left(folder).stat().st_mode & 0o077 == 0, "it holds the key of the cookies"
    run.run(8.0)
    assert run.session.finished
    run.state.save(run.session, run.now)
    assert not list((folder / "run").rglob("host-*"))


def test_remember_is_whether_anything_is_left(folder: Path, said: list[str]) -> None:
    config = Config.load(None, {"host.remember": False})
    source = FileSource([Entry(path=folder / "1.wav")], warn=said.append)
    assert HostState.open(config, source, LO, said.append) is None
    assert HostState.open(Config(), source, LO, said.append) is not None
    assert HostState.open(Config(), object(), LO, said.append) is None, "what is live can't be read again"


def test_a_buffer_below_a_second_is_not_worth_it(folder: Path, said: list[str]) -> None:
    Run(folder, said, **{"radio_sync.buffer_duration": 0.5}).run(3.0)
    assert not list((folder / "run").rglob("host-*"))


@pytest.mark.parametrize(
    "change",
    [
        lambda whole: whole.clear(),
        lambda whole: whole.update(version=99),
        lambda whole: whole.update(songs=[1]),
        lambda whole: whole["session"].update(records=[]),
        lambda whole: whole["session"].update(chunks=[[1, 2, 3]]),
        lambda whole: whole["session"].update(session=-1),
        lambda whole: whole["session"].update(cookie_key="zz"),
        lambda whole: whole["session"].update(saved_at=10**400),
        lambda whole: whole["session"]["records"][0].__setitem__(2, 77),
        lambda whole: whole.update(clock_minus_local=None),
    ],
)
def test_a_spoilt_file_is_a_new_session(killed: Run, folder: Path, said: list[str], change) -> None:  # type: ignore[no-untyped-def]
    whole = written(folder)
    change(whole)
    write(folder, whole)
    assert Run(folder, said).state.remembered is None
    assert len(said) <= 1
    del killed


@pytest.mark.parametrize("raw", [b"", b"\xff\xfe", b"[" * 100_000, b"{}", b"[]"], ids=len)
def test_what_is_no_file_of_ours_is_a_new_session(killed: Run, folder: Path, said: list[str], raw: bytes) -> None:
    left(folder).write_bytes(raw)
    assert Run(folder, said).state.remembered is None
    del killed


def test_where_nothing_can_be_written_it_is_said_once_and_music_goes_on(folder: Path, said: list[str]) -> None:
    (folder / "run" / "radiosync").write_text("in the way")
    run = Run(folder, said)
    run.run(3.0)
    assert len(said) == 1
    assert run.session.sender.counters.symbols_sent > 0


def test_what_hosts_on_many_groups_leave_is_bounded(folder: Path, said: list[str]) -> None:
    state = folder / "run" / "radiosync"
    state.mkdir()
    for number in range(2 * FILES_MAX):
        (state / f"host-{number:016x}.state").write_text("{}")
        os.utime(state / f"host-{number:016x}.state", (number, number))
    Run(folder, said).run(3.0)
    kept = list(state.glob("host-*"))
    assert len(kept) == FILES_MAX
    assert not (state / f"host-{0:016x}.state").exists()
