"""The format of a stream: rate, channels and sample format."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[Any]
"""Audio in memory: shape (frames, channels), C order, of the dtype of its `SampleFormat`."""

RATE_MIN, RATE_MAX = 8_000, 192_000  # what the issue of sources and sound devices has in practice
CHANNELS_MAX = 8  # 7.1; libFLAC's limit too


class SampleFormat(IntEnum):
    """How a sample is stored; the value is the code on the wire."""

    S16 = 1
    S24 = 2
    S32 = 3
    F32 = 4

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype in memory: S24 lives left-justified in an int32, as libsndfile gives it."""
        return _DTYPES[self]

    @property
    def wire_bytes(self) -> int:
        """The bytes of one sample on the wire and in a file."""
        return _WIRE_BYTES[self]


_DTYPES: dict[SampleFormat, np.dtype[Any]] = {
    SampleFormat.S16: np.dtype(np.int16),
    SampleFormat.S24: np.dtype(np.int32),
    SampleFormat.S32: np.dtype(np.int32),
    SampleFormat.F32: np.dtype(np.float32),
}
_WIRE_BYTES = {SampleFormat.S16: 2, SampleFormat.S24: 3, SampleFormat.S32: 4, SampleFormat.F32: 4}


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """A stream's format.

    Raises ValueError where a value lies outside the limits above.
    """

    rate: int
    channels: int
    sample: SampleFormat

    def __post_init__(self) -> None:
        if not RATE_MIN <= self.rate <= RATE_MAX:
            raise ValueError(f"rate {self.rate} is not within {RATE_MIN} to {RATE_MAX}")
        if not 1 <= self.channels <= CHANNELS_MAX:
            raise ValueError(f"{self.channels} channels are not within 1 to {CHANNELS_MAX}")

    @property
    def frame_bytes(self) -> int:
        """The bytes of one frame on the wire."""
        return self.channels * self.sample.wire_bytes

    def silence(self, frames: int) -> Samples:
        """Return `frames` frames of silence."""
        return np.zeros((frames, self.channels), self.sample.dtype)

    def __str__(self) -> str:
        return f"{self.rate} Hz, {self.channels} ch, {self.sample.name.lower()}"
