from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radiosync.listener.schedule import Schedule
from radiosync.units import NS_PER_MS, NS_PER_S


def test_a_positive_offset_plays_later(kit):
    plain, late, early = (
        Schedule(kit.timeline_at(), kit.mapping_with(), 48_000, offset) for offset in (0, 30 * NS_PER_MS, -NS_PER_S)
    )
    assert plain.due_at(48_000) == kit.START + NS_PER_S
    assert late.due_at(48_000) == plain.due_at(48_000) + 30 * NS_PER_MS
    assert early.due_at(48_000) == plain.due_at(48_000) - NS_PER_S
    at = kit.START + 5 * NS_PER_S
    assert late.frame_at(at) == plain.frame_at(at) - 1440, "what is due at the same instant lies further back"
    assert late.position_at(at) == pytest.approx(plain.position_at(at) - 1440)


@given(
    frame=st.integers(0, 10**10),
    rate=st.sampled_from([8_000, 44_100, 48_000, 192_000]),
    skew=st.floats(-200e-6, 200e-6),
    offset_ns=st.integers(-2 * NS_PER_S, 2 * NS_PER_S),
    base=st.integers(0, 10**9),
)
def test_frame_and_instant_belong_together(kit, frame, rate, skew, offset_ns, base):
    schedule = Schedule(kit.timeline_at(media_frame=base), kit.mapping_with(skew=skew), rate, offset_ns)
    at = schedule.due_at(frame)
    # A local ns is up to 1.0002 host ns, so that a due instant may be rounded to just before or after its frame.
    assert abs(schedule.position_at(at, schedule.log.newest) - frame) <= 2 * rate / NS_PER_S + frame * 1e-15
    record = schedule.log.newest
    assert schedule.frame_at(at - 2, record) <= frame <= schedule.frame_at(at + 2, record)
    assert schedule.frame_at(at + 2, record) <= frame + 1
    assert schedule.due_at(frame + 1) > at


def test_the_record_in_force_is_found_anew_whenever_anything_has_moved(kit):
    first = kit.timeline_at()
    schedule = Schedule(first, kit.mapping_with(), 48_000, 0)
    at = kit.START + 5 * NS_PER_S
    assert [schedule.record_at(at), schedule.record_at(at + 1)] == [first, first]
    second = replace(first, version=first.version + 1, effective_at=schedule.host_at(at + NS_PER_S))
    schedule.log.add(second)
    assert schedule.record_at(at) is first
    assert [schedule.record_at(at + n * NS_PER_S) for n in (1, 2)] == [second, second]
    assert schedule.record_at(at) is first, "an instant before"
    assert schedule.record_at(at + NS_PER_S) is second
    schedule.offset_ns = NS_PER_S // 2
    assert schedule.record_at(at + NS_PER_S) is first
    schedule.offset_ns = 0
    assert schedule.record_at(at + NS_PER_S) is second
    schedule.mapping = replace(schedule.mapping, host_at=schedule.mapping.host_at - NS_PER_S // 2)
    assert schedule.record_at(at + NS_PER_S) is first
