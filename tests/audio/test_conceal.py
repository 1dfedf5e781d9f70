"""No gap clicks, wherever it lies and whenever it becomes known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from radiosync.audio.conceal import GainFollower
from radiosync.audio.pcm import Frames

RATE = 48_000
RAMP = 240
STEEPEST = np.pi / 2 / RAMP * 1.001  # the raised cosine at its middle


def ones(frames: int) -> Frames:
    return np.ones((frames, 2), np.float32)


def run(present: NDArray[np.bool_], sizes: list[int], follower: GainFollower, lookahead: int = RAMP) -> Frames:
    """Play ones with the gaps of `present` in blocks of the given sizes, over and over; return the gains."""
    outs, at = [], 0
    while at < len(present):
        size = min(sizes[len(outs) % len(sizes)], len(present) - at)
        block = ones(size) * present[at : at + size, np.newaxis]
        outs.append(follower.apply(block.astype(np.float32), present[at : at + size + lookahead]))
        at += size
    return np.concatenate(outs)[:, 0]


def test_a_whole_stream_passes_untouched() -> None:
    follower = GainFollower(RATE, start_gain=1.0)
    block = ones(480)
    assert follower.apply(block, np.ones(720, bool)) is block
    assert (follower.concealed_frames, follower.concealed_events, follower.gain) == (0, 0, 1.0)


def test_a_join_in_mid_stream_rises_from_nothing() -> None:
    follower = GainFollower(RATE, start_gain=0.0)
    gain = run(np.ones(1000, bool), [100], follower)
    assert 0 < gain[0] < 1e-3
    assert (np.diff(gain[:RAMP]) > 0).all()
    assert (gain[RAMP:] == 1).all()
    assert np.diff(gain).max() <= STEEPEST
    assert follower.concealed_events == 0


@given(
    st.lists(st.tuples(st.integers(1, 1200), st.integers(1, 700)), min_size=1, max_size=6),
    st.lists(st.integers(1, 900), min_size=1, max_size=5),
)
@settings(max_examples=150, deadline=None)
def test_gaps_never_step(runs: list[tuple[int, int]], sizes: list[int]) -> None:
    present = np.concatenate([np.repeat([True, False], [there, gone]) for there, gone in runs] + [np.ones(600, bool)])
    follower = GainFollower(RATE, start_gain=1.0)
    gain = run(present, sizes, follower)
    # A stream that begins nearer to a gap than the ramp is long must fall more steeply.
    whole_ramps = runs[0][0] > RAMP
    assert np.abs(np.diff(gain)).max() <= (STEEPEST if whole_ramps else 1.0)
    assert not gain[~present].any()
    assert (gain[present] > 0).all()
    assert gain[-1] == 1.0
    assert follower.concealed_frames == np.count_nonzero(~present)
    assert follower.concealed_events == len(runs)
    if whole_ramps:
        at_once = GainFollower(RATE, start_gain=1.0).apply(ones(len(present)), present)[:, 0]
        np.testing.assert_allclose(gain, at_once, atol=1e-6)


@pytest.mark.parametrize("notice", [2, 10, 100, 239])
def test_a_gap_that_turns_up_late_gets_a_shorter_ramp(notice: int) -> None:
    follower = GainFollower(RATE, start_gain=1.0)
    follower.apply(ones(480), np.ones(480, bool))
    present = np.ones(960, bool)
    present[notice:] = False
    gain = follower.apply(ones(480), present)[:, 0]
    assert not gain[notice:].any()
    assert (np.diff(gain[: notice + 1]) < 0).all()
    assert np.abs(np.diff(np.concatenate([[1.0], gain]))).max() <= np.pi / 2 / (notice + 1) * 1.01


def test_a_gap_that_is_filled_in_time_lets_the_gain_rise_again() -> None:
    follower = GainFollower(RATE, start_gain=1.0)
    warned = np.ones(480 + RAMP, bool)
    warned[500:] = False
    falling = follower.apply(ones(480), warned)[:, 0]
    assert falling[-1] < 0.1
    rising = follower.apply(ones(480), np.ones(720, bool))[:, 0]
    gain = np.concatenate([falling, rising])
    assert np.abs(np.diff(gain)).max() <= STEEPEST
    assert gain[-1] == 1.0
    assert (follower.concealed_frames, follower.concealed_events) == (0, 0)


def test_a_restart_after_a_jump() -> None:
    follower = GainFollower(RATE, start_gain=1.0)
    leaving = np.ones(480 + RAMP, bool)
    leaving[480:] = False
    out = follower.apply(ones(480), leaving)[:, 0]
    assert out[-1] < 1e-3
    follower.restart(0.0)
    assert follower.gain == 0.0
    assert follower.apply(ones(480), np.ones(720, bool))[0, 0] < 1e-3
    assert follower.concealed_events == 0


@pytest.mark.parametrize("gain", [0.0, 0.3, 0.5, 1.0])
def test_any_start_gain(gain: float) -> None:
    assert GainFollower(RATE, start_gain=gain).gain == pytest.approx(gain, abs=1e-6)


def test_missing_frames_are_silence_whatever_they_hold() -> None:
    present = np.ones(720, bool)
    present[300:320] = False
    block = ones(480)
    block[300:320] = np.nan
    out = GainFollower(RATE, start_gain=1.0).apply(block, present)
    assert not out[300:320].any()
    assert np.isfinite(out).all()


def test_a_gap_over_many_blocks_is_one_event() -> None:
    follower = GainFollower(RATE, start_gain=1.0)
    for _ in range(5):
        follower.apply(ones(100) * 0, np.zeros(340, bool))
    assert (follower.concealed_frames, follower.concealed_events) == (500, 1)
    assert len(follower.apply(ones(0), np.ones(240, bool))) == 0
