import struct
from dataclasses import replace
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radiosync.config import Config
from radiosync.host.listeners import ListenerTable
from radiosync.listener.events import HostFound, HostGone, PlaybackStarted, SongChanged, StreamEnded
from radiosync.listener.exact import ExactPlayout
from radiosync.listener.session import LOST_NS, REPORT_NS_MAX, REPORT_SPREAD, ListenerSession
from radiosync.timeline import PlayState
from radiosync.units import NS_PER_MS, NS_PER_S
from radiosync.wire.codec import decode, encode
from radiosync.wire.fields import FRAME_MAX, MAGIC, sealed
from radiosync.wire.messages import (
    Announce,
    Audio,
    Bye,
    ByeReason,
    Leave,
    ListenerState,
    Report,
    Solicit,
    SongInfo,
)

CHUNK = 800
OTHER = ("10.0.0.66", 45_451)


@pytest.fixture
def listener(kit):
    return ListenerSession(Config(), rng=Random(1), now=kit.START, name="kitchen")


@pytest.fixture
def announce(kit):
    def make(session=7, **changes):
        plain = Announce(
            session=session,
            timeline=kit.timeline_at(),
            sent_at=kit.EPOCH,
            format=kit.MONO,
            control_port=kit.HOST[1],
            clock_port=kit.HOST[1] + 1,
            chunk_frames=CHUNK,
            play_seq=0,
            play_frame=0,
            next_seq=0,
            final_frame=None,
            buffer_ms=2_000,
            buffered_ms=0,
            song_id=0,
            host_name="den",
        )
        return replace(plain, **changes)

    return make


def sent(listener):
    return [(decode(datagram.data), datagram.to) for datagram in listener.datagrams_to_send()]


def question(listener, now):
    """Let the listener ask; return its nonce."""
    listener.handle_timeout(now)
    (nonce,) = (message.nonce for message, _ in sent(listener) if isinstance(message, Solicit))
    return nonce


def events(listener):
    return list(iter(listener.next_event, None))


@pytest.fixture
def found(listener, announce, kit):
    """A listener that follows session 7 of the host."""
    nonce = question(listener, kit.START)
    listener.receive_datagram(encode(announce(nonce=nonce, cookie=99)), kit.HOST, kit.START)
    assert listener.stream.session == 7
    events(listener)
    return listener


# --- finding a host ---------------------------------------------------------------------------------------------------


def test_it_asks_the_group_for_any_session(listener, kit):
    listener.handle_timeout(kit.START)
    ((message, to),) = sent(listener)
    assert (message.session, to) == (0, None)
    assert listener.state(kit.START) is ListenerState.WAITING
    assert listener.leave() is None
    assert listener.next_timeout(kit.START) > kit.START


def test_an_answer_to_its_own_nonce_makes_a_session(listener, announce, kit):
    nonce = question(listener, kit.START)
    listener.receive_datagram(encode(announce(nonce=nonce, cookie=99)), kit.HOST, kit.START + 1)
    assert events(listener) == [HostFound(name="den", ip=kit.HOST[0], format=kit.MONO)]
    assert listener.stream.control_address == kit.HOST
    assert listener.stream.clock_address == (kit.HOST[0], kit.HOST[1] + 1)
    assert listener.stream.cookie == 99
    assert listener.state(kit.START) is ListenerState.SYNCING


@pytest.mark.parametrize("change", [{"nonce": 1}, {"nonce": 0}, {"cookie": 0}])
def test_nothing_else_makes_one(listener, announce, kit, change):
    nonce = question(listener, kit.START)
    listener.receive_datagram(encode(announce(**{"nonce": nonce, "cookie": 99} | change)), kit.HOST, kit.START + 1)
    assert listener.stream is None
    assert events(listener) == []


def test_an_announcement_makes_it_ask_at_once_but_not_for_each(listener, announce, kit):
    question(listener, kit.START)
    asked = 0
    now = kit.START + 600 * NS_PER_MS
    for _ in range(500):
        now += NS_PER_MS
        listener.receive_datagram(encode(announce()), kit.HOST, now)
        asked += sum(isinstance(message, Solicit) for message, _ in sent(listener))
    assert 1 <= asked <= 4, "a flood of announcements is no flood of questions"


