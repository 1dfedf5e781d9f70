"""Each checker that watches a run complains when it should: a good run is spoilt in one place."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from radiosync.clock.dac import StampSource
from radiosync.listener.rate import SETTLED_NS
from radiosync.sim.card import DacSettings
from radiosync.sim.checkers import Checks
from radiosync.sim.checkers.amplification import AmplificationChecker
from radiosync.sim.checkers.clock import ClockChecker
from radiosync.sim.checkers.liveness import LivenessChecker
from radiosync.sim.checkers.memory import REPAIR_BYTES, MemoryChecker, held_bytes
from radiosync.sim.checkers.positions import PositionChecker
from radiosync.sim.checkers.queues import QueueChecker
from radiosync.sim.checkers.repairs import RepairChecker
from radiosync.sim.checkers.requests import RequestChecker
from radiosync.sim.checkers.steering import SteeringChecker
from radiosync.sim.clocks import Shift
from radiosync.sim.link import LinkSettings
from radiosync.sim.run import build
from radiosync.sim.scenario import Fault, Host, Listeners, Order, Stream, Villain
from radiosync.units import NS_PER_MS, NS_PER_S
from radiosync.wire.codec import encode
from radiosync.wire.messages import Audio, Nack, NackEntry


class Party:
    """A world in the middle of its music, with all checkers watching."""

    def __init__(self, scenario, until_s):
        self.world = build(scenario, 1)
        self.checks = Checks(self.world, scenario)
        self.world.watch(self.checks.look)
        self.run(until_s)
        self.host, self.node = self.world.hosts[0], self.world.listeners[0]
        assert not self.complaints()

    def run(self, until_s):
        self.world.run(round(until_s * NS_PER_S))

    def of(self, kind):
        return next(checker for checker in self.checks.checkers if isinstance(checker, kind))

    def complaints(self, *kinds):
        found = [checker for checker in self.checks.checkers if not kinds or isinstance(checker, kinds)]
        return [complaint for checker in found for complaint in checker.complaints()]


@pytest.fixture
def party(make_scenario):
    return Party(make_scenario(4.0, count=1), 2.0)


@pytest.fixture
def card_party(make_scenario):
    listeners = (Listeners(name="room", dac=DacSettings()),)
    stream = Stream(channels=2, sample="f32", songs_s=(5.0,))
    return Party(make_scenario(listeners=listeners, stream=stream, calm_from_s=1.0, converge_s_max=1.5), 3.0)


def test_a_clock_beyond_its_bound_is_seen(party):
    clock = party.node.streams[0].clock
    bound_ns = clock._mapping.bound_ns_at(party.node.machine.clock.local(party.world.now))
    clock._mapping = replace(clock._mapping, host_at=clock._mapping.host_at + round(2 * bound_ns) + 1000)
    party.checks.look()
    (complaint,) = party.complaints()
    assert "with a bound of" in complaint


STEP_AT_S, STEP_NS = 2.5, 1_000_000


@pytest.fixture
def stepped_party(make_scenario):
    """A party half a second after the listener's clock was set ahead by a millisecond."""
    step = Fault(kind="clock_step", at_s=STEP_AT_S, for_s=0.1, ms=STEP_NS / 1e6)
    party = Party(make_scenario(4.0, count=1, faults=(step,)), 2.0)
    party.run(3.0)
    assert not party.complaints()
    return party


TILT, STEP_AGO_S = 400e-6, 3.0 - STEP_AT_S  # of a line through both sides of a step, and for how long it has gone on


def beyond_its_bound(party, beyond_ns, since_s, tilt=0.0):
    """Let the listener's line be off by so much more than its bound, and rest on exchanges since that time."""
    clock, local, world = party.node.streams[0].clock, party.node.machine.clock, party.world
    now, mapping = local.local(world.now), replace(clock._mapping, skew=clock._mapping.skew + tilt)
    error_ns = mapping.host_from_local(now) - party.host.machine.clock.host(world.now)
    off_ns = round(mapping.bound_ns_at(now) + beyond_ns) - error_ns
    clock._since = local.local(round(since_s * NS_PER_S))
    clock._mapping = replace(mapping, host_at=mapping.host_at + off_ns)
    party.of(ClockChecker).look()
    return party.complaints(ClockChecker)


