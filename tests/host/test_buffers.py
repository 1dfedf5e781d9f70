from dataclasses import replace

import pytest

from radiosync.host.buffers import CHUNKS_AHEAD_MAX, History, PreBuffer
from radiosync.units import NS_PER_MS, NS_PER_S

RATE = 8_000
CHUNK = 800  # frames: 0.1 s


@pytest.fixture
def prebuffer():
    return PreBuffer(RATE, CHUNK)  # a second


@pytest.fixture
def history():
    return History(2 * RATE)


# --- pre-buffer -------------------------------------------------------------------------------------------------------


def test_a_chunk_is_due_once_it_lies_within_the_buffer(prebuffer, kit):
    assert prebuffer.due(0) is None
    assert prebuffer.frames_until_due(0) is None
    assert prebuffer.first() is None
    chunk = kit.chunk(30)  # at 3 s
    prebuffer.add(chunk)
    assert prebuffer.frames_until_due(0) == 2 * RATE
    assert prebuffer.first() is chunk
    assert prebuffer.due(2 * RATE - 1) is None
    assert prebuffer.frames_until_due(2 * RATE - 1) == 1
    assert prebuffer.due(2 * RATE) is chunk
    assert prebuffer.frames_until_due(5 * RATE) == 0


def test_symbols_come_in_order_and_the_last_is_marked(prebuffer, kit):
    chunks = [kit.chunk(0, symbols=3), kit.chunk(1, symbols=1), kit.chunk(2, symbols=2)]
    for chunk in chunks:
        prebuffer.add(chunk)
    taken = [prebuffer.take_symbol() for _ in range(6)]
    assert [(chunk.header.seq, index, last) for chunk, index, last in taken] == [
        *[(0, 0, False), (0, 1, False), (0, 2, True)],
        *[(1, 0, True), (2, 0, False), (2, 1, True)],
    ]
    assert len(prebuffer) == 0


def test_it_asks_for_the_buffer_and_two_chunks_more(prebuffer):
    """What is ready may reach one frame less than that before the next is asked for."""
    full = RATE + CHUNKS_AHEAD_MAX * CHUNK
    assert prebuffer.frames_until_wanted(5 * RATE, 5 * RATE - full) == 1
    assert prebuffer.frames_until_wanted(5 * RATE, 5 * RATE - full + 1) == 0
    assert prebuffer.frames_until_wanted(5 * RATE, 0) == 5 * RATE - full + 1
    assert prebuffer.frames_until_wanted(5 * RATE, 9 * RATE) == 0


def test_another_length_counts_at_once(prebuffer, kit):
    prebuffer.add(kit.chunk(15))  # at 1.5 s
    assert prebuffer.frames_until_due(0) == RATE // 2
    prebuffer.resize(2 * RATE, 2 * CHUNK)
    assert prebuffer.frames_until_due(0) == 0
    full = 2 * RATE + CHUNKS_AHEAD_MAX * 2 * CHUNK
    assert prebuffer.frames_until_wanted(full, 0) == 1
    assert prebuffer.frames_until_wanted(full - 1, 0) == 0
    prebuffer.resize(RATE, CHUNK)
    assert prebuffer.frames_until_due(0) == RATE // 2


def test_what_can_no_longer_be_heard_is_dropped_even_half_sent(prebuffer, kit):
    for seq in range(4):
        prebuffer.add(kit.chunk(seq))
    prebuffer.take_symbol()
    assert [c.header.seq for c in prebuffer.drop_late(2 * CHUNK - 1)] == [0]
    assert [c.header.seq for c in prebuffer.drop_late(3 * CHUNK)] == [1, 2]
    chunk, index, _ = prebuffer.take_symbol()
    assert (chunk.header.seq, index) == (3, 0), "the next one is sent from its beginning"


