"""Clocks that are wrong in known ways.

A node's clock runs in straight pieces: within one, reading = its start + true time passed x (1 + rate).  Its skew is
the rate of the first piece.  With wander, a new piece begins every second, its rate a step of a random walk away; skew
and wander are what quartz does.  What else happens to a clock begins a piece too: it jumps ahead, it is slewed, or it
all but stands still while its machine is suspended.  Everything is integer arithmetic, rates in parts per 10^12, so
that a reading and its inverse agree to the nanosecond after any time.
"""

import math
from bisect import bisect_right
from dataclasses import dataclass
from random import Random

from radiosync.sim.scheduler import TrueNs
from radiosync.units import NS_PER_S, HostNs, LocalNs

TRILLION = 10**12
PIECE_NS = NS_PER_S
FOR_EVER = 1 << 80
STILL = TRILLION // 10**9  # of a suspended clock, which must go on a little: an inverse needs a slope


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockSettings:
    """How a clock is wrong: `offset_ns` at true time 0, skew in ppm, wander as ppm of random walk after one second."""

    offset_ns: int = 0
    skew_ppm: float = 0.0
    wander_ppm: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """By how much a clock was set at one true time, or from one to another went otherwise than it does by itself."""

    begin: int
    end: int
    size_ns: float

    def within(self, since: int, until: int) -> float:
        """Return how much of it, without its sign, fell between the true times `since` and `until`."""
        if self.begin == self.end:
            return abs(self.size_ns) if since <= self.begin <= until else 0.0
        overlap_ns = min(self.end, until) - max(self.begin, since)
        return abs(self.size_ns) * max(overlap_ns, 0) / (self.end - self.begin)


class SimClock:
    """One node's clock."""

    def __init__(self, settings: ClockSettings, rng: Random) -> None:
        self._rng = rng
        self._wander = settings.wander_ppm * 1e6
        self._begins = [0]  # true
        self._readings = [settings.offset_ns]
        self._rates = [round(settings.skew_ppm * 1e6)]
        self._was_set = False
        self._present = (0, 0, 0, 0, 0)
        """The piece that was read last: it begins and ends at, shows at its beginning and end, and has this rate."""

    def reading(self, at: TrueNs) -> int:
        """Return what the clock shows at the true instant `at`."""
        begin, end, shown, _, rate = self._present
        if not begin <= at < end:
            begin, _, shown, _, rate = self._present = self._around(at)
        since_ns = at - begin
        return shown + since_ns + since_ns * rate // TRILLION

    def host(self, at: TrueNs) -> HostNs:
        """Return the reading at `at` of a host's clock."""
        return HostNs(self.reading(at))

    def local(self, at: TrueNs) -> LocalNs:
        """Return the reading at `at` of a listener's clock."""
        return LocalNs(self.reading(at))

    def true(self, reading: int) -> TrueNs:
        """Return the first true instant at which the clock shows at least `reading`."""
        if self._wander:
            while self._readings[-1] <= reading:
                self._extend()
        begin, end, shown, shown_last, rate = self._present
        if shown <= reading < shown_last and not self._was_set:  # nearly always
            return TrueNs(min(begin - (shown - reading) * TRILLION // (TRILLION + rate), end))
        piece = max(0, bisect_right(self._readings, reading) - 1)
        while piece > 0 and self._shows(piece - 1, self._begins[piece] - 1) >= reading:
            piece -= 1
        # since + since * rate // TRILLION >= lacking, for the least whole `since`
        at = self._begins[piece] - (self._readings[piece] - reading) * TRILLION // (TRILLION + self._rates[piece])
        if piece + 1 < len(self._begins):
            at = min(at, self._begins[piece + 1])  # it jumped over the reading
        return TrueNs(at)

    def adjust(self, at: TrueNs, *, ahead_ns: int = 0, slew_ppm: float = 0.0) -> None:
        """Jump ahead at the true instant `at`, or run so much faster from then on than before."""
        piece, reading = self._piece(at), self.reading(at)
        del self._begins[piece + 1 :], self._readings[piece + 1 :], self._rates[piece + 1 :]
        self._begin(at, reading + ahead_ns, self._rates[piece] + round(slew_ppm * 1e6))
        self._was_set = True
        self._present = (0, 0, 0, 0, 0)

    def suspend(self, at: TrueNs, until: TrueNs) -> None:
        """Stand still, all but a thousandth of a ppm, from `at` until `until`; nothing may adjust it meanwhile."""
        self.adjust(at)
        rate = self._rates[-1]
        self._rates[-1] = STILL - TRILLION
        self._begin(until, self._shows(len(self._begins) - 1, until), rate)

    def _begin(self, at: int, reading: int, rate: int) -> None:
        self._begins.append(at)
        self._readings.append(reading)
        self._rates.append(rate)

    def _around(self, at: int) -> tuple[int, int, int, int, int]:
        """Return the piece that `at` lies in, as `_present` has it."""
        piece = self._piece(at)
        begin, shown, rate = self._begins[piece], self._readings[piece], self._rates[piece]
        if piece + 1 < len(self._begins):
            return begin, self._begins[piece + 1], shown, self._readings[piece + 1], rate
        return begin, begin + PIECE_NS if self._wander else FOR_EVER, shown, shown if self._wander else FOR_EVER, rate

    def _shows(self, piece: int, at: int) -> int:
        since_ns = at - self._begins[piece]
        return self._readings[piece] + since_ns + since_ns * self._rates[piece] // TRILLION

    def _piece(self, at: int) -> int:
        if self._wander:
            while self._begins[-1] + PIECE_NS <= at:
                self._extend()
        return max(0, bisect_right(self._begins, at) - 1)

    def _extend(self) -> None:
        begin = self._begins[-1] + PIECE_NS
        walked = round(self._rng.gauss(0.0, self._wander * math.sqrt(PIECE_NS / NS_PER_S)))
        self._begin(begin, self._shows(len(self._begins) - 1, begin), self._rates[-1] + walked)