@pytest.mark.parametrize(
    ("beyond_ns", "since_s", "tilt", "seen"),
    [
        (0.9 * STEP_NS, STEP_AT_S - 0.1, 0.0, False),
        (1.1 * STEP_NS, STEP_AT_S - 0.1, 0.0, True),
        (STEP_NS + 0.8 * TILT * STEP_AGO_S * NS_PER_S, STEP_AT_S - 0.1, TILT, False),
        (STEP_NS + 1.2 * TILT * STEP_AGO_S * NS_PER_S, STEP_AT_S - 0.1, TILT, True),
        (0.1 * STEP_NS, STEP_AT_S + 0.1, TILT, True),
    ],
    ids=[
        "by the step",
        "by more than the step",
        "by what a line through both sides of it has gone on to",
        "by more than that",
        "though of before the step nothing is left",
    ],
)
def test_a_clock_may_be_off_by_a_step_for_as_long_as_what_was_before_counts(
    stepped_party, beyond_ns, since_s, tilt, seen
):
    assert bool(beyond_its_bound(stepped_party, beyond_ns, since_s, tilt)) == seen


def test_a_step_is_an_excuse_for_no_longer_than_a_window_lasts(stepped_party):
    checker, clock = stepped_party.of(ClockChecker), stepped_party.node.streams[0].clock
    before = stepped_party.node.machine.clock.local(NS_PER_S)
    shifted_ns, skew = [], checker._skew(stepped_party.node, stepped_party.host)
    for later_s in (200, 260):
        mapping = replace(clock._mapping, skew=skew, local_at=clock._mapping.local_at + later_s * NS_PER_S)
        shifted_ns.append(checker._shifted_ns(stepped_party.node, stepped_party.host, mapping, before))
    assert shifted_ns == [pytest.approx(STEP_NS, rel=1e-3), 0.0]


def test_while_a_line_rests_on_what_was_before_a_step_its_sigma_is_not_judged(stepped_party):
    checker, clock = stepped_party.of(ClockChecker), stepped_party.node.streams[0].clock
    looks, noticed = checker.looks, clock._since
    clock._since = stepped_party.node.machine.clock.local(NS_PER_S)
    checker.look()
    assert checker.looks == looks
    clock._since = max(noticed, stepped_party.node.machine.clock.local(round((STEP_AT_S + 0.1) * NS_PER_S)))
    checker.look()
    assert checker.looks == looks + 1


def test_a_sigma_that_promises_too_much_is_seen(party):
    clock, checker = party.node.streams[0].clock, party.of(ClockChecker)
    clock._mapping = replace(clock._mapping, sigma_ns=0.0, skew_sigma=0.0, bound_ns=1e6, skew_bound=0.0)
    while checker.looks < 600:
        checker.look()
    checker.finish()
    (complaint,) = party.complaints()
    assert "within three of its sigmas" in complaint


def test_a_queue_beyond_its_limit_is_seen(party):
    party.node.streams[0].buffer.chunks_max = 0
    party.of(QueueChecker).look()
    (complaint,) = party.complaints()
    assert "chunks buffered" in complaint


def test_a_session_that_holds_more_than_its_queues_is_seen(party):
    checker = party.of(MemoryChecker)
    checker._next_at = 0
    checker.look()
    assert len(checker.measured) == 2
    assert not party.complaints()
    party.node.streams[0].forgotten_by_nobody = [bytes(1000) for _ in range(2000)]
    checker._next_at = 0
    checker.look()
    (complaint,) = party.complaints()
    assert "room: holds" in complaint


@pytest.mark.parametrize(("a_minute", "may", "seen"), [(100, 0, False), (20_000, 0, True), (20_000, 60_000, False)])
def test_a_session_that_grows_with_the_hours_is_seen(party, a_minute, may, seen):
    """But not one that sends further and further ahead."""
    checker = party.of(MemoryChecker)
    one = object()
    checker.measured["room"] = [
        (n * 60 * NS_PER_S, 300_000 + n * a_minute, 1_000_000.0 + n * may, one) for n in range(60)
    ]
    checker.finish()
    assert bool(party.complaints()) == seen
    checker.measured["room"] = [(*row[:3], object()) for row in checker.measured["room"]]
    checker.finish()
    assert bool(party.complaints()) == seen, "another stream is not the same one grown"