def test_a_host_that_announces_itself_is_asked_by_itself_unless_another_was_named(kit, announce):
    for named, to in (("", kit.HOST), ("10.0.0.77", None)):
        config = Config.load(None, {"listener.host": named})
        listener = ListenerSession(config, rng=Random(1), now=kit.START, name="kitchen")
        question(listener, kit.START)
        listener.receive_datagram(encode(announce()), kit.HOST, kit.START + 2 * NS_PER_S)
        assert [to for message, to in sent(listener) if isinstance(message, Solicit)] == [to]


# --- whom to believe --------------------------------------------------------------------------------------------------


def test_a_replayed_announcement_of_another_session_changes_nothing(found, announce, kit):
    stream = found.stream
    for source in (kit.HOST, OTHER):
        for nonce, cookie in ((0, 0), (12345, 99)):
            replayed = announce(session=8, nonce=nonce, cookie=cookie, final_frame=5)
            found.receive_datagram(encode(replayed), source, kit.START + NS_PER_S)
    assert found.stream is stream
    assert stream.session == 7
    assert stream.final_frame is None
    assert events(found) == []


def test_a_foreign_host_is_ignored_while_ours_lives(found, announce, kit):
    found.stream.heard_at = now = kit.START + 40 * NS_PER_S
    nonce = question(found, now)  # a renewal
    foreign = announce(session=8, nonce=nonce, cookie=5, control_port=OTHER[1])
    found.receive_datagram(encode(foreign), OTHER, now)
    assert found.stream.session == 7
    found.receive_datagram(encode(replace(foreign, nonce=0, cookie=0)), OTHER, now)
    assert found.foreign == 1
    assert sent(found) == [], "and nobody asks it"


def test_a_foreign_host_is_taken_once_ours_is_silent(found, announce, kit):
    now = kit.START + 10 * NS_PER_S
    nonce = question(found, now)
    found.receive_datagram(encode(announce(session=8, nonce=nonce, cookie=5)), OTHER, now)
    assert (found.stream.session, found.stream.host_ip) == (8, OTHER[0])
    assert found.sessions_seen == 2


def test_a_host_that_has_moved_is_known_by_the_cookie_it_gave(found, announce, kit):
    stream, now = found.stream, kit.START + 4 * NS_PER_S
    nonce = question(found, now)
    moved = announce(nonce=nonce, cookie=99, control_port=OTHER[1], clock_port=45_999)
    found.receive_datagram(encode(replace(moved, cookie=98)), OTHER, now)
    found.receive_datagram(encode(replace(moved, nonce=0)), OTHER, now)
    assert stream.control_address == kit.HOST
    found.receive_datagram(encode(moved), OTHER, now)
    assert found.stream is stream
    assert (stream.host_ip, stream.control_address, stream.clock_address) == (OTHER[0], OTHER, (OTHER[0], 45_999))
    assert stream.heard_at == now
    assert found.sessions_seen == 1


def test_a_host_that_is_heard_has_not_moved(found, announce, kit):
    found.stream.heard_at = now = kit.START + 40 * NS_PER_S
    moved = announce(nonce=question(found, now), cookie=99, control_port=OTHER[1])
    found.receive_datagram(encode(moved), OTHER, now)
    assert found.stream.control_address == kit.HOST


def test_a_restarted_host_on_the_same_address_is_taken_at_once(found, announce, kit):
    now = kit.START + 1_500 * NS_PER_MS
    found.receive_datagram(encode(announce(session=8)), kit.HOST, now)
    ((message, to),) = [entry for entry in sent(found) if isinstance(entry[0], Solicit)]
    assert (message.session, to) == (0, kit.HOST), "its announcement is reason to ask, not to believe"
    assert found.stream.session == 7
    found.receive_datagram(encode(announce(session=8, nonce=message.nonce, cookie=6)), kit.HOST, now + NS_PER_MS)
    assert found.stream.session == 8
    assert [type(event) for event in events(found)] == [HostFound]


def test_a_cookie_is_taken_only_from_an_answer(found, announce, kit):
    now = kit.START + NS_PER_S
    found.receive_datagram(encode(announce(cookie=13)), kit.HOST, now)
    found.receive_datagram(encode(announce(cookie=13, nonce=555)), kit.HOST, now)
    assert found.stream.cookie == 99
    found.stream.heard_at = now = kit.START + 40 * NS_PER_S
    found.receive_datagram(encode(announce(cookie=14, nonce=question(found, now))), kit.HOST, now)
    assert found.stream.cookie == 14


