"""A straight line through stamps, by weighted least squares with trimming, and a prior for its slope."""

import math

import numpy as np
from numpy.typing import NDArray

from radiosync.clock import envelope
from radiosync.units import NS_PER_US

TRIM_SIGMAS = 3.5
MAD_TO_SD = 1.4826
SD_NS_MIN = 100.0
_TRIM_ROUNDS = 3
_SD_NS_UNKNOWN = 300.0 * NS_PER_US  # few buckets say little of their scatter: this, over their number squared
_PAIRS_MIN = 4  # of fewer slopes the median says little
_CORRELATION_COUNT_MIN, _CORRELATION_MAX = 8, 0.95


def fit_line(
    times_s: envelope.Floats, late_ns: envelope.Floats, weights: envelope.Floats, prior: envelope.SlopePrior
) -> envelope.Envelope:
    """Return the weighted least-squares line at time 0, outliers trimmed; `excess_ns` is the scatter about it."""
    kept = _near_the_middle_one(times_s, late_ns, weights)
    for _ in range(_TRIM_ROUNDS):
        x, y, w = times_s[kept], late_ns[kept], weights[kept]
        total = float(w.sum())
        x_mean, y_mean = float(w @ x) / total, float(w @ y) / total
        x = x - x_mean
        spread, product = float(w @ (x * x)), float(w @ (x * (y - y_mean)))
        # Scatter of a bucket of weight 1, about the line without any prior, lest a wrong prior look like scatter.
        rest = y - y_mean - (product / spread if spread > 0 else prior.slope) * x
        sd_ns = math.sqrt(float(w @ (rest * rest)) / max(x.size - 2, 1)) + _SD_NS_UNKNOWN / x.size**2
        sd_ns = max(sd_ns, SD_NS_MIN) * _widening(rest)
        information = spread / sd_ns**2 + 1.0 / prior.sigma**2
        slope = (product / sd_ns**2 + prior.slope / prior.sigma**2) / information
        off = np.abs(late_ns - y_mean - slope * (times_s - x_mean)) * np.sqrt(weights)
        agreeing = _agreeing(off)
        if bool((agreeing == kept).all()):
            break
        kept = agreeing
    slope_sigma = 1.0 / math.sqrt(information)
    return envelope.Envelope(
        offset_ns=y_mean - slope * x_mean,
        slope=slope,
        offset_sigma_ns=math.hypot(sd_ns / math.sqrt(total), slope_sigma * x_mean),
        slope_sigma=slope_sigma,
        excess_ns=sd_ns / math.sqrt(total / x.size),
    )


def _agreeing(off: envelope.Floats) -> NDArray[np.bool_]:
    """Return which of these distances are no outliers."""
    return off <= max(TRIM_SIGMAS * MAD_TO_SD * envelope.median(off), TRIM_SIGMAS * SD_NS_MIN)


def _near_the_middle_one(
    times_s: envelope.Floats, late_ns: envelope.Floats, weights: envelope.Floats
) -> NDArray[np.bool_]:
    """Return which points are no outliers to the line of the median slope, which no few can tilt.

    The slopes are those between each point and the one half of them later.  A line through all would have to lean to a
    few far off at an end, the more so where the prior is far from right, and then they are not far from it.
    """
    half = times_s.size // 2
    apart_s = times_s[half : 2 * half] - times_s[:half]
    if half < _PAIRS_MIN or not (apart_s > 0).all():
        return np.ones(times_s.size, dtype=bool)
    rest = late_ns - envelope.median((late_ns[half : 2 * half] - late_ns[:half]) / apart_s) * times_s
    return _agreeing(np.abs(rest - envelope.median(rest)) * np.sqrt(weights))


def _widening(rest: envelope.Floats) -> float:
    """Return by how much scatter that is not independent from bucket to bucket is worth more than its size."""
    if rest.size < _CORRELATION_COUNT_MIN:
        return 1.0
    correlation = float(rest[1:] @ rest[:-1]) / max(float(rest @ rest), 1e-9)
    correlation = min(max(correlation, 0.0), _CORRELATION_MAX)
    return math.sqrt((1.0 + correlation) / (1.0 - correlation))
