"""Fit a sound device's frame counter to the local clock.

At every callback the device says at which local instant its frame `frame` will reach the converter.  The truth is a
straight line, local = phase + frame / rate; a stamp adds a few µs of jitter on a good system, the sawtooth of a pointer
that moves in steps, now and then a stamp that is milliseconds off, and on some systems nothing but lies.

Stamps first fall into buckets of 0.1 s.  A bucket keeps the mean of those stamps that agree with the bucket's median.
The line is fitted over the last 30 s of buckets by weighted least squares with three rounds of trimming, and with a
Gaussian prior for the rate: nominal ± 50 ppm, or what an earlier session has learnt.  So the slope is the nominal one
at first and the measured one as soon as it is the better known, with no switch in between.  White jitter of sd s over N
stamps leaves 2 s/√N at the newest end: 6 µs become 0.3 µs after 30 s at 50 stamps a second.  Buckets that are not
independent, as with a slow sawtooth, widen the stated uncertainty by their lag-one correlation.

Sources.  A stamp is believed if it lies between the callback's entry and two seconds later, and if it is not merely the
entry time itself where the stream has a latency.  Where stamps keep failing that, entry + latency is used instead.  A
callback can be late but never early, so that then a bucket keeps its *earliest* stamp, the trimming is one-sided, and
what is left of the lateness stays as a bias.

A prior that the fit has moved away from by more than three of its sigmas was another crystal's (a device of the same
name, a machine at the same address): it is dropped for the nominal one.

Discontinuities.  Several stamps in a row more than 2 ms off the line mean that the device has lost or repeated time
(an xrun, a suspended machine): the fit begins again, keeping the rate.  So it does where a whole second of buckets lies
on one side of the line, beyond its scatter: less time was lost than that, or the local clock runs at another rate now.
The line waits meanwhile; with these in it, it would be wrong for as long as the window is.  Where the scatter is itself
that of a line that was left before it was known well, five seconds on one side tell it.  Where callbacks are taken for
stamps, a second in which they are early by a millisecond tells it, and five in which they are late.

F. Adriaensen, "Using a DLL to filter time" (2005) treats the same problem recursively; a window forgets exactly, and
gives its own uncertainty.
"""

import math
from collections import deque
from dataclasses import dataclass
from enum import Enum

import numpy as np

from radiosync.clock import envelope
from radiosync.clock.buckets import Bucket, bucket_of
from radiosync.clock.dac_fit import DacFit
from radiosync.clock.line import fit_line
from radiosync.units import NS_PER_MS, NS_PER_S, NS_PER_US, DacFrame, LocalNs

BUCKET_NS = 100 * NS_PER_MS
WINDOW_BUCKETS = 300
REFIT_BUCKETS = 5  # once settled: a line half a second old is as good, and a fit costs as much as 20 ms of music
BUCKET_STAMPS_MAX = 64  # at more than 640 a second the rest adds nothing
USABLE_NS = 300 * NS_PER_MS
# Before that, where it is seen that there is no sawtooth to average away: stamps of so many callbacks, over so long.
AGREED_COUNT, AGREED_NS, AGREED_WITHIN_NS = 3, 80 * NS_PER_MS, 100.0 * NS_PER_US

STAMP_EARLY_NS_MAX = 2 * NS_PER_MS  # the entry is itself stamped late
STAMP_AHEAD_NS_MAX = 2 * NS_PER_S
STAMP_COPIED_NS_MAX = 100 * NS_PER_US
LATENCY_NS_MIN = 5 * NS_PER_MS
DISTRUST_COUNT = 8
TRUST_COUNT = 100

JUMP_NS = 2 * NS_PER_MS
JUMP_COUNT = 5
ENTRY_JUMP_NS = 20 * NS_PER_MS  # callbacks wait for the processor for that long, without any jump
ENTRY_JUMP_COUNT = 25

LEFT_BUCKETS = 10  # a second: some cards' stamps are off for less, and come back
LEFT_LONG_BUCKETS = 50  # five; before, a slow sawtooth may look like a line
LEFT_NS_MIN, LEFT_RESIDUALS = 100.0 * NS_PER_US, 3.5
ENTRY_LEFT_NS_MIN = 1000.0 * NS_PER_US  # by which callbacks may all be late while a machine is busy