@pytest.mark.parametrize("make", ["audio", "song", "bye", "announce"])
@pytest.mark.parametrize("who", ["another host", "another session"])
def test_what_others_say_of_a_session_is_foreign(found, announce, kit, make, who):
    session = 7 if who == "another host" else 8
    source = OTHER if who == "another host" else kit.HOST
    timeline = replace(kit.timeline_at(), version=9, effective_at=5)
    message = {
        "audio": replace(kit.chunk_symbols(0, 0, kit.counting(0, CHUNK), timeline=timeline)[0], session=session),
        "song": SongInfo(
            session=session, timeline=timeline, song_id=1, first_frame=0, frames=1, title="x", artist="", album=""
        ),
        "bye": Bye(session=session, timeline=timeline, reason=ByeReason.STOPPED, final_frame=None),
        "announce": announce(session=session, timeline=timeline, control_port=9, final_frame=1),
    }[make]
    before = found.stream.heard_at
    found.receive_datagram(encode(message), source, kit.START + NS_PER_S)
    assert found.foreign == 1
    stream = found.stream
    assert (stream.session, stream.heard_at, stream.final_frame) == (7, before, None)
    assert stream.schedule.log.newest.version == 1
    assert len(stream.buffer) == 0


def test_what_listeners_say_is_rejected(found, kit):
    for message in (Solicit(session=0, nonce=5), Leave(session=7, cookie=99, listener_id=1)):
        found.receive_datagram(encode(message), kit.HOST, kit.START)
    assert found.rejected == 2


# --- the end ----------------------------------------------------------------------------------------------------------


def test_a_host_that_stops_is_gone_at_once(found, kit):
    bye = Bye(session=7, timeline=kit.timeline_at(), reason=ByeReason.STOPPED, final_frame=None)
    found.receive_datagram(encode(bye), kit.HOST, kit.START)
    assert found.stream is None
    assert events(found) == [HostGone(stopped=True)]
    assert isinstance(question(found, found._discovery.due_at), int), "and it looks for another"


def test_the_end_is_played_to_the_last_frame(world, kit):
    it = world(seconds=2.0)
    it.run(2.3)
    it.listener.receive_datagram(next(it.host.byes(ByeReason.ENDED)).data, kit.HOST, it.now)
    it.host = None
    it.run(20)
    assert np.array_equal(it.heard, kit.counting(0, 16_000))
    assert [type(event) for event in it.events] == [HostFound, PlaybackStarted, SongChanged, StreamEnded]
    assert it.listener.stream is None


def test_a_host_that_falls_silent_is_played_out_and_given_up(world, kit):
    it = world(seconds=60.0).run(4)
    it.host = None
    it.run(1.5)
    assert it.listener.state(it.now) is ListenerState.PLAYING
    it.run(LOST_NS / NS_PER_S - 3)
    assert it.listener.state(it.now) is ListenerState.MUTED, "it may be the network"
    it.run(2)
    assert it.events[-1] == HostGone(stopped=False)
    assert it.listener.stream is None
    heard = it.heard
    played = int(np.flatnonzero(heard[:, 0])[-1]) + 1
    assert np.array_equal(heard[:played], kit.counting(0, played))
    assert played > 5 * kit.MONO.rate, "what was buffered has been heard"
    assert len(heard) < played + (LOST_NS + NS_PER_S) / NS_PER_S * kit.MONO.rate


def test_a_host_that_comes_back_is_heard_again(world, kit):
    it = world(seconds=60.0).run(4)
    it.host = None
    it.run(0.5)
    it.host = it.new_host()
    it.run(5)
    assert it.listener.sessions_seen == 2
    assert it.listener.stream.session == it.host.session
    assert it.listener.state(it.now) is ListenerState.PLAYING
    assert it.heard[-100:].all()


def test_an_end_that_a_jump_undoes_is_told_again(found, kit):
    stream = found.stream
    stream.attach(ExactPlayout(stream.buffer, stream.schedule))
    stream.playout.start(CHUNK)
    told = []
    for final_frame in (CHUNK, CHUNK, None, 2 * CHUNK, CHUNK):
        stream.set_final(final_frame)
        found.handle_timeout(kit.START + len(told) * NS_PER_MS)
        told.append([type(event) for event in events(found)])
    assert told == [[StreamEnded], [], [], [], [StreamEnded]]


# --- reports ----------------------------------------------------------------------------------------------------------


