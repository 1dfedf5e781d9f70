"""Lower tiers at the host: made when somebody wants them, sent while somebody does, forgotten with their chunks."""

import numpy as np
import pytest

from radiosync.audio.codec import ChunkCodec, Codec
from radiosync.audio.format import AudioFormat, SampleFormat
from radiosync.audio.song import Song
from radiosync.audio.tiers import Tier, tiers_for
from radiosync.config import Config
from radiosync.host import ladder as module
from radiosync.host.ladder import HOLD_NS, transcode
from radiosync.host.packetizer import CodedAudio
from radiosync.host.sender import Sender
from radiosync.host.transport import Transport
from radiosync.timeline import PlayState, Timeline
from radiosync.units import NS_PER_MS, NS_PER_S
from radiosync.wire.codec import decode
from radiosync.wire.messages import Nack, NackEntry

AUDIO = AudioFormat(48_000, 2, SampleFormat.S16)
ANNA, BERT = ("10.0.0.1", 5000), ("10.0.0.2", 5000)
LOW = int(Tier.OPUS_LOW)


class Stage:
    """A sender that is fed with noise, and a transcoder that is at once done."""

    def __init__(self, kit, *, transcodes=True, **overrides):
        config = Config.load(None, {"radio_sync.buffer_duration": 6.0} | overrides)
        self.now = kit.NOW
        self.transport = Transport(AUDIO.rate, 0, self.now)
        self.transport.decide([], self.now)
        self.sender = Sender(config, AUDIO, 1, self.transport, self.now)
        self.transcodes = transcodes
        self.codec = ChunkCodec()
        self.rng = np.random.default_rng(1)
        self.sent = []

    def feed(self):
        noise = self.rng.integers(-9000, 9000, (self.sender.chunk_frames, 2), np.int16)
        used, data = self.codec.encode(noise, AUDIO, Codec.FLAC)
        frames = self.sender.packetizer.next_frame
        song = Song(song_id=1, title="")
        self.sender.add(CodedAudio(song=song, song_frame=frames, frames=len(noise), codec=used, data=data), self.now)

    def make(self):
        while self.transcodes and (job := self.sender.next_tier_job(complete=False)) is not None:
            self.sender.add_tier_audio(transcode(job, AUDIO, self.codec), self.now)

    def run(self, seconds):
        """Let time pass; return what was sent as (tier, receiver, message)."""
        sent, until = [], self.now + round(seconds * NS_PER_S)
        while self.now < until:
            while (at := self.sender.wanted_at(self.now)) is not None and at <= self.now:
                self.feed()
            self.make()
            sent += [(d.tier, d.to, decode(d.data)) for d in self.sender.datagrams(self.now)]
            self.sender.expire(self.now)
            self.now += 5 * NS_PER_MS
        return sent

    def ask(self, seq, tier, by=ANNA, **entry):
        entries = (NackEntry(seq=seq, tier=tier, **(entry or {"run": 1})),)
        self.sender.ask(Nack(session=1, cookie=1, listener_id=1, entries=entries), by, self.now, first_seq=0)


@pytest.fixture
def stage(kit):
    return lambda **options: Stage(kit, **options)


def numbers(sent, tier):
    return sorted({m.chunk.seq for t, to, m in sent if t == tier == m.chunk.tier and to is None})


def test_nothing_is_made_while_nobody_wants_it(stage):
    it = stage()
    sent = it.run(4)
    assert {tier for tier, _, _ in sent} == {0}
    assert it.sender.ladder.made == 0
    offers = it.sender.ladder.offers()
    assert [o.tier for o in offers] == [int(t) for t in tiers_for(AUDIO, it.sender.chunk_frames)[1:]]
    assert not any(o.active for o in offers)


def test_who_forbids_it_offers_nothing(stage):
    it = stage(**{"radio_sync.adaptive_quality": False})
    it.sender.want_tier(LOW, it.now)
    assert {tier for tier, _, _ in it.run(2)} == {0}
    assert it.sender.ladder.offers() == ()


def test_a_wanted_tier_has_the_same_chunks_from_now_on(stage):
    it = stage()
    it.run(3)
    first = it.sender.next_seq_sent
    it.sender.want_tier(LOW, it.now)
    sent = it.run(4)
    low = numbers(sent, LOW)
    assert low == list(range(first, first + len(low)))
    assert len(low) >= 6
    lossless = {m.chunk.seq: m.chunk for t, _, m in sent if t == 0}
    for tier, _, message in sent:
        if tier == LOW and message.chunk.seq in lossless:
            here, there = message.chunk, lossless[message.chunk.seq]
            assert (here.first_frame, here.frames, here.play_at) == (there.first_frame, there.frames, there.play_at)
            assert here.coded_bytes < there.coded_bytes / 4
    offer = next(o for o in it.sender.ladder.offers() if o.tier == LOW)
    assert offer.active
    assert offer.next_seq in {low[-1], low[-1] + 1}


def test_its_rate_is_measured_once_it_is_made(stage):
    it = stage()
    it.run(1)
    it.sender.want_tier(LOW, it.now)
    sent = it.run(4)
    offer = next(o for o in it.sender.ladder.offers() if o.tier == LOW)
    low = [m for t, _, m in sent if t == LOW]
    seconds = len(numbers(sent, LOW)) * it.sender.chunk_frames / AUDIO.rate
    wire = sum(len(m.payload) + 138 for m in low)
    assert offer.kbps == pytest.approx(wire * 8 / seconds / 1000, rel=0.1)


