from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radiosync.audio.format import RATE_MAX, RATE_MIN
from radiosync.timeline import PlayState, Timeline
from radiosync.units import NS_PER_S
from radiosync.wire.fields import FRAME_MAX

EPOCH = 1_795_000_000 * NS_PER_S
rates = st.integers(RATE_MIN, RATE_MAX)
media_frames = st.integers(0, FRAME_MAX)
instants = st.integers(-(1 << 63), (1 << 63) - 1)
timelines = st.builds(
    Timeline,
    version=st.just(1),
    epoch=st.just(1),
    state=st.just(PlayState.PLAYING),
    media_frame=media_frames,
    effective_at=instants,
)


@given(timeline=timelines, frame=media_frames, rate=rates)
def test_frame_at_inverts_play_at(timeline, frame, rate):
    at = timeline.play_at(frame, rate)
    assert timeline.frame_at(at, rate) == frame
    assert timeline.frame_at(at + 1, rate) == frame + 1


@given(timeline=timelines, at=instants, rate=rates)
def test_frame_at_is_the_first_that_is_not_before(timeline, at, rate):
    frame = timeline.frame_at(at, rate)
    assert timeline.play_at(frame, rate) >= at > timeline.play_at(frame - 1, rate)


@given(timeline=timelines, frames=st.tuples(media_frames, media_frames), rate=rates)
def test_a_later_frame_is_due_later(timeline, frames, rate):
    early, late = sorted(frames)
    assert timeline.play_at(early, rate) <= timeline.play_at(late, rate)
    assert timeline.play_at(early, rate) < timeline.play_at(early + 1, rate)


@given(timeline=timelines, since_ns=st.tuples(*[st.integers(0, 1 << 62)] * 2), rate=rates)
def test_of_two_instants_the_later_has_no_earlier_frame(timeline, since_ns, rate):
    early, late = (timeline.effective_at + since for since in sorted(since_ns))
    assert timeline.frame_at(early, rate) <= timeline.frame_at(late, rate)
    assert timeline.frame_at(early, rate) <= timeline.frame_at(early + 1, rate) <= timeline.frame_at(early, rate) + 1


@given(timeline=timelines, frame=media_frames, rate=rates)
def test_play_at_is_right_to_half_a_nanosecond(timeline, frame, rate):
    exact = timeline.effective_at + Fraction((frame - timeline.media_frame) * NS_PER_S, rate)
    assert abs(timeline.play_at(frame, rate) - exact) <= Fraction(1, 2)


@given(timeline=timelines, rate=rates)
def test_the_record_itself_is_exact(timeline, rate):
    assert timeline.play_at(timeline.media_frame, rate) == timeline.effective_at
    assert timeline.frame_at(timeline.effective_at, rate) == timeline.media_frame
    assert timeline.position_at(timeline.effective_at, rate) == timeline.media_frame


@given(
    since_ns=st.integers(0, 86_400 * NS_PER_S),
    share=st.fractions(0, 1),
    rate=rates,
)
def test_positions_are_exact_to_a_few_millionths_of_a_frame_over_a_day(since_ns, share, rate):
    """At 192 kHz a float's step is 2e-6 frames at the day's end, 10 ps; half that at 96 kHz."""
    frame = int(share * (86_400 * rate - since_ns * rate // NS_PER_S))
    timeline = Timeline(version=1, epoch=1, state=PlayState.PLAYING, media_frame=frame, effective_at=EPOCH)
    exact = frame + Fraction(since_ns * rate, NS_PER_S)
    assert abs(Fraction(timeline.position_at(EPOCH + since_ns, rate)) - exact) <= Fraction(
        1 if rate <= 96_000 else 2, 10**6
    )


def test_records_are_facts_that_can_be_compared_and_not_changed():
    timeline = Timeline(version=1, epoch=1, state=PlayState.PLAYING, media_frame=0, effective_at=EPOCH)
    assert replace(timeline) == timeline
    with pytest.raises(AttributeError):
        timeline.version = 2
