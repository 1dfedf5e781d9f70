import pytest

from radiosync.host.buffers import CHUNKS_AHEAD_MAX, History, PreBuffer
from radiosync.units import NS_PER_MS, NS_PER_S

CHUNK_NS = NS_PER_S // 10  # 800 frames at 8 kHz


@pytest.fixture
def prebuffer():
    return PreBuffer(NS_PER_S, 8_000)


@pytest.fixture
def history():
    return History(2 * NS_PER_S, 8_000)


# --- pre-buffer -------------------------------------------------------------------------------------------------------


def test_a_chunk_is_due_once_its_play_at_lies_within_the_buffer(prebuffer, kit):
    assert prebuffer.due(kit.NOW) is None
    assert prebuffer.due_at() is None
    assert prebuffer.first() is None
    chunk = kit.chunk(play_at=kit.NOW + 3 * NS_PER_S)
    prebuffer.add(chunk)
    assert prebuffer.due_at() == kit.NOW + 2 * NS_PER_S
    assert prebuffer.first() is chunk
    assert prebuffer.due(kit.NOW + 2 * NS_PER_S - 1) is None
    assert prebuffer.due(kit.NOW + 2 * NS_PER_S) is chunk


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


def test_it_asks_for_the_buffer_and_two_chunks_more(prebuffer, kit):
    wanted = prebuffer.wanted_at(kit.NOW + 5 * NS_PER_S, CHUNK_NS)
    assert wanted == kit.NOW + 4 * NS_PER_S - CHUNKS_AHEAD_MAX * CHUNK_NS


def test_what_can_no_longer_be_heard_is_dropped_even_half_sent(prebuffer, kit):
    for seq in range(4):
        prebuffer.add(kit.chunk(seq))
    prebuffer.take_symbol()
    assert [c.header.seq for c in prebuffer.drop_late(kit.NOW + 2 * CHUNK_NS - 1)] == [0]
    assert [c.header.seq for c in prebuffer.drop_late(kit.NOW + 3 * CHUNK_NS)] == [1, 2]
    chunk, index, _ = prebuffer.take_symbol()
    assert (chunk.header.seq, index) == (3, 0), "the next one is sent from its beginning"


# --- history ----------------------------------------------------------------------------------------------------------


def test_a_chunk_is_kept_until_the_linger_after_its_end(history, kit):
    for seq in range(3):
        history.add(kit.chunk(seq))
    end = kit.NOW + CHUNK_NS
    assert list(history.expire(end + 2 * NS_PER_S - 1)) == []
    assert history.get(0) is not None
    assert list(history.expire(end + 2 * NS_PER_S)) == [0]
    assert history.get(0) is None
    assert history.get(1).header.seq == 1
    assert list(history.expire(end + 100 * NS_PER_S)) == [1, 2]
    assert len(history) == 0


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
    assert history.playing(kit.NOW) is None
    for seq in range(3):
        history.add(kit.chunk(seq))
    assert history.playing(kit.NOW - NS_PER_S).header.seq == 0
    assert history.playing(kit.NOW + CHUNK_NS - 1).header.seq == 0
    assert history.playing(kit.NOW + CHUNK_NS).header.seq == 1
    assert history.playing(kit.NOW + 250 * NS_PER_MS).header.seq == 2
    assert history.playing(kit.NOW + 3 * CHUNK_NS) is None


def test_bounded_by_time_whatever_the_length_of_the_stream(kit):
    prebuffer, history = PreBuffer(NS_PER_S, 8_000), History(2 * NS_PER_S, 8_000)
    seq, now, most = 0, kit.NOW, 0
    while now < kit.NOW + 30 * NS_PER_S:
        now += 10 * NS_PER_MS
        while prebuffer.wanted_at(kit.NOW + seq * CHUNK_NS, CHUNK_NS) <= now:
            prebuffer.add(kit.chunk(seq))
            seq += 1
        while prebuffer.due(now) is not None:
            chunk, _, last = prebuffer.take_symbol()
            if last:
                history.add(chunk)
        list(history.expire(now))
        most = max(most, len(prebuffer) + len(history))
    assert seq == 30 * 10 + 10 + CHUNKS_AHEAD_MAX + 1
    assert most <= (1 + 2) * 10 + CHUNKS_AHEAD_MAX + 2
