import struct
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reports import a_report

from radiosync.config import Config
from radiosync.host import listeners as listeners_module
from radiosync.host.announcer import HURRIED, HURRY_NS
from radiosync.host.coordinator import (
    JUMP_WAIT_NS,
    RENDER_LEAD_MAX_NS,
    RENDER_LEAD_NS,
    RENDER_MARGIN_NS,
    REPEAT_NS,
    START_WAIT_NS,
    SYNC_MARGIN_NS,
)
from radiosync.host.events import (
    Finished,
    ListenerJoined,
    ListenerLeft,
    ListenerStatusChanged,
    ResyncOrdered,
    SongStarted,
    SourceLate,
    SyncGo,
)
from radiosync.host.listeners import Status
from radiosync.host.pacer import START_FACTOR, STEADY_SPEED
from radiosync.host.reception import NACKS_MACHINE_BURST, NACKS_PER_S_MAX
from radiosync.host.session import LATE_LEAD_NS, HostSession
from radiosync.host.watch import END_LINGER_NS
from radiosync.timeline import PlayState
from radiosync.units import NS_PER_MS, NS_PER_S, ns_from_frames
from radiosync.wire.codec import SOLICIT_BYTES, decode, encode
from radiosync.wire.fields import MAGIC, sealed
from radiosync.wire.messages import (
    Announce,
    Audio,
    ByeReason,
    Leave,
    ListenerState,
    Nack,
    NackEntry,
    Report,
    Solicit,
    SongInfo,
    Sync,
    SyncPhase,
)

ANNA, BERT = ("10.0.0.1", 5000), ("10.0.0.2", 5000)
CHUNK = 1600  # frames: 0.2 s, 3200 bytes, three symbols
LEAD_NS = NS_PER_S


class Stage:
    """A session whose driver wakes exactly when asked to, or so much later."""

    def __init__(self, kit, *, seconds=1000.0, late_ns=0, feeds=True, name="den", live=False, **overrides):
        defaults = {"radio_sync.buffer_duration": 2.0, "host.start_lead": 1.0, "host.history_linger": 1.0}
        self.kit = kit
        self.config = Config.load(None, defaults | overrides)
        self.now = kit.NOW
        self.session = HostSession(
            self.config,
            kit.MONO,
            rng=Random(1),
            now=self.now,
            control_port=45_451,
            clock_port=45_452,
            name=name,
            live=live,
        )
        self.late_ns = late_ns
        self.total = round(seconds * kit.MONO.rate)
        self.fed = 0
        self.feeds = feeds
        self.generation = 0
        self.song_id = 1
        self.jumping = False
        self.sent = []
        """Of every datagram: when, what it says, to whom."""
        self.events = []

    def turn(self):
        while self.feeds and (self.jumping or self.session.audio_wanted(self.now)):
            self.jumping = False
            frames = min(self.session.sender.chunk_frames, self.total - self.fed)
            if frames <= 0:
                self.session.end_of_audio(self.generation, self.now)
                break
            self.session.add_audio(replace(self.coded(frames), generation=self.generation), self.now)
            self.fed += frames
        self.session.handle_timeout(self.now)
        for datagram in self.session.datagrams_to_send(self.now):
            self.sent.append((self.now, decode(datagram.data), datagram.to))
        while (event := self.session.next_event()) is not None:
            self.events.append(event)

    def coded(self, frames):
        return self.kit.coded(frames, self.fed, self.song_id)

    def jump(self, seconds):
        """Let the source go on there, as what counts as another song."""
        self.generation += 1
        self.song_id += 1
        self.fed = round(seconds * self.kit.MONO.rate)
        self.jumping = True

    def run(self, seconds):
        until, turns = self.now + round(seconds * NS_PER_S), 0
        while True:
            self.turn()
            wake_at = self.session.next_timeout(self.now)
            wanted_at = self.session.audio_wanted_at(self.now) if self.feeds else None
            if wanted_at is not None:
                wake_at = min(wake_at, wanted_at)
            turns = turns + 1 if wake_at <= self.now else 0
            assert turns < 3, "it spins"
            if wake_at > until:
                self.now = until
                return self
            self.now = max(self.now, wake_at) + self.late_ns

    def of(self, kind, to=...):
        return [
            (at, message) for at, message, address in self.sent if isinstance(message, kind) and to in (..., address)
        ]

    def hear(self, message, source=ANNA):
        self.session.receive_datagram(encode(message), source, self.now)

    @property
    def newest(self):
        return self.session.transport.newest

    def memory_bytes(self):
        ahead = self.session.sender._prebuffer._chunks
        return self.session.sender.history.coded_bytes() + sum(chunk.header.coded_bytes for chunk in ahead)

    def cookie(self, address=ANNA):
        """Let a listener solicit; return the cookie it is given."""
        self.hear(Solicit(session=0, nonce=77), address)
        self.turn()
        return self.of(Announce, address)[-1][1].cookie

    def ask(self, kind, address=ANNA, **values):
        values = {"session": self.session.session, "cookie": self.cookie(address), "listener_id": 5} | values
        return a_report(**{"name": "anna"} | values) if kind is Report else kind(**values)


@pytest.fixture(scope="session")
def stage(kit):
    return lambda **more: Stage(kit, **more)


# --- the stream -------------------------------------------------------------------------------------------------------


def test_every_symbol_is_sent_once_in_order_and_early_enough(stage, kit):
    it = stage(seconds=10.0).run(12)
    audio = it.of(Audio)
    assert [(m.chunk.seq, m.index) for _, m in audio] == [(seq, i) for seq in range(50) for i in range(3)]
    assert all(to is None for _, message, to in it.sent if isinstance(message, Audio))
    assert not any(message.repair for _, message in audio)
    record = it.newest
    assert (record.media_frame, record.effective_at) == (0, kit.NOW + LEAD_NS)
    rate = kit.MONO.rate
    for at, message in audio:
        play_at = record.play_at(message.chunk.first_frame, rate)
        assert message.timeline.playing == (at >= kit.NOW + LEAD_NS - SYNC_MARGIN_NS)
        if message.timeline.playing:
            assert message.chunk.play_at == play_at
        assert play_at - at > NS_PER_S // 2
        due = max(0, record.frame_at(at, rate))
        assert ns_from_frames(message.chunk.first_frame - due, rate) <= it.config.radio_sync.buffer_ns
    assert it.session.sender.counters.symbols_sent == 150
    assert it.session.sender.counters.chunks_late == 0


