"""What a session writes down, and what it makes of it when it comes back."""

from dataclasses import replace
from random import Random

import pytest

from radiosync.config import Config
from radiosync.host.continuity import MARKS_MAX, Continuity
from radiosync.host.session import HostSession
from radiosync.timeline import PlayState
from radiosync.units import NS_PER_MS, NS_PER_S

KEYS = {"radio_sync.buffer_duration": 10.0}


@pytest.fixture
def stage(driven):
    stage = driven(**KEYS)
    stage.run(6.0)
    return stage


def go_on(stage, kit, remembered):
    config = Config.load(None, KEYS)
    return HostSession(
        config, kit.MONO, rng=Random(2), now=stage.now, control_port=1, clock_port=2, name="den", continued=remembered
    )


def test_everything_is_written_down_before_it_is_said(driven):
    stage = driven(**KEYS)
    stamp, known = None, None
    for _ in range(400):
        before = len(stage.sent)
        stage.tick()
        changed = stage.session.continuity.stamp(stage.session.transport)
        if changed != stamp:
            stamp, known = changed, stage.session.remembered(stage.now)
        for _, message, _ in stage.sent[before:]:
            if known is not None and hasattr(message, "chunk"):
                mark = next((m for m in known.chunks if m.seq == message.chunk.seq), None)
                assert mark is not None
                assert (mark.first_frame, mark.frames) == (message.chunk.first_frame, message.chunk.frames)
            if known is not None and hasattr(message, "timeline"):
                assert message.timeline in known.records
    assert known is not None


def test_a_new_record_or_chunk_wants_writing_down(stage):
    session = stage.session
    stamp = session.continuity.stamp(session.transport)
    session.pause(stage.now)
    paused = session.continuity.stamp(session.transport)
    assert paused != stamp
    session.resume(stage.now)
    assert session.continuity.stamp(session.transport) not in (stamp, paused)


def test_what_listeners_hold_no_more_is_stale(stage, kit):
    remembered = stage.session.remembered(stage.now)
    sent = remembered.next_seq_sent
    end_at = remembered.records[-1].play_at(next(m for m in remembered.chunks if m.seq == sent).first_frame, 8_000)
    config = Config.load(None, KEYS)
    assert remembered.as_of(kit.MONO, config, end_at - 300 * NS_PER_MS) is not None
    assert remembered.as_of(kit.MONO, config, end_at - 100 * NS_PER_MS) is None
    assert remembered.as_of(kit.MONO, config, stage.now - NS_PER_S) is None, "of the future"


def test_during_a_pause_the_age_counts(stage, kit):
    stage.session.pause(stage.now)
    stage.run(1.0)
    remembered = stage.session.remembered(stage.now)
    config = Config.load(None, KEYS)
    assert remembered.as_of(kit.MONO, config, stage.now + 40 * NS_PER_S) is not None
    assert remembered.as_of(kit.MONO, config, stage.now + 46 * NS_PER_S) is None


def test_a_start_that_was_being_prepared_is_prepared_again(stage, kit):
    stage.session.pause(stage.now)
    stage.run(2.0)
    stage.session.resume(stage.now)
    prepared = stage.session.transport.preparation
    session = go_on(stage, kit, stage.session.remembered(stage.now))
    assert session.transport.preparation == replace(prepared, began_at=stage.now)


def test_who_is_held_for_somebody_who_ran_dry_is_let_go(stage, kit):
    stage.session.pause(stage.now)
    remembered = stage.session.remembered(stage.now)
    assert go_on(stage, kit, remembered).transport.preparation is None
    assert go_on(stage, kit, replace(remembered, held=True)).transport.preparation is not None


def test_another_file_than_before_goes_on_behind_all_that_was_known(stage, kit):
    remembered = stage.session.remembered(stage.now)
    session = go_on(stage, kit, remembered)
    first, last = remembered.chunks[0], remembered.chunks[-1]
    session.add_audio(kit.coded(first.frames, first.song_frame, song_id=9), stage.now)
    assert session.sender.packetizer.next_seq == last.seq + 2
    assert session.sender.packetizer.next_frame == last.end_frame + first.frames


def test_a_chunk_that_comes_out_otherwise_is_not_sent_again(stage, kit):
    remembered = stage.session.remembered(stage.now)
    session = go_on(stage, kit, remembered)
    for mark, byte in zip(remembered.chunks[:2], (b"\0", b"\1"), strict=True):
        session.add_audio(kit.coded(mark.frames, mark.song_frame, data=byte * 2 * mark.frames), stage.now)
    assert session.sender.history.get(remembered.chunks[0].seq) is not None
    assert session.sender.history.get(remembered.chunks[1].seq) is None


def test_a_jump_leaves_nothing_to_go_on_with_until_the_new_song_is_there(stage, kit):
    stage.session.end_of_audio(1, stage.now)
    assert stage.session.remembered(stage.now) is None


def test_the_end_stays_known(stage, kit):
    stage.session.end_of_audio(0, stage.now)
    remembered = stage.session.remembered(stage.now)
    session = go_on(stage, kit, remembered)
    assert session.final_frame is None
    assert session._state(stage.now).final_frame == remembered.final_frame == stage.session.final_frame


def test_marks_are_bounded_and_the_newest_stay(kit):
    continuity = Continuity(b"key", None)
    for seq in range(MARKS_MAX + 10):
        continuity.note(kit.coded(), kit.chunk(seq=seq))
    assert len(continuity._marks) == MARKS_MAX
    assert continuity._marks[-1].seq == MARKS_MAX + 9


def test_before_the_first_start_there_is_nothing_to_go_on_with(driven):
    stage = driven(**KEYS)
    stage.run(0.3)
    assert stage.session.transport.newest.state is PlayState.STOPPED
    assert stage.session.remembered(stage.now) is None
