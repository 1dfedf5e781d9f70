import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radiosync.clock import poller as module
from radiosync.clock.poller import ClockPoller
from radiosync.units import HostNs, LocalNs
from radiosync.wire import ntp

MS = 1_000_000
NS = 1_000_000_000
START = 77 * NS
OFFSET = 1_795_000_000 * NS
DELAY = 100_000


def answer(question, now, offset=OFFSET):
    return ntp.respond(
        question,
        received_at=HostNs(now + DELAY + offset),
        sent_at=HostNs(now + DELAY + 5_000 + offset),
    )


def ask(poller):
    """Let the poller ask as soon as it wants; return the question and when it left."""
    now = poller.next_timeout()
    (question,) = poller.handle_timeout(now)
    poller.note_sent(question, now)
    return question, now


def drive(poller, until, answering=lambda now: True, settles=1):
    """Run the poller until `until`; return when it asked, and the exchanges, of which `settles` settle the clock."""
    times, exchanges = [], []
    while poller.next_timeout() < until:
        question, now = ask(poller)
        times.append(now)
        if answering(now):
            exchanges.append(poller.receive_datagram(answer(question, now), now + 2 * DELAY + 5_000))
            poller.settled = len(exchanges) >= settles
    return times, exchanges


@pytest.fixture
def poller():
    return ClockPoller(random.Random(1), START)


def test_the_schedule(poller):
    times, exchanges = drive(poller, START + 60 * NS)
    assert times[:16] == [START + 20 * MS * i for i in range(16)]
    gaps = [(b - a) / MS for a, b in pairwise(times[15:])]
    learning = [g for g, t in zip(gaps, times[15:], strict=False) if t < START + 10 * NS]
    steady = [g for g, t in zip(gaps, times[15:], strict=False) if t >= START + 10 * NS]
    assert 35 <= len(learning) <= 43
    assert all(200 <= g <= 300 for g in learning)
    assert 45 <= len(steady) <= 55
    assert all(800 <= g <= 1200 for g in steady)
    assert max(steady) - min(steady) > 200  # listeners don't march in step
    assert None not in exchanges
    assert poller.counters.bursts == 1


@pytest.mark.parametrize(("settles", "count"), [(1, 16), (15, 16), (16, 17), (50, 51), (95, 96), (1000, 96)])
def test_the_opening_lasts_until_the_clock_is_settled(poller, settles, count):
    times, _ = drive(poller, START + 5 * NS, settles=settles)
    assert times[:count] == [START + 20 * MS * i for i in range(count)]
    assert times[count] - times[count - 1] >= 200 * MS


def test_a_host_that_does_not_answer_is_not_asked_for_long(poller):
    times, _ = drive(poller, START + 4 * NS, answering=lambda now: False)
    assert times[:24] == [START + 20 * MS * i for i in range(24)]
    assert times[24] - times[23] >= 200 * MS


def test_an_exchange_has_the_four_times(poller):
    question, now = ask(poller)
    poller.note_sent(question, now + 7)  # the driver stamps again just before it sends
    exchange = poller.receive_datagram(answer(question, now), now + 300_000)
    assert exchange.sent_at == now + 7
    assert exchange.host_received_at == now + DELAY + OFFSET
    assert exchange.host_sent_at == now + DELAY + 5_000 + OFFSET
    assert exchange.received_at == now + 300_000
    assert poller.counters.replies == poller.counters.requests == 1


def test_nothing_is_asked_before_its_time_nor_twice_to_catch_up(poller):
    _, now = ask(poller)
    assert poller.next_timeout() == now + 20 * MS
    assert poller.handle_timeout(now + 20 * MS - 1) == []
    assert len(poller.handle_timeout(now + 10_000 * MS)) == 1
    assert poller.next_timeout() > now + 10_000 * MS


def test_nonces_are_random_and_never_used_again():
    def nonces(seed):
        poller = ClockPoller(random.Random(seed), START)
        return [ntp.nonce_of(ask(poller)[0]) for _ in range(200)]

    assert len(set(nonces(1)) | set(nonces(2))) == 400
    assert nonces(1) == nonces(1)
    assert sum(n.bit_count() for n in nonces(1)) == pytest.approx(200 * 32, rel=0.05)


def test_a_zero_nonce_is_never_sent():
    class Zeros(random.Random):
        draws = iter((0, 0, 5))

        def getrandbits(self, k):
            return next(self.draws)

    question, _ = ask(ClockPoller(Zeros(), START))
    assert ntp.nonce_of(question) == 5