def test_who_waits_is_told_before_the_first_symbol(stage, kit):
    it = stage().run(0.5)
    first_audio = it.of(Audio)[0][0]
    announced = [at for at, _ in it.of(Announce) if at < first_audio]
    assert announced[0] == kit.NOW
    assert first_audio >= kit.NOW + 100 * NS_PER_MS


def test_a_full_buffer_is_kept_full_without_bursts(stage):
    """The schedule is the music's: a loop that is never late has nothing to catch up."""
    it = stage().run(20)
    steady = [at for at, _ in it.of(Audio) if at > it.kit.NOW + 10 * NS_PER_S]
    assert len(steady) == pytest.approx(10 * 15, abs=4)
    assert max(Counter(steady).values()) == 1
    gaps = [b - a for a, b in pairwise(steady)]
    assert min(gaps) >= 200 * NS_PER_MS / 3 / 1.25 - 1


def test_filling_is_faster_but_paced_and_what_a_start_needs_is_faster_still(stage):
    it = stage().run(3)
    audio = it.of(Audio)[:20]
    needed = [at for at, m in audio if ns_from_frames(m.chunk.first_frame, 8_000) < it.config.radio_sync.safety_ns]
    gaps = [b[0] - a[0] for a, b in pairwise(audio)]
    assert len(needed) == 9
    assert set(gaps[:9]) == {round(200 * NS_PER_MS / 3 / 4.0 / START_FACTOR)}
    assert set(gaps[9:]) == {round(200 * NS_PER_MS / 3 / 4.0)}


def test_memory_is_bounded(stage):
    it = stage()
    most = 0
    for _ in range(40):
        it.run(1)
        most = max(most, it.memory_bytes())
    assert most <= (2.0 + 1.0 + 0.6) * it.kit.MONO.rate * 2


# --- starting together ------------------------------------------------------------------------------------------------


def syncs(it, phase):
    return [(at, m) for at, m in it.of(Sync, None) if m.phase is phase]


def test_with_nobody_there_it_starts_after_the_lead(stage, kit):
    it = stage().run(3)
    prepares, goes = syncs(it, SyncPhase.PREPARE), syncs(it, SyncPhase.GO)
    go_at = kit.NOW + LEAD_NS - SYNC_MARGIN_NS
    assert [at for at, _ in prepares] == list(range(kit.NOW, go_at, REPEAT_NS))
    for at, prepare in prepares:
        assert (prepare.target_frame, prepare.sync_at, prepare.waiting) == (0, at + SYNC_MARGIN_NS, 0)
        assert (prepare.timeline.state, prepare.timeline.version) == (PlayState.STOPPED, 1)
        assert prepare.required_ms == it.config.radio_sync.safety_ns // NS_PER_MS
    assert [at for at, _ in goes] == [go_at] * 2, "one may be lost"
    for _, go in goes:
        assert (go.target_frame, go.sync_at, go.reason) == (0, kit.NOW + LEAD_NS, "nobody listens yet")
        assert go.timeline == it.newest
    record = it.newest
    assert (record.version, record.epoch, record.state) == (2, 1, PlayState.PLAYING)
    assert (record.media_frame, record.effective_at) == (0, kit.NOW + LEAD_NS)
    assert [event.reason for event in it.events if isinstance(event, SyncGo)] == ["nobody listens yet"]


def test_everybody_is_waited_for_and_then_it_goes_at_once(stage, kit):
    it = stage()
    it.hear(it.ask(Report, rtt_ns=30 * NS_PER_MS))
    it.hear(it.ask(Report, BERT, name="bert", ready_frame=0), BERT)
    it.run(2.03)
    assert not it.newest.playing
    _, prepare = syncs(it, SyncPhase.PREPARE)[-1]
    assert (prepare.waiting, prepare.slowest, prepare.slowest_latency_us) == (1, "anna", 30_000)
    assert prepare.reason == "waiting for anna"
    it.hear(it.ask(Report, rtt_ns=30 * NS_PER_MS, ready_frame=0))
    it.hear(it.ask(Report, BERT, name="bert", ready_frame=0), BERT)  # it lives
    it.turn()
    assert [at for at, _ in syncs(it, SyncPhase.GO)] == [it.now] * 2
    assert it.newest.effective_at == it.now + 30 * NS_PER_MS + RENDER_LEAD_NS + RENDER_MARGIN_NS
    assert it.of(Announce, None)[-1][1].timeline == it.newest


def test_nobody_holds_up_a_start_for_ever(stage, kit):
    """Somebody who is never ready, and says that it must know everything weeks before."""
    it = stage()
    for _ in range(6):
        it.hear(it.ask(Report, lead_ms=(1 << 32) - 1))
        it.run(1)
    assert syncs(it, SyncPhase.GO)[0][0] == kit.NOW + START_WAIT_NS
    assert it.newest.effective_at == kit.NOW + START_WAIT_NS + NS_PER_MS + RENDER_LEAD_MAX_NS + RENDER_MARGIN_NS


def test_something_live_waits_for_nobody(stage, kit):
    it = stage(live=True)
    it.hear(it.ask(Report))
    it.run(3)
    assert [at for at, _ in syncs(it, SyncPhase.GO)] == [kit.NOW] * 2
    assert (it.newest.media_frame, it.newest.effective_at) == (0, kit.NOW + it.config.radio_sync.buffer_ns)
    for _, message in it.of(Audio):
        assert message.chunk.play_at == it.newest.play_at(message.chunk.first_frame, kit.MONO.rate)