def test_reports_come_once_a_second_and_at_every_change(world):
    it = world(seconds=8.0)
    reports = []
    real = it.host.receive_datagram

    def listen(data, source, now):
        message = decode(data)
        if isinstance(message, Report):
            reports.append((now, message))
        real(data, source, now)

    it.host.receive_datagram = listen
    it.run(4)
    assert reports[-1][1].buffer_ms > 1000
    it.run(5)
    assert 9 <= len(reports) <= 14
    states = [r.state for _, r in reports]
    begun = states.index(ListenerState.BUFFERING)  # before, it may know the time and not yet of the start
    assert set(states[:begun]) <= {ListenerState.SYNCING, ListenerState.PAUSED}
    assert states[begun:] == sorted(states[begun:])
    assert set(states) >= {ListenerState.SYNCING, ListenerState.PLAYING, ListenerState.ENDED}
    last = reports[-1][1]
    assert (last.name, last.chunks_concealed, last.underruns) == ("kitchen", 0, 0)
    assert 100_000 <= last.rtt_ns <= 300_000
    assert 0 < last.offset_bound_ns < 1_000_000
    (row,) = it.host.listeners
    assert row.report == last


@pytest.fixture
def reporting(world, monkeypatch):
    """A world whose host announces `told[0]` ns as the interval of reports; `times` are when they came."""
    it = world(seconds=300.0)
    it.told, it.times = [NS_PER_S], []
    monkeypatch.setattr(ListenerTable, "report_ns", property(lambda _: it.told[0]))
    real = it.host.receive_datagram

    def listen(data, source, now):
        if isinstance(decode(data), Report):
            it.times.append((it.now - kit_start) / NS_PER_S)
        real(data, source, now)

    kit_start = it.now
    it.host.receive_datagram = listen
    return it


def gaps(times, begin, end):
    return [b - a for a, b in pairwise(t for t in times if begin <= t <= end)]


def test_who_plays_well_reports_as_often_as_the_host_wishes(reporting):
    it = reporting.run(5)
    it.told[0] = 4 * NS_PER_S
    it.run(27)
    assert all(0.9 <= gap <= 1.11 for gap in gaps(it.times, 2, 5))
    assert all(3.6 <= gap <= 4.41 for gap in gaps(it.times, 7, 32))
    assert len(gaps(it.times, 7, 32)) >= 4
    it.told[0] = NS_PER_S
    it.run(6)
    assert all(gap <= 2.2 for gap in gaps(it.times, 33, 38)), "at once more often again, when it hears that it should"
    assert len(gaps(it.times, 33, 38)) >= 3


def test_who_does_not_play_well_reports_every_second(reporting):
    it = reporting
    it.told[0] = 4 * NS_PER_S
    it.run(5)
    it.listener.stream.quality.tier = 1
    it.run(10)
    assert len(gaps(it.times, 6, 15)) >= 7
    it.listener.stream.quality.tier = 0
    it.listener.stream.mute.muted = True
    it.listener.stream.mute.update = lambda playout, now: False
    it.run(10)
    assert len(gaps(it.times, 16, 25)) >= 7


def test_no_host_makes_it_fall_silent(reporting):
    it = reporting
    it.told[0] = 60 * NS_PER_S
    it.run(40)
    assert max(gaps(it.times, 3, 40)) <= REPORT_SPREAD * REPORT_NS_MAX / NS_PER_S + 0.01


def test_leaving_says_so(world):
    it = world().run(1)
    leave = it.listener.leave()
    it.host.receive_datagram(leave.data, ("10.0.0.2", 50_000), it.now + it.offset)
    assert len(it.host.listeners) == 0


# --- any bytes --------------------------------------------------------------------------------------------------------


