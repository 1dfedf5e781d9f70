from dataclasses import replace
from itertools import pairwise

import pytest

from radiosync.audio.song import Song
from radiosync.host.announcer import (
    HURRIED,
    HURRY_NS,
    PERIOD_NS,
    SONGS_MAX,
    Announcer,
    SessionFacts,
    SessionState,
)
from radiosync.timeline import PlayState, Timeline
from radiosync.units import NS_PER_MS
from radiosync.wire.codec import decode
from radiosync.wire.limits import SOLOS_MAX
from radiosync.wire.messages import Announce, Solo, SoloEntry, SongInfo


@pytest.fixture
def facts(kit):
    return SessionFacts(
        session=7,
        format=kit.MONO,
        control_port=45_451,
        clock_port=45_452,
        host_name="den",
    )


@pytest.fixture
def state(kit):
    return SessionState(
        timeline=Timeline(version=3, epoch=2, state=PlayState.PAUSED, media_frame=17_000, effective_at=kit.NOW),
        position=17_000,
        play_seq=21,
        play_frame=16_800,
        next_seq=40,
        final_frame=None,
        chunk_frames=800,
        buffer_ns=2_000 * NS_PER_MS,
        buffered_ns=1_500 * NS_PER_MS,
        report_ns=2_000 * NS_PER_MS,
        clock_ns=3 * NS_PER_MS,
    )


@pytest.fixture
def announcer(kit, facts):
    return Announcer(facts, kit.NOW)


def times(announcer, until):
    announced = []
    while announcer.due_at <= until:
        at = announcer.due_at
        assert not announcer.due(at - 1)
        assert announcer.due(at)
        assert not announcer.due(at)
        announced.append(at)
    return announced


def note(announcer, kit, song_id, first_frame, song_frame=0):
    header = replace(kit.chunk().header, first_frame=first_frame, song_frame=song_frame)
    announcer.note_song(Song(song_id=song_id, title=f"{song_id}"), header)


def test_some_quickly_then_one_a_second(announcer, kit):
    announced = times(announcer, kit.NOW + 5 * PERIOD_NS)
    assert announced[:HURRIED] == [kit.NOW + i * HURRY_NS for i in range(HURRIED)]
    assert [b - a for a, b in pairwise(announced[HURRIED - 1 :])] == [PERIOD_NS] * (len(announced) - HURRIED)


def test_hurry_begins_anew(announcer, kit):
    times(announcer, kit.NOW + 3 * PERIOD_NS)
    announcer.hurry(kit.NOW + 3 * PERIOD_NS)
    announced = times(announcer, kit.NOW + 4 * PERIOD_NS)
    assert [at - kit.NOW - 3 * PERIOD_NS for at in announced] == [i * HURRY_NS for i in range(HURRIED)]


def test_a_late_loop_announces_once(announcer, kit):
    now = kit.NOW + 100 * PERIOD_NS
    assert announcer.due(now)
    assert not announcer.due(now)


def test_songs_are_placed_by_their_first_chunk(announcer, kit):
    note(announcer, kit, 1, 500, song_frame=300)
    note(announcer, kit, 1, 8000, song_frame=7_800)
    note(announcer, kit, 2, 4000)
    assert announcer.song_at(499) is None
    known = announcer.song_at(500)
    assert (known.song.song_id, known.begin, known.song_frame) == (1, 500, 300), "it was entered in its middle"
    assert announcer.song_at(3999).song.song_id == 1
    assert announcer.song_at(4000).song.song_id == 2
    assert announcer.song_at(10**9).song.song_id == 2


def test_the_song_that_plays_and_the_next_are_told(announcer, kit):
    for song_id in range(1, 6):
        note(announcer, kit, song_id, song_id * 8000)
    assert [known.song.song_id for known in announcer.songs_from(0)] == [1, 2], "those that will be first"
    assert [known.song.song_id for known in announcer.songs_from(17_000)] == [2, 3]
    assert [known.begin for known in announcer.songs_from(17_000)] == [16_000, 24_000]
    assert [known.song.song_id for known in announcer.songs_from(10**9)] == [5]


