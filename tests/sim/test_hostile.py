"""One listener that is broken or means harm costs the host no more than its budget, and the others nothing."""

from itertools import pairwise

import pytest

from radiosync.host.copies import COPIES_PER_IP_MAX
from radiosync.host.events import CopyRefused, CopyServed
from radiosync.sim.checkers.outcome import JUDGES
from radiosync.sim.run import build, end_ns, run_scenario
from radiosync.sim.scenario import Listeners, Stream
from radiosync.sim.world import NodeSettings
from radiosync.units import NS_PER_MS, NS_PER_S
from radiosync.wire.codec import decode, encode
from radiosync.wire.messages import Announce, Leave, ListenerState, Nack, NackEntry, Report, Solicit

HOST = "10.0.0.1"
SECONDS = 8.0
TICK_NS = 10 * NS_PER_MS


class Rogue:
    """A machine with as many sockets as it likes, each of which gets a cookie of its own."""

    def __init__(self, world, scenario):
        self.world = world
        self.machine = world.machine("rogue", NodeSettings(), scenario.settings)
        self.control = (HOST, scenario.settings.network.control_port)
        self.count = 0

    def port(self):
        self.count += 1
        port = self.world.network.open(self.machine.ip, 0, lambda: None)
        port.send(encode(Solicit(session=0, nonce=self.count)), self.control)
        return port

    def answer(self, port):
        """Return the host's answer to the port's question, once it is there; what came besides is dropped."""
        answers = [m for data, *_ in port.receive() if isinstance(m := decode(data), Announce) and m.cookie]
        return answers[0] if answers else None

    def every(self, period_ns, do):
        def again():
            do()
            self.world.at(self.world.now + period_ns, again)

        self.world.at(NS_PER_S, again)

    @property
    def received(self):
        """How many datagrams came, read or not."""
        return self.world.network.link(self.machine.ip).down.counters.sent


def report(answer, **changes):
    values = dict.fromkeys(Report.__dataclass_fields__, 0) | {"state": ListenerState.PLAYING, "ready_frame": None}
    values |= {"session": answer.session, "cookie": answer.cookie, "listener_id": 66, "name": "rogue", "tier": 0}
    return encode(Report(**values | changes))


def asks_for_everything_for_ever(rogue):
    """NACK a hundred times a second all that there is, and read nothing."""
    port, known = rogue.port(), []

    def ask():
        known.extend([a] if not known and (a := rogue.answer(port)) else [])
        for answer in known:
            entries = tuple(NackEntry(seq=first, run=200) for first in range(0, 1000, 200))
            nack = Nack(session=answer.session, cookie=answer.cookie, listener_id=66, entries=entries)
            port.send(encode(nack), rogue.control)

    rogue.every(TICK_NS, ask)


def comes_and_goes_for_ever(rogue):
    """Join from a new socket every 10 ms, and leave at once."""
    last = []

    def come():
        for port in last:
            if (answer := rogue.answer(port)) is not None:
                port.send(report(answer, listener_id=rogue.count), rogue.control)
                leave = Leave(session=answer.session, cookie=answer.cookie, listener_id=rogue.count)
                port.send(encode(leave), rogue.control)
        last[:] = [rogue.port()]

    rogue.every(TICK_NS, come)


def looks_for_a_host_without_end(rogue):
    """Ask who is there, a thousand times a second."""
    port = rogue.port()

    def ask():
        for _ in range(10):
            rogue.count += 1
            port.send(encode(Solicit(session=0, nonce=rogue.count)), rogue.control)

    rogue.every(TICK_NS, ask)


