from dataclasses import replace
from random import Random

import numpy as np
import pytest

from radiosync.config import Config
from radiosync.listener.exact import ExactPlayout
from radiosync.listener.stream import SONGS_MAX, Stream
from radiosync.units import NS_PER_MS, NS_PER_S
from radiosync.wire.codec import decode
from radiosync.wire.messages import Announce, Audio, ListenerState, SongInfo

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
        return Stream(replace(announce, **changes), kit.HOST[0], kit.START, Random(4), Config())

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
    assert stream._deadline_at(50) == kit.START + NS_PER_S // 10
    assert stream._deadline_at(60) == stream._deadline_at(50) + NS_PER_S


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
    assert stream._deadline_at(start + 9) == kit.START + NS_PER_S


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


def test_a_chunk_lost_whole_after_a_hole_has_the_right_deadline(follow, kit, announce):
    """A source that was late for a minute leaves a hole in the frames, none in the numbers."""
    stream = follow(play_seq=70, play_frame=70 * CHUNK, next_seq=70)
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
    assert stream._deadline_at(70) == due + NS_PER_S // 10
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
    assert len(stream.requests) <= stream._chunks_max


def test_a_timeline_is_followed_by_its_version(follow, kit, announce):
    stream = follow()
    newer = replace(announce.timeline, version=5, effective_at=announce.timeline.effective_at + 7)
    stream.receive_announce(replace(announce, timeline=newer), kit.START)
    assert stream.schedule.timeline == newer
    for version in (4, 5):
        other = replace(newer, version=version, effective_at=1)
        stream.receive_announce(replace(announce, timeline=other), kit.START)
        assert stream.schedule.timeline == newer


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
            )
        )
    assert len(stream._songs) == SONGS_MAX
    assert stream.song(kit.START).song_id == SONGS_MAX + 9


# --- with a host ------------------------------------------------------------------------------------------------------


def test_a_stream_is_heard_bit_for_bit_and_in_time(world, kit):
    it = world().run(6)
    assert np.array_equal(it.heard, kit.counting(0, 32_000))
    zero = it.host.timeline.effective_at - it.offset
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
