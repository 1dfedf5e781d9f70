from dataclasses import dataclass, field
from random import Random

import numpy as np
import pytest

from radiosync.clock.filter import Quality
from radiosync.listener.events import HostGone, MuteChanged
from radiosync.listener.jitter import JitterBuffer
from radiosync.listener.mute import BACK_NS, CHUNKS_MIN, DRY_NS, HOLES_MAX, HOLES_WITHIN_NS, SHARE, Mute
from radiosync.listener.schedule import Schedule
from radiosync.repair.request import RequestScheduler
from radiosync.timeline import PlayState
from radiosync.units import NS_PER_MS, NS_PER_S, frames_from_ns
from radiosync.wire.codec import decode
from radiosync.wire.messages import Audio, ListenerState

RATE = 8_000
CHUNK = 800


@dataclass
class Clock:
    level: Quality = Quality.LOCKED

    def quality(self, _now):
        return self.level


@dataclass
class Playout:
    """What a mute sees of one."""

    record: object
    cursor: int | None = 0
    final_frame: int | None = None
    ended: bool = False
    gaps: int = 0
    gap_frames: int = 0
    told: list = field(default_factory=list)

    def set_muted(self, muted):
        self.told.append(muted)
        self.gap_frames = 0


class Case:
    def __init__(self, kit, *, buffer_s=45.0, chunk_frames=CHUNK):
        self.kit = kit
        self.now = kit.START
        self.clock = Clock()
        self.buffer = JitterBuffer(kit.MONO, 1000)
        self.schedule = Schedule(kit.timeline_at(), kit.mapping_with(), RATE, 0)
        self.requests = RequestScheduler(Random(1), self.buffer.missing)
        self.playout = Playout(self.schedule.log.newest)
        self.mute = Mute(
            self.buffer,
            self.schedule,
            self.requests,
            self.clock,
            round(buffer_s * NS_PER_S),
            chunk_frames,
        )

    def fill(self, chunks):
        for seq in chunks:
            for symbol in self.kit.chunk_symbols(seq, seq * CHUNK, self.kit.counting(seq * CHUNK, CHUNK)):
                self.buffer.add(seq, symbol)

    def pass_s(self, seconds, *, gap=False):
        """Let time pass in steps of 20 ms, all music or all gap; return whether anything changed, and when."""
        for step in range(round(seconds * 50)):
            self.now += 20 * NS_PER_MS
            self.playout.cursor += RATE // 50
            self.playout.gaps += gap and self.playout.gap_frames == 0
            self.playout.gap_frames = self.playout.gap_frames + RATE // 50 if gap else 0
            if self.mute.update(self.playout, self.now):
                return (step + 1) / 50
        return None

    def dry(self):
        assert self.pass_s(20, gap=True) is not None
        assert self.mute.muted
        return self


@pytest.fixture
def case(kit):
    return lambda **more: Case(kit, **more)


def test_a_dry_second_mutes_once(case):
    it = case()
    assert it.pass_s(5) is None
    assert it.pass_s(5, gap=True) == DRY_NS / NS_PER_S
    assert (it.mute.muted, it.mute.count, it.playout.told) == (True, 1, [True])
    assert it.pass_s(5, gap=True) is None


@pytest.mark.parametrize(
    ("buffer_s", "chunk_frames", "dry_s"),
    [
        (45.0, CHUNK, DRY_NS / NS_PER_S),
        (1.2, CHUNK, 1.2 / SHARE),
        (0.3, 240, 0.1),
        (45.0, 2 * RATE, 2 * CHUNKS_MIN),
    ],
)
def test_a_short_buffer_is_sooner_dry_but_not_by_one_chunk(case, buffer_s, chunk_frames, dry_s):
    it = case(buffer_s=buffer_s, chunk_frames=chunk_frames)
    assert it.pass_s(dry_s - 0.02, gap=True) is None
    assert dry_s * RATE > chunk_frames
    assert it.pass_s(0.04, gap=True) is not None


