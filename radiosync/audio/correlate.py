"""How far apart two recordings of the same music are, to a fraction of a sample.

The whole sample is where their normalised cross-correlation is largest, over all shifts at once by FFT; what is silent
in either takes no part (the masked form of Padfield, IEEE Trans. Image Processing 21(5), 2012).  The fraction is where
the correlation of the aligned parts, which their cross-spectrum G gives between samples too,

    c(τ) = Σ_f Re(G(f) e^(2πifτ)),

has its maximum: the best of a fine grid, then Newton's method on c′.  For a copy in white noise this is the
maximum-likelihood delay (Knapp and Carter, IEEE Trans. ASSP 24(4), 1976).

Music has most of its energy in the bass, where a maximum is broad and a neighbouring beat looks alike; so both
recordings are pre-emphasised first, which shifts neither.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Signal = NDArray[np.float64]

PRE_EMPHASIS = 0.95  # as for speech: +6 dB an octave from a few hundred Hz on
BLOCK_S = 0.02  # the grain of what counts as silent: a beat of the bass, not longer than most gaps
SILENCE = 1e-3  # of the whole's level: 60 dB below is a gap, not music
OVERLAP_ENERGY_MIN = 0.1  # of the whole's: less in common proves nothing, however well it agrees
BAND_MAX = 0.45  # of the rate: above, resamplers differ
GRID_FRAMES = 8  # how far the whole sample may be out: pre-emphasised cymbals make c(τ) swing from sample to sample
GRID_STEPS = 8  # a sample: fine enough for Newton's method to find the top of the same swing
SINC_FRAMES = 32  # either way, under a Hann window: good to a per cent, and only the start of Newton's method
NEWTON_STEPS_MAX = 8  # three reach 1e-9 of a sample


class Lag(NamedTuple):
    """How much later the second recording is than the first."""

    frames: float
    correlation: float
    """1 for the same music, about 0 for unrelated; of the parts where neither is silent."""


def lag(a: NDArray[Any], b: NDArray[Any], rate: int, *, span_s: float | None = None) -> Lag:
    """Return how many frames later `b` has the music that `a` has: b[n] is a[n - frames].

    Both are (frames,) or (frames, channels), of any dtype and length, at `rate` frames per second.  Only shifts up to
    `span_s` either way are looked at, all of them where it is None.  Gaps of silence in either do no harm.  A lag that
    drifts comes out as its average.  Where either is silent or empty, both are 0.  Some 200 bytes a
    frame are needed for a while: meant for a minute of music, not for an hour.
    """
    first, second = _prepared(a), _prepared(b)
    if not (np.any(first) and np.any(second)):
        return Lag(0.0, 0.0)
    block = max(1, round(BLOCK_S * rate))
    sounds_first, sounds_second = _sounding(first, block), _sounding(second, block)
    first, second = first * sounds_first, second * sounds_second
    whole = _whole_lag(first, second, None if span_s is None else round(span_s * rate))
    start_a, start_b = max(0, -whole), max(0, whole)
    length = min(len(first) - start_a, len(second) - start_b)
    part_a, part_b = slice(start_a, start_a + length), slice(start_b, start_b + length)
    fraction, correlation = _fraction(first[part_a] * sounds_second[part_b], second[part_b] * sounds_first[part_a])
    return Lag(whole + fraction, correlation)


def _prepared(recording: NDArray[Any]) -> Signal:
    mono = np.asarray(recording, np.float64)
    if mono.ndim == 2:
        mono = mono.mean(axis=1)
    return mono[1:] - PRE_EMPHASIS * mono[:-1]  # of both alike the first frame is lost, which shifts neither


def _sounding(signal: Signal, block: int) -> Signal:
    """Return 1 where there is music and 0 where there is silence, without hard edges."""
    starts = np.arange(0, len(signal), block)
    energy = np.add.reduceat(signal * signal, starts)
    sounds = energy > SILENCE**2 * energy.sum() / len(signal) * np.diff(starts, append=len(signal))
    # A block beside a gap counts half: the gap may begin within it, and an edge has a sound of its own.
    padded = np.concatenate((sounds[:1], sounds, sounds[-1:])).astype(np.float64)
    calm = np.minimum(padded[1:-1], (padded[:-2] + padded[2:]) / 2)
    return np.interp(np.arange(len(signal)), starts + block / 2, calm)


def _whole_lag(a: Signal, b: Signal, span: int | None) -> int:
    """Return the shift within ±`span` at which what the two have in common agrees best."""
    size = 1 << (len(a) + len(b) - 1).bit_length()  # a power of two, and no wrap-around
    lags = np.arange(1 - len(a), len(b))
    if span is not None:
        lags = lags[np.abs(lags) <= span]

    def correlate(x: Signal, y: Signal) -> Signal:
        spectrum = np.conj(np.fft.rfft(x, size)) * np.fft.rfft(y, size)
        every: Signal = np.fft.irfft(spectrum, size)
        return every[lags]

    # The energy of each where the other sounds too.  Without it, a loud place would win over the right one, and a
    # recording full of gaps would agree best where least of it is compared.
    energy_a = correlate(a * a, (b != 0).astype(np.float64))
    energy_b = correlate((a != 0).astype(np.float64), b * b)
    # The shorter may be an excerpt, and need not be more than a part of the longer.
    enough = OVERLAP_ENERGY_MIN * min(float(np.sum(a * a)), float(np.sum(b * b)))
    agreement = correlate(a, b) / np.sqrt(np.maximum(energy_a, enough) * np.maximum(energy_b, enough))
    return int(lags[np.argmax(agreement)])


def _fraction(a: Signal, b: Signal) -> tuple[float, float]:
    """Return how much later `b` is, within ±GRID_FRAMES, and how well they agree then."""
    size = 1 << (len(a) + 2 * (GRID_FRAMES + SINC_FRAMES)).bit_length()  # zeros, so that little wraps around
    omega = 2 * np.pi * np.fft.rfftfreq(size)
    in_band = omega <= 2 * np.pi * BAND_MAX
    spectrum_a, spectrum_b = np.fft.rfft(a, size) * in_band, np.fft.rfft(b, size) * in_band
    cross = np.conj(spectrum_a) * spectrum_b
    energy = float(np.sqrt(np.sum(np.abs(spectrum_a) ** 2) * np.sum(np.abs(spectrum_b) ** 2)))
    if energy == 0:
        return 0.0, 0.0
    start = shift = _best_of_grid(np.fft.irfft(cross, size))
    for _ in range(NEWTON_STEPS_MAX):
        turned = cross * np.exp(1j * omega * shift)
        slope, bend = -float(np.sum(omega * turned.imag)), -float(np.sum(omega**2 * turned.real))
        if bend >= 0:  # no maximum near: unrelated recordings
            break
        step = -slope / bend
        shift = float(np.clip(shift + step, start - 1 / GRID_STEPS, start + 1 / GRID_STEPS))
        if abs(step) < 1e-9:
            break
    return shift, min(1.0, float(np.sum((cross * np.exp(1j * omega * shift)).real)) / energy)


def _best_of_grid(correlation: Signal) -> float:
    """Return where, between samples too, `correlation` is largest around its index 0."""
    grid = np.arange(-GRID_FRAMES * GRID_STEPS, GRID_FRAMES * GRID_STEPS + 1) / GRID_STEPS
    around = np.arange(-GRID_FRAMES - SINC_FRAMES, GRID_FRAMES + SINC_FRAMES + 1)
    distance = grid[:, np.newaxis] - around
    window = np.where(np.abs(distance) < SINC_FRAMES, 0.5 + 0.5 * np.cos(np.pi * distance / SINC_FRAMES), 0.0)
    return float(grid[np.argmax((np.sinc(distance) * window) @ correlation[around])])
