"""The reader thread: from the source to coded chunks, a few of them ahead of what the session takes.

Decoding and coding release the interpreter's lock, so the loop that sends goes on meanwhile.
"""

import contextlib
import queue
import socket
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from radiosync.audio.codec import ChunkCodec, Codec
from radiosync.audio.format import AudioFormat, Samples
from radiosync.audio.song import Song
from radiosync.errors import RadiosyncError
from radiosync.host.packetizer import CodedAudio

READY_MAX = 4  # chunks: the session asks for two at a time; when the queue is full the thread waits
_WAIT_S = 0.2  # how long the thread may overlook that it should end


class SourceBlock(Protocol):
    """A stretch of one song."""

    @property
    def song(self) -> Song: ...  # noqa: D102
    @property
    def song_frame(self) -> int: ...  # noqa: D102
    @property
    def samples(self) -> Samples: ...  # noqa: D102


class Source(Protocol):
    """Where the music comes from."""

    @property
    def format(self) -> AudioFormat:
        """The stream's format."""

    @property
    def live(self) -> bool:
        """Whether it delivers as time passes, and what is not taken then is lost."""

    def read(self, frames_max: int) -> SourceBlock | None:
        """Return the next frames, never of two songs; None at the end."""

    def jump(self, song_id: int, step: int, position_s: float) -> None:
        """Go on at `position_s` of the song `step` after song `song_id`."""

    def queue(self, song_id: int) -> tuple[list[str], int | None]:
        """Return the names of all there is to play, and which of them song `song_id` is."""

    def stats(self) -> dict[str, Any]:
        """Return what it has to say, for the statistics file; from another thread."""

    def interrupt(self) -> None:
        """Make a read that waits come back; for another thread."""

    def close(self) -> None:
        """Let go of it."""


@dataclass(frozen=True, slots=True)
class End:
    """The source has no more since jump number `generation`."""

    generation: int


@dataclass(frozen=True, slots=True)
class _Jump:
    generation: int
    song_id: int
    step: int
    position_s: float


class Reader:
    """Reads and codes ahead, in a thread of its own; the first chunks are as long as `lengths` says."""

    def __init__(self, source: Source, chunk_frames: int, codec: Codec, lengths: Sequence[int] = ()) -> None:
        self._source = source
        self._lengths = deque(lengths)
        self.chunk_frames = chunk_frames
        """How long chunks are; another length, from whatever thread, counts from the next chunk on."""
        self._codec = codec
        self._ready: queue.Queue[CodedAudio | End | RadiosyncError] = queue.Queue(READY_MAX)
        self._stop = threading.Event()
        self._jump: _Jump | None = None
        self._jump_lock = threading.Lock()
        self._generation = 0
        self._wake_there, self.wake = socket.socketpair()
        self._wake_there.setblocking(False)
        self.wake.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)
        self._thread.start()

    @property
    def ready(self) -> bool:
        """Whether something can be taken."""
        return not self._ready.empty()

    def take(self) -> CodedAudio | End | None:
        """Return the next chunk, or that there is no more; None when there is nothing yet.

        Raises what made the source fail.
        """
        try:
            item = self._ready.get_nowait()
        except queue.Empty:
            return None
        if isinstance(item, RadiosyncError):
            raise item
        return item if item.generation == self._generation else None  # else it was read before the last jump

    def jump(self, song_id: int, step: int, position_s: float) -> None:
        """Go on elsewhere; what is read from there on is of the next generation."""
        with self._jump_lock:
            self._generation += 1
            self._jump = _Jump(self._generation, song_id, step, position_s)
        while self.ready:  # it will not be heard, and the thread may be waiting for room
            with contextlib.suppress(queue.Empty):
                self._ready.get_nowait()

    def clear_wake(self) -> None:
        """Take note of having been woken."""
        with contextlib.suppress(BlockingIOError):
            self.wake.recv(4096)

    def close(self) -> None:
        """End the thread and close the source."""
        self._stop.set()
        self._source.interrupt()
        self._thread.join()
        self._source.close()
        self._wake_there.close()
        self.wake.close()

    def _run(self) -> None:
        generation = 0
        try:
            while not self._stop.is_set():
                self._read_all(generation)
                self._put(End(generation))
                while self._jump is None and not self._stop.wait(_WAIT_S / 4):
                    pass
                with self._jump_lock:  # a jump that is asked for just now must not be lost
                    jump, self._jump = self._jump, None
                if jump is not None:
                    generation = jump.generation
                    self._lengths.clear()
                    self._source.jump(jump.song_id, jump.step, jump.position_s)
        except RadiosyncError as error:
            self._put(error)
        except Exception as error:  # a thread that died silently would be a stream that never ends
            self._put(RadiosyncError(f"reading the music failed: {error!r}"))

    def _read_all(self, generation: int) -> None:
        """Read and code until the source ends or a jump is wanted."""
        codec = ChunkCodec()
        parts: list[Samples] = []
        song: Song | None = None
        song_frame, held, wanted = 0, 0, self._next_length()

        def flush() -> None:
            nonlocal parts, held, song_frame, wanted
            if song is not None and held:
                wanted = self._next_length()
                samples = np.concatenate(parts) if len(parts) > 1 else parts[0]
                coded, data = codec.encode(samples, self._source.format, self._codec)
                self._put(
                    CodedAudio(
                        song=song, song_frame=song_frame, frames=held, codec=coded, data=data, generation=generation
                    )
                )
            parts, song_frame, held = [], song_frame + held, 0

        while not self._interrupted:
            block = self._source.read(wanted - held)
            if block is None:
                break
            if song is None or block.song.song_id != song.song_id:
                flush()
                song, song_frame = block.song, block.song_frame
            parts.append(block.samples)
            held += len(block.samples)
            if held >= wanted:
                flush()
        flush()

    def _next_length(self) -> int:
        """Return how long the next chunk is to be: as one that was made before, or as all are now."""
        return self._lengths.popleft() if self._lengths else self.chunk_frames

    @property
    def _interrupted(self) -> bool:
        return self._stop.is_set() or self._jump is not None

    def _put(self, item: CodedAudio | End | RadiosyncError) -> None:
        while not self._interrupted:
            try:
                self._ready.put(item, timeout=_WAIT_S)  # a jump makes room, and so ends the wait
            except queue.Full:
                continue
            with contextlib.suppress(BlockingIOError, OSError):
                self._wake_there.send(b"\0")
            return
