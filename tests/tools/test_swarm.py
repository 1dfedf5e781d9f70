"""The swarm: a few of its listeners, on real sockets, at a host in the same thread."""

import argparse
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from radiosync.config import Config
from radiosync.drivers.clocks import local_now
from radiosync.drivers.host_driver import HostDriver
from radiosync.drivers.interfaces import LOOPBACK, Interface
from radiosync.drivers.sources import open_source
from radiosync.units import NS_PER_S

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import swarm
from swarm_listeners import Checked, Member, Place, Swarm, Truth
from swarm_others import Other

RATE = 8000
LO = Interface(LOOPBACK, "lo")
PATIENCE_NS = 30 * NS_PER_S  # of the test itself, on a machine that is busy


@pytest.fixture
def song(tmp_path):
    rng = np.random.default_rng(1)
    samples = (rng.normal(0, 3000, (20 * RATE, 1))).astype(np.int16)
    soundfile.write(tmp_path / "song.wav", samples, RATE, subtype="PCM_16")
    return tmp_path / "song.wav", samples


@pytest.fixture
def place():
    """A group and ports that hardly anybody else uses."""
    draw = random.SystemRandom()
    keys = {
        "network.group": f"239.255.{draw.randrange(1, 255)}.{draw.randrange(1, 255)}",
        "network.port": draw.randrange(34_000, 60_000, 3),
        "radio_sync.buffer_duration": 2.0,
        "radio_sync.adaptive_quality": False,
        "host.start_lead": 0.2,
        "host.control": "",
    }
    return Place(Config.load(None, keys), LO)


@pytest.fixture
def host(place, song):
    """A host that plays the song, with a turn whenever it is called."""
    driver = HostDriver(place.config, open_source([str(song[0])], place.config, "s16", print), (LO,), "host", None)
    yield driver
    driver.close()


def run(crowd, host, done, for_ns=PATIENCE_NS):
    """Drive both until `done`."""
    until = local_now() + for_ns

    def each_tick(now):
        host._turn(host._clock.now(), lambda event: None)

    while local_now() < until and not done():
        crowd.run(local_now() + NS_PER_S // 10, each_tick)


def members(place, crowd, truth, count, *, loss=0.0, exact=0):
    found = [
        Member(place, n, truth, loss=loss, seed=1, exact=n < exact, now=local_now()) for n in range(count)
    ]  # fmt: skip
    for member in found:
        crowd.add(member)
    return found


def test_five_play_and_hear_what_the_source_says(place, host, song):
    crowd = Swarm(place)
    five = members(place, crowd, Truth(song[1]), 5, loss=0.05, exact=2)
    mute = Other(place, 9, "nack-all", seed=1, now=local_now())
    crowd.add(mute)
    run(crowd, host, lambda: all(member.checked.chunks >= 8 for member in five))
    crowd.close()
    assert all(member.played_at is not None for member in five)
    assert [member.checked.chunks_different for member in five] == [0] * 5
    assert all(member.checked.frames > RATE and not member.checked.frames_different for member in five[:2])
    assert not any(member.checked.frames for member in five[2:]), "they decode nothing"
    assert all(member.lost > 0 for member in five)
    assert sum(member.session.stream.requests.nacks for member in five) > 0
    assert mute.asked > 0
    assert mute.came > 0
    assert sum(crowd.traffic.bytes_in.values()) > sum(crowd.traffic.again_in.values()) > 0


def test_wrong_audio_is_seen(place, host, song):
    """Neither of the two comparisons can be passed by anything."""
    spoiled = song[1].copy()
    spoiled[::1000] += 1
    crowd, truth = Swarm(place), Truth(spoiled)
    truth.agrees(3, 0, b"another chunk 3")
    two = members(place, crowd, truth, 2, exact=1)
    run(crowd, host, lambda: all(member.checked.chunks >= 6 for member in two))
    crowd.close()
    assert two[0].checked.frames_different > 0
    assert [member.checked.chunks_different for member in two] == [1, 1]


def test_what_is_remembered_of_chunks_is_bounded(monkeypatch):
    monkeypatch.setattr("swarm_listeners.CHUNKS_KNOWN_MAX", 3)
    truth = Truth()
    assert all(truth.agrees(seq, 0, b"a") for seq in range(5))
    assert len(truth._crcs) == 3
    assert not truth.agrees(4, 0, b"b")


OPTIONS = {
    "seed": 1,
    "join_over": 0.0,
    "listeners": 3,
    "churn": 0.2,
    "beside": None,
    "others": 0,
    "loss": 0.0,
    "out_of_reach": 0,
    "exact": 0,
    "patience": 5.0,
}


def test_who_goes_is_replaced_and_counted(place, host):
    party = swarm.Run(argparse.Namespace(**OPTIONS), place, Truth())
    for _ in range(40):
        party.swarm.run(local_now() + NS_PER_S // 40, party.each_tick)
    assert len(party.members()) == 3
    party.end()
    assert party.totals.members > 6
    assert not party.swarm.peers


def test_the_verdict(capsys):
    """Somebody who never plays, or hears what is wrong, or has holes without loss: each alone is not well."""

    def judged(**values):
        party = argparse.Namespace(
            totals=swarm.Totals(members=1, waits_s=[1.0], **values),
            options=argparse.Namespace(**OPTIONS | {"churn": 0.0}),
            swarm=argparse.Namespace(
                traffic=argparse.Namespace(bytes_in={1: 125_000}, again_in={}), late_ns=[1_000_000]
            ),
            harm=0,
        )
        return swarm.report(party, 10.0, 1.0, 0)

    assert judged()
    assert "0.10, 1.00, 0.00 Mbit/s" in capsys.readouterr().out
    for wrong in (
        {"never": 1}, {"concealed": 1}, {"checked": Checked(chunks_different=1)},
        {"checked": Checked(frames_different=1)},
    ):  # fmt: skip
        assert not judged(**wrong)
        assert "NOT well" in capsys.readouterr().out
