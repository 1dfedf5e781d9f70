from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radiosync.repair import respond as module
from radiosync.repair.request import TICK_NS
from radiosync.repair.respond import (
    BURST,
    IDLE_NS,
    SOON_NS,
    UNREACHED_PER_S_MAX,
    Repair,
    RepairQueue,
)
from radiosync.repair.rounds import CROWD_NS, GATHER_URGENT_NS, HOLD_OFF_NS, HOLD_OFF_URGENT_NS, gather_ns
from radiosync.units import NS_PER_MS, NS_PER_S
from radiosync.wire.limits import PARITY_MAX

START = 1_795_000_000 * NS_PER_S
FAR = START + 40 * NS_PER_S
ANNA, BERT, CARL = (("10.0.0.1", 5000), ("10.0.0.2", 5000), ("10.0.0.1", 5001))
PLENTY = 100_000
GATHER_NS = gather_ns(FAR - START)


@pytest.fixture
def queue():
    return RepairQueue(PLENTY, PLENTY, START)


def take_all(queue, now):
    taken = []
    while (repair := queue.take(now)) is not None:
        taken.append(repair)
    return taken


def drive(queue, now, until):
    """Do what the queue wants until `until`; return when it sent what."""
    log, turns = [], 0
    while (at := queue.next_timeout()) is not None and max(at, now) <= until:
        now = max(now, at)
        log += [(now, repair) for repair in take_all(queue, now)]
        turns += 1
        assert turns < 20_000, "it spins"
    return log


def test_one_listener_is_served_alone(queue):
    queue.ask(7, 0b101, FAR, ANNA, START)
    assert len(queue) == 1
    assert take_all(queue, START + GATHER_NS - 1) == []
    assert drive(queue, START, START + NS_PER_S) == [
        (START + GATHER_NS, Repair(seq=7, index=index, to=ANNA)) for index in (0, 2)
    ]
    assert len(queue) == 0
    assert queue.next_timeout() is None


def test_the_timeout_is_met_and_no_earlier_look_is_needed(queue):
    queue.ask(7, 1, FAR, ANNA, START)
    log = drive(queue, START, START + NS_PER_S)
    assert [at for at, _ in log] == [START + GATHER_NS]