def test_it_is_sent_no_longer_than_somebody_wants_it(stage):
    it = stage()
    it.run(1)
    it.sender.want_tier(LOW, it.now)
    assert LOW in {t for t, _, _ in it.run(HOLD_NS / NS_PER_S)}
    it.run(0.5)
    assert it.sender.ladder.active == ()
    assert {t for t, _, _ in it.run(3)} == {0}


def test_what_was_sent_before_is_made_for_who_asks(stage):
    it = stage()
    it.run(3)
    it.ask(9, LOW)
    sent = it.run(0.3)
    asked = [m for t, to, m in sent if t == LOW and to == ANNA and m.chunk.seq == 9]
    assert [m.index for m in asked] == list(range(asked[0].chunk.symbols))
    assert all(m.repair for m in asked)
    it.ask(9, LOW, bitmap=0b10)  # it is kept
    again = [m.index for t, to, m in it.run(0.3) if to == ANNA and m.chunk.seq == 9]
    assert again == [1]
    assert it.sender.ladder.get(LOW, 9) is not None


def test_what_several_ask_for_goes_to_the_tiers_group(stage):
    it = stage()
    it.run(3)
    it.ask(9, LOW, ANNA)
    it.ask(9, LOW, BERT)
    sent = it.run(0.3)
    assert {(t, to) for t, to, m in sent if m.chunk.seq == 9 and m.chunk.tier == LOW} == {(LOW, None)}


def test_an_unknown_tier_gets_lossless(stage):
    it = stage()
    it.run(1)
    it.ask(1, 7)
    assert {m.chunk.tier for _, to, m in it.run(0.3) if to == ANNA} == {0}


def test_asking_has_a_limit(stage, monkeypatch):
    monkeypatch.setattr(module, "ASKED_MAX", 2)
    it = stage(transcodes=False)
    it.run(3)
    for seq in range(4):
        it.ask(seq, LOW)
    assert it.sender.ladder.overflows == 2
    it.sender.forget_listener(ANNA)
    assert it.sender.next_tier_job(complete=False) is None or it.sender.ladder.active


def test_who_asks_for_the_same_is_remembered_up_to_a_limit(stage):
    it = stage(transcodes=False)
    it.run(3)
    for port in range(module.ASKERS_MAX + 10):
        it.sender.ladder.ask(LOW, 1, ("10.0.0.9", port))
    (askers,) = it.sender.ladder._asked.values()
    assert len(askers) == module.ASKERS_MAX


def test_chunks_go_with_their_lossless_ones(stage):
    it = stage()
    it.sender.want_tier(LOW, it.now)
    for _ in range(6):
        it.run(4)
        it.sender.want_tier(LOW, it.now)
    lane = it.sender.ladder.lanes[LOW]
    assert 0 < len(lane.chunks) <= len(it.sender.history) + 2
    assert min(lane.chunks) > 10


def test_a_jump_drops_what_waits_and_what_is_being_made(stage):
    it = stage(transcodes=False)
    it.run(2)
    it.sender.want_tier(LOW, it.now)
    it.run(1)
    job = it.sender.next_tier_job(complete=False)
    assert job is not None
    it.transport.log.add(
        Timeline(
            version=it.transport.newest.version + 1,
            epoch=9,
            state=PlayState.PLAYING,
            media_frame=it.sender.packetizer.next_frame,
            effective_at=it.now,
        )
    )
    it.sender.abandon()
    it.run(0.1)
    it.sender.add_tier_audio(transcode(job, AUDIO, it.codec), it.now)
    assert it.sender.ladder.made == 0
    assert it.sender.ladder.get(LOW, job.chunk.header.seq) is None


def test_neighbours_are_coded_along_only_where_they_follow_on(stage):
    it = stage(transcodes=False)
    it.run(3)
    it.ask(2, LOW)
    job = it.sender.next_tier_job(complete=False)
    assert (job.before.header.seq, job.chunk.header.seq, job.after.header.seq) == (1, 2, 3)
    it.ask(0, LOW)
    assert it.sender.next_tier_job(complete=False).before is None


def test_the_last_chunk_waits_for_its_neighbour_unless_there_is_none(stage):
    it = stage(transcodes=False)
    it.run(3)
    last = it.sender.packetizer.next_seq - 1
    it.sender.history.add(next(c for c in [it.sender._prebuffer.get(last)] if c is not None))
    it.ask(last, LOW)
    assert it.sender.next_tier_job(complete=False) is None
    assert it.sender.next_tier_job(complete=True).chunk.header.seq == last


def test_what_can_not_be_made_smaller_goes_as_it_is(kit):
    codec = ChunkCodec()
    used, data = codec.encode(AUDIO.silence(24_000), AUDIO, Codec.FLAC)
    chunk = kit.chunk(seq=0)
    header = module.replace(chunk.header, frames=24_000, codec=used, coded_bytes=len(data))
    silence = module.Chunk(header=header, symbols=(data,))
    made = transcode(module.TierJob(tier=Tier.OPUS_HIGH, chunk=silence, before=None, after=None), AUDIO, codec)
    assert (made.codec, made.data) == (used, data)
