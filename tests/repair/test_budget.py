from random import Random

from hypothesis import given
from hypothesis import strategies as st

from radiosync.repair.budget import Budgets, TokenBucket
from radiosync.units import NS_PER_S

START = 1_795_000_000 * NS_PER_S


def drain(bucket, now):
    taken = 0
    while bucket.take(now):
        taken += 1
    return taken


def test_it_starts_full_and_refills_at_its_rate():
    bucket = TokenBucket(100, 16, START)
    assert drain(bucket, START) == 16
    assert drain(bucket, START + NS_PER_S // 100 - 1) == 0
    assert drain(bucket, START + NS_PER_S // 100) == 1
    assert drain(bucket, START + NS_PER_S // 10) == 9
    assert drain(bucket, START + 100 * NS_PER_S) == 16, "it saves no more than the burst"


def test_next_at_is_exactly_when_a_token_can_be_taken():
    bucket = TokenBucket(3, 1, START)
    assert bucket.next_at(START) == START
    assert bucket.take(START)
    at = bucket.next_at(START)
    assert at == START + NS_PER_S // 3 + 1
    assert not bucket.available(at - 1)
    assert bucket.available(at)
    assert bucket.next_at(at) == at


@given(rate=st.integers(1, 5000), burst=st.integers(2, 64), seed=st.integers(0, 1000))
def test_it_never_grants_more_than_burst_and_rate_nor_loses_a_token(rate, burst, seed):
    rng = Random(seed)
    bucket = TokenBucket(rate, burst, START)
    now = START
    assert drain(bucket, now) == burst
    taken = burst
    for _ in range(100):
        now += rng.randrange(NS_PER_S // rate)  # looked at more often than a token grows
        taken += drain(bucket, now)
        granted = burst + (now - START) * rate // NS_PER_S
        assert taken <= granted
        assert taken >= granted - 1


def test_a_clock_that_steps_back_grants_nothing():
    bucket = TokenBucket(100, 2, START)
    assert drain(bucket, START) == 2
    assert drain(bucket, START - NS_PER_S) == 0
    assert drain(bucket, START + NS_PER_S // 100) == 1


def test_no_rate_is_no_token():
    bucket = TokenBucket(0, 16, START)
    assert not bucket.available(START)
    assert not bucket.take(START + 100 * NS_PER_S)
    assert bucket.next_at(START) >= START
    bucket.rate_per_s = 10
    assert bucket.take(START + 101 * NS_PER_S)


def test_each_has_a_budget_and_no_more_than_so_many_are_kept():
    budgets = Budgets(10, 2, 3)
    assert [budgets.take("anna", START) for _ in range(3)] == [True, True, False]
    assert budgets.take("bert", START)
    assert not budgets.take("anna", START)
    assert budgets.take("anna", START + NS_PER_S // 10)
    for number in range(10):
        budgets.take(str(number), START)
    assert len(budgets) == 3
    assert budgets.take("anna", START), "begins anew"
    budgets.tidy(START + NS_PER_S // 10 - 1)
    assert len(budgets) == 3
    budgets.tidy(START + NS_PER_S // 10)
    assert len(budgets) == 0