RATE_SIGMA = 50e-6
RESTART_RATE_SIGMA = 3e-6
CONTRADICTED_SIGMAS = 3.0  # from what was known before: then it was another crystal's
SETTLED_NS = 5 * NS_PER_S
SETTLED_RATE_SIGMA = 3e-6
SETTLED_SIGMA_NS = 50.0 * NS_PER_US

_ENTRY_EXCESS_NS_MIN = 10.0 * NS_PER_US


class StampSource(Enum):
    """Say what the fit is made from."""

    DEVICE = "device"
    """The device's own stamps."""
    ENTRY = "entry"
    """The callback's entry time plus the latency: late by an unknown, steady bias."""


@dataclass(slots=True)
class DacCounters:
    """Count what became of stamps."""

    stamps: int = 0
    implausible: int = 0
    """Device stamps that can't be true."""
    outliers: int = 0
    """Stamps far from the line."""
    surplus: int = 0
    """Stamps dropped because their bucket was full."""
    discontinuities: int = 0
    source_changes: int = 0


class DacClock:
    """Learn when each frame of a sound device is heard, from the stamps of its callbacks.

    `nominal_rate` is in frames per second.  `rate` and `rate_sigma` say what an earlier session has learnt: frames per
    local second, and its relative standard deviation.  Not for two threads at a time.
    """

    def __init__(self, nominal_rate: int, *, rate: float | None = None, rate_sigma: float = RATE_SIGMA) -> None:
        self.counters = DacCounters()
        self.nominal_rate = nominal_rate
        self.source = StampSource.DEVICE
        # Slopes are kept as how much longer than nominal a frame lasts, relative to nominal.
        self._prior_slope = 0.0 if rate is None else nominal_rate / rate - 1.0
        self._prior_sigma = rate_sigma
        self._failed = 0
        self._trusted = 0
        self._buckets: deque[Bucket] = deque(maxlen=WINDOW_BUCKETS)
        self._open: list[tuple[int, float]] = []
        self._open_until = 0
        self._unfitted = 0
        # So many buckets in a row, the newest, lie above the line or, negative, below: beyond its scatter, and at all.
        self._left = self._aside = 0
        self._jumps: list[tuple[DacFrame, LocalNs]] = []
        self._origin: tuple[int, int] | None = None
        self._newest_frame = 0
        self._taken = 0
        self._lates_ns = (0.0, 0.0)
        self._usable = False
        self._fit: DacFit | None = None

    def restart(self) -> None:
        """Begin a new line, after an xrun for one; what is known of the rate stays, a little less sure."""
        self._keep_rate()
        self._left = self._aside = 0
        self._buckets.clear()
        self._open.clear()
        self._jumps.clear()
        self._origin = None
        self._taken = 0
        self._lates_ns = (0.0, 0.0)
        self._usable = False
        self._fit = None

    def stamp(self, frame: DacFrame, dac_at: LocalNs, entered_at: LocalNs, latency_ns: int) -> None:
        """Note that a callback, entered at `entered_at`, was told that `frame` will be heard at `dac_at`.

        `latency_ns` is the stream's output latency, used only where the device's stamps can't be believed.
        """
        self.counters.stamps += 1
        plausible = _is_plausible(dac_at, entered_at, latency_ns)
        self._choose_source(plausible)
        if self.source is StampSource.ENTRY:
            self._take(frame, LocalNs(entered_at + latency_ns))
        elif plausible:
            self._take(frame, dac_at)

    def fit(self) -> DacFit | None:
        """Return the line as of the last bucket, or None before the first stamp."""
        return self._fit

    @property
    def usable(self) -> bool:
        """Return whether the phase is known: by 0.3 s of stamps, or fewer that agree; the rate may still be nominal."""
        return self._usable

    @property
    def settled(self) -> bool:
        """Return whether phase and rate are known well enough to place the first frame of music by."""
        return (
            self._fit is not None
            and self._span_ns() >= SETTLED_NS
            and self._fit.sigma_ns <= SETTLED_SIGMA_NS
            and self._fit.rate_sigma <= SETTLED_RATE_SIGMA
        )

    @property
    def rate(self) -> float:
        """Return the device's frames per local second, as far as known."""
        return self.nominal_rate / (1.0 + self._prior_slope) if self._fit is None else self._fit.rate

    @property
    def rate_sigma(self) -> float:
        """Return one standard deviation of `rate`, relative to it."""
        return self._prior_sigma if self._fit is None else self._fit.rate_sigma

    @property
    def residual_ns(self) -> float:
        """Return the scatter of the stamps about the line, in ns."""
        return 0.0 if self._fit is None else self._fit.residual_ns

    def local_from_dac(self, frame: DacFrame) -> LocalNs:
        """Return when `frame` reaches the converter, on the local clock; raises LookupError before the first stamp."""
        if self._fit is None:
            raise LookupError("no stamp has come from the sound device yet")
        return self._fit.local_from_dac(frame)

    def sigma_ns_at(self, frame: DacFrame) -> float:
        """Return one standard deviation of `local_from_dac(frame)`, in ns; infinite before the first stamp."""
        return math.inf if self._fit is None else self._fit.sigma_ns_at(frame)

    def _keep_rate(self) -> None:
        if self._fit is not None:
            self._prior_slope = self.nominal_rate / self._fit.rate - 1.0
            # What the stamps scatter may itself be time that was lost in the window, and tilts the line.
            tilt = self._fit.residual_ns / max(self._span_ns(), BUCKET_NS)
            sigma = max(self._fit.rate_sigma, min(RESTART_RATE_SIGMA, self._prior_sigma), tilt)
            self._prior_sigma = min(sigma, RATE_SIGMA)

    def _phase_is_known(self) -> bool:
        """Say so after enough stamps, or once the first lie so close to a line that more could not help much."""
        agree = self._taken >= AGREED_COUNT and self._lates_ns[1] - self._lates_ns[0] <= AGREED_WITHIN_NS
        early = agree and self.source is StampSource.DEVICE and self._span_ns() >= AGREED_NS
        return early or self._span_ns() >= USABLE_NS

    def _span_ns(self) -> float:
        if self._origin is None:
            return 0.0
        first = self._buckets[0].frame if self._buckets else self._origin[0]
        return (self._newest_frame - first) / self.nominal_rate * NS_PER_S

    def _choose_source(self, plausible: bool) -> None:
        if plausible:
            self._failed = 0
            self._trusted += 1
        else:
            self.counters.implausible += 1
            self._failed += 1
            self._trusted = 0
        if self.source is StampSource.DEVICE and self._failed >= DISTRUST_COUNT:
            self.source = StampSource.ENTRY
        elif self.source is StampSource.ENTRY and self._trusted >= TRUST_COUNT:
            self.source = StampSource.DEVICE
        else:
            return
        self.counters.source_changes += 1
        self.restart()

    def _take(self, frame: DacFrame, at: LocalNs) -> None:
        if self._fit is not None and self._buckets:  # before, the line may itself rest on an outlier
            entry = self.source is StampSource.ENTRY
            off_ns = abs(at - self._fit.local_from_dac(frame))
            if off_ns > (ENTRY_JUMP_NS if entry else JUMP_NS) + 6.0 * self._fit.sigma_ns_at(frame):
                self.counters.outliers += 1
                self._jumps.append((frame, at))
                if len(self._jumps) >= (ENTRY_JUMP_COUNT if entry else JUMP_COUNT):
                    self._jump()
                return
            self._jumps.clear()
        if self._origin is None:
            self._origin = (frame, at)
        elif frame < self._newest_frame:
            self.counters.discontinuities += 1
            self.restart()
            self._origin = (frame, at)
        self._newest_frame = frame
        if self._open and at >= self._open_until:
            self._close_bucket()
        if not self._open:
            self._open_until = at + BUCKET_NS
        if len(self._open) >= BUCKET_STAMPS_MAX:
            self.counters.surplus += 1
            return
        late_ns = self._late_ns(frame, at)
        self._taken += 1
        self._lates_ns = (min(self._lates_ns[0], late_ns), max(self._lates_ns[1], late_ns))  # the first is 0
        self._open.append((frame, late_ns))
        if not self._buckets:
            self._refit()
        self._usable = self._usable or self._phase_is_known()

    def _jump(self) -> None:
        """Begin a new line from the stamps that all lie off the old one."""
        stamps = list(self._jumps)
        self.counters.discontinuities += 1
        self.restart()
        for frame, at in stamps:
            self._take(frame, at)

    def _late_ns(self, frame: int, at: int) -> float:
        assert self._origin is not None
        frames = frame - self._origin[0]
        whole, rest = divmod(frames * NS_PER_S, self.nominal_rate)
        return (at - self._origin[1] - whole) - rest / self.nominal_rate

    def _opened(self) -> Bucket:
        return bucket_of(self._open, earliest=self.source is StampSource.ENTRY)

    def _close_bucket(self) -> None:
        self._buckets.append(self._opened())
        self._open.clear()
        self._unfitted += 1
        if self._is_left(self._buckets[-1]):
            return
        if self._unfitted >= REFIT_BUCKETS or not self.settled:
            self._unfitted = 0
            self._refit()

    def _is_left(self, bucket: Bucket) -> bool:
        """Say whether the line must wait until it is seen that it was left for good, and begin a new one if so."""
        if self._fit is None:
            return False
        off_ns = bucket.late_ns - self._late_ns(bucket.frame, self._fit.local_from_dac(DacFrame(bucket.frame)))
        scatter_ns = LEFT_RESIDUALS * self._fit.residual_ns + 3.0 * self._fit.sigma_ns_at(DacFrame(bucket.frame))
        known, entry = len(self._buckets) >= LEFT_LONG_BUCKETS, self.source is StampSource.ENTRY
        least_ns = ENTRY_LEFT_NS_MIN if entry else LEFT_NS_MIN
        self._left = _row(self._left, off_ns, max(least_ns, scatter_ns)) if known else 0
        if entry:  # never early, but all may be late for a while
            left = not -LEFT_BUCKETS < self._left < LEFT_LONG_BUCKETS
        else:
            self._aside = _row(self._aside, off_ns, LEFT_NS_MIN)
            left = abs(self._left) >= LEFT_BUCKETS or abs(self._aside) >= LEFT_LONG_BUCKETS
        if not left:
            return self._left != 0
        self.counters.discontinuities += 1
        self._keep_rate()
        self._buckets = deque(list(self._buckets)[-LEFT_BUCKETS:], maxlen=WINDOW_BUCKETS)
        self._left = self._aside = 0
        return False

    def _refit(self) -> None:
        assert self._origin is not None
        buckets = [*self._buckets, self._opened()] if self._open else list(self._buckets)
        late_s = (np.array([b.frame for b in buckets], dtype=np.float64) - buckets[-1].frame) / self.nominal_rate
        late_ns = np.array([b.late_ns for b in buckets])
        prior = envelope.SlopePrior(slope=self._prior_slope * NS_PER_S, sigma=self._prior_sigma * NS_PER_S)
        if self.source is StampSource.ENTRY:
            guess = (self.nominal_rate / self.rate - 1.0) * NS_PER_S
            line = envelope.fit_floor(late_s, late_ns, prior, slope_guess=guess, excess_ns_min=_ENTRY_EXCESS_NS_MIN)
        else:
            line = fit_line(late_s, late_ns, np.array([float(b.count) for b in buckets]), prior)
        if self._prior_sigma < RATE_SIGMA and abs(line.slope - prior.slope) > CONTRADICTED_SIGMAS * prior.sigma:
            self._prior_slope, self._prior_sigma = 0.0, RATE_SIGMA
            self._refit()
            return
        frames = buckets[-1].frame - self._origin[0]
        whole, rest = divmod(frames * NS_PER_S, self.nominal_rate)
        since_ns = rest / self.nominal_rate + line.offset_ns
        self._fit = DacFit(
            frame=DacFrame(buckets[-1].frame),
            local_at=LocalNs(self._origin[1] + whole + round(since_ns)),
            local_fraction_ns=since_ns - round(since_ns),
            rate=self.nominal_rate / (1.0 + line.slope / NS_PER_S),
            sigma_ns=line.offset_sigma_ns,
            rate_sigma=line.slope_sigma / NS_PER_S,
            residual_ns=max(line.excess_ns, envelope.median(np.array([b.scatter_ns for b in buckets]))),
        )


def _is_plausible(dac_at: LocalNs, entered_at: LocalNs, latency_ns: int) -> bool:
    ahead_ns = dac_at - entered_at
    if not -STAMP_EARLY_NS_MAX < ahead_ns < STAMP_AHEAD_NS_MAX:
        return False
    return abs(ahead_ns) > STAMP_COPIED_NS_MAX or latency_ns < LATENCY_NS_MIN


def _row(count: int, off_ns: float, most_ns: float) -> int:
    """Return how many in a row are beyond `most_ns` on the same side, negative below, with one more."""
    side = 0 if abs(off_ns) <= most_ns else int(math.copysign(1, off_ns))
    return side + (count if count * side > 0 else 0)