def forged(seed, session, kit):
    """Return messages that are well-formed and say anything at all."""
    rng = Random(seed)
    extreme = lambda bits: rng.choice([0, 1, rng.getrandbits(bits), (1 << bits) - 1])  # noqa: E731
    instant = lambda: extreme(64) - (1 << 63) if rng.random() < 0.7 else kit.EPOCH  # noqa: E731
    frame = lambda: rng.choice([0, 1, CHUNK, rng.randrange(FRAME_MAX), FRAME_MAX])  # noqa: E731
    timeline = replace(
        kit.timeline_at(),
        version=extreme(32),
        state=rng.choice(list(PlayState)),
        media_frame=frame(),
        effective_at=instant(),
    )
    symbol = kit.chunk_symbols(extreme(32), 0, kit.counting(0, CHUNK), timeline=timeline, codec=rng.choice([1, 1, 2]))[
        0
    ]
    chunk = replace(
        symbol.chunk,
        first_frame=frame(),
        frames=rng.choice([1, CHUNK, (1 << 32) - 1]),
        codec=rng.randrange(4),
        play_at=instant(),
    )
    single = replace(chunk, symbols=1, coded_bytes=50)
    symbol = replace(symbol, session=session, timeline=timeline, payload=symbol.payload[:50])
    ask = {"nonce": extreme(64), "cookie": extreme(64)}
    return [
        replace(symbol, chunk=rng.choice([chunk, single])),
        SongInfo(
            session=session, timeline=timeline, song_id=extreme(32), first_frame=frame(), frames=None, title="x",
            artist="\u202e", album="",
        ),
        Announce(
            session=session, timeline=timeline, sent_at=instant(), format=kit.MONO, control_port=kit.HOST[1],
            clock_port=1, chunk_frames=max(1, extreme(32)), play_seq=extreme(32), play_frame=frame(),
            next_seq=extreme(32), final_frame=rng.choice([None, frame()]), buffer_ms=extreme(32), buffered_ms=0,
            song_id=0, **ask,
        ),
        *([Bye(session=session, timeline=timeline, reason=ByeReason.ENDED, final_frame=frame())] * rng.randrange(2)),
    ]  # fmt: skip


@settings(max_examples=150)
@given(data=st.binary(max_size=300), kind=st.integers(0, 255))
def test_any_bytes_are_counted_and_nothing_else(kit, data, kind):
    listener = ListenerSession(Config(), rng=Random(1), now=kit.START, name="k")
    framed = sealed(struct.pack("!HBBI", MAGIC, 1, kind, 0) + data)
    for raw in (data, framed, framed[: len(framed) // 2]):
        listener.receive_datagram(raw, kit.HOST, kit.START)
        listener.receive_clock(raw, kit.START)
    assert listener.stream is None
    assert listener.rejected + listener.foreign >= 2


@pytest.mark.parametrize("playing", [False, True])
@settings(max_examples=60)
@given(seed=st.integers(0, 1 << 30))
def test_forged_messages_never_raise(kit, world, playing, seed):
    """A forger that knows session and address can spoil the music, but nothing may stop the program."""
    it = world(seed=3).run(1.0 if playing else 0.02)
    stream = it.listener.stream
    session = stream.session if stream is not None else 7
    messages = [m for extra in range(6) for m in forged(seed + extra, session, kit)]
    Random(seed).shuffle(messages)
    for message in messages:
        it.listener.receive_datagram(encode(message), kit.HOST, it.now)
        it.listener.handle_timeout(it.now)
        assert isinstance(it.listener.next_timeout(it.now), int)
        for datagram in it.listener.datagrams_to_send():
            assert len(datagram.data) <= 1200
        stream = it.listener.stream
        if stream is not None and stream.playout is not None:
            stream.playout.take(it.now)
        it.now += 7 * NS_PER_MS


@settings(max_examples=60)
@given(seed=st.integers(0, 1 << 30))
def test_a_host_that_answers_nonsense_never_raises(kit, seed):
    """It is the host that was asked: nothing says that its values make sense."""
    listener = ListenerSession(Config(), rng=Random(1), now=kit.START, name="k")
    nonce = question(listener, kit.START)
    (announce,) = [m for m in forged(seed, 7, kit) if isinstance(m, Announce)]
    listener.receive_datagram(encode(replace(announce, nonce=nonce, cookie=1)), kit.HOST, kit.START)
    assert listener.stream is not None
    for turn in range(20):
        now = kit.START + turn * 20 * NS_PER_MS
        for message in forged(seed + turn, 7, kit):
            listener.receive_datagram(encode(message), kit.HOST, now)
        listener.handle_timeout(now)
        for datagram in listener.datagrams_to_send():
            assert len(datagram.data) <= 1200
        listener.next_timeout(now)
        listener.clock_requests(now)


def test_audio_alone_is_not_enough(listener, kit):
    (symbol, *_) = kit.chunk_symbols(0, 0, kit.counting(0, CHUNK))
    assert isinstance(symbol, Audio)
    listener.receive_datagram(encode(symbol), kit.HOST, kit.START)
    assert listener.stream is None
    assert listener.foreign == 1
