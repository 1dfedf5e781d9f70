from random import Random

import pytest

from radiosync.listener.arrival import APART_NS_MAX, GAIN, JITTER_NS_MAX, ArrivalJitter
from radiosync.units import NS_PER_MS, NS_PER_S

SENT = 1_795_000_000 * NS_PER_S


def arrive(jitter, delays_ns, every_ns=NS_PER_S, since=SENT):
    for number, delay_ns in enumerate(delays_ns):
        sent_at = since + number * every_ns
        jitter.arrived(sent_at, sent_at - SENT + 77 * NS_PER_S + delay_ns)


def test_a_delay_that_stays_is_no_jitter():
    jitter = ArrivalJitter()
    arrive(jitter, [250 * NS_PER_MS] * 30)
    assert jitter.jitter_ns == 0


def test_it_is_the_mean_difference_of_successive_delays():
    jitter = ArrivalJitter()
    arrive(jitter, [0, 30 * NS_PER_MS] * 200)
    assert jitter.jitter_ns == pytest.approx(30 * NS_PER_MS, rel=0.01)


def test_of_delays_distributed_exponentially_it_is_their_mean():
    rng, jitter, seen = Random(1), ArrivalJitter(), []
    for number in range(4_000):
        arrive(jitter, [round(rng.expovariate(1.0) * 50 * NS_PER_MS)], since=SENT + number * NS_PER_S)
        seen.append(jitter.jitter_ns)
    assert sum(seen) / len(seen) == pytest.approx(50 * NS_PER_MS, rel=0.1)


def test_one_late_datagram_counts_a_little():
    jitter = ArrivalJitter()
    arrive(jitter, [0, 160 * NS_PER_MS])
    assert jitter.jitter_ns == 160 * NS_PER_MS // GAIN


def test_it_is_forgotten_when_the_network_is_calm_again():
    jitter = ArrivalJitter()
    arrive(jitter, [0, 100 * NS_PER_MS] * 50)
    before_ns = jitter.jitter_ns
    arrive(jitter, [0] * 60, since=SENT + 200 * NS_PER_S)
    assert jitter.jitter_ns < before_ns / 20


def test_what_was_overtaken_or_came_twice_says_nothing():
    jitter = ArrivalJitter()
    arrive(jitter, [0] * 3)
    jitter.arrived(SENT, 99 * NS_PER_S)
    jitter.arrived(SENT + 2 * NS_PER_S, 99 * NS_PER_S)
    assert jitter.jitter_ns == 0


def test_across_a_long_silence_nothing_is_compared():
    jitter = ArrivalJitter()
    jitter.arrived(SENT, 0)
    jitter.arrived(SENT + APART_NS_MAX + 1, 0)
    assert jitter.jitter_ns == 0


def test_what_a_liar_sends_stays_within_bounds():
    jitter = ArrivalJitter()
    for number in range(1000):
        jitter.arrived(number, (number % 2) << 60)
    assert 0 < jitter.jitter_ns <= JITTER_NS_MAX
