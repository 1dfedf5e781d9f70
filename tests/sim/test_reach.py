"""Listeners that multicast does not reach hear the same, from the same frame on, at the same instant."""

from dataclasses import replace

import pytest

from radiosync.host.events import CopyRefused, CopyServed
from radiosync.listener.events import CopyChanged
from radiosync.sim.link import LinkSettings
from radiosync.sim.run import run_scenario
from radiosync.sim.scenario import Fault, Listeners, Order, Stream

CUT_OFF = LinkSettings(multicast_loss=1.0)
NAMED = {"listener.host": "10.0.0.1"}  # the host is the first machine of every world


def copied(result, name="far"):
    """Return when the listener wanted a copy and when no more, in seconds."""
    (node,) = (n for n in result.world.listeners if n.machine.name == name)
    return [(event.wanted, at / 1e9) for at, event in node.events if isinstance(event, CopyChanged)]


def sink_of(result, name):
    (node,) = (n for n in result.world.listeners if n.machine.name == name)
    (sink,) = node.sinks.values()
    return sink


def test_where_multicast_stops_a_copy_is_served_within_two_seconds_and_given_back(make_scenario):
    listeners = (Listeners(name="near", count=2), Listeners(name="far"))
    fault = Fault(kind="no_multicast", at_s=5.0, for_s=10.0, listeners=("far",))
    orders = (Order(kind="pause", at_s=8.0), Order(kind="resume", at_s=9.5), Order(kind="next", at_s=12.0))
    scenario = make_scenario(
        stream=Stream(songs_s=(12.0, 12.0)), listeners=listeners, faults=(fault,), orders=orders, extra_s=10.0,
        from_first_frame=True,
    )  # fmt: skip
    result = run_scenario(scenario, 1)
    assert not result.violations
    (on, asked_s), (off, back_s) = copied(result)
    assert (on, off) == (True, False)
    assert 6.0 < asked_s < 7.0
    assert 15.0 < back_s < 20.0
    host = result.world.hosts[0]
    assert [event.served for _, event in host.events if isinstance(event, CopyServed)] == [True, False]
    far, near = sink_of(result, "far"), sink_of(result, "near")
    assert (far.first_frame, far.next_frame) == (near.first_frame, near.next_frame)
    assert [frame for frame, _ in far.emitted if frame in host.source.cuts.values()], "the skip, at the frame of all"
    assert far.silent_frames == 0


def test_who_names_the_host_plays_where_no_multicast_passes_at_all(make_scenario):
    listeners = (
        Listeners(name="near"),
        Listeners(name="far", down=CUT_OFF),
        Listeners(name="late", start_s=6.0, down=CUT_OFF),
    )
    orders = (
        Order(kind="pause", at_s=9.0),
        Order(kind="resume", at_s=11.0),
        Order(kind="seek", at_s=13.0, seconds=2.0),
    )
    scenario = make_scenario(16.0, listeners=listeners, orders=orders, extra_s=12.0, config=NAMED)
    result = run_scenario(scenario, 1)
    assert not result.violations
    ((wanted, _),) = copied(result)
    assert wanted
    assert copied(result, "late")[0][1] < 7.0, "soon, since the host was named"
    assert not copied(result, "near")
    host = result.world.hosts[0]
    assert sink_of(result, "far").first_frame == 0
    late = sink_of(result, "late")
    assert late.first_at < 8.5e9
    assert late.next_frame == host.source.end_frame


@pytest.mark.parametrize("seed", [1, 2])
def test_a_copy_that_loses_is_repaired(make_scenario, seed):
    lossy = replace(CUT_OFF, loss=0.1)
    listeners = (Listeners(name="near", count=2), Listeners(name="far", count=3, up=LinkSettings(loss=0.1), down=lossy))
    result = run_scenario(make_scenario(20.0, listeners=listeners, config=NAMED), seed)
    assert not result.violations


def test_who_is_served_a_copy_writes_the_source_while_the_others_are_healed_by_parity(make_scenario):
    loss = LinkSettings(loss=0.05)
    listeners = (
        Listeners(name="near", count=5, up=loss, down=loss),
        Listeners(name="far", up=loss, down=replace(CUT_OFF, loss=0.05)),
    )
    config = NAMED | {"network.datagram_max": 548}  # more symbols in a chunk
    result = run_scenario(make_scenario(20.0, listeners=listeners, config=config, from_first_frame=True), 1)
    assert not result.violations
    (far,) = (n for n in result.world.listeners if n.machine.name == "far")
    lost = far.streams[0].counters.symbols_lost
    sent = result.world.hosts[0].session.sender.counters
    assert lost > 50
    assert sent.repairs_parity > 50
    assert sent.repairs_unicast >= lost, "its own, since it hears none of what all get"
    assert sink_of(result, "far").wrong_frames == 0


def test_a_switch_that_forgot_a_member_is_told_again_before_a_copy_is_needed(make_scenario):
    listeners = (Listeners(name="near"), Listeners(name="far"))
    fault = Fault(kind="membership_lost", at_s=5.0, listeners=("far",))
    config = {"radio_sync.buffer_duration": 4.0}  # so that music comes all the time
    result = run_scenario(make_scenario(12.0, listeners=listeners, faults=(fault,), config=config), 1)
    assert not result.violations
    assert not copied(result)
    (far,) = (n for n in result.world.listeners if n.machine.name == "far")
    assert 1 <= far.session.reach.rejoins <= 2, "at once, and perhaps once more when the host has gone"


def test_no_more_are_served_than_the_host_means_to(make_scenario):
    listeners = (Listeners(name="near", count=2), Listeners(name="far", count=5, down=CUT_OFF))
    config = NAMED | {"host.copies_max": 3}
    result = run_scenario(make_scenario(10.0, listeners=listeners, config=config, complete=False), 1)
    host = result.world.hosts[0]
    assert sum(isinstance(event, CopyRefused) for _, event in host.events) == 2
    assert {event.served for _, event in host.events if isinstance(event, CopyServed)} == {True}
    heard = [n for n in result.world.listeners if n.sinks and next(iter(n.sinks.values())).next_frame == 80_000]
    assert len(heard) >= 5, "those near, and three of those far"
