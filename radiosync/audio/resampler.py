"""Change the rate of a song once, and of a playout continuously."""

import numpy as np
import soxr
from numpy.typing import NDArray


class RateConverter:
    """Convert a song from one rate to another, block by block, by libsoxr at its very high quality.

    Output frame k stands for input position k * rate_in / rate_out: no delay.  The whole output has exactly
    round(frames * rate_out / rate_in) frames, half up.  Works in float64, far below the steps of 24 bits.
    """

    __slots__ = ("_frames_in", "_frames_out", "_rate_in", "_rate_out", "_stream")

    def __init__(self, rate_in: int, rate_out: int, channels: int) -> None:
        self._rate_in = rate_in
        self._rate_out = rate_out
        self._stream = soxr.ResampleStream(rate_in, rate_out, channels, dtype="float64", quality="VHQ")
        self._frames_in = 0
        self._frames_out = 0

    def convert(self, block: NDArray[np.float64], *, last: bool = False) -> NDArray[np.float64]:
        """Take a block of shape (frames, channels) and return what is ready; everything with `last`."""
        self._frames_in += len(block)
        out: NDArray[np.float64] = self._stream.resample_chunk(np.ascontiguousarray(block), last=last)
        if last:
            missing = converted_frames(self._frames_in, self._rate_in, self._rate_out) - self._frames_out - len(out)
            # libsoxr gives this very number; what its rounding may do in a later version must not shift the next song.
            if missing > 0:
                out = np.concatenate((out, np.zeros((missing, out.shape[1]))))
            elif missing < 0:
                out = out[:missing]
        self._frames_out += len(out)
        return out


def converted_frames(frames: int, rate_in: int, rate_out: int) -> int:
    """Return how many frames `frames` become, rounded half up."""
    return (2 * frames * rate_out + rate_in) // (2 * rate_in)