def test_silence_brings_bursts_ever_more_rarely(poller):
    times, _ = drive(poller, START + 120 * NS, answering=lambda now: now < START + 20 * NS)
    bursts = [t for t, nxt in pairwise(times) if nxt - t == 20 * MS and t > START + NS]
    starts = [t for i, t in enumerate(bursts) if i == 0 or t - bursts[i - 1] > NS]
    assert len(bursts) == 7 * len(starts)  # eight questions have seven gaps
    last_answer = max(t for t in times if t < START + 20 * NS)
    assert [round((t - last_answer) / NS) for t in starts] == pytest.approx([5, 15, 35, 75], abs=4)


def test_however_long_the_silence_the_next_burst_is_never_far(poller):
    times, _ = drive(poller, START + 600 * NS, answering=lambda now: now < START + 20 * NS)
    bursts = [t for t, nxt in pairwise(times) if nxt - t == 20 * MS and t > START + 20 * NS]
    starts = [t for i, t in enumerate(bursts) if i == 0 or t - bursts[i - 1] > NS]
    gaps = [b - a for a, b in pairwise(starts)]
    assert gaps[-1] == pytest.approx(module.SILENCE_NS_MAX, abs=2 * NS)
    assert max(gaps) < module.SILENCE_NS_MAX + 2 * NS


def test_the_first_answer_after_silence_brings_a_burst(poller):
    back_at = START + 100 * NS
    times, _ = drive(poller, START + 110 * NS, answering=lambda now: not START + 20 * NS < now < back_at)
    after = [t for t in times if t >= back_at]
    assert [b - a for a, b in pairwise(after[1:9])] == [20 * MS] * 7
    assert after[9] - after[8] > 700 * MS


def test_restart_burst_begins_the_schedule_again(poller):
    drive(poller, START + 30 * NS)
    now = START + 30 * NS
    poller.restart_burst(now)
    times, _ = drive(poller, now + 20 * NS)
    assert times[:16] == [now + 20 * MS * i for i in range(16)]
    assert 35 <= sum(now + 500 * MS < t < now + 10 * NS for t in times) <= 45
    assert poller.counters.bursts == 2


def test_duplicates_late_and_unknown_answers_are_counted_and_dropped(poller):
    question, now = ask(poller)
    reply = answer(question, now)
    assert poller.receive_datagram(reply, now + MS) is not None
    assert poller.receive_datagram(reply, now + 2 * MS) is None
    assert poller.counters.duplicates == 1
    question, now = ask(poller)
    assert poller.receive_datagram(answer(question, now), now + NS + 1) is None
    assert poller.counters.late == 1
    assert poller.receive_datagram(answer(ntp.request(1234), now), now + MS) is None
    assert poller.counters.unknown == 1
    assert poller.counters.replies == 1


@pytest.mark.parametrize("bit", [8 * 39, 8 * 46 + 7], ids=["T2", "T3"])
def test_an_answer_that_is_damaged_by_less_than_the_round_trip_is_dropped(poller, bit):
    """Nothing contradicts it: it would break the bound for as long as it is remembered."""
    question, now = ask(poller)
    true = answer(question, now)
    damaged = (int.from_bytes(true, "big") ^ 1 << (8 * len(true) - 1 - bit)).to_bytes(len(true), "big")
    assert poller.receive_datagram(damaged, now + MS) is None
    assert (poller.counters.bogus, poller.counters.replies) == (1, 0)
    assert poller.receive_datagram(true, now + 2 * MS) is not None


def test_an_answer_to_a_question_that_was_never_stamped_is_dropped(poller):
    (question,) = poller.handle_timeout(START)
    assert poller.receive_datagram(answer(question, START), START + MS) is None
    assert poller.counters.unstamped == 1


@pytest.mark.parametrize(
    ("byte", "value"),
    [(0, 0x23), (0, 0x25), (0, 0xE4), (1, 0), (1, 16), (32, 0xFF)],
    ids=["a question", "a broadcast", "unsynchronised", "kiss-o'-death", "stratum 16", "received after it was sent"],
)
def test_bogus_answers_are_dropped_and_a_true_one_may_still_come(poller, byte, value):
    question, now = ask(poller)
    true = answer(question, now)
    bogus = bytearray(true)
    bogus[byte] = value
    bogus[12:16] = ntp.LOCAL_REFERENCE_ID  # of a server that gives no CRC
    assert poller.receive_datagram(bytes(bogus), now + MS) is None
    assert poller.counters.bogus == 1
    assert poller.receive_datagram(true, now + MS) is not None


def test_an_answer_from_before_the_question_is_bogus(poller):
    question, now = ask(poller)
    assert poller.receive_datagram(answer(question, now), now - 1) is None
    assert poller.counters.bogus == 1


def test_the_table_of_questions_is_bounded(poller):
    questions = [ask(poller) for _ in range(module.OUTSTANDING_MAX + 10)]
    assert poller.outstanding == module.OUTSTANDING_MAX
    assert poller.counters.evicted == 10
    question, now = questions[0]  # the oldest went
    assert poller.receive_datagram(answer(question, now), now + MS) is None
    assert poller.counters.unknown == 1
    question, now = questions[-1]
    assert poller.receive_datagram(answer(question, now), now + MS) is not None