def test_it_follows_a_host_that_changes_its_sizes(case):
    it = case()
    it.mute.fit(45 * NS_PER_S, 2 * RATE)
    assert it.pass_s(2.9, gap=True) is None
    it = case()
    it.mute.fit(600 * NS_PER_MS, 240)
    assert it.pass_s(2, gap=True) == 0.2


def test_one_lost_chunk_is_a_hole_and_no_more(case):
    """Of the longest chunks there are, and two in five seconds of shorter ones."""
    it = case(chunk_frames=2 * RATE)
    assert it.pass_s(2.0, gap=True) is None
    assert it.pass_s(10) is None
    it = case()
    for _ in range(6):
        assert it.pass_s(0.5, gap=True) is None
        assert it.pass_s(HOLES_WITHIN_NS / NS_PER_S / (HOLES_MAX - 1) - 0.4) is None
    assert it.mute.count == 0


def test_the_third_hole_within_five_seconds_mutes(case):
    it = case()
    for _ in range(HOLES_MAX - 1):
        assert it.pass_s(0.2, gap=True) is None
        assert it.pass_s(2.0) is None
    assert it.pass_s(0.2, gap=True) == 0.02
    it = case(buffer_s=0.6)
    for _ in range(HOLES_MAX - 1):
        assert it.pass_s(0.06, gap=True) is None
        assert it.pass_s(0.2) is None
    assert it.pass_s(0.2, gap=True) == 0.02
    it = case(buffer_s=0.6)
    for _ in range(9):
        assert it.pass_s(0.06, gap=True) is None
        assert it.pass_s(0.3) is None


