from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from radiosync.timeline import RECORDS_MAX, PlayState, Timeline, TimelineLog
from radiosync.units import NS_PER_S, HostNs, MediaFrame

RATE = 48_000
START = 1_795_000_000 * NS_PER_S


def record(version, state, frame, at_s, epoch=1):
    return Timeline(
        version=version,
        epoch=epoch,
        state=state,
        media_frame=MediaFrame(frame),
        effective_at=HostNs(START + round(at_s * NS_PER_S)),
    )


STOPPED = record(1, PlayState.STOPPED, 0, 0)
PLAYING = record(2, PlayState.PLAYING, 0, 1)
PAUSED = record(3, PlayState.PAUSED, 2 * RATE, 3)
RESUMED = record(4, PlayState.PLAYING, 2 * RATE, 10)
JUMPED = record(5, PlayState.PLAYING, 100 * RATE, 12, epoch=2)


def a_log(*records):
    log = TimelineLog(records[0])
    for each in records[1:]:
        assert log.add(each)
    return log


def due(log, at_s):
    return log.frame_at(HostNs(START + round(at_s * NS_PER_S)), RATE)


def test_the_record_in_force_decides_what_is_due():
    log = a_log(STOPPED, PLAYING, PAUSED, RESUMED, JUMPED)
    wanted = {0: 0, 0.9: 0, 1: 0, 2: RATE, 3: 2 * RATE, 9.9: 2 * RATE, 11: 3 * RATE, 12: 100 * RATE, 13: 101 * RATE}
    assert {at_s: due(log, at_s) for at_s in wanted} == wanted


def test_each_record_ends_where_the_next_begins():
    log = a_log(STOPPED, PLAYING, PAUSED, RESUMED, JUMPED)
    assert log.end_frame(PLAYING, RATE) == 2 * RATE
    assert log.end_frame(PAUSED, RATE) == 2 * RATE
    assert log.end_frame(RESUMED, RATE) == 4 * RATE
    assert log.end_frame(JUMPED, RATE) is None
    assert log.after(PLAYING) == PAUSED
    assert log.after(JUMPED) is None


def test_old_and_repeated_records_change_nothing():
    log = a_log(STOPPED, PLAYING, PAUSED)
    for old in (STOPPED, PLAYING, PAUSED, replace(PAUSED, media_frame=MediaFrame(7))):
        assert not log.add(old)
    assert log.newest == PAUSED


def test_a_record_that_would_take_effect_before_its_predecessor_is_refused():
    log = a_log(STOPPED, PLAYING, PAUSED)
    assert not log.add(replace(RESUMED, effective_at=HostNs(PAUSED.effective_at - 1)))


def test_a_lost_record_does_not_harm_the_next():
    """Records are facts, not deltas."""
    log = a_log(STOPPED, PLAYING, RESUMED)
    assert due(log, 11) == 3 * RATE


def test_the_log_is_bounded():
    log = TimelineLog(STOPPED)
    for version in range(2, 1000):
        assert log.add(record(version, PlayState.PAUSED, version, version))
    count, each = 0, STOPPED
    while (following := log.after(each)) is not None:
        count, each = count + 1, following
    assert count == RECORDS_MAX
    assert each.version == 999


@given(
    st.lists(st.tuples(st.sampled_from(PlayState), st.integers(0, 10**6), st.integers(0, 10**10)), max_size=10),
    st.lists(st.integers(0, 10**11), min_size=2, max_size=20),
)
def test_what_is_due_never_goes_back_while_a_host_is_honest(steps, instants):
    log, at, frame = TimelineLog(STOPPED), 0, 0
    for version, (state, ahead, wait_ns) in enumerate(steps, 2):
        at += wait_ns
        frame = log.frame_at(HostNs(START + at), RATE) + ahead
        log.add(
            Timeline(
                version=version, epoch=1, state=state, media_frame=MediaFrame(frame), effective_at=HostNs(START + at)
            )
        )
    heard = [log.frame_at(HostNs(START + instant), RATE) for instant in sorted(instants)]
    assert heard == sorted(heard)
