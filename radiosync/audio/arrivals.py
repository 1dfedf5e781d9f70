"""When each listener's sound arrived at the microphone, from one recording of a calibration.

A turn's recording X is divided by the sweep S that was played: what remains is the response of loudspeaker, room and
microphone, in a band whose edges are as soft as a Hann window W's, so that an arrival has no side lobes above -31 dB:

    h = IFFT(W X conj(S) / (|S|² + r)),    |h| its envelope, since W holds positive frequencies only

Dividing makes the peak as narrow as the band allows, whatever spectrum the sweep has; that is what the phase transform
does for signals that are not known (Knapp and Carter, IEEE Trans. ASSP 24(4), 1976).

The arrival is the first peak of |h|, not its highest: where the direct sound is shadowed, a reflection is louder, and
comes up to 50 ms later (Defrance, Daudet and Polack, JASA 124(4), 2008).  ISO 3382-1 puts the beginning of a response
20 dB below its highest peak; here it is a peak that counts, and one of at least a quarter (-12 dB), since side lobes
lie below that.  What comes more than 50 ms before the highest is no direct sound: there lie the harmonics of whatever
distorts.  A parabola through the logarithm of three values gives the fraction of a sample.

The recorder's clock runs off.  Its rate is the median of the slopes between all pairs of turns of the same listener
(Theil and Sen), which a door that slams does not move.  Within a sweep it does no harm: 100 ppm shift all arrivals by
the same and lower their peaks by less than a per cent.  Each listener's arrival is the median over its turns, its
spread their median deviation.
"""

from dataclasses import dataclass, replace
from itertools import combinations
from statistics import median, median_low

import numpy as np
from numpy.typing import NDArray

from radiosync.audio.probe import NYQUIST_SHARE, SWEEP_S, Plan, sweep
from radiosync.errors import RecordingError

WINDOW_S = 0.45  # how much earlier or later than the marker a sweep may come: half of what is silent in a turn
BAND_HZ = (300.0, 11_500.0)  # within the sweep's, whose ends are faded
REGULAR = 1e-3  # of the sweep's strongest frequency: where it has less, there is nothing to divide by
FIRST_SHARE = 0.25
BEFORE_S = 0.05
HEARD = 6.0  # times the noise (15.6 dB): among the 10 million independent values of a recording noise itself reaches 4
QUIET_SHARE = 0.25  # of a window that the sound leaves alone, however early it comes and long it lasts
NOISE_OF_QUIET = 1 / np.sqrt(-np.log(1 - QUIET_SHARE))  # the envelope of noise is Rayleigh distributed
STEADY_S = 0.5e-3  # half of what two loudspeakers may be apart and sound as one
DRIFT_MAX = 1e-3  # of a recorder's rate: ten times the worst crystal
CLIPPED = 0.995  # of full scale
CLIPPED_SHARE = 1e-4  # of all samples: a few are a knock on the telephone
BLOCK_S = 10.0  # of the search for a marker: memory for one block, not for the recording
SNR_DB_MAX = 150.0  # of a recording without any noise, instead of infinity
MARKER_SHARE = 0.25  # of the loudest turn: everybody plays it, and what a rising sweep makes of it is a hundredth
FLOOR = 3e-3  # of the marker's level: 50 dB below it nobody hears anything
ALIKE = 0.05  # of a response's energy, by which another may differ and still be the same loudspeaker's

