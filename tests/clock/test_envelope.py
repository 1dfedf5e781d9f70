import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radiosync.clock import envelope


def delays(forward_s, forward_ns, backward_s, backward_ns):
    return envelope.Delays(**{name: np.array(values, dtype=float) for name, values in locals().items()})


def cloud(seed, count, slope, offset_ns, excess_ns, floor_ns=50_000.0):
    """Return delays over the last `count` s of a line that passes `offset_ns` at time 0."""
    random = np.random.default_rng(seed)
    t = np.linspace(-count, 0, count)
    line = offset_ns + slope * t
    return delays(
        t,
        line + floor_ns + random.exponential(excess_ns, count),
        t,
        floor_ns - line + random.exponential(excess_ns, count),
    )


def extremes_by_brute_force(d):
    """Return the extremes of the feasible lines from all pairs of points, each of which spans a candidate."""
    points = [(t, v) for t, v in zip(d.forward_s, d.forward_ns, strict=True)]
    points += [(t, -v) for t, v in zip(d.backward_s, d.backward_ns, strict=True)]
    lines = [(v - s * t, s) for t, v in points for s in (-envelope.SLOPE_MAX, envelope.SLOPE_MAX)]
    for i, (t, v) in enumerate(points):
        for u, w in points[:i]:
            if abs(t - u) > 1e-9:
                slope = (v - w) / (t - u)
                lines.append((v - slope * t, slope))
    possible = [
        (offset, slope)
        for offset, slope in lines
        if abs(slope) <= envelope.SLOPE_MAX * (1 + 1e-12)
        and all(offset + slope * t <= v + 0.01 for t, v in zip(d.forward_s, d.forward_ns, strict=True))
        and all(offset + slope * t >= -v - 0.01 for t, v in zip(d.backward_s, d.backward_ns, strict=True))
    ]
    if not possible:
        return None
    offsets, slopes = zip(*possible, strict=True)
    return min(offsets), max(offsets), min(slopes), max(slopes)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(1, 12),
    slope=st.floats(-1e5, 1e5),
    excess=st.sampled_from([1e3, 1e5, 1e7]),
)
def test_feasible_finds_the_extremes_of_all_lines(seed, count, slope, excess):
    d = cloud(seed, count, slope, 1_000.0, excess)
    found, expected = envelope.feasible(d), extremes_by_brute_force(d)
    assert found is not None
    assert expected is not None
    low, high, slope_low, slope_high = expected
    assert found.offset_low_ns == pytest.approx(low, abs=1.0)
    assert found.offset_high_ns == pytest.approx(high, abs=1.0)
    assert found.slope_low == pytest.approx(slope_low, abs=1.0)
    assert found.slope_high == pytest.approx(slope_high, abs=1.0)


@given(seed=st.integers(0, 10**6), step_ns=st.floats(1e6, 1e12), sign=st.sampled_from([-1, 1]))
def test_feasible_finds_nothing_where_there_is_no_line(seed, step_ns, sign):
    d = cloud(seed, 20, 0.0, 0.0, 1e3)
    stepped = np.where(np.arange(20) == 10, sign * step_ns, 0.0)  # there and back: no skew explains it
    assert envelope.feasible(delays(d.forward_s, d.forward_ns + stepped, d.backward_s, d.backward_ns - stepped)) is None


def test_feasible_holds_the_truth_and_shrinks_with_more_delays():
    widths = []
    for count in (4, 16, 64, 256):
        found = envelope.feasible(cloud(3, count, 20_000.0, 7_000.0, 20_000.0))
        assert found is not None
        assert found.offset_low_ns <= 7_000.0 <= found.offset_high_ns
        assert found.slope_low <= 20_000.0 <= found.slope_high
        widths.append((found.offset_high_ns - found.offset_low_ns, found.slope_high - found.slope_low))
    assert widths == sorted(widths, reverse=True)


def fit_all(seeds, prior, count=64, slope=30_000.0, excess_ns=10_000.0):
    results = []
    for seed in seeds:
        d = cloud(seed, count, slope, 7_000.0, excess_ns)
        possible = envelope.feasible(d)
        assert possible is not None
        results.append(envelope.fit(d, possible, prior, slope_guess=slope, excess_ns_min=300.0))
    return results


def test_fit_is_unbiased_and_honest():
    fits = fit_all(range(150), envelope.SlopePrior(slope=0.0, sigma=50_000.0))
    offset_errors = np.array([f.offset_ns - 7_000.0 for f in fits])
    assert abs(offset_errors.mean()) < 4 * offset_errors.std() / np.sqrt(len(fits))
    assert offset_errors.std() < 400.0  # of 10 000 ns of excess
    z = offset_errors / [f.offset_sigma_ns for f in fits]
    assert 0.6 < z.std() < 1.4
    z = np.array([(f.slope - 30_000.0) / f.slope_sigma for f in fits])
    assert 0.6 < z.std() < 1.4
    assert np.mean([f.excess_ns for f in fits]) == pytest.approx(10_000.0, rel=0.2)


@pytest.mark.parametrize("bad", [32, 96])
def test_where_a_network_was_bad_what_came_since_decides(bad):
    """The bias of a floor is that of the delays near it: of 100 ms it would be 2 ms here, and as unsure."""
    prior = envelope.SlopePrior(slope=30_000.0, sigma=20_000.0)
    random = np.random.default_rng(3)
    offsets = []
    for seed in range(20):
        d = cloud(seed, 32 + bad, 30_000.0, 0.0, 10_000.0)
        for column in (d.forward_ns, d.backward_ns):
            column[:bad] += random.exponential(100e6, bad)
        fitted = envelope.fit(d, envelope.feasible(d), prior, slope_guess=30_000.0, excess_ns_min=300.0)
        assert fitted.offset_sigma_ns < 3_000.0
        offsets.append(fitted.offset_ns / fitted.offset_sigma_ns)
    assert np.std(offsets) < 2.0


def test_a_sharp_prior_rules_until_the_delays_know_better():
    few = fit_all(range(20), envelope.SlopePrior(slope=29_000.0, sigma=100.0), count=4, excess_ns=1e5)
    assert np.mean([f.slope for f in few]) == pytest.approx(29_000.0, abs=50)
    many = fit_all(range(20), envelope.SlopePrior(slope=29_000.0, sigma=100.0), count=256, excess_ns=1e3)
    assert np.mean([f.slope for f in many]) == pytest.approx(30_000.0, abs=10)


def test_fit_floor_is_the_lower_edge():
    random = np.random.default_rng(5)
    t = np.linspace(-30, 0, 300)
    values = 1_000.0 + 20_000.0 * t + random.exponential(200_000.0, 300)
    prior = envelope.SlopePrior(slope=0.0, sigma=50_000.0)
    found = envelope.fit_floor(t, values, prior, slope_guess=20_000.0, excess_ns_min=1_000.0)
    assert found.offset_ns == pytest.approx(1_000.0, abs=10_000.0)
    assert found.slope == pytest.approx(20_000.0, abs=400.0)


def test_ageing_raises_old_delays_only():
    d = delays([-10.0, 0.0], [1.0, 1.0], [-5.0, 0.0], [2.0, 2.0]).aged(4.0)
    assert d.forward_ns.tolist() == [201.0, 1.0]
    assert d.backward_ns.tolist() == [52.0, 2.0]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 17, 60, 601])
def test_the_median_is_the_usual_one_to_the_bit(count):
    values = np.random.default_rng(count).normal(0.0, 1e6, count)
    assert envelope.median(values) == float(np.median(values))
    values[::2] = values[0]
    assert envelope.median(values) == float(np.median(values))
