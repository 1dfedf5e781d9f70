"""The lag between two recordings: known delays are found to a hundredth of a sample, unrelated ones are told apart."""

import numpy as np
import pytest
from numpy.typing import NDArray

from radiosync.audio.correlate import lag
from radiosync.ui.tune import tune

RATE = 44_100
MUSIC = tune(RATE, 6)


def delayed(signal: NDArray, frames: float) -> NDArray[np.float64]:
    """Return `signal` as (frames, channels), `frames` later, by turning the phases of its spectrum."""
    x = signal.astype(np.float64).reshape(len(signal), -1)
    size = 2 * len(x)
    turn = np.exp(-2j * np.pi * np.fft.rfftfreq(size) * frames)[:, np.newaxis]
    return np.fft.irfft(np.fft.rfft(x, size, axis=0) * turn, size, axis=0)[: len(x)]


def noise(seed: int, frames: int = RATE) -> NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal(frames)


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.25, 0.5, -0.5, 0.73, -0.999, 3.3, -441.4, 12_345.6])
@pytest.mark.parametrize("signal", [MUSIC, noise(1)], ids=["music", "noise"])
def test_known_delays(signal: NDArray, delay: float) -> None:
    found = lag(signal, delayed(signal, delay), RATE)
    assert found.frames == pytest.approx(delay, abs=0.005)
    assert found.correlation > 0.99


@pytest.mark.parametrize("delay", [0.3, -7.8])
def test_in_the_steps_of_16_bits_and_with_noise(delay: float) -> None:
    later = delayed(MUSIC, delay)
    found = lag(MUSIC, np.round(later).astype(np.int16), RATE)
    assert found.frames == pytest.approx(delay, abs=0.005)
    hiss = 100 * noise(2, 2 * len(MUSIC)).reshape(-1, 2)  # 30 dB below the music
    found = lag(MUSIC, later + hiss, RATE)
    assert found.frames == pytest.approx(delay, abs=0.02)
    assert 0.5 < found.correlation < 0.999


def test_sign_and_symmetry() -> None:
    later = np.concatenate([np.zeros((100, 2), np.int16), MUSIC])
    assert lag(MUSIC, later, RATE).frames == pytest.approx(100, abs=1e-6)
    assert lag(later, MUSIC, RATE).frames == pytest.approx(-100, abs=1e-6)
    assert lag(MUSIC, MUSIC, RATE) == pytest.approx((0, 1))


def test_an_excerpt_is_found_where_it_belongs() -> None:
    for start, length in ((0, 0.3), (1.2345, 0.5), (4.0, 2.0)):
        first, last = round(start * RATE), round((start + length) * RATE)
        found = lag(MUSIC, MUSIC[first:last], RATE)
        assert found == pytest.approx((-first, 1), abs=1e-3)
        assert lag(MUSIC[first:last], MUSIC, RATE).frames == pytest.approx(first, abs=1e-3)


def test_a_quiet_excerpt_is_not_drawn_to_a_loud_place() -> None:
    song = np.concatenate([MUSIC[:RATE] // 16, MUSIC[RATE:]])
    assert lag(song, song[1000 : RATE - 1000], RATE).frames == pytest.approx(-1000, abs=1e-3)


@pytest.mark.parametrize("gaps", [[(0, 3)], [(3, 6)], [(1, 1.013), (2, 2.5), (2.51, 4.2)], [(0.001, 5.2)]])
def test_gaps_of_silence_do_no_harm(gaps: list[tuple[float, float]]) -> None:
    later = delayed(MUSIC, 20.4)
    for start, end in gaps:
        later[round(start * RATE) : round(end * RATE)] = 0
    for found in (lag(MUSIC, later, RATE), lag(MUSIC // 8, later, RATE)):
        assert found.frames == pytest.approx(20.4, abs=0.01)
        assert found.correlation > 0.9
    both = MUSIC.copy()
    both[: 2 * RATE] = 0
    assert lag(both, later, RATE).frames == pytest.approx(20.4, abs=0.01)


def test_span_limits_what_is_looked_at() -> None:
    later = delayed(MUSIC, 4410)
    assert lag(MUSIC, later, RATE, span_s=0.2).frames == pytest.approx(4410, abs=0.01)
    found = lag(MUSIC, later, RATE, span_s=0.05)
    assert abs(found.frames) <= 0.05 * RATE + 1
    assert found.correlation < 0.5


def test_unrelated_recordings() -> None:
    assert lag(noise(1), noise(2), RATE).correlation < 0.1
    assert lag(MUSIC, noise(2, len(MUSIC)), RATE).correlation < 0.1
    # Two places of one tune: the same band, the same key, the same beat.
    assert lag(MUSIC[: 2 * RATE], MUSIC[2 * RATE : 4 * RATE], RATE).correlation < 0.5


def test_nothing_to_compare() -> None:
    silence = np.zeros((1000, 2), np.int16)
    for a, b in ((silence, MUSIC), (MUSIC, silence), (silence, silence), (MUSIC[:0], MUSIC), (MUSIC[:1], MUSIC[:1])):
        assert lag(a, b, RATE) == (0, 0)
    assert lag(MUSIC[:2], MUSIC[:3], RATE).correlation <= 1.001


def test_formats() -> None:
    as_float = (MUSIC / 32768).astype(np.float32)
    as_24_bits = MUSIC.astype(np.int32) << 16
    assert lag(as_float[:, 0], MUSIC[:, :1], RATE) == pytest.approx((0, 1), abs=1e-6)
    assert lag(as_float, as_24_bits, RATE) == pytest.approx((0, 1), abs=1e-6)


def test_drift_comes_out_as_the_average() -> None:
    # 50 ppm for 6 s: 13 samples from the first frame to the last.
    n = np.arange(len(MUSIC))
    drifting = np.interp(n * (1 - 50e-6), n, MUSIC[:, 0])
    found = lag(MUSIC[:, 0], drifting, RATE)
    assert 0 < found.frames < 13.3
