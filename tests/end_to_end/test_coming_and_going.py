"""Listeners that come late, hosts that die and come back, and everybody's way of stopping.

The limits are in real time, from the start of a process.  What it then waits for a processor that others use is counted
by the system and taken off: on an idle machine that is nothing, and on a busy one it says nothing of radiosync.
"""

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from party import ENDED, Listener, Party, assert_same, now_ns, read_wav, write_song

AUDIO = (44_100, 2, "PCM_16")
RATE = AUDIO[0]
NS_PER_S = 1_000_000_000
JOIN_S = 2.0  # from the start of the process to its first frame
RESTART_S = 3.0  # from the start of the new host's process

PLAYING = r"^playing from frame (\d+)"
GOOD_BYE = "^the host said good-bye; waiting for a host$"


def heard_at_ns(listener: Listener, out_frame: int, session: int = 1) -> float:
    """Return when frame `out_frame` of the output was emitted, from the first statistics of this session that tell."""
    record = listener.wait_stats(lambda r: r.get("sessions") == session and r.get("emitted_frame", -1) >= out_frame)
    return float(record["emitted_at"] - (record["emitted_frame"] - out_frame) * NS_PER_S / RATE)


def played(listener: Listener) -> NDArray[Any]:
    assert listener.wav is not None
    return read_wav(listener.wav, *AUDIO)


def test_a_late_listener_is_heard_within_2_s_from_the_frame_it_says(party: Party, tmp_path: Path) -> None:
    source = write_song(tmp_path / "song.wav", *AUDIO, 10)
    host = party.host(tmp_path / "song.wav")
    host.wait_stats(lambda record: record["position_s"] > 3)
    waited_s = host.waited_s()
    listener = party.listener(ready=False)
    _, match = listener.wait_line(PLAYING)
    waited_s = host.waited_s() - waited_s + listener.waited_s()
    frame = int(match[1])
    heard_after_s = (heard_at_ns(listener, 0) - listener.started_at) / NS_PER_S
    assert frame > 3 * RATE
    assert 0 < heard_after_s <= JOIN_S + waited_s, f"it took {heard_after_s:.2f} s, {waited_s:.2f} s of them waiting"
    listener.wait_line(ENDED)
    assert host.wait_end() == 0
    assert listener.stop() == 0
    assert_same(played(listener), source[frame:])


def test_a_listener_that_was_there_first_hears_the_first_frame_on_time(party: Party, tmp_path: Path) -> None:
    """Its sink gets each block when it is due: within 20 ms, though this machine may be busy."""
    write_song(tmp_path / "song.wav", *AUDIO, 4)
    listener = party.listener()
    party.host(tmp_path / "song.wav")
    listener.wait_line(ENDED)
    errors = [record["sync_error_ns"] for record in listener.stats() if record.get("emitted_frame") is not None]
    assert errors
    assert 0 <= np.median(errors) < 20e6


def test_a_host_that_is_killed_and_restarted(party: Party, tmp_path: Path) -> None:
    first = write_song(tmp_path / "first.wav", *AUDIO, 30, seed=1)
    second = write_song(tmp_path / "second.wav", *AUDIO, 3, seed=2)
    listener = party.listener()
    host = party.host(tmp_path / "first.wav")
    host.wait_stats(lambda record: record["position_s"] > 2)
    assert host.stop(signal.SIGKILL) == -signal.SIGKILL
    waited_s = listener.waited_s()
    again = party.host(tmp_path / "second.wav", ready=False)
    _, match = listener.wait_line(PLAYING, count=2)
    waited_s = listener.waited_s() - waited_s + again.waited_s()
    frame = int(match[1])
    listener.wait_line(ENDED)
    assert again.wait_end() == 0
    assert listener.stop() == 0
    file = played(listener)
    of_first = len(file) - len(second[frame:])
    assert of_first > 2 * RATE
    heard_after_s = (heard_at_ns(listener, of_first, session=2) - again.started_at) / NS_PER_S
    assert 0 < heard_after_s <= RESTART_S + waited_s, f"it took {heard_after_s:.2f} s, {waited_s:.2f} s of them waiting"
    assert_same(file[:of_first], first[:of_first], "what the first host sent")
    assert_same(file[of_first:], second[frame:], "what the second host sent")


