import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radiosync.clock.exchange import Exchange
from radiosync.clock.filter import ClockFilter, Quality

NS = 1_000_000_000


def run(world, until_s, clock=None, checks=()):
    """Feed `world` to a filter; return it and its errors in ns at the times in `checks`."""
    clock = clock or ClockFilter()
    checks, errors = list(checks), []
    for t in world.schedule(until_s):
        while checks and t >= checks[0]:
            errors.append(world.error_ns(clock.mapping(), checks.pop(0)))
        clock.add(world.exchange(t))
    return clock, np.array(errors)


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


# Kind, limit on the steady rms and on the worst steady error, in µs.  The wider limits of the last two say how much a
# minute of bad luck can do there.
STEADY = [("kernel", 0.8, 3.0), ("wired", 5.0, 20.0), ("wifi", 30.0, 120.0), ("wifiload", 130.0, 700.0)]


@pytest.mark.parametrize(("kind", "rms_max", "worst_max"), STEADY)
def test_steady_error_and_honest_sigma(make_world, kind, rms_max, worst_max):
    errors, z = [], []
    for seed in range(3):
        world = make_world(kind, seed, skew_ppm=(-100.0, 13.0, 100.0)[seed])
        clock = ClockFilter()
        for t in world.schedule(330):
            clock.add(world.exchange(t))
            if t > 100:
                error_ns = world.error_ns(clock.mapping(), t)
                errors.append(error_ns / 1e3)
                z.append(error_ns / clock.mapping().sigma_ns_at(round(t * NS)))
        assert clock.counters.steps == clock.counters.outliers == 0
    assert rms(errors) < rms_max
    assert np.abs(errors).max() < worst_max
    assert 0.2 < rms(z) < 2.0
    assert np.mean(np.abs(z) > 3) < 0.05


@pytest.mark.parametrize(("kind", "limits_us"), [("kernel", (5, 2)), ("wired", (30, 25)), ("wifi", (200, 200))])
@pytest.mark.parametrize("skew_ppm", [-100.0, 0.0, 100.0])
def test_start_up(make_world, kind, limits_us, skew_ppm):
    errors = [run(make_world(kind, seed, skew_ppm=skew_ppm), 5.1, checks=(0.6, 5.0))[1] / 1e3 for seed in range(8)]
    assert np.all(np.percentile(np.abs(errors), 80, axis=0) < limits_us)


@pytest.mark.parametrize("skew_ppm", [-100.0, 100.0])
def test_the_prior_does_not_bias_the_skew(make_world, skew_ppm):
    clock, _ = run(make_world("kernel", 5, skew_ppm=skew_ppm, thermal_ppm=0.0, wander=0.0), 30)
    assert clock.mapping().skew * 1e6 == pytest.approx(skew_ppm, abs=0.05)


@pytest.mark.parametrize(("kind", "until_s"), [("kernel", 5), ("wired", 20), ("wifi", 120)])
def test_skew_sigma_is_honest(make_world, kind, until_s):
    z = []
    for seed in range(12):
        clock, _ = run(make_world(kind, seed, skew_ppm=40.0, thermal_ppm=0.0, wander=0.0), until_s)
        z.append((clock.mapping().skew - 40e-6) / clock.mapping().skew_sigma)
    assert 0.1 < rms(z) < 1.5


def test_a_remembered_skew_helps_at_once(make_world):
    plain, cached = [], []
    for seed in range(10):
        for clock, errors in ((ClockFilter(), plain), (ClockFilter(skew=80e-6, skew_sigma=2e-6), cached)):
            world = make_world("wired", seed, skew_ppm=80.0, thermal_ppm=0.0)
            errors.append(run(world, 3.1, clock, checks=(1.0, 2.0, 3.0))[1])
    assert rms(cached) < 0.8 * rms(plain)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    kind=st.sampled_from(["kernel", "wired", "wifi", "wifiload"]),
    skew_ppm=st.floats(-200, 200),
    asymmetry_s=st.sampled_from([0.0, 1e-3, 0.1]),
)
def test_the_bound_is_never_broken_by_delays_of_any_asymmetry(make_world, seed, kind, skew_ppm, asymmetry_s):
    world = make_world(kind, seed, skew_ppm=skew_ppm, asymmetry_s=asymmetry_s)
    clock = ClockFilter()
    for t in world.schedule(60):
        clock.add(world.exchange(t))
        m = clock.mapping()
        for later_s in (0.0, 0.7, 40.0):
            at = m.local_at / NS + later_s
            assert abs(world.error_ns(m, at)) <= m.bound_ns_at(round(at * NS)) + 1
            assert abs(m.skew - skew_ppm * 1e-6) < m.skew_bound + 1e-6
    assert clock.counters.steps == 0


