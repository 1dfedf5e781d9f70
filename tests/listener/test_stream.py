from dataclasses import replace
from random import Random

import numpy as np
import pytest

from radiosync.clock.exchange import Exchange
from radiosync.config import Config
from radiosync.listener.exact import ExactPlayout
from radiosync.listener.memory import NoMemory
from radiosync.listener.stream import LEFT_OUT_MAX, SONGS_MAX, UNHURRIED_NS, Stream
from radiosync.timeline import PlayState
from radiosync.units import NS_PER_MS, NS_PER_S
from radiosync.wire.codec import decode
from radiosync.wire.messages import Announce, Audio, ListenerState, SongInfo, Sync, SyncPhase

CHUNK = 800  # frames: 100 ms


@pytest.fixture
def announce(kit):
    """In the middle of a stream: chunk 50 is due now, chunks before 70 have been sent."""
    return Announce(
        session=7,
        timeline=kit.timeline_at(kit.EPOCH - 5 * NS_PER_S),
        sent_at=kit.EPOCH,
        format=kit.MONO,
        control_port=kit.HOST[1],
        clock_port=kit.HOST[1] + 1,
        chunk_frames=CHUNK,
        play_seq=50,
        play_frame=50 * CHUNK,
        next_seq=70,
        final_frame=None,
        buffer_ms=2_000,
        buffered_ms=2_000,
        song_id=1,
        nonce=3,
        cookie=99,
    )


@pytest.fixture
def follow(kit, announce):
    def make(**changes):
        return Stream(replace(announce, **changes), kit.HOST[0], kit.START, Random(4), Config(), NoMemory())

    return make


def wanted(stream, now):
    """Return every chunk that is asked for within a second."""
    seqs = set()
    for tick in range(40):
        for entry in stream.ask(now + tick * 25 * NS_PER_MS):
            seqs |= {entry.seq + i for i in range(max(1, entry.run))}
    return seqs


def audio(kit, announce, seq, first=None, **more):
    first = seq * CHUNK if first is None else first
    return kit.chunk_symbols(seq, first, kit.counting(first, CHUNK), timeline=announce.timeline, **more)


# --- joining ----------------------------------------------------------------------------------------------------------


def test_a_joiner_asks_at_once_for_what_was_sent_before_the_most_urgent_first(follow, kit):
    stream = follow()
    (entry,) = stream.ask(kit.START)
    assert (entry.seq, entry.run) == (50, 20)
    assert stream._deadline_at(50, kit.START) == kit.START + NS_PER_S // 10
    assert stream._deadline_at(60, kit.START) == stream._deadline_at(50, kit.START) + NS_PER_S


def test_a_joiner_asks_for_the_same_where_the_numbers_wrap(follow, kit):
    stream = follow(play_seq=(1 << 32) - 10, next_seq=10)
    (entry,) = stream.ask(kit.START)
    assert (entry.seq % (1 << 32), entry.run) == ((1 << 32) - 10, 20)


def test_numbers_that_wrap_later_are_nothing_special(follow, kit, announce):
    start = (1 << 32) - 3
    stream = follow(play_seq=start, next_seq=start)
    for seq in range(start, start + 8):
        for symbol in audio(kit, announce, seq, (seq - start + 50) * CHUNK):
            stream.receive_audio(symbol, kit.START)
    assert stream.buffer.contiguous_until(50 * CHUNK) == 58 * CHUNK
    assert stream._deadline_at(start + 9, kit.START) == kit.START + NS_PER_S


def test_backfill_and_repairs_are_counted_apart(follow, kit, announce):
    stream = follow()
    for symbol in audio(kit, announce, 55, repair=True):
        stream.receive_audio(symbol, kit.START)
    for symbol in audio(kit, announce, 72, repair=True):
        stream.receive_audio(symbol, kit.START)
    live = audio(kit, announce, 73)
    for symbol in [*live, *live]:
        stream.receive_audio(symbol, kit.START)
    counters = stream.counters
    count = len(live)
    assert (counters.symbols_backfilled, counters.symbols_repaired, counters.symbols_received) == (
        count,
        count,
        3 * count,
    )
    assert counters.duplicates == count


# --- losses -----------------------------------------------------------------------------------------------------------


def test_what_an_announcement_says_was_sent_is_missed(follow, kit, announce):
    """The last datagrams before a pause: no later one shows that they were lost."""
    stream = follow(play_seq=70, play_frame=70 * CHUNK)
    assert wanted(stream, kit.START) == set()
    stream.receive_announce(replace(announce, next_seq=73, cookie=0), kit.START)
    now = kit.START + 50 * NS_PER_MS
    stream.handle_timeout(now)
    assert wanted(stream, now) == {70, 71, 72}
    assert stream.counters.symbols_lost == 3