def test_a_host_that_comes_back_with_another_format(party: Party, tmp_path: Path) -> None:
    write_song(tmp_path / "first.wav", *AUDIO, 30)
    mono = (48_000, 1, "PCM_24")
    second = write_song(tmp_path / "second.wav", *mono, 1.5)
    listener = party.listener()
    host = party.host(tmp_path / "first.wav")
    listener.wait_line(PLAYING)
    host.stop(signal.SIGKILL)
    again = party.host(tmp_path / "second.wav")
    _, match = listener.wait_line(PLAYING, count=2)
    listener.wait_line(ENDED)
    assert again.wait_end() == 0
    assert listener.stop() == 0
    assert listener.wav is not None
    assert_same(read_wav(listener.wav.with_stem(f"{listener.wav.stem}-2"), *mono), second[int(match[1]) :])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_host_that_is_stopped_says_good_bye(number: signal.Signals, party: Party, tmp_path: Path) -> None:
    source = write_song(tmp_path / "song.wav", *AUDIO, 30)
    listeners = party.listeners(2)
    host = party.host(tmp_path / "song.wav")
    for listener in listeners:
        listener.wait_line(PLAYING)
    host.wait_stats(lambda record: len(record["listeners"]) == 2)
    assert host.stop(number) == 0
    assert "Traceback" not in host.text
    for listener in listeners:
        listener.wait_line(GOOD_BYE)
        listener.wait_stats(lambda record: record["sessions"] == 1 and record["state"] == "waiting")
        assert listener.stop() == 0
        file = played(listener)
        assert_same(file, source[: len(file)])


def test_a_listener_that_is_stopped_says_good_bye_and_leaves_a_whole_file(party: Party, tmp_path: Path) -> None:
    source = write_song(tmp_path / "song.wav", *AUDIO, 30)
    listeners = {
        number: party.listener(args=["--name", number.name])
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
    }
    host = party.host(tmp_path / "song.wav")
    for listener in listeners.values():
        listener.wait_stats(lambda record: record.get("emitted_frame", 0) > RATE)
    host.wait_stats(lambda record: len(record["listeners"]) == 3)
    for number, listener in listeners.items():
        assert listener.stop(number) == (-number if number == signal.SIGKILL else 0)
        assert "Traceback" not in listener.text
        file = played(listener)
        assert len(file) > RATE
        assert_same(file, source[: len(file)], number.name)
        assert listener.wav is not None
        assert soundfile.info(listener.wav).frames == len(file)
    host.wait_line("SIGINT has left")
    host.wait_line("SIGTERM has left")
    assert "SIGKILL has left" not in host.text
    host.wait_stats(lambda r: [(row["name"], row["status"]) for row in r["listeners"]] == [("SIGKILL", "timeout")])


def test_signals_while_nobody_plays(party: Party) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        listener = party.listener()
        assert listener.stop(number) == 0
        assert "Traceback" not in listener.text
        assert listener.wav is not None
        assert listener.wav.exists()


def test_a_duration_ends_each(party: Party, tmp_path: Path) -> None:
    write_song(tmp_path / "song.wav", *AUDIO, 30)
    brief = party.listener(args=["--duration", "1"])
    assert brief.wait_end() == 0
    assert now_ns() - brief.started_at >= NS_PER_S
    listener = party.listener()
    host = party.host(tmp_path / "song.wav", args=["--duration", "2"])
    listener.wait_line(GOOD_BYE)
    assert host.wait_end() == 0
    assert now_ns() - host.started_at >= 2 * NS_PER_S
