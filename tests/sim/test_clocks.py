from random import Random

import pytest

from radiosync.sim.clocks import ClockSettings, Shift, SimClock

NS = 1_000_000_000
YEAR = 365 * 86_400 * NS


@pytest.mark.parametrize("skew_ppm", [-100.0, -50.0, 0.0, 0.001, 73.5])
@pytest.mark.parametrize("wander_ppm", [0.0, 0.01])
def test_the_inverse_is_the_first_instant_that_shows_at_least_the_reading(skew_ppm, wander_ppm):
    settings = ClockSettings(offset_ns=1_790_000_000 * NS, skew_ppm=skew_ppm, wander_ppm=wander_ppm)
    clock = SimClock(settings, Random(1))
    rng = Random(2)
    for _ in range(300):
        reading = clock.reading(rng.randrange(3600 * NS))
        at = clock.true(reading)
        assert clock.reading(at) >= reading
        assert clock.reading(at - 1) < reading


def test_skew_is_exact_after_a_year():
    clock = SimClock(ClockSettings(skew_ppm=50.0), Random(1))
    assert clock.reading(YEAR) == YEAR + YEAR // 20_000


def test_wander_is_a_random_walk_of_the_rate():
    ends = []
    for seed in range(60):
        clock = SimClock(ClockSettings(wander_ppm=0.1), Random(seed))
        rate_ppm = (clock.reading(101 * NS) - clock.reading(100 * NS) - NS) / 1e3
        ends.append(rate_ppm)
    spread = (sum(e * e for e in ends) / len(ends)) ** 0.5
    assert 0.75 < spread < 1.25, "0.1 ppm after a second is 1 ppm after a hundred"


def test_a_clock_that_wanders_does_not_depend_on_when_it_is_read():
    often, once = (SimClock(ClockSettings(wander_ppm=0.1, skew_ppm=20.0), Random(7)) for _ in range(2))
    for t in range(0, 60 * NS, NS // 7):
        often.reading(t)
    assert often.reading(60 * NS) == once.reading(60 * NS)


def test_a_clock_that_jumps_ahead_is_slewed_and_stands_still_keeps_its_inverse():
    clock = SimClock(ClockSettings(skew_ppm=30.0), Random(1))
    at = [n * NS for n in range(60)]
    clock.adjust(10 * NS, ahead_ns=5 * NS)
    clock.adjust(20 * NS, slew_ppm=500.0)
    clock.adjust(30 * NS, slew_ppm=-500.0)
    before = clock.reading(40 * NS)
    clock.suspend(40 * NS, 50 * NS)
    assert 5 * NS < clock.reading(10 * NS) - clock.reading(10 * NS - 1) <= 5 * NS + 2
    assert clock.reading(30 * NS) - clock.reading(20 * NS) == 10 * NS + 10 * 530_000
    assert clock.reading(50 * NS) - before == 10
    assert clock.reading(60 * NS) - clock.reading(50 * NS) == 10 * NS + 10 * 30_000
    for begin in at:
        for ns in (begin, begin + 1, begin + 123_456_789):
            reading = clock.reading(ns)
            back = clock.true(reading)
            assert back <= ns
            assert clock.reading(back) >= reading
            assert back == 0 or clock.reading(back - 1) < reading
    assert clock.true(clock.reading(10 * NS) - NS) == 10 * NS, "what it jumped over is never shown"


def test_of_a_shift_counts_what_lies_between_two_times():
    step = Shift(begin=5 * NS, end=5 * NS, size_ns=1e6)
    assert [step.within(since * NS, 10 * NS) for since in (4, 5, 6)] == [1e6, 1e6, 0.0]
    assert step.within(0, 4 * NS) == 0.0
    slew = Shift(begin=10 * NS, end=20 * NS, size_ns=-5e6)
    assert [slew.within(0, until * NS) for until in (9, 12, 30)] == [0.0, 1e6, 5e6]
    assert [slew.within(since * NS, 30 * NS) for since in (12, 21)] == [4e6, 0.0]
