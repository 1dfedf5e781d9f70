"""Estimate the host's clock from exchanges: the one-way-envelope filter.

What is known.  Let θ(t) be host minus local clock.  An exchange gives f = T2 - T1 = θ + the delay of the question and
g = T4 - T3 = -θ + the delay of the answer.  Queues, retransmissions, sleeping radios and late time stamps only ever
*add* delay.  So f lies above a floor that runs parallel to θ, and g above one that runs parallel to -θ, and what tells
about θ are the samples near the two floors.  The usual filters pick exchanges with a short round trip, which needs
both ways to be quiet in the same exchange; here the two floors may come from different exchanges.

The hard bound.  Every sample says -g <= θ <= f, at its own time, whatever the asymmetry.  All straight lines that no
sample in the window contradicts make a convex set; its extremes at the newest sample bound θ, and the extremes of its
slope bound the skew (`envelope.feasible`).  Crystals age, so that a sample is first raised by what the line may have
bent since, `AGEING_PER_S`/2 times its age squared.

The estimate.  If the excess delay is exponential with mean b, and n samples fall into the window, the likelihood of a
slope δ is exp(n/b_f (F(δ) + δ·mean t) + n/b_g (G(δ) - δ·mean t)), where F(δ) = min(f - δt) and G(δ) = min(g + δt) are
the floors.  It is log-concave; multiplied with a Gaussian prior of the skew it is summed on a small grid for the
posterior mean and variance.  A floor seen through n samples is b/n too high, so that θ = ((F - b_f/n) - (G - b_g/n))/2,
averaged over the slopes (`envelope.fit`).  b is the median excess over ln 2, whatever the tail of the delays.  Where
there are many times more near the floor than that promises, a network was bad for a part of the window, as behind
somebody's download, and what came then is left out: b and n are those of the others.

The window.  Longer is better against noise, shorter against ageing crystals: 96 s · (b / 50 µs)^¼, within 32 and 256 s,
and a sample is raised by AGEING_LIKELY/2 times its age squared, so that an old one matters only if it is really lower.

Measured against the fit of two convex hulls with a common, precision-weighted slope (steady rms, µs; skew within
±30 ppm, 0.3 ppm of thermal swing, 1e-8/√s of wander, stamps taken in user space): wired 3.0 (hulls 4.1), Wi-Fi 18
(19); wired with kernel stamps, 4 µs of excess, 0.4 (0.7).  `tools/bench_clock.py` measures other networks: with 10 to
50 ms of queue one way for half of the time 8 µs, and 88 with `envelope.MIXED` infinite, where nothing is left out.

Steps.  A sample *below* its floor can't be: either the clocks have stepped, or a shorter road has opened.  A step moves
the floors in opposite directions, so when since that sample the other floor has risen by at least half as much, the
samples before it are dropped.  A longer road raises both floors: the old ones keep serving until they leave the window.
A step that hides in the scatter takes more samples, and every fourth time is looked for in all the window (`steps`).
What came before it may have tilted the line, so that this is done by the slope of the newer half as well.
A step larger than the round trip shows at once, as a sample that no line through the others allows.  It becomes a
suspect, and the old line goes on; four suspects begin a new history, unless a sample comes that contradicts them.
Where no line fits all samples, and none of the newest is a suspect, the clocks have stepped or bent before that was so:
what came since is fitted alone as soon as it suffices, and until then the newest half, or less, that one line fits.
Between steps the bound holds.  After one it can be wrong by as much as the clock has stepped, until that is noticed or
has left the window: a few samples say of a step smaller than their scatter nothing that luck could not.  `since` tells.

References: V. Paxson, "On calibrating measurements of packet transit times" (1998); S. Moon, P. Skelly, D. Towsley,
"Estimation and removal of clock skew from network delay measurements" (1999); L. Zhang, Z. Liu, C. Xia, "Clock
synchronization algorithms for network measurements" (2002); D. Veitch, J. Ridoux, S. Korada, "Robust synchronization of
absolute and difference clocks over networks" (2009).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np

from radiosync.clock import envelope, steps
from radiosync.clock.exchange import Exchange
from radiosync.clock.history import Columns, History, columns_of, delays_of, joined
from radiosync.clock.mapping import AGEING_PER_S, ClockMapping
from radiosync.units import NS_PER_MS, NS_PER_S, NS_PER_US, HostNs, LocalNs

RTT_NS_MAX = NS_PER_S
WINDOW_S_MIN, WINDOW_S_MAX = 32.0, 256.0
WINDOW_S = 96.0
WINDOW_EXCESS_NS = 50.0 * NS_PER_US
WINDOW_EXPONENT = 0.25
CAPACITY = 2048  # the longest window of the most questions a second that are asked, and several bursts
AGEING_LIKELY = 1e-9  # per second: what crystals in a room mostly do, where AGEING_PER_S is what they can do
FLOOR_SHARE = 0.03  # of the excess: where delays are sums of several, the least of thousands is so far above its floor
FLOOR_NS_MAX = 50.0 * NS_PER_US  # milliseconds of scatter are one queue's: nothing is added up
SIGMA_INFLATION = 2.5  # real delays are rarer at the very floor than exponential ones

HOLDOVER_NS = 5 * NS_PER_S
DEGRADED_NS = 60 * NS_PER_S
UNSYNCED_NS = 300 * NS_PER_S

READY_COUNT = 8
READY_SURE_COUNT, READY_SURE_NS_MAX = 3, 500.0 * NS_PER_US  # fewer, where the bound leaves no room for a doubt: a wire
READY_SIGMA_NS_MAX = 500.0 * NS_PER_US  # two of them are the millisecond below which two loudspeakers sound as one
READY_BOUND_AFTER_NS, READY_BOUND_NS_MAX = 2 * NS_PER_S, 5 * NS_PER_MS
READY_ANYWAY_AFTER_NS = 4 * NS_PER_S  # on a network so bad that this is met, waiting longer helps less than music

SEARCH_EVERY = 4  # exchanges: a step that hides in the scatter takes more to be seen, and the search a while
TRIAL_COUNT_MAX = 16
TRUNCATED_COUNT_MIN = 8  # a line through fewer explains anything
STEP_SKEW_SIGMA = 5e-6  # after a step the crystals are still the same, if it was not the host that changed

DEFAULT_SKEW_SIGMA = 30e-6
WIDE_PRIOR = envelope.SlopePrior(slope=0.0, sigma=DEFAULT_SKEW_SIGMA * NS_PER_S)
CONTRADICTED_SIGMAS = 3.0  # from what was known before, to let go of it


class Quality(Enum):
    """Say how much a mapping can be trusted, by the age of its last exchange."""

    UNSYNCED = "unsynced"
    """No exchange yet, or none for five minutes."""
    LOCKED = "locked"
    HOLDOVER = "holdover"
    """None for five seconds: the skew carries on."""
    DEGRADED = "degraded"
    """None for a minute."""


@dataclass(slots=True)
class FilterCounters:
    """Count what became of exchanges."""

    accepted: int = 0
    rejected: int = 0
    """Exchanges that contradict themselves or took too long."""
    evicted: int = 0
    """Exchanges dropped before their time because the ring was full."""
    steps: int = 0
    truncated: int = 0
    """Fits for which older exchanges had to be left out, because no straight line fits all."""
    outliers: int = 0
    """Exchanges that contradicted the others before and after them."""


class ClockFilter:
    """Estimate the map between a listener's clock and the host's from their exchanges.

    `skew` and `skew_sigma` say what is known beforehand, from an earlier session with the same host perhaps: host
    seconds per local second minus 1, and its standard deviation.
    """

    def __init__(self, *, skew: float = 0.0, skew_sigma: float = DEFAULT_SKEW_SIGMA, capacity: int = CAPACITY) -> None:
        self.counters = FilterCounters()
        self._given_prior = envelope.SlopePrior(slope=skew * NS_PER_S, sigma=skew_sigma * NS_PER_S)
        self._samples = History(capacity)
        self._trial: list[Exchange] = []
        self._suspects = 0
        self._unsearched = 0
        self.reset()

    def reset(self) -> None:
        """Forget everything but the prior skew and the counters: the host is another one, or has another clock."""
        self._samples.clear()
        self._trial.clear()
        self._suspects = 0
        self._prior = self._given_prior
        self._window_s = WINDOW_S_MIN
        self._excess_ns = 0.0
        self._first_at: LocalNs | None = None
        self._bent_at: LocalNs | None = None  # since when no line fits all
        self._since: LocalNs | None = None
        self._count = 0
        self._mapping: ClockMapping | None = None

    def add(self, exchange: Exchange) -> bool:
        """Take `exchange` into the estimate; return whether it was plausible."""
        newest_at = exchange.received_at
        if self._mapping is not None:
            newest_at = max(newest_at, self._mapping.local_at)  # kernel stamps of a burst may overtake each other
        if not (
            0 <= exchange.rtt_ns <= RTT_NS_MAX
            and exchange.host_sent_at >= exchange.host_received_at
            and newest_at - exchange.sent_at <= 2 * RTT_NS_MAX
        ):
            self.counters.rejected += 1
            return False
        if self._first_at is None:
            self._first_at = exchange.received_at
        self._look_for_step(exchange, newest_at)
        plausible = self._fit(exchange, newest_at)
        if not plausible and self._try(exchange, suspect=True):
            plausible = self._fit(exchange, newest_at)
        elif plausible and self._trial:
            self._try(exchange, suspect=False)
        if not plausible:
            return False
        self.counters.evicted += self._samples.add(exchange)
        self._samples.drop_before(LocalNs(newest_at - round(WINDOW_S_MAX * NS_PER_S)))
        self.counters.accepted += 1
        self._count += 1
        return True

    def mapping(self) -> ClockMapping | None:
        """Return the map as of the last plausible exchange, or None before the first."""
        return self._mapping

    def ready(self, now: LocalNs) -> bool:
        """Return whether the map is good enough to start playing by, or waiting has lost its point."""
        if self._mapping is None or self._first_at is None or self.quality(now) is Quality.UNSYNCED:
            return False
        if self._count >= READY_SURE_COUNT and self._mapping.bound_ns_at(now) < READY_SURE_NS_MAX:
            return True
        if self._count >= READY_COUNT and self._mapping.sigma_ns_at(now) < READY_SIGMA_NS_MAX:
            return True
        waited_ns = now - self._first_at
        if waited_ns >= READY_BOUND_AFTER_NS and self._mapping.bound_ns_at(now) < READY_BOUND_NS_MAX:
            return True
        return waited_ns >= READY_ANYWAY_AFTER_NS

    def quality(self, now: LocalNs) -> Quality:
        """Return how much the map can be trusted at `now`."""
        if self._mapping is None:
            return Quality.UNSYNCED
        age_ns = now - self._mapping.local_at
        if age_ns > UNSYNCED_NS:
            return Quality.UNSYNCED
        if age_ns > DEGRADED_NS:
            return Quality.DEGRADED
        return Quality.HOLDOVER if age_ns > HOLDOVER_NS else Quality.LOCKED

    @property
    def since(self) -> LocalNs | None:
        """Return when the oldest exchange left that the map rests on, if there is one: it knows of no step since."""
        return self._since

    @property
    def suspicious(self) -> bool:
        """Return whether recent exchanges contradict those before: a burst now would soon settle the matter."""
        return self._suspects > 0

    @property
    def excess_ns(self) -> float:
        """Return the mean delay above the floors, in ns: how noisy the network and the stamps are."""
        return self._excess_ns

    def _look_for_step(self, exchange: Exchange, newest_at: LocalNs) -> None:
        """Begin anew if `exchange` proves a step that is smaller than the round trip."""
        if self._mapping is None:
            return
        since = self._trial[0].received_at if self._trial else exchange.received_at
        seen = joined(self._samples.before(since), [*self._trial, exchange])
        delays = delays_of(seen, newest_at, exchange.forward_ns)
        recent = delays.newest(steps.HISTORY + steps.RECENT)
        kept = steps.sudden(recent, self._mapping.skew * NS_PER_S)
        if kept < recent.forward_s.size:
            self._begin_anew(seen[:, -kept:-1], *_slope_of(self._mapping))
            return
        self._unsearched += 1
        if self._unsearched >= SEARCH_EVERY and steps.may_hide(self._excess_ns):
            self._unsearched = 0
            self._search(self._mapping, seen, delays.newest(self._windowed(delays)))

    def _search(self, mapping: ClockMapping, seen: Columns, delays: envelope.Delays) -> None:
        """Begin anew if `seen`, whose delays these are, are much likelier with a step among them than without."""
        for slope, sigma in self._slopes(mapping, delays):
            step = steps.likeliest(delays, slope, sigma, again=self.counters.steps > 0)
            if step is None or step.evidence < steps.EVIDENCE_MIN:
                continue
            if envelope.feasible(delays.newest(step.count).aged(AGEING_PER_S * NS_PER_S)) is None:
                return  # there is more to it than a step
            before = self._slope(delays.oldest(delays.forward_s.size - step.count), slope)
            # Where there is one, the skew of all together is wrong: it had to explain the step.
            self._begin_anew(seen[:, -step.count : -1], *(before or (slope, sigma)))
            return

    def _slopes(self, mapping: ClockMapping, delays: envelope.Delays) -> Iterator[tuple[float, float]]:
        """Yield the slope by which to look for a step, and that of the newer half, if it is another; with their sigmas.

        What came before a step may have tilted the line, and by a tilted one all delays look scattered: no step seems
        worth a better one.
        """
        slope, sigma = _slope_of(mapping)
        yield slope, sigma
        half = delays.newest(delays.forward_s.size // 2)
        tilted = self._slope(half, slope) if half.forward_s.size >= TRUNCATED_COUNT_MIN else None
        later = tilted and self._slope(half, tilted[0])
        if later and abs(later[0] - slope) >= CONTRADICTED_SIGMAS * math.hypot(sigma, later[1]):
            yield later

    def _slope(self, delays: envelope.Delays, slope_guess: float) -> tuple[float, float] | None:
        """Return the slope of the line through `delays` and its sigma, in ns per second; None where there is none."""
        possible = envelope.feasible(delays.aged(AGEING_PER_S * NS_PER_S))
        if possible is None:
            return None
        delays = delays.aged(AGEING_LIKELY * NS_PER_S)
        fitted = envelope.fit(delays, possible, self._prior, slope_guess=slope_guess, excess_ns_min=steps.EXCESS_NS_MIN)
        return fitted.slope, SIGMA_INFLATION * fitted.slope_sigma

    def _try(self, exchange: Exchange, *, suspect: bool) -> bool:
        """Try `exchange` on the history that began with the first suspect; return whether that replaced the old one."""
        trial = [*self._trial, exchange]
        if envelope.feasible(delays_of(columns_of(trial), exchange.received_at, exchange.forward_ns)) is None:
            self._acquit()
            trial = [exchange] if suspect else []
        self._suspects += suspect
        self._trial = trial
        if self._suspects >= steps.WITNESSES:
            self._begin_anew(columns_of(trial[:-1]), *_slope_of(self._mapping))
            return True
        if len(trial) >= TRIAL_COUNT_MAX:
            self._acquit()
        return False

    def _acquit(self) -> None:
        """Drop the suspects as outliers: no clock has stepped."""
        self.counters.outliers += self._suspects
        self._suspects = 0
        self._trial = []

    def _begin_anew(self, samples: Columns, slope: float, sigma: float) -> None:
        """Drop all history but `samples`, which came after a step; the crystals are still the same."""
        self._prior = envelope.SlopePrior(slope=slope, sigma=max(sigma, STEP_SKEW_SIGMA * NS_PER_S))
        self._samples.replace(samples)
        self._trial = []
        self._suspects = 0
        self._unsearched = 0
        self._bent_at = None
        self._window_s = WINDOW_S_MIN
        self._count = samples.shape[1]
        self._mapping = None
        self.counters.steps += 1

    def _straight(
        self, delays: envelope.Delays, newest_at: LocalNs
    ) -> tuple[envelope.Delays, envelope.Feasible] | None:
        """Return the newest of `delays`, which no line fits, that one fits, and its extremes; None where these are few.

        Those that came since that is so are taken as soon as they suffice: what bent the line was before them.  Of all
        the newest that fit some may be of before a step, and what fits those as well is a wrong skew.
        """
        if self._bent_at is not None:
            since = int(np.count_nonzero(delays.backward_s >= (self._bent_at - newest_at) / NS_PER_S))
            possible = envelope.feasible(delays.newest(max(since, 1)).aged(AGEING_PER_S * NS_PER_S))
            if possible is None:
                self._bent_at = None  # and again
            elif since >= TRUNCATED_COUNT_MIN:
                return delays.newest(since), possible
        possible = None
        while possible is None:
            delays = delays.newest(delays.forward_s.size // 2)
            if delays.forward_s.size < TRUNCATED_COUNT_MIN:
                return None
            possible = envelope.feasible(delays.aged(AGEING_PER_S * NS_PER_S))
        if self._bent_at is None:
            self._bent_at = newest_at
        return delays, possible

    def _windowed(self, delays: envelope.Delays) -> int:
        """Return how many of the newest `delays` lie in the window."""
        return max(int(np.count_nonzero(delays.backward_s >= -self._window_s)), 1)

    def _fit(self, exchange: Exchange, newest_at: LocalNs) -> bool:
        """Fit the line to all and `exchange`; return False, and leave the old line, if it contradicts the others."""
        offset_ns = exchange.forward_ns
        delays = delays_of(joined(self._samples.columns, [exchange]), newest_at, offset_ns)
        delays = delays.newest(self._windowed(delays))
        possible = envelope.feasible(delays.aged(AGEING_PER_S * NS_PER_S))
        if possible is None:
            straight = self._straight(delays, newest_at)
            if straight is None:
                return False
            delays, possible = straight
            self.counters.truncated += 1
        else:
            self._bent_at = None
        fitted = envelope.fit(
            delays.aged(AGEING_LIKELY * NS_PER_S),
            possible,
            self._prior,
            slope_guess=self._prior.slope if self._mapping is None else self._mapping.skew * NS_PER_S,
            excess_ns_min=steps.EXCESS_NS_MIN,
        )
        drifted = abs(fitted.slope - self._prior.slope)
        if self._prior.sigma < WIDE_PRIOR.sigma and drifted > CONTRADICTED_SIGMAS * self._prior.sigma:
            self._prior = self._given_prior = WIDE_PRIOR  # it was another machine's: see what there is without it
            return self._fit(exchange, newest_at)
        self._excess_ns = fitted.excess_ns
        self._window_s = WINDOW_S * (fitted.excess_ns / WINDOW_EXCESS_NS) ** WINDOW_EXPONENT
        self._window_s = min(max(self._window_s, WINDOW_S_MIN), WINDOW_S_MAX)
        self._since = LocalNs(newest_at + round(float(delays.forward_s.min()) * NS_PER_S))
        self._mapping = _mapping(fitted, possible, delays, newest_at, offset_ns)
        return True


def _slope_of(mapping: ClockMapping | None) -> tuple[float, float]:
    """Return the skew of `mapping` and its sigma, in ns per second."""
    return (0.0, WIDE_PRIOR.sigma) if mapping is None else (mapping.skew * NS_PER_S, mapping.skew_sigma * NS_PER_S)


def _mapping(
    fitted: envelope.Envelope, possible: envelope.Feasible, delays: envelope.Delays, newest_at: LocalNs, offset_ns: int
) -> ClockMapping:
    """Return the fitted line as a map, with its bounds."""
    estimate_ns = min(max(fitted.offset_ns, possible.offset_low_ns), possible.offset_high_ns)
    bound_ns = max(possible.offset_high_ns - estimate_ns, estimate_ns - possible.offset_low_ns)
    span_s = -float(delays.forward_s[0])
    # What the excess of a few samples says about their floor is not worth much; half the bound is what one says.  If
    # one in two comes near it, n miss it with a chance of 1 in 2^n, and are then wrong by the bound at most: otherwise
    # a listener far away, whose bound is long, would not be ready for minutes, however steady the way.
    count = delays.forward_s.size
    few_ns = bound_ns * min(1.0 / (2.0 * count), 2.0 ** (-count / 2.0))
    bend_ns = AGEING_LIKELY * NS_PER_S * span_s**2 / 12.0
    floor_ns = min(FLOOR_SHARE * fitted.excess_ns, FLOOR_NS_MAX)
    return ClockMapping(
        local_at=newest_at,
        host_at=HostNs(newest_at + offset_ns + round(estimate_ns)),
        skew=fitted.slope / NS_PER_S,
        bound_ns=bound_ns + 1.0,  # instants are rounded to 1 ns
        sigma_ns=min(math.hypot(SIGMA_INFLATION * fitted.offset_sigma_ns, few_ns, bend_ns, floor_ns), bound_ns),
        skew_bound=max(possible.slope_high - fitted.slope, fitted.slope - possible.slope_low) / NS_PER_S,
        skew_sigma=math.hypot(SIGMA_INFLATION * fitted.slope_sigma / NS_PER_S, AGEING_LIKELY * span_s / 2.0),
    )
