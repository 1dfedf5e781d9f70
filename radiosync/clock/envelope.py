"""Fit the line under two clouds of one-way delays; the arithmetic of `radiosync.clock.filter`, where the theory is."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

SLOPE_MAX = 500_000.0  # ns/s: no crystal is 500 ppm wrong (RFC 5905 App. A, MAXFREQ)
_GRID = np.linspace(0.0, 1.0, 33)
_ROUNDS_MAX = 6
_NEWTON_MAX = 32
_LIKELY = 10.0  # slopes whose likelihood is exp(-10) of the best carry no weight
_LIKELY_COUNT = 10  # so many likely slopes on the grid make a fair picture of the posterior
MIXED = 8.0  # times what those near the floor promise, and delays are of two kinds
MIXED_COUNT_MIN, NEAREST_MIN, NEAREST_SHARE = 24, 4, 8  # of an eighth, and four: by chance once in 600
_GAP_NS_MAX = 1e-3  # what the rounding of floats may cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Delays:
    """Hold one-way delays of exchanges: forward ones bound the line from above, backward ones its negative.

    Times are in s relative to the instant that the fit is for; a forward delay belongs to the departure of its
    question, a backward delay to the arrival of its answer, because it is there that no skew can break the bound.
    """

    forward_s: Floats
    forward_ns: Floats
    backward_s: Floats
    backward_ns: Floats

    def newest(self, count: int) -> "Delays":
        """Return the last `count` of them."""
        return Delays(
            forward_s=self.forward_s[-count:],
            forward_ns=self.forward_ns[-count:],
            backward_s=self.backward_s[-count:],
            backward_ns=self.backward_ns[-count:],
        )

    def oldest(self, count: int) -> "Delays":
        """Return the first `count` of them."""
        return Delays(
            forward_s=self.forward_s[:count],
            forward_ns=self.forward_ns[:count],
            backward_s=self.backward_s[:count],
            backward_ns=self.backward_ns[:count],
        )

    def aged(self, curvature: float) -> "Delays":
        """Return them raised by what a line that bends by `curvature` (ns/s²) may have departed since."""
        return Delays(
            forward_s=self.forward_s,
            forward_ns=self.forward_ns + curvature / 2 * self.forward_s**2,
            backward_s=self.backward_s,
            backward_ns=self.backward_ns + curvature / 2 * self.backward_s**2,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SlopePrior:
    """Hold what is known of the slope beforehand: the mean and one standard deviation, in ns per second."""

    slope: float
    sigma: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """Hold a fitted line at time 0; values in ns, slopes in ns per second."""

    offset_ns: float
    slope: float
    offset_sigma_ns: float
    slope_sigma: float
    excess_ns: float
    """Mean height of the delays above their floors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feasible:
    """Hold the extremes, at time 0, of all lines that no delay contradicts; values in ns, slopes in ns per second."""

    offset_low_ns: float
    offset_high_ns: float
    slope_low: float
    slope_high: float


def feasible(delays: Delays) -> Feasible | None:
    """Return the extremes of the lines with -backward <= line <= forward at every time, or None if there is no line.

    The height of the gap between both floors is a concave, piecewise linear function of the slope, so that Newton's
    method from outside finds each of its two zeros exactly, in a handful of steps.
    """
    extremes: list[tuple[float, float, float]] = []
    for sign in (-1.0, 1.0):
        slope = sign * SLOPE_MAX
        for _ in range(_NEWTON_MAX):
            forward = delays.forward_ns - slope * delays.forward_s
            backward = delays.backward_ns + slope * delays.backward_s
            i, j = int(forward.argmin()), int(backward.argmin())
            gap_ns = float(forward[i] + backward[j])
            if gap_ns >= -_GAP_NS_MAX:
                break
            gradient = float(delays.backward_s[j] - delays.forward_s[i])
            if gradient * sign >= 0.0:
                return None
            slope -= gap_ns / gradient
        else:
            return None
        extremes.append((slope, float(forward[i]), float(-backward[j])))
    (slope_low, _, offset_low), (slope_high, offset_high, _) = extremes
    if slope_low > slope_high:
        return None
    return Feasible(offset_low_ns=offset_low, offset_high_ns=offset_high, slope_low=slope_low, slope_high=slope_high)


def lowest(times_s: Floats, values_ns: Floats, slope_low: float, slope_high: float) -> tuple[Floats, Floats]:
    """Return the points that may be the lowest above a line of some slope from `slope_low` to `slope_high`.

    A point's height is linear in the slope, so that it is nowhere below the less of its heights at both ends; and the
    floor is nowhere above the point whose greater height is the least.
    """
    at_low, at_high = values_ns - slope_low * times_s, values_ns - slope_high * times_s
    kept = np.minimum(at_low, at_high) <= np.maximum(at_low, at_high).min()
    return times_s[kept], values_ns[kept]


def mean_excess_ns(delays_ns: Floats, least_ns: float) -> float:
    """Return the mean of the exponential distribution that fits the lower half of `delays_ns`, at least `least_ns`."""
    return max(float(median(delays_ns) - delays_ns.min()) / math.log(2.0), least_ns)


