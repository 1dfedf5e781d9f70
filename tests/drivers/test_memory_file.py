"""What is remembered, where, and what a spoilt file does."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from radiosync.config import Config
from radiosync.drivers import memory_file as module
from radiosync.drivers import output_search
from radiosync.drivers.interfaces import Interface
from radiosync.drivers.listener_driver import ListenerDriver, with_remembered_offset
from radiosync.drivers.memory_file import FILE_NAME, MemoryFile, open_memory, state_folder
from radiosync.listener.memory import KNOWN_SIGMA_MAX, WANDER, KnownRate
from radiosync.units import LocalNs

HOST, DEVICE = "den@10.0.0.1", "ALSA: Kitchen"
SKEW = KnownRate(rate=31e-6, sigma=0.2e-6)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "state.json"


def test_a_second_run_knows_what_the_first_has_learnt(path: Path, said: list[str]) -> None:
    first = MemoryFile(path, said.append)
    assert first.host_skew(HOST) is None
    first.note_host(HOST, SKEW)
    first.note_device(DEVICE, KnownRate(rate=-50e-6, sigma=0.1e-6))
    first.note_offset(DEVICE, -150.0)
    first.save()
    second = MemoryFile(path, said.append)
    known = second.host_skew(HOST)
    assert known is not None
    assert known.rate == pytest.approx(31e-6)
    assert known.sigma == pytest.approx(0.2e-6)
    assert WANDER < known.prior_sigma < 2 * WANDER
    rate = second.device_rate(DEVICE)
    assert rate is not None
    assert rate.rate == pytest.approx(-50e-6)
    assert second.offset_ms(DEVICE) == -150.0
    assert second.offset_ms("another") is None
    assert said == []


def test_what_is_hardly_known_is_not_remembered(path: Path, said: list[str]) -> None:
    memory = MemoryFile(path, said.append)
    memory.note_host(HOST, KnownRate(rate=0.0, sigma=2 * KNOWN_SIGMA_MAX))
    memory.note_device(DEVICE, KnownRate(rate=0.01, sigma=0.0))
    memory.save()
    assert memory.host_skew(HOST) is None
    assert memory.device_rate(DEVICE) is None
    assert not path.exists()


def test_two_listeners_do_not_undo_each_other(path: Path, said: list[str]) -> None:
    one, other = MemoryFile(path, said.append), MemoryFile(path, said.append)
    one.note_host(HOST, SKEW)
    other.note_device(DEVICE, SKEW)
    one.save()
    other.save()
    both = MemoryFile(path, said.append)
    assert both.host_skew(HOST) is not None
    assert both.device_rate(DEVICE) is not None
    assert list(path.parent.iterdir()) == [path], "nothing is left beside it"


def test_an_offset_outlives_a_rate(path: Path, said: list[str]) -> None:
    memory = MemoryFile(path, said.append)
    memory.note_offset(DEVICE, 12.0)
    memory.save()
    memory.note_device(DEVICE, SKEW)
    memory.save()
    assert MemoryFile(path, said.append).offset_ms(DEVICE) == 12.0


def test_the_oldest_is_forgotten(path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ENTRIES_MAX", 3)
    memory = MemoryFile(path, said.append)
    for number in range(5):
        monkeypatch.setattr(module, "real_now", lambda number=number: number * 10**9)
        memory.note_host(f"host{number}", SKEW)
    memory.save()
    assert sorted(json.loads(path.read_text())["hosts"]) == ["host2", "host3", "host4"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"version": 2}',
        "[" * 5000,
        '{"version": 1, "hosts": 7, "devices": {"ALSA: Kitchen": 3}}',
        '{"version": 1, "hosts": {"den@10.0.0.1": {"skew_ppm": "x", "sigma_ppm": 1}}}',
        '{"version": 1, "hosts": {"den@10.0.0.1": {"skew_ppm": 1e9, "sigma_ppm": 0.1, "seen_s": []}}}',
        '{"version": 1, "hosts": {"den@10.0.0.1": {"skew_ppm": NaN, "sigma_ppm": 0.1}}}',
        '{"version": 1, "devices": {"ALSA: Kitchen": {"offset_ms": 1' + 400 * "0" + "}}}",
        '{"version": 1, "devices": {"ALSA: Kitchen": {"offset_ms": 1e6, "rate_ppm": true, "sigma_ppm": 0}}}',
    ],
)
def test_a_spoilt_file_is_done_without_and_written_anew(path: Path, said: list[str], text: str) -> None:
    path.parent.mkdir()
    path.write_text(text)
    memory = MemoryFile(path, said.append)
    assert memory.host_skew(HOST) is None
    assert memory.device_rate(DEVICE) is None
    assert memory.offset_ms(DEVICE) is None
    assert len(said) <= 1
    memory.note_host(HOST, SKEW)
    memory.save()
    assert MemoryFile(path, said.append).host_skew(HOST) is not None


def test_where_nothing_can_be_written_it_is_said_once(tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "file").write_text("")
    memory = MemoryFile(tmp_path / "file" / "state.json", said.append)
    for _ in range(2):
        memory.note_host(HOST, SKEW)
        memory.save()
    assert len(said) == 1
    assert "state.json" in said[0]


def test_remember_is_whether_anything_is_kept(tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    for remember in (False, True):
        memory = open_memory(Config.load(None, {"listener.remember": remember}).listener, said.append)
        memory.note_host(HOST, SKEW)
        memory.save()
        assert (tmp_path / "radiosync" / FILE_NAME).exists() == remember


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_every_platform_has_a_folder_for_it(platform: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "AppData"))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    assert state_folder().name == "radiosync"
    assert state_folder().is_relative_to(tmp_path)


class TestOffset:
    """`--offset-ms` is remembered for the device that it was given for."""

    @pytest.fixture(autouse=True)
    def _kitchen(self, monkeypatch: pytest.MonkeyPatch) -> None:
        device: Any = type("Device", (), {"key": DEVICE})
        monkeypatch.setattr(output_search, "find_output", lambda _wanted: output_search.FoundOutput(None, device))
        monkeypatch.setattr(output_search, "raise_priority", lambda: "normal")

    def start(self, memory: MemoryFile, said: list[str], given_ms: float | None, output: str = "device") -> float:
        config = Config.load(None, {"listener.offset_ms": given_ms, "listener.output": output})
        search = output_search.begin_search(output)
        return with_remembered_offset(config, memory, given_ms, search, said.append).listener.offset_ms

    def test_once_given_it_stays_until_another_is(self, said: list[str]) -> None:
        memory = MemoryFile(None, said.append)
        assert self.start(memory, said, None) == 0
        assert self.start(memory, said, -150.0) == -150
        assert said == []
        assert self.start(memory, said, None) == -150
        assert "-150 ms" in said[0]
        assert self.start(memory, said, 0.0) == 0
        assert self.start(memory, said, None) == 0

    def test_a_file_has_no_device_to_remember(self, said: list[str]) -> None:
        memory = MemoryFile(None, said.append)
        assert self.start(memory, said, -150.0, "null") == -150
        assert self.start(memory, said, None, "null") == 0
        assert self.start(memory, said, None) == 0

    def test_what_a_configuration_says_wins(self, said: list[str]) -> None:
        memory = MemoryFile(None, said.append)
        memory.note_offset(DEVICE, 30.0)
        config = Config()
        config = replace(config, listener=replace(config.listener, offset_ms=5.0))
        search = output_search.begin_search("device")
        assert with_remembered_offset(config, memory, None, search, said.append).listener.offset_ms == 5.0


def test_a_disk_that_takes_long_holds_up_nothing(path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = Event(), Event()
    real = Path.replace

    def slow(self: Path, target: Path) -> Path:
        begun.set()
        go_on.wait(10)
        return real(self, target)

    monkeypatch.setattr(Path, "replace", slow)
    memory = MemoryFile(path, said.append)
    memory.note_host(HOST, SKEW)
    memory.save_beside()
    assert begun.wait(10)
    assert not path.exists(), "it has not been waited for"
    memory.note_device(DEVICE, SKEW)
    memory.save_beside()  # the last one is not over: another time
    go_on.set()
    memory.save()
    second = MemoryFile(path, said.append)
    assert second.host_skew(HOST) is not None
    assert second.device_rate(DEVICE) is not None
    assert said == []


def test_while_music_plays_it_is_saved_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = MemoryFile(None, print)
    config = Config.load(None, {"listener.output": "null", "network.interface": "lo", "network.port": 33_990})
    driver = ListenerDriver(config, Interface("127.0.0.1", "lo"), "listener", None, memory)
    try:
        saved: list[str] = []
        monkeypatch.setattr(memory, "save_beside", lambda: saved.append("beside"))
        monkeypatch.setattr(memory, "save", lambda: saved.append("waiting"))
        driver._remember(LocalNs(driver._save_at))
        assert saved == ["beside"]
    finally:
        driver.close()
