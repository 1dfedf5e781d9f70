import pytest

from radiosync.audio.codec import Codec
from radiosync.audio.format import AudioFormat, SampleFormat
from radiosync.audio.song import Song
from radiosync.host.packetizer import CodedAudio
from radiosync.repair.symbols import Chunk
from radiosync.units import NS_PER_S, ns_from_frames
from radiosync.wire.messages import ChunkHeader

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


@pytest.fixture(scope="session")
def kit():
    names = {"NOW": NOW, "MONO": MONO, "chunk": staticmethod(make_chunk), "coded": staticmethod(make_coded)}
    return type("Kit", (), names)
