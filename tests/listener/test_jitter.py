from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radiosync.audio.codec import Codec
from radiosync.audio.format import AudioFormat, SampleFormat
from radiosync.listener import jitter as module
from radiosync.listener.jitter import DROPPED_MAX, JitterBuffer
from radiosync.listener.slot import Added
from radiosync.repair.request import WHOLE
from radiosync.repair.symbols import Chunk

CHUNK = 100  # frames; 200 bytes, so that there are four symbols


@pytest.fixture
def buffer(kit):
    return JitterBuffer(kit.MONO, 50)


@pytest.fixture
def chunk(kit):
    def make(seq, first=None, frames=CHUNK, **more):
        first = seq * CHUNK if first is None else first
        return kit.chunk_symbols(seq, first, kit.counting(first, frames), **more)

    return make


def add(buffer, symbols, seq=None):
    return [buffer.add(s.chunk.seq if seq is None else seq, s) for s in symbols]


def test_a_chunk_is_complete_with_its_last_symbol(buffer, chunk, kit):
    symbols = chunk(3)
    assert buffer.missing(3) == WHOLE
    assert buffer.header(3) is None
    assert add(buffer, symbols) == [Added.NEW, Added.NEW, Added.NEW, Added.COMPLETED]
    assert buffer.missing(3) == 0
    assert buffer.header(3) == symbols[0].chunk
    samples, present = buffer.read(300, CHUNK)
    assert present.all()
    assert np.array_equal(samples, kit.counting(300, CHUNK))


def test_what_is_missing_is_known_by_symbol(buffer, chunk):
    symbols = chunk(3)
    add(buffer, [symbols[0], symbols[2]])
    assert buffer.missing(3) == 0b1010
    assert not buffer.read(300, CHUNK)[1].any(), "half a chunk can't be decoded"
    assert buffer.contiguous_until(300) == 300
    assert buffer.complete_frames(300) == 0


def test_duplicates_change_nothing(buffer, chunk):
    symbols = chunk(3)
    add(buffer, symbols)
    forged = replace(symbols[1], payload=bytes(len(symbols[1].payload)))
    assert add(buffer, [*symbols, forged]) == [Added.DUPLICATE] * 5
    assert buffer.read(300, CHUNK)[1].all()
    assert buffer.read(310, 1)[0] == 310 - 30_000


def test_parity_stands_in_for_any_symbol(buffer, chunk, kit):
    symbols = chunk(3)
    made = Chunk(header=symbols[0].chunk, symbols=tuple(s.payload for s in symbols))
    parity = [replace(symbols[0], index=i, payload=made.symbol(i), repair=True) for i in (4, 9)]
    assert add(buffer, [parity[1], parity[1], symbols[2]]) == [Added.NEW, Added.DUPLICATE, Added.NEW]
    assert buffer.missing(3).bit_count() == 2
    assert add(buffer, [symbols[3], parity[0], symbols[0]]) == [Added.NEW, Added.COMPLETED, Added.DUPLICATE]
    assert buffer.missing(3) == 0
    samples, present = buffer.read(300, CHUNK)
    assert present.all()
    assert np.array_equal(samples, kit.counting(300, CHUNK))


def test_a_header_that_contradicts_the_first_is_refused(buffer, chunk):
    symbols = chunk(3)
    buffer.add(3, symbols[0])
    other = replace(symbols[1], chunk=replace(symbols[1].chunk, first_frame=301))
    assert buffer.add(3, other) is Added.REFUSED
    assert buffer.missing(3) == 0b1110


def test_late_chunks_are_not_taken(buffer, chunk):
    buffer.drop_before(350)
    assert add(buffer, chunk(2)) == [Added.LATE] * 4
    assert add(buffer, chunk(3))[-1] is Added.COMPLETED, "its second half is still to come"
    assert len(buffer) == 1
    buffer.drop_before(400)
    assert len(buffer) == 0
    assert [buffer.missing(seq) for seq in (2, 3, 4)] == [0, 0, WHOLE], "what is over is not to be asked for"
    buffer.drop_before(10)
    assert add(buffer, chunk(3)) == [Added.LATE] * 4, "the floor never sinks"


