"""Pause, resume, seek, next, previous, stop: everywhere at the same media frame, and soon."""

import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from party import Listener, Party, now_ns, read_wav, run, write_song

AUDIO = (44_100, 2, "PCM_16")
RATE = AUDIO[0]
NS_PER_S = 1_000_000_000
SKIP_S = 1.0  # from the order to the sound
LOSSY = {"seed": 5, "loss": 0.05}

Samples = NDArray[Any]


def order(party: Party, command: str, *args: str) -> dict[str, Any]:
    done = run("ctl", command, *args, "--host", f"127.0.0.1:{party.control_port}", "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def wait_for(party: Party, state: str) -> dict[str, Any]:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        status = ask(party)
        if status["state"] == state:
            return status
        time.sleep(0.02)
    raise AssertionError(f"the host never was {state}: {status}")


def ask(party: Party) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{party.control_port}/api/status", timeout=10) as answer:
        return dict(json.load(answer))


def heard_of(listener: Listener) -> Samples:
    assert listener.wav is not None
    return read_wav(listener.wav, *AUDIO)


def pieces(heard: Samples, songs: dict[str, Samples]) -> list[tuple[str, int, int]]:
    """Cut what was heard into unbroken pieces of songs: name, first frame, frames."""
    found, at = [], 0
    known = {song[i : i + 4].tobytes(): (name, i) for name, song in songs.items() for i in range(len(song) - 3)}
    while at <= len(heard) - 4:
        match = known.get(heard[at : at + 4].tobytes())
        assert match is not None, f"frame {at} of {len(heard)} is of no song"
        name, begin = match
        count = min(len(heard) - at, len(songs[name]) - begin)
        same = (heard[at : at + count] == songs[name][begin : begin + count]).all(axis=1)
        count = count if same.all() else int(np.argmin(same))
        found.append((name, begin, count))
        at += count
    return found


@pytest.fixture
def songs(tmp_path: Path) -> dict[str, Samples]:
    return {name: write_song(tmp_path / f"{name}.wav", *AUDIO, 30, seed=seed) for seed, name in enumerate("ab", 1)}


def test_every_listener_makes_the_same_cuts(party: Party, songs: dict[str, Samples], tmp_path: Path) -> None:
    listeners = [*party.listeners(2), *party.listeners(2, impair=LOSSY)]
    host = party.host(tmp_path / "a.wav", tmp_path / "b.wav")
    host.wait_stats(lambda r: r["position_s"] > 1)
    assert order(party, "pause")["changed"]
    wait_for(party, "paused")
    assert not order(party, "pause")["changed"], "twice is once"
    time.sleep(0.5)
    order(party, "resume")
    wait_for(party, "playing")
    for command in (["seek", "20"], ["next"], ["prev"], ["prev"]):
        time.sleep(1.2)
        assert order(party, *command)["changed"]
        wait_for(party, "playing")
    time.sleep(1.2)
    order(party, "stop")
    wait_for(party, "stopped")
    time.sleep(0.5)
    assert host.stop() == 0
    for listener in listeners:
        listener.wait_line("good-bye")
    heard = [heard_of(listener) for listener in listeners]
    cut = pieces(heard[0], songs)
    names = [(name, begin) for name, begin, _ in cut]
    assert names == [("a", 0), ("a", 20 * RATE), ("b", 0), ("a", 0), ("a", 0)], (
        "a pause leaves no trace, a jump is exact"
    )
    for other in heard[1:]:
        assert np.array_equal(other, heard[0]), f"{pieces(other, songs)} instead of {cut}"


def test_a_resync_of_everybody_is_refused_twice_and_not_heard_in_a_file(
    party: Party, songs: dict[str, Samples], tmp_path: Path
) -> None:
    listeners = [party.listener(), party.listener(impair=LOSSY)]
    host = party.host(tmp_path / "a.wav")
    version = host.wait_stats(lambda r: r["position_s"] > 1)["timeline_version"]
    status = order(party, "resync")
    assert (status["changed"], status["refusal"]) == (True, None)
    host.wait_stats(lambda r: r["timeline_version"] == version + 1 and r["position_s"] > 3)
    again = run("ctl", "resync", "--host", f"127.0.0.1:{party.control_port}")
    assert again.returncode == 2
    assert again.stderr.startswith("radiosync: ctl resync: the last one was"), again.stderr
    assert again.stderr.count("\n") == 1
    order(party, "seek", "28")
    host.wait_line("last frame")
    for listener in listeners:
        listener.wait_line("stream has ended")
        names = [(name, begin) for name, begin, _ in pieces(heard_of(listener), songs)]
        assert names == [("a", 0), ("a", 28 * RATE)], "a resync leaves no trace"


def test_a_skip_is_heard_within_a_second(party: Party, songs: dict[str, Samples], tmp_path: Path) -> None:
    """Seen at the listener's end of a pipe, while 5 % of all datagrams are lost."""
    listener = party.listener("pipe:-", impair=LOSSY)
    host = party.host(tmp_path / "a.wav", tmp_path / "b.wav")
    host.wait_stats(lambda r: r["position_s"] > 2)
    address = f"http://127.0.0.1:{party.control_port}/api/command"
    data = json.dumps({"command": "next"}).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
    ordered_at = now_ns()
    urllib.request.urlopen(request, timeout=10).close()
    first = songs["b"][:64].tobytes()
    while first not in listener.piped:
        assert now_ns() - ordered_at < 20 * NS_PER_S, "the skip was never heard"
        time.sleep(0.005)
    assert (now_ns() - ordered_at) / NS_PER_S <= SKIP_S


def test_the_interface_describes_itself_and_refuses_what_it_should(party: Party, tmp_path: Path) -> None:
    write_song(tmp_path / "a.wav", *AUDIO, 20)
    party.host(tmp_path / "a.wav")
    wait_for(party, "playing")
    base = f"http://127.0.0.1:{party.control_port}"
    with urllib.request.urlopen(f"{base}/openapi.json", timeout=10) as answer:
        assert set(json.load(answer)["paths"]) == {"/api/status", "/api/command"}

    def post(body: bytes, **headers: str) -> int:
        try:
            request = urllib.request.Request(f"{base}/api/command", body, headers)
            with urllib.request.urlopen(request, timeout=10) as reply:
                return int(reply.status)
        except urllib.error.HTTPError as error:
            return error.code

    good = b'{"command": "pause"}'
    assert post(b'{"command": "explode"}', **{"Content-Type": "application/json"}) == 422
    assert post(b'{"command": "seek", "seconds": -1}', **{"Content-Type": "application/json"}) == 422
    assert post(good, **{"Content-Type": "text/plain"}) == 422, "a page elsewhere could send this unasked"
    assert post(good, **{"Content-Type": "application/json", "Host": "evil.example"}) == 400
    assert ask(party)["state"] == "playing"
    assert post(good, **{"Content-Type": "application/json"}) == 200


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["explode"], "there is no such order"),
        (["seek"], "say where to"),
        (["pause", "3"], "takes no number"),
        (["status", "--host", "127.0.0.1:9"], "no host answers"),
    ],
)
def test_a_wrong_order_is_one_line(args: list[str], said: str) -> None:
    done = run("ctl", *args)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
