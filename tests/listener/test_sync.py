from radiosync.listener.sync import ALARM_NS, SyncAlarm, calculate_client_sync
from radiosync.timeline import PlayState, Timeline
from radiosync.units import NS_PER_MS, NS_PER_S, HostNs, MediaFrame
from radiosync.wire.messages import Sync, SyncPhase

START = HostNs(1_795_000_000 * NS_PER_S)
TIMELINE = Timeline(version=1, epoch=1, state=PlayState.STOPPED, media_frame=MediaFrame(0), effective_at=START)
COMMAND = Sync(
    session=1,
    timeline=TIMELINE,
    phase=SyncPhase.PREPARE,
    target_frame=MediaFrame(4711),
    sync_at=HostNs(START + 700 * NS_PER_MS),
    required_ms=5_500,
    slowest_latency_us=500_000,
    buffer_offset_ms=30_000,
    waiting=1,
    slowest="c",
    reason="",
)


def test_the_seed_s_formula():
    """Three listeners at 50, 200 and 500 ms: the first waits 450 ms for the slowest, the slowest not at all."""
    waits = [calculate_client_sync(COMMAND, ms * NS_PER_MS) for ms in (50, 200, 500, 800)]
    assert [w.delay_ns // NS_PER_MS for w in waits] == [450, 300, 0, 0]
    assert {w.required_ns for w in waits} == {5_500 * NS_PER_MS}, "slowest latency plus safety margin"
    assert {w.start_at for w in waits} == {COMMAND.sync_at}, "the same instant for all"


def alarms(errors_ms, step_ms=100, tolerance_ms=2):
    """Return when, in ms, and to what an alarm changes."""
    alarm, changes = SyncAlarm(tolerance_ms * NS_PER_MS), []
    for step, error_ms in enumerate(errors_ms):
        if alarm.update(error_ms * NS_PER_MS, START + step * step_ms * NS_PER_MS):
            changes.append((step * step_ms, alarm.raised))
    return changes


def test_an_error_that_stays_beyond_the_tolerance_is_an_alarm_until_it_is_gone():
    assert alarms([0] * 10 + [2.5] * 30 + [-1.5] * 30) == [(1_000 + ALARM_NS // NS_PER_MS, True), (5_000, False)]
    assert alarms([0] * 10 + [-3] * 30) == [(2_000, True)]


def test_an_error_within_the_tolerance_or_for_a_moment_is_none():
    assert alarms([1.9, -1.9] * 50) == []
    assert alarms(([5] * 9 + [0]) * 20) == []
    assert alarms([2.5] * 50, tolerance_ms=3) == [], "the key decides"
