from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radiosync.host.pacer import BURST, DATAGRAMS_PER_S_MAX, GATHER_NS_MAX, GATHERED, START_FACTOR, STEADY_SPEED, Pacer
from radiosync.units import NS_PER_MS, NS_PER_S

CHUNK_NS = NS_PER_S // 2


def send(pacer, chunk, now, *, filling, starting=False, most=10_000):
    """Send what the pacer grants at `now`; return how many."""
    sent = 0
    while sent < most and pacer.granted(now):
        speed = pacer.speed(starting=starting, filling=filling)
        pacer.sent(chunk, CHUNK_NS, now, due_at=0, speed=speed)
        sent += 1
    return sent


def run(pacer, chunk, start, seconds, *, filling, starting=False):
    """Send at the very times it asks for; return them."""
    times, now = [], start
    while now < start + seconds * NS_PER_S:
        assert send(pacer, chunk, now, filling=filling, starting=starting, most=1) == 1
        times.append(now)
        now = pacer.next_at(now)
        assert not pacer.granted(now - 1)
    return times


@pytest.mark.parametrize(
    ("starting", "filling", "speed"),
    [
        (False, True, 4.0),
        (False, False, STEADY_SPEED),
        (True, True, START_FACTOR * 4.0),
        (True, False, START_FACTOR * 4.0),
    ],
)
def test_symbols_leave_evenly_at_their_speed(kit, starting, filling, speed):
    times = run(Pacer(4.0), kit.chunk(symbols=44), kit.NOW, 10, filling=filling, starting=starting)
    gaps = {b - a for a, b in pairwise(times)}
    assert gaps == {round(CHUNK_NS / 44 / speed)}
    assert len(times) == pytest.approx(10 * 88 * speed, rel=1e-3)


@pytest.mark.parametrize("starting", [False, True])
def test_no_format_exceeds_what_a_listener_takes_in(kit, starting):
    times = run(Pacer(64.0), kit.chunk(symbols=192), kit.NOW, 2, filling=True, starting=starting)
    assert len(times) <= 2 * DATAGRAMS_PER_S_MAX + 1


def test_the_first_symbol_leaves_at_once(kit):
    pacer = Pacer(4.0)
    assert pacer.next_at(kit.NOW) == kit.NOW
    assert send(pacer, kit.chunk(), kit.NOW, filling=False) == 1


@pytest.mark.parametrize("stall_ms", [1, 50, 1_000, 60_000])
def test_after_a_stall_it_catches_up_by_a_burst_at_most(kit, stall_ms):
    pacer, chunk = Pacer(4.0), kit.chunk(symbols=44)
    step = round(CHUNK_NS / 44 / STEADY_SPEED)
    send(pacer, chunk, kit.NOW, filling=False)
    now = kit.NOW + stall_ms * NS_PER_MS
    assert send(pacer, chunk, now, filling=False) == min(stall_ms * NS_PER_MS // step, BURST)
    assert now < pacer.next_at(now) <= now + step


@settings(max_examples=100)
@given(seed=st.integers(0, 1 << 20), symbols=st.integers(1, 192), filling=st.booleans(), fill=st.floats(1.1, 64))
def test_never_more_than_a_burst_at_once_nor_than_the_average(kit, seed, symbols, filling, fill):
    rng = Random(seed)
    pacer, chunk = Pacer(fill), kit.chunk(symbols=symbols)
    step = max(round(CHUNK_NS / symbols / (fill if filling else STEADY_SPEED)), NS_PER_S // DATAGRAMS_PER_S_MAX)
    now, total = kit.NOW, 0
    for _ in range(100):
        now += rng.choice([0, 1, step // 3, step, 2 * step, 10 * step, 100 * step])
        sent = send(pacer, chunk, now, filling=filling)
        assert sent <= BURST
        total += sent
        assert total <= (now - kit.NOW) // step + 1
        assert pacer.next_at(now) > now


@settings(max_examples=50)
@given(seed=st.integers(0, 1 << 20))
def test_a_mixture_of_chunks_stays_near_a_burst(kit, seed):
    """Silence makes one symbol of a chunk, dense music a hundred; where they meet their bursts may add up."""
    rng = Random(seed)
    pacer, now = Pacer(4.0), kit.NOW
    for _ in range(100):
        now += rng.randrange(3 * NS_PER_S)
        sent = 0
        while pacer.granted(now):
            chunk, speed = (
                kit.chunk(symbols=rng.choice([1, 44, 192])),
                pacer.speed(starting=False, filling=rng.random() < 0.5),
            )
            pacer.sent(chunk, CHUNK_NS, now, due_at=0, speed=speed)
            sent += 1
        assert sent <= 2 * BURST


def test_a_loop_that_is_a_little_late_loses_nothing(kit):
    """It wakes up to ten steps late; what it missed goes out at once, and the average stays."""
    rng = Random(3)
    pacer, chunk = Pacer(4.0), kit.chunk(symbols=44)
    step = round(CHUNK_NS / 44 / STEADY_SPEED)
    now, total = kit.NOW, 0
    for _ in range(500):
        total += send(pacer, chunk, now, filling=False)
        now = pacer.next_at(now) + rng.randrange(10 * step)
    total += send(pacer, chunk, now, filling=False)
    assert total == (now - kit.NOW) // step + 1


def test_time_in_which_nothing_could_leave_is_not_made_up_for(kit):
    pacer, chunk = Pacer(4.0), kit.chunk(symbols=44)
    send(pacer, chunk, kit.NOW, filling=False)
    due_at = kit.NOW + NS_PER_S
    step = round(CHUNK_NS / 44 / STEADY_SPEED)
    pacer.sent(chunk, CHUNK_NS, due_at + step // 2, due_at=due_at, speed=STEADY_SPEED)
    assert pacer.next_at(due_at) == due_at + step


def test_a_full_buffer_is_kept_full_with_few_wake_ups(kit):
    """A loop that comes as late as it may finds four symbols at once, and none is late on average."""
    pacer, chunk, now, groups = Pacer(4.0), kit.chunk(symbols=44), kit.NOW, []
    while now < kit.NOW + 10 * NS_PER_S:
        groups.append(send(pacer, chunk, now, filling=False))
        now = pacer.next_at(now) + pacer.gather_ns
    assert set(groups[1:]) == {GATHERED}
    assert sum(groups) == pytest.approx(10 * 2 * 44 * STEADY_SPEED, abs=GATHERED)


def test_who_fills_a_buffer_gathers_nothing(kit):
    pacer = Pacer(4.0)
    send(pacer, kit.chunk(symbols=44), kit.NOW, filling=True)
    assert pacer.gather_ns == 0


def test_gathering_is_bounded(kit):
    pacer = Pacer(4.0)
    send(pacer, kit.chunk(symbols=2), kit.NOW, filling=False)
    assert pacer.gather_ns == GATHER_NS_MAX
