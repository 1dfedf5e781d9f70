"""The sound that a calibration plays, and who plays it when.

Every listener has turns of its own, in which it alone is heard.  In each it plays the same sweep: its frequency rises
exponentially from 200 Hz to 12 kHz within a second,

    x(t) = sin(2 pi f1 L (e^(t / L) - 1)),    L = T / ln(f2 / f1)

whose correlation with itself is a narrow peak, though its energy is that of a whole second, and which leaves what a
loudspeaker distorts ahead of that peak, out of the way (Farina, AES 108th convention, 2000, preprint 5093).

    silence | marker | turns of round 1 | round 2, in reverse | ... | marker | silence

The markers are the same sweep falling, which does not correlate with the rising one: they tell where in a recording the
plan begins, also where one of the two is missing.  Rounds run to and fro, so that a recorder that is too fast or too
slow shifts everybody alike.  Each begins with a turn of nobody: what is heard there is somebody who plays out of turn.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radiosync.audio.format import AudioFormat, SampleFormat, Samples

Signal = NDArray[np.float64]

LOW_HZ, HIGH_HZ = 200.0, 12_000.0  # what a small loudspeaker and a telephone's microphone both know of
SWEEP_S = 1.0  # by its length it stands 30 dB and more out of the noise it is recorded in
FADE_S = 0.01
LEVEL = 0.25  # -12 dB: loud, and far from what a small amplifier clips
TURN_S = 2.0  # the sweep and what a large room leaves of it
SWEEP_AT_S = 0.1  # within a turn: the others have long faded out
LEAD_S = 5.0  # of silence: for devices to settle, and for a person to start recording
TAIL_S = 1.0
ROUNDS_MIN, ROUNDS_MAX = 2, 8  # one can't be told from chance, and shows no recorder's rate
LISTENERS_MAX = 32  # five minutes in four rounds: nobody holds a telephone still for longer
NYQUIST_SHARE = 0.45  # of the rate: what a sweep may hold

FORMAT = AudioFormat(48_000, 1, SampleFormat.S16)  # one channel: a listener's loudspeakers all play it


@dataclass(frozen=True, slots=True)
class Turn:
    """A stretch of the plan from `frame` on, in which listener number `listener`, or nobody, is heard."""

    frame: int
    listener: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Who plays when, in frames of the stream; every turn and marker has `turn_frames`."""

    rate: int
    turn_frames: int
    markers: tuple[int, ...]
    turns: tuple[Turn, ...]
    frames: int

    def sweep_s(self, frame: int) -> float:
        """Return when the sweep of the turn or marker at `frame` begins, in seconds of the stream."""
        return frame / self.rate + SWEEP_AT_S


def make_plan(listeners: int, rounds: int) -> Plan:
    """Return the plan for so many listeners, in `FORMAT`."""
    rate = FORMAT.rate
    length = round(TURN_S * rate)
    order: list[int | None] = []
    for number in range(rounds):
        order += [None, *(range(listeners) if number % 2 == 0 else reversed(range(listeners)))]
    first = round(LEAD_S * rate) + length
    last = first + len(order) * length
    return Plan(
        rate=rate,
        turn_frames=length,
        markers=(first - length, last),
        turns=tuple(Turn(first + place * length, listener) for place, listener in enumerate(order)),
        frames=last + length + round(TAIL_S * rate),
    )


def sweep(rate: float, *, falling: bool = False) -> Signal:
    """Return the sweep at `rate` frames per second, which need not be whole, with a full scale of 1.

    Frequencies that `rate` can't hold are left out.
    """
    t = np.arange(round(SWEEP_S * rate)) / rate
    edge = np.minimum(t, SWEEP_S - t) / FADE_S
    if falling:
        t = SWEEP_S - t
    length = SWEEP_S / np.log(HIGH_HZ / LOW_HZ)
    hz = LOW_HZ * np.exp(t / length)
    held = (NYQUIST_SHARE - hz / rate) / 0.05
    gain = _rise(edge) * _rise(held)
    return gain * np.asarray(np.sin(2 * np.pi * length * (hz - LOW_HZ)), np.float64)


def play(plan: Plan) -> Samples:
    """Return everything the stream of `plan` holds, in `FORMAT`."""
    out = np.zeros(plan.frames, np.float64)
    at = round(SWEEP_AT_S * plan.rate)
    rising, falling = sweep(plan.rate), sweep(plan.rate, falling=True)
    for turn in plan.turns:
        out[turn.frame + at : turn.frame + at + len(rising)] = rising
    for frame in plan.markers:
        out[frame + at : frame + at + len(falling)] = falling
    return np.rint(out * LEVEL * 32767).astype(FORMAT.sample.dtype)[:, np.newaxis]


def _rise(x: Signal) -> Signal:
    rise: Signal = (1 - np.cos(np.pi * np.clip(x, 0, 1))) / 2
    return rise