def test_without_audio_nothing_is_prepared_and_it_does_not_spin(stage, kit):
    it = stage(feeds=False).run(3)
    assert it.of(Sync) == []
    it.feeds = True
    it.run(1)
    assert syncs(it, SyncPhase.GO)[0][0] == kit.NOW + 3 * NS_PER_S
    assert it.newest.effective_at == kit.NOW + 3 * NS_PER_S + SYNC_MARGIN_NS


# --- resync of everybody ---------------------------------------------------------------------------------------------


def test_a_resync_is_told_at_once_and_costs_nothing(stage, kit):
    it = stage(seconds=100.0).run(5.05)
    playing, at, events = it.newest, it.now, len(it.events)
    assert it.session.resync(it.now) is None
    assert it.events[events:] == []
    it.run(5)
    record = it.newest
    assert record.repeats(playing, kit.MONO.rate)
    assert record.version == playing.version + 1
    assert SYNC_MARGIN_NS <= record.effective_at - at <= SYNC_MARGIN_NS + 40 * NS_PER_MS
    announced = announced_since(it, at)
    assert [when for when, _ in announced][:HURRIED] == [i * HURRY_NS for i in range(HURRIED)]
    assert all(m.timeline == record for _, m in announced)
    assert [e.reason for e in it.events if isinstance(e, ResyncOrdered)] == ["ordered"]
    assert contiguous(sent_chunks(it)), "nothing is left out"
    assert it.session.counters.source_gaps == 0


def test_a_resync_of_something_live_leaves_no_hole(stage):
    """Where less lies ready than an order takes to arrive."""
    it = stage(live=True, **{"radio_sync.buffer_duration": 0.3}).run(5)
    it.hear(it.ask(Report, lead_ms=400))
    assert it.session.resync(it.now) is None
    it.run(3)
    assert contiguous(sent_chunks(it))
    assert it.session.counters.source_gaps == 0


def test_there_is_one_resync_a_minute_and_the_next_is_refused_with_the_reason(stage, kit):
    it = stage()
    assert "nothing plays" in it.session.resync(it.now)
    it.run(5)
    assert it.session.resync(it.now) is None
    record = it.newest
    it.run(20)
    assert it.session.resync(it.now) == "the last one was 20 s ago; there is at most one in 60 s"
    assert it.newest is record
    it.now = it.now + 40 * NS_PER_S - 1
    assert it.session.resync(it.now) is not None
    it.now += 1
    assert it.session.resync(it.now) is None
    assert it.newest is not record
    assert it.session.resyncs.count == 2


# --- pausing and going on ---------------------------------------------------------------------------------------------


def announced_since(it, at):
    return [(when - at, m) for when, m in it.of(Announce, None) if when >= at]


def contiguous(chunks):
    return all(a.first_frame + a.frames == b.first_frame for a, b in pairwise(chunks))


def sent_chunks(it):
    """Return the chunks that were sent, each once, in order of their numbers."""
    chunks = {m.chunk.seq: m.chunk for _, m in it.of(Audio, None)}
    return [chunks[seq] for seq in sorted(chunks)]


def test_a_pause_is_a_record_and_is_told_at_once(stage, kit):
    it = stage().run(5.05)
    playing, at = it.newest, it.now
    assert it.session.pause(it.now)
    it.run(0.45)
    record = it.newest
    assert (record.state, record.epoch, record.version) == (PlayState.PAUSED, 1, playing.version + 1)
    assert record.effective_at == at + SYNC_MARGIN_NS
    assert record.media_frame == playing.frame_at(record.effective_at, kit.MONO.rate)
    announced = announced_since(it, at)
    assert [when for when, _ in announced] == [i * HURRY_NS for i in range(HURRIED)]
    assert all(m.timeline == record for _, m in announced)
    assert not it.session.pause(it.now), "twice is once"
    assert it.newest == record


def test_in_a_pause_the_buffer_is_filled_and_then_all_is_quiet(stage, kit):
    it = stage().run(5)
    it.session.pause(it.now)
    it.run(3)
    frame, count = it.newest.media_frame, len(it.of(Audio))
    last = it.of(Audio)[-1][1].chunk
    assert 0 <= frame + 2 * kit.MONO.rate - last.first_frame < CHUNK
    assert it.session.audio_wanted_at(it.now) is None
    it.run(100)
    assert len(it.of(Audio)) == count
    assert it.session.position_frame(it.now) == frame
    announce = it.of(Announce)[-1][1]
    assert announce.play_frame <= frame < announce.play_frame + CHUNK, "who comes now gets what it needs to go on"
    assert it.session.sender.counters.chunks_late == 0


def test_it_goes_on_where_it_was_paused_and_nothing_is_lost(stage, kit):
    it = stage().run(5)
    it.session.pause(it.now)
    it.run(30)
    paused, at = it.newest, it.now
    it.hear(it.ask(Report, state=ListenerState.PAUSED))
    assert it.session.resume(it.now)
    assert not it.session.resume(it.now)
    it.run(0.25)
    assert [when - at for when, _ in syncs(it, SyncPhase.PREPARE) if when >= at] == [0, REPEAT_NS, 2 * REPEAT_NS]
    assert syncs(it, SyncPhase.PREPARE)[-1][1].target_frame == paused.media_frame
    assert it.newest == paused
    it.hear(it.ask(Report, state=ListenerState.PAUSED, ready_frame=paused.media_frame))
    it.turn()
    go_at, record = it.now, it.newest
    assert [when for when, _ in syncs(it, SyncPhase.GO) if when >= at] == [go_at] * 2
    assert (record.state, record.epoch, record.media_frame) == (PlayState.PLAYING, 1, paused.media_frame)
    assert record.effective_at == go_at + NS_PER_MS + RENDER_LEAD_NS + RENDER_MARGIN_NS
    it.run(5)
    assert [when for when, _ in announced_since(it, go_at)][:HURRIED] == [i * HURRY_NS for i in range(HURRIED)]
    assert contiguous(sent_chunks(it))
    assert all(chunk.song_frame == chunk.first_frame for chunk in sent_chunks(it))
    for when, message in it.of(Audio):
        if when >= go_at:
            assert message.chunk.play_at == record.play_at(message.chunk.first_frame, kit.MONO.rate)
    assert it.session.sender.counters.chunks_late == it.session.counters.source_gaps == 0