def test_what_has_come_too_late_is_over_and_so_is_what_lies_before_it(buffer, chunk):
    buffer.drop_before(400)
    buffer.add(3, chunk(3)[0])
    assert [buffer.missing(seq) for seq in (2, 3, 4)] == [0, 0, WHOLE]


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    lost=st.sets(st.integers(0, 39), max_size=12),
    reads=st.lists(st.tuples(st.integers(-50, 1050), st.integers(1, 400)), min_size=1, max_size=8),
)
def test_any_order_with_any_losses_reads_what_is_there(kit, seed, lost, reads):
    symbols = [s for seq in range(10) for s in kit.chunk_symbols(seq, seq * CHUNK, kit.counting(seq * CHUNK, CHUNK))]
    arrived = [s for place, s in enumerate(symbols) if place not in lost] * 2
    Random(seed).shuffle(arrived)
    buffer = JitterBuffer(kit.MONO, 50)
    for symbol in arrived:
        buffer.add(symbol.chunk.seq, symbol)
    whole = np.array([not lost & set(range(4 * seq, 4 * seq + 4)) for seq in range(10)])
    there = np.repeat(whole, CHUNK)
    truth = np.where(there[:, None], kit.counting(0, 10 * CHUNK), 0)
    for first, count in reads:
        samples, present = buffer.read(first, count)
        assert samples.shape == (count, 1)
        for place in range(count):
            inside = 0 <= first + place < 1000
            assert present[place] == (inside and there[first + place])
            assert samples[place, 0] == (truth[first + place, 0] if inside else 0)
        if first >= 0:
            run = 0
            while first + run < 1000 and there[first + run]:
                run += 1
            assert buffer.contiguous_until(first) == first + run
            assert buffer.complete_frames(first) == there[first:].sum()


PLACES = {  # number: first frame and length; longer chunks from 13 on, a hole before 20
    **{seq: (100 * seq, 100) for seq in range(10, 13)},
    **{seq: (1_300 + 250 * (seq - 13), 250) for seq in range(13, 20)},
    **{seq: (9_000 + 250 * (seq - 20), 250) for seq in range(20, 24)},
}


@pytest.mark.parametrize("lost", [seq for seq in PLACES if seq != 10])
def test_where_a_chunk_lies_is_reckoned_from_its_neighbours(buffer, chunk, lost):
    for seq, (first, frames) in PLACES.items():
        if seq != lost:
            add(buffer, chunk(seq, first, frames))
    first, frames = PLACES[lost]
    end = 9_000 if lost == 19 else first + frames  # it could be on either side of the hole
    assert buffer.end_of(lost, 250, (10, 1_000)) == end


def test_where_several_lie_is_reckoned_at_the_latest(buffer, chunk):
    """Too early an end would be given up on."""
    for gone in ([11, 12], [12, 13, 14], [14, 15, 16, 17], [18, 19, 20, 21], [21, 22, 23]):
        for seq, (first, frames) in PLACES.items():
            if seq not in gone:
                add(buffer, chunk(seq, first, frames))
        for seq in gone:
            end = sum(PLACES[seq])
            hole = 9_000 - 3_050 if gone == [18, 19, 20, 21] and seq < 20 else 0
            assert end <= buffer.end_of(seq, 250, (10, 1_000)) <= end + hole + 250
        buffer.drop_between(0, 100_000)


def test_where_a_chunk_lies_is_known_from_the_announcement_if_that_is_nearest(buffer, chunk):
    assert buffer.end_of(20, 100, (15, 5_000)) == 5_600
    assert buffer.end_of(12, 100, (15, 5_000)) == 4_800
    add(buffer, chunk(10, 1_000, 100))
    assert buffer.end_of(15, 100, (15, 5_000)) == 5_100, "a jump lies between them"
    assert buffer.end_of(14, 100, (15, 5_000)) == 5_000
    assert buffer.end_of(12, 100, (5, 0)) == 1_300


