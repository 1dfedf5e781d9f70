"""The rate changes without a trace in the sound, and every frame's place is known.

The probe is a sine: its phase in the output says which input position an output frame really stands for.
"""

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from radiosync.audio.pcm import Frames
from radiosync.audio.resampler import RateConverter, VariableResampler, converted_frames

Floats = NDArray[np.float64]


class Sine:
    """An endless sine of float32; frame n is sin(2π n hz / rate), left and right in opposite phase."""

    def __init__(self, hz: float, rate: int, start: int) -> None:
        self.turns, self.next = Fraction(hz) / rate, start

    def __call__(self, frames: int) -> Frames:
        first = float(self.next * self.turns % 1)
        wave = np.sin(2 * np.pi * ((first + np.arange(frames) * float(self.turns)) % 1))
        self.next += frames
        return np.stack((wave, -wave), axis=1).astype(np.float32)


def phase_and_noise(out: Floats, turns_per_frame: float) -> tuple[float, float]:
    """Return the phase of the sine in turns at frame 0, and everything that isn't the sine in dB of it."""
    angle = 2 * np.pi * turns_per_frame * np.arange(len(out))
    base = np.stack((np.cos(angle), np.sin(angle)), axis=1)
    parts = np.linalg.lstsq(base, out, rcond=None)[0]
    rest = out - base @ parts
    power = float(parts @ parts) / 2
    return math.atan2(parts[0], parts[1]) / (2 * np.pi), 10 * math.log10(float(np.mean(rest**2)) / power)


def position_error(phase: float, position: float, hz: float, rate: int) -> float:
    """Return by how many input frames a sine's phase differs from what the position says."""
    turns = float((Fraction(phase) - Fraction(position) * Fraction(hz) / rate) % 1)
    return ((turns + 0.5) % 1 - 0.5) * rate / hz


def started(rate_in: int, rate_out: int, ppm: float, hz: float, position: float) -> tuple[VariableResampler, Sine]:
    resampler = VariableResampler(2, rate_in / rate_out)
    resampler.set_ratio(rate_in / rate_out * (1 + ppm * 1e-6))
    return resampler, Sine(hz, rate_in, resampler.reset(position))


@pytest.mark.parametrize("hz", [100.0, 997.0, 15_000.0])
@pytest.mark.parametrize("ppm", [0, 100, -100, 500, -500])
@pytest.mark.parametrize(
    ("rate_in", "rate_out"), [(48_000, 48_000), (44_100, 48_000), (48_000, 44_100), (96_000, 48_000)]
)
def test_position_and_purity(rate_in: int, rate_out: int, ppm: int, hz: float) -> None:
    position = 1234.5678
    resampler, sine = started(rate_in, rate_out, ppm, hz, position)
    first = resampler.pull(1, sine)
    landed = resampler.position - resampler.ratio
    assert abs(landed - position) < 0.001
    out = np.concatenate([first, *(resampler.pull(480, sine) for _ in range(40))]).astype(np.float64)
    np.testing.assert_array_equal(out[:, 0], -out[:, 1])
    phase, noise_db = phase_and_noise(out[:, 0], hz / rate_in * resampler.ratio)
    assert abs(position_error(phase, landed, hz, rate_in)) < 1e-4
    assert noise_db < -120
    assert abs(resampler.position - (landed + len(out) * resampler.ratio)) < 1e-5
    assert 240 <= resampler.frames_ahead < 1500 * rate_in / rate_out
    assert resampler.next_input_frame == sine.next


@pytest.mark.parametrize("position", [0.0, 0.25, 1e6 + 1 / 3, -0.5, 4e9 + 0.125])
def test_the_first_frame_lands_where_it_should(position: float) -> None:
    for ratio in (1.0, 1.000_037, 0.999_9, 1.009):
        resampler = VariableResampler(1, 1.0)
        resampler.set_ratio(ratio)
        start = resampler.reset(position)
        assert resampler.position == pytest.approx(position, abs=1e-6)
        assert position - 800 < start < position - 300
        resampler.pull(1, lambda frames: np.zeros((frames, 1), np.float32))
        assert abs(resampler.position - resampler.ratio - position) < 0.001


@pytest.mark.parametrize("hz", [997.0, 15_000.0])
def test_a_wandering_ratio_is_followed_exactly_and_without_clicks(hz: float) -> None:
    resampler, sine = started(48_000, 48_000, 0, hz, 0.0)
    rng = np.random.default_rng(5)
    ppm, positions, outs = 0.0, [], []
    resampler.pull(1, sine)
    for _ in range(1000):
        ppm = float(np.clip(ppm + rng.normal(0, 3), -400, 400))
        resampler.set_ratio(1 + ppm * 1e-6)
        frames = int(rng.integers(1, 960))
        positions.append(resampler.position)
        outs.append(resampler.pull(frames, sine)[:, 0].astype(np.float64))
    worst = 0.0
    for position, after, out in zip(positions, positions[1:], outs, strict=False):
        # The ratio may have changed within a pull, by a few ppm: the straight line is right within 0.005 frames.
        line = position + (after - position) / len(out) * np.arange(len(out))
        worst = max(worst, float(np.abs(out - np.sin(2 * np.pi * (line * hz / 48_000 % 1))).max()))
    assert worst < 2 * np.pi * hz / 48_000 * 0.005 + 1e-5
    # And at the end, after 10 s and 1000 changes, to the last digit.
    steady = np.concatenate([resampler.pull(480, sine) for _ in range(10)])
    position = resampler.position
    out = resampler.pull(4800, sine)[:, 0].astype(np.float64)
    assert len(steady) == 4800
    phase, noise_db = phase_and_noise(out, hz / 48_000 * resampler.ratio)
    assert abs(position_error(phase, position, hz, 48_000)) < 1e-4
    assert noise_db < -120


