"""The resampler for drifting crystals gives what a sine is between its input frames, at positions that are exact."""

import math
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from radiosync.audio import drift
from radiosync.audio.drift import DriftResampler, steered_resampler
from radiosync.audio.pcm import Frames
from radiosync.audio.resampler import VariableResampler

TONES = [0.0021, 0.0208, 0.3125, 0.4167]  # turns per frame: 100 Hz, 997 Hz, 15 kHz and 20 kHz at 48 kHz
LIMIT = 2e-6  # of full scale: -114 dB


def sine(turns: float, places: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sin(2 * np.pi * (places * turns % 1))


class Tone:
    """An endless sine, left and right in opposite phase."""

    def __init__(self, turns: float, start: int) -> None:
        self.turns, self.next = turns, start

    def __call__(self, frames: int) -> Frames:
        wave = sine(self.turns, np.arange(self.next, self.next + frames, dtype=np.float64))
        self.next += frames
        return np.stack((wave, -wave), axis=1).astype(np.float32)


def started(turns: float, ratio: float, position: float) -> tuple[DriftResampler, Tone]:
    resampler = DriftResampler(2)
    resampler.set_ratio(ratio)
    return resampler, Tone(turns, resampler.reset(position))


@pytest.mark.parametrize("turns", TONES)
@pytest.mark.parametrize("ppm", [0, 1, 30, -30, 100, -100, 500, -500, 9_000, -9_000])
def test_every_frame_is_what_lies_at_its_position(turns: float, ppm: int) -> None:
    resampler, tone = started(turns, 1 + ppm * 1e-6, 1234.5678)
    for frames in (1, 15, 16, 17, 4_800, 7_200):
        places = resampler.position + np.arange(frames) * resampler.ratio
        out = resampler.pull(frames, tone)
        np.testing.assert_array_equal(out[:, 0], -out[:, 1])
        assert np.abs(out[:, 0] - sine(turns, places)).max() < LIMIT
        assert resampler.next_input_frame == tone.next


@pytest.mark.parametrize("position", [0.0, 0.25, 0.5, 0.999, 1e6 + 1 / 3, -0.5, 4e6 + 0.125])
def test_the_first_frame_lands_where_it_should(position: float) -> None:
    for ratio in (1.0, 1.000_037, 0.999_9, 1.009):
        resampler, tone = started(TONES[1], ratio, position)
        assert math.floor(position) - drift.TAPS < tone.next < position
        assert resampler.position_units == round(Fraction(position) * 2**33)
        assert abs(resampler.pull(1, tone)[0, 0] - sine(TONES[1], np.array([position]))[0]) < LIMIT


def test_a_wandering_ratio_is_followed_exactly_and_without_clicks() -> None:
    resampler, tone = started(TONES[2], 1.0, 0.0)
    rng = np.random.default_rng(5)
    ppm, units = 0.0, 0
    for _ in range(1000):
        ppm = float(np.clip(ppm + rng.normal(0, 30), -400, 400))
        resampler.set_ratio(1 + ppm * 1e-6)
        frames = int(rng.integers(1, 960))
        places = resampler.position + np.arange(frames) * resampler.ratio
        assert np.abs(resampler.pull(frames, tone)[:, 0] - sine(TONES[2], places)).max() < LIMIT
        units += frames * round(resampler.ratio * 2**33)
        assert resampler.position_units == units
        assert 0 < resampler.frames_ahead < drift.TAPS


def test_memory_is_bounded_by_what_a_pull_needs() -> None:
    resampler, tone = started(TONES[1], 1.000_1, 0.0)
    for frames in range(1, 200):
        resampler.pull(frames, tone)
        assert len(resampler._held) <= frames + 2 * drift.TAPS
    assert len(resampler._weights) <= drift._WEIGHTS_MAX


def test_the_products_stay_too_small_for_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    matmul = np.matmul

    def noted(a: Frames, b: Frames) -> Frames:
        sizes.append(a.shape[-2] * a.shape[-1] * b.shape[-1])
        return matmul(a, b)

    monkeypatch.setattr(drift.np, "matmul", noted)
    for ppm in (0, 30, 100, 9_000):
        resampler, tone = started(TONES[1], 1 + ppm * 1e-6, 0.0)
        for frames in (1, 960, 4_800, 19_200):
            resampler.pull(frames, tone)
    assert max(sizes) <= drift.PRODUCT_MAX + drift._WIDTH * 16 * 8  # the last row is rounded up


def test_misuse_is_refused() -> None:
    resampler = DriftResampler(2)
    for ratio in (1.02, math.nan):
        with pytest.raises(ValueError, match="ratio"):
            resampler.set_ratio(ratio)
    with pytest.raises(ValueError, match="read"):
        resampler.pull(10, lambda frames: np.zeros((frames - 1, 2), np.float32))


def test_it_serves_devices_that_have_the_streams_rate() -> None:
    assert isinstance(steered_resampler(2, 1.0), DriftResampler)
    assert isinstance(steered_resampler(2, 44_100 / 48_000), VariableResampler)