def test_the_bound_is_half_the_best_round_trip(make_world):
    clock, _ = run(make_world("wired", 1), 60)
    assert 120_000 / 2 < clock.mapping().bound_ns < 170_000 / 2


def test_a_constant_asymmetry_shows_in_the_bound_only(make_world):
    clock, errors = run(make_world("wired", 2, asymmetry_s=2e-3), 61, checks=(60.0,))
    assert errors[0] == pytest.approx(-1e6, abs=30e3)
    assert clock.mapping().bound_ns > 1e6


def test_long_roads_with_much_skew_leave_no_bias(make_world):
    """Forward delays belong to the departure: at the arrival of the answer 100 ppm would shift them by 40 µs."""
    world = make_world("wired", 3, skew_ppm=100.0, thermal_ppm=0.0)
    near = world.delays_s
    world.delays_s = lambda t: tuple(d + 0.2 for d in near(t))
    _, errors = run(world, 101, checks=range(40, 100, 5))
    assert abs(errors.mean()) < 10e3


@pytest.mark.parametrize(("kind", "limit_us"), [("kernel", 10), ("wired", 25), ("wifi", 90), ("wifiload", 400)])
def test_hold_over(make_world, kind, limit_us):
    errors, z = [], []
    for seed in range(6):
        world = make_world(kind, seed, skew_ppm=30.0)
        clock, _ = run(world, 200)
        now = clock.mapping().local_at / NS + 30
        errors.append(world.error_ns(clock.mapping(), now))
        z.append(errors[-1] / clock.mapping().sigma_ns_at(round(now * NS)))
        assert abs(errors[-1]) <= clock.mapping().bound_ns_at(round(now * NS))
    assert rms(errors) < limit_us * 1e3
    assert rms(z) < 2.5


def test_quality_falls_with_age(make_world):
    clock = ClockFilter()
    assert clock.quality(0) is Quality.UNSYNCED
    run(make_world("wired", 0), 20, clock)
    last = clock.mapping().local_at
    expected = {
        0: "LOCKED",
        5: "LOCKED",
        6: "HOLDOVER",
        60: "HOLDOVER",
        61: "DEGRADED",
        300: "DEGRADED",
        301: "UNSYNCED",
    }
    assert {s: clock.quality(last + s * NS).name for s in expected} == expected
    assert clock.mapping() is not None  # it still maps


@pytest.mark.parametrize("step_ms", [0.5, 5.0, 50.0, -5.0, 3_600_000.0])
def test_a_step_is_followed_within_five_seconds(make_world, step_ms):
    for seed in range(4):
        world = make_world("wired", seed, skew_ppm=50.0, step_at_s=100.0, step_s=step_ms / 1e3)
        clock, errors = run(world, 140, checks=(99.0, 106.0, 139.0))
        assert clock.counters.steps == 1
        assert np.all(np.abs(errors) < (20e3, 60e3, 20e3))
        assert abs(clock.mapping().skew - 50e-6) < 1e-6  # the crystal did not step


@pytest.mark.parametrize("step_ms", [5.0, -50.0])
@pytest.mark.parametrize("at_s", [0.2, 0.6])
def test_a_step_with_little_before_it_is_followed_as_well(make_world, at_s, step_ms):
    """In the first burst there are too few samples to tell floors by: four that contradict the others have to do."""
    world = make_world("wired", 1, skew_ppm=50.0, step_at_s=at_s, step_s=step_ms / 1e3)
    clock, errors = run(world, at_s + 6, checks=(at_s + 1, at_s + 5))
    assert clock.counters.steps == 1
    assert np.all(np.abs(errors) < (150e3, 60e3))


@pytest.mark.parametrize("step_ms", [0.3, -0.5, 1.0])
def test_a_step_smaller_than_the_round_trip_is_followed_as_soon(make_world, step_ms):
    """No sample contradicts the others: only that one floor falls as the other rises gives it away."""
    for seed in range(2):
        world = make_world("wired", seed, skew_ppm=50.0, step_at_s=100.0, step_s=step_ms / 1e3)
        near = world.delays_s
        world.delays_s = lambda t, near=near: tuple(delay + 2e-3 for delay in near(t))
        clock, errors = run(world, 140, checks=(99.0, 105.2, 139.0))
        assert clock.counters.steps == 1
        assert np.all(np.abs(errors) < (20e3, 60e3, 20e3))