_NOT_FOUND = (
    "no calibration is found in it: record from before the first sound to after the last, with the microphone where "
    "you listen, loud enough, and without noise suppression"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """What became of one listener's turns."""

    delay_s: float
    """When its sound arrives, against an origin that all listeners share; the median."""
    spread_s: float
    """The median deviation from it."""
    snr_db: float
    """How far the direct sound stands out of the noise, each compressed in time by the sweep."""
    heard: int
    recorded: int
    """How many of its turns the recording holds."""
    fault: str | None
    """Why the delay can't be relied on, if it can't; for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a recording says of a calibration."""

    arrivals: tuple[Arrival, ...]
    speed: float
    """The recorder's rate against the stream's, as a factor of what it claims."""
    out_of_turn: bool
    """Whether somebody was heard in the turns of nobody."""
    intruders: tuple[int, ...]
    """Which listeners that was, as far as it can be told."""
    clipped: bool


@dataclass(frozen=True, slots=True)
class _Heard:
    """The first arrival of a sweep: when, in seconds of the recorder's clock, how strong, and in how much noise."""

    at_s: float
    level: float
    noise: float
    envelope: NDArray[np.float32]


class _Deconvolver:
    """Divides stretches of a recording by the sweep."""

    def __init__(self, rate: int, size_s: float, *, falling: bool = False) -> None:
        self.sweep_frames = round(SWEEP_S * rate)
        self.size = 1 << round(size_s * rate).bit_length()
        spectrum = np.fft.fft(sweep(rate, falling=falling), self.size)
        hz = np.fft.fftfreq(self.size, 1 / rate)
        low, high = BAND_HZ[0], min(BAND_HZ[1], (NYQUIST_SHARE - 0.05) * rate)
        window = np.where((hz > low) & (hz < high), 0.5 - 0.5 * np.cos(2 * np.pi * (hz - low) / (high - low)), 0.0)
        power = np.abs(spectrum) ** 2
        self._filter = window * np.conj(spectrum) / (power + REGULAR * power.max()) / window.sum() * self.size

    def envelope(self, stretch: NDArray[np.float32], lags: int) -> NDArray[np.float32]:
        """Return |h| for sweeps that begin at one of the first `lags` frames of `stretch`."""
        h = np.fft.ifft(np.fft.fft(stretch, self.size) * self._filter)
        return np.abs(h[:lags]).astype(np.float32)


def find_arrivals(recording: NDArray[np.float32], rate: int, plan: Plan, listeners: int) -> Findings:
    """Return when each of `listeners` arrived, from a mono recording at `rate` with a full scale of 1.

    Raises RecordingError where the plan's markers, or all turns, are not to be found in it.
    """
    turns = _best_turns(recording, rate, plan, *_find_marker(recording, rate))
    speed = _speed(plan, turns)
    delays = {place: heard.at_s / speed - plan.sweep_s(plan.turns[place].frame) for place, heard in turns.heard.items()}
    arrivals = tuple(_arrival(number, plan, turns, delays) for number in range(listeners))
    out_of_turn = _steady_in_nobodys(plan, turns, delays)
    intruders = tuple(number for number in range(listeners) if out_of_turn and _intrudes(number, plan, turns))
    clipped = float(np.mean(np.abs(recording) >= CLIPPED)) > CLIPPED_SHARE
    return Findings(arrivals=arrivals, speed=speed, out_of_turn=out_of_turn, intruders=intruders, clipped=clipped)


def reference_delay_s(delays_s: list[float]) -> float:
    """Return the delay that all should have: that of the listener in the middle, so that most stay as they are."""
    return median_low(delays_s)


# --- where the plan lies in the recording ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Turns:
    """What was heard in the turns that the recording holds, by place in the plan."""

    origin_s: float
    """When the stream's frame 0 would have arrived, in seconds of the recorder's clock."""
    marker_level: float
    """How loud all of them together are."""
    heard: dict[int, _Heard]

    def clear(self, place: int) -> bool:
        """Say whether something is heard in a turn."""
        heard = self.heard[place]
        return heard.level > max(HEARD * heard.noise, FLOOR * self.marker_level)


def _find_marker(recording: NDArray[np.float32], rate: int) -> tuple[float, float]:
    """Return when the clearest marker begins, in seconds, and how loud it is."""
    if len(recording) < (SWEEP_S + 2 * WINDOW_S) * rate:
        raise RecordingError("is too short to hold a calibration")
    divide = _Deconvolver(rate, BLOCK_S, falling=True)
    lags = divide.size - 2 * divide.sweep_frames
    best, best_at, noise = 0.0, 0, 0.0
    for begin in range(0, len(recording), lags):
        stretch = recording[begin : begin + divide.size]
        envelope = divide.envelope(stretch, min(lags, max(1, len(stretch) - divide.sweep_frames // 2)))
        place = int(np.argmax(envelope))
        if envelope[place] > best:
            best, best_at = float(envelope[place]), begin + place
            noise = _noise(envelope)
    if best == 0 or best < HEARD * noise:
        raise RecordingError(_NOT_FOUND)
    return best_at / rate, best


def _best_turns(recording: NDArray[np.float32], rate: int, plan: Plan, marker_s: float, marker_level: float) -> _Turns:
    """Return the turns as they are heard if the marker found is the one of the plan with which most are."""
    origins = [_Turns(marker_s - plan.sweep_s(frame), marker_level, {}) for frame in plan.markers]
    tried = [_hear_turns(recording, rate, plan, origin) for origin in origins]

    def right(turns: _Turns) -> int:
        return sum(-1 if plan.turns[place].listener is None else 1 for place in turns.heard if turns.clear(place))

    best = max(tried, key=right)
    loudest = max((heard.level for heard in best.heard.values()), default=0.0)
    if right(best) <= 0 or marker_level < MARKER_SHARE * loudest:
        raise RecordingError(_NOT_FOUND)
    return best


def _hear_turns(recording: NDArray[np.float32], rate: int, plan: Plan, origin: _Turns) -> _Turns:
    divide = _Deconvolver(rate, SWEEP_S + 2.5 * WINDOW_S)
    lags = round(2 * WINDOW_S * rate)
    heard = {}
    for place, turn in enumerate(plan.turns):
        begin = round((origin.origin_s + plan.sweep_s(turn.frame) - WINDOW_S) * rate)
        end = begin + lags + divide.sweep_frames
        if begin >= 0 and end <= len(recording):
            heard[place] = _first_arrival(divide.envelope(recording[begin:end], lags), begin, rate)
    return replace(origin, heard=heard)


def _first_arrival(envelope: NDArray[np.float32], begin: int, rate: int) -> _Heard:
    noise = _noise(envelope)
    highest = int(np.argmax(envelope))
    start = max(1, highest - round(BEFORE_S * rate))
    part = envelope[start - 1 : highest + 2]
    enough = max(FIRST_SHARE * float(envelope[highest]), HEARD * noise)
    peaks = np.flatnonzero((part[1:-1] >= enough) & (part[1:-1] >= part[:-2]) & (part[1:-1] > part[2:]))
    place = start + int(peaks[0]) if len(peaks) else highest
    fraction = 0.0
    if 0 < place < len(envelope) - 1 and envelope[place - 1 : place + 2].min() > 0:
        before, at, after = np.log(envelope[place - 1 : place + 2].astype(np.float64))
        bend = before - 2 * at + after
        fraction = float(np.clip((before - after) / (2 * bend), -0.5, 0.5)) if bend < 0 else 0.0
    return _Heard((begin + place + fraction) / rate, float(envelope[place]), noise, envelope)


def _noise(envelope: NDArray[np.float32]) -> float:
    """Return the effective value of the noise between arrivals."""
    return float(np.quantile(envelope, QUIET_SHARE) * NOISE_OF_QUIET)


# --- what the turns say together -------------------------------------------------------------------------------------


def _clear_places(number: int | None, plan: Plan, turns: _Turns) -> list[int]:
    return [place for place in turns.heard if plan.turns[place].listener == number and turns.clear(place)]


def _speed(plan: Plan, turns: _Turns) -> float:
    """Return how many of its own seconds the recorder counts in one of the stream."""
    slopes = []
    for number in {turn.listener for turn in plan.turns} - {None}:
        for a, b in combinations(_clear_places(number, plan, turns), 2):
            apart_s = plan.sweep_s(plan.turns[b].frame) - plan.sweep_s(plan.turns[a].frame)
            slopes.append((turns.heard[b].at_s - turns.heard[a].at_s) / apart_s)
    speed = median(slopes) if slopes else 1.0
    if abs(speed - 1) > DRIFT_MAX:
        raise RecordingError(
            "its pace changes, or it has gaps: record without pause, into a WAV file, and without noise suppression"
        )
    return speed


def _arrival(number: int, plan: Plan, turns: _Turns, delays: dict[int, float]) -> Arrival:
    recorded = [place for place in turns.heard if plan.turns[place].listener == number]
    clear = _clear_places(number, plan, turns)
    delay_s = median(delays[p] for p in clear) if clear else 0.0
    spread_s = median(abs(delays[p] - delay_s) for p in clear) if clear else 0.0
    ratios = [turns.heard[p].level / turns.heard[p].noise for p in recorded if turns.heard[p].noise > 0]
    snr_db = min(SNR_DB_MAX, 20 * float(np.log10(max(median(ratios), 1e-9)))) if ratios else SNR_DB_MAX
    fault = None
    if not recorded:
        fault = "its turns are not in the recording"
    elif not clear:
        fault = "not heard"
    elif 2 * len(clear) <= len(recorded):
        fault = f"heard in {len(clear)} of {len(recorded)} turns only"
    elif spread_s > STEADY_S:
        fault = f"unsteady: its turns differ by {spread_s * 1000:.1f} ms"
    return Arrival(
        delay_s=delay_s, spread_s=spread_s, snr_db=snr_db, heard=len(clear), recorded=len(recorded), fault=fault
    )


def _steady_in_nobodys(plan: Plan, turns: _Turns, delays: dict[int, float]) -> bool:
    """Say whether the turns of nobody hold the same arrival, most of them."""
    recorded = sum(1 for place in turns.heard if plan.turns[place].listener is None)
    clear = _clear_places(None, plan, turns)
    if len(clear) < 2 or 2 * len(clear) <= recorded:
        return False
    middle = median(delays[p] for p in clear)
    return median(abs(delays[p] - middle) for p in clear) < STEADY_S


def _intrudes(number: int, plan: Plan, turns: _Turns) -> bool:
    """Say whether this listener's turns sound like those of nobody: then it plays in them too, and nobody else does."""
    differences = []
    for own in _clear_places(number, plan, turns):
        for nobodys in _clear_places(None, plan, turns):
            a, b = turns.heard[own].envelope, turns.heard[nobodys].envelope
            differences.append(float(np.sum((a - b) ** 2) / np.sum(a**2)))
    return bool(differences) and median(differences) < ALIKE
