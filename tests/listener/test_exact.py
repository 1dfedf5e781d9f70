from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radiosync.listener.exact import BLOCK_FRAMES_MAX, BLOCK_NS, ExactPlayout
from radiosync.listener.jitter import JitterBuffer
from radiosync.listener.schedule import Schedule
from radiosync.units import NS_PER_MS, NS_PER_S

CHUNK = 400  # frames: 50 ms
BLOCK = 160


@pytest.fixture(scope="session")
def make(kit):
    def playout(chunks=range(40), *, start=0, final=None, offset_ns=0):
        buffer = JitterBuffer(kit.MONO, 1000)
        for seq in chunks:
            for symbol in kit.chunk_symbols(seq, seq * CHUNK, kit.counting(seq * CHUNK, CHUNK)):
                buffer.add(seq, symbol)
        schedule = Schedule(kit.timeline_at(), kit.mapping_with(), kit.MONO.rate, offset_ns)
        exact = ExactPlayout(buffer, schedule)
        exact.start(start)
        exact.final_frame = final
        return exact

    return playout


def take_all(playout, now):
    blocks = []
    while (block := playout.take(now)) is not None:
        blocks.append(block)
    return blocks


def joined(blocks):
    return np.concatenate([block.samples for block in blocks])


def test_block_after_block_is_handed_out_when_its_first_frame_is_due(make, kit):
    playout = make(final=2000)
    blocks = []
    while (at := playout.next_timeout()) is not None:
        assert playout.take(at - 1) is None
        block = playout.take(at)
        assert block.due_at == at == kit.START + kit.ns_from_frames(block.frame, kit.MONO.rate)
        assert playout.sync_error_ns == 0
        blocks.append(block)
    assert [block.frame for block in blocks] == list(range(0, 2000, BLOCK))
    assert {len(block.samples) for block in blocks} == {BLOCK, 2000 % BLOCK}
    assert np.array_equal(joined(blocks), kit.counting(0, 2000))
    assert playout.ended
    assert playout.take(kit.START + 100 * NS_PER_S) is None
    assert (playout.concealed_frames, playout.gaps) == (0, 0)


@settings(max_examples=40)
@given(
    lost=st.sets(st.integers(0, 39)),
    start=st.integers(0, 7000),
    final=st.integers(7001, 16_000),
    seed=st.integers(0, 9999),
)
def test_every_frame_comes_out_once_whatever_the_wake_ups(make, kit, lost, start, final, seed):
    rng = Random(seed)
    playout = make(set(range(40)) - lost, start=start, final=final)
    now, blocks = kit.START + kit.ns_from_frames(start, kit.MONO.rate), []
    while not playout.ended:
        now += rng.choice([7, 30, 400]) * NS_PER_MS
        blocks += take_all(playout, now)
    assert blocks[0].frame == start
    whole = joined(blocks)
    there = np.repeat([seq not in lost for seq in range(40)], CHUNK)[start:final]
    assert np.array_equal(whole, np.where(there[:, None], kit.counting(start, final - start), 0))
    assert playout.concealed_frames == np.count_nonzero(~there)
    assert playout.gaps == np.count_nonzero(~there & np.concatenate([[True], there[:-1]]))
    assert playout.cursor == final


def test_a_gap_across_blocks_is_one(make, kit):
    playout = make([*range(4), *range(8, 12), *range(13, 40)], final=8000)
    blocks = []
    while (at := playout.next_timeout()) is not None:
        blocks.append(playout.take(at))
    assert playout.gaps == 2
    assert playout.concealed_frames == 5 * CHUNK
    assert not joined(blocks)[4 * CHUNK : 8 * CHUNK].any()


def test_after_a_stall_it_catches_up_at_once(make, kit):
    playout = make(range(400))
    take_all(playout, kit.START)
    now = kit.START + 3 * NS_PER_S
    blocks = take_all(playout, now)
    assert len(blocks) == 2, "what was due meanwhile, and the block that is due now"
    assert blocks[0].frame == BLOCK
    assert playout.cursor == 3 * kit.MONO.rate + BLOCK
    assert playout.next_timeout() > now
    assert playout.sync_error_ns == 0
    assert np.array_equal(joined(blocks), kit.counting(BLOCK, 3 * kit.MONO.rate))


def test_after_a_long_stall_pieces_stay_small(make, kit):
    playout = make(range(4))
    blocks = take_all(playout, kit.START + 100 * NS_PER_S)
    assert max(len(block.samples) for block in blocks) == BLOCK_FRAMES_MAX
    assert sum(len(block.samples) for block in blocks) == 100 * kit.MONO.rate + BLOCK


def test_what_was_played_is_forgotten(make, kit):
    playout = make(range(40))
    take_all(playout, kit.START + NS_PER_S)
    assert len(playout._buffer) == 40 - (NS_PER_S // BLOCK_NS + 1) * BLOCK // CHUNK


def test_the_offset_delays_the_sink_too(make, kit):
    playout = make(offset_ns=70 * NS_PER_MS)
    assert playout.next_timeout() == kit.START + 70 * NS_PER_MS


def test_before_the_start_there_is_nothing_to_do(make, kit):
    playout = make(start=None)
    assert playout.next_timeout() is None
    assert playout.take(kit.START + NS_PER_S) is None
    assert not playout.ended
