"""The reader thread: from the source to coded chunks, a few of them ahead of what the session takes.

Decoding and coding release the interpreter's lock, so the loop that sends goes on meanwhile.
"""

import contextlib
import queue
import socket
import threading
from typing import Protocol

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

    def read(self, frames_max: int) -> SourceBlock | None:
        """Return the next frames, never of two songs; None at the end."""

    def close(self) -> None:
        """Let go of it."""


class Reader:
    """Reads and codes ahead, in a thread of its own."""

    def __init__(self, source: Source, chunk_frames: int, codec: Codec) -> None:
        self._source = source
        self._chunk_frames = chunk_frames
        self._codec = codec
        self._ready: queue.Queue[CodedAudio | RadiosyncError | None] = queue.Queue(READY_MAX)
        self._stop = threading.Event()
        self._wake_there, self.wake = socket.socketpair()
        self._wake_there.setblocking(False)
        self.wake.setblocking(False)
        self.ended = False
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)
        self._thread.start()

    @property
    def ready(self) -> bool:
        """Whether something can be taken."""
        return not self._ready.empty()

    def take(self) -> CodedAudio | None:
        """Return the next chunk; None when there is none yet, or, once `ended` is true, no more.

        Raises what made the source fail.
        """
        try:
            item = self._ready.get_nowait()
        except queue.Empty:
            return None
        if isinstance(item, RadiosyncError):
            raise item
        self.ended = item is None
        return item

    def clear_wake(self) -> None:
        """Take note of having been woken."""
        with contextlib.suppress(BlockingIOError):
            self.wake.recv(4096)

    def close(self) -> None:
        """End the thread and close the source."""
        self._stop.set()
        self._thread.join()
        self._source.close()
        self._wake_there.close()
        self.wake.close()

    def _run(self) -> None:
        try:
            self._read_all()
            self._put(None)
        except RadiosyncError as error:
            self._put(error)
        except Exception as error:  # a thread that died silently would be a stream that never ends
            self._put(RadiosyncError(f"reading the music failed: {error!r}"))

    def _read_all(self) -> None:
        codec = ChunkCodec()
        parts: list[Samples] = []
        song: Song | None = None
        song_frame, held = 0, 0

        def flush() -> None:
            nonlocal parts, held, song_frame
            if song is not None and held:
                samples = np.concatenate(parts) if len(parts) > 1 else parts[0]
                coded, data = codec.encode(samples, self._source.format, self._codec)
                self._put(CodedAudio(song=song, song_frame=song_frame, frames=held, codec=coded, data=data))
            parts, song_frame, held = [], song_frame + held, 0

        while not self._stop.is_set():
            block = self._source.read(self._chunk_frames - held)
            if block is None:
                break
            if song is None or block.song.song_id != song.song_id:
                flush()
                song, song_frame = block.song, block.song_frame
            parts.append(block.samples)
            held += len(block.samples)
            if held >= self._chunk_frames:
                flush()
        flush()

    def _put(self, item: CodedAudio | RadiosyncError | None) -> None:
        while not self._stop.is_set():
            try:
                self._ready.put(item, timeout=_WAIT_S)
            except queue.Full:
                continue
            with contextlib.suppress(BlockingIOError, OSError):
                self._wake_there.send(b"\0")
            return
