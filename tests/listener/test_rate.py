from itertools import pairwise
from math import inf
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radiosync.listener.rate import (
    CALM_MAX,
    CORRECTION_MAX,
    INTEGRAL_MAX,
    MEDIAN_NS,
    RELEASE_MAX_PER_S,
    RESYNC_PAUSE_NS,
    SAMPLE_NS,
    SETTLED_NS,
    SLEW_MAX_PER_S,
    RateController,
)
from radiosync.units import NS_PER_MS, NS_PER_S, NS_PER_US

STEP_NS = 20 * NS_PER_MS
RESYNC_NS = 5 * NS_PER_MS


def loop(error_ns, drift, seconds, *, delay_s=0.3, noise_ns=0.0, sigma_ns=inf, controller=None, seed=1):
    """Close the loop around a device that drifts and answers late; return (second, error, correction) of each step."""
    controller = controller or RateController(RESYNC_NS)
    rng = Random(seed)
    in_flight = [0.0] * round(delay_s * NS_PER_S / STEP_NS)
    log = []
    for step in range(round(seconds * NS_PER_S / STEP_NS)):
        in_flight.append(controller.update(error_ns + rng.gauss(0, noise_ns), STEP_NS, sigma_ns))
        error_ns += (drift - in_flight.pop(0)) * STEP_NS
        log.append((step * STEP_NS / NS_PER_S, error_ns, controller.correction))
    return log


def settled_controller():
    """Return a controller that has played for so long that its clocks are no longer young."""
    controller = RateController(RESYNC_NS)
    loop(0.0, 0.0, SETTLED_NS / NS_PER_S, controller=controller)
    return controller


def settled_s(log, limit_us):
    """Return from when on the error stays within the limit."""
    return max((s for s, error, _ in log if abs(error) > limit_us * NS_PER_US), default=0.0)


def test_late_is_mended_by_playing_faster():
    controller = RateController(RESYNC_NS)
    assert controller.update(NS_PER_MS, STEP_NS) > 0
    assert RateController(RESYNC_NS).update(-NS_PER_MS, STEP_NS) < 0
    assert RateController(RESYNC_NS).update(0.0, STEP_NS) == 0


@pytest.mark.parametrize("sign", [1, -1])
def test_a_rough_start_is_mended_in_seconds_without_overshoot(sign):
    log = loop(sign * 3e6, 0.0, 400)
    assert settled_s(log, 600) < 14
    assert settled_s(log, 100) < 22
    assert max(-sign * error for _, error, _ in log) < 100 * NS_PER_US
    assert abs(log[-1][1]) < 3 * NS_PER_US


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("delay_s", [0.1, 0.3, 2.0])
def test_a_drift_that_nobody_foretold_is_learnt(sign, delay_s):
    """60 ppm: more than the feed-forward leaves even in its first second.

    300 ppm less 60 take 3 ms down in 12 s; what the integral has not learnt by then adds up to 1 ms again, and is
    learnt while that is caught up with.
    """
    log = loop(sign * 3e6, sign * 60e-6, 700, delay_s=delay_s)
    assert settled_s(log, 1020) < 60
    assert settled_s(log, 100) < 230
    assert max(sign * error for _, error, _ in log) < 3e6 * 1.06
    assert max(-sign * error for _, error, _ in log) < 50 * NS_PER_US
    assert abs(log[-1][1]) < 30 * NS_PER_US


@pytest.mark.parametrize("sign", [1, -1])
def test_once_settled_a_better_estimate_is_followed_too_slowly_to_be_heard(sign):
    controller = settled_controller()
    log = loop(sign * 0.9e6, 0.0, 120, controller=controller)
    assert max(abs(u) for _, _, u in log) < 1.4 * CALM_MAX  # the integral learns a little meanwhile
    assert settled_s(log, 100) < 100


@pytest.mark.parametrize("sign", [1, -1])
def test_what_has_become_audible_is_caught_up_with_all_the_same(sign):
    controller = settled_controller()
    log = loop(sign * 2e6, 0.0, 60, controller=controller)
    assert max(abs(u) for _, _, u in log) > CORRECTION_MAX / 2
    assert settled_s(log, 100) < 22


@pytest.mark.parametrize("sign", [1, -1])
def test_what_the_clocks_are_sure_of_is_mended_in_seconds(sign):
    """A bad network leaves 0.7 ms; once it is good again, the clock knows so to a few µs."""
    controller = settled_controller()
    log = loop(sign * 0.7e6, 0.0, 60, sigma_ns=5e3, controller=controller)
    assert settled_s(log, 200) < 10
    assert settled_s(log, 60) < 16


@pytest.mark.parametrize("sign", [1, -1])
def test_what_they_are_not_sure_of_waits_for_better_knowledge(sign):
    controller = settled_controller()
    log = loop(sign * 0.7e6, 0.0, 60, sigma_ns=200e3, controller=controller)
    assert max(abs(u) for _, _, u in log) < 1.4 * CALM_MAX


@pytest.mark.parametrize("sign", [1, -1])
def test_what_is_caught_up_with_is_not_taken_for_a_rate(sign):
    """Or the loop carries past its goal, and takes a minute to unlearn it."""
    controller = settled_controller()
    log = loop(sign * 2.3e6, 0.0, 120, sigma_ns=5e3, controller=controller)
    assert max(-sign * error for _, error, _ in log) < 50 * NS_PER_US
    assert settled_s(log, 40) < 25