def test_who_is_not_ready_to_go_on_is_waited_for_but_not_long(stage, kit):
    it = stage().run(5)
    it.session.pause(it.now)
    it.run(30)
    it.hear(it.ask(Report))
    at = it.now
    it.session.resume(it.now)
    it.run(1)
    go_at = syncs(it, SyncPhase.GO)[-1][0]
    assert at + JUMP_WAIT_NS <= go_at < at + JUMP_WAIT_NS + REPEAT_NS
    assert it.newest.effective_at <= at + NS_PER_S, "within a second of the order"


def test_a_pause_takes_back_what_is_prepared(stage, kit):
    it = stage().run(0.5)
    assert it.session.pause(it.now)
    it.run(10)
    assert (it.newest.state, it.newest.media_frame) == (PlayState.PAUSED, 0)
    assert syncs(it, SyncPhase.GO) == []
    assert syncs(it, SyncPhase.PREPARE)[-1][0] <= kit.NOW + NS_PER_S // 2
    assert it.session.resume(it.now)
    it.run(1)
    assert (it.newest.state, it.newest.media_frame) == (PlayState.PLAYING, 0)


def test_the_end_does_not_come_in_a_pause(stage, kit):
    it = stage(seconds=4.0).run(3.5)
    assert it.session.final_frame == 32_000
    it.session.pause(it.now)
    it.run(100)
    assert not it.session.finished
    it.session.resume(it.now)
    it.run(1.0)
    assert not it.session.finished
    it.run(1.0)
    assert it.session.finished
    assert kinds(it, Finished) == [Finished()]


def test_a_pause_beyond_the_last_frame_is_the_end(stage, kit):
    it = stage(seconds=4.0).run(4.9)
    it.session.pause(it.now)
    it.run(0.5)
    assert it.session.finished


def test_a_source_that_a_pause_has_overtaken_loses_nothing_of_the_song(stage, kit):
    it = stage().run(5)
    it.feeds = False
    it.run(5)
    it.session.pause(it.now)
    it.run(1)
    it.feeds = True
    it.session.resume(it.now)
    it.run(3)
    assert it.newest.playing
    assert it.session.sender.counters.chunks_late == 0
    chunks = sent_chunks(it)
    assert [c.song_frame for c in chunks] == [i * CHUNK for i in range(len(chunks))]
    assert next(c.first_frame for c in chunks if c.first_frame >= it.newest.media_frame) == it.newest.media_frame


# --- jumping ----------------------------------------------------------------------------------------------------------


def test_a_jump_is_a_new_epoch_at_frames_that_nobody_has_used(stage, kit):
    it = stage().run(6)
    old, at = it.newest, it.now
    before = it.of(Audio)[-1][1].chunk
    it.jump(500.0)
    it.run(0.1)
    target = it.session.transport.horizon(it.now)
    assert target >= before.first_frame
    record = it.newest
    assert (record.state, record.epoch, record.media_frame) == (PlayState.PLAYING, 2, target), "nobody is waited for"
    assert record.effective_at == at + SYNC_MARGIN_NS
    assert [m.target_frame for when, m in syncs(it, SyncPhase.GO) if when >= at] == [target] * 2
    assert [when for when, _ in announced_since(it, at)][:2] == [0, HURRY_NS]
    assert it.session.position_frame(it.now) == old.frame_at(it.now, kit.MONO.rate), "the old plays on until then"
    it.run(0.15)
    assert it.session.position_frame(it.now) >= target
    it.run(5)
    chunks = sent_chunks(it)
    assert [c.seq for c in chunks] == list(range(len(chunks))), "no number is missing"
    assert [c.epoch for c in chunks] == sorted(c.epoch for c in chunks)
    first = next(c for c in chunks if c.epoch == 2)
    assert (first.first_frame, first.song_id, first.song_frame) == (target, 2, 500 * 8_000)
    by_frame = {}
    for _, message in it.of(Audio):
        chunk = message.chunk
        assert by_frame.setdefault(chunk.first_frame, (chunk.seq, chunk.epoch)) == (chunk.seq, chunk.epoch)
    assert contiguous(chunks)
    song, position = it.session.song(it.now)
    assert song.song.song_id == 2
    assert position == pytest.approx(500 + 0.05 + 5, abs=1e-3)
    assert [e.song.song_id for e in kinds(it, SongStarted)] == [1, 2]


def test_what_was_read_before_a_jump_is_dropped(stage, kit):
    it = stage().run(6)
    it.jump(500.0)
    it.run(1)
    it.feeds = False
    frame, final = it.session.sender.packetizer.next_frame, it.session.final_frame
    it.session.add_audio(replace(kit.coded(800, 48_000), generation=0), it.now)
    it.session.end_of_audio(0, it.now)
    assert (it.session.sender.packetizer.next_frame, it.session.final_frame) == (frame, final) == (frame, None)
    assert it.newest.epoch == 2


def test_the_old_plays_on_while_a_jump_waits_for_the_listeners(stage, kit):
    it = stage().run(6)
    old = it.newest
    it.hear(it.ask(Report))
    it.jump(500.0)
    it.run(0.3)
    assert it.newest == old
    assert it.session.target_song(it.now).song.song_id == 2
    assert it.session.song(it.now)[0].song.song_id == 1
    target = syncs(it, SyncPhase.PREPARE)[-1][1].target_frame
    it.hear(it.ask(Report, ready_frame=target))
    go_at = it.now
    it.run(0.2)
    assert (it.newest.epoch, it.newest.media_frame) == (2, target)
    assert it.newest.effective_at == go_at + NS_PER_MS + RENDER_LEAD_NS + RENDER_MARGIN_NS
    assert it.session.target_song(it.now).song.song_id == 2, "also between the order and its effect"


