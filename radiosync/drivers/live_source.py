"""Live sources from a pipe: PCM from standard input, or whatever a command prints.

A live source delivers when it can.  Reading waits for it; one that is faster than the music has to wait for us; one
that stalls leaves a hole, which the session turns into silence without moving the timeline.  A command that fails is
started again, with growing pauses; one that ends well has ended.

With a rate given, the bytes are raw PCM; without, they are a sound file as libsndfile reads it from a pipe, which is a
WAV or AU file of any length (ffmpeg: `-f wav -`).
"""

import contextlib
import os
import select
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import soundfile

from radiosync.audio.codec import SequentialSoundFile
from radiosync.audio.format import AudioFormat, SampleFormat, Samples
from radiosync.audio.pcm import samples_from_bytes
from radiosync.audio.song import Song, SourceBlock
from radiosync.errors import SourceError

Warn = Callable[[str], None]

PCM_FORMATS = {"s16": SampleFormat.S16, "s24": SampleFormat.S24, "s32": SampleFormat.S32, "f32": SampleFormat.F32}
WAIT_S = 0.1  # how long a read may overlook that it should end
RETRY_S = (1.0, 2.0, 4.0, 8.0, 15.0)  # between starts of a failing command: a station that is down is not hammered
READ_BYTES = 65_536
STDIN = "-"
EXEC = "exec:"
_SUBTYPES = {"PCM_24": SampleFormat.S24, "PCM_32": SampleFormat.S32, "FLOAT": SampleFormat.F32}


def is_pipe(source: str) -> bool:
    """Say whether a `--source` names one of these."""
    return source == STDIN or source.startswith(EXEC)


class LiveSource:
    """One live source as a stream of one song.

    `pcm` is the format of raw PCM, None for a sound file.
    Raises SourceError where it can't be started or is no sound file.
    """

    live = True

    def __init__(self, source: str, pcm: AudioFormat | None, warn: Warn) -> None:
        self._command = source.removeprefix(EXEC) if source != STDIN else None
        self._pcm = pcm
        self._warn = warn
        self._stop = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe = 0
        self._file: soundfile.SoundFile | None = None
        self._rest = b""
        self._frames = 0
        self._failures = 0
        title = "standard input" if self._command is None else self._command
        self._song = Song(song_id=1, title=title)
        self._start()
        self.format = pcm if pcm is not None else self._file_format()

    def read(self, frames_max: int) -> SourceBlock | None:
        """Return the next `frames_max` frames once they have come, fewer at the end of all; None after that."""
        while not self._stop.is_set():
            samples = self._read_pcm(frames_max) if self._pcm is not None else self._read_file(frames_max)
            if len(samples):
                block = SourceBlock(song=self._song, song_frame=self._frames, samples=samples)
                self._frames += len(samples)
                return block
            if not self._started_again():
                return None
        return None

    def jump(self, song_id: int, step: int, position_s: float) -> None:  # Source.jump
        """Do nothing: there is no way to go elsewhere in something live."""

    def queue(self, song_id: int) -> tuple[list[str], int | None]:  # noqa: ARG002  # Source.queue
        """Return the one name there is."""
        return [self._song.title], 0

    def stats(self) -> dict[str, Any]:
        """Return how often the command was started again, for the statistics file."""
        return {"source_restarts": self._failures}

    def interrupt(self) -> None:
        """Make a read that waits come back; for another thread."""
        self._stop.set()

    def close(self) -> None:
        """End the command."""
        self._stop.set()
        if self._file is not None:
            self._file.close()
        if self._process is not None:
            if self._process.poll() is None:
                self._process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(2)
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()

    def _start(self) -> None:
        if self._command is None:
            self._pipe = sys.stdin.fileno()
        else:
            try:
                words = shlex.split(self._command)
                self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
            except (OSError, ValueError, IndexError) as error:
                raise SourceError(f"exec:{self._command}: can't be started: {error}; is it installed?") from None
            assert self._process.stdout is not None
            self._pipe = self._process.stdout.fileno()
        self._rest = b""
        if self._pcm is None:
            try:
                self._file = SequentialSoundFile(self._pipe, closefd=False)
            except (soundfile.SoundFileError, RuntimeError) as error:
                self.close()
                name = f"exec:{self._command}" if self._command is not None else "standard input"
                raise SourceError(
                    f"{name}: is no sound file that can be read from a pipe ({error}); "
                    "give --rate, --channels and --format for raw PCM, or make it a WAV file"
                ) from None

    def _file_format(self) -> AudioFormat:
        assert self._file is not None
        sample = _SUBTYPES.get(self._file.subtype, SampleFormat.S16)
        return AudioFormat(self._file.samplerate, self._file.channels, sample)

    def _read_file(self, frames_max: int) -> Samples:
        if self._file is None or not self._wait():
            return self.format.silence(0)
        dtype = self.format.sample.dtype.name
        with contextlib.suppress(soundfile.SoundFileError, RuntimeError):
            return np.ascontiguousarray(self._file.read(frames_max, dtype=dtype, always_2d=True))
        return self.format.silence(0)

    def _read_pcm(self, frames_max: int) -> Samples:
        size = self.format.frame_bytes
        while len(self._rest) < frames_max * size and self._wait():
            more = os.read(self._pipe, READ_BYTES)
            if not more:
                break
            self._rest += more
        count = min(len(self._rest) // size, frames_max) * size
        data, self._rest = self._rest[:count], self._rest[count:]
        return samples_from_bytes(data, self.format)

    def _wait(self) -> bool:
        """Wait for the pipe to have something, or to end; say whether it is worth reading."""
        if sys.platform == "win32":
            return True  # its pipes can't be waited for
        while not self._stop.is_set():
            if select.select([self._pipe], [], [], WAIT_S)[0]:
                return True
        return False

    def _started_again(self) -> bool:
        """Start a command that has failed once more, after a pause; say whether there is something to read again."""
        if self._process is None or self._stop.is_set():
            return False
        status = self._process.wait()
        if status == 0:
            return False
        while not self._stop.is_set():
            pause_s = RETRY_S[min(self._failures, len(RETRY_S) - 1)]
            self._failures += 1
            self._warn(f"exec:{self._command}: ended with status {status}; started again in {pause_s:g} s")
            self._stop.wait(pause_s)
            with contextlib.suppress(SourceError):
                self._start()
                return self._pcm is not None or self._file_format() == self.format
        return False


def sample_format(name: str) -> SampleFormat:
    """Return the sample format that `--format` names.

    Raises SourceError for one that does not exist.
    """
    if name not in PCM_FORMATS:
        raise SourceError(f"--format {name}: there is no such format; there are {', '.join(PCM_FORMATS)}")
    return PCM_FORMATS[name]


def pcm_format(rate: int, channels: int, name: str) -> AudioFormat | None:
    """Return the raw format that options name, or None where no rate was given.

    Raises SourceError for a format that does not exist.
    """
    return AudioFormat(rate, channels or 2, sample_format(name)) if rate else None