def test_what_young_clocks_were_wrong_by_is_not_taken_for_a_rate():
    controller = RateController(RESYNC_NS)
    for _ in range(SETTLED_NS // STEP_NS - 1):
        controller.update(800e3, STEP_NS)
    for _ in range(10 * NS_PER_S // STEP_NS):
        controller.update(0.0, STEP_NS)
    assert controller.correction == 0


def test_what_the_feed_forward_leaves_is_nothing():
    """Its last ppm, with the noise of a bad device: no more than tens of µs ever, and hardly any wobble."""
    log = loop(0.0, 2e-6, 300, noise_ns=100_000)
    assert max(abs(error) for _, error, _ in log) < 80 * NS_PER_US
    late = [u for s, _, u in log if s > 200]
    mean = sum(late) / len(late)
    assert mean == pytest.approx(2e-6, abs=1e-6)
    assert max(abs(u - mean) for u in late) < 25e-6


@settings(max_examples=100)
@given(errors=st.lists(st.floats(-1e10, 1e10), max_size=80), elapsed_ns=st.integers(0, NS_PER_S))
def test_correction_and_its_rise_are_bounded_whatever_comes(errors, elapsed_ns):
    controller = RateController(RESYNC_NS)
    corrections = [0.0, *(controller.update(error, elapsed_ns) for error in errors)]
    assert max(map(abs, corrections)) <= CORRECTION_MAX
    elapsed_s = elapsed_ns / NS_PER_S
    for before, after in pairwise(corrections):
        assert abs(after) <= abs(before) + SLEW_MAX_PER_S * elapsed_s + 1e-12
        assert abs(after - before) <= RELEASE_MAX_PER_S * elapsed_s + 1e-12


def test_an_error_that_stays_does_not_wind_up():
    controller = RateController(RESYNC_NS)
    for _ in range(3000):
        controller.update(50e6, STEP_NS)
    assert controller.correction == CORRECTION_MAX
    for _ in range(round(CORRECTION_MAX / RELEASE_MAX_PER_S * NS_PER_S / STEP_NS) + 1):
        controller.update(0.0, STEP_NS)
    assert abs(controller.correction) < 1e-6, "a minute at the stop has taught it nothing"


@pytest.mark.parametrize("sign", [1, -1])
def test_an_error_of_seconds_teaches_nothing(sign):
    """A machine that slept; what had been learnt before was of the other sign, so that this seems to unlearn it."""
    controller = RateController(RESYNC_NS)
    loop(0.0, -sign * 1e-6, 200, controller=controller)
    for _ in range(100):
        controller.update(sign * 9e9, STEP_NS)
    controller.resynced(0)
    assert abs(controller.correction) < 3e-6


def test_what_is_learnt_of_the_rate_is_bounded():
    controller = RateController(RESYNC_NS)
    loop(0.0, 0.0, 100, controller=controller)
    controller.update(2e6, STEP_NS)
    for _ in range(10_000):
        controller.update(0.5e6, STEP_NS)
    controller.resynced(0)
    assert controller.correction == INTEGRAL_MAX


# --- resync -----------------------------------------------------------------------------------------------------------


def first_due(controller, error, start=0, seconds=30):
    """Return when a resync is first due, in ns after the start."""
    for step in range(round(seconds * NS_PER_S / STEP_NS)):
        if controller.resync_due(error(step), start + step * STEP_NS):
            return step * STEP_NS
    return None


@pytest.mark.parametrize("sign", [1, -1])
def test_an_error_beyond_the_threshold_that_stays_calls_for_a_jump(sign):
    due = first_due(RateController(RESYNC_NS), lambda step: sign * (RESYNC_NS + 1.0))
    assert MEDIAN_NS // 2 <= due <= MEDIAN_NS


def test_an_error_within_the_threshold_does_not():
    assert first_due(RateController(RESYNC_NS), lambda step: RESYNC_NS - 1.0) is None


def test_late_stamps_now_and_then_do_not():
    assert first_due(RateController(RESYNC_NS), lambda step: 80e6 if step % 5 < 2 else 1e5) is None


def test_an_error_that_begins_in_a_quiet_time_is_seen_when_it_prevails():
    due = first_due(RateController(RESYNC_NS), lambda step: 20e6 if step >= 500 else 0.0)
    assert MEDIAN_NS // 2 - 2 * SAMPLE_NS <= due - 500 * STEP_NS <= MEDIAN_NS


def test_resyncs_keep_their_distance():
    controller = RateController(RESYNC_NS)
    times, now = [], 0
    while now < 60 * NS_PER_S:
        if controller.resync_due(50e6, now):
            controller.resynced(now)
            times.append(now)
        now += STEP_NS
    gaps = [b - a for a, b in pairwise(times)]
    assert min(gaps) >= RESYNC_PAUSE_NS
    assert max(gaps) <= RESYNC_PAUSE_NS + MEDIAN_NS


def test_a_jump_keeps_what_was_learnt_of_the_rate():
    controller = RateController(RESYNC_NS)
    log = loop(0.0, 20e-6, 400, controller=controller)
    assert log[-1][2] == pytest.approx(20e-6, abs=2e-6)
    controller.update(4e6, STEP_NS)
    controller.resynced(0)
    assert controller.correction == pytest.approx(20e-6, abs=3e-6)