def test_sending_does_not_stop_between_the_order_and_its_effect(stage, kit):
    """With a full buffer the new lies far beyond what still plays."""
    it = stage(**{"radio_sync.buffer_duration": 20.0, "host.start_lead": 1.0}).run(30)
    it.jump(500.0)
    at = it.now
    it.run(SYNC_MARGIN_NS / NS_PER_S - 0.01)
    assert it.newest.effective_at > it.now
    sent = [when for when, m in it.of(Audio) if when >= at and m.chunk.epoch == 2]
    symbol_ns = NS_PER_S // 2 / 8  # eight of them in a chunk of half a second
    assert sent[0] - at <= symbol_ns / STEADY_SPEED
    assert {b - a for a, b in pairwise(sent)} == {symbol_ns / 4.0}
    assert it.now - sent[-1] < symbol_ns / 4.0


def test_a_jump_from_an_empty_buffer_goes_beyond_what_plays_until_then(stage, kit):
    """Or the new would be heard by the old record, and then be late by its own."""
    it = stage().run(5)
    it.feeds = False
    it.run(5)
    it.hear(it.ask(Report))
    old = it.newest
    it.jump(500.0)
    it.feeds = True
    it.run(2)
    record = it.newest
    assert record.epoch == 2
    assert old.frame_at(record.effective_at, kit.MONO.rate) <= record.media_frame
    assert it.session.sender.counters.chunks_late == 0
    first = next(c for c in sent_chunks(it) if c.epoch == 2)
    assert (first.first_frame, first.song_frame) == (record.media_frame, 500 * 8_000)


def test_of_two_jumps_the_last_counts(stage, kit):
    it = stage().run(6)
    it.hear(it.ask(Report))
    it.jump(500.0)
    it.run(0.2)
    it.jump(100.0)
    it.run(2)
    assert it.newest.epoch == 3
    assert it.session.song(it.now)[0].song.song_id == 3
    assert len(syncs(it, SyncPhase.GO)) == 4, "one pair to begin, one for the jump"
    chunks = sent_chunks(it)
    assert [c.seq for c in chunks] == list(range(len(chunks)))


def test_a_chunk_that_a_jump_cut_off_can_be_asked_for(stage, kit):
    """With a short buffer it is heard before the jump is."""
    it = stage().run(6)
    while it.of(Audio)[-1][1].index != 0:
        it.run(0.01)
    cut = it.of(Audio)[-1][1].chunk
    it.hear(it.ask(Report))
    it.jump(500.0)
    it.run(0.1)
    it.hear(it.ask(Nack, entries=(NackEntry(seq=cut.seq, bitmap=0b110),)))
    it.run(0.1)
    assert sorted(repairs(it)) == [(cut.seq, 1, ANNA), (cut.seq, 2, ANNA)]
    assert it.of(Announce)[-1][1].next_seq > cut.seq


def test_jump_after_jump_takes_no_more_memory(stage, kit):
    """Somebody drags a slider for a minute: no start is made, and what was sent for each is forgotten."""
    it = stage().run(6)
    most = 0
    for turn in range(200):
        it.hear(it.ask(Report))
        it.jump(turn)
        it.run(0.3)
        most = max(most, it.memory_bytes())
    assert it.newest.epoch == 1
    assert most <= (2.0 + 1.0 + 0.6 + 2.0 + 0.6) * kit.MONO.rate * 2, "the old and the new"


def test_a_jump_in_a_pause_stays_paused(stage, kit):
    it = stage().run(6)
    it.session.pause(it.now)
    it.run(2)
    it.jump(500.0)
    at = it.now
    it.run(2)
    record = it.newest
    assert (record.state, record.epoch, record.effective_at) == (PlayState.PAUSED, 2, at)
    assert [when for when, _ in announced_since(it, at)][:HURRIED] == [i * HURRY_NS for i in range(HURRIED)]
    assert it.session.song(it.now)[0].song.song_id == 2
    assert it.session.song(it.now)[1] == 500.0
    it.session.resume(it.now)
    it.run(1)
    assert (it.newest.state, it.newest.epoch, it.newest.media_frame) == (PlayState.PLAYING, 2, record.media_frame)