@pytest.mark.parametrize("buffer_s", [45.0, 1.5])
def test_it_comes_back_when_enough_lies_ready(case, buffer_s):
    it = case(buffer_s=buffer_s).dry()
    enough = frames_from_ns(min(BACK_NS, round(buffer_s * NS_PER_S) // SHARE), RATE)
    it.requests.want(999, it.now + 60 * NS_PER_S, it.now)  # something is missing far ahead
    at = it.playout.cursor // CHUNK
    chunks = -(-enough // CHUNK)
    it.fill(range(at, at + chunks - 1))
    assert not it.mute.update(it.playout, it.now)
    it.fill([at + chunks - 1])
    it.clock.level = Quality.HOLDOVER
    assert not it.mute.update(it.playout, it.now), "who has been without the host must learn the clock first"
    it.clock.level = Quality.LOCKED
    assert it.mute.update(it.playout, it.now)
    assert (it.mute.muted, it.mute.count, it.playout.told) == (False, 1, [True, False])
    assert it.pass_s(5) is None, "what was before is forgotten"


def test_a_hole_ahead_is_not_enough(case):
    it = case().dry()
    it.requests.want(999, it.now + 60 * NS_PER_S, it.now)
    at = it.playout.cursor // CHUNK
    it.fill(seq for seq in range(at, at + 100) if seq != at + 10)
    assert not it.mute.update(it.playout, it.now)
    it.fill([at + 10])
    assert it.mute.update(it.playout, it.now)


def test_where_a_source_is_late_all_that_was_sent_is_enough(case):
    """Or nobody would hear anything any more of a source that never is two seconds ahead."""
    it = case().dry()
    at = it.playout.cursor // CHUNK
    it.fill([at])
    it.requests.want(at + 1, it.now + 60 * NS_PER_S, it.now)
    assert not it.mute.update(it.playout, it.now)
    it.requests.forget(at + 1)
    it.fill([at + 3])
    assert not it.mute.update(it.playout, it.now), "something came after what is missing"
    it.fill([at + 1, at + 2])
    assert it.mute.update(it.playout, it.now)


@pytest.mark.parametrize("paused", [False, True])
def test_before_an_end_less_is_enough(case, kit, paused):
    it = case().dry()
    it.requests.want(999, it.now + 60 * NS_PER_S, it.now)
    at = it.playout.cursor // CHUNK
    it.fill([at, at + 1])
    assert not it.mute.update(it.playout, it.now)
    if paused:
        frame = (at + 2) * CHUNK
        it.schedule.log.add(kit.timeline_at(kit.timeline_at().play_at(frame, RATE), frame, 2, PlayState.PAUSED))
    else:
        it.playout.final_frame = (at + 2) * CHUNK
    assert it.mute.update(it.playout, it.now)


def test_what_does_not_play_runs_not_dry(case, kit):
    it = case()
    it.playout.record = kit.timeline_at(state=PlayState.PAUSED)
    assert it.pass_s(5, gap=True) is None
    it.playout.record = kit.timeline_at()
    it.playout.ended = True
    assert it.pass_s(5, gap=True) is None
    it.playout.cursor = None
    assert not it.mute.update(it.playout, it.now)
    assert not it.mute.update(None, it.now)


# --- in a session -----------------------------------------------------------------------------------------------------


def outage(it, seconds, step_s=0.1):
    """Lose everything for so long; return the listener's state every so often."""
    it.loses = lambda _: True
    states = []
    for _ in range(round(seconds / step_s)):
        it.run(step_s)
        states.append(it.listener.state(it.now))
    it.loses = None
    return states


def test_who_runs_dry_is_muted_and_comes_back_exactly(world, kit):
    it = world(seconds=20.0)
    it.run(4)
    states = outage(it, 4.0)
    assert states[0] is ListenerState.PLAYING
    assert states[-1] is ListenerState.MUTED
    it.run(1)
    assert it.listener.state(it.now) is ListenerState.PLAYING
    mutes = [event.muted for event in it.events if isinstance(event, MuteChanged)]
    assert mutes == [True, False]
    assert it.listener.stream.mute.count == 1
    heard = it.heard
    truth = kit.counting(it.blocks[0].frame, len(heard))
    silent = heard[:, 0] == 0
    assert np.array_equal(heard[~silent], truth[~silent])
    changes = np.flatnonzero(np.diff(silent.astype(int)))
    assert len(changes) == 2, "one silence, no scraps of music in it"
    assert it.listener.stream.playout.concealed_frames == np.count_nonzero(silent)


def test_a_stuttering_network_is_one_silence_and_not_many(world, kit):
    """Every third chunk arrives: that is no music."""
    broken = []

    def lost(datagram):
        message = decode(datagram.data)
        return bool(broken) and isinstance(message, Audio) and (message.repair or message.chunk.seq % 3 != 0)

    it = world(seconds=30.0, loses=lost, overrides={"radio_sync.adaptive_quality": False})
    it.run(4)
    broken.append(True)
    it.run(10)
    assert it.listener.state(it.now) is ListenerState.MUTED
    broken.clear()
    it.run(4)
    assert it.listener.state(it.now) is ListenerState.PLAYING
    assert it.listener.stream.mute.count <= 2
    silent = it.heard[:, 0] == 0
    assert np.count_nonzero(np.diff(silent.astype(int))) <= 2 * (HOLES_MAX + 2)


def test_a_host_that_is_gone_is_told_as_ever(world):
    it = world(seconds=20.0)
    it.run(4)
    it.host = None
    it.run(32)
    kinds = [type(event) for event in it.events]
    assert kinds.index(MuteChanged) < kinds.index(HostGone)
    assert it.listener.state(it.now) is ListenerState.WAITING


def test_a_pause_is_not_a_mute(world):
    it = world(seconds=20.0)
    it.run(4)
    it.host.pause(it.now + it.offset)
    it.run(8)
    assert it.listener.state(it.now) is ListenerState.PAUSED
    it.host.resume(it.now + it.offset)
    it.run(2)
    assert it.listener.state(it.now) is ListenerState.PLAYING
    assert it.listener.stream.mute.count == 0