@pytest.mark.parametrize("other", [BERT, CARL])
def test_what_several_have_lost_alike_is_multicast_once(queue, other):
    queue.ask(7, 0b11, FAR, ANNA, START)
    queue.ask(7, 0b10, FAR, other, START + GATHER_NS // 2)
    sent = [repair for _, repair in drive(queue, START, START + NS_PER_S)]
    assert sent == [Repair(seq=7, index=0, to=None), Repair(seq=7, index=1, to=None)]


def test_whom_multicast_does_not_reach_is_answered_alone_and_is_none_of_several(queue):
    queue.note_reach(BERT, reached=False)
    queue.ask(7, 0b11, FAR, BERT, START)
    queue.ask(7, 0b01, FAR, ANNA, START)
    sent = [(r.index, r.to) for _, r in drive(queue, START, START + NS_PER_S)]
    assert sorted(sent, key=str) == [(0, ANNA), (0, BERT), (1, BERT)]
    queue.ask(8, 0b1, FAR, CARL, START + NS_PER_S)
    queue.ask(8, 0b1, FAR, ANNA, START + NS_PER_S)
    queue.ask(8, 0b1, FAR, BERT, START + NS_PER_S)
    sent = {(r.index, r.to) for _, r in drive(queue, START + NS_PER_S, START + 2 * NS_PER_S)}
    assert sent == {(0, None), (0, BERT)}
    queue.note_reach(BERT, reached=True)
    queue.ask(9, 0b1, FAR, BERT, START + 2 * NS_PER_S)
    queue.ask(9, 0b1, FAR, ANNA, START + 2 * NS_PER_S)
    assert [r.to for _, r in drive(queue, START + 2 * NS_PER_S, START + 3 * NS_PER_S)] == [None]
    queue.note_reach(BERT, reached=False)
    queue.forget_listener(BERT)
    assert not queue._unreached


def test_where_they_have_lost_different_symbols_parity_is_sent_as_much_as_the_worst_off_needs(queue):
    queue.ask(7, 0b0000111, FAR, ANNA, START)
    queue.ask(7, 0b0011000, FAR, BERT, START)
    queue.ask(7, 0b1000000, FAR, CARL, START + GATHER_NS - 1)
    sent = [repair for _, repair in drive(queue, START, START + NS_PER_S)]
    assert sent == [Repair(seq=7, index=index, parity=True, to=None) for index in range(3)]
    assert len(queue) == 0


def test_parity_is_fresh_until_all_of_it_has_been_sent(queue):
    indices, now = [], START
    for _ in range(40):
        queue.ask(7, 0b011, FAR, ANNA, now)
        queue.ask(7, 0b100, FAR, BERT, now)
        sent = drive(queue, now, now + NS_PER_S)
        indices += [repair.index for _, repair in sent]
        now += NS_PER_S
    assert indices == [i % PARITY_MAX for i in range(80)]


def test_who_asks_soon_after_another_is_one_of_several(queue):
    """More are waiting to ask: parity heals those too."""
    queue.ask(7, 0b01, FAR, ANNA, START)
    assert [r.to for _, r in drive(queue, START, START + NS_PER_S)] == [ANNA]
    queue.ask(7, 0b10, FAR, BERT, START + CROWD_NS - 1)
    assert [r for _, r in drive(queue, START, START + CROWD_NS + NS_PER_S)] == [
        Repair(seq=7, index=0, parity=True, to=None)
    ]
    queue.ask(7, 0b100, FAR, BERT, START + 2 * CROWD_NS - 2 * GATHER_NS)
    assert [r.to for _, r in drive(queue, START, START + 3 * CROWD_NS)] == [None]
    queue.ask(7, 0b100, FAR, BERT, START + 3 * CROWD_NS)  # now it is alone again
    assert [r.to for _, r in drive(queue, START, START + 4 * CROWD_NS)] == [BERT]


def test_who_asks_long_after_another_is_alone(queue):
    queue.ask(7, 0b01, FAR, ANNA, START)
    drive(queue, START, START + NS_PER_S)
    queue.ask(7, 0b10, FAR, BERT, START + CROWD_NS)
    assert [r.to for _, r in drive(queue, START, START + 2 * CROWD_NS)] == [BERT]


def test_more_than_there_is_parity_for_is_sent_itself(queue):
    queue.ask(7, (1 << PARITY_MAX + 1) - 1, FAR, ANNA, START)
    queue.ask(7, 1 << 150, FAR, BERT, START)
    sent = {(repair.index, repair.parity) for _, repair in drive(queue, START, START + NS_PER_S)}
    assert sent == {(index, False) for index in (*range(PARITY_MAX + 1), 150)}


def test_joiners_do_not_make_a_crowd_of_each_other(queue):
    """Each is sent the whole buffer, when it comes; the others have it already."""
    queue.ask(7, 0b11, FAR, ANNA, START, backfill=True)
    drive(queue, START, START + NS_PER_S)
    queue.ask(7, 0b11, FAR, BERT, START + NS_PER_S, backfill=True)
    assert [r.to for _, r in drive(queue, START + NS_PER_S, START + 2 * NS_PER_S)] == [BERT, BERT]
    for joiner in (ANNA, BERT):
        queue.ask(8, 0b11, FAR, joiner, START + 2 * NS_PER_S, backfill=True)
    sent = [r for _, r in drive(queue, START + 2 * NS_PER_S, START + 3 * NS_PER_S)]
    assert sent == [Repair(seq=8, index=0, to=None), Repair(seq=8, index=1, to=None)]


def test_the_more_time_is_left_the_longer_it_gathers(queue):
    for slack_s, gathered_ms in ((1, 20), (10, 100), (30, 300), (100, 400)):
        queue.ask(slack_s, 1, START + slack_s * NS_PER_S, ANNA, START)
        assert take_all(queue, START + gathered_ms * NS_PER_MS - 1) == []
        assert len(take_all(queue, START + gathered_ms * NS_PER_MS)) == 1


def test_who_comes_back_from_an_outage_a_little_later_is_served_by_the_same_answer(queue):
    everything = (1 << 60) - 1
    for moment_ms, listener in ((0, ANNA), (150, BERT), (390, CARL)):
        for seq in range(10):
            queue.ask(seq, everything, FAR, listener, START + moment_ms * NS_PER_MS)
    sent = [repair for _, repair in drive(queue, START, START + NS_PER_S)]
    assert len(sent) == 600
    assert {repair.to for repair in sent} == {None}


def test_a_crowd_is_answered_soon(queue):
    """Who hears it in time does not ask."""
    queue.ask(7, 0b01, FAR, ANNA, START)
    queue.ask(7, 0b10, FAR, BERT, START + NS_PER_MS)
    assert [at for at, _ in drive(queue, START, START + NS_PER_S)] == [START + 21 * NS_PER_MS]


def test_where_losses_are_scattered_the_first_who_asks_is_answered_with_parity_for_all(queue):
    """Another each time; the rest, healed by the same answer, never ask."""
    answers = []
    for seq in range(20):
        now = START + seq * NS_PER_S // 2
        queue.ask(seq, 0b101 << seq, now + 40 * NS_PER_S, (f"10.0.0.{seq}", 5000), now)
        answers.append([repair for _, repair in drive(queue, now, now + NS_PER_S // 2)])
    assert [len(answer) for answer in answers] == [2] * 20
    assert {repair.to is None for repair in answers[0]} == {False}, "nothing was known yet"
    assert answers[-1] == [Repair(seq=19, index=index, parity=True, to=None) for index in (0, 1)]
    now = START + 10 * NS_PER_S
    queue.ask(20, (1 << 59) - 1, now + 40 * NS_PER_S, ANNA, now)
    sent = [repair for _, repair in drive(queue, now, now + NS_PER_S)]
    assert not any(repair.parity or repair.to is None for repair in sent), "an outage of its own, as far as is known"


def test_of_several_that_come_back_from_an_outage_only_the_first_is_answered_alone(queue):
    everything = (1 << 60) - 1
    for seq in range(3):
        queue.ask(seq, everything, FAR, (f"10.0.0.{seq}", 5000), START + seq * NS_PER_S)
        sent = [repair for _, repair in drive(queue, START + seq * NS_PER_S, START + (seq + 1) * NS_PER_S)]
        assert {repair.to is None for repair in sent} == {seq > 0}
        assert not any(repair.parity for repair in sent)


def test_parity_that_is_on_its_way_counts_for_whoever_asks(queue):
    queue.ask(7, 0b01, FAR, ANNA, START)
    queue.ask(7, 0b10, FAR, BERT, START)
    ((sent_at, repair),) = drive(queue, START, START + NS_PER_S)
    assert repair.parity
    queue.ask(7, 0b1000, FAR, CARL, sent_at + 1)
    assert len(queue) == 0
    queue.ask(7, 0b11000, FAR, CARL, sent_at + 2)
    assert [r.index for _, r in drive(queue, sent_at, sent_at + NS_PER_S)] == [1]


def test_asking_twice_does_not_make_one_listener_two(queue):
    queue.ask(7, 1, FAR, ANNA, START)
    queue.ask(7, 1, FAR, ANNA, START + 1)
    assert len(queue) == 1
    assert [r.to for _, r in drive(queue, START, START + NS_PER_S)] == [ANNA]


def test_what_is_urgent_is_not_gathered(queue):
    queue.ask(7, 1, START + GATHER_URGENT_NS - 1, ANNA, START)
    queue.ask(8, 1, START + GATHER_URGENT_NS, ANNA, START)
    assert take_all(queue, START) == [Repair(seq=7, index=0, to=ANNA)]


def test_repeats_within_the_hold_off_are_ignored(queue):
    queue.ask(7, 1, FAR, ANNA, START)
    ((sent_at, _),) = drive(queue, START, START + NS_PER_S)
    queue.ask(7, 1, FAR, ANNA, sent_at + HOLD_OFF_NS - 1)
    assert len(queue) == 0
    assert queue.repeats_ignored == 1
    queue.ask(7, 1, FAR, BERT, sent_at + 1)  # who was sent nothing has nothing to wait for
    assert len(queue) == 1
    queue.ask(7, 1, FAR, ANNA, sent_at + HOLD_OFF_NS)
    assert [r.to for _, r in drive(queue, sent_at, sent_at + NS_PER_S)] == [None]
    assert queue.repeats_ignored == 1


def test_with_little_time_left_every_question_is_heeded(queue):
    assert HOLD_OFF_URGENT_NS < TICK_NS
    deadline = START + GATHER_URGENT_NS
    for tick in range(1, 10):
        now = START + tick * TICK_NS
        queue.ask(7, 1, deadline, ANNA, now)
        assert take_all(queue, now) == [Repair(seq=7, index=0, to=ANNA)]
    queue.ask(7, 1, deadline, ANNA, now + HOLD_OFF_URGENT_NS - 1)
    assert queue.repeats_ignored == 1


def test_a_multicast_repair_holds_off_everybody(queue):
    queue.ask(7, 1, FAR, ANNA, START)
    queue.ask(7, 1, FAR, BERT, START)
    ((sent_at, repair),) = drive(queue, START, START + NS_PER_S)
    assert repair.to is None
    queue.ask(7, 1, FAR, CARL, sent_at + HOLD_OFF_NS - 1)
    assert len(queue) == 0
    queue.ask(7, 1, FAR, CARL, sent_at + HOLD_OFF_NS)
    assert len(queue) == 1


def test_the_earliest_play_at_first(queue):
    order = list(range(12))
    Random(2).shuffle(order)
    for seq in order:
        queue.ask(seq, 0b11, FAR + seq * NS_PER_S, ANNA, START)
    assert [r.seq for r in take_all(queue, START + GATHER_NS)] == [seq for seq in range(8) for _ in "ab"]


def test_what_was_lost_goes_before_backfill_unless_that_is_due_soon(queue):
    taken_at = START + GATHER_NS
    queue.ask(1, 1, taken_at + SOON_NS, ANNA, START, backfill=True)
    queue.ask(2, 1, taken_at + SOON_NS + 1, ANNA, START, backfill=True)
    queue.ask(3, 1, FAR, BERT, START)
    queue.ask(4, 1, FAR, ANNA, START, backfill=True)
    queue.ask(5, 1, FAR, BERT, START)
    assert [r.seq for r in take_all(queue, taken_at)] == [1, 3, 5, 2, 4]
    assert len(queue) == 0


def test_backfill_that_somebody_has_lost_is_a_repair(queue):
    for seq in (1, 2, 3):
        queue.ask(seq, 0b11, FAR, ANNA, START, backfill=True)
    queue.ask(3, 0b10, FAR, BERT, START)
    queue.ask(3, 0b10, FAR, CARL, START, backfill=True)
    assert len(queue) == 5
    taken = [(r.seq, r.index, r.to) for r in take_all(queue, START + GATHER_NS)]
    assert taken == [(3, 1, None), (1, 0, ANNA), (1, 1, ANNA), (2, 0, ANNA), (2, 1, ANNA), (3, 0, ANNA)]


def test_backfill_is_forgotten_like_everything(queue):
    queue.ask(1, 1, FAR, ANNA, START, backfill=True)
    queue.ask(2, 1, FAR, BERT, START, backfill=True)
    queue.ask(3, 1, START + NS_PER_S, BERT, START, backfill=True)
    queue.forget_listener(ANNA)
    queue.forget(2)
    assert len(queue) == 1
    assert take_all(queue, START + NS_PER_S) == []
    assert len(queue) == 0


def test_what_can_no_longer_be_heard_is_dropped(queue):
    queue.ask(7, 0b111, START + NS_PER_S, ANNA, START)
    queue.ask(8, 1, FAR, ANNA, START)
    assert [r.seq for r in take_all(queue, START + NS_PER_S)] == [8]
    assert len(queue) == 0


# --- budgets ----------------------------------------------------------------------------------------------------------


def test_one_listener_gets_its_rate():
    queue = RepairQueue(100, PLENTY, START)
    for seq in range(10):
        queue.ask(seq, (1 << 60) - 1, FAR, ANNA, START)
    log = drive(queue, START, START + GATHER_NS + 3 * NS_PER_S)
    assert 300 <= len(log) <= 300 + BURST + 100 * GATHER_NS // NS_PER_S + 1
    assert max(sum(1 for at, _ in log if at == now) for now, _ in log) <= BURST


def test_all_together_get_theirs_and_nobody_starves():
    queue = RepairQueue(PLENTY, 100, START)
    for seq in range(10):
        for listener, address in enumerate((ANNA, BERT, CARL)):
            queue.ask(3 * seq + listener, ((1 << 20) - 1) << 20, FAR, address, START)
    log = drive(queue, START, START + GATHER_NS + 3 * NS_PER_S)
    assert 300 <= len(log) <= 300 + BURST + 100 * GATHER_NS // NS_PER_S + 1
    assert max(sum(1 for at, _ in log if at == now) for now, _ in log) <= BURST


def test_a_greedy_listener_does_not_hold_up_a_modest_one():
    queue = RepairQueue(50, PLENTY, START)
    for seq in range(20):
        queue.ask(seq, (1 << 60) - 1, FAR, ANNA, START)
    queue.ask(500, 0b11, FAR, BERT, START)
    served = [at for at, repair in drive(queue, START, START + NS_PER_S) if repair.to == BERT]
    assert len(served) == 2
    assert served[-1] <= START + GATHER_NS + IDLE_NS


def test_what_several_wait_for_is_drawn_from_the_budget_of_whose_turn_it_is():
    queue = RepairQueue(50, PLENTY, START)
    for seq in range(20):
        for address in (ANNA, BERT):
            queue.ask(seq, (1 << 60) - 1, FAR, address, START)
    log = drive(queue, START, START + GATHER_NS + 2 * NS_PER_S)
    assert all(repair.to is None for _, repair in log)
    assert 200 <= len(log) <= 200 + 2 * BURST + 2


GREEDY = 100  # sockets of one machine
MORE = [(f"10.0.0.{i}", 5000) for i in range(10, 14)]


def served_beside(greedy, modest, *, backfill=False):
    """Return how long it takes until each of `modest` has 40 symbols while each of `greedy` asks for all, for ever."""
    queue, now, lacking = RepairQueue(800, 800, START), START, {by: set(range(40)) for by in modest}
    due_at = {seq: START + (3 if seq == 6 else 40) * NS_PER_S for seq in range(8)}
    done = {}
    for _ in range(400):
        for by in greedy:
            for seq in range(8):
                queue.ask(seq, (1 << 40) - 1, due_at[seq], by, now)
        if now >= START + NS_PER_S:
            for by, still in lacking.items():
                if still:
                    queue.ask(6, sum(1 << i for i in still), due_at[6], by, now, backfill=backfill)
        for _, repair in drive(queue, now, now + 25 * NS_PER_MS):
            for by, still in lacking.items():
                if repair.seq == 6 and repair.to in (None, by):
                    still.discard(repair.index)
        now += 25 * NS_PER_MS
        for by, still in lacking.items():
            if not still:
                done.setdefault(by, now - START - NS_PER_S)
        if len(done) == len(modest):
            break
    return max(done.values(), default=0) if len(done) == len(modest) else None


@pytest.mark.parametrize("backfill", [False, True])
def test_who_asks_for_everything_for_ever_gets_no_more_than_its_turns(backfill):
    alone = served_beside([], MORE, backfill=backfill)
    assert served_beside([ANNA], MORE, backfill=backfill) <= 2 * alone + 100 * NS_PER_MS


def test_a_machine_with_a_hundred_sockets_gets_the_turns_of_one():
    sockets = [("10.0.0.1", port) for port in range(GREEDY)]
    assert served_beside(sockets, MORE) <= served_beside([ANNA], MORE) + 100 * NS_PER_MS


def test_who_is_one_of_many_at_a_machine_has_its_turn_among_them():
    queue = RepairQueue(PLENTY, PLENTY, START)
    for seq in range(3):
        for address in (ANNA, CARL):
            queue.ask(10 * seq + address[1], 0b1, FAR, address, START)
    assert [r.to for r in take_all(queue, START + GATHER_NS)] == [ANNA, CARL] * 3


def test_who_is_not_reached_has_another_budget():
    queue = RepairQueue(PLENTY, 100, START)
    for port in range(3):
        queue.note_reach(("10.0.0.9", port), reached=False)
        for seq in range(40):
            queue.ask(seq, (1 << 190) - 1, FAR, ("10.0.0.9", port), START)
    queue.ask(99, (1 << 150) - 1, FAR, ANNA, START)
    log = drive(queue, START, START + GATHER_NS + NS_PER_S)
    others = [repair for _, repair in log if repair.to != ANNA]
    assert all(repair.to is not None for repair in others)
    assert UNREACHED_PER_S_MAX * 0.98 <= len(others) <= UNREACHED_PER_S_MAX + BURST + 1
    assert 100 <= len(log) - len(others) <= 100 + BURST + 1
    queue.set_rates(PLENTY, 0)
    assert drive(queue, START + GATHER_NS + NS_PER_S, START + GATHER_NS + 2 * NS_PER_S) == []


def test_budgets_follow_the_stream():
    queue = RepairQueue(100, 100, START)
    queue.ask(1, (1 << 190) - 1, FAR, ANNA, START)
    assert len(take_all(queue, START + GATHER_NS)) == BURST
    queue.set_rates(1000, 1000)
    assert len(drive(queue, START + GATHER_NS, START + GATHER_NS + NS_PER_S // 10)) >= 95


def test_a_share_of_nothing_is_no_repairs():
    queue = RepairQueue(200, 200, START)
    queue.set_rates(0, 200)
    queue.ask(1, 1, FAR, ANNA, START)
    queue.ask(1, 1, FAR, BERT, START)
    assert drive(queue, START, START + 2 * NS_PER_S) == []
    queue.set_rates(0, 0)
    queue.ask(2, 1, FAR, ANNA, START + 2 * NS_PER_S)
    queue.ask(2, 1, FAR, BERT, START + 2 * NS_PER_S)
    assert drive(queue, START + 2 * NS_PER_S, START + 3 * NS_PER_S) == []


@settings(max_examples=30)
@given(each=st.integers(20, 500), total=st.integers(20, 500), seed=st.integers(0, 1000))
def test_no_pattern_of_questions_gets_more_than_the_budgets(each, total, seed):
    rng = Random(seed)
    queue = RepairQueue(each, total, START)
    addresses = [(f"10.0.0.{i}", 5000) for i in range(5)]
    sent = []
    now = START
    for _ in range(150):
        now += rng.randrange(20 * NS_PER_MS)
        for _ in range(rng.randrange(4)):
            queue.ask(rng.randrange(30), rng.getrandbits(40), FAR, rng.choice(addresses), now)
        sent += take_all(queue, now)
    seconds = (now - START) / NS_PER_S
    assert len(sent) <= BURST + total * seconds + 1
    for address in addresses:
        assert sum(1 for repair in sent if repair.to == address) <= BURST + each * seconds + 1


# --- bounds -----------------------------------------------------------------------------------------------------------


def test_beyond_capacity_who_asks_most_gives_way(monkeypatch):
    monkeypatch.setattr(module, "ASKS_PENDING_MAX", 3)
    queue, later = RepairQueue(PLENTY, 0, START), START + GATHER_NS
    for seq in (1, 2, 3):
        queue.ask(seq, 0b11, FAR, ANNA, START)
    queue.ask(4, 0b11, FAR, CARL, START)  # at the same machine
    queue.ask(0, 0b11, FAR, ANNA, START)
    assert (len(queue), queue.overflows) == (3, 2)
    queue.ask(2, 0b11, FAR, BERT, START)
    assert (len(queue), queue.overflows) == (3, 3), "who is being gathered is not compared yet"
    assert queue.take(later) is None
    queue.ask(2, 0b11, FAR, BERT, later)
    queue.ask(4, 0b11, FAR, BERT, later)
    assert (len(queue), queue.overflows) == (3, 5)
    assert queue.take(later + GATHER_NS) is None
    queue.ask(5, 0b11, FAR, BERT, later)  # now Bert asks most
    queue.ask(1, 0b111, FAR, ANNA, later)  # is waiting already
    assert (len(queue), queue.overflows) == (3, 6)
    queue.set_rates(PLENTY, PLENTY)
    taken = take_all(queue, later + 2 * GATHER_NS)
    assert sorted(r.seq for r in taken) == [1] * 3 + [2] * 2 + [4] * 2
    queue.ask(3, 1, FAR, ANNA, later)
    assert len(queue) == 1


def test_forgetting_a_chunk(queue):
    queue.ask(1, 0b111, FAR, ANNA, START)
    queue.ask(2, 0b1, FAR, ANNA, START)
    queue.forget(1)
    queue.forget(99)
    assert len(queue) == 1
    assert [r.seq for _, r in drive(queue, START, START + NS_PER_S)] == [2]


def test_forgetting_a_listener_leaves_what_others_wait_for(queue):
    queue.ask(1, 0b11, FAR, ANNA, START)
    queue.ask(1, 0b01, FAR, BERT, START)
    queue.forget_listener(ANNA)
    assert len(queue) == 1
    assert [r.index for _, r in drive(queue, START, START + NS_PER_S)] == [0]


def test_budgets_are_kept_for_so_many_addresses_only(monkeypatch):
    """An address costs a forger of cookies nothing but a port number."""
    monkeypatch.setattr(module, "BUCKETS_MAX", 8)
    queue = RepairQueue(PLENTY, PLENTY, START)
    for port in range(100):
        queue.ask(port, 1, FAR, ("10.0.0.9", port), START + port * NS_PER_MS)
    sent = [repair for _, repair in drive(queue, START, START + NS_PER_S)]
    assert len(sent) == 100
    assert len(queue._each) <= 8
