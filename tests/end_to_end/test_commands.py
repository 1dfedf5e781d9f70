"""Pause, resume, seek, next, previous, stop: everywhere at the same media frame, and soon."""

import json
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from orders import Samples, ask, order, pieces, post, wait_for
from party import Listener, Party, now_ns, read_wav, run, write_song

AUDIO = (44_100, 2, "PCM_16")
RATE = AUDIO[0]
NS_PER_S = 1_000_000_000
SKIP_S = 1.0  # from the order to the sound
LOSSY = {"seed": 5, "loss": 0.05}


def heard_of(listener: Listener) -> Samples:
    assert listener.wav is not None
    return read_wav(listener.wav, *AUDIO)


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
    ordered_at = now_ns()
    post(party, "next")
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

    def answer_to(body: bytes, **headers: str) -> int:
        try:
            request = urllib.request.Request(f"{base}/api/command", body, headers)
            with urllib.request.urlopen(request, timeout=10) as reply:
                return int(reply.status)
        except urllib.error.HTTPError as error:
            return error.code

    good = b'{"command": "pause"}'
    assert answer_to(b'{"command": "explode"}', **{"Content-Type": "application/json"}) == 422
    assert answer_to(b'{"command": "seek", "seconds": -1}', **{"Content-Type": "application/json"}) == 422
    assert answer_to(good, **{"Content-Type": "text/plain"}) == 422, "a page elsewhere could send this unasked"
    assert answer_to(good, **{"Content-Type": "application/json", "Host": "evil.example"}) == 400
    assert ask(party)["state"] == "playing"
    assert answer_to(good, **{"Content-Type": "application/json"}) == 200


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
