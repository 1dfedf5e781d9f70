from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from radiosync.listener.losses import LOOKS_MAX, REORDER_GUARD_NS, LossDetector
from radiosync.units import NS_PER_MS

START = 10**12


def test_a_chunk_is_looked_at_once_a_later_one_has_begun_and_the_guard_has_passed():
    losses = LossDetector(5)
    assert losses.next_timeout() is None
    losses.sent_before(5, START)
    assert losses.next_timeout() is None, "chunk 5 may still be on its way"
    losses.sent_before(7, START)
    assert losses.next_timeout() == START + REORDER_GUARD_NS
    assert list(losses.due(START + REORDER_GUARD_NS - 1)) == []
    assert list(losses.due(START + REORDER_GUARD_NS)) == [5, 6]
    assert list(losses.due(START + 10 * REORDER_GUARD_NS)) == []
    assert losses.next_timeout() is None


def test_what_comes_out_of_order_changes_nothing():
    losses = LossDetector(5)
    losses.sent_before(9, START)
    losses.sent_before(6, START + 1)
    losses.sent_before(9, START + 2)
    assert losses.next_seq == 9
    assert list(losses.due(START + REORDER_GUARD_NS)) == [5, 6, 7, 8]
    assert losses.next_timeout() is None


@settings(max_examples=100)
@given(seed=st.integers(0, 1 << 20))
def test_every_chunk_is_looked_at_exactly_once_and_never_early(seed):
    rng = Random(seed)
    losses = LossDetector(100)
    now, looked, said = START, [], {}
    for _ in range(60):
        now += rng.randrange(20 * NS_PER_MS)
        if rng.random() < 0.7:
            seq = losses.next_seq + rng.randrange(-2, 5)
            for earlier in range(100, seq):
                said.setdefault(earlier, now)
            losses.sent_before(seq, now)
        due = list(losses.due(now))
        assert all(now - said[seq] >= REORDER_GUARD_NS for seq in due)
        looked += due
    looked += losses.due(now + REORDER_GUARD_NS)
    assert looked == list(range(100, losses.next_seq))


def test_more_than_it_can_remember_is_looked_at_later_not_never():
    losses = LossDetector(0)
    for seq in range(1, LOOKS_MAX + 100):
        losses.sent_before(seq, START + seq)
    assert len(losses._looks) == LOOKS_MAX
    assert list(losses.due(START + 10 * REORDER_GUARD_NS)) == list(range(LOOKS_MAX + 99))
