"""Finds, every tenth of a second, which part of the known signal a card played: to a few ns.

The whole sample is where the cross-correlation with the signal is largest, the fraction the maximum of the correlation
that the cross-spectrum gives between samples too (by Newton's method).  Everything is done in the card's own frames,
whose times are exact, so that nothing needs resampling: in 0.1 s a crystal 100 ppm off moves half a sample, evenly
about the middle.
"""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from cards import Recording
from numpy.typing import NDArray

STEP_NS = 100_000_000
SILENT = 7  # of 32768: far below the signal, above a resampler's or a dither's noise
QUIET_LEVEL = 0.01 * 32768  # RMS; a tenth of the signal
FOUND = 0.5  # correlation: chance stays below 0.1 in a tenth of a second
SPANS_S = (0.004, 0.1, 3.0)  # around where the signal should be
SEARCH_S = 20  # of the signal at a time, where nothing is known
NEWTON_STEPS = 8
FADED_S = 0.01  # what comes after silence is faded in
FIRST_S = 0.04  # of every sound: its beginning

Signal = NDArray[np.float64]


def whole_lag(x: Signal, reference: Signal) -> tuple[int, float]:
    """Return where in the longer `reference` the piece `x` fits best, and the correlation there."""
    size = 1 << (len(reference) + len(x) - 1).bit_length()
    products = np.fft.irfft(np.fft.rfft(reference, size) * np.conj(np.fft.rfft(x, size)), size)
    best = int(np.argmax(products[: len(reference) - len(x) + 1]))
    part = reference[best : best + len(x)]
    energy = float(np.sqrt(np.dot(part, part) * np.dot(x, x)))
    return best, float(products[best]) / energy if energy else 0.0


def fraction(x: Signal, reference: Signal) -> tuple[float, float]:
    """Return tau for which x[n] is best reference[n - tau], within a sample or so, and the correlation there."""
    window = np.hanning(len(x))
    a, b = np.fft.rfft(x * window), np.fft.rfft(reference * window)
    cross = a * np.conj(b)
    omega = 2 * np.pi * np.arange(len(cross)) / len(x)
    tau = 0.0
    for _ in range(NEWTON_STEPS):
        turned = cross * np.exp(1j * omega * tau)
        slope, bend = -float(np.sum(omega * turned.imag)), -float(np.sum(omega**2 * turned.real))
        if bend >= 0:
            break
        step = float(np.clip(-slope / bend, -0.5, 0.5))
        tau += step
        if abs(step) < 1e-7:
            break
    energy = float(np.sqrt(np.sum(np.abs(a) ** 2) * np.sum(np.abs(b) ** 2)))
    return tau, float(np.sum((cross * np.exp(1j * omega * tau)).real)) / energy if energy else 0.0


@dataclass
class Track:
    """One listener on the common grid: step k is the tenth of a second from begin_ns + k * STEP_NS on."""

    offset_ns: Signal
    """When the signal left the card minus its place in the signal; NaN where it was not found."""
    correlation: Signal
    """0 in silence."""
    silences: list[tuple[int, int]]
    """Begin and end, in ns, of every stretch of digital silence of at least a millisecond, after the first sound."""
    sounds_ns: NDArray[np.int64]
    """The first sound of each stretch of sound."""
    firsts_ns: Signal
    """As `offset_ns`, of the first 40 ms after each of these, past the fade; NaN where the signal was not found."""