def test_clearing_tells_what_was_begun_and_what_nobody_has_seen(prebuffer, kit):
    assert prebuffer.clear() == (None, None)
    for seq in range(3):
        prebuffer.add(kit.chunk(seq))
    begun, unsent = prebuffer.clear()
    assert (begun, unsent.header.seq) == (None, 0)
    assert len(prebuffer) == 0
    for seq in range(3):
        prebuffer.add(kit.chunk(seq))
    prebuffer.take_symbol()
    begun, unsent = prebuffer.clear()
    assert (begun.header.seq, unsent.header.seq) == (0, 1)
    prebuffer.add(kit.chunk(5))
    assert prebuffer.take_symbol()[1] == 0, "the next one is sent from its beginning"
    begun, unsent = prebuffer.clear()
    assert (begun.header.seq, unsent) == (5, None)


# --- history ----------------------------------------------------------------------------------------------------------


def test_a_chunk_is_kept_until_the_linger_after_its_end(history, kit):
    for seq in range(3):
        history.add(kit.chunk(seq))
    assert history.expire(CHUNK + 2 * RATE - 1, 1) == []
    assert history.get(0) is not None
    assert history.expire(CHUNK + 2 * RATE, 1) == [0]
    assert history.get(0) is None
    assert history.get(1).header.seq == 1
    assert history.expire(CHUNK + 100 * RATE, 1) == [1, 2]
    assert len(history) == 0


def test_an_epoch_that_has_ended_is_forgotten_at_once(history, kit):
    for seq, epoch in enumerate([1, 1, 2, 2, 3]):
        chunk = kit.chunk(seq)
        chunk.header = replace(chunk.header, epoch=epoch)
        history.add(chunk)
    assert history.expire(0, 1) == []
    assert history.expire(0, 2) == [0, 1]
    assert history.expire(0, 3) == [2, 3]
    assert history.get(4) is not None


def test_an_epoch_that_never_came_is_forgotten(history, kit):
    for seq, epoch in enumerate([1, 1, 2, 3]):
        chunk = kit.chunk(seq)
        chunk.header = replace(chunk.header, epoch=epoch)
        history.add(chunk)
    assert history.drop_after_epoch(3) == []
    assert history.drop_after_epoch(1) == [2, 3]
    assert len(history) == 2


def test_a_range_of_numbers_finds_what_is_here_without_looking_at_each(history, kit):
    assert list(history.within(0, 10)) == []
    for seq in (5, 6, 8):
        history.add(kit.chunk(seq))
    found = {
        (first, count): [chunk.header.seq for chunk in history.within(first, count)]
        for first, count in [(0, 5), (0, 6), (6, 1), (6, 3), (7, 1), (8, 100), (9, 100), (-(10**15), 10**16)]
    }
    assert list(found.values()) == [[], [5], [6], [6, 8], [], [8], [], [5, 6, 8]]


def test_its_memory_is_known(history, kit):
    for seq in range(5):
        history.add(kit.chunk(seq, symbols=7))
    assert history.coded_bytes() == 5 * 70


def test_the_chunk_that_plays_is_the_first_not_played_to_its_end(history, kit):
    assert history.at(0) is None
    for seq in range(3):
        history.add(kit.chunk(seq))
    assert history.at(-RATE).header.seq == 0
    assert history.at(CHUNK - 1).header.seq == 0
    assert history.at(CHUNK).header.seq == 1
    assert history.at(RATE // 4).header.seq == 2
    assert history.at(3 * CHUNK) is None


def test_bounded_by_time_whatever_the_length_of_the_stream(kit):
    prebuffer, history = PreBuffer(RATE, CHUNK), History(2 * RATE)
    seq, now, most = 0, kit.NOW, 0
    while now < kit.NOW + 30 * NS_PER_S:
        now += 10 * NS_PER_MS
        horizon = (now - kit.NOW) * RATE // NS_PER_S
        while prebuffer.frames_until_wanted(seq * CHUNK, horizon) == 0:
            prebuffer.add(kit.chunk(seq))
            seq += 1
        while prebuffer.due(horizon) is not None:
            chunk, _, last = prebuffer.take_symbol()
            if last:
                history.add(chunk)
        history.expire(horizon, 1)
        most = max(most, len(prebuffer) + len(history))
    assert seq == 30 * 10 + 10 + CHUNKS_AHEAD_MAX
    assert most <= (1 + 2) * 10 + CHUNKS_AHEAD_MAX + 2
