"""Listeners that multicast does not reach, or not all the time, play the same frames as all others."""

import time
from pathlib import Path

import numpy as np
from orders import order, pieces, wait_for
from party import Party, read_wav, write_song

AUDIO = (44_100, 2, "PCM_16")
RATE = AUDIO[0]
NOWHERE = "239.255.255.254"  # no party's group: whoever is in it alone hears nothing that goes to a party's


def test_who_is_out_of_multicast_s_reach_plays_bit_for_bit_what_all_play(party: Party, tmp_path: Path) -> None:
    songs = {name: write_song(tmp_path / f"{name}.wav", *AUDIO, 30, seed=seed) for seed, name in enumerate("ab", 1)}
    cut_off = tmp_path / "cut-off"
    near = party.listener()
    away = party.listener(args=["--host", "127.0.0.1", "--group", NOWHERE])
    roaming = party.listener(impair={"seed": 1, "no_multicast": str(cut_off)})
    host = party.host(tmp_path / "a.wav", tmp_path / "b.wav", args=["--buffer", "12"])
    host.wait_stats(lambda r: r["position_s"] > 1)
    away.wait_stats(lambda r: r["state"] == "playing" and r["copy"])
    cut_off.touch()
    roaming.wait_line("asking for a copy by unicast")
    assert host.wait_stats(lambda r: r["copies"] == 2)["copies_refused"] == 0
    order(party, "pause")
    wait_for(party, "paused")
    time.sleep(0.5)
    order(party, "resume")
    wait_for(party, "playing")
    time.sleep(1)
    order(party, "next")
    wait_for(party, "playing")
    time.sleep(2)
    cut_off.unlink()
    roaming.wait_line("multicast arrives again")
    order(party, "seek", "27")
    host.wait_line("last frame")
    heard = []
    for listener in (near, away, roaming):
        listener.wait_line("stream has ended")
        assert listener.wav is not None
        heard.append(read_wav(listener.wav, *AUDIO))
    cut = pieces(heard[0], songs)
    assert [(name, begin) for name, begin, _ in cut] == [("a", 0), ("b", 0), ("b", 27 * RATE)]
    for other in heard[1:]:
        later = len(heard[0]) - len(other)  # on a busy machine one may come when the others have begun
        assert 0 <= later < RATE
        assert np.array_equal(other, heard[0][later:]), f"{pieces(other, songs)} instead of {cut}"
    assert host.stats()[-1]["copies"] == 1, "one has gone back to the group, the other can't"
