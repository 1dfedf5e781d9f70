"""Find the step of a clock among one-way delays; when and why is said at the head of `radiosync.clock.filter`.

A step moves the two floors in opposite directions, by as much, at one time.  What is large beside the scatter shows in
the newest few samples: `sudden`.  What is smaller has to be inferred from many: `likeliest`.

Delays are taken to be exponential above their floors, with means b_f and b_g.  That the newest k of n samples came
after a step by s, which raised the forward floor and lowered the other, is then exp(k·s/b_f + (n-k)·s/b_g) times as
likely as that they did not, with the same slope and floors; the logarithm is the evidence.  The first part is what the
risen floor tells, since none of k samples has come near the old one, and the second the fallen one, which none of n-k
has reached before.  k and a slope are looked for that make the most of it, beside the best that any slope does without
a step; a slope and a step can stand in for each other, the longer after it the better.

Real delays are rarer at their floor than exponential ones, and queues last.  So the least of each bucket stand for many
samples, b is the greater of what the median and what the least eighth say, but not beyond all proportion to that, or
queues of 0.1 s would hide what moves between the bounds of 6 ms for minutes; the floor must be known from more than a
burst on either side, and twenty are asked for where chance alone makes seven.  Of 16 runs of 400 s each, over
exponential, gamma (shape 2) and log-normal delays, Wi-Fi, and Wi-Fi with a queue one way, none was mistaken; where
queues came and went both ways, for 20 s each, 2 of 32 were.  Where a history began with a step, what that has left in
it may be a single sample of a slew.  To ask for no more than that mistook no more of 300 such runs than to ask for
four.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from radiosync.clock import envelope
from radiosync.units import NS_PER_US

EXCESS_NS_MIN = 300.0  # no stamp is truer
STEP_NS_MIN = 100.0 * NS_PER_US

RECENT = 6
HISTORY = 200
COUNT_MIN = 24
WITNESSES = 4
EXCESS_SHARE = 0.35

BEFORE_MIN = 12
BEFORE_S_MIN, SINCE_S_MIN = 5.0, 3.0  # of a queue's length: a burst passes through one at a time
AGAIN_MIN, AGAIN_S_MIN = 1, 0.0  # where the history began with a step: that may have been a slew, and not over yet
RISE_MIN = 4.0  # of the evidence: what the fallen floor alone tells may be a shorter road
EVIDENCE_MIN = 20.0
ALIKE = 3.0
BUCKETS_MAX = 160  # a search costs as much as a fit, and so a quarter of that each time
MIXED = 32.0  # times the excess near the floor: if there is more, a bad network makes it, and hides no step
SLOPE_OFF_MAX = 200e3  # ns/s: two crystals are no further from what is believed of them
_SLOPES, _SLOPE_ROUNDS = 33, 4  # of which the last are 3 ns/s apart
_SIGMAS = np.array((0.0, 0.7, 1.6, 3.0, 5.0, 8.0))
_OFFSETS = np.concatenate((_SIGMAS, -_SIGMAS[1:]))[:, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Say how many of the newest samples came after a step, and the logarithm of how much likelier that makes them."""

    count: int
    evidence: float


def may_hide(excess_ns: float) -> bool:
    """Say whether a step that matters may be too small for `sudden`, where delays exceed their floors by so much."""
    return EXCESS_SHARE * 2.0 * excess_ns > STEP_NS_MIN


def sudden(delays: envelope.Delays, slope: float) -> int:
    """Return how many of the newest `delays` came after a step that is clear from few; all of them if there was none.

    `slope` is that of the line before, in ns per second.
    """
    count = delays.forward_s.size
    if count < COUNT_MIN:
        return count
    forward = delays.forward_ns - slope * delays.forward_s
    backward = delays.backward_ns + slope * delays.backward_s
    old_forward, old_backward = forward[:-RECENT], backward[:-RECENT]
    new_forward = forward[-RECENT:] - old_forward.min()
    new_backward = backward[-RECENT:] - old_backward.min()
    if min(new_forward.min(), new_backward.min()) >= -STEP_NS_MIN:
        return count
    excess_ns = envelope.mean_excess_ns(old_forward, EXCESS_NS_MIN) + envelope.mean_excess_ns(
        old_backward, EXCESS_NS_MIN
    )
    tolerance_ns = max(STEP_NS_MIN, EXCESS_SHARE * excess_ns)
    for fallen, risen in ((new_forward, new_backward), (new_backward, new_forward)):
        below = np.flatnonzero(fallen < -tolerance_ns)
        if below.size == 0:
            continue
        since = int(below[0])
        witnesses = RECENT - since
        if witnesses >= WITNESSES and risen[since:].min() > -0.5 * fallen[since:].min():
            return witnesses
    return count


