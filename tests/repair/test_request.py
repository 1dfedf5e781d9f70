from itertools import pairwise
from random import Random
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radiosync.repair.request import (
    ANSWER_MIN_NS,
    ANSWERED_NS,
    FAR_NS,
    SYMBOLS_ASKED_MAX,
    TICK_NS,
    WANTS_MAX,
    WHOLE,
    RequestScheduler,
    truncated_exponential,
)
from radiosync.repair.respond import RepairQueue
from radiosync.repair.rounds import HOLD_OFF_NS, RETRY_NS_MAX, ROUND_NS_MAX, gather_ns
from radiosync.units import NS_PER_MS, NS_PER_S
from radiosync.wire.codec import DATAGRAM_MAX, NACK_RUN_MAX, encode
from radiosync.wire.messages import Nack, NackEntry

START = 50 * NS_PER_S
FAR = START + 45 * NS_PER_S


class Buffer:
    """What is missing, by chunk."""

    def __init__(self, missing=()):
        self.bitmaps = dict(missing)

    def __call__(self, seq, tier=0):
        return self.bitmaps.get(seq, 0)


def scheduler(missing, seed=1):
    buffer = Buffer(missing)
    return RequestScheduler(Random(seed), buffer), buffer


def asked(entries):
    """Return the chunks and symbols that NACK entries ask for: seq -> bitmap."""
    return {e.seq + i: WHOLE if e.run else e.bitmap for e in entries for i in range(max(1, e.run))}


def test_what_lies_beyond_the_horizon_waits():
    requests, _ = scheduler(dict.fromkeys(range(10), WHOLE))
    for seq in range(10):
        requests.want(seq, START + (seq + 1) * NS_PER_S, START, eager=True)
    requests.horizon_ns = 3 * NS_PER_S
    assert list(asked(requests.ask(START))) == [0, 1, 2]
    later = START + NS_PER_S // 2
    requests.horizon_ns = FAR_NS
    assert set(range(3, 10)) <= set(asked(requests.ask(later)))
    assert len(requests) == 10, "nothing is given up"


def drive(requests, until, answer=lambda entries, now: None):
    """Do what the scheduler wants until `until`; return when it asked for what."""
    log, turns = [], 0
    now = START
    while (at := requests.next_timeout()) is not None and at <= until:
        assert at >= now or turns == 0, "time runs on"
        now = max(at, now)
        entries = requests.ask(now)
        if entries:
            log.append((now, entries))
            answer(entries, now)
        turns += 1
        assert turns < 10_000, "it spins"
    return log


# --- the back-off -----------------------------------------------------------------------------------------------------


@given(longest=st.integers(0, NS_PER_S), group=st.integers(1, 10_000), seed=st.integers(0, 1 << 30))
def test_a_back_off_lies_within_its_bounds(longest, group, seed):
    assert 0 <= truncated_exponential(Random(seed), longest, group) <= longest