def test_the_memory_of_answered_questions_is_bounded(poller):
    first, first_at = ask(poller)
    poller.receive_datagram(answer(first, first_at), first_at + MS)
    for _ in range(module.ANSWERED_MAX):
        question, now = ask(poller)
        poller.receive_datagram(answer(question, now), now + MS)
    poller.receive_datagram(answer(first, first_at), first_at + MS)
    assert (poller.counters.duplicates, poller.counters.unknown) == (0, 1)


@given(data=st.binary(max_size=100) | st.binary(min_size=48, max_size=48))
def test_no_bytes_raise(data):
    poller = ClockPoller(random.Random(1), START)
    ask(poller)
    assert poller.receive_datagram(data, START + MS) is None
    assert poller.outstanding == 1


@given(data=st.binary(min_size=24, max_size=24), head=st.binary(min_size=24, max_size=24))
def test_no_bytes_with_the_right_nonce_raise(data, head):
    poller = ClockPoller(random.Random(1), START)
    question, _ = ask(poller)
    exchange = poller.receive_datagram(head + question[40:48] + data[:16], START + MS)
    if exchange is not None:
        assert exchange.host_sent_at >= exchange.host_received_at


def test_a_suspicion_asks_a_burst_at_most_every_five_seconds() -> None:
    poller = ClockPoller(random.Random(1), LocalNs(0))
    now = LocalNs(20_000_000_000)
    while poller.next_timeout() <= now:
        poller.handle_timeout(poller.next_timeout())
    asked = poller.counters.requests
    for _ in range(100):
        poller.hurry(now)
        poller.handle_timeout(now)
        now = LocalNs(now + 30_000_000)
    assert poller.counters.requests - asked <= 8 + 4


def test_the_steady_period_is_a_parameter() -> None:
    poller = ClockPoller(random.Random(1), LocalNs(0), steady_ns=5_000_000_000)
    times = []
    while poller.next_timeout() < 60_000_000_000:
        times.append(poller.next_timeout())
        poller.handle_timeout(poller.next_timeout())
        poller._reburst_at = LocalNs(1 << 62)  # as if answers came
    steady = [b - a for a, b in pairwise(times) if a > 12_000_000_000]
    assert 3_900_000_000 < min(steady) <= max(steady) < 6_100_000_000


SPANS = ((START + 12 * NS, START + 27 * NS), (START + 40 * NS, START + 70 * NS))


@pytest.mark.parametrize(("excess_ms", "per_s"), [(0.0, 1.0), (2.0, 1.0), (4.0, 2.0), (8.0, 4.0), (500.0, 4.0)])
def test_where_delays_scatter_more_is_asked(poller, excess_ms: float, per_s: float) -> None:
    poller.excess_ns = excess_ms * MS
    times, _ = drive(poller, START + 70 * NS)
    assert poller.eager == (per_s > 1)
    learning, steady = ([t for t in times if low <= t < high] for low, high in SPANS)
    assert len(steady) / 30 == pytest.approx(per_s, rel=0.1)
    assert len(learning) / 15 == pytest.approx(4 * min(excess_ms / 2, 8) if excess_ms > 2 else 1.0, rel=0.1), (
        "and for longer"
    )


def test_a_host_with_many_noisy_listeners_is_not_asked_more_often_than_it_wants(poller):
    poller.least_ns, poller.excess_ns = NS // 5, 100.0 * module.CALM_NS
    times, _ = drive(poller, START + 40 * NS)
    asked = [t for t in times if t >= START + 5 * NS]
    assert min(b - a for a, b in pairwise(asked)) >= 0.8 * NS // 5


def test_a_host_with_many_listeners_is_asked_less_often_once_it_is_known(poller):
    poller.least_ns, poller.excess_ns = 4 * NS, 100.0 * module.CALM_NS
    times, exchanges = drive(poller, START + 100 * NS)
    assert 50 <= sum(t < START + 10 * NS for t in times) <= 62, "learning goes on as ever"
    gaps = [b - a for a, b in pairwise(t for t in times if t >= START + 11 * NS)]
    assert min(gaps) >= 0.8 * 4 * NS
    assert poller.counters.bursts == 1, "and an answer in four seconds is no silence"
    assert None not in exchanges


def test_no_host_makes_it_ask_more_rarely_than_can_be_configured(poller):
    poller.least_ns = 3600 * NS
    times, _ = drive(poller, START + 100 * NS)
    assert max(b - a for a, b in pairwise(times)) <= 1.2 * module.LEAST_NS_MAX