def near_excess_ns(delays_ns: Floats) -> float:
    """Return the mean of the exponential distribution that has as many near its floor as `delays_ns`."""
    count = max(NEAREST_MIN, delays_ns.size // NEAREST_SHARE)
    return float(np.partition(delays_ns, count)[count] - delays_ns.min()) * delays_ns.size / count


def median(values: Floats) -> float:
    """Return what `np.median` does, in a fraction of its time: of so few values it is nearly all overhead."""
    half = values.size // 2
    if values.size % 2:
        return float(np.partition(values, half)[half])
    middle = np.partition(values, (half - 1, half))
    return float((middle[half - 1] + middle[half]) / 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Usual:
    """What delays are like that tell about their floor: how far above it the next would be, and their mean time."""

    bias_ns: float
    mid_s: float
    excess_ns: float
    """Of all, whether they tell about it or not."""


def _usual(times_s: Floats, delays_ns: Floats, least_ns: float) -> _Usual:
    """Return what straightened delays are like; of two kinds, where a network was bad for a while, the less.

    Exponential delays have as many near their floor as the mean excess says.  Where there are many more than the lower
    half promises, the others are of another kind: they say nothing of the floor, however many they are.
    """
    n = delays_ns.size
    excess_ns = mean_excess_ns(delays_ns, least_ns)
    if n >= MIXED_COUNT_MIN:
        near_ns = max(near_excess_ns(delays_ns), least_ns)
        if MIXED * near_ns < excess_ns:
            alike = delays_ns - delays_ns.min() <= MIXED * near_ns
            kept_ns = delays_ns[alike]
            bias_ns = mean_excess_ns(kept_ns, least_ns) / kept_ns.size
            return _Usual(bias_ns=bias_ns, mid_s=float(times_s[alike].mean()), excess_ns=excess_ns)
    return _Usual(bias_ns=excess_ns / n, mid_s=float(times_s.mean()), excess_ns=excess_ns)


def fit(delays: Delays, within: Feasible, prior: SlopePrior, *, slope_guess: float, excess_ns_min: float) -> Envelope:
    """Return the posterior mean of the line at time 0, and its standard deviations.

    `slope_guess` (ns/s) only straightens the delays enough to tell their mean excess, `excess_ns_min` at least.
    """
    there = _usual(delays.forward_s, delays.forward_ns - slope_guess * delays.forward_s, excess_ns_min)
    back = _usual(delays.backward_s, delays.backward_ns + slope_guess * delays.backward_s, excess_ns_min)
    forward_s, forward_ns = lowest(delays.forward_s, delays.forward_ns, within.slope_low, within.slope_high)
    backward_s, backward_ns = lowest(delays.backward_s, delays.backward_ns, -within.slope_high, -within.slope_low)

    def evaluate(slopes: Floats) -> tuple[Floats, Floats]:
        forward = (forward_ns - slopes[:, None] * forward_s).min(axis=1)
        backward = (backward_ns + slopes[:, None] * backward_s).min(axis=1)
        cost = 0.5 * ((slopes - prior.slope) / prior.sigma) ** 2
        cost -= (forward + slopes * there.mid_s) / there.bias_ns
        cost -= (backward - slopes * back.mid_s) / back.bias_ns
        return cost, (forward - there.bias_ns - backward + back.bias_ns) / 2

    return _posterior(
        evaluate,
        within.slope_low,
        within.slope_high,
        floor_sigma_ns=math.hypot(there.bias_ns, back.bias_ns) / 2,
        excess_ns=(there.excess_ns + back.excess_ns) / 2,
    )


def fit_floor(
    times_s: Floats, values_ns: Floats, prior: SlopePrior, *, slope_guess: float, excess_ns_min: float
) -> Envelope:
    """Return the posterior mean of the line at time 0 that `values_ns` are never below: `fit`, for one way only."""
    n = times_s.size
    excess = mean_excess_ns(values_ns - slope_guess * times_s, excess_ns_min)
    mid_s = float(times_s.mean())

    def evaluate(slopes: Floats) -> tuple[Floats, Floats]:
        floors = (values_ns - slopes[:, None] * times_s).min(axis=1)
        cost = 0.5 * ((slopes - prior.slope) / prior.sigma) ** 2 - (n / excess) * (floors + slopes * mid_s)
        return cost, floors - excess / n

    return _posterior(evaluate, -SLOPE_MAX, SLOPE_MAX, floor_sigma_ns=excess / n, excess_ns=excess)


def _posterior(
    evaluate: Callable[[Floats], tuple[Floats, Floats]],
    low: float,
    high: float,
    *,
    floor_sigma_ns: float,
    excess_ns: float,
) -> Envelope:
    """Average over the slopes from `low` to `high`; `evaluate` gives their costs (-log likelihood) and their offsets.

    The cost is convex, so that the likely slopes are one interval; the grid closes in on it until it is well covered.
    """
    for _ in range(_ROUNDS_MAX):
        slopes = low + (high - low) * _GRID
        cost, offsets = evaluate(slopes)
        cost = cost - cost.min()
        likely = np.flatnonzero(cost < _LIKELY)
        if likely.size > _LIKELY_COUNT:
            break
        low, high = float(slopes[max(likely[0] - 1, 0)]), float(slopes[min(likely[-1] + 1, slopes.size - 1)])
    weights = np.exp(-cost)
    weights /= weights.sum()
    slope, offset_ns = float(weights @ slopes), float(weights @ offsets)
    return Envelope(
        offset_ns=offset_ns,
        slope=slope,
        offset_sigma_ns=math.hypot(math.sqrt(float(weights @ (offsets - offset_ns) ** 2)), floor_sigma_ns),
        slope_sigma=math.sqrt(float(weights @ (slopes - slope) ** 2)),
        excess_ns=excess_ns,
    )
