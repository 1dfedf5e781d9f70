import numpy as np
import pytest

from radiosync.clock.envelope import Delays
from radiosync.clock.steps import BUCKETS_MAX, EVIDENCE_MIN, likeliest

EXCESS_NS = 2e6


def scattered(before_s, since_s, step_ns, *, per_s=5, seed=0, slope=0.0):
    """Return delays of so many seconds before a step of the offset, and since it."""
    random = np.random.default_rng(seed)
    times_s = np.arange(-before_s - since_s, 0.0, 1.0 / per_s)
    offset_ns = slope * times_s + np.where(times_s >= -since_s, step_ns, 0.0)
    forward_ns, backward_ns = (random.exponential(EXCESS_NS, times_s.size) for _ in range(2))
    return Delays(
        forward_s=times_s, forward_ns=offset_ns + forward_ns, backward_s=times_s, backward_ns=backward_ns - offset_ns
    )


@pytest.mark.parametrize("step_ns", [-1e6, 1e6, 3e6])
@pytest.mark.parametrize("per_s", [2, 25])
def test_a_step_is_found_where_it_was(step_ns, per_s):
    """Also among more delays than are looked at singly."""
    delays = scattered(40.0, 20.0, step_ns, per_s=per_s, slope=30e3)
    assert (delays.forward_s.size > BUCKETS_MAX) == (per_s > 3)
    step = likeliest(delays, 30e3, 20e3)
    assert step.evidence > EVIDENCE_MIN
    assert 17.0 * per_s < step.count <= 20.0 * per_s


@pytest.mark.parametrize("seed", range(20))
def test_chance_is_no_evidence(seed):
    step = likeliest(scattered(40.0, 20.0, 0.0, seed=seed), 0.0, 5e3)
    assert step is None or step.evidence < 10.0


def test_a_shorter_road_is_no_step():
    delays = scattered(40.0, 20.0, 0.0)
    delays.forward_ns[delays.forward_s >= -20.0] -= 1e6
    step = likeliest(delays, 0.0, 20e3)
    assert step is None or step.evidence < 10.0


def test_a_wrong_skew_is_no_step():
    """Where none of the slopes that are tried is near, a step would have to stand in for it."""
    assert likeliest(scattered(40.0, 20.0, 0.0, slope=100e3), 0.0, 2e3) is None


def test_what_a_history_begins_with_must_have_lasted_unless_a_step_began_it():
    delays = scattered(2.5, 20.0, 2e6)
    of_the_start = likeliest(delays, 0.0, 20e3)
    assert of_the_start is None or of_the_start.count <= 20.0 * 5 - 13
    step = likeliest(delays, 0.0, 20e3, again=True)
    assert step.evidence > EVIDENCE_MIN
    assert 17.0 * 5 < step.count <= 20.0 * 5


@pytest.mark.parametrize("left", [1, 3])
def test_what_a_slew_has_left_of_its_middle_is_found(left):
    """One clock was slewed by 4 ms; of its last seconds a few samples are in the history that began meanwhile."""
    delays = scattered(float(left), 40.0, 0.0, per_s=1)
    random = np.random.default_rng(1)
    slewed_ns = np.maximum(0.0, -40.0 - delays.forward_s) * 0.5e6
    delays.forward_ns[:] = slewed_ns + random.exponential(15e3, delays.forward_s.size)
    delays.backward_ns[:] = random.exponential(15e3, delays.forward_s.size) - slewed_ns
    assert likeliest(delays, 0.0, 5e3) is None
    while (step := likeliest(delays, 0.0, 5e3, again=True)) and step.evidence > EVIDENCE_MIN:
        delays = delays.newest(step.count)
    assert delays.forward_s.size == 40


def test_a_step_between_the_bounds_of_a_network_that_is_bad_most_of_the_time_is_found():
    """5.4 ms of 6.2 ms of round trip: a line that leans by 100 ppm would fit, and queues are deeper than the step."""
    delays = scattered(60.0, 15.0, 0.0, per_s=2)
    random, count = np.random.default_rng(2), delays.forward_s.size
    stepped_ns = np.where(delays.forward_s >= -15.0, -5.4e6, 0.0)
    for column, way in ((delays.forward_ns, 1), (delays.backward_ns, -1)):
        column[:] = way * stepped_ns + random.exponential(20e3, count)
        column[:] += np.where(random.random(count) < 0.6, random.exponential(150e6, count), 0.0)
    step = likeliest(delays, 0.0, 0.2e3)
    assert step.evidence > EVIDENCE_MIN
    assert 13 * 2 < step.count <= 15.5 * 2
