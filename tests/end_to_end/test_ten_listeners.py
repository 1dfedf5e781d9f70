"""Ten listeners, each of which loses a twentieth of all datagrams, pause, go on and jump at the same frames."""

import time
from pathlib import Path

import numpy as np
from orders import order, pieces, post, wait_for
from party import Listener, Party, now_ns, read_wav, write_song

AUDIO = (44_100, 2, "PCM_16")
RATE = AUDIO[0]
LISTENERS = 10
SKIP_S = 1.0  # from the order to the sound, on a machine that has time
HEARD_FOR_S = 1.5  # of each piece, at least


def listen(party: Party) -> list[Listener]:
    """Start nine that write files, and one whose output can be watched as it comes, last."""
    started = [
        party.listener(output, ready=False, impair={"seed": seed, "loss": 0.05})
        for seed, output in enumerate(["wav"] * (LISTENERS - 1) + ["pipe:-"])
    ]
    for listener in started:
        listener.wait_line("waiting for a host on")
    return started


def test_ten_listeners_make_the_same_cuts(party: Party, tmp_path: Path) -> None:
    songs = {name: write_song(tmp_path / f"{name}.wav", *AUDIO, 30, seed=seed) for seed, name in enumerate("ab", 1)}
    listeners = listen(party)
    watched = listeners[-1]
    host = party.host(tmp_path / "a.wav", tmp_path / "b.wav")
    host.wait_stats(lambda record: record["position_s"] > HEARD_FOR_S)
    order(party, "pause")
    wait_for(party, "paused")
    order(party, "resume")
    wait_for(party, "playing")
    time.sleep(HEARD_FOR_S)
    order(party, "seek", "20")
    time.sleep(HEARD_FOR_S)
    wait_for(party, "playing")
    waited_s, ordered_at = host.waited_s() + watched.waited_s(), now_ns()
    post(party, "next")
    first = songs["b"][:64].tobytes()
    while first not in watched.piped:
        assert now_ns() - ordered_at < 30e9, "the skip was never heard"
        time.sleep(0.005)
    heard_s = (now_ns() - ordered_at) / 1e9
    waited_s = host.waited_s() + watched.waited_s() - waited_s
    assert heard_s <= SKIP_S + waited_s, f"it took {heard_s:.2f} s, {waited_s:.2f} s of them waiting"
    time.sleep(HEARD_FOR_S)
    order(party, "stop")
    wait_for(party, "stopped")
    time.sleep(0.5)
    assert host.stop() == 0
    for listener in listeners:
        listener.wait_line("good-bye")
        listener.stop()
    piped = np.frombuffer(watched.wait_pipe(), np.int16).reshape(-1, 2)
    heard = [read_wav(listener.wav, *AUDIO) for listener in listeners if listener.wav is not None] + [piped]
    assert len(heard) == LISTENERS
    cuts = pieces(heard[0], songs)
    assert [(name, begin) for name, begin, _ in cuts] == [("a", 0), ("a", 20 * RATE), ("b", 0)]
    assert all(frames > RATE * HEARD_FOR_S / 2 for _, _, frames in cuts)
    for other in heard[1:]:
        assert np.array_equal(other, heard[0]), f"{pieces(other, songs)} instead of {cuts}"
