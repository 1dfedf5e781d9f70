"""Turn coded audio into chunks: sequence number, place in the stream, play-at, symbols."""

from dataclasses import dataclass

from radiosync.audio.codec import Codec
from radiosync.audio.format import AudioFormat
from radiosync.audio.song import Song
from radiosync.repair.symbols import Chunk, split
from radiosync.units import NS_PER_MS, HostNs, MediaFrame, frames_from_ns
from radiosync.wire.codec import AUDIO_OVERHEAD
from radiosync.wire.messages import SYMBOLS_MAX, ChunkHeader


@dataclass(frozen=True, slots=True, kw_only=True)
class CodedAudio:
    """A stretch of one song, coded to be decoded alone; made by the reader thread."""

    song: Song
    song_frame: int
    frames: int
    codec: Codec
    data: bytes
    generation: int = 0
    """How many jumps the source had been asked for before this was read."""


def chunk_frames(audio: AudioFormat, chunk_ns: int, datagram_max: int) -> int:
    """Return how many frames a chunk has: `chunk_ns` of them, or fewer where raw PCM would need too many symbols."""
    most = SYMBOLS_MAX * (datagram_max - AUDIO_OVERHEAD) // audio.frame_bytes
    return max(1, min(frames_from_ns(chunk_ns, audio.rate), most))


class Packetizer:
    """Numbers the chunks of a session and lays them on the timeline without a gap."""

    def __init__(self, datagram_max: int) -> None:
        self._symbol_bytes = datagram_max - AUDIO_OVERHEAD
        self.next_seq = 0
        self.next_frame = MediaFrame(0)

    def packetize(self, coded: CodedAudio, epoch: int, play_at: HostNs, now: HostNs, ahead_ns: int) -> Chunk:
        """Return the next chunk; `ahead_ns` is how far it lies ahead of the play position."""
        symbols = split(coded.data, self._symbol_bytes)
        header = ChunkHeader(
            seq=self.next_seq,
            epoch=epoch,
            first_frame=self.next_frame,
            frames=coded.frames,
            play_at=play_at,
            song_id=coded.song.song_id,
            song_frame=coded.song_frame,
            buffer_position_ms=ahead_ns // NS_PER_MS,
            stamped_at=now,
            codec=coded.codec,
            coded_bytes=len(coded.data),
            symbol_bytes=self._symbol_bytes,
            symbols=len(symbols),
        )
        self.next_seq += 1
        self.next_frame = MediaFrame(self.next_frame + coded.frames)
        return Chunk(header=header, symbols=symbols)

    def rewind(self, unsent: Chunk) -> None:
        """Use the numbers again from chunk `unsent` on, of which nobody has seen anything."""
        self.next_seq, self.next_frame = unsent.header.seq, unsent.header.first_frame

    def go_on_at(self, seq: int, frame: MediaFrame) -> None:
        """Number the next chunk `seq`, and let it begin with `frame`: of a session that a host goes on with."""
        self.next_seq, self.next_frame = seq, frame

    def skip_to(self, frame: MediaFrame) -> None:
        """Leave a hole before `frame`, where the source fell behind the timeline."""
        self.next_frame = max(self.next_frame, frame)
