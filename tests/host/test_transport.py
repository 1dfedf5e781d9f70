from collections import deque

import pytest
from reports import a_report

from radiosync.host.coordinator import (
    JUMP_WAIT_NS,
    RENDER_LEAD_MAX_NS,
    RENDER_MARGIN_NS,
    START_WAIT_NS,
    SYNC_MARGIN_NS,
    calculate_optimal_sync,
)
from radiosync.host.listeners import ListenerRow
from radiosync.host.transport import Transport
from radiosync.timeline import PlayState
from radiosync.units import NS_PER_MS, NS_PER_S, HostNs, MediaFrame
from radiosync.wire.messages import ListenerState

RATE = 48_000
START = HostNs(1_795_000_000 * NS_PER_S)
LEAD_NS = 1_500 * NS_PER_MS


def listener(name, latency_ms=1.0, ready=None, lead_ms=100):
    report = a_report(
        name=name,
        state=ListenerState.BUFFERING,
        rtt_ns=round(latency_ms * NS_PER_MS),
        ready_frame=ready,
        lead_ms=lead_ms,
    )
    return ListenerRow(("10.0.0.1", 1), deque(), START, report, average_ns=round(latency_ms * NS_PER_MS))


def after(ms):
    return HostNs(START + round(ms * NS_PER_MS))


@pytest.fixture
def transport():
    return Transport(RATE, LEAD_NS, START)


@pytest.fixture
def playing(transport):
    transport.decide([listener("a", ready=0)], HostNs(START + LEAD_NS))
    assert transport.newest.playing
    return transport


def test_the_slowest_sets_the_start():
    """The seed's own example: 50, 200 and 500 ms."""
    sync = calculate_optimal_sync([listener("a", 50), listener("b", 200), listener("c", 500)])
    assert (sync.slowest, sync.slowest_latency_ns) == ("c", 500 * NS_PER_MS)
    assert sync.delay_ns == 500 * NS_PER_MS + SYNC_MARGIN_NS


def test_the_order_must_come_before_a_listener_has_rendered_past_the_start():
    sync = calculate_optimal_sync([listener("a", 50, lead_ms=700), listener("b", 10)])
    assert sync.delay_ns == 50 * NS_PER_MS + 700 * NS_PER_MS + RENDER_MARGIN_NS


def test_no_listener_can_put_off_the_start_by_what_it_says_of_itself():
    sync = calculate_optimal_sync([listener("a", 50, lead_ms=(1 << 32) - 1)])
    assert sync.delay_ns == 50 * NS_PER_MS + RENDER_LEAD_MAX_NS + RENDER_MARGIN_NS


def test_with_nobody_there_it_starts_after_the_lead(transport):
    assert not transport.decide([], after(1_299))[0].go
    verdict, _ = transport.decide([], after(1_300))
    assert (verdict.go, verdict.reason) == (True, "nobody listens yet")
    assert transport.newest.playing


def test_everybody_is_waited_for(transport):
    late, early = listener("late"), listener("early", ready=0)
    verdict, _ = transport.decide([late, early], after(3_000))
    assert (verdict.go, verdict.waiting) == (False, ("late",))
    late.report = listener("late", ready=0).report
    verdict, sync = transport.decide([late, early], after(3_100))
    assert verdict.go
    assert transport.newest.effective_at == after(3_100) + sync.delay_ns
    assert transport.newest.media_frame == 0


def test_who_is_about_to_come_is_given_the_lead(transport):
    ready = [listener("a", latency_ms=0, ready=0)]
    assert not transport.decide(ready, after(1_299))[0].go
    assert transport.decide(ready, after(1_300))[0].go
    assert transport.newest.effective_at == after(1_500)


def test_ready_for_something_else_is_not_ready(transport):
    assert not transport.decide([listener("a", ready=4711)], after(100))[0].go


def test_but_not_for_ever(transport):
    names = [listener(name) for name in "abcde"]
    assert not transport.decide(names, HostNs(START + START_WAIT_NS - 1))[0].go
    verdict, _ = transport.decide(names, HostNs(START + START_WAIT_NS))
    assert verdict.go
    assert verdict.reason == "a, b, c and 2 more: not ready after 5.0 s"


def test_a_pause_stops_everybody_at_one_frame(playing):
    start = playing.newest
    assert playing.pause(300 * NS_PER_MS, after(5_000))
    record = playing.newest
    assert (record.state, record.effective_at) == (PlayState.PAUSED, after(5_300))
    assert record.media_frame == start.frame_at(after(5_300), RATE)
    assert not playing.pause(300 * NS_PER_MS, after(6_000)), "twice is once"
    assert playing.newest == record


def test_a_stop_while_paused_is_a_stop(playing):
    playing.pause(0, after(5_000))
    frame = playing.newest.media_frame
    assert playing.pause(0, after(6_000), state=PlayState.STOPPED)
    assert (playing.newest.state, playing.newest.media_frame) == (PlayState.STOPPED, frame)
    assert not playing.pause(0, after(7_000), state=PlayState.STOPPED)
    assert not playing.pause(0, after(7_000)), "what is stopped is not paused"


def test_it_goes_on_where_it_was_paused(playing):
    playing.pause(300 * NS_PER_MS, after(5_000))
    paused = playing.newest
    assert playing.resume(after(9_000))
    assert not playing.resume(after(9_001))
    verdict, sync = playing.decide([listener("a", ready=paused.media_frame)], after(9_050))
    assert verdict.go
    assert playing.newest.media_frame == paused.media_frame
    assert playing.newest.effective_at == after(9_050) + sync.delay_ns
    assert playing.newest.epoch == paused.epoch