def test_room_is_made_for_what_is_announced_and_never_taken_away(kit):
    buffer = JitterBuffer(kit.MONO, 0)
    buffer.make_room(300_000_000, 240)  # 300 ms of 30 ms
    first = buffer.chunks_max
    assert 2 * 10 < first < 200
    buffer.make_room(1_200_000_000, 960)
    assert buffer.chunks_max == first, "fewer and longer ones, but the short ones are still there"
    buffer.make_room(1_200_000_000, 240)
    assert 2 * 40 < buffer.chunks_max < 300
    buffer.make_room(1 << 50, 1)
    assert buffer.chunks_max == module.CHUNKS_MAX


def test_holes_between_chunks_are_silence(buffer, chunk, kit):
    """The host leaves them where its source was late."""
    add(buffer, chunk(0, 0))
    add(buffer, chunk(1, 250, 40))
    samples, present = buffer.read(90, 200)
    assert np.flatnonzero(present).tolist() == [*range(10), *range(160, 200)]
    assert np.array_equal(samples[160:], kit.counting(250, 40))
    assert not samples[10:160].any()
    assert buffer.contiguous_until(50) == 100
    assert buffer.complete_frames(0) == 140
    assert buffer.header_at(99).seq == 0
    assert buffer.header_at(100) is None
    assert buffer.header_at(289).seq == 1
    assert buffer.header_at(290) is None


def test_the_chunk_furthest_in_the_future_gives_way(kit, chunk):
    buffer = JitterBuffer(kit.MONO, 3)
    for seq in (5, 6, 9):
        add(buffer, chunk(seq))
    assert add(buffer, chunk(10)) == [Added.REFUSED] * 4
    assert add(buffer, chunk(7))[-1] is Added.COMPLETED
    assert buffer.missing(9) == WHOLE
    assert len(buffer) == 3
    assert buffer.overflows == 5
    assert [buffer.missing(seq) for seq in (5, 6, 7)] == [0, 0, 0]


def test_bytes_are_bounded(kit, chunk, monkeypatch):
    monkeypatch.setattr(module, "BYTES_MAX", 1000)
    buffer = JitterBuffer(kit.MONO, 50)
    for seq in range(8):
        add(buffer, chunk(seq))
    assert [buffer.missing(seq) == 0 for seq in range(8)] == [True] * 5 + [False] * 3
    buffer.drop_before(200)
    assert add(buffer, chunk(5))[-1] is Added.COMPLETED, "what was played makes room"


def test_a_chunk_that_would_need_too_much_memory_is_refused(buffer, chunk):
    symbol = chunk(3)[0]
    huge = replace(symbol, chunk=replace(symbol.chunk, frames=(1 << 32) - 1))
    assert buffer.add(3, huge) is Added.REFUSED
    assert len(buffer) == 0


def test_of_a_flood_of_dropped_chunks_some_are_forgotten(buffer, chunk):
    buffer.chunks_max = 1
    for seq in range(100, 99 - DROPPED_MAX - 5, -1):
        add(buffer, chunk(seq))
    assert len(buffer.dropped) == DROPPED_MAX


@pytest.mark.parametrize("codec", [Codec.FLAC, 99])
def test_a_broken_chunk_is_forgotten_and_counted(buffer, chunk, codec):
    symbols = [replace(s, chunk=replace(s.chunk, codec=codec)) for s in chunk(3)]
    add(buffer, chunk(2))
    add(buffer, symbols)
    assert buffer.missing(3) == 0
    samples, present = buffer.read(200, 300)
    assert present.tolist() == [True] * CHUNK + [False] * 200
    assert not samples[CHUNK:].any()
    assert buffer.broken == 1
    assert buffer.missing(3) == WHOLE, "as if nothing had arrived"
    assert list(buffer.dropped) == [3]
    assert add(buffer, chunk(3))[-1] is Added.COMPLETED
    assert buffer.read(300, CHUNK)[1].all()


def test_compressed_chunks_come_out_bit_for_bit(kit):
    audio = AudioFormat(44_100, 2, SampleFormat.S24)
    rng = np.random.default_rng(5)
    music = (np.cumsum(rng.integers(-2000, 2000, (4096, 2)), axis=0) << 8).astype(np.int32)
    buffer = JitterBuffer(audio, 10)
    symbols = kit.chunk_symbols(0, 0, music, audio, Codec.FLAC, 1090)
    assert symbols[0].chunk.codec == Codec.FLAC
    add(buffer, symbols[::-1])
    samples, present = buffer.read(0, 4096)
    assert present.all()
    assert np.array_equal(samples, music)


