"""A little piece of music, made on the spot, for `radiosync demo`.

A band of five: a lead, broken chords, soft chords, a bass and drums, in C major at 120 beats a minute.  It is music, so
that a person can hear whether two loudspeakers are together; and it suits a measurement: the drums are noise that is
never the same twice and never quite on the beat, so that no two places of the tune look alike to a cross-correlation.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Sound = NDArray[np.float32]

SEED = 1712  # any number; the same tune every time
BAR_S = 2.0
BEAT_S = BAR_S / 4
PEAK = 0.7079 * 32767  # -3 dBFS: room for a volume control's or a resampler's overshoot
FADE_S = 0.05  # a tune that is cut in mid-bar ends without a click
TIMING_S = 0.004  # how far a player is off the beat (standard deviation): felt as alive, not heard as wrong

_Melody = tuple[tuple[float, int, float], ...]

# One bar each: the chord as MIDI notes, root first, and the melody as (beat, MIDI note, beats).
_CHORDS = {
    "C": (48, 52, 55, 60),
    "G": (43, 55, 59, 62),
    "Am": (45, 52, 57, 60),
    "F": (41, 53, 57, 60),
}
_VERSE: tuple[tuple[str, _Melody], ...] = (
    ("C", ((0, 76, 0.75), (0.75, 79, 0.75), (1.5, 84, 1.0), (2.5, 83, 0.5), (3, 79, 1.0))),
    ("G", ((0, 74, 0.75), (0.75, 79, 0.75), (1.5, 83, 1.0), (2.5, 81, 0.5), (3, 79, 0.5), (3.5, 77, 0.5))),
    ("Am", ((0, 76, 1.5), (1.5, 72, 0.5), (2, 69, 0.5), (2.5, 72, 0.5), (3, 76, 1.0))),
    ("F", ((0, 77, 0.75), (0.75, 76, 0.75), (1.5, 72, 1.0), (2.5, 69, 0.5), (3, 72, 1.0))),
)
_TURN: tuple[str, _Melody] = (
    "G",
    ((0, 74, 0.5), (0.5, 76, 0.5), (1, 77, 0.5), (1.5, 79, 0.5), (2, 81, 0.5), (2.5, 79, 0.5), (3, 83, 1.0)),
)
_END: tuple[str, _Melody] = ("C", ((0, 84, 3.5),))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Voice:
    """How an instrument sounds: its partials, and its envelope in seconds."""

    partials: tuple[float, ...]
    attack_s: float
    decay_s: float  # to 1/e
    release_s: float
    vibrato: float = 0.0  # of the frequency
    detune: float = 0.0  # between left and right, of the frequency: width


_LEAD = _Voice(partials=(1, 0.5, 0.3, 0.12, 0.06), attack_s=0.02, decay_s=1.2, release_s=0.12, vibrato=0.004)
_PLUCK = _Voice(partials=(1, 0.7, 0.5, 0.4, 0.25, 0.2, 0.12), attack_s=0.002, decay_s=0.25, release_s=0.08)
_PAD = _Voice(partials=(1, 0.35, 0.2), attack_s=0.25, decay_s=4.0, release_s=0.4, detune=0.003)
_BASS = _Voice(partials=(1, 0.6, 0.3, 0.15), attack_s=0.005, decay_s=0.5, release_s=0.05)


def tune(rate: int, seconds: float) -> NDArray[np.int16]:
    """Return `seconds` of music at `rate` frames per second, stereo, with its peak at -3 dBFS.

    The same arguments give the same samples; every length is a piece with an end of its own.
    """
    frames = round(seconds * rate)
    if frames <= 0:
        return np.zeros((0, 2), np.int16)
    bars = max(1, int(np.ceil(seconds / BAR_S)))
    mix = _Mix(rate, bars, np.random.default_rng(SEED))
    for bar in range(bars):
        if bar == bars - 1:
            part = _END
        elif bar == bars - 2:
            part = _TURN
        else:
            part = _VERSE[bar % len(_VERSE)]
        _play_bar(mix, bar, *part, last=bar == bars - 1)
    out = _with_room(mix.out[:frames], rate, mix.rng)
    fade = min(frames, round(FADE_S * rate))
    out[frames - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)[:, np.newaxis]
    out *= PEAK / max(float(np.abs(out).max()), 1e-9)
    return np.round(out).astype(np.int16)


class _Mix:
    """The tape: notes and noises are added to it where they begin."""

    def __init__(self, rate: int, bars: int, rng: np.random.Generator) -> None:
        self.rate = rate
        self.rng = rng
        self.out = np.zeros((round((bars * BAR_S + 1) * rate), 2), np.float32)

    def add(self, at_s: float, left: Sound, right: Sound) -> None:
        """Add a sound at `at_s`, give or take a human hand."""
        start = max(0, round((at_s + self.rng.normal(0, TIMING_S)) * self.rate))
        room = min(len(left), len(self.out) - start)
        if room > 0:
            self.out[start : start + room, 0] += left[:room]
            self.out[start : start + room, 1] += right[:room]

    def note(self, voice: _Voice, at_s: float, midi: int, length_s: float, gain: float, pan: float) -> None:
        """Play one note; `pan` is -1 for left to 1 for right."""
        hz = 440.0 * 2 ** ((midi - 69) / 12)
        gain *= float(self.rng.uniform(0.85, 1.0))
        left = _tone(voice, hz * (1 - voice.detune), length_s, self.rate)
        right = left if voice.detune == 0 else _tone(voice, hz * (1 + voice.detune), length_s, self.rate)
        angle = (pan + 1) * np.pi / 4  # equal power
        self.add(at_s, np.float32(gain * np.cos(angle)) * left, np.float32(gain * np.sin(angle)) * right)

    def noise(self, at_s: float, decay_s: float, gain: float, pan: float, bright: bool) -> None:
        """Strike something that hisses; a bright one has its low end taken away."""
        length = round(5 * decay_s * self.rate)
        hiss = self.rng.standard_normal((2, length + 1), dtype=np.float32)
        hiss = np.diff(hiss) if bright else hiss[:, 1:]
        hiss *= np.exp(np.arange(length, dtype=np.float32) / np.float32(-decay_s * self.rate))
        hiss *= np.float32(gain * self.rng.uniform(0.7, 1.0))
        self.add(at_s, hiss[0] * np.float32(1 - pan), hiss[1] * np.float32(1 + pan))


def _tone(voice: _Voice, hz: float, length_s: float, rate: int) -> Sound:
    """Return a note of `length_s`, and its release after that."""
    length = round((length_s + voice.release_s) * rate)
    t = np.arange(length) / rate
    phase = 2 * np.pi * hz * t
    if voice.vibrato:  # 5.5 Hz; the integral of the frequency's wobble
        phase -= voice.vibrato * hz / 5.5 * np.cos(2 * np.pi * 5.5 * t)
    # sin((n+1)x) = 2 cos(x) sin(nx) - sin((n-1)x): each further partial costs a multiplication, not a sine.
    sine, twice_cosine = np.sin(phase).astype(np.float32), (2 * np.cos(phase)).astype(np.float32)
    before, partial = np.zeros_like(sine), sine
    sound = np.zeros_like(sine)
    for number, strength in enumerate(voice.partials, 1):
        if number * hz > 0.45 * rate:  # it would fold back as a wrong note
            break
        sound += np.float32(strength) * partial
        before, partial = partial, twice_cosine * partial - before
    envelope = np.exp(t / -voice.decay_s) * np.minimum(1, t / voice.attack_s)
    envelope *= np.clip((length_s + voice.release_s - t) / voice.release_s, 0, 1)
    return sound * envelope.astype(np.float32)


def _play_bar(mix: _Mix, bar: int, chord_name: str, melody: _Melody, *, last: bool) -> None:
    """Play one bar, all five of the band."""
    start_s = bar * BAR_S
    root, *chord = _CHORDS[chord_name]
    for beat, midi, beats in melody:
        mix.note(_LEAD, start_s + beat * BEAT_S, midi, beats * BEAT_S * 0.95, 0.30, -0.15)
    for midi in chord:
        mix.note(_PAD, start_s, midi, BAR_S * 0.95, 0.10, 0.0)
    if last:
        mix.note(_BASS, start_s, root - 12, BAR_S * 0.9, 0.5, 0.0)
        _drum(mix, start_s)
        mix.noise(start_s, 0.6, 0.12, 0.2, bright=True)  # the crash
        return
    arpeggio = [*chord, chord[1] + 12]
    for eighth in range(8):
        at_s = start_s + eighth * BEAT_S / 2
        mix.note(_PLUCK, at_s, arpeggio[(eighth * 3 + bar) % 4] + 12, BEAT_S / 2, 0.14, 0.5)
        mix.noise(at_s, 0.02 if eighth % 4 != 3 else 0.07, 0.10, 0.3, bright=True)  # the hi-hat
        if eighth in {0, 3, 4, 6}:
            mix.note(_BASS, at_s, root - 12 + (12 if eighth == 6 else 0), BEAT_S * 0.45, 0.42, 0.0)
    for beat in (0, 2.5) if bar % 2 else (0, 2):
        _drum(mix, start_s + beat * BEAT_S)
    for beat in (1, 3):
        mix.noise(start_s + beat * BEAT_S, 0.06, 0.16, -0.1, bright=False)  # the snare


def _drum(mix: _Mix, at_s: float) -> None:
    """Strike the bass drum: a tone that falls from 160 to 50 Hz."""
    t = np.arange(round(0.3 * mix.rate)) / mix.rate
    phase = 2 * np.pi * (50 * t + 110 * 0.03 * (1 - np.exp(t / -0.03)))
    thump = (0.7 * np.sin(phase) * np.exp(t / -0.09)).astype(np.float32)
    mix.add(at_s, thump, thump)


def _with_room(dry: Sound, rate: int, rng: np.random.Generator) -> Sound:
    """Return `dry` as it sounds in a small room: each ear hears its own decaying noise of reflections."""
    length = round(0.25 * rate)
    echo = rng.standard_normal((length, 2), dtype=np.float32)
    echo *= np.exp(np.arange(length, dtype=np.float32) / np.float32(-0.06 * rate))[:, np.newaxis]
    echo[: round(0.012 * rate)] = 0  # the nearest wall
    echo *= np.float32(0.25) / np.sqrt(np.sum(echo**2, axis=0))
    wet = np.empty_like(dry)
    block = 1 << (4 * length - 1).bit_length()  # blocks of a few times the echo: short transforms, little overlap
    step = block - length + 1
    spectrum = np.fft.rfft(echo, block, axis=0)
    wet[:] = dry
    for start in range(0, len(dry), step):
        piece = np.fft.irfft(np.fft.rfft(dry[start : start + step], block, axis=0) * spectrum, axis=0)
        end = min(len(dry), start + block)
        wet[start:end] += piece[: end - start].astype(np.float32)
    return wet
