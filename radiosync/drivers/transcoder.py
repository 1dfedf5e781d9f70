"""The transcoder thread: chunks of the stream, coded once more for the lower tiers, one after the other.

Decoding and coding release the interpreter's lock, so the loop that sends goes on meanwhile.
"""

import queue
import threading
from collections.abc import Callable

from radiosync.audio.codec import ChunkCodec
from radiosync.audio.format import AudioFormat
from radiosync.errors import RadiosyncError
from radiosync.host.ladder import TierAudio, TierJob, transcode


class Transcoder:
    """Makes one thing at a time: `idle` says whether it can be given a job, `take` hands out what it made."""

    def __init__(self, audio: AudioFormat, wake: Callable[[], None]) -> None:
        self._audio = audio
        self._wake = wake
        self._jobs: queue.SimpleQueue[TierJob | None] = queue.SimpleQueue()  # one at a time, and the order to end
        self._made: queue.SimpleQueue[TierAudio | None] = queue.SimpleQueue()  # at most one, not taken yet
        self._busy = False
        self._thread: threading.Thread | None = None
        self.failures = 0

    @property
    def idle(self) -> bool:
        """Whether the last job has been done and taken."""
        return not self._busy

    def submit(self, job: TierJob) -> None:
        """Begin a job; the thread is started with the first, since most parties never need it."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="transcoder", daemon=True)
            self._thread.start()
        self._busy = True
        self._jobs.put(job)

    def take(self) -> TierAudio | None:
        """Return what has been made, once; None while nothing has."""
        try:
            made = self._made.get_nowait()
        except queue.Empty:
            return None
        self._busy = False
        return made

    def close(self) -> None:
        """End the thread."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()

    def _run(self) -> None:
        codec = ChunkCodec()
        while (job := self._jobs.get()) is not None:
            made: TierAudio | None = None
            try:
                made = transcode(job, self._audio, codec)
            except (RadiosyncError, RuntimeError, ValueError):
                # What can't be coded smaller goes as it is: a hole would be worse.
                self.failures += 1
                header = job.chunk.header
                made = TierAudio(job=job, codec=header.codec, data=b"".join(job.chunk.symbols))
            self._made.put(made)
            self._wake()