def test_the_density_of_back_offs_rises_exponentially():
    rng, longest = Random(3), 1_000_000
    waits = [truncated_exponential(rng, longest, 10) for _ in range(20_000)]
    counts = [sum(1 for w in waits if longest * i // 10 <= w < longest * (i + 1) // 10) for i in range(10)]
    # With lambda = ln 10 + 1 a tenth holds e^0.33 times what the one before holds.
    for low, high in pairwise(counts[3:]):
        assert 1.15 < high / low < 1.7
    assert counts[9] > 8 * counts[1]
    assert max(waits) <= longest


@pytest.mark.parametrize(("listeners", "most"), [(1, 1.0), (10, 2.5), (100, 9.0)])
def test_a_group_that_loses_the_same_datagram_asks_a_few_times(listeners, most):
    """The host answers by multicast 30 ms (its gathering, a round trip) after the first question it gets."""
    asking = []
    for seed in range(40):
        schedulers = [scheduler({5: 1}, 1000 * seed + i)[0] for i in range(listeners)]
        for requests in schedulers:
            requests.want(5, FAR, START)
        times = sorted(requests.next_timeout() for requests in schedulers)
        asking.append(sum(1 for at in times if at < times[0] + 30 * NS_PER_MS))
    assert mean(asking) <= most


# --- asking -----------------------------------------------------------------------------------------------------------


def test_it_waits_for_a_part_of_a_round_then_asks():
    waits = []
    for seed in range(200):
        requests, _ = scheduler({5: 0b11}, seed)
        requests.want(5, FAR, START)
        at = requests.next_timeout()
        assert requests.ask(at - 1) == ()
        waits.append(at - START)
    assert min(waits) >= 0
    assert ROUND_NS_MAX / 2 < mean(waits) < 0.95 * ROUND_NS_MAX
    assert max(waits) <= ROUND_NS_MAX


@pytest.mark.parametrize(
    ("slack_ns", "most_ns"),
    [(6 * NS_PER_S, 600 * NS_PER_MS), (2 * NS_PER_S, 200 * NS_PER_MS), (300 * NS_PER_MS, 50 * NS_PER_MS)],
)
def test_the_less_time_is_left_the_shorter_it_waits(slack_ns, most_ns):
    waits = []
    for seed in range(100):
        requests, _ = scheduler({5: 1}, seed)
        requests.want(5, START + slack_ns, START)
        waits.append(requests.next_timeout() - START)
    assert most_ns / 2 < max(waits) <= most_ns


def test_a_joiner_asks_at_once():
    requests, _ = scheduler({5: WHOLE})
    requests.want(5, FAR, START, eager=True)
    assert requests.next_timeout() == START
    assert requests.ask(START) == (NackEntry(seq=5, run=1),)


def test_nothing_wanted_is_nothing_asked():
    requests, _ = scheduler({})
    assert requests.next_timeout() is None
    assert requests.ask(START) == ()
    assert requests.nacks == 0


def test_one_datagram_per_tick_whatever_happens():
    requests, _ = scheduler(dict.fromkeys(range(2000), 0b1))
    for seq in range(2000):
        requests.want(seq, FAR + seq, START, eager=True)
    log = drive(requests, START + 10 * NS_PER_S)
    times = [at for at, _ in log]
    assert all(b - a >= TICK_NS for a, b in pairwise(times))
    assert requests.nacks == len(log)
    assert set().union(*(asked(entries) for _, entries in log)) == set(range(2000))


def test_the_earliest_deadline_first():
    requests, _ = scheduler(dict.fromkeys(range(40), (1 << 100) - 1))
    order = list(range(40))
    Random(5).shuffle(order)
    for place, seq in enumerate(order):
        requests.want(seq, FAR + place * NS_PER_MS, START, eager=True)
    log = drive(requests, START + 10 * TICK_NS)
    assert [seq for _, entries in log for seq in asked(entries)][:40] == order


def test_whole_chunks_in_a_row_are_one_entry():
    requests, _ = scheduler({**dict.fromkeys([3, 4, 5, 7, 8], WHOLE), 6: 0b10})
    for seq in (3, 4, 5, 6, 7, 8):
        requests.want(seq, FAR + seq, START, eager=True)
    assert requests.ask(START) == (
        NackEntry(seq=3, run=3),
        NackEntry(seq=6, bitmap=0b10),
        NackEntry(seq=7, run=2),
    )


@settings(max_examples=40)
@given(data=st.data(), per_chunk=st.integers(1, 192))
def test_what_is_asked_fits_a_datagram_and_a_budget(data, per_chunk):
    bitmaps = st.just(WHOLE) | st.integers(1, (1 << 192) - 1)
    missing = data.draw(st.dictionaries(st.integers(0, 400), bitmaps, min_size=1, max_size=300))
    requests, _ = scheduler(missing)
    requests.symbols_per_chunk = per_chunk
    for seq in missing:
        requests.want(seq, FAR + seq, START, eager=True)
    for tick in range(5):
        entries = requests.ask(START + tick * TICK_NS)
        assert len(encode(Nack(session=1, cookie=2, listener_id=3, entries=entries))) <= DATAGRAM_MAX
        symbols = [per_chunk if bitmap == WHOLE else bitmap.bit_count() for bitmap in asked(entries).values()]
        assert sum(symbols) <= SYMBOLS_ASKED_MAX or len(symbols) == 1
        assert all(missing[seq] == bitmap for seq, bitmap in asked(entries).items())
        assert all(entry.run <= NACK_RUN_MAX for entry in entries)


def test_a_chunk_larger_than_the_budget_is_still_asked_for():
    requests, _ = scheduler({5: WHOLE})
    requests.symbols_per_chunk = SYMBOLS_ASKED_MAX + 1
    requests.want(5, FAR, START, eager=True)
    assert requests.ask(START)


def test_it_asks_again_until_the_deadline_and_never_after():
    requests, _ = scheduler({5: 0b100})
    requests.rtt_ns = 8 * NS_PER_MS
    deadline = START + 8 * NS_PER_S
    requests.want(5, deadline, START)
    times = [at for at, _ in drive(requests, deadline + NS_PER_S)]
    assert len(times) > 20
    last = deadline - requests.rtt_ns - ANSWER_MIN_NS
    assert last - 100 * NS_PER_MS < times[-1] <= last
    gaps = [b - a for a, b in pairwise(times)]
    assert min(gaps) >= max(TICK_NS, requests.rtt_ns), "an answer has its time to come"
    most_ns = gather_ns(8 * NS_PER_S) + HOLD_OFF_NS + 3 * RETRY_NS_MAX // 2
    assert max(gaps) <= 8 * NS_PER_MS + most_ns + TICK_NS
    # The rounds get shorter as time runs out.
    assert gaps[-1] < 100 * NS_PER_MS < mean(gaps[:3])
    assert requests.given_up == 1
    assert len(requests) == 0
    assert requests.next_timeout() is None


def test_a_long_round_trip_is_waited_for():
    requests, _ = scheduler({5: 1})
    requests.rtt_ns = 300 * NS_PER_MS
    requests.want(5, START + 20 * NS_PER_S, START)
    times = [at for at, _ in drive(requests, START + 10 * NS_PER_S)]
    assert min(b - a for a, b in pairwise(times)) > requests.rtt_ns


@pytest.mark.parametrize("slack_s", [0.4, 0.7, 3.0, 40.0])
@pytest.mark.parametrize("rtt_ms", [0, 1, 15])
def test_no_question_is_lost_on_the_host_while_answers_are(slack_s, rtt_ms):
    """Each comes when the host has answered the one before, and heeds this one."""
    requests, _ = scheduler({5: 0b101})
    requests.rtt_ns = rtt_ms * NS_PER_MS
    deadline = START + round(slack_s * NS_PER_S)
    host = RepairQueue(100_000, 100_000, START)
    way_ns, answers = requests.rtt_ns // 2, 0

    def ask(entries, now):
        nonlocal answers
        at = now + way_ns
        while (send_at := host.next_timeout()) is not None and send_at <= at:
            answers += host.take(send_at) is not None
        host.ask(5, entries[0].bitmap, deadline, ("10.0.0.1", 1), at)

    requests.want(5, deadline, START)
    log = drive(requests, deadline, ask)
    while (send_at := host.next_timeout()) is not None:
        answers += host.take(send_at) is not None
    assert len(log) > 5
    assert host.repeats_ignored == 0
    assert answers == 2 * len(log)


def test_who_hears_an_answer_waits_for_the_rest_of_it():
    requests, _ = scheduler({5: 0b11, 6: 0b11, 7: 0b11})
    for seq, slack_ns in ((5, 45 * NS_PER_S), (6, 45 * NS_PER_S), (7, 60 * NS_PER_MS)):
        requests.want(seq, START + slack_ns, START, eager=True)
    for seq in (5, 7, 99):
        requests.heard(seq, START)
    log = [(at, seq) for at, entries in drive(requests, START + ANSWERED_NS + TICK_NS) for seq in asked(entries)]
    assert log[0] == (START, 6)
    assert min(at for at, seq in log if seq == 7) <= START + 25 * NS_PER_MS, "unless there is no time"
    (answered_at,) = (at for at, seq in log if seq == 5)
    assert answered_at >= START + ANSWERED_NS


def test_what_has_come_is_not_asked_for_again():
    requests, buffer = scheduler({5: 0b111, 6: WHOLE})
    requests.want(5, FAR, START, eager=True)
    requests.want(6, FAR + 1, START, eager=True)
    requests.ask(START)
    buffer.bitmaps = {5: 0b010}  # the rest and all of 6 have arrived, 6 without anybody saying so
    requests.forget(17)  # never wanted
    log = drive(requests, START + 6 * NS_PER_S)
    assert log
    assert all(asked(entries) == {5: 0b010} for _, entries in log)
    assert requests.given_up == 0
    requests.forget(5)
    assert requests.next_timeout() is None


def test_a_deadline_may_move():
    requests, _ = scheduler({5: 1})
    requests.want(5, START + 100 * NS_PER_MS, START, eager=True)
    requests.want(5, FAR, START)
    assert len(requests) == 1
    assert [at for at, _ in drive(requests, START + 5 * NS_PER_S)][-1] > START + NS_PER_S
    requests.clear()
    assert len(requests) == 0


def test_too_many_wants_are_refused_and_counted():
    requests, _ = scheduler({})
    for seq in range(WANTS_MAX + 3):
        requests.want(seq, FAR, START)
    requests.want(0, FAR + 1, START)
    assert len(requests) == WANTS_MAX
    assert requests.overflows == 3


@settings(max_examples=60)
@given(
    loss=st.floats(0, 0.6),
    seed=st.integers(0, 10_000),
    slack_s=st.floats(1, 40),
)
def test_bad_networks_are_outlasted(loss, seed, slack_s):
    """Question and answer are each lost so often; a round of half a second or less leaves many of them."""
    requests, buffer = scheduler({5: 0b1111}, seed)
    world = Random(seed)
    requests.rtt_ns = 5 * NS_PER_MS

    def answer(entries, now):
        for bit in range(4):
            if world.random() > loss and world.random() > loss:
                buffer.bitmaps[5] &= ~(1 << bit)
        if not buffer.bitmaps[5]:
            requests.forget(5)

    deadline = START + int(slack_s * NS_PER_S)
    requests.want(5, deadline, START)
    log = drive(requests, deadline + NS_PER_S, answer)
    assert all(at < deadline for at, _ in log)
    # 1 - (1 - loss)² to the power of the rounds: 8 in the last second, before that one a second.
    rounds = 8 + max(0, slack_s - 3)
    if (1 - (1 - loss) ** 2) ** rounds < 1e-6:
        assert requests.given_up == 0
        assert buffer.bitmaps[5] == 0


# --- anything ---------------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(seed=st.integers(0, 1 << 30))
def test_whatever_happens_it_asks_in_time_in_order_and_no_more_than_it_may(seed):
    rng = Random(seed)
    requests, buffer = scheduler({}, seed)
    deadlines, asked_at, now = {}, [], START
    for _ in range(120):
        now += rng.choice((0, 0, NS_PER_MS, TICK_NS, 700 * NS_PER_MS))
        seq, slack_ns = rng.randrange(60), rng.randrange(-NS_PER_S, 8 * NS_PER_S)
        what = rng.choices(("want", "arrive", "move", "way", "size", "forget"), (12, 2, 1, 1, 1, 1))[0]
        if what == "want":
            deadlines[seq] = now + slack_ns
            buffer.bitmaps[seq] = rng.choice((WHOLE, 1 << rng.randrange(192), rng.getrandbits(192) | 1))
            requests.want(seq, deadlines[seq], now, eager=rng.random() < 0.5)
        elif what == "arrive":
            buffer.bitmaps[seq] = 0
        elif what == "move":
            moved = {each: at + slack_ns for each, at in deadlines.items() if each != seq}
            requests.reschedule(moved.get, now)
            deadlines = moved
        elif what == "way":
            requests.rtt_ns = abs(slack_ns) // 40
        elif what == "size":
            requests.symbols_per_chunk = 1 + seq
        else:
            requests.forget(seq)
            deadlines.pop(seq, None)
        entries = requests.ask(now)
        symbols = [
            requests.symbols_per_chunk if bits == WHOLE else bits.bit_count() for bits in asked(entries).values()
        ]
        assert sum(symbols) <= SYMBOLS_ASKED_MAX or len(symbols) == 1
        assert len(encode(Nack(session=1, cookie=2, listener_id=3, entries=entries))) <= DATAGRAM_MAX
        for each, bits in asked(entries).items():
            assert bits == buffer.bitmaps[each], "what is missing and no more"
            assert deadlines[each] - now >= requests.rtt_ns + ANSWER_MIN_NS, "an answer comes in time"
        due = [deadlines[each] for each in asked(entries)]
        assert due == sorted(due), "the earliest first"
        asked_at += [now] if entries else []
        assert len(requests) <= len(deadlines)
        at = requests.next_timeout()
        assert (at is None) == (len(requests) == 0)
    assert all(b - a >= TICK_NS for a, b in pairwise(asked_at))
    assert requests.nacks == len(asked_at)
