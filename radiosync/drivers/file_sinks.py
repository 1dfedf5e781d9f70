"""Sinks without a crystal: a WAV file, a pipe, nothing."""

import contextlib
import os
import queue
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from radiosync.audio.format import AudioFormat, SampleFormat, Samples
from radiosync.audio.pcm import bytes_from_samples
from radiosync.errors import DeviceError

_SIZE_MAX = 0xFFFF_FFFF  # a WAV file's sizes are 32 bits; readers take the largest value as "to the end of the file"
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")
_CHANNEL_MASKS = {3: 0x7, 4: 0x33, 5: 0x37, 6: 0x3F, 7: 0x13F, 8: 0x63F}


class Sink(Protocol):
    """Takes frames as they are due."""

    def begin(self, audio: AudioFormat) -> None:
        """Get ready for frames of this format, maybe after others of another."""

    def write(self, samples: Samples) -> None:
        """Take frames."""

    def close(self) -> None:
        """Finish."""


class NullSink:
    """Takes everything and keeps nothing."""

    def begin(self, audio: AudioFormat) -> None:
        """Do nothing."""

    def write(self, samples: Samples) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class WavSink:
    """Writes a WAV file whose header is put right after every block: it is complete whenever the process ends.

    Where a later session has another format, a second file is begun: `name-2.wav`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files = 0
        self._format: AudioFormat | None = None
        self._file: BinaryIO = self._open(path)
        self._data_bytes = 0
        self._data_at = 0

    @staticmethod
    def _open(path: Path) -> BinaryIO:
        try:
            return path.open("wb", buffering=0)
        except OSError as error:
            raise DeviceError(f"{path}: can't write the WAV file: {error.strerror}; name another place") from None

    def begin(self, audio: AudioFormat) -> None:
        """Write the header, or go on in the same file where the format is the same."""
        if audio == self._format:
            return
        if self._format is not None:
            self._file.close()
            self._files += 1
            self._file = self._open(self._path.with_stem(f"{self._path.stem}-{self._files + 1}"))
        self._format = audio
        self._data_bytes = 0
        with self._failing():
            self._put(_wav_header(audio))
            self._data_at = self._file.tell()

    def write(self, samples: Samples) -> None:
        """Append frames and set the sizes right."""
        if self._format is None:
            return
        data = bytes_from_samples(samples, self._format.sample)
        with self._failing():
            self._put(data)
            self._data_bytes += len(data)
            self._file.seek(4)
            self._put(struct.pack("<I", min(self._data_at + self._data_bytes - 8, _SIZE_MAX)))
            self._file.seek(self._data_at - 4)
            self._put(struct.pack("<I", min(self._data_bytes, _SIZE_MAX)))
            self._file.seek(self._data_at + self._data_bytes)

    def _put(self, data: bytes) -> None:
        """Write all of `data`: a disk that is nearly full takes a part of it and no error."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DeviceError(f"{self._path}: writing the WAV file failed: {error.strerror}") from None

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _wav_header(audio: AudioFormat) -> bytes:
    """Return the header up to the first sample: RIFF, fmt and the head of data, sizes still 0."""
    kind = _FLOAT if audio.sample is SampleFormat.F32 else _PCM
    bits = 8 * audio.sample.wire_bytes
    extensible = audio.channels > 2  # the plain form says nothing of where the channels belong
    fmt = struct.pack(
        "<HHIIHH",
        _EXTENSIBLE if extensible else kind,
        audio.channels,
        audio.rate,
        audio.rate * audio.frame_bytes,
        audio.frame_bytes,
        bits,
    )
    if extensible:
        fmt += struct.pack("<HHIH", 22, bits, _CHANNEL_MASKS[audio.channels], kind) + _GUID_TAIL
    return b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<I", len(fmt)) + fmt + b"data\0\0\0\0"


class PipeSink:
    """Writes raw PCM to standard output from a thread, so that a reader that stops reading stops nothing else.

    When the reader is `BLOCKS_MAX` blocks behind, frames are dropped and counted.
    """

    BLOCKS_MAX = 100  # two seconds

    def __init__(self) -> None:
        self._out = sys.stdout.buffer
        self._format: AudioFormat | None = None
        self._queue: queue.Queue[bytes | None] = queue.Queue(self.BLOCKS_MAX)
        self._thread = threading.Thread(target=self._run, name="pipe", daemon=True)
        self._thread.start()
        self.blocks_dropped = 0
        self.broken = False

    def begin(self, audio: AudioFormat) -> None:
        """Take note of the format; a pipe has no header."""
        self._format = audio

    def write(self, samples: Samples) -> None:
        """Queue frames for the reader.

        Raises DeviceError when the reader is gone.
        """
        if self.broken:
            raise DeviceError("pipe:-: the reader of the pipe is gone")
        if self._format is None:
            return
        try:
            self._queue.put_nowait(bytes_from_samples(samples, self._format.sample))
        except queue.Full:
            self.blocks_dropped += 1

    def close(self) -> None:
        """Write what is queued, as far as somebody reads it within a second."""
        try:
            self._queue.put(None, timeout=1)
        except queue.Full:
            return
        self._thread.join(1)

    def _run(self) -> None:
        while (data := self._queue.get()) is not None:
            try:
                self._out.write(data)
                self._out.flush()
            except (OSError, ValueError):
                self.broken = True
                # The interpreter flushes stdout as it ends and would complain again.
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._out.fileno())
                return


def open_sink(output: str) -> Sink:
    """Open the sink that `--output` names, other than a device.

    Raises DeviceError where it can't be written.
    """
    if output == "null":
        return NullSink()
    if output == "pipe:-":
        return PipeSink()
    kind, _, path = output.partition(":")
    assert kind == "wav", output  # the configuration lets nothing else through
    return WavSink(Path(path))
