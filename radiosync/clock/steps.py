"""Find the step of a clock among one-way delays; when and why is said at the head of `radiosync.clock.filter`.

A step moves the two floors in opposite directions, by as much, at one time.  What is large beside the scatter shows in
the newest few samples: `sudden`.  What is smaller has to be inferred from many: `likeliest`.

Delays are taken to be exponential above their floors, with means b_f and b_g.  That the newest k of n samples came
after a step by s, which raised the forward floor and lowered the other, is then exp(k·s/b_f + (n-k)·s/b_g) times as
likely as that they did not, with the same slope and floors; the logarithm is the evidence.  The first part is what the
risen floor tells, since none of k samples has come near the old one, and the second the fallen one, which none of n-k
has reached before.  k and a slope are looked for that make the most of it, beside the best that any slope does without
a step; a slope and a step can stand in for each other, the longer after it the better.

Real delays are rarer at their floor than exponential ones, and queues last.  So b is the greater of what the median and
what the least eighth say, the floor must be known from more than a burst on either side, and twenty are asked for where
chance alone makes seven.  Of 16 runs of 400 s each, over exponential, gamma (shape 2) and log-normal delays, Wi-Fi, and
Wi-Fi with a queue one way, none was mistaken; where queues came and went both ways, for 20 s each, 2 of 32 were.
"""

import math
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
RISE_MIN = 4.0  # of the evidence: what the fallen floor alone tells may be a shorter road
EVIDENCE_MIN = 20.0
ALIKE = 3.0
LEAST_SHARE = 8
_SIGMAS = np.array((0.0, 0.5, 1.0, 2.0, 3.0, 4.5, 6.0, 8.0))
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


def likeliest(delays: envelope.Delays, slope: float, slope_sigma: float) -> Step | None:
    """Return the step that makes `delays` the likeliest, or None where no floor moved against the other.

    Slopes of `slope`, give or take eight `slope_sigma`, are tried, in ns per second.
    """
    n = delays.forward_s.size
    if n < BEFORE_MIN + WITNESSES:
        return None
    first = np.arange(BEFORE_MIN, n - WITNESSES + 1)  # after the step
    long_before = delays.backward_s[first - 1] - delays.backward_s[0] >= BEFORE_S_MIN
    first = first[long_before & (delays.backward_s[-1] - delays.backward_s[first] >= SINCE_S_MIN)]
    if first.size == 0:
        return None
    forward = delays.forward_ns - slope * delays.forward_s
    backward = delays.backward_ns + slope * delays.backward_s
    forward_excess, backward_excess = _excess_ns(forward), _excess_ns(backward)
    tried = slope_sigma * _OFFSETS
    forward, backward = forward - tried * delays.forward_s, backward + tried * delays.backward_s

    forward_before, forward_since = _floors(forward, first)
    backward_before, backward_since = _floors(backward, first)
    raised = np.minimum(forward_since - forward_before, backward_before - backward_since)
    lowered = np.minimum(forward_before - forward_since, backward_since - backward_before)
    step_ns = np.maximum(raised, lowered)
    risen_excess = np.where(raised > lowered, forward_excess, backward_excess)
    rise = (n - first) * step_ns / risen_excess
    fall = first * step_ns / (forward_excess + backward_excess - risen_excess)

    mid_s = float(delays.forward_s.mean()), float(delays.backward_s.mean())
    unstepped = (n / forward_excess) * (forward.min(axis=1) + tried[:, 0] * mid_s[0])
    unstepped += (n / backward_excess) * (backward.min(axis=1) - tried[:, 0] * mid_s[1])
    straight = int(unstepped.argmax())
    if abs(_OFFSETS[straight, 0]) == _SIGMAS[-1]:
        return None  # the skew is still that of another machine: first things first
    evidence = rise + fall + (unstepped - unstepped[straight])[:, None]
    evidence[(rise < RISE_MIN) | (step_ns < STEP_NS_MIN)] = -math.inf
    best = int(evidence.argmax()) // first.size
    most = float(evidence[best].max())
    if most <= 0.0:
        return None
    # Of the samples next to it some tell nothing: one from before the step would spoil more than they are worth.
    return Step(count=n - int(first[evidence[best] >= most - ALIKE][-1]), evidence=most)


def _floors(delays_ns: envelope.Floats, first: envelope.Indices) -> tuple[envelope.Floats, envelope.Floats]:
    """Return the least of each row of `delays_ns` before each of `first`, and from it on."""
    before = np.minimum.accumulate(delays_ns, axis=1)
    since = np.minimum.accumulate(delays_ns[:, ::-1], axis=1)[:, ::-1]
    return before[:, first - 1], since[:, first]


def _excess_ns(delays_ns: envelope.Floats) -> float:
    """Return the mean excess over the floor by the median, or by the least of them where they are rarer than that.

    Either half is asked for its least: in one of them there is no step.
    """
    halves = delays_ns[: delays_ns.size // 2], delays_ns[delays_ns.size // 2 :]
    return max(envelope.mean_excess_ns(delays_ns, EXCESS_NS_MIN), min(_least_excess_ns(half) for half in halves))


def _least_excess_ns(delays_ns: envelope.Floats) -> float:
    count = max(WITNESSES, delays_ns.size // LEAST_SHARE)
    return float(np.partition(delays_ns, count)[count] - delays_ns.min()) * delays_ns.size / count