def test_the_book_is_exact_after_hours() -> None:
    resampler, _ = started(48_000, 48_000, 37, 997.0, 0.0)
    resampler.pull(1, Sine(997.0, 48_000, resampler.next_input_frame))
    # The engine's state does not know how old it is: hours are the same integer arithmetic, only with larger numbers.
    base, step = resampler.position_units, round(resampler.ratio / 3 * 2**33) * 3
    sine = Sine(997.0, 48_000, resampler.next_input_frame)
    for pulled in (1, 479, 4800):
        before = resampler.position_units
        resampler.pull(pulled, sine)
        assert resampler.position_units - before == pulled * step
    assert (resampler.position_units - base) == 5280 * step


def test_a_reset_forgets_what_was_before() -> None:
    resampler, sine = started(48_000, 48_000, 50, 997.0, 10.0)
    fresh = resampler.pull(1000, sine)
    resampler.pull(3333, sine)
    sine.next = resampler.reset(10.0)
    np.testing.assert_array_equal(resampler.pull(1000, sine), fresh)


def test_any_pull_size_gives_the_same_stream() -> None:
    outs = []
    for size in (1, 37, 480, 5000):
        resampler, sine = started(48_000, 48_000, 50, 997.0, 10.0)
        outs.append(np.concatenate([resampler.pull(size, sine) for _ in range(-(-5000 // size))])[:5000])
    for out in outs[1:]:
        np.testing.assert_allclose(out, outs[0], atol=1e-6)


def test_misuse_is_refused() -> None:
    resampler = VariableResampler(2, 1.0)
    with pytest.raises(ValueError, match="ratio"):
        resampler.set_ratio(1.02)
    with pytest.raises(ValueError, match="ratio"):
        resampler.set_ratio(math.nan)
    short: Callable[[int], Frames] = lambda frames: np.zeros((frames - 1, 2), np.float32)  # noqa: E731
    with pytest.raises(ValueError, match="read"):
        resampler.pull(10, short)


RATES = [(44_100, 48_000), (48_000, 44_100), (96_000, 48_000), (8_000, 192_000), (192_000, 8_000), (11_025, 48_000)]


@pytest.mark.parametrize(("rate_in", "rate_out"), RATES)
@pytest.mark.parametrize("frames", [0, 1, 2, 7, 1000, 30_011])
def test_a_song_keeps_its_length(rate_in: int, rate_out: int, frames: int) -> None:
    converter = RateConverter(rate_in, rate_out, 2)
    total = 0
    for start in range(0, frames, 4096):
        total += len(converter.convert(np.zeros((min(4096, frames - start), 2))))
    total += len(converter.convert(np.zeros((0, 2)), last=True))
    assert (
        total
        == converted_frames(frames, rate_in, rate_out)
        == math.floor(Fraction(frames * rate_out, rate_in) + Fraction(1, 2))
    )


@pytest.mark.parametrize(("rate_in", "rate_out"), RATES)
def test_a_song_keeps_its_place(rate_in: int, rate_out: int) -> None:
    hz, frames = 1000.0, 3 * rate_in
    converter = RateConverter(rate_in, rate_out, 1)
    wave = np.sin(2 * np.pi * hz / rate_in * np.arange(frames))[:, None]
    parts = [converter.convert(wave[start : start + 4096]) for start in range(0, frames, 4096)]
    out = np.concatenate([*parts, converter.convert(wave[:0], last=True)])[:, 0]
    middle = slice(rate_out, 2 * rate_out)
    wanted = np.sin(2 * np.pi * hz / rate_out * np.arange(3 * rate_out))
    np.testing.assert_allclose(out[middle], wanted[middle], atol=1e-7)


@pytest.mark.parametrize(("rate_in", "rate_out"), [(48_000, 48_000), (44_100, 48_000), (96_000, 48_000)])
def test_pushing_gives_what_pulling_gives(rate_in: int, rate_out: int) -> None:
    random = np.random.default_rng(2)
    pulled, tone = started(rate_in, rate_out, 150, 997.0, 0)
    pushed, other = started(rate_in, rate_out, 150, 997.0, 0)
    parts = []
    while sum(map(len, parts)) < rate_out:
        parts.append(pushed.push(other(int(random.integers(1, 1_500)))))
        assert 0 < pushed.frames_ahead < 0.035 * rate_in
    out = np.concatenate(parts)
    assert np.array_equal(out, pulled.pull(len(out), tone))
    assert pushed.position_units == pulled.position_units