@pytest.mark.parametrize("step_ms", [-1.0, 3.0])
def test_a_step_within_the_scatter_is_noticed(make_world, step_ms):
    """Two milliseconds of scatter hide it from each sample: unnoticed it stays in the window for four minutes."""
    errors, away = [], 0
    for seed in range(4):
        world = make_world("scattered", seed, skew_ppm=50.0, step_at_s=100.0, step_s=step_ms / 1e3)
        clock = ClockFilter()
        for t in world.schedule(200):
            clock.add(world.exchange(t))
            if t > 150:
                assert clock.counters.steps == 1
                errors.append(world.error_ns(clock.mapping(), t))
                away += abs(errors[-1]) > 3 * clock.mapping().sigma_ns_at(round(t * NS))
                assert abs(errors[-1]) <= clock.mapping().bound_ns_at(round(t * NS)) + 1
        assert 100 - 1 < clock.since / NS < 100 + 30
        assert abs(clock.mapping().skew - 50e-6) < 10e-6
    assert rms(errors) < 200e3
    assert away < 0.05 * len(errors)


def test_a_step_in_whose_wake_answers_queue_is_noticed_after_that(make_world):
    """Thirty questions a second push what was before the step far back, though it is seconds ago."""
    world = make_world("scattered", 2, skew_ppm=50.0, step_at_s=60.0, step_s=1e-3)
    near = world.delays_s
    world.delays_s = lambda t: tuple(d + (0.1 if way and 60 <= t < 75 else 0.0) for way, d in enumerate(near(t)))
    clock = ClockFilter()
    for t in world.schedule(95, period_s=0.03):
        clock.add(world.exchange(t))
    assert clock.counters.steps == 1
    assert 59 < clock.since / NS < 76
    assert abs(world.error_ns(clock.mapping(), t)) < 200e3


@pytest.mark.parametrize("seed", [0, 3, 5])
def test_what_bent_the_line_is_left_behind_once_enough_has_come_since(make_world, seed):
    """Seven seconds of scatter know no skew, so that one stands in for the step among any of the newest that fit."""
    world = make_world("scattered", seed, step_at_s=7.0, step_s=1.5e-3)
    clock = ClockFilter()
    for t in world.schedule(30, period_s=0.25):
        clock.add(world.exchange(t))
        mapping, now = clock.mapping(), round(t * NS)
        if t > 11:
            assert abs(world.error_ns(mapping, t)) < min(3 * mapping.sigma_ns_at(now), mapping.bound_ns_at(now) + 1)
    assert clock.counters.truncated > 0


@pytest.mark.parametrize("seed", [34, 47, 80, 83])
def test_what_a_slew_has_left_does_not_tilt_the_line_for_as_long_as_it_lasts(seed):
    """A host was slewed, and answers queued for a minute: by a tilted line all delays look scattered, and no step."""
    random, clock = np.random.default_rng(seed), ClockFilter()
    t, errors_us = 0.0, []
    while t < 110.0:
        there, back = 0.6e-3 + random.exponential(20e-6, 2)
        if t < 60.0 and random.random() < 0.67:
            back += random.exponential(0.15)
        at_host = t + there

        def host_ns(at):
            return round((at + (5.0 if at >= 8.0 else 0.0) + 1e-4 * at - 500e-6 * min(at, 11.0)) * NS)

        clock.add(
            Exchange(
                sent_at=round(t * NS),
                host_received_at=host_ns(at_host),
                host_sent_at=host_ns(at_host + 20e-6),
                received_at=round((at_host + 20e-6 + back) * NS),
            )
        )
        if t > 80.0:
            errors_us.append((clock.mapping().host_from_local(round(t * NS)) - host_ns(t)) / 1e3)
        t += random.uniform(0.8, 1.2) if t > 11.0 else 0.3
    assert np.abs(errors_us).max() < 100.0


def test_the_crystals_are_no_better_known_after_a_step_than_before(make_world):
    """After a fifth of a second nothing is known of the skew, and a step is no reason to believe that it is 0."""
    world = make_world("wired", 1, skew_ppm=90.0, step_at_s=0.2, step_s=5e-3)
    clock, _ = run(world, 0.5)
    assert clock.counters.steps == 1
    assert clock.mapping().skew_sigma > 30e-6