def test_a_lost_symbol_is_asked_for_until_its_chunk_is_complete(follow, kit, announce):
    stream = follow(play_seq=70, play_frame=70 * CHUNK)
    symbols = audio(kit, announce, 70)
    for symbol in [s for s in symbols if s.index not in (3, 5)]:
        stream.receive_audio(symbol, kit.START)
    stream.receive_audio(audio(kit, announce, 71)[0], kit.START)
    now = kit.START + 50 * NS_PER_MS
    stream.handle_timeout(now)
    asked = [e for tick in range(8) for e in stream.ask(now + tick * 25 * NS_PER_MS)]
    assert asked
    assert {(e.seq, e.bitmap) for e in asked} == {(70, 0b101000)}
    assert stream.counters.symbols_lost == 2
    for index in (3, 5):
        stream.receive_audio(replace(symbols[index], repair=True), now)
    assert wanted(stream, now + NS_PER_S) == set()
    assert stream.counters.symbols_repaired == 2


@pytest.mark.parametrize(("share", "asked_tier"), [(8, 0), (2, 3)])
def test_after_a_step_down_a_chunk_that_is_nearly_whole_is_still_completed(follow, kit, announce, share, asked_tier):
    """What it lacks is less than all of the smaller one: a link that is too slow must not be asked for more."""
    stream = follow(play_seq=70, play_frame=70 * CHUNK)
    symbols = audio(kit, announce, 70)
    for symbol in symbols[len(symbols) // share :]:
        stream.receive_audio(symbol, kit.START)
    stream.receive_audio(audio(kit, announce, 71)[0], kit.START)
    stream.quality.tier = 3
    now = kit.START + 50 * NS_PER_MS
    stream.handle_timeout(now)
    asked = [e for tick in range(8) for e in stream.ask(now + tick * 25 * NS_PER_MS)]
    assert {e.tier for e in asked if e.seq == 70} == {asked_tier}


def test_a_chunk_that_turns_out_to_be_damaged_is_asked_for_again(follow, kit, announce):
    stream = follow(play_seq=70, play_frame=70 * CHUNK)
    for seq in (70, 71):
        for symbol in audio(kit, announce, seq):
            spoilt = replace(symbol, chunk=replace(symbol.chunk, codec=99))
            stream.receive_audio(spoilt if seq == 71 else symbol, kit.START)
    stream.handle_timeout(kit.START)
    assert wanted(stream, kit.START) == set()
    stream.buffer.read(70 * CHUNK, 2 * CHUNK)
    now = kit.START + 2 * NS_PER_S
    stream.handle_timeout(now)
    assert wanted(stream, now) == {71}


def test_a_chunk_that_was_pushed_out_is_asked_for_again(follow, kit, announce):
    stream = follow(play_seq=70, play_frame=70 * CHUNK)
    stream.buffer.chunks_max = 3
    for seq in (70, 71, 73, 72):
        for symbol in audio(kit, announce, seq):
            stream.receive_audio(symbol, kit.START)
    stream.handle_timeout(kit.START + 50 * NS_PER_MS)
    assert wanted(stream, kit.START + 50 * NS_PER_MS) == {73}


def test_a_chunk_lost_whole_after_a_hole_has_the_right_deadline(follow, kit, announce):
    """A source that was late for a minute leaves a hole in the frames, none in the numbers."""
    stream = ready_stream(follow, kit, play_seq=70, play_frame=70 * CHUNK, next_seq=70)
    hole = 60 * kit.MONO.rate
    now = kit.START + 59 * NS_PER_S
    due = announce.timeline.play_at(70 * CHUNK + hole, kit.MONO.rate) - kit.OFFSET
    assert now < due
    stream.receive_announce(
        replace(announce, play_seq=70, play_frame=70 * CHUNK + hole, next_seq=72, cookie=0, sent_at=now + kit.OFFSET),
        now,
    )
    now += 50 * NS_PER_MS
    stream.handle_timeout(now)
    assert stream._deadline_at(70, now) == due + NS_PER_S // 10
    assert wanted(stream, now) == {70, 71}


# --- what the network may try -----------------------------------------------------------------------------------------


def test_numbers_far_from_the_stream_are_refused(follow, kit, announce):
    stream = follow()
    for seq in (70 + 1000, 70 - 1000, 70 + (1 << 31)):
        for symbol in audio(kit, announce, seq, 75 * CHUNK):
            stream.receive_audio(symbol, kit.START)
    assert len(stream.buffer) == 0
    assert stream.counters.refused > 0
    stream.receive_announce(replace(announce, next_seq=1 << 31, cookie=0), kit.START)
    stream.handle_timeout(kit.START + NS_PER_S)
    assert len(stream.requests) <= stream.buffer.chunks_max


def test_a_timeline_is_followed_by_its_version(follow, kit, announce):
    stream = follow()
    newer = replace(announce.timeline, version=5, effective_at=announce.timeline.effective_at + 7)
    stream.receive_announce(replace(announce, timeline=newer), kit.START)
    assert stream.schedule.log.newest == newer
    for version in (4, 5):
        other = replace(newer, version=version, effective_at=1)
        stream.receive_announce(replace(announce, timeline=other), kit.START)
        assert stream.schedule.log.newest == newer


def test_songs_tell_of_the_timeline_too(follow, kit, announce):
    """Who has lost all else that told of a jump must not play on for that."""
    stream = follow()
    newer = replace(announce.timeline, version=5, effective_at=announce.timeline.effective_at + 7)
    song = SongInfo(session=7, timeline=newer, song_id=1, first_frame=0, frames=None, title="", artist="", album="")
    stream.receive_song(song, kit.START)
    assert stream.schedule.log.newest == newer


def test_songs_are_bounded(follow, kit, announce):
    stream = follow()
    for song_id in range(1, SONGS_MAX + 10):
        stream.receive_song(
            SongInfo(
                session=7,
                timeline=announce.timeline,
                song_id=song_id,
                first_frame=song_id * 10,
                frames=10,
                title=f"{song_id}",
                artist="",
                album="",
            ),
            kit.START,
        )
    assert len(stream._songs) == SONGS_MAX
    newest = audio(kit, announce, 50)[0]
    newest = replace(newest, chunk=replace(newest.chunk, song_id=SONGS_MAX + 9))
    stream.receive_audio(newest, kit.START)
    assert stream.song(kit.START).song_id == SONGS_MAX + 9


# --- pausing and jumping ----------------------------------------------------------------------------------------------


def records(kit, announce, *steps):
    """Return records that follow the announced one: state, frame, seconds from now, epoch."""
    return [
        replace(
            announce.timeline,
            version=version,
            state=state,
            media_frame=frame,
            effective_at=kit.EPOCH + round(after_s * NS_PER_S),
            epoch=epoch,
        )
        for version, (state, frame, after_s, epoch) in enumerate(steps, 2)
    ]


def sync(kit, timeline, target, phase=SyncPhase.PREPARE, after_s=0.3, required_ms=1_000):
    return Sync(
        session=7,
        timeline=timeline,
        phase=phase,
        target_frame=target,
        sync_at=kit.EPOCH + round(after_s * NS_PER_S),
        required_ms=required_ms,
        slowest_latency_us=500_000,
        buffer_offset_ms=0,
        waiting=1,
        slowest="attic",
        reason="",
    )


PAUSED_AT = 54 * CHUNK + CHUNK // 2  # chunk 50 is due now: 0.45 s from now


def test_a_pause_makes_nothing_late_that_comes_after_it(follow, kit, announce):
    stream = follow(next_seq=50)
    (pause,) = records(kit, announce, (PlayState.PAUSED, PAUSED_AT, 0.45, 1))
    stream.receive_announce(replace(announce, timeline=pause, next_seq=70), kit.START)
    due = announce.timeline.play_at(54 * CHUNK, kit.MONO.rate) - kit.OFFSET
    assert stream._deadline_at(53, kit.START) == due, "what is played before the pause is due as it was"
    deadlines = [stream._deadline_at(seq, kit.START) for seq in range(54, 60)]
    assert deadlines == sorted(set(deadlines)), "the order stays"
    assert deadlines[0] == kit.START + UNHURRIED_NS + kit.ns_from_frames(CHUNK // 2, kit.MONO.rate)


@pytest.mark.parametrize("resumed", [False, True])
def test_what_is_missing_is_asked_for_throughout_a_pause_and_hurried_by_the_resume(follow, kit, announce, resumed):
    stream = ready_stream(follow, kit, play_seq=50, next_seq=50)
    pause, play = records(kit, announce, (PlayState.PAUSED, 50 * CHUNK, 0, 1), (PlayState.PLAYING, 50 * CHUNK, 60.4, 1))
    stream.receive_announce(replace(announce, timeline=pause, next_seq=52), kit.START)
    stream.handle_timeout(kit.START + 50 * NS_PER_MS)
    now = kit.START + 60 * NS_PER_S
    if not resumed:
        assert wanted(stream, now) == {50, 51}, "a minute later it is still missing, and can still come in time"
    else:
        stream.receive_announce(replace(announce, timeline=play, next_seq=52), now)
        assert stream._deadline_at(50, now) == now + NS_PER_S // 10 + 400 * NS_PER_MS
        assert wanted(stream, now + 30 * NS_PER_MS) == {50, 51}
        assert stream.ask(now + 2 * NS_PER_S) == (), "too late"
        assert len(stream.requests) == 0


@pytest.mark.parametrize("target", [50 * CHUNK, 100 * CHUNK])
def test_what_a_start_begins_with_is_needed_at_once(follow, kit, announce, target):
    """Resuming where it stopped, or jumping: the deadline is the earliest start, and moves while it is waited for."""
    stream = follow(play_seq=50, next_seq=50)
    (pause,) = records(kit, announce, (PlayState.PAUSED, 50 * CHUNK, 0, 1))
    stream.receive_announce(replace(announce, timeline=pause, next_seq=52), kit.START)
    assert stream.state(kit.START) is ListenerState.SYNCING
    assert not stream.preparing
    stream.receive_sync(sync(kit, pause, target), kit.START)
    assert stream.preparing
    for now in (kit.START, kit.START + NS_PER_S):
        start_at = max(kit.START + 300 * NS_PER_MS, now + NS_PER_S // 2)
        seq = target // CHUNK
        assert stream._deadline_at(seq, now) == start_at + NS_PER_S // 10
        assert stream._deadline_at(seq + 7, now) == start_at + 8 * NS_PER_S // 10


def test_while_a_jump_is_prepared_what_plays_keeps_its_deadlines(follow, kit, announce):
    stream = follow()
    stream.receive_sync(sync(kit, announce.timeline, 90 * CHUNK), kit.START)
    due = announce.timeline.play_at(56 * CHUNK, kit.MONO.rate) - kit.OFFSET
    assert stream._deadline_at(55, kit.START) == due
    assert stream._deadline_at(90, kit.START) == kit.START + NS_PER_S // 2 + NS_PER_S // 10


def test_an_order_to_go_ends_the_preparation(follow, kit, announce):
    stream = follow(next_seq=50)
    stream.receive_sync(sync(kit, announce.timeline, 90 * CHUNK), kit.START)
    (jump,) = records(kit, announce, (PlayState.PLAYING, 90 * CHUNK, 0.4, 2))
    stream.receive_sync(sync(kit, jump, 90 * CHUNK, SyncPhase.GO, 0.4), kit.START)
    assert not stream.preparing
    assert stream.schedule.log.newest == jump
    assert stream._deadline_at(90, kit.START) == kit.START + 500 * NS_PER_MS
    old = announce.timeline.play_at(53 * CHUNK, kit.MONO.rate) - kit.OFFSET
    assert stream._deadline_at(52, kit.START) == old, "until the jump what plays is due as before"
    assert stream._deadline_at(60, kit.START) is None, "and what lies behind it never"


def test_what_a_jump_leaves_out_is_dropped_and_not_asked_for(follow, kit, announce):
    stream = follow(play_seq=50, next_seq=50)
    for seq in (50, 53, 54, 60):
        for symbol in audio(kit, announce, seq):
            stream.receive_audio(symbol, kit.START)
    stream.handle_timeout(kit.START + 50 * NS_PER_MS)
    assert set(stream.requests._wants) == {51, 52, *range(55, 60)}
    (jump,) = records(kit, announce, (PlayState.PLAYING, 90 * CHUNK, 0.45, 2))
    now = kit.START + 60 * NS_PER_MS
    stream.receive_sync(sync(kit, jump, 90 * CHUNK, SyncPhase.GO, 0.45), now)
    assert [seq for seq in range(50, 62) if stream.buffer.header(seq)] == [50, 53, 54], "54 is played in part"
    assert set(stream.requests._wants) == {51, 52}
    for symbol in audio(kit, announce, 61):
        stream.receive_audio(symbol, now)
    assert stream.buffer.header(61) is None, "nor is what was on its way taken in"
    for symbol in audio(kit, announce, 62, 90 * CHUNK):
        stream.receive_audio(symbol, now)
    assert stream.buffer.contiguous_until(90 * CHUNK) == 91 * CHUNK


def test_what_was_reckoned_into_the_new_epoch_is_asked_for_until_the_answer_says_otherwise(follow, kit, announce):
    stream = follow(play_seq=50, next_seq=50)
    (jump,) = records(kit, announce, (PlayState.PLAYING, 90 * CHUNK, 0.45, 2))
    stream.receive_sync(sync(kit, jump, 90 * CHUNK, SyncPhase.GO, 0.45), kit.START)
    for seq in (61, 62):
        stream.requests.want(seq, kit.START + NS_PER_S, kit.START, eager=True)
    stream.receive_audio(audio(kit, announce, 61, repair=True)[0], kit.START)
    assert set(stream.requests._wants) == {62}


def test_the_first_symbol_says_when_a_chunk_is_due_that_had_been_reckoned(follow, kit, announce):
    stream = follow(next_seq=60)
    stream.receive_audio(audio(kit, announce, 55, 57 * CHUNK)[0], kit.START)  # a hole of two chunks lay before it
    due = announce.timeline.play_at(58 * CHUNK, kit.MONO.rate) - kit.OFFSET
    assert stream.requests._wants[55].deadline_at == due == stream.requests._wants[54].deadline_at + NS_PER_S // 10


def test_nor_are_those_beside_it_due_when_they_had_been_reckoned(follow, kit, announce):
    stream = follow(play_seq=50, next_seq=60)
    stream.receive_audio(audio(kit, announce, 59, 63 * CHUNK)[0], kit.START)  # a hole of four chunks lay somewhere
    due = [announce.timeline.play_at(frame * CHUNK, kit.MONO.rate) - kit.OFFSET for frame in range(100)]
    assert [stream.requests._wants[seq].deadline_at for seq in (50, 53, 55)] == [due[51], due[58], due[60]]
    stream.receive_audio(audio(kit, announce, 54)[0], kit.START)  # behind this one
    assert [stream.requests._wants[seq].deadline_at for seq in (50, 53, 55)] == [due[51], due[54], due[60]]


def test_of_many_jumps_the_last_few_are_remembered(follow, kit, announce):
    stream = follow(play_seq=50, next_seq=50)
    jumps = [(PlayState.PLAYING, (90 + 50 * k) * CHUNK, 0.5 + k, 2 + k) for k in range(LEFT_OUT_MAX + 3)]
    for jump, (_, frame, at_s, _) in zip(records(kit, announce, *jumps), jumps, strict=True):
        stream.receive_sync(sync(kit, jump, frame, SyncPhase.GO, at_s), kit.START)
    assert stream.schedule.log.newest == jump
    assert len(stream._left_out) == LEFT_OUT_MAX


def ready_stream(follow, kit, **changes):
    stream = follow(**changes)
    stream._clock_ready = True
    return stream


def test_it_is_ready_when_it_holds_what_is_required_from_the_target_on(follow, kit, announce):
    stream = ready_stream(follow, kit)
    assert stream.ready_frame(kit.START) is None
    stream.receive_sync(sync(kit, announce.timeline, 80 * CHUNK), kit.START)
    for seq in (*range(80, 85), *range(86, 91)):
        for symbol in audio(kit, announce, seq):
            stream.receive_audio(symbol, kit.START)
    assert stream.ready_frame(kit.START) is None, "a chunk is missing"
    *most, last = audio(kit, announce, 85)
    for symbol in most:
        stream.receive_audio(symbol, kit.START)
    assert stream.ready_frame(kit.START) is None, "and a symbol still is"
    stream.receive_audio(last, kit.START)
    assert stream.ready_frame(kit.START) == 80 * CHUNK
    stream.receive_sync(sync(kit, announce.timeline, 80 * CHUNK, required_ms=1_101), kit.START)
    assert stream.ready_frame(kit.START) is None
    stream._clock_ready = False
    stream.receive_sync(sync(kit, announce.timeline, 80 * CHUNK), kit.START)
    assert stream.ready_frame(kit.START) is None, "nor without a clock"


def test_up_to_the_final_frame_is_enough_but_the_end_of_the_old_epoch_is_not(follow, kit, announce):
    stream = ready_stream(follow, kit, final_frame=80 * CHUNK)
    stream.receive_sync(sync(kit, announce.timeline, 80 * CHUNK), kit.START)
    assert stream.ready_frame(kit.START) is None, "nothing of what was jumped to is here"
    stream.receive_announce(replace(announce, final_frame=83 * CHUNK, sent_at=kit.EPOCH + 5), kit.START)
    for seq in range(80, 83):
        assert stream.ready_frame(kit.START) is None
        for symbol in audio(kit, announce, seq):
            stream.receive_audio(symbol, kit.START)
    assert stream.ready_frame(kit.START) == 80 * CHUNK


def test_the_newest_announcement_says_where_the_end_is(follow, kit, announce):
    stream = follow()
    for sent_at, said, known in ((5, 900, 900), (3, None, 900), (6, None, None), (4, 900, None), (9, 950, 950)):
        stream.receive_announce(replace(announce, final_frame=said, sent_at=kit.EPOCH + sent_at), kit.START)
        assert stream.final_frame == known


def test_an_end_of_the_old_epoch_ends_with_it(follow, kit, announce):
    for final_frame, kept in ((80 * CHUNK, None), (81 * CHUNK, 81 * CHUNK)):
        stream = follow(final_frame=final_frame)
        (jump,) = records(kit, announce, (PlayState.PLAYING, 80 * CHUNK, 0.4, 2))
        stream.receive_sync(sync(kit, jump, 80 * CHUNK, SyncPhase.GO, 0.4), kit.START)
        assert stream.final_frame == kept


def test_the_state_follows_the_records(follow, kit, announce):
    stream = ready_stream(follow, kit)
    stream.attach(ExactPlayout(stream.buffer, stream.schedule))
    stream.playout.start(50 * CHUNK)
    states = []
    pause, play = records(kit, announce, (PlayState.PAUSED, PAUSED_AT, 0.45, 1), (PlayState.PLAYING, PAUSED_AT, 2.0, 1))
    for at_s, command in ((0.0, None), (0.1, pause), (0.5, None), (1.0, pause), (1.5, play), (2.1, None)):
        now = kit.START + round(at_s * NS_PER_S)
        if at_s == 1.0:
            stream.receive_sync(sync(kit, pause, PAUSED_AT), now)
        elif command is not None:
            stream.receive_announce(replace(announce, timeline=command), now)
        states.append(stream.state(now).name)
    assert states == ["PLAYING", "PLAYING", "PAUSED", "BUFFERING", "BUFFERING", "PLAYING"]


def test_the_song_is_that_of_the_chunk_under_the_cursor(follow, kit, announce):
    """Not of the newest announced: after a jump back songs are not in the order of their frames."""
    stream = ready_stream(follow, kit)
    stream.attach(ExactPlayout(stream.buffer, stream.schedule))
    for song_id, seq, first in ((5, 50, 50), (6, 51, 51), (3, 52, 90)):
        stream.receive_song(
            SongInfo(
                session=7, timeline=announce.timeline, song_id=song_id, first_frame=first * CHUNK, frames=None,
                title=f"{song_id}", artist="", album="",
            ),
            kit.START,
        )  # fmt: skip
        for symbol in audio(kit, announce, seq, first * CHUNK):
            stream.receive_audio(replace(symbol, chunk=replace(symbol.chunk, song_id=song_id)), kit.START)
    heard = []
    for frame in (50 * CHUNK, 51 * CHUNK - 1, 51 * CHUNK, 52 * CHUNK, 90 * CHUNK):
        stream.playout.start(frame)
        song = stream.song(kit.START)
        heard.append(song and song.song_id)
    assert heard == [5, 5, 6, None, 3]


# --- with a host ------------------------------------------------------------------------------------------------------


def test_a_stream_is_heard_bit_for_bit_and_in_time(world, kit):
    it = world().run(6)
    assert np.array_equal(it.heard, kit.counting(0, 32_000))
    zero = it.host.transport.newest.effective_at - it.offset
    for block in it.blocks:
        assert abs(block.due_at - zero - kit.ns_from_frames(block.frame, kit.MONO.rate)) < 50_000
    assert it.listener.state(it.now) is ListenerState.ENDED


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_fifth_of_all_datagrams_lost_is_nothing_lost(world, kit, seed):
    rng = Random(seed)
    it = world(seed=seed, loses=lambda datagram: rng.random() < 0.2).run(6)
    heard = it.heard
    assert len(heard)
    first = it.blocks[0].frame
    assert np.array_equal(heard, kit.counting(first, 32_000 - first))
    counters = it.listener.stream.counters
    assert counters.symbols_lost > 4
    assert counters.symbols_repaired > 4
    assert it.listener.stream.chunks_concealed == 0


def test_an_outage_longer_than_the_buffer_is_silence_and_then_music(world, kit):
    broken = []
    it = world(seconds=12.0, loses=lambda datagram: bool(broken))
    it.run(3)
    broken.append(True)
    it.run(4)
    broken.clear()
    it.run(8)
    heard = it.heard
    truth = kit.counting(it.blocks[0].frame, len(heard))
    silent = heard[:, 0] == 0
    assert np.array_equal(heard[~silent], truth[~silent])
    assert 1.0 < np.count_nonzero(silent) / kit.MONO.rate < 4.5
    assert not silent[-16_000:].any()


def test_a_clock_that_comes_late_is_waited_for(world, kit):
    """Music piles up meanwhile; what has passed must make room for what is to come."""
    it = world(seconds=40.0, answers_clock=False)
    it.run(20)
    assert it.listener.state(it.now) is ListenerState.SYNCING
    assert not it.blocks
    it.answers_clock = True
    it.run(10)
    assert it.listener.state(it.now) is ListenerState.PLAYING
    assert np.array_equal(it.heard, kit.counting(it.blocks[0].frame, len(it.heard)))


@pytest.mark.parametrize("seed", range(20))
def test_lost_answers_of_the_clock_do_not_cost_the_first_frame(world, seed):
    """A burst is as many questions as a start needs answers: those that are lost must be made up for at once."""
    rng = Random(seed)
    it = world(seconds=1.5, overrides={"host.start_lead": 1.5}, seed=seed)
    it.run(4, until=lambda: setattr(it, "answers_clock", rng.random() > 0.15) or it.blocks)
    assert it.blocks[0].frame == 0


def test_a_machine_that_slept_finds_back(world, kit):
    """Its clock stood still while the music went on by more than the buffer can bridge: 30 s of a buffer of 2 s."""
    it = world(seconds=70.0).run(3)
    assert it.listener.state(it.now) is ListenerState.PLAYING
    for _ in range(600):
        it.offset += 50 * NS_PER_MS
        it.step_host()
        it.to_listener.clear()
    before = len(it.blocks)
    it.run(20)
    heard = np.concatenate([block.samples for block in it.blocks[before:]])
    assert heard[-kit.MONO.rate :].all(), "music again"
    due = it.host.position_frame(it.now + it.offset)
    assert abs(it.listener.stream.playout.cursor - due) < kit.MONO.rate // 10


def test_a_playout_that_is_attached_late_knows_the_end(follow, kit):
    stream = follow(final_frame=123_456)
    stream.attach(ExactPlayout(stream.buffer, stream.schedule))
    assert stream.playout.final_frame == 123_456
    stream.set_final(99)
    assert stream.playout.final_frame == 99


def test_nothing_it_sends_is_larger_than_what_it_is_asked(world):
    """Every datagram of a listener decodes, and is none of a host's."""
    it = world()
    seen = []
    real = it.host.receive_datagram
    it.host.receive_datagram = lambda data, source, now: (seen.append(decode(data)), real(data, source, now))
    it.run(3)
    assert {type(message).__name__ for message in seen} >= {"Solicit", "Report", "Nack"} - {"Nack"}
    assert not [message for message in seen if isinstance(message, Announce | Audio)]
    assert it.host.counters.rejected == 0


# --- a host that changes what it sends --------------------------------------------------------------------------------


def test_concealed_chunks_are_counted_by_the_length_they_had(follow, announce):
    stream = follow()
    playout = type("Playout", (), {"concealed_frames": 0, "final_frame": None, "cursor": None, "ended": False})()
    stream.attach(playout)
    playout.concealed_frames = 2 * CHUNK + 1
    assert stream.chunks_concealed == 3
    longer = replace(announce, chunk_frames=4 * CHUNK, buffer_ms=8_000, cookie=0)
    stream.receive_announce(longer, stream.heard_at)
    assert stream.chunks_concealed == 3
    playout.concealed_frames += 4 * CHUNK + 1
    assert stream.chunks_concealed == 5
    stream.receive_announce(announce, stream.heard_at)
    playout.concealed_frames += CHUNK
    assert stream.chunks_concealed == 6


def test_a_deeper_buffer_is_followed(follow, announce, kit):
    stream = follow()
    chunks_max = stream.buffer.chunks_max
    stream.receive_announce(replace(announce, buffer_ms=45_000, cookie=0), kit.START)
    assert stream.buffer_ns == 45 * NS_PER_S
    assert stream.buffer.chunks_max == chunks_max + 2 * 43 * 10


def test_what_is_lost_where_longer_chunks_begin_is_asked_for_in_time(follow, announce, kit):
    stream = follow(next_seq=50)
    for seq, first, frames in ((50, 50 * CHUNK, CHUNK), (53, 52 * CHUNK + 2 * CHUNK, 2 * CHUNK)):
        for symbol in kit.chunk_symbols(seq, first, kit.counting(first, frames), timeline=announce.timeline):
            stream.receive_audio(symbol, kit.START)
    stream.receive_announce(replace(announce, chunk_frames=2 * CHUNK, next_seq=54, cookie=0), kit.START)
    ends = [stream._deadline_at(seq, kit.START) - stream._deadline_at(50, kit.START) for seq in (51, 52)]
    assert ends[1] == 3 * NS_PER_S // 10, "up to the chunk that is here"
    assert NS_PER_S // 10 <= ends[0] <= 2 * NS_PER_S // 10


def test_jitter_is_that_of_announcements_to_all(follow, announce, kit):
    stream = follow()
    for second in range(1, 101):
        sent_at = announce.sent_at + second * NS_PER_S
        at = kit.START + second * NS_PER_S + (second % 2) * 40 * NS_PER_MS
        stream.receive_announce(replace(announce, sent_at=sent_at, nonce=0, cookie=0), at)
        stream.receive_announce(replace(announce, sent_at=sent_at + 1), at + NS_PER_S // 2)
    assert stream.arrivals.jitter_ns == pytest.approx(40 * NS_PER_MS, rel=0.05)


def test_the_clock_is_asked_more_often_where_its_answers_scatter(follow, monkeypatch):
    stream = follow()

    def answered(_data, at):
        return Exchange(sent_at=at - 10, host_received_at=10**18, host_sent_at=10**18 + 1, received_at=at)

    monkeypatch.setattr(type(stream.clock), "excess_ns", property(lambda _clock: 9e6))
    monkeypatch.setattr(stream.poller, "receive_datagram", answered)
    stream.receive_clock(b"", stream.heard_at + 1000)
    assert stream.poller.excess_ns == 9e6


def exchanges(stream, kit, monkeypatch, ahead_ns, count=8, **changes):
    """Let the clock be answered, `ahead_ns` ahead of what was guessed; return when the last answer came."""
    for number in range(count):
        at = kit.START + number * 20 * NS_PER_MS
        host_at = kit.EPOCH + at - kit.START + ahead_ns
        exchange = Exchange(
            sent_at=at, host_received_at=host_at + 50_000, host_sent_at=host_at + 51_000, received_at=at + 101_000
        )
        monkeypatch.setattr(stream.poller, "receive_datagram", lambda *_, e=exchange: replace(e, **changes))
        stream.receive_clock(b"", exchange.received_at)
    return at + 101_000


def test_a_damaged_answer_of_the_clock_tells_nothing(follow, kit, monkeypatch):
    """A bit of 8192 s made a round trip of that, negative; with it nothing was ever too late to be asked for."""
    stream = follow()
    exchanges(stream, kit, monkeypatch, 0, count=1, host_received_at=kit.EPOCH - 8192 * NS_PER_S)
    assert (stream.rtt_ns, stream.requests.rtt_ns, stream.exchange) == (0, 0, None)
    exchanges(stream, kit, monkeypatch, 0, count=1)
    assert stream.rtt_ns == stream.requests.rtt_ns == 100_000


def test_deadlines_are_reckoned_anew_once_the_clock_is_known(follow, kit, monkeypatch):
    stream = follow()
    guessed_at = stream.requests._wants[60].deadline_at
    exchanges(stream, kit, monkeypatch, 200 * NS_PER_MS)
    assert stream.poller.settled
    assert stream.requests._wants[60].deadline_at == pytest.approx(guessed_at - 200 * NS_PER_MS, abs=NS_PER_MS)


def test_what_a_device_that_is_gone_does_not_take_makes_room(follow, announce, kit):
    stream = follow(next_seq=50)
    stream.attach(ExactPlayout(stream.buffer, stream.schedule))
    stream.playout.start(50 * CHUNK)
    seconds = stream.buffer.chunks_max // 10 + 5
    for seq in range(50, 50 + 10 * seconds):
        now = kit.START + (seq - 50) * NS_PER_S // 10
        for symbol in audio(kit, announce, seq):
            stream.receive_audio(symbol, now)
        stream.handle_timeout(now)
        assert stream.buffer.header(seq) is not None
    assert stream.buffer.overflows == 0
