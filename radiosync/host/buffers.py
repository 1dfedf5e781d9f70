"""The host's chunks: those ahead of the network (pre-buffer) and those behind it (history).

A chunk enters the pre-buffer when the reader delivers it, moves to the history as its last symbol leaves, and is
forgotten a little after it has been played.  How far ahead a chunk lies is counted in frames from the horizon: the
frame that is due, or that a start is being prepared for.  Together the two never hold more than the buffer, a chunk or
two ahead of it, and the linger: memory is bounded by time.
"""

from collections import deque
from collections.abc import Iterator

from radiosync.repair.symbols import Chunk
from radiosync.units import MediaFrame

CHUNKS_AHEAD_MAX = 2  # beyond the buffer: one being sent, one ready


class PreBuffer:
    """The chunks that have not been sent completely, in order.

    It asks for audio while what is ready reaches less than the buffer and two chunks beyond the horizon, so it needs no
    overflow policy: nobody adds what was not asked for.
    """

    def __init__(self, buffer_frames: int, chunk_frames: int) -> None:
        self._chunks: deque[Chunk] = deque()
        self._next_symbol = 0
        self.resize(buffer_frames, chunk_frames)

    def __len__(self) -> int:
        return len(self._chunks)

    def resize(self, buffer_frames: int, chunk_frames: int) -> None:
        """Take another length of the buffer, and of the chunks to come."""
        self._buffer_frames = buffer_frames
        self._wanted_frames = buffer_frames + CHUNKS_AHEAD_MAX * chunk_frames

    def add(self, chunk: Chunk) -> None:
        """Append the next chunk."""
        self._chunks.append(chunk)

    def clear(self) -> tuple[Chunk | None, Chunk | None]:
        """Drop everything; return the chunk that was partly sent, and the first of which nothing was."""
        chunks, begun = list(self._chunks), self._next_symbol > 0
        self._chunks.clear()
        self._next_symbol = 0
        unsent = chunks[1:] if begun else chunks
        return chunks[0] if begun else None, unsent[0] if unsent else None

    def frames_until_wanted(self, next_frame: MediaFrame, horizon: MediaFrame) -> int:
        """Return by how many frames the horizon must still move before the chunk at `next_frame` is wanted."""
        return max(0, next_frame - horizon - self._wanted_frames + 1)

    def get(self, seq: int) -> Chunk | None:
        """Return chunk `seq` if it is here."""
        return next((chunk for chunk in self._chunks if chunk.header.seq == seq), None)

    def first(self) -> Chunk | None:
        """Return the chunk that leaves next."""
        return self._chunks[0] if self._chunks else None

    def due(self, horizon: MediaFrame) -> Chunk | None:
        """Return the chunk whose next symbol may leave: the first one, once it lies within the buffer."""
        return self._chunks[0] if self._chunks and self.frames_until_due(horizon) == 0 else None

    def frames_until_due(self, horizon: MediaFrame) -> int | None:
        """Return by how many frames the horizon must still move before the first chunk may leave; None without one."""
        if not self._chunks:
            return None
        return max(0, self._chunks[0].header.first_frame - horizon - self._buffer_frames)

    def take_symbol(self) -> tuple[Chunk, int, bool]:
        """Return the first chunk, the index of its next symbol, and whether that was its last."""
        chunk, index = self._chunks[0], self._next_symbol
        last = index + 1 == len(chunk.symbols)
        self._next_symbol = 0 if last else index + 1
        if last:
            self._chunks.popleft()
        return chunk, index, last

    def drop_late(self, due_frame: MediaFrame) -> Iterator[Chunk]:
        """Drop and yield the chunks that lie wholly before the frame that is due."""
        while self._chunks and self._chunks[0].end_frame <= due_frame:
            self._next_symbol = 0
            yield self._chunks.popleft()


class History:
    """The chunks that were sent and can still be asked for, in order."""

    def __init__(self, linger_frames: int) -> None:
        self._linger_frames = linger_frames
        self._chunks: dict[int, Chunk] = {}

    def __len__(self) -> int:
        return len(self._chunks)

    def add(self, chunk: Chunk) -> None:
        """Keep `chunk`."""
        self._chunks[chunk.header.seq] = chunk

    def get(self, seq: int) -> Chunk | None:
        """Return chunk `seq` if it is still here."""
        return self._chunks.get(seq)

    def within(self, first: int, count: int) -> Iterator[Chunk]:
        """Yield those of `count` chunks from number `first` on that are still here, whatever the numbers are."""
        chunks = self._chunks
        if chunks:
            oldest, newest = next(iter(chunks)), next(reversed(chunks))
            for seq in range(max(first, oldest), min(first + count, newest + 1)):
                if (chunk := chunks.get(seq)) is not None:
                    yield chunk

    def at(self, frame: MediaFrame) -> Chunk | None:
        """Return the chunk that `frame` lies in, or the first one after it."""
        return next((c for c in self._chunks.values() if c.end_frame > frame), None)

    def expire(self, due_frame: MediaFrame, epoch: int) -> list[int]:
        """Forget what ended longer before the frame that is due than the linger, or belongs to an epoch before `epoch`.

        Returns the numbers of the forgotten chunks.
        """
        gone = []
        for seq, chunk in self._chunks.items():  # both grow from chunk to chunk: behind the first that stays all do
            if chunk.end_frame + self._linger_frames > due_frame and chunk.header.epoch >= epoch:
                break
            gone.append(seq)
        for seq in gone:
            del self._chunks[seq]
        return gone

    def drop_after_epoch(self, epoch: int) -> list[int]:
        """Forget what belongs to an epoch after `epoch`; return the numbers of the forgotten chunks."""
        gone = [seq for seq, chunk in self._chunks.items() if chunk.header.epoch > epoch]
        for seq in gone:
            del self._chunks[seq]
        return gone

    def coded_bytes(self) -> int:
        """Return the memory that the symbols take."""
        return sum(c.header.coded_bytes for c in self._chunks.values())
