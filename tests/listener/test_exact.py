from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radiosync.listener.exact import BLOCK_FRAMES_MAX, BLOCK_NS, ExactPlayout
from radiosync.listener.jitter import JitterBuffer
from radiosync.listener.schedule import Schedule
from radiosync.timeline import PlayState
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


def test_what_is_due_moves_with_the_clock_and_the_offset(make, kit):
    playout = make()
    assert playout.next_timeout() == kit.START
    playout._schedule.mapping = kit.mapping_with(kit.OFFSET - 5 * NS_PER_MS)
    assert playout.next_timeout() == kit.START + 5 * NS_PER_MS
    playout._schedule.offset_ns = 2 * NS_PER_MS
    assert playout.next_timeout() == kit.START + 7 * NS_PER_MS
    assert playout.take(kit.START + 7 * NS_PER_MS - 1) is None
    assert playout.take(kit.START + 7 * NS_PER_MS).frame == 0
    assert playout.next_timeout() == kit.START + 7 * NS_PER_MS + BLOCK_NS


def test_before_the_start_there_is_nothing_to_do(make, kit):
    playout = make(start=None)
    assert playout.next_timeout() is None
    assert playout.take(kit.START + NS_PER_S) is None
    assert not playout.ended


# --- records ----------------------------------------------------------------------------------------------------------

CUT = 1234  # inside of a block, and of a chunk


def record(kit, version, state, frame, after_ns, epoch=1):
    return kit.timeline_at(kit.EPOCH + after_ns, frame, version, state, epoch)


def pause_and_resume(kit, resumed_ns, *, frame=None):
    """Pause at frame `CUT`; go on there, or with `frame` in a new epoch, `resumed_ns` after the start."""
    cut_ns = kit.ns_from_frames(CUT, kit.MONO.rate)
    epoch = 1 if frame is None else 2
    return (
        record(kit, 2, PlayState.PAUSED, CUT, cut_ns),
        record(kit, 3, PlayState.PLAYING, CUT if frame is None else frame, resumed_ns, epoch),
    )


def add(playout, *records):
    for each in records:
        assert playout._schedule.log.add(each)


def run(playout, now, until):
    """Take each block when it asks to be woken; return them with the time."""
    taken = []
    while (at := playout.next_timeout()) is not None and at <= until and not playout.ended:
        now = max(now, at)
        block = playout.take(now)
        if block is not None:
            taken.append((now, block))
    return taken


@pytest.mark.parametrize("frame", [None, 5000])
def test_it_stops_at_the_end_of_a_record_and_goes_on_when_the_next_begins(make, kit, frame):
    """Inside of a block; the same media frame, or that of a jump; not a sample too many, none twice."""
    playout = make(final=8000)
    resumed_ns = 3 * NS_PER_S + 12_345
    pause, play = pause_and_resume(kit, resumed_ns, frame=frame)
    add(playout, pause)
    before = run(playout, kit.START, kit.START + 2 * NS_PER_S)
    assert playout.cursor == CUT
    assert playout.next_timeout() is None or playout.next_timeout() >= kit.START
    assert playout.take(kit.START + 2 * NS_PER_S) is None
    assert playout.next_timeout() is None, "nothing is known of what comes next"
    add(playout, play)
    assert playout.next_timeout() == kit.START + resumed_ns
    assert playout.take(kit.START + resumed_ns - 1) is None
    after = run(playout, kit.START, kit.START + 60 * NS_PER_S)
    first = CUT if frame is None else frame
    assert after[0][0] == after[0][1].due_at == kit.START + resumed_ns
    assert after[0][1].frame == first
    assert np.array_equal(joined([b for _, b in before]), kit.counting(0, CUT))
    assert np.array_equal(joined([b for _, b in after]), kit.counting(first, 8000 - first))
    assert playout.ended
    assert (playout.concealed_frames, playout.gaps) == (0, 0)


def test_a_jump_without_a_pause_is_a_cut(make, kit):
    playout = make(final=12_000)
    at_ns = kit.ns_from_frames(CUT, kit.MONO.rate) - 50_000  # between two frames
    add(playout, record(kit, 2, PlayState.PLAYING, 6000, at_ns, epoch=2))
    taken = run(playout, kit.START, kit.START + 60 * NS_PER_S)
    whole = joined([b for _, b in taken])
    assert np.array_equal(whole, np.concatenate([kit.counting(0, CUT), kit.counting(6000, 6000)]))
    (jumped,) = [at for at, block in taken if block.frame == 6000]
    assert jumped == kit.START + at_ns
    assert playout.record.epoch == 2


