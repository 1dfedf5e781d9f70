from hypothesis import given
from hypothesis import strategies as st

from radiosync.units import NS_PER_S, frames_from_ns, ns_from_frames, ns_from_s

rates = st.integers(1, 500_000_000 - 1)
frames = st.integers(-(1 << 62), 1 << 62)


@given(frame=frames, rate=rates)
def test_frames_survive_the_journey_to_ns_and_back(frame, rate):
    assert frames_from_ns(ns_from_frames(frame, rate), rate) == frame


@given(frame=frames, rate=rates)
def test_ns_are_the_nearest_half_up(frame, rate):
    """2 ns * rate lies within rate of 2 frames * 1e9: the error is at most half a nanosecond, and half goes up."""
    error = 2 * (ns_from_frames(frame, rate) * rate - frame * NS_PER_S)
    assert -rate < error <= rate


@given(duration_ns=frames, rate=rates)
def test_frames_are_the_nearest_half_up(duration_ns, rate):
    error = 2 * (frames_from_ns(duration_ns, rate) * NS_PER_S - duration_ns * rate)
    assert -NS_PER_S < error <= NS_PER_S


@given(one=frames, other=frames, rate=rates)
def test_order_is_kept(one, other, rate):
    low, high = sorted((one, other))
    assert ns_from_frames(low, rate) <= ns_from_frames(high, rate)
    assert frames_from_ns(low, rate) <= frames_from_ns(high, rate)


def test_known_values():
    assert ns_from_frames(44_100, 44_100) == NS_PER_S
    assert ns_from_frames(1, 44_100) == 22_676
    assert ns_from_frames(1, 48_000) == 20_833
    assert ns_from_frames(2, 48_000) == 41_667
    assert ns_from_frames(-1, 48_000) == -20_833
    assert frames_from_ns(NS_PER_S // 2, 44_100) == 22_050
    # A whole day at the highest rate: not a frame, not a nanosecond too many.
    assert ns_from_frames(86_400 * 192_000, 192_000) == 86_400 * NS_PER_S


def test_a_sum_of_chunks_does_not_drift():
    """Instants are reckoned from the beginning, never added up: rounding does not accumulate."""
    assert ns_from_frames(10_000_000 * 147, 44_100) == 33_333_333_333_333
    assert sum(ns_from_frames(147, 44_100) for _ in range(100)) != ns_from_frames(14_700, 44_100)


def test_seconds_from_a_configuration():
    assert ns_from_s(0.5) == 500_000_000
    assert ns_from_s(0.1 + 0.2) == 300_000_000
    assert ns_from_s(-1e-9) == -1