def test_songs_that_a_jump_left_behind_are_forgotten(announcer, kit):
    """Nobody will hear them, and the numbers of their frames may be used again."""
    for song_id in range(1, 5):
        note(announcer, kit, song_id, song_id * 8000)
    announcer.forget_songs_after(17_000)
    note(announcer, kit, 9, 20_000)
    assert [known.song.song_id for known in announcer.songs_from(17_000)] == [2, 9]
    assert announcer.song_at(10**9).song.song_id == 9


def test_announcements_hold_the_facts_and_the_state(announcer, kit, facts, state):
    for song_id in range(1, 5):
        note(announcer, kit, song_id, song_id * 8000)
    announce, *songs = [decode(data) for data in announcer.announcements(state, kit.NOW + 5)]
    assert announce == Announce(
        session=7,
        timeline=state.timeline,
        sent_at=kit.NOW + 5,
        format=kit.MONO,
        control_port=45_451,
        clock_port=45_452,
        chunk_frames=800,
        play_seq=21,
        play_frame=16_800,
        next_seq=40,
        final_frame=None,
        buffer_ms=2_000,
        buffered_ms=1_500,
        song_id=2,
        nonce=0,
        cookie=0,
        report_ms=2_000,
        clock_ms=3,
        host_name="den",
    )
    assert [(type(song), song.song_id, song.first_frame, song.timeline) for song in songs] == [
        (SongInfo, 2, 16_000, state.timeline),
        (SongInfo, 3, 24_000, state.timeline),
    ]


def test_an_answer_names_one_song(announcer, kit, state):
    for song_id in range(1, 5):
        note(announcer, kit, song_id, song_id * 8000)
    announce, *songs = [decode(data) for data in announcer.announcements(state, kit.NOW, nonce=3, cookie=4)]
    assert (announce.nonce, announce.cookie) == (3, 4)
    assert [song.song_id for song in songs] == [2]


def test_without_a_song_there_is_none_to_announce(announcer, kit, state):
    (announce,) = [decode(data) for data in announcer.announcements(state, kit.NOW)]
    assert announce.song_id == 0


def test_each_song_starts_once(announcer, kit):
    note(announcer, kit, 1, 0)
    note(announcer, kit, 2, 8000)
    assert announcer.song_started(-1) is None
    assert announcer.song_started(0).song_id == 1
    assert announcer.song_started(7999) is None
    assert announcer.song_started(9000).song_id == 2
    assert announcer.song_started(9000) is None


def test_songs_are_bounded_and_the_oldest_goes(announcer, kit):
    for song_id in range(1, SONGS_MAX + 11):
        note(announcer, kit, song_id, song_id * 800)
    assert len(announcer._songs) == SONGS_MAX
    assert announcer.song_at(10 * 800) is None
    assert announcer.song_at(11 * 800).song.song_id == 11


def test_stretches_are_told_with_every_announcement_until_they_have_passed(announcer, state, kit):
    def told(position, **answer):
        datagrams = announcer.announcements(replace(state, position=position), kit.NOW, **answer)
        return [m.entries for m in map(decode, datagrams) if isinstance(m, Solo)]

    assert told(17_000) == []
    solos = tuple(SoloEntry(listener_id=5 + i, first_frame=20_000 + 1000 * i, frames=1000) for i in range(60))
    announcer.solos = solos
    assert told(17_000) == [solos[:SOLOS_MAX]]  # as many as a datagram holds, the next ones first
    assert told(21_999) == [solos[1 : 1 + SOLOS_MAX]]
    assert told(22_000) == [solos[2 : 2 + SOLOS_MAX]]
    assert told(79_999) == [solos[-1:]]
    assert told(80_000) == []
    assert told(17_000, nonce=3, cookie=4) == []  # an answer must not outweigh the question