def test_a_host_that_begins_anew_has_not_taken_back_its_repairs(party):
    checker, (host,) = party.of(MemoryChecker), party.world.hosts
    allowed = []
    for repairs in (0, 5000, 0, 3000):
        host.session.sender.counters.repairs_unicast = repairs
        checker._next_at = 0
        checker.look()
        allowed.append(checker.measured[host.machine.name][-1][2])
    assert allowed == sorted(allowed)
    assert allowed[-1] - allowed[0] == 8000 * REPAIR_BYTES


def test_everything_that_is_held_is_measured_once():
    block = bytes(100_000)
    held = {"a": [block, block], "b": ({"c": np.zeros(5000)[10:]},), "f": test_everything_that_is_held_is_measured_once}
    assert 140_000 < held_bytes(held) < 142_000


def repair(party, index):
    chunk = party.host.session.sender.history.get(3)
    audio = Audio(
        session=party.host.session.session,
        timeline=party.host.session.transport.newest,
        chunk=chunk.header,
        index=0,
        repair=index >= 0,
        payload=chunk.symbol(0) if index < 0 else index.to_bytes(2, "big") + chunk.symbol(0)[2:],
    )
    return encode(audio)


@pytest.mark.parametrize(
    ("whom", "per_s"), [("10.", 4 * 200), ("all in", 8 * 200), ("all whom multicast does not reach in", 2000)]
)
def test_a_host_that_repairs_beyond_its_budget_is_seen(party, whom, per_s):
    checker, network, copies = party.of(RepairChecker), party.world.network, party.host.session.copies
    source, group = party.node.streams[0].control_address, (party.host.machine.config.network.group, 5000)
    network._members[group] = []
    gone = SimpleNamespace(copies=(), sender=party.host.session.sender, session=-1)
    party.world.hosts.insert(0, SimpleNamespace(machine=party.host.machine, session=gone, ended=True))
    far = [(f"10.0.8.{number}", 5) for number in range(4)]  # one alone may not have so much
    to = {"10.": [party.node.control_address], "all in": [group]}.get(whom, far)
    for address in to if to is far else ():
        copies.serve(address, 0)
    for number in range(per_s + 17):
        network.send(repair(party, number), source, to[number % len(to)])
        network.send(repair(party, -1), source, to[0])  # music, of which there is as much as there is
    checker.finish()
    assert not list(checker.complaints())
    network.send(repair(party, 60_000), source, to[0])
    checker.finish()
    (complaint,) = checker.complaints()
    assert f"{per_s + 18} repairs to {whom}" in complaint


def nack(party, seq):
    stream = party.node.streams[0]
    entry = NackEntry(seq=seq, run=1, bitmap=0)
    return encode(Nack(session=stream.session, cookie=stream.cookie, listener_id=1, entries=(entry,)))


def test_a_nack_for_what_is_due_already_is_seen(party):
    control = party.node.streams[0].control_address
    party.world.network.send(nack(party, 3), party.node.control_address, control)
    assert not party.complaints(RequestChecker)
    party.world.network.send(nack(party, 0), party.node.control_address, control)
    (complaint,) = party.complaints(RequestChecker)
    assert "asks for chunk 0" in complaint


@pytest.mark.parametrize(("slept_s", "seen"), [(0.1, True), (2.0, False)])
def test_who_has_slept_and_had_no_answer_since_does_not_know_what_is_due_already(party, slept_s, seen):
    """Whenever that was: its clock is behind by what it slept."""
    now, name = party.world.now, party.node.machine.name
    party.world.shifts[name] = [Shift(begin=now - 10, end=now, size_ns=-slept_s * NS_PER_S)]
    mapping = party.node.streams[0].schedule.mapping
    before = party.node.machine.clock.local(now - 20)
    back_ns = before - mapping.local_at
    party.node.streams[0].schedule.mapping = replace(mapping, local_at=before, host_at=mapping.host_at + back_ns)
    party.world.network.send(nack(party, 0), party.node.control_address, party.node.streams[0].control_address)
    assert bool(party.complaints(RequestChecker)) == seen


