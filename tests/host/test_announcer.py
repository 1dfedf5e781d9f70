from dataclasses import replace
from itertools import pairwise

import pytest

from radiosync.audio.song import Song
from radiosync.host.announcer import HURRIED, HURRY_NS, PERIOD_NS, SONGS_MAX, Announcer


@pytest.fixture
def announcer(kit):
    return Announcer(kit.NOW)


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


def test_three_quickly_then_one_a_second(announcer, kit):
    announced = times(announcer, kit.NOW + 5 * PERIOD_NS)
    assert announced[:HURRIED] == [kit.NOW + i * HURRY_NS for i in range(HURRIED)]
    assert [b - a for a, b in pairwise(announced[2:])] == [PERIOD_NS] * (len(announced) - 3)


def test_hurry_begins_anew(announcer, kit):
    times(announcer, kit.NOW + 3 * PERIOD_NS)
    announcer.hurry(kit.NOW + 3 * PERIOD_NS)
    announced = times(announcer, kit.NOW + 4 * PERIOD_NS)
    assert [at - kit.NOW - 3 * PERIOD_NS for at in announced] == [0, HURRY_NS, 2 * HURRY_NS]


def test_a_late_loop_announces_once(announcer, kit):
    now = kit.NOW + 100 * PERIOD_NS
    assert announcer.due(now)
    assert not announcer.due(now)


def test_songs_are_placed_by_any_of_their_chunks(announcer, kit):
    note(announcer, kit, 1, 800, song_frame=300)
    note(announcer, kit, 1, 8000, song_frame=9)
    note(announcer, kit, 2, 4000)
    assert announcer.song_at(499) is None
    assert announcer.song_at(500)[0].song_id == 1
    assert announcer.song_at(3999)[0].song_id == 1
    assert announcer.song_at(4000)[0].song_id == 2
    assert announcer.song_at(10**9)[0].song_id == 2


def test_the_song_that_plays_and_the_next_are_told(announcer, kit):
    for song_id in range(1, 6):
        note(announcer, kit, song_id, song_id * 8000)
    assert announcer.songs_from(0) == []
    assert [song.song_id for song, _ in announcer.songs_from(17_000)] == [2, 3]
    assert [first for _, first in announcer.songs_from(17_000)] == [16_000, 24_000]
    assert [song.song_id for song, _ in announcer.songs_from(10**9)] == [5]


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
    assert announcer.song_at(11 * 800)[0].song_id == 11
