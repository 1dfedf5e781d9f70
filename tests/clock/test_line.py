import numpy as np
import pytest

from radiosync.clock.envelope import SlopePrior
from radiosync.clock.line import fit_line

MS, US = 1e6, 1e3
PRIOR = SlopePrior(slope=0.0, sigma=50 * US)  # 50 ppm


def points(count, ppm, seed=1):
    times_s = np.arange(1 - count, 1) * 0.1
    return times_s, ppm * US * times_s + np.random.default_rng(seed).normal(0, 5 * US, count)


@pytest.mark.parametrize("wrong", [slice(-2, None), slice(0, 2), slice(9, 12), slice(-4, None)])
@pytest.mark.parametrize("by_ns", [1 * MS, -1 * MS, 0.3 * MS])
def test_a_few_that_are_off_do_not_tilt_a_line_that_the_prior_is_far_from(wrong, by_ns):
    times_s, late_ns = points(22, 248.0)
    late_ns[wrong] += by_ns
    line = fit_line(times_s, late_ns, np.full(22, 5.0), PRIOR)
    assert line.slope == pytest.approx(248 * US, abs=12 * US)
    assert abs(line.offset_ns) < 20 * US
    assert line.slope_sigma < 12 * US


def test_points_at_one_time_are_met_with_the_priors_slope():
    line = fit_line(np.zeros(12), np.full(12, 7.0 * US), np.ones(12), PRIOR)
    assert (line.offset_ns, line.slope) == (7.0 * US, 0.0)


def test_a_line_with_half_of_it_off_is_unsure():
    times_s, late_ns = points(22, 0.0)
    late_ns[11:] += 1 * MS
    assert fit_line(times_s, late_ns, np.full(22, 5.0), PRIOR).slope_sigma > 30 * US
