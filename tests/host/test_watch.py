from dataclasses import replace

import pytest

from radiosync.host.events import ListenerOutOfSync, ResyncOrdered
from radiosync.host.listeners import ListenerTable
from radiosync.host.resync import RESYNC_PAUSE_NS, SPREAD_NS
from radiosync.host.watch import ALARM_NS, LOOK_NS_MAX, ListenerWatch
from radiosync.units import NS_PER_MS, NS_PER_S
from radiosync.wire.messages import ListenerState

A, B, C = (("10.0.0.1", 1), ("10.0.0.2", 2), ("10.0.0.3", 3))


@pytest.fixture
def house(driven):
    it = driven(**{"radio_sync.sync_tolerance": 2.0, "radio_sync.resync_threshold": 5.0})
    for address in (A, B, C):
        it.come(address, lead_ms=200)
    it.run(7)
    while it.session.next_event() is not None:
        pass
    return it


def off(it, address, ms, **values):
    it.here[address] |= {"sync_error_ns": round(ms * NS_PER_MS)} | values


def events_of(it, kind):
    found = []
    while (event := it.session.next_event()) is not None:
        if isinstance(event, kind):
            found.append(event)
    return found


@pytest.mark.parametrize("ms", [2.5, -2.5])
def test_who_stays_out_of_sync_is_named_and_when_it_is_back(house, ms):
    off(house, B, ms)
    house.run(ALARM_NS / NS_PER_S)
    assert events_of(house, ListenerOutOfSync) == []
    house.run(1.5)
    (event,) = events_of(house, ListenerOutOfSync)
    assert (event.name, event.out_of_sync, event.error_ns) == (B[0], True, ms * NS_PER_MS)
    assert house.session.watch.out_of_sync(B)
    assert not house.session.watch.out_of_sync(A)
    off(house, B, 0.1)
    house.run(ALARM_NS / NS_PER_S + 1.5)
    assert [event.out_of_sync for event in events_of(house, ListenerOutOfSync)] == [False]
    assert not house.session.watch.out_of_sync(B)
    assert events_of(house, ResyncOrdered) == []


def test_two_late_reports_are_no_alarm(house):
    for _ in range(5):
        off(house, B, 4.0)
        house.run(2)
        off(house, B, 0.0)
        house.run(1)
    assert events_of(house, ListenerOutOfSync) == []


@pytest.mark.parametrize("values", [{"lead_ms": 0}, {"state": ListenerState.MUTED}, {"state": ListenerState.BUFFERING}])
def test_a_file_written_late_or_a_listener_that_is_not_heard_is_not_out_of_sync(house, values):
    off(house, B, 400.0, **values)
    house.run(10)
    assert events_of(house, ListenerOutOfSync | ResyncOrdered) == []


def test_listeners_too_far_apart_for_too_long_are_resynced_once_a_minute(house):
    before = house.session.transport.newest
    off(house, A, -3.0)
    off(house, C, 2.5)
    house.run(1 + SPREAD_NS / NS_PER_S - 0.5)
    assert house.session.transport.newest is before, "their own resync has not had its chance yet"
    house.run(1.5)
    (event,) = events_of(house, ResyncOrdered)
    assert event.reason == f"{A[0]} and {C[0]} are 5.5 ms apart"
    first = house.session.transport.newest
    assert first.repeats(before, 8_000)
    house.run(RESYNC_PAUSE_NS / NS_PER_S - 2)
    assert house.session.transport.newest is first
    assert house.session.resync(house.now) is not None, "a person's counts too"
    house.run(3)
    assert len(events_of(house, ResyncOrdered)) == 1
    assert house.session.transport.newest.repeats(first, 8_000)
    assert house.session.resyncs.count == 2


def test_all_of_them_late_together_are_not_apart(house):
    for address in (A, B, C):
        off(house, address, 4.5)
    house.run(10)
    assert events_of(house, ResyncOrdered) == []


def test_a_moment_apart_is_their_own_business(house):
    for _ in range(5):
        off(house, B, 400.0)
        house.run(2)
        off(house, B, 0.0)
        house.run(2)
    assert events_of(house, ResyncOrdered) == []


def test_what_a_silent_listener_said_last_is_not_held_against_it(house):
    off(house, B, 400.0)
    house.run(1.1)
    said = house.here.pop(B)
    house.run(10)
    assert len(events_of(house, ResyncOrdered)) <= 1
    house.session.listeners.get(B).report = replace(house.session.listeners.get(B).report, state=said["state"])
    house.run(RESYNC_PAUSE_NS / NS_PER_S)
    assert events_of(house, ResyncOrdered) == []


def test_each_row_is_looked_at_ten_times_a_second_until_there_are_many(house):
    assert [house.session.watch.due(house.now + ms * NS_PER_MS) for ms in (100, 200, 300)] == [True, True, True]


def test_a_crowd_is_looked_at_less_often_but_every_second(driven):
    table = ListenerTable(latency_samples=4, max_latency_ns=NS_PER_S, forget_ns=30 * NS_PER_S)
    watch = ListenerWatch(table, NS_PER_MS)
    for count, looks in ((10, 20), (100, 2), (200, 1), (400, 1)):
        table._rows = dict.fromkeys(range(count))
        now = count * 100 * NS_PER_S
        assert watch.due(now - NS_PER_S)
        assert sum(watch.due(now + ms * NS_PER_MS) for ms in range(0, 1000, 50)) == looks
        assert watch.due(now + NS_PER_S + LOOK_NS_MAX)