def test_a_pause_while_a_resume_is_prepared_takes_it_back(playing):
    playing.pause(0, after(5_000))
    frame = playing.newest.media_frame
    playing.resume(after(6_000))
    assert playing.pause(0, after(6_100))
    assert playing.decide([], after(7_000)) is None
    assert (playing.newest.state, playing.newest.media_frame) == (PlayState.PAUSED, frame)


def test_a_jump_lets_the_old_play_until_everybody_is_ready_for_the_new(playing):
    playing.begin_epoch(MediaFrame(100 * RATE), after(5_000))
    assert playing.newest.epoch == 1
    assert playing.due_frame(after(5_200)) < 6 * RATE
    assert playing.horizon(after(5_200)) == 100 * RATE
    waiting = listener("a")
    assert not playing.decide([waiting], after(5_200))[0].go
    verdict, _ = playing.decide([waiting], HostNs(after(5_000) + JUMP_WAIT_NS))
    assert verdict.go, "it is to be heard within a second"
    assert (playing.newest.epoch, playing.newest.media_frame) == (2, 100 * RATE)


def test_between_the_order_and_its_effect_the_horizon_stays(playing):
    playing.begin_epoch(MediaFrame(100 * RATE), after(5_000))
    playing.decide([], after(5_050))
    assert playing.newest.effective_at == after(5_250)
    assert playing.due_frame(after(5_100)) < 6 * RATE
    assert playing.horizon(after(5_100)) == 100 * RATE
    assert playing.horizon_reaches(MediaFrame(101 * RATE)) == after(6_250)


def test_what_moves_the_horizon(transport):
    assert transport.horizon_reaches(MediaFrame(1)) is None, "a start is being prepared"
    transport.decide([], after(1_300))
    assert transport.horizon_reaches(MediaFrame(RATE)) == after(2_500)
    transport.pause(0, after(5_000))
    assert transport.horizon_reaches(MediaFrame(100 * RATE)) is None


def test_a_jump_goes_beyond_what_plays_until_it_is_made(playing):
    frame = playing.unreachable_frame(300 * NS_PER_MS, after(5_000))
    latest = after(5_000 + 300) + JUMP_WAIT_NS + 200 * NS_PER_MS
    assert playing.newest.frame_at(latest, RATE) <= frame <= playing.newest.frame_at(after(6_500), RATE)
    playing.pause(0, after(5_000))
    assert playing.unreachable_frame(300 * NS_PER_MS, after(9_000)) == playing.newest.media_frame


def test_a_jump_during_a_pause_stays_paused(playing):
    playing.pause(0, after(5_000))
    playing.begin_epoch(MediaFrame(100 * RATE), after(6_000))
    assert (playing.newest.state, playing.newest.epoch, playing.newest.media_frame) == (PlayState.PAUSED, 2, 100 * RATE)
    playing.resume(after(7_000))
    playing.decide([], after(7_000))
    assert (playing.newest.playing, playing.newest.media_frame) == (True, 100 * RATE)


def test_no_record_takes_effect_before_its_predecessor(playing):
    playing.pause(2 * NS_PER_S, after(5_000))
    playing.begin_epoch(MediaFrame(100 * RATE), after(5_100))
    playing.resume(after(5_200))
    playing.decide([], after(5_300))
    assert playing.newest.effective_at >= after(7_000)


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000, 11_025, 96_000])
def test_a_resync_says_again_what_is_said_already(rate):
    """Of a frame a moment on; to the nanosecond, after any number of them."""
    transport = Transport(rate, LEAD_NS, START)
    transport.decide([listener("a", ready=0)], HostNs(START + LEAD_NS))
    first, now = transport.newest, START + LEAD_NS
    for turn in range(1, 40):
        now = HostNs(now + 61 * NS_PER_S + 12_345_677 * turn)
        old = transport.newest
        assert transport.resync(300 * NS_PER_MS, now)
        record = transport.newest
        assert record.repeats(old, rate)
        assert (record.version, record.epoch, record.state) == (old.version + 1, 1, PlayState.PLAYING)
        assert now + 300 * NS_PER_MS <= record.effective_at <= now + 340 * NS_PER_MS
        for frame in (0, 1, record.media_frame, record.media_frame + 12_345_679):
            assert record.play_at(frame, rate) == first.play_at(frame, rate)
        assert transport.due_frame(now) == transport.horizon(now) == first.frame_at(now, rate), "nothing is left out"


def test_a_resync_of_what_does_not_play_is_none(playing):
    playing.pause(300 * NS_PER_MS, after(5_000))
    record = playing.newest
    assert not playing.resync(300 * NS_PER_MS, after(6_000))
    playing.resume(after(7_000))
    assert not playing.resync(300 * NS_PER_MS, after(7_001)), "everybody is about to enter anew"
    assert playing.newest is record


def test_a_resync_does_not_come_before_the_start_that_was_ordered(playing):
    start = playing.newest
    assert start.effective_at > START + LEAD_NS
    assert playing.resync(0, HostNs(START + LEAD_NS))
    assert playing.newest.effective_at == start.effective_at


def test_a_start_that_had_nothing_to_play_can_wait_anew(kit):
    transport = Transport(48_000, 0, kit.NOW)
    later = kit.NOW + 60 * NS_PER_S
    transport.wait_anew(later)
    assert transport.preparation.began_at == later
    transport.preparation = None
    transport.wait_anew(later)
    assert transport.preparation is None