class Tracker:
    """Follows one card through the signal."""

    def __init__(self, signal: NDArray[Any], rate: int) -> None:
        self._signal, self._rate = signal, rate
        self._ahead: float | None = None  # place in the signal minus place in time, in frames, when last found

    def find(self, x: Signal, at: float) -> tuple[float, float]:
        """Return the place in the signal of the piece `x`, which began at `at` (in frames of time), and the fit."""
        if not len(x) or float(np.sqrt(np.dot(x, x) / len(x))) < QUIET_LEVEL:
            return np.nan, 0.0
        for low, high in self._spans(at, len(x)):
            reference = np.asarray(self._signal[low:high], np.float64)
            if len(reference) < len(x):
                continue
            place, fit = whole_lag(x, reference)
            if fit > FOUND:
                tau, fit = fraction(x, reference[place : place + len(x)])
                found = low + place - tau
                self._ahead = found - at
                return found, fit
        return np.nan, 0.0

    def _spans(self, at: float, length: int) -> list[tuple[int, int]]:
        total = len(self._signal)
        if self._ahead is not None:
            middle = at + self._ahead
            wide = [s * self._rate for s in SPANS_S]
            return [(max(0, int(middle - w)), max(0, min(total, int(middle + w) + length))) for w in wide]
        step = SEARCH_S * self._rate
        return [(low, min(total, low + step + length)) for low in range(0, total, step)]


def track(recording: Recording, signal: NDArray[Any], rate: int, begin_ns: int, steps: int) -> Track:
    """Follow a recording over `steps` tenths of a second."""
    offset, correlation = np.full(steps, np.nan), np.zeros(steps)
    tracker = Tracker(signal, rate)
    for segment in recording.segments:
        if abs(segment.rate / rate - 1) > 0.01:
            raise ValueError(f"the card was opened at {segment.rate:.0f} Hz; the lab measures at {rate} Hz only")
        length = round(STEP_NS * 1e-9 * rate)
        first = max(0, int((segment.start_ns - begin_ns) // STEP_NS))
        last = min(steps, int((segment.time_of(len(segment.samples)) - begin_ns) // STEP_NS) + 1)
        for k in range(first, last):
            frame = segment.frame_at(begin_ns + k * STEP_NS)
            if frame < 0 or frame + length > len(segment.samples):
                continue
            x = np.asarray(segment.samples[frame : frame + length], np.float64)
            middle_ns = segment.time_of(frame + (length - 1) / 2)
            at = (middle_ns - begin_ns) * 1e-9 * rate
            place, correlation[k] = tracker.find(x, at)
            offset[k] = middle_ns - (place + (length - 1) / 2) / rate * 1e9
    silences, sounds = _silences(recording, rate)
    firsts = np.array([_beginning(recording, signal, rate, begin_ns, int(at)) for at in sounds])
    return Track(offset, correlation, silences, sounds, firsts)


def _beginning(recording: Recording, signal: NDArray[Any], rate: int, begin_ns: int, sound_ns: int) -> float:
    """Return when the signal left the card minus its place in the signal, in ns, just after silence ended."""
    tracker = Tracker(signal, rate)  # a new one: who was away may come back anywhere
    length = round(FIRST_S * rate)
    found_ns = np.nan
    for segment in recording.segments:
        frame = segment.frame_at(sound_ns) + round(FADED_S * rate)
        if segment.start_ns <= sound_ns and frame + length <= len(segment.samples):
            x = np.asarray(segment.samples[frame : frame + length], np.float64)
            middle_ns = segment.time_of(frame + (length - 1) / 2)
            place, _ = tracker.find(x, (middle_ns - begin_ns) * 1e-9 * rate)
            found_ns = middle_ns - (place + (length - 1) / 2) / rate * 1e9
    return found_ns


def _silences(recording: Recording, rate: int) -> tuple[list[tuple[int, int]], NDArray[np.int64]]:
    """Return the stretches of silence between sounds, whether played or for want of a stream, and where sound began."""
    stretches: list[tuple[int, int]] = []  # of sound
    gap = rate // 1000
    for segment in recording.segments:
        loud = np.flatnonzero(np.abs(segment.samples) > SILENT)
        if not len(loud):
            continue
        breaks = np.flatnonzero(np.diff(loud) > gap)
        begins, ends = loud[np.concatenate(([0], breaks + 1))], loud[np.concatenate((breaks, [len(loud) - 1]))]
        times = [(round(segment.time_of(a)), round(segment.time_of(b))) for a, b in zip(begins, ends, strict=True)]
        stretches += times
    silences = [(a[1], b[0]) for a, b in itertools.pairwise(stretches) if b[0] - a[1] > 1_000_000]
    return silences, np.array([begin for begin, _ in stretches], np.int64)