@pytest.mark.parametrize("kind", ["kernel", "wired", "wifi", "wifiload", "scattered"])
def test_no_step_is_seen_where_there_is_none(make_world, kind):
    for seed in range(3):
        clock, _ = run(make_world(kind, 100 + seed, skew_ppm=-70.0), 200)
        assert clock.counters.steps == clock.counters.outliers == clock.counters.truncated == 0


@pytest.mark.parametrize("at", [0, 1, 7, 40, 90])
@pytest.mark.parametrize("wrong_ns", [10**7, -(10**7), 10**17])
def test_a_single_impossible_exchange_does_no_harm(make_world, at, wrong_ns):
    world = make_world("wired", 4)
    clock = ClockFilter()
    for i, t in enumerate(world.schedule(90)):
        exchange = world.exchange(t)
        if i == at:
            exchange = dataclasses.replace(
                exchange,
                host_received_at=exchange.host_received_at + wrong_ns,
                host_sent_at=exchange.host_sent_at + wrong_ns,
            )
            suspicious = clock.add(exchange) is False
            assert suspicious == clock.suspicious == (at > 0)
            continue
        clock.add(exchange)
        if i >= at + 4:
            assert abs(world.error_ns(clock.mapping(), t)) < 150e3
    assert clock.counters.outliers == (at > 0)
    assert not clock.suspicious


def test_a_longer_road_is_sat_out(make_world):
    world = make_world("wired", 6)
    near = world.delays_s
    world.delays_s = lambda t: tuple(d + (5e-3 if t > 100 and way else 0.0) for way, d in enumerate(near(t)))
    clock, errors = run(world, 131, checks=(99.0, 110.0, 130.0))
    assert np.all(np.abs(errors) < 25e3)
    assert clock.counters.steps == 0


def test_a_crystal_that_warms_up_fast_is_followed(make_world):
    world = make_world("kernel", 7, thermal_ppm=0.0, wander=0.0)
    world.theta = world.theta + 0.5 * 5e-8 * np.maximum(world.t - 50, 0) ** 2  # 0.05 ppm a second, ten times the model
    clock, errors = run(world, 200, checks=range(60, 200, 10))
    assert np.abs(errors).max() < 60e3
    assert clock.counters.truncated > 0


def exchange(sent_at=0, forward=50_000, turn=1_000, backward=50_000, offset=10**18):
    return Exchange(
        sent_at=sent_at,
        host_received_at=sent_at + forward + offset,
        host_sent_at=sent_at + forward + turn + offset,
        received_at=sent_at + forward + turn + backward,
    )


def test_one_exchange_makes_a_mapping_with_an_honest_sigma():
    clock = ClockFilter()
    assert clock.mapping() is None
    assert clock.add(exchange(forward=70_000, backward=30_000))
    m = clock.mapping()
    assert m.offset_ns == pytest.approx(10**18 + 20_000, abs=10)
    assert 50_000 <= m.bound_ns < 50_200
    assert m.sigma_ns >= 25_000


