"""Open a sound file and read it front to back, as it is stored."""

import os
import re
import sys
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from radiosync.audio.codec import SequentialSoundFile
from radiosync.audio.format import CHANNELS_MAX, SampleFormat
from radiosync.errors import SourceError

READ_FRAMES = 4096  # a broken spot costs the read it lies in; FLAC's usual block
TEXT_MAX = 200  # characters of a tag: a title is for one line, and tags can hold books
_FRAMES_MAX = 1 << 40  # 66 days at 192 kHz: beyond, the header means "unknown"
_ANNOUNCED_MAX = 0xFFFF_FF00  # a data length that a writer to a pipe leaves, not a cut-off file


class Kind(Enum):
    """How a file's samples are stored; the value is the `SampleFormat` that holds them."""

    S16 = (SampleFormat.S16, False)
    S24 = (SampleFormat.S24, False)
    S32 = (SampleFormat.S32, False)
    F32 = (SampleFormat.F32, False)
    LOSSY = (SampleFormat.S16, True)

    @property
    def sample(self) -> SampleFormat:
        """The format a stream of such a file has."""
        return self.value[0]

    @property
    def is_lossy(self) -> bool:
        """Whether the decoder computes floats, which want dither to become integers."""
        return self.value[1]


_KINDS = {
    "PCM_24": Kind.S24,
    "DWVW_24": Kind.S24,
    "ALAC_20": Kind.S24,
    "ALAC_24": Kind.S24,
    "PCM_32": Kind.S32,
    "ALAC_32": Kind.S32,
    "FLOAT": Kind.F32,
    "DOUBLE": Kind.F32,
    "VORBIS": Kind.LOSSY,
    "OPUS": Kind.LOSSY,
    "MPEG_LAYER_I": Kind.LOSSY,
    "MPEG_LAYER_II": Kind.LOSSY,
    "MPEG_LAYER_III": Kind.LOSSY,
}
"""What isn't named here decodes to 16 bits or fewer: PCM_16, PCM_U8, ULAW, IMA_ADPCM and their like."""


class SongFile:
    """A sound file that is open and has proved that it holds audio.

    Raises SourceError where it doesn't.  `frames` is the length the file claims, None where it claims none.
    `fault` is why it ends or ended early, None while all is well.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        _require_file(path)
        try:
            # Bytes carry every name of a POSIX system; Windows wants characters.
            self._file = SequentialSoundFile(str(path) if sys.platform == "win32" else os.fsencode(path))
        except (soundfile.SoundFileError, OSError, RuntimeError, TypeError, ValueError) as error:
            reason = _libsndfile_reason(error)
            raise SourceError(f"{path}: is no sound file, or a broken one ({reason}); convert it to FLAC") from error
        self.rate: int = self._file.samplerate
        self.channels: int = min(self._file.channels, CHANNELS_MAX)
        self.channels_left_out: int = self._file.channels - self.channels
        self.kind = _KINDS.get(self._file.subtype, Kind.S16)
        claimed: int = self._file.frames
        self.frames = claimed if 0 < claimed <= _FRAMES_MAX else None
        self.fault = _cut_off(self._file.extra_info)
        self._position = 0
        self._ended = False
        try:
            self._first: NDArray[Any] | None = self._read_more()
        except BaseException:
            self.close()
            raise
        if not len(self._first):
            self.close()
            reason = self.fault or "it holds no audio"
            raise SourceError(f"{path}: can't be played, {reason}; mend or remove the file")

    @property
    def tags(self) -> dict[str, str]:
        """The file's own title, artist and album, cleaned for one line; those that it has."""
        found = {name: clean_text(text) for name, text in self._file.copy_metadata().items()}
        return {name: text for name, text in found.items() if text}

    def read(self) -> NDArray[Any]:
        """Return the next frames as stored, shape (frames, channels); none at the end.

        The dtype is that of `kind.sample`, but float32 from a lossy codec.
        """
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return self._read_more()

    def seek(self, frame: int) -> None:
        """Go on reading at `frame`; a file that can't seek is read up to there."""
        self._first = None
        try:
            self._position = int(self._file.seek(frame))
        except (soundfile.SoundFileError, OSError, RuntimeError):
            while self._position < frame and len(self._read_more()):
                pass

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read_more(self) -> NDArray[Any]:
        dtype = np.dtype(np.float32) if self.kind.is_lossy else self.kind.sample.dtype
        block: NDArray[Any] = np.zeros((0, self.channels), dtype)
        if self._ended:
            return block
        try:
            block = self._file.read(READ_FRAMES, dtype=dtype.name, always_2d=True)
        except (soundfile.SoundFileError, OSError, RuntimeError) as error:
            self.fault = f"the file is broken after {self._seconds()} ({_libsndfile_reason(error)})"
            self._ended = True
            return block
        self._position += len(block)
        if not len(block):
            self._ended = True
            # Lengths of lossy files are estimates at times; a tenth of a second is beyond that.
            if self.fault is None and self.frames is not None and self.frames - self._position > self.rate // 10:
                self.fault = f"the file is cut off after {self._seconds()}"
        return np.ascontiguousarray(block[:, : self.channels])

    def _seconds(self) -> str:
        return f"{self._position / self.rate:.1f} s"


def clean_text(text: str) -> str:
    """Make a tag or file name fit for one line: no control characters, no broken ones, not endless."""
    readable = text.encode("utf-8", "replace").decode("utf-8")
    return " ".join("".join(c if c.isprintable() else " " for c in readable).split())[:TEXT_MAX]


def _require_file(path: Path) -> None:
    try:
        status = path.stat()
        if not path.is_file():
            raise SourceError(f"{path}: is not a file; name a sound file")
        if status.st_size == 0:
            raise SourceError(f"{path}: is empty (0 bytes); copy it again or remove it")
        with path.open("rb") as file:
            file.read(1)
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file; check the name") from None
    except (OSError, ValueError) as error:
        raise SourceError(f"{path}: can't be read ({error}); check its permissions") from error


def _cut_off(log: str) -> str | None:
    """Find in libsndfile's log of the header that it announces more data than the file has."""
    for announced, real in re.findall(r"(?i)(?:data|ssnd|data size|riff)\s*: (\d+) \(should be (\d+)\)", log):
        if int(real) < int(announced) < _ANNOUNCED_MAX:
            return "the file is cut off"
    return None


def _libsndfile_reason(error: Exception) -> str:
    text = error.error_string if isinstance(error, soundfile.LibsndfileError) else str(error)
    # Text named .mp3 makes libsndfile speak of a pipe.
    return "format not recognised" if "regular file" in text else text.removeprefix("Error : ").rstrip(".").lower()
