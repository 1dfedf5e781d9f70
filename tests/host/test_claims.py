"""Nobody holds up the others by what it says of itself, however much that is."""

from collections import deque

import pytest
from reports import a_report

from radiosync.host.coordinator import (
    LEAD_TIMES_USUAL,
    LEAD_USUAL_NS,
    MINORITY_WAIT_NS,
    RENDER_LEAD_MAX_NS,
    RENDER_MARGIN_NS,
    START_WAIT_NS,
    calculate_optimal_sync,
)
from radiosync.host.events import BufferChanged, ResyncOrdered, SyncGo
from radiosync.host.listeners import ANSWER_NS, NEWCOMERS_MAX, ListenerRow
from radiosync.host.resync import SPREAD_REPORTS
from radiosync.units import NS_PER_MS, NS_PER_S
from radiosync.wire.messages import ListenerState, Solicit

ANNA, BERT, CARL, EVIL = (("10.0.0.1", 1), ("10.0.0.2", 1), ("10.0.0.3", 1), ("10.9.9.9", 1))


def leads(*ms, machine=lambda number: f"10.0.0.{number}"):
    rows = [ListenerRow((machine(n), n), deque(), 0, a_report(lead_ms=lead_ms)) for n, lead_ms in enumerate(ms)]
    return calculate_optimal_sync(rows).delay_ns - RENDER_MARGIN_NS


def events_of(it, kind):
    return [event for event in iter(it.session.next_event, None) if isinstance(event, kind)]


def started_ns(it, began_at):
    newest = it.session.transport.newest
    return newest.effective_at - began_at if newest.playing else None


def test_a_long_lead_counts_where_it_is_not_far_from_what_is_usual():
    assert leads(200, 250, 700) == LEAD_USUAL_NS == 700 * NS_PER_MS
    assert leads(600, 500, 1200) == LEAD_TIMES_USUAL * 600 * NS_PER_MS


def test_one_that_needs_far_more_than_the_others_does_not_make_them_wait():
    assert leads(200, 1900, 250) == 250 * NS_PER_MS
    assert leads(200, (1 << 32) - 1) == 200 * NS_PER_MS


def test_where_most_need_so_much_they_have_it():
    assert leads(1500, 1600, 200) == 1600 * NS_PER_MS
    assert leads(3000, 3000, 200) == RENDER_LEAD_MAX_NS


def test_a_machine_has_one_voice_however_many_listeners_it_says_it_has():
    def evil_but_two(number):
        return f"10.0.0.{number}" if number < 2 else EVIL[0]

    assert leads(200, 300, *[1900] * 50, machine=evil_but_two) == 300 * NS_PER_MS


@pytest.mark.parametrize(("ready", "wait_ns"), [(2, MINORITY_WAIT_NS), (1, START_WAIT_NS)])
def test_a_few_that_are_not_ready_are_waited_for_less_long(driven, ready, wait_ns):
    it, others = driven(), (ANNA, BERT)[:ready]
    began_at = it.now
    for address in others:
        it.come(address, ready_frame=0)
    for port in range(3):
        it.come((EVIL[0], 1 + port), state=ListenerState.BUFFERING)
    it.run(8)
    assert wait_ns < started_ns(it, began_at) < wait_ns + 600 * NS_PER_MS


def test_questions_without_end_are_waited_for_once(driven):
    it = driven()
    began_at = it.now
    it.come(ANNA, ready_frame=0)
    for number in range(400):
        it.hear(Solicit, (EVIL[0], 1000 + number), nonce=3)
        it.tick()
    lead_ns = it.config.host.start_lead_ns
    assert ANSWER_NS < started_ns(it, began_at) < lead_ns + ANSWER_NS + 600 * NS_PER_MS


def once_each(it, count, port=0, **claims):
    """Let listeners come to one machine that report once, and are never heard again."""
    for number in range(count):
        address = (EVIL[0], 1 + port + number)
        it.come(address, **claims)
        it.here.pop(address)


def test_who_speaks_once_and_is_gone_counts_for_nothing_where_there_are_many(driven):
    it = driven()
    it.come(ANNA, ready_frame=0)
    once_each(it, NEWCOMERS_MAX)
    assert len(it.session.listeners.eligible(it.now)) == 1 + NEWCOMERS_MAX
    once_each(it, 1, port=NEWCOMERS_MAX)
    assert [row.address for row in it.session.listeners.eligible(it.now)] == [ANNA]
    it.come(BERT)
    it.come((EVIL[0], 99))
    it.report((EVIL[0], 99))
    heard = {row.address for row in it.session.listeners.eligible(it.now)}
    assert heard == {ANNA, BERT, (EVIL[0], 99)}, "who speaks twice does, and so does somebody else that has just come"


def test_a_crowd_that_comes_and_goes_holds_up_nobody(driven):
    it = driven(**{"radio_sync.buffer_duration": 4.0})
    it.come(ANNA, ready_frame=0, lead_ms=200)
    it.run(0.2)
    for second in range(20):
        claims = {"lead_ms": 1999, "sync_error_ns": -second * NS_PER_S, "jitter_us": 40_000_000}
        once_each(it, 5, port=10 * second, **claims)
        it.run(0.9)
    (go,) = events_of(it, SyncGo)
    assert go.reason == "everybody is ready"
    assert it.session._delay_ns(it.now) < 400 * NS_PER_MS
    assert events_of(it, ResyncOrdered | BufferChanged) == []


@pytest.mark.parametrize(("off_ms", "orders"), [((0.0, 400.0), 0), ((0.0, 0.5, 400.0), 0), ((0.0, 9.0, -9.0), 1)])
def test_nobody_jumps_for_a_few_that_are_far_off_alone(driven, off_ms, orders):
    it = driven(**{"radio_sync.resync_threshold": 5.0})
    for address, ms in zip((ANNA, BERT, CARL), off_ms, strict=False):
        it.come(address, ready_frame=0, lead_ms=200, sync_error_ns=round(ms * NS_PER_MS))
    it.run(SPREAD_REPORTS + 5)
    assert len(events_of(it, ResyncOrdered)) == orders
