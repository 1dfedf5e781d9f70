"""What the listener's tests share: chunks by hand, and a host and a listener on a network in memory."""

from dataclasses import dataclass, field
from random import Random

import numpy as np
import pytest

from radiosync.audio.codec import ChunkCodec, Codec
from radiosync.audio.format import AudioFormat, SampleFormat
from radiosync.audio.song import Song
from radiosync.clock.mapping import ClockMapping
from radiosync.config import Config
from radiosync.host.packetizer import CodedAudio
from radiosync.host.session import HostSession
from radiosync.listener.events import HostFound
from radiosync.listener.exact import ExactPlayout
from radiosync.listener.session import ListenerSession
from radiosync.repair.symbols import split
from radiosync.timeline import PlayState, Timeline
from radiosync.units import NS_PER_MS, NS_PER_S, ns_from_frames
from radiosync.wire import ntp
from radiosync.wire.messages import Audio, ChunkHeader

EPOCH = 1_795_000_000 * NS_PER_S
START = 5_000 * NS_PER_S  # local
OFFSET = EPOCH - START  # host minus local clock
HOST = ("10.0.0.1", 45_451)
LISTENER = ("10.0.0.2", 50_000)
MONO = AudioFormat(8_000, 1, SampleFormat.S16)


def counting(first, frames, audio=MONO):
    """Return frames that say which they are: no two within 60000 are alike, and none is silence."""
    values = np.arange(first, first + frames) % 60_000 - 30_000
    values[values == 0] = 30_001
    return np.repeat(values[:, None], audio.channels, axis=1).astype(audio.sample.dtype)


def timeline_at(effective_at=EPOCH, media_frame=0, version=1, state=PlayState.PLAYING, epoch=1):
    return Timeline(version=version, epoch=epoch, state=state, media_frame=media_frame, effective_at=effective_at)


def mapping_with(offset=OFFSET, skew=0.0):
    return ClockMapping(
        local_at=START, host_at=START + offset, skew=skew, bound_ns=1.0, sigma_ns=1.0, skew_bound=0.0, skew_sigma=0.0
    )


def chunk_symbols(
    seq, first, samples, audio=MONO, codec=Codec.PCM, symbol_bytes=50, timeline=None, repair=False, coded=None
):
    """Return the datagrams' contents of one chunk; `coded` is a codec and what it made of the samples."""
    codec, coded = coded or ChunkCodec().encode(samples, audio, codec)
    symbols = split(coded, symbol_bytes)
    timeline = timeline or timeline_at()
    header = ChunkHeader(
        seq=seq % (1 << 32),
        epoch=1,
        first_frame=first,
        frames=len(samples),
        play_at=timeline.play_at(first, audio.rate),
        song_id=1,
        song_frame=first,
        buffer_position_ms=0,
        stamped_at=0,
        codec=codec,
        coded_bytes=len(coded),
        symbol_bytes=symbol_bytes,
        symbols=len(symbols),
    )
    return [
        Audio(session=7, timeline=timeline, chunk=header, index=i, repair=repair, payload=symbol)
        for i, symbol in enumerate(symbols)
    ]


@dataclass
class World:
    """A host and a listener that hear each other 0.1 ms later, stepped every 5 ms."""

    seconds: float = 4.0
    overrides: dict = field(default_factory=dict)
    seed: int = 1
    answers_clock: bool = True
    loses: object = None
    """Called with a datagram of the host to the group or the listener; what it says is lost."""

    def __post_init__(self):
        self.config = Config.load(None, {"radio_sync.buffer_duration": 2.0, "host.start_lead": 0.5} | self.overrides)
        self.now = START
        self.offset = OFFSET
        self.hosts = 0
        self.host = self.new_host()
        self.listener = ListenerSession(self.config, rng=Random(self.seed), now=self.now, name="kitchen")
        self.events, self.host_events, self.blocks, self.answers = [], [], [], []
        self.to_host, self.to_listener = [], []
        self.sent = 0
        self.attaches = True

    def new_host(self):
        self.sent = 0
        self.hosts += 1
        return HostSession(
            self.config,
            MONO,
            rng=Random(self.seed + 100 + self.hosts),
            now=self.now + self.offset,
            control_port=HOST[1],
            clock_port=HOST[1] + 1,
            name="den",
        )

    def feed(self):
        now = self.now + self.offset
        total = round(self.seconds * MONO.rate)
        while self.host.audio_wanted(now):
            frames = min(self.host.sender.chunk_frames, total - self.sent)
            if frames <= 0:
                self.host.end_of_audio(0, now)
                return
            samples = counting(self.sent, frames)
            codec, data = ChunkCodec().encode(samples, MONO, Codec.PCM)
            song = Song(song_id=1, title="Tune", frames=total)
            coded = CodedAudio(song=song, song_frame=self.sent, frames=frames, codec=codec, data=data)
            self.host.add_audio(coded, now)
            self.sent += frames

    def step(self, local_ns=5 * NS_PER_MS):
        self.now += local_ns
        for data, at in self.answers:
            self.listener.receive_clock(data, at)
        self.answers = []
        if self.host is not None:
            self.step_host()
        for data, source in self.to_listener:
            self.listener.receive_datagram(data, source, self.now)
        self.to_listener = []
        self.step_listener()

    def step_host(self):
        now = self.now + self.offset
        self.feed()
        for data in self.to_host:
            self.host.receive_datagram(data, LISTENER, now)
        self.to_host = []
        self.host.handle_timeout(now)
        for datagram in self.host.datagrams_to_send(now):
            if datagram.to in (None, LISTENER) and not (self.loses and self.loses(datagram)):
                self.to_listener.append((datagram.data, HOST if datagram.urgent else (HOST[0], 41_000)))
        while (event := self.host.next_event()) is not None:
            self.host_events.append(event)

    def step_listener(self):
        self.listener.handle_timeout(self.now)
        self.to_host += [datagram.data for datagram in self.listener.datagrams_to_send()]
        for request in self.listener.clock_requests(self.now):
            self.listener.note_clock_sent(request, self.now)
            if self.answers_clock and self.host is not None:
                at = self.now + self.offset + 100_000
                answer = ntp.respond(request, received_at=at, sent_at=at + 20_000)
                self.answers.append((answer, self.now + 220_000))
        while (event := self.listener.next_event()) is not None:
            self.events.append(event)
            if isinstance(event, HostFound) and self.attaches:
                self.attach()
        stream = self.listener.stream
        if stream is not None and stream.playout is not None:
            while (block := stream.playout.take(self.now)) is not None:
                self.blocks.append(block)

    def attach(self):
        stream = self.listener.stream
        stream.attach(ExactPlayout(stream.buffer, stream.schedule))

    def run(self, seconds, until=lambda: False):
        end = self.now + round(seconds * NS_PER_S)
        while self.now < end and not until():
            self.step()
        return self

    @property
    def heard(self):
        return np.concatenate([block.samples for block in self.blocks]) if self.blocks else np.zeros((0, 1), np.int16)


@pytest.fixture(scope="session")
def world():
    return World


@pytest.fixture(scope="session")
def kit():
    """The helpers above, by name."""
    return type("Kit", (), {name: staticmethod(value) if callable(value) else value for name, value in HELPERS.items()})


HELPERS = {
    "counting": counting,
    "timeline_at": timeline_at,
    "mapping_with": mapping_with,
    "chunk_symbols": chunk_symbols,
    "ns_from_frames": ns_from_frames,
    "MONO": MONO,
    "START": START,
    "OFFSET": OFFSET,
    "EPOCH": EPOCH,
    "HOST": HOST,
    "LISTENER": LISTENER,
}