@pytest.mark.parametrize("told_late", [False, True])
def test_an_ordered_resync_leaves_no_trace(make, kit, told_late):
    playout = make(final=12_000)
    resync = record(kit, 2, PlayState.PLAYING, CUT, kit.ns_from_frames(CUT, kit.MONO.rate))
    taken = []
    if told_late:
        taken = run(playout, kit.START, kit.START + resync.effective_at - kit.EPOCH + 50 * NS_PER_MS)
        assert playout.cursor > CUT
    add(playout, resync)
    taken += run(playout, taken[-1][0] if taken else kit.START, kit.START + 60 * NS_PER_S)
    assert playout.record is resync
    assert np.array_equal(joined([b for _, b in taken]), kit.counting(0, 12_000))
    assert all(at == block.due_at for at, block in taken if block.frame > CUT + 1000), "and each at its instant"
    assert (playout.concealed_frames, playout.gaps, playout.hard_resyncs) == (0, 0, 0)


@settings(max_examples=60)
@given(seed=st.integers(0, 9999), steps=st.integers(1, 12))
def test_any_records_whatever_the_wake_ups(make, kit, seed, steps):
    """What comes out is what the records say, frame by frame, however late the loop and the news of the records are."""
    rng = Random(seed)
    rate, playout = kit.MONO.rate, make(range(400), final=None)
    records = [playout._schedule.log.newest]
    for version in range(2, 2 + steps):
        last = records[-1]
        at = last.effective_at + rng.choice([0, 1, 777_777, 40 * NS_PER_MS, 333_333_333])
        end = max(last.media_frame, last.frame_at(at, rate)) if last.playing else last.media_frame
        state = rng.choice(list(PlayState))
        jumps = rng.random() < 0.5
        frame = end + rng.randrange(1, 3000) if jumps else end
        records.append(kit.timeline_at(at, frame, version, state, last.epoch + jumps))
    until = records[-1].effective_at + NS_PER_S
    expected = []
    for each, following in zip(records, [*records[1:], None], strict=True):
        end_at = until if following is None else following.effective_at
        if each.playing:
            expected += range(each.media_frame, max(each.media_frame, each.frame_at(end_at, rate)))
    blocks, now, waiting = [], kit.START, records[1:]
    while now < until - kit.OFFSET:
        while waiting and waiting[0].effective_at - kit.OFFSET <= now + 100 * NS_PER_MS:
            playout._schedule.log.add(waiting.pop(0))
        blocks += take_all(playout, now)
        now += rng.choice([1, 7, 30]) * NS_PER_MS
    blocks += take_all(playout, until - kit.OFFSET)
    got = [frame for block in blocks for frame in range(block.frame, block.frame + len(block.samples))]
    assert got[: len(expected)] == expected
    assert len(got) - len(expected) <= BLOCK, "the block that is due, and its rest"
    for block in blocks:
        assert np.array_equal(block.samples, kit.counting(block.frame, len(block.samples)))


def test_a_stall_across_a_pause_and_a_jump_catches_up_with_what_was_to_be_heard(make, kit):
    playout = make(range(400))
    add(playout, *pause_and_resume(kit, 2 * NS_PER_S, frame=9000))
    blocks = take_all(playout, kit.START + 3 * NS_PER_S)
    whole = joined(blocks)
    assert np.array_equal(whole[:CUT], kit.counting(0, CUT))
    assert np.array_equal(whole[CUT:], kit.counting(9000, len(whole) - CUT))
    assert len(whole) == CUT + kit.MONO.rate + BLOCK


def test_a_record_that_begins_after_the_end_wakes_nobody(make, kit):
    playout = make(final=2000)
    add(playout, record(kit, 2, PlayState.PLAYING, 8000, NS_PER_S))  # a resync: it says what the first one says
    run(playout, kit.START, kit.START + NS_PER_S)
    assert playout.ended
    assert playout.take(kit.START + 2 * NS_PER_S) is None
    assert playout.next_timeout() is None, "it would be woken again and again"
    playout.final_frame = None  # a jump makes the end unknown again
    assert playout.next_timeout() == kit.START + NS_PER_S // 4


def test_who_starts_before_the_record_begins_waits_for_it(make, kit):
    playout = make(final=8000)
    pause, play = pause_and_resume(kit, 2 * NS_PER_S)
    add(playout, pause, play)
    playout.start(CUT, play)
    assert playout.next_timeout() == kit.START + 2 * NS_PER_S
    assert playout.take(kit.START + NS_PER_S) is None
    assert playout.take(kit.START + 2 * NS_PER_S).frame == CUT
