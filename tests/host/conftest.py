import sys
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from radiosync.audio.codec import Codec
from radiosync.audio.format import AudioFormat, SampleFormat
from radiosync.audio.song import Song
from radiosync.config import Config
from radiosync.host.packetizer import CodedAudio
from radiosync.host.session import HostSession
from radiosync.repair.symbols import Chunk
from radiosync.units import NS_PER_MS, NS_PER_S, ns_from_frames
from radiosync.wire.codec import decode, encode
from radiosync.wire.messages import Announce, Audio, ChunkHeader, ListenerState, Nack, NackEntry, Solicit

sys.path.append(str(Path(__file__).parent))  # for `import reports`, as pytest's importlib mode leaves sys.path alone

from reports import a_report

NOW = 1_795_000_000 * NS_PER_S
MONO = AudioFormat(8_000, 1, SampleFormat.S16)


def make_chunk(seq=0, symbols=4, frames=800, play_at=None, rate=8_000):
    """Return a chunk of so many symbols of 10 bytes; without a play-at it is one of a row that began at NOW."""
    play_at = NOW + ns_from_frames(seq * frames, rate) if play_at is None else play_at
    header = ChunkHeader(
        seq=seq,
        epoch=1,
        first_frame=seq * frames,
        frames=frames,
        play_at=play_at,
        song_id=1,
        song_frame=seq * frames,
        buffer_position_ms=0,
        stamped_at=NOW,
        codec=1,
        coded_bytes=10 * symbols,
        symbol_bytes=10,
        symbols=symbols,
    )
    return Chunk(header=header, symbols=tuple(bytes([i]) * 10 for i in range(symbols)))


def make_coded(frames=800, song_frame=0, song_id=1, data=None, **song):
    return CodedAudio(
        song=Song(song_id=song_id, title=f"Song {song_id}", **song),
        song_frame=song_frame,
        frames=frames,
        codec=Codec.PCM,
        data=bytes(2 * frames) if data is None else data,
    )


TICK_NS = 20 * NS_PER_MS


@dataclass
class Driven:
    """A session that is driven every 20 ms, with listeners that report; the network takes `taken` datagrams a time."""

    config: Config = field(default_factory=Config)
    taken: int | None = None
    sent: list = field(default_factory=list)
    """Of every datagram: when, what it says, to whom."""
    fed: int = 0
    here: dict = field(default_factory=dict)
    """What each listener says of itself once a second."""
    live: bool = False

    def __post_init__(self):
        self.now = NOW
        self.session = HostSession(
            self.config, MONO, rng=Random(1), now=self.now, control_port=1, clock_port=2, name="den", live=self.live
        )

    def tick(self):
        if self.now % NS_PER_S == 0:
            for address in self.here:
                self.report(address)
        frames = self.session.sender.chunk_frames
        while self.session.audio_wanted(self.now):
            self.session.add_audio(make_coded(frames, self.fed), self.now)
            self.fed += frames
        self.session.handle_timeout(self.now)
        for datagram in islice(self.session.datagrams_to_send(self.now), self.taken):
            self.sent.append((self.now, decode(datagram.data), datagram.to))
        self.now += TICK_NS

    def run(self, seconds):
        for _ in range(round(seconds * NS_PER_S / TICK_NS)):
            self.tick()

    def come(self, address, **values):
        """Let a listener make itself known and say `values` of itself from now on; return what it must show."""
        self.hear(Solicit, address, nonce=77)
        self.tick()
        answer = next(m for _, m, to in reversed(self.sent) if isinstance(m, Announce) and to == address)
        shown = {"cookie": answer.cookie, "listener_id": address[1]}
        self.here[address] = {"name": address[0], "state": ListenerState.PLAYING} | values | shown
        self.report(address)
        return shown

    def report(self, address):
        self.hear(a_report, address, **self.here[address])

    def hear(self, kind, address, **values):
        message = kind(**values | {"session": self.session.session})
        self.session.receive_datagram(encode(message), address, self.now)

    def lack(self, address, shown, seqs):
        """Let a listener ask for all of these chunks."""
        entries = tuple(NackEntry(seq=seq, bitmap=(1 << 64) - 1) for seq in seqs)
        self.hear(Nack, address, entries=entries, **shown)

    def music(self):
        return {(m.chunk.seq, m.index): at for at, m, _ in self.sent if isinstance(m, Audio) and not m.repair}

    def again(self, to):
        return [(at, m.chunk) for at, m, address in self.sent if isinstance(m, Audio) and m.repair and address == to]


@pytest.fixture(scope="session")
def driven():
    return lambda live=False, **keys: Driven(Config.load(None, keys), live=live)


@pytest.fixture(scope="session")
def kit():
    names = {"NOW": NOW, "MONO": MONO, "chunk": staticmethod(make_chunk), "coded": staticmethod(make_coded)}
    return type("Kit", (), names)
