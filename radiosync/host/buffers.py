"""The host's chunks: those ahead of the network (pre-buffer) and those behind it (history).

A chunk enters the pre-buffer when the reader delivers it, moves to the history as its last symbol leaves, and is
forgotten a little after its play-at.  Together the two never hold more than the buffer, what lies ahead of it by a
chunk or two, and the linger: memory is bounded by time.
"""

from collections import deque
from collections.abc import Iterator

from radiosync.repair.symbols import Chunk
from radiosync.units import HostNs, ns_from_frames

CHUNKS_AHEAD_MAX = 2  # beyond the buffer: one being sent, one ready


class PreBuffer:
    """The chunks that have not been sent completely, in order.

    It asks for audio while what is ready reaches less than `buffer_ns` and two chunks ahead of the play position, so it
    needs no overflow policy: nobody adds what was not asked for.
    """

    def __init__(self, buffer_ns: int, rate: int) -> None:
        self._buffer_ns = buffer_ns
        self._rate = rate
        self._chunks: deque[Chunk] = deque()
        self._next_symbol = 0

    def __len__(self) -> int:
        return len(self._chunks)

    def add(self, chunk: Chunk) -> None:
        """Append the next chunk."""
        self._chunks.append(chunk)

    def wanted_at(self, next_play_at: HostNs, chunk_ns: int) -> HostNs:
        """Return when the chunk that is due at `next_play_at` should be read."""
        return HostNs(next_play_at - self._buffer_ns - CHUNKS_AHEAD_MAX * chunk_ns)

    def first(self) -> Chunk | None:
        """Return the chunk that leaves next."""
        return self._chunks[0] if self._chunks else None

    def due(self, now: HostNs) -> Chunk | None:
        """Return the chunk whose next symbol may leave: the first one, once its play-at is within the buffer."""
        if self._chunks and self._chunks[0].header.play_at - now <= self._buffer_ns:
            return self._chunks[0]
        return None

    def due_at(self) -> HostNs | None:
        """Return when the first chunk may leave."""
        return self.chunk_due_at(self._chunks[0]) if self._chunks else None

    def chunk_due_at(self, chunk: Chunk) -> HostNs:
        """Return when `chunk` may leave."""
        return HostNs(chunk.header.play_at - self._buffer_ns)

    def take_symbol(self) -> tuple[Chunk, int, bool]:
        """Return the first chunk, the index of its next symbol, and whether that was its last."""
        chunk, index = self._chunks[0], self._next_symbol
        last = index + 1 == len(chunk.symbols)
        self._next_symbol = 0 if last else index + 1
        if last:
            self._chunks.popleft()
        return chunk, index, last

    def drop_late(self, now: HostNs) -> Iterator[Chunk]:
        """Drop and yield the chunks that can't be heard any more."""
        while self._chunks and self.end_at(self._chunks[0]) <= now:
            self._next_symbol = 0
            yield self._chunks.popleft()

    def end_at(self, chunk: Chunk) -> HostNs:
        """Return when the last frame of `chunk` has been played."""
        return HostNs(chunk.header.play_at + ns_from_frames(chunk.header.frames, self._rate))


class History:
    """The chunks that were sent and can still be asked for."""

    def __init__(self, linger_ns: int, rate: int) -> None:
        self._linger_ns = linger_ns
        self._rate = rate
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
        if self._chunks:
            oldest, newest = next(iter(self._chunks)), next(reversed(self._chunks))
            for seq in range(max(first, oldest), min(first + count, newest + 1)):
                if seq in self._chunks:
                    yield self._chunks[seq]

    def playing(self, now: HostNs) -> Chunk | None:
        """Return the first chunk that has not been played to its end."""
        return next((c for c in self._chunks.values() if self._end_at(c) > now), None)

    def expire(self, now: HostNs) -> Iterator[int]:
        """Forget the chunks whose end lies longer ago than the linger, and yield their numbers."""
        while self._chunks:
            seq, chunk = next(iter(self._chunks.items()))
            if self._end_at(chunk) + self._linger_ns > now:
                return
            del self._chunks[seq]
            yield seq

    def coded_bytes(self) -> int:
        """Return the memory that the symbols take."""
        return sum(c.header.coded_bytes for c in self._chunks.values())

    def _end_at(self, chunk: Chunk) -> HostNs:
        return HostNs(chunk.header.play_at + ns_from_frames(chunk.header.frames, self._rate))