def test_sigma_is_never_more_than_the_bound():
    """At a start behind bursts of losses the few delays say little, and the round trip of one of them much."""
    clock = ClockFilter()
    for i in range(12):
        late = i % 6 * 40_000_000
        clock.add(exchange(i * 20_000_000, forward=500_000 + late, backward=500_000 + late))
        m = clock.mapping()
        for later in (0, NS // 10, 10 * NS):
            assert m.sigma_ns_at(m.local_at + later) <= m.bound_ns_at(m.local_at + later)
        assert m.sigma_ns <= m.bound_ns


def test_the_oldest_exchange_that_counts_is_told():
    clock = ClockFilter()
    assert clock.since is None
    for i in range(100):
        clock.add(exchange(i * NS))
    assert (100 - 33) * NS <= clock.since <= (100 - 31) * NS  # the shortest window: no delay scatters
    clock.reset()
    assert clock.since is None


@pytest.mark.parametrize(
    "bad",
    [
        exchange(NS, forward=-60_000),
        exchange(NS, turn=-1),
        exchange(NS, backward=NS),
        exchange(NS, forward=NS - 40_000, backward=50_000),
        exchange(-10 * NS),
    ],
    ids=["negative round trip", "sent before received", "too slow", "too slow together", "older than the history"],
)
def test_contradictory_exchanges_are_rejected(bad):
    clock = ClockFilter()
    clock.add(exchange())
    before = clock.mapping()
    assert not clock.add(bad)
    assert clock.counters.rejected == 1
    assert clock.mapping() is before


def test_stamps_that_overtake_each_other_are_taken():
    clock = ClockFilter()
    for sent_at in (0, 30_000_000, 29_000_000, 60_000_000):
        assert clock.add(exchange(sent_at))
    assert clock.mapping().local_at == 60_101_000


def test_the_ring_is_bounded_and_counts_what_it_drops():
    clock = ClockFilter(capacity=20)
    for i in range(50):
        clock.add(exchange(i * NS // 10))
    assert clock.counters.evicted == 30
    assert clock.counters.accepted == 50
    clock = ClockFilter()
    for i in range(400):
        clock.add(exchange(i * NS))
    assert clock.counters.evicted == 0  # those older than the longest window go by age


def test_reset_forgets_all_but_the_prior(make_world):
    clock = ClockFilter(skew=20e-6)
    run(make_world("wired", 0, skew_ppm=-50), 30, clock)
    clock.reset()
    assert clock.mapping() is None
    assert not clock.ready(30 * NS)
    clock.add(exchange(31 * NS, offset=5))
    assert clock.mapping().offset_ns == pytest.approx(5, abs=10)
    assert clock.mapping().skew == pytest.approx(20e-6, abs=1e-6)


@pytest.mark.parametrize(("way_us", "count"), [(100, 3), (450, 3), (2_000, 8)])
def test_ready_as_soon_as_the_bound_leaves_no_doubt(way_us, count):
    """On a wire the round trip itself bounds the error to less than half a millisecond."""
    clock = ClockFilter()
    for i in range(count):
        assert not clock.ready(i * 20_000_000)
        clock.add(exchange(i * 20_000_000, forward=way_us * 1_000, backward=way_us * 1_000))
    assert clock.ready(count * 20_000_000)


def test_half_of_a_burst_that_jitters_by_more_than_a_millisecond_is_not_enough():
    clock = ClockFilter()
    for i in range(8):
        clock.add(exchange(i * 30_000_000, backward=(i % 4 + 1) * 4_000_000))
    assert not clock.ready(round(0.25 * NS))


@pytest.mark.parametrize(("rtt_ms", "count"), [(50, 12), (200, 16), (500, 18)])
def test_a_long_way_that_is_steady_is_learnt_in_a_burst(rtt_ms, count):
    """What is far away is not uncertain: the seed's listeners are 50, 200 and 500 ms away."""
    one_way = rtt_ms * 500_000
    clock = ClockFilter()
    for i in range(count):
        assert not clock.ready(i * 30_000_000)
        jitter = (i * 7919 % 13) * 3_000
        clock.add(exchange(i * 30_000_000, forward=one_way + jitter, backward=one_way + (36_000 - jitter)))
    assert clock.ready(count * 30_000_000 + 2 * one_way)
    assert abs(clock.mapping().offset_ns - 10**18) < 50_000


def test_ready_by_bound_after_two_seconds_and_anyway_after_four():
    clock = ClockFilter()
    for i in range(3):
        clock.add(exchange(i * NS, backward=4_000_000))
    assert not clock.ready(int(1.9 * NS))
    assert clock.ready(int(2.2 * NS))
    clock = ClockFilter()
    for i in range(4):
        clock.add(exchange(i * NS, backward=100_000_000))
    assert not clock.ready(int(3.9 * NS))
    assert clock.ready(int(4.2 * NS))


def test_it_is_deterministic(make_world):
    one, other = (run(make_world("wifi", 9, skew_ppm=5), 60)[0].mapping() for _ in range(2))
    assert one == other


@pytest.mark.parametrize("kind", ["kernel", "wired", "wifi"])
def test_a_skew_that_another_machine_had_is_let_go(make_world, kind):
    wrong, fresh = [], []
    for seed in range(6):
        for clock, errors in ((ClockFilter(skew=-60e-6, skew_sigma=2e-6), wrong), (ClockFilter(), fresh)):
            world = make_world(kind, seed, skew_ppm=40.0, thermal_ppm=0.0)
            errors.append(run(world, 35, clock, checks=(10.0, 30.0))[1])
    assert rms(np.array(wrong)[:, 1]) < 1.5 * rms(np.array(fresh)[:, 1])
