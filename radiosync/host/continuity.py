"""Going on where a host was killed, with the same session, so that nobody hears it.

Listeners hold the music of the next `buffer_duration` seconds.  A host that is back before that has been played can go
on as if it had only been silent: by the same clock, with the same session, the same key of its cookies, the same
timeline and the same numbers.  To a listener it is the very host that it has been following, at the address that once
answered its question; it is asked to believe nothing that it did not believe before.

For that the host writes down what it says before it says it: a record before it is sent, a chunk's place and sum before
its first symbol leaves.  So it can't contradict itself when it is back: what it does not know of, nobody has seen.  The
chunks are not written down; they are read and coded again from the play position on, which gives the same bytes, and
those that had been sent are only kept for repairs.  A chunk that comes out otherwise, of a changed file, is not.

Something live can't be read again, and of a jump that was under way not everything is known: then a new session begins.
"""

import zlib
from collections import deque
from dataclasses import dataclass, replace

from radiosync.audio.format import AudioFormat
from radiosync.config import Config
from radiosync.host.packetizer import CodedAudio
from radiosync.host.sender import Sender
from radiosync.host.transport import Transport
from radiosync.repair.symbols import Chunk
from radiosync.timeline import Timeline, TimelineLog
from radiosync.units import NS_PER_MS, HostNs, MediaFrame

MARKS_MAX = 2048  # chunks: 120 s of those of 0.1 s, and the linger; beyond, the oldest are not repaired after a return
SHORT_SHARE = 10  # of a second: with shorter chunks writing down costs more than it is worth; a buffer of 1 s has them
SLACK_NS = (
    200 * NS_PER_MS
)  # what must at least be left of the listeners' buffers: a chunk needs this long to reach everybody


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkMark:
    """Where a chunk lies in the stream and in its song, and the CRC-32 of it as it was coded."""

    seq: int
    first_frame: MediaFrame
    frames: int
    song_id: int
    song_frame: int
    crc: int

    @property
    def end_frame(self) -> MediaFrame:
        """The first frame after it."""
        return MediaFrame(self.first_frame + self.frames)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What a host must know to go on with a session; `cookie_key` must stay its secret."""

    saved_at: HostNs
    session: int
    cookie_key: bytes
    records: tuple[Timeline, ...]
    begin_frame: MediaFrame
    preparing: tuple[MediaFrame, int] | None
    """Target and epoch of a start that is being prepared."""
    held: bool
    """Whether everybody is paused for who has run dry, until the host lets them go on."""
    next_seq_sent: int
    final_frame: MediaFrame | None
    chunks: tuple[ChunkMark, ...]
    """What has been made and not been played, in order; never none."""

    def as_of(self, audio: AudioFormat, config: Config, now: HostNs) -> "Remembered | None":
        """Return what of it still matters; None where listeners hold nothing to play any more."""
        if not 0 <= now - self.saved_at < config.radio_sync.buffer_max_ns(live=False):
            return None
        log = TimelineLog(self.records[0])
        for record in self.records[1:]:
            log.add(record)
        reached = HostNs(now + SLACK_NS)
        due = log.frame_at(reached, audio.rate)
        if log.at(reached).playing and not any(m.seq < self.next_seq_sent and m.end_frame > due for m in self.chunks):
            return None
        ahead = tuple(mark for mark in self.chunks if mark.end_frame > log.frame_at(now, audio.rate))
        return replace(self, chunks=ahead) if ahead else None


class Continuity:
    """Keeps what a return needs, and after one leads back to where the stream was."""

    def __init__(self, cookie_key: bytes, continued: Remembered | None) -> None:
        self._cookie_key = cookie_key
        self._marks: deque[ChunkMark] = deque(maxlen=MARKS_MAX)
        self._again: deque[ChunkMark] = deque(() if continued is None else continued.chunks)
        self.final_frame: MediaFrame | None = None if continued is None else continued.final_frame
        """Where the music ended as it was known before; until it is known again."""

    def add(self, sender: Sender, coded: CodedAudio, now: HostNs) -> Chunk | None:
        """Give `sender` a chunk that was made before, at its old place; None where there was none such."""
        if not self._again:
            self.final_frame = None
            return None
        mark, last = self._again.popleft(), self._again[-1] if self._again else None
        if (coded.frames, coded.song.song_id, coded.song_frame) != (mark.frames, mark.song_id, mark.song_frame):
            last = last or mark  # it is not what was played: go on behind everything that anybody knows
            self.forget()
            sender.packetizer.go_on_at(last.seq + 1, last.end_frame)
            return None
        self._marks.append(mark)
        return sender.add_again(coded, mark.seq, mark.first_frame, now, same=zlib.crc32(coded.data) == mark.crc)

    def note(self, coded: CodedAudio, chunk: Chunk) -> None:
        """Take note of a chunk that has been made."""
        header = chunk.header
        self._marks.append(
            ChunkMark(
                seq=header.seq,
                first_frame=header.first_frame,
                frames=header.frames,
                song_id=header.song_id,
                song_frame=header.song_frame,
                crc=zlib.crc32(coded.data),
            )
        )

    def expire(self, due: MediaFrame) -> None:
        """Forget what has been played."""
        while self._marks and self._marks[0].end_frame <= due:
            self._marks.popleft()

    def forget(self) -> None:
        """Forget all chunks: what comes next does not follow on them."""
        self._marks.clear()
        self._again.clear()
        self.final_frame = None

    def stamp(self, transport: Transport) -> tuple[object, ...]:
        """Return what is another one whenever something has to be written down before it is said."""
        last = self._marks[-1].seq if self._marks else None
        return transport.newest.version, transport.preparation, last

    def remembered(
        self,
        session: int,
        transport: Transport,
        sender: Sender,
        final_frame: MediaFrame | None,
        now: HostNs,
        *,
        held: bool,
    ) -> Remembered | None:
        """Return what is to be written down; None where there is nothing to go on with."""
        self.expire(transport.due_frame(now))
        chunks = (*self._marks, *self._again)
        begun = transport.newest.version > 1  # before the first start nobody has heard anything
        if not chunks or not begun or sender.chunk_frames * SHORT_SHARE < sender.rate:
            return None
        preparation = transport.preparation
        return Remembered(
            saved_at=now,
            session=session,
            cookie_key=self._cookie_key,
            records=transport.log.records,
            begin_frame=transport.begin_frame,
            preparing=None if preparation is None else (preparation.target_frame, preparation.epoch),
            held=held,
            next_seq_sent=sender.next_seq_sent,
            final_frame=self.final_frame if final_frame is None else final_frame,
            chunks=chunks,
        )