def test_songs_that_were_ready_but_jumped_over_are_not_heard_of(stage, kit):
    it = stage()
    it.coded = lambda frames: kit.coded(frames, it.fed, it.song_id + it.fed // (2 * CHUNK) * 100)
    it.run(6)
    it.coded = lambda frames: kit.coded(frames, it.fed, 7)
    it.jump(500.0)
    it.run(3)
    assert it.session.song(it.now)[0].song.song_id == 7
    assert it.of(Announce)[-1][1].song_id == 7
    assert [e.song.song_id for e in kinds(it, SongStarted)][-1] == 7
    assert {m.song_id for at, m in it.of(SongInfo) if at > it.now - NS_PER_S} == {7}


@pytest.mark.parametrize("paused", [False, True])
def test_a_jump_past_the_last_song_ends_the_session(stage, kit, paused):
    it = stage().run(6)
    if paused:
        it.session.pause(it.now)
        it.run(1)
    at = it.now
    it.jump(1000.0)
    it.run(0.15)
    assert it.session.finished == paused, "what plays is heard until the record takes effect"
    it.run(0.2)
    assert it.session.finished
    record = it.newest
    assert (record.state, record.epoch) == (PlayState.PAUSED if paused else PlayState.STOPPED, 2)
    assert record.effective_at == (at if paused else at + SYNC_MARGIN_NS)
    assert it.session.final_frame == record.media_frame
    assert it.of(Announce)[-1][1].final_frame == record.media_frame
    assert len(syncs(it, SyncPhase.GO)) == 2, "only the one to begin"


def test_a_jump_back_from_the_end_makes_the_end_unknown_again(stage, kit):
    it = stage(seconds=8.0).run(7)
    assert it.session.final_frame == 64_000
    it.jump(0.0)
    it.run(1)
    assert it.session.final_frame is None
    assert it.of(Announce)[-1][1].final_frame is None
    it.run(7.5)
    assert it.session.finished
    assert it.session.final_frame == it.newest.media_frame + 64_000


def test_stopping_is_a_pause_by_another_name_and_a_jump(stage, kit):
    it = stage().run(6)
    it.session.pause(it.now, state=PlayState.STOPPED)
    it.jump(0.0)
    it.run(3)
    assert (it.newest.state, it.newest.epoch) == (PlayState.STOPPED, 2)
    assert it.session.song(it.now)[1] == 0.0
    assert not it.session.finished


# --- announcements ----------------------------------------------------------------------------------------------------


def test_announcements_say_where_the_stream_is(stage, kit):
    it = stage(seconds=8.0).run(9.5)
    sent_before = set()
    for at, announce, _ in it.sent:
        if isinstance(announce, Audio):
            sent_before.add((announce.chunk.seq, announce.index))
        if not isinstance(announce, Announce):
            continue
        assert sent_before >= {(seq, i) for seq in range(announce.next_seq) for i in range(3)}
        assert (announce.next_seq, 2) not in sent_before
        position = max(0, at - kit.NOW - LEAD_NS)
        due = min(position * kit.MONO.rate // NS_PER_S // CHUNK, 40)
        assert (announce.play_seq, announce.play_frame) == (due, due * CHUNK)
        assert announce.sent_at == at
        assert (announce.nonce, announce.cookie) == (0, 0)
    assert it.of(Announce)[0][1].final_frame is None
    assert it.of(Announce)[-1][1].final_frame == 64_000


def test_the_end_is_announced_as_the_last_symbol_leaves(stage):
    """Nothing comes after it that could show its loss, and there is little time left to ask."""
    it = stage(seconds=8.0).run(10)
    last = it.of(Audio)[-1][0]
    soon = [m for at, m in it.of(Announce) if last < at < last + 250 * NS_PER_MS and m.next_seq == 40]
    assert len(soon) >= 2


def test_songs_are_announced_with_their_place(stage, kit):
    it = stage().run(2)
    _, info = it.of(SongInfo)[-1]
    assert (info.song_id, info.first_frame, info.title) == (1, 0, "Song 1")
    assert [event.song.song_id for event in it.events if isinstance(event, SongStarted)] == [1]


# --- soliciting -------------------------------------------------------------------------------------------------------


def test_a_question_is_answered_at_once_to_its_asker_alone(stage):
    it = stage().run(2)
    before = len(it.sent)
    it.hear(Solicit(session=0, nonce=4711))
    it.turn()
    answers = it.sent[before:]
    assert [(type(message), to) for _, message, to in answers] == [(Announce, ANNA), (SongInfo, ANNA)]
    assert answers[0][1].nonce == 4711
    assert answers[0][1].cookie != 0
    assert it.cookie(BERT) != it.cookie(ANNA)
    assert it.cookie(ANNA) == answers[0][1].cookie


def test_an_answer_weighs_at_most_three_times_the_question(stage, kit):
    it = stage(name="語" * 100)
    it.coded = lambda frames: kit.coded(
        frames, it.fed, 1 + it.fed // CHUNK, name="語" * 100, artist="語" * 100, album="語" * 100
    )
    it.run(2)
    before = it.session.outbox.counters.bytes_sent
    it.session.receive_datagram(encode(Solicit(session=0, nonce=1)), ANNA, it.now)
    answer = [d for d in it.session.datagrams_to_send(it.now) if d.to == ANNA]
    assert sum(len(d.data) for d in answer) <= 3 * SOLICIT_BYTES
    assert it.session.outbox.counters.bytes_sent > before


def test_a_question_for_another_session_is_not_answered(stage):
    it = stage().run(1)
    before = len(it.of(Announce, ANNA))
    it.hear(Solicit(session=it.session.session ^ 1, nonce=1))
    it.turn()
    assert len(it.of(Announce, ANNA)) == before
    assert it.session.counters.rejected == 1
    it.hear(Solicit(session=it.session.session, nonce=1))
    it.turn()
    assert len(it.of(Announce, ANNA)) == before + 1


def test_a_flood_of_questions_is_bounded(stage):
    it = stage()
    for port in range(10_000):
        it.hear(Solicit(session=0, nonce=1), ("10.0.0.9", port))
    assert len(list(it.session.datagrams_to_send(it.now))) <= 256 + 3


# --- repairs ----------------------------------------------------------------------------------------------------------


def repairs(it):
    return [(m.chunk.seq, m.index, to) for _, m, to in it.sent if isinstance(m, Audio) and m.repair]


def test_what_one_misses_it_is_sent_alone(stage):
    it = stage().run(2)
    it.hear(it.ask(Nack, entries=(NackEntry(seq=8, bitmap=0b101), NackEntry(seq=6, run=2))))
    it.run(0.5)
    assert sorted(repairs(it)) == [*((s, i, ANNA) for s in (6, 7) for i in range(3)), (8, 0, ANNA), (8, 2, ANNA)]
    assert it.session.sender.counters.repairs_unicast == 8
    original = {(m.chunk.seq, m.index): m for _, m in it.of(Audio, None)}
    for _, message in it.of(Audio, ANNA):
        first = original[message.chunk.seq, message.index]
        play_at = it.newest.play_at(first.chunk.first_frame, it.kit.MONO.rate)
        assert message.timeline == it.newest, "some were first sent before the start"
        chunk = replace(first.chunk, play_at=play_at)
        assert replace(message, repair=False) == replace(first, timeline=it.newest, chunk=chunk)


def test_what_two_miss_is_sent_to_all(stage):
    it = stage().run(2)
    nacks = [it.ask(Nack, address, entries=(NackEntry(seq=7, bitmap=0b10),)) for address in (ANNA, BERT)]
    for nack, address in zip(nacks, (ANNA, BERT), strict=True):
        it.hear(nack, address)
    it.run(0.5)
    assert repairs(it) == [(7, 1, None)]
    assert it.session.sender.counters.repairs_multicast == 1


def test_what_is_not_there_is_not_sent(stage):
    it = stage().run(6)
    old, unsent = 0, it.session.sender.next_seq_sent
    entries = (NackEntry(seq=old, run=1), NackEntry(seq=unsent, run=50), NackEntry(seq=unsent - 1, bitmap=0b111000))
    it.hear(it.ask(Nack, entries=entries))
    it.run(0.5)
    assert repairs(it) == []


@pytest.mark.parametrize("kind", [Nack, Report, Leave])
@pytest.mark.parametrize("fault", ["cookie", "none", "another's", "session"])
def test_nobody_is_heard_without_cookie_and_session(stage, kind, fault):
    it = stage().run(2)
    values = {"entries": (NackEntry(seq=4, run=1),)} if kind is Nack else {}
    if kind is Leave:
        it.hear(it.ask(Report))
    listeners = len(it.session.listeners)
    wrong = {
        "cookie": {"cookie": it.cookie() ^ 1},
        "none": {"cookie": 0},
        "another's": {"cookie": it.cookie(BERT)},
        "session": {"session": it.session.session ^ 1},
    }[fault]
    before = it.session.counters.rejected
    it.hear(it.ask(kind, **values, **wrong))
    it.run(0.3)
    assert it.session.counters.rejected == before + 1
    assert repairs(it) == []
    assert len(it.session.listeners) == listeners


def test_one_nack_makes_a_bounded_amount_of_work(stage):
    """256 entries of 4096 chunks each, over and over the same: what an honest listener asks for at once is far less."""
    it = stage(**{"radio_sync.buffer_duration": 60.0, "host.start_lead": 1.0, "radio_sync.chunk_duration": 0.05})
    it.run(20)
    assert len(it.session.sender.history) > 1000
    asked = []
    queue = it.session.sender._repairs
    real_ask = queue.ask
    queue.ask = lambda seq, bitmap, *rest, **more: (
        asked.append(bitmap.bit_count()),
        real_ask(seq, bitmap, *rest, **more),
    )[1]
    it.hear(it.ask(Nack, entries=(NackEntry(seq=0, run=4096),) * 250))
    assert 600 < sum(asked) < 2_000
    assert len(asked) < 2_000


# --- listeners --------------------------------------------------------------------------------------------------------


def kinds(it, kind):
    return [event for event in it.events if isinstance(event, kind)]


def test_a_listener_comes_becomes_slow_falls_silent_and_is_forgotten(stage):
    it = stage(**{"radio_sync.max_client_latency": 50.0, "radio_sync.slow_client_timeout": 10.0}).run(1)
    it.hear(it.ask(Report))
    it.turn()
    assert kinds(it, ListenerJoined) == [ListenerJoined(name="anna", address=ANNA)]
    it.hear(it.ask(Report, rtt_ns=200 * NS_PER_MS))
    it.run(1)
    it.run(12)
    statuses = [event.status for event in kinds(it, ListenerStatusChanged)]
    assert statuses == [Status.SLOW, Status.TIMEOUT]
    assert kinds(it, ListenerLeft) == [ListenerLeft(name="anna", timed_out=True)]
    assert len(it.session.listeners) == 0


def test_leaving_is_told_apart(stage):
    it = stage().run(1)
    it.hear(it.ask(Report))
    it.hear(it.ask(Leave))
    it.hear(it.ask(Leave))
    it.turn()
    assert kinds(it, ListenerLeft) == [ListenerLeft(name="anna", timed_out=False)]


def test_a_nack_is_a_sign_of_life(stage):
    it = stage(**{"radio_sync.slow_client_timeout": 5.0}).run(1)
    it.hear(it.ask(Report))
    for _ in range(10):
        it.run(2)
        it.hear(it.ask(Nack, entries=()))
    (row,) = it.session.listeners
    assert row.nacks == 10
    assert kinds(it, ListenerLeft) == []


def test_who_is_refused_is_not_said_to_have_joined(stage, monkeypatch):
    monkeypatch.setattr(listeners_module, "LISTENERS_MAX", 1)
    it = stage().run(1)
    it.hear(it.ask(Report))
    for _ in range(3):
        it.hear(it.ask(Report, BERT, name="bert"), BERT)
    it.turn()
    assert [event.name for event in kinds(it, ListenerJoined)] == ["anna"]
    assert it.session.listeners.refused == 3


def test_so_many_nacks_of_one_listener_are_heeded(stage):
    it = stage().run(1)
    it.hear(it.ask(Report))
    nack = it.ask(Nack, entries=())
    for _ in range(3 * NACKS_PER_S_MAX):
        it.hear(nack)
    assert it.session.reception.nacks == 3 * NACKS_PER_S_MAX
    assert it.session.reception.nacks_ignored == 2 * NACKS_PER_S_MAX
    it.run(1)
    for _ in range(NACKS_PER_S_MAX):
        it.hear(nack)
    assert it.session.reception.nacks_ignored == 2 * NACKS_PER_S_MAX


def test_so_many_nacks_of_one_machine_are_heeded(stage):
    it = stage().run(1)
    sockets = NACKS_MACHINE_BURST // NACKS_PER_S_MAX + 10
    for port in range(sockets):
        nack = it.ask(Nack, ("10.0.0.66", port), entries=())
        for _ in range(NACKS_PER_S_MAX):
            it.hear(nack, ("10.0.0.66", port))
    assert it.session.reception.nacks_ignored == 10 * NACKS_PER_S_MAX
    it.hear(it.ask(Nack, entries=()))
    assert it.session.reception.nacks_ignored == 10 * NACKS_PER_S_MAX


# --- the end ----------------------------------------------------------------------------------------------------------


def test_it_finishes_when_the_last_frame_has_been_played(stage, kit):
    it = stage(seconds=3.0)
    it.run(3.9)
    assert it.session.final_frame == 24_000
    assert not it.session.finished
    it.run(0.3)
    assert it.session.finished
    assert kinds(it, Finished) == [Finished()]
    assert it.session.audio_wanted_at(it.now) is None
    assert it.session.position_frame(it.now) == 24_000


@pytest.mark.parametrize("goes_on", [True, False])
def test_a_listener_that_still_plays_holds_up_the_end_a_little(stage, goes_on):
    it = stage(seconds=3.0).run(3.8)
    it.hear(it.ask(Report))
    it.run(1)
    assert not it.session.finished
    if goes_on:
        it.run(END_LINGER_NS / NS_PER_S)
    else:
        it.hear(it.ask(Report, state=ListenerState.ENDED))
        it.run(0.2)
    assert it.session.finished


def test_an_empty_source_is_finished_at_once(stage):
    it = stage(seconds=0.0).run(1.3)
    assert it.session.finished
    assert it.of(Audio) == []


def test_the_good_bye_says_how_it_ends(stage):
    it = stage(seconds=1.0).run(3)
    bye = decode(next(it.session.byes(ByeReason.ENDED)).data)
    assert (bye.session, bye.reason, bye.final_frame) == (it.session.session, ByeReason.ENDED, 8_000)
    assert decode(next(stage().session.byes(ByeReason.STOPPED)).data).final_frame is None


# --- a late source ----------------------------------------------------------------------------------------------------


def test_a_late_source_leaves_a_gap_and_counts_it(stage, kit):
    it = stage().run(3)
    it.feeds = False
    it.run(5)
    it.feeds = True
    it.run(3)
    (late,) = kinds(it, SourceLate)
    assert it.session.counters.source_gaps == 1
    chunks = {m.chunk.seq: m.chunk for _, m in it.of(Audio)}
    assert sorted(chunks) == list(range(len(chunks))), "no number is missing"
    holes = [
        (seq, chunks[seq + 1].first_frame - chunk.first_frame - chunk.frames)
        for seq, chunk in chunks.items()
        if seq + 1 in chunks and chunks[seq + 1].first_frame != chunk.first_frame + chunk.frames
    ]
    assert [frames for _, frames in holes] == [late.frames]
    ((seq, _),) = holes
    after = chunks[seq + 1]
    first_sent = min(at for at, m in it.of(Audio) if m.chunk.seq == seq + 1)
    assert after.play_at - first_sent >= LATE_LEAD_NS, "it can still reach everybody"
    assert after.song_frame == chunks[seq].song_frame + chunks[seq].frames, "nothing of the song is lost"


def test_a_loop_that_stalls_drops_what_can_no_longer_be_heard(stage, kit):
    it = stage().run(5)
    it.now += 4 * NS_PER_S
    it.run(4)
    assert it.session.sender.counters.chunks_late > 0
    for at, message in it.of(Audio):
        assert message.chunk.play_at + ns_from_frames(message.chunk.frames, kit.MONO.rate) > at - 100 * NS_PER_MS
    announce = it.of(Announce)[-1][1]
    assert announce.next_seq > announce.play_seq


@pytest.mark.parametrize("late_ms", [1, 20, 90])
def test_a_loop_that_is_always_late_keeps_the_buffer(stage, late_ms):
    it = stage(late_ns=late_ms * NS_PER_MS).run(30)
    last = max(m.chunk.play_at for _, m in it.of(Audio))
    assert last - it.now > 1.5 * NS_PER_S
    assert it.session.sender.counters.chunks_late == it.session.counters.source_gaps == 0


# --- any bytes --------------------------------------------------------------------------------------------------------


@settings(max_examples=150)
@given(data=st.binary(max_size=500), kind=st.integers(0, 255), own=st.booleans())
def test_any_bytes_are_counted_and_nothing_else(stage, data, kind, own):
    it = stage()
    session = it.session.session if own else 5
    framed = sealed(struct.pack("!HBBIQ", MAGIC, 1, kind, 0, session) + data)
    for raw in (data, framed):
        it.session.receive_datagram(raw, ANNA, it.now)
    assert it.session.counters.rejected == 2
    assert len(it.session.listeners) == 0
    it.turn()
    assert ANNA not in [to for *_, to in it.sent]


@settings(max_examples=40)
@given(seed=st.integers(0, 1 << 30))
def test_no_listener_can_stop_it(stage, seed):
    """It has a cookie and says anything."""
    rng = Random(seed)
    it = stage().run(1)
    extreme = lambda bits: rng.choice([0, 1, rng.getrandbits(bits), (1 << bits) - 1])  # noqa: E731
    for _ in range(10):
        entries = tuple(
            NackEntry(seq=extreme(32), run=rng.randrange(1, 4097))
            if rng.random() < 0.5
            else NackEntry(seq=extreme(32), bitmap=max(1, extreme(192)))
            for _ in range(rng.randrange(5))
        )
        numbers = {name: extreme(32) for name in ("buffer_ms", "symbols_lost", "underruns", "listener_id", "lead_ms")}
        signed = {
            name: extreme(64) - (1 << 63)
            for name in ("rtt_ns", "down_ns", "up_ns", "echo_at", "echo_held_ns", "sync_error_ns", "offset_bound_ns")
        }
        numbers["ready_frame"] = rng.choice([None, 0, rng.getrandbits(48)])
        it.hear(it.ask(Nack, entries=entries))
        it.hear(it.ask(Report, name="\x1b[2J", state=rng.choice(list(ListenerState)), **numbers, **signed))
        it.run(0.1)
        if rng.random() < 0.5:
            assert it.session.pause(it.now) or it.session.resume(it.now)
    assert it.session.counters.rejected == 0
    assert it.of(Audio, None)
    it.session.resume(it.now)
    it.run(JUMP_WAIT_NS / NS_PER_S + 0.1)
    assert it.newest.playing
