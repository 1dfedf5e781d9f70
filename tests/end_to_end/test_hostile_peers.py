"""One machine that asks for everything, and comes and goes, for ever: what others write is the source all the same."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from party import ENDED, Party, assert_same, read_wav, write_song

from radiosync.config import Config
from radiosync.drivers.clocks import local_now
from radiosync.drivers.interfaces import Interface
from radiosync.host.listeners import ROWS_PER_MACHINE_MAX
from radiosync.host.sender import REPAIRS_PER_S_MIN
from radiosync.repair.respond import BURST
from radiosync.units import NS_PER_S, LocalNs

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from swarm_listeners import Place, Swarm
from swarm_others import Other

AUDIO = (44_100, 2, "PCM_16")
SECONDS = 7.0
ROGUE = Interface("127.0.0.66", "lo")  # another machine, as far as the host can see
GREEDY, RESTLESS = 5, 5

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems have one loopback address")


@contextmanager
def hostile(party: Party) -> Iterator[list[int]]:
    """Let some ask for everything for ever, and others come and go; yield how often they have."""
    config = Config.load(None, {"network.group": party.group, "network.port": party.port})
    swarm, over, harm, number = Swarm(Place(config, ROGUE)), threading.Event(), [0, 0], 0

    def each_tick(now: LocalNs) -> None:
        nonlocal number
        for peer in [peer for peer in swarm.peers if isinstance(peer, Other) and peer.done]:
            swarm.remove(peer, politely=False)
            harm[1] += 1
        harm[0] = sum(peer.asked for peer in swarm.peers[:GREEDY] if isinstance(peer, Other))
        while len(swarm.peers) < GREEDY + RESTLESS:
            number += 1
            kind = "nack-all" if number <= GREEDY else "join-leave"
            swarm.add(Other(swarm.place, number, kind, seed=1, now=now))

    def harass() -> None:
        while not over.is_set():
            swarm.run(LocalNs(local_now() + NS_PER_S // 10), each_tick)
        swarm.close()

    thread = threading.Thread(target=harass, daemon=True)
    thread.start()
    yield harm
    over.set()
    thread.join()


def test_others_hear_the_source_and_the_host_sends_no_more_than_its_budget(party: Party, tmp_path: Path) -> None:
    source = write_song(tmp_path / "song.wav", *AUDIO, SECONDS)
    (early,) = party.listeners(1)
    host = party.host(tmp_path / "song.wav", args=["--codec", "pcm"])
    host.wait_stats(lambda record: record["position_s"] > 0.2)
    with hostile(party) as harm:
        host.wait_stats(lambda record: record["repairs_unicast"] + record["repairs_multicast"] > 500)
        (late,) = party.listeners(1)
        for listener in (early, late):
            listener.wait_line(ENDED)
        assert min(harm) > 20
    assert host.wait_end() == 0, host.text
    for listener in (early, late):
        assert listener.stop() == 0, listener.text
    assert early.wav is not None
    assert late.wav is not None
    assert_same(read_wav(early.wav, *AUDIO), source, "who was there before")
    heard = read_wav(late.wav, *AUDIO)
    assert len(heard) > AUDIO[0] // 2
    assert_same(heard, source[-len(heard) :], "who came meanwhile")
    records = host.stats()
    per_s = 8 * max(REPAIRS_PER_S_MIN, records[-1]["symbols_sent"] / SECONDS)
    for before, after in pairwise(records):
        repairs = sum(after[key] - before[key] for key in ("repairs_unicast", "repairs_multicast"))
        assert repairs <= per_s * (after["t"] - before["t"] + 0.1) + BURST
    assert max(len(record["listeners"]) for record in records) <= ROWS_PER_MACHINE_MAX + 2