def likeliest(delays: envelope.Delays, slope: float, slope_sigma: float, *, again: bool = False) -> Step | None:
    """Return the step that makes `delays` the likeliest, or None where no floor moved against the other.

    Slopes of `slope`, give or take eight `slope_sigma`, are tried, in ns per second; `again` says that what `delays`
    begin with came after a step already.
    """
    size = -(-delays.forward_s.size // BUCKETS_MAX)
    forward_s, forward = _least(delays.forward_s, delays.forward_ns - slope * delays.forward_s, size)
    backward_s, backward = _least(delays.backward_s, delays.backward_ns + slope * delays.backward_s, size)
    n = forward_s.size
    before_min, before_s_min = (AGAIN_MIN, AGAIN_S_MIN) if again else (BEFORE_MIN, BEFORE_S_MIN)
    if n < BEFORE_MIN + WITNESSES:
        return None
    first = np.arange(before_min, n - WITNESSES + 1)  # after the step
    long_before = backward_s[first - 1] - backward_s[0] >= before_s_min
    first = first[long_before & (backward_s[-1] - backward_s[first] >= SINCE_S_MIN)]
    if first.size == 0:
        return None
    forward_excess, backward_excess = _excess_ns(forward), _excess_ns(backward)
    tried = slope_sigma * _OFFSETS
    forward_before, forward_since = _floors(forward - tried * forward_s, first)
    backward_before, backward_since = _floors(backward + tried * backward_s, first)
    raised = np.minimum(forward_since - forward_before, backward_before - backward_since)
    lowered = np.minimum(forward_before - forward_since, backward_since - backward_before)
    step_ns = np.maximum(raised, lowered)
    risen_excess = np.where(raised > lowered, forward_excess, backward_excess)
    rise = (n - first) * step_ns / risen_excess
    fall = first * step_ns / (forward_excess + backward_excess - risen_excess)

    def unstepped(tried: envelope.Floats) -> envelope.Floats:
        there = (forward - tried[:, None] * forward_s).min(axis=1) + tried * forward_s.mean()
        back = (backward + tried[:, None] * backward_s).min(axis=1) - tried * backward_s.mean()
        likelihood: envelope.Floats = (n / forward_excess) * there + (n / backward_excess) * back
        return likelihood

    evidence = rise + fall + (unstepped(tried[:, 0]) - _most(unstepped))[:, None]
    evidence[(rise < RISE_MIN) | (step_ns < STEP_NS_MIN)] = -math.inf
    best = int(evidence.argmax()) // first.size
    most = float(evidence[best].max())
    if most <= 0.0:
        return None
    # Of the samples next to it some tell nothing, and a bucket may have some of either side: one from before the step
    # would spoil more than they all are worth.
    since = int(first[evidence[best] >= most - ALIKE][-1]) + (size > 1)
    return Step(count=size * (n - since), evidence=most)


def _most(likelihood: Callable[[envelope.Floats], envelope.Floats]) -> float:
    """Return the most that a concave logarithm of a likelihood is for any slope."""
    low, high = -SLOPE_OFF_MAX, SLOPE_OFF_MAX
    for _ in range(_SLOPE_ROUNDS):
        slopes = np.linspace(low, high, _SLOPES)
        found = likelihood(slopes)
        best = int(found.argmax())
        low, high = float(slopes[max(best - 1, 0)]), float(slopes[min(best + 1, _SLOPES - 1)])
    return float(found[best])


def _least(times_s: envelope.Floats, delays_ns: envelope.Floats, size: int) -> tuple[envelope.Floats, envelope.Floats]:
    """Return the least of each `size` delays, the newest of them complete, and the middles of their times."""
    if size == 1:
        return times_s, delays_ns
    surplus = times_s.size % size
    times_s, delays_ns = times_s[surplus:].reshape(-1, size), delays_ns[surplus:].reshape(-1, size)
    return times_s.mean(axis=1), delays_ns.min(axis=1)


def _floors(delays_ns: envelope.Floats, first: envelope.Indices) -> tuple[envelope.Floats, envelope.Floats]:
    """Return the least of each row of `delays_ns` before each of `first`, and from it on."""
    before = np.minimum.accumulate(delays_ns, axis=1)
    since = np.minimum.accumulate(delays_ns[:, ::-1], axis=1)[:, ::-1]
    return before[:, first - 1], since[:, first]


def _excess_ns(delays_ns: envelope.Floats) -> float:
    """Return the mean excess over the floor by all delays, which waits in queues raise."""
    near_ns = _floor_excess_ns(delays_ns)
    return max(min(envelope.mean_excess_ns(delays_ns, EXCESS_NS_MIN), MIXED * near_ns), near_ns)


def _floor_excess_ns(delays_ns: envelope.Floats) -> float:
    """Return the mean excess of exponential delays with as many near the floor, asking the half that has more there.

    In one of the halves there is no step.
    """
    half = delays_ns.size // 2
    return max(min(map(envelope.near_excess_ns, (delays_ns[:half], delays_ns[half:]))), EXCESS_NS_MIN)
