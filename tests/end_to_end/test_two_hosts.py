"""Two hosts on one group and port, at two addresses of this machine: each listener plays its own, bit for bit."""

import sys
from pathlib import Path

import pytest
from party import ENDED, Party, assert_same, read_wav, write_song

AUDIO = (44_100, 2, "PCM_16")
ATTIC = "127.0.0.2"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8 without being told")


def test_each_listener_stays_with_its_own_host_and_the_hosts_name_each_other(party: Party, tmp_path: Path) -> None:
    names = ("den", "attic")
    songs = {name: write_song(tmp_path / f"{name}.wav", *AUDIO, 6, seed=seed) for seed, name in enumerate(names, 1)}
    room = party.listener()
    den = party.host(tmp_path / "den.wav")
    room.wait_line(r"^host \S+ at 127\.0\.0\.1: ")
    attic = party.host(tmp_path / "attic.wav", args=["--interface", ATTIC])
    study = party.listener(args=["--host", ATTIC])
    den.wait_line(rf"\({ATTIC}\) hosts on this group and port too")
    attic.wait_line(r"\(127\.0\.0\.1\) hosts on this group and port too")
    study.wait_line(rf"^host \S+ at {ATTIC}: ")
    _, match = study.wait_line(r"^playing from frame (\d+)")
    for host, listener, name, first in ((den, room, "den", 0), (attic, study, "attic", int(match[1]))):
        listener.wait_line(ENDED)
        assert host.wait_end() == 0
        assert host.text.count("hosts on this group") == 1
        assert listener.stop() == 0
        assert listener.wav is not None
        played = read_wav(listener.wav, *AUDIO)
        wanted = songs[name][first:]
        assert_same(played[: len(wanted)], wanted, listener)
    assert "127.0.0.1" not in study.text.partition("\n")[2], "who asks for a host gets it"