def test_few_chunks_stay_decoded(buffer, chunk, monkeypatch):
    decoded = []
    real = buffer._codec.decode_with_overlap

    class Counting:
        def decode_with_overlap(self, *args):
            decoded.append(args[1])
            return real(*args)

    buffer._codec = Counting()
    for seq in range(10):
        add(buffer, chunk(seq))
    for first in range(0, 1000, 20):
        buffer.read(first, 20)
    assert len(decoded) == 10, "each once while it is read in order"
    assert len(buffer._decoded) <= module.DECODED_MAX
    buffer.drop_before(1000)
    assert not buffer._decoded


def test_extended_numbers_are_kept_apart(buffer, chunk, kit):
    wrapped = 1 << 32
    add(buffer, chunk(wrapped - 1, 0), wrapped - 1)
    add(buffer, chunk(wrapped, 100), wrapped)
    assert buffer.read(0, 200)[1].all()
    assert (buffer.missing(wrapped - 1), buffer.missing(wrapped), buffer.missing(0)) == (0, 0, WHOLE)


def test_a_chunk_is_whole_when_it_is_whole_in_any_tier(buffer, chunk, kit):
    fine, coarse = chunk(3), in_tier(2, chunk(3))
    add(buffer, [fine[0], coarse[1]])
    assert (buffer.missing(3, 0), buffer.missing(3, 2), buffer.missing(3, 1)) == (0b1110, 0b1101, WHOLE)
    assert add(buffer, [coarse[0], coarse[2], coarse[3]]) == [Added.NEW, Added.NEW, Added.COMPLETED]
    assert [buffer.missing(3, tier) for tier in range(3)] == [0, 0, 0]
    assert buffer.header(3).tier == 2
    assert buffer.read(300, CHUNK)[1].all()


def test_the_best_whole_tier_is_played(buffer, chunk, kit):
    better, worse = in_tier(1, chunk(3)), in_tier(2, kit_negated(chunk, kit))
    add(buffer, worse)
    add(buffer, better)
    assert buffer.header(3).tier == 1
    assert np.array_equal(buffer.read(300, CHUNK)[0], kit.counting(300, CHUNK))
    assert add(buffer, worse) == [Added.DUPLICATE] * 4


def test_what_has_begun_to_be_heard_stays_as_it_is(buffer, chunk, kit):
    better, worse = in_tier(0, chunk(3)), in_tier(2, kit_negated(chunk, kit))
    add(buffer, worse)
    first = buffer.read(300, 50)[0]
    add(buffer, better)
    assert np.array_equal(buffer.read(350, 50)[0], -kit.counting(350, 50))
    assert np.array_equal(first, -kit.counting(300, 50))


def test_tiers_that_disagree_about_the_place_are_refused(buffer, chunk):
    add(buffer, chunk(3)[:1])
    assert add(buffer, in_tier(1, chunk(3, first=301))) == [Added.REFUSED] * 4


def test_memory_counts_every_tier_and_has_an_end(buffer, chunk, monkeypatch):
    add(buffer, chunk(3)[:1])
    add(buffer, in_tier(2, chunk(3))[:1])
    assert buffer._bytes == 2 * 2 * CHUNK
    add(buffer, in_tier(1, chunk(3)))
    assert buffer._bytes == 2 * 2 * CHUNK  # the worse one has gone, the better one may still come
    monkeypatch.setattr(module, "BYTES_MAX", 4 * 2 * CHUNK)
    add(buffer, [*chunk(4)[:1], *chunk(5)[:1]])
    assert buffer._bytes == module.BYTES_MAX
    assert add(buffer, in_tier(1, chunk(4))[:1]) == [Added.REFUSED]
    assert buffer.overflows == 1
    buffer.drop_before(10_000)
    assert buffer._bytes == 0


def in_tier(tier, symbols):
    return [replace(each, chunk=replace(each.chunk, tier=tier)) for each in symbols]


def kit_negated(chunk, kit):
    return kit.chunk_symbols(3, 300, -kit.counting(300, CHUNK))