def wants_copies(rogue):
    """Want eight copies, though multicast would do, and read none."""
    ports, known = [rogue.port() for _ in range(8)], {}

    def want():
        for number, port in enumerate(ports):
            if number not in known and (answer := rogue.answer(port)) is not None:
                known[number] = answer
            if number in known:
                port.send(report(known[number], wants_copy=True, listener_id=number + 1), rogue.control)

    rogue.every(NS_PER_S // 2, want)


def is_never_ready(rogue):
    """Take part in every start, and be ready for none; be out of sync, low and lossy."""
    port, known = rogue.port(), []

    def tell():
        known.extend([a] if not known and (a := rogue.answer(port)) else [])
        for answer in known:
            bad = {"sync_error_ns": 10**18, "symbols_lost": 10**6, "chunks_concealed": 10**6, "lead_ms": 2**32 - 1}
            port.send(report(answer, state=ListenerState.BUFFERING, rtt_ns=10**9, **bad), rogue.control)

    rogue.every(NS_PER_S // 2, tell)


# What each may make the host send to it in a second: repairs, four times the stream's rate, which counts as no less
# than 200 symbols; 1000 answers; four copies, each the stream at four times its rate (it is filling) and what is said.
BEHAVIOURS = {
    asks_for_everything_for_ever: 4 * 200 + 20,
    comes_and_goes_for_ever: 100 * 2 + 20,
    looks_for_a_host_without_end: 1000 + 200,
    wants_copies: COPIES_PER_IP_MAX * (4 * 35 + 20),
    is_never_ready: 20,
}


def scene(make_scenario):
    listeners = (Listeners(name="room", count=3, clock_ppm_spread=50.0),)
    return make_scenario(stream=Stream(songs_s=(SECONDS,)), listeners=listeners, from_first_frame=True, start_s_max=7.0)


def heard(world):
    sinks = [sink for node in world.listeners for sink in node.sinks.values()]
    return [(sink.first_frame, sink.next_frame, sink.silent_frames, sink.wrong_frames) for sink in sinks]


@pytest.fixture(scope="module")
def undisturbed(make_scenario):
    result = run_scenario(scene(make_scenario), 1)
    assert not result.violations
    return heard(result.world)


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda f: f.__name__)
def test_it_costs_the_others_nothing_and_the_host_no_more_than_its_budget(make_scenario, undisturbed, behaviour):
    scenario = scene(make_scenario)
    world = build(scenario, 1)
    rogue = Rogue(world, scenario)
    behaviour(rogue)
    received = [0]
    for second in range(1, int(SECONDS)):
        world.at(second * NS_PER_S, lambda: received.append(rogue.received))
    world.run(end_ns(scenario) + 6 * NS_PER_S)
    assert not [violation for judge in JUDGES for violation in judge(world, scenario)]
    assert heard(world) == undisturbed
    worst = max(b - a for a, b in pairwise(received))
    assert 0 < worst <= BEHAVIOURS[behaviour]
    (host,) = world.hosts
    if behaviour is wants_copies:
        assert sum(isinstance(e, CopyServed) and e.served for _, e in host.events) == COPIES_PER_IP_MAX
        assert sum(isinstance(e, CopyRefused) for _, e in host.events) == 4
    if behaviour is comes_and_goes_for_ever:
        assert len(host.session.listeners) <= 4


def test_who_comes_beside_one_who_asks_for_everything_plays_as_soon_as_ever(make_scenario):
    """At a rate at which a budget of repairs is worth something."""
    late = Listeners(name="late", count=3, start_s=7.0, start_s_spread=0.5)
    scenario = make_scenario(
        stream=Stream(rate=44_100, channels=2, sample="s16", songs_s=(20.0,)),
        listeners=(Listeners(name="room", count=1), late),
        config={"radio_sync.buffer_duration": 20.0},
    )
    world = build(scenario, 1)
    rogue = Rogue(world, scenario)
    asks_for_everything_for_ever(rogue)
    world.run(10 * NS_PER_S)
    for node in world.listeners:
        (sink,) = node.sinks.values()
        assert sink.first_at is not None, node.machine.name
        assert sink.first_at - node.started_at < 2 * NS_PER_S
        assert (sink.wrong_frames, sink.silent_frames) == (0, 0)
    (host,) = world.hosts
    counters = host.session.sender.counters
    assert counters.repairs_multicast + counters.repairs_unicast > 5000, "the budget was asked for"