def test_who_knows_the_time_from_an_announcement_alone_may_be_late(party):
    party.node.streams[0].clock.reset()
    party.world.network.send(nack(party, 0), party.node.control_address, party.node.streams[0].control_address)
    assert not party.complaints(RequestChecker)


@pytest.fixture
def cut_off(make_scenario):
    """A listener that hears nothing from 1.6 to 2.36 s, and a jump that is ordered at 1.8 s, decided at 2.3."""
    fault = Fault(kind="outage_down", at_s=1.6, for_s=0.76)
    order = Order(kind="next", at_s=1.8)
    stream = Stream(songs_s=(10.0, 4.0))
    config = {"radio_sync.buffer_duration": 6.0, "radio_sync.chunk_duration": 0.5}
    party = Party(make_scenario(count=1, stream=stream, faults=(fault,), orders=(order,), config=config), 2.35)
    assert party.node.told(party.host.session.session).versions == [1, 2]
    assert [record.playing for record in party.host.records] == [False, True, True]
    return party


def test_who_has_not_been_told_of_a_jump_is_not_judged_by_it(cut_off):
    network, control = cut_off.world.network, cut_off.node.streams[0].control_address
    ended_at = cut_off.host.machine.clock.true(cut_off.host.records[2].effective_at)
    frame = cut_off.host.session.sender.history.get(6).header.first_frame
    assert cut_off.host.machine.clock.true(cut_off.host.records[1].play_at(frame, 8000)) > ended_at
    network.send(nack(cut_off, 6), cut_off.node.control_address, control)
    assert not cut_off.complaints(RequestChecker)
    network.send(nack(cut_off, 0), cut_off.node.control_address, control)
    (complaint,) = cut_off.complaints(RequestChecker)
    assert "asks for chunk 0" in complaint, "which is over by what it has been told as well"


def test_who_asks_for_what_it_has_been_told_is_left_out_is_seen(cut_off):
    cut_off.run(2.5)
    assert cut_off.node.told(cut_off.host.session.session).versions == [1, 2, 3]
    assert not cut_off.complaints()
    cut_off.world.network.send(nack(cut_off, 6), cut_off.node.control_address, cut_off.node.streams[0].control_address)
    (complaint,) = cut_off.complaints(RequestChecker)
    assert "asks for chunk 6, which it has been told is left out" in complaint


def test_who_may_reckon_when_a_chunk_is_due_has_had_nothing_of_it(cut_off):
    cut_off.run(2.5)
    cut_off.node.told(cut_off.host.session.session).chunks.clear()
    for seq in (0, 6):
        cut_off.world.network.send(
            nack(cut_off, seq), cut_off.node.control_address, cut_off.node.streams[0].control_address
        )
    assert not cut_off.complaints()


@pytest.mark.parametrize(
    ("loss", "buffer_s", "chunk_s", "orders"), [(0.4, 0.5, 0.1, ()), (0.3, 10.0, 0.5, (Order(kind="next", at_s=3.0),))]
)
def test_with_much_lost_nobody_asks_for_what_is_over(make_scenario, loss, buffer_s, chunk_s, orders):
    config = {"radio_sync.buffer_duration": buffer_s, "radio_sync.chunk_duration": chunk_s}
    room = Listeners(name="room", count=2, clock_ppm_spread=50.0, down=LinkSettings(loss=loss))
    stream = Stream(songs_s=(20.0, 4.0) if orders else (12.0,))
    party = Party(make_scenario(stream=stream, listeners=(room,), orders=orders, config=config), 12.0)
    assert party.of(RequestChecker).nacks > 60


def test_too_many_nacks_are_seen(party):
    for _ in range(50):
        party.world.network.send(nack(party, 3), party.node.control_address, party.node.streams[0].control_address)
    assert "NACKs in a second" in party.complaints(RequestChecker)[0]


