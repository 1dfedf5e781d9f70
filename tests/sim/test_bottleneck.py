"""A bottleneck serves in order, at the rate of the time it serves in."""

from radiosync.sim.bottleneck import Bottleneck

MS = 1_000_000


def passed_ms(*comings, bits_per_s=0, throttles=()):
    """Return when 1000 bytes each that come at these milliseconds have passed."""
    bottleneck = Bottleneck()
    throttles = tuple((begin * MS, end * MS, rate) for begin, end, rate in throttles)
    return [bottleneck.passed_at(1000, at * MS, bits_per_s, throttles) / MS for at in comings]


def test_without_a_rate_nothing_waits():
    assert passed_ms(0, 0, 5) == [0, 0, 5]


def test_what_comes_faster_than_it_is_served_waits():
    assert passed_ms(0, 0, 1, 100, bits_per_s=1_000_000) == [8, 16, 24, 108]


def test_what_a_throttle_has_held_up_is_gone_when_that_ends():
    assert passed_ms(0, 10, 11, 12, 19, 25, throttles=((10, 20, 2_000_000),)) == [0, 14, 18, 20, 20, 25]


def test_what_a_throttle_has_held_up_is_served_at_the_old_rate_after_it():
    """Of the second one half is served before the throttle's end, the rest sixteen times as fast."""
    passed = passed_ms(10, 10, bits_per_s=16_000_000, throttles=((10, 22, 1_000_000),))
    assert passed == [18, 22 + 0.25]


def test_a_throttle_that_begins_slows_what_is_being_served():
    assert passed_ms(0, bits_per_s=1_000_000, throttles=((4, 100, 100_000),)) == [44]