def test_an_answer_longer_than_allowed_is_seen(party):
    stranger, checker = ("10.0.9.9", 5), party.of(AmplificationChecker)
    host = party.node.streams[0].control_address
    for arrived in checker.world.network.arrivals:
        arrived(bytes(100), stranger, host)
    party.world.network.send(bytes(300), host, stranger)
    assert not party.complaints()
    party.world.network.send(bytes(1), host, stranger)
    (complaint,) = party.complaints()
    assert "301 bytes to" in complaint


def test_whoever_has_shown_the_cookie_may_be_sent_anything(party):
    party.world.network.send(bytes(100_000), party.node.streams[0].control_address, party.node.control_address)
    assert not party.complaints()


@pytest.mark.parametrize("delay_ms", [0, 20])
def test_of_two_hosts_each_is_shown_its_own_cookie(make_scenario, delay_ms):
    """Whoever asks the group for a host is answered by both, and heeds one of them."""
    greedy = Villain(kind="greedy", at_s=1.5, for_s=2.0, rate_per_s=5.0)
    scenario = make_scenario(5.0, listeners=(Listeners(name="room", hears="host"),), villains=(greedy,), complete=False)
    link = LinkSettings(delay_ns=delay_ms * NS_PER_MS)
    party = Party(replace(scenario, neighbour=Host(songs_s=(5.0,), up=link)), 1.0)
    party.run(4.0)
    assert sum(party.of(AmplificationChecker)._to.values()) > 0
    assert not party.complaints(AmplificationChecker)


@pytest.mark.parametrize(("slept", "seen"), [(False, True), (True, False)])
def test_who_sleeps_when_its_host_ends_can_learn_the_time_from_nobody(make_scenario, slept, seen):
    limits = {"converge_s_max": 1.0, "calm_error_ns_max": NS_PER_MS}
    party = Party(make_scenario(3.0, count=1, calm_from_s=1.0, **limits), 3.9)
    party.run(4.5)
    node, stream = party.node, party.node.streams[0]
    assert party.host.session.finished
    asked_at = node.machine.clock.true(stream.clock.mapping().local_at)
    if slept:
        party.world.shifts[node.machine.name] = [Shift(begin=asked_at + 1, end=asked_at + 2, size_ns=-1e9)]
    (sink,) = node.sinks.values()
    sink.emitted[-1] = (sink.emitted[-1][0], sink.emitted[-1][1] + NS_PER_S)
    party.of(PositionChecker).finish()
    assert bool(party.complaints(PositionChecker)) == seen


def test_who_does_not_play_when_the_faults_have_stopped_is_seen(make_scenario):
    fault = Fault(kind="stall", at_s=1.0, for_s=20.0)
    scenario = make_scenario(8.0, count=1, faults=(fault,), calm_from_s=2.0, converge_s_max=2.0, complete=False)
    party = Party(scenario, 3.0)
    party.node.session.stream = None
    party.run(5.0)
    (complaint,) = party.complaints(LivenessChecker)
    assert "is WAITING, 2.0 s after the last fault" in complaint


@pytest.mark.parametrize(("hears", "seen"), [("host", False), ("neighbour", True)])
def test_who_came_when_its_host_was_about_to_end_need_not_play(make_scenario, hears, seen):
    room = Listeners(name="room", hears=hears)
    scenario = make_scenario(2.0, listeners=(room,), calm_from_s=6.0, converge_s_max=2.0, complete=False)
    party = Party(replace(scenario, neighbour=Host(songs_s=(20.0,))), 7.99)
    party.node.streams.clear()
    party.node.session.stream = None
    party.run(8.0)
    party.of(LivenessChecker).look()
    assert bool(party.complaints(LivenessChecker)) == seen


def test_what_is_missing_when_the_faults_have_stopped_is_seen(make_scenario):
    party = Party(make_scenario(4.0, count=1, calm_from_s=1.0, converge_s_max=1.0), 3.0)
    party.node.streams[0].playout.concealed_frames += 1
    party.of(LivenessChecker).finish()
    (complaint,) = party.complaints()
    assert "1 frames concealed" in complaint


def test_the_end_of_all_faults_mends_every_link(make_scenario):
    scenario = make_scenario(4.0, count=1, link=LinkSettings(loss=1.0, duplicate=0.5), calm_from_s=2.0, complete=False)
    world = build(scenario, 1)
    world.run(1 * NS_PER_S)
    assert not world.listeners[0].streams, "nothing passes"
    world.run(4 * NS_PER_S)
    assert world.listeners[0].streams


@pytest.mark.parametrize("jump_ns", [200_000, 30 * NS_PER_MS, 100 * NS_PER_MS])
def test_jumps_of_a_sound_card_that_nobody_counts_are_seen(card_party, jump_ns):
    record, checker = card_party.node.dac.record, card_party.of(PositionChecker)
    checker.finish()
    assert not list(checker.complaints())
    for n in (150, 170, 190, 210):
        record.at[n:] = [at + jump_ns for at in record.at[n:]]
    checker.finish()
    (complaint,) = checker.complaints()
    assert "4 jumps were heard" in complaint


def test_what_a_card_delays_itself_is_no_jump_of_ours(card_party):
    node, checker = card_party.node, card_party.of(PositionChecker)
    for n in (150, 170, 190, 210):
        node.dac.delay(NS_PER_MS)
        node.dac.record.at[n:] = [at + NS_PER_MS for at in node.dac.record.at[n:]]
    checker.finish()
    assert not list(checker.complaints())


@pytest.mark.parametrize("late_ns", [2 * NS_PER_MS, 100 * NS_PER_MS, 1000 * NS_PER_MS])
def test_a_sound_card_that_is_late_when_all_should_be_well_is_seen(card_party, late_ns):
    """Also by whole periods of the tone, and whole chunks."""
    record, checker = card_party.node.dac.record, card_party.of(PositionChecker)
    checker.scenario = replace(checker.scenario, limits=replace(checker.scenario.limits, calm_error_ns_max=NS_PER_MS))
    checker.finish()
    assert not list(checker.complaints())
    record.at[:] = [at + late_ns for at in record.at]
    checker.finish()
    (complaint,) = checker.complaints()
    assert "from its play-at when all should be well" in complaint


def test_a_ratio_beyond_belief_and_resyncs_in_a_row_are_seen(card_party):
    playout, checker = card_party.node.streams[0].playout, card_party.of(SteeringChecker)
    playout.correction = 0.02
    checker.look()
    assert "a ratio 2.0000% off" in card_party.complaints()[0]
    playout.correction = 0.0
    playout.hard_resyncs += 1
    checker.look()
    assert len(card_party.complaints()) == 1
    playout.hard_resyncs += 1
    checker.look()
    assert "hard resyncs" in card_party.complaints()[1]


@pytest.mark.parametrize(
    ("what", "ppm", "complaint"),
    [
        ("steering", 5, None),
        ("steering", 30, "steered by 30 ppm"),
        ("ratio", 100, None),
        ("ratio", 300, "a step of 30"),
    ],
)
def test_a_ratio_that_changes_too_fast_is_seen(card_party, what, ppm, complaint):
    playout, checker = card_party.node.streams[0].playout, card_party.of(SteeringChecker)
    if what == "steering":
        playout._controller.correction += ppm * 1e-6
    else:
        playout.correction += ppm * 1e-6
    checker.look()
    complaints = card_party.complaints()
    assert len(complaints) == bool(complaint)
    assert all(complaint in each for each in complaints)


@pytest.mark.parametrize(
    ("sigma_ppm", "source", "complaints"),
    [(1.0, "device", 1), (25.0, "device", 1), (40.0, "device", 0), (1.0, "entry", 0)],
)
def test_who_has_played_for_a_while_may_change_the_ratio_by_what_it_is_unsure_of(
    card_party, sigma_ppm, source, complaints
):
    node, checker = card_party.node, card_party.of(SteeringChecker)
    node.dac._dac.source = StampSource(source)
    playout = node.streams[0].playout
    node.started_at -= SETTLED_NS
    checker._seen[playout] = replace(checker._seen[playout], skew_sigma=sigma_ppm * 1e-6)
    playout.correction += 100e-6
    checker.look()
    assert len(card_party.complaints()) == complaints
