"""The known signal: band-limited noise that never repeats, so that every tenth of a second of it says where it is.

The band (150 Hz to 7 kHz) is narrow enough for every resampler to pass it untouched, and wide enough to be placed to a
few ns.  It is made second by second from a seed.
"""

import wave
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LOW_HZ, HIGH_HZ = 150.0, 7000.0
LEVEL = 0.1  # RMS of full scale: peaks stay clear of clipping
SEED = 2026
WAV_HEADER_BYTES = 44


def _block(number: int, rate: int) -> NDArray[np.float64]:
    """Two seconds of noise that fade in and out, in power."""
    length = 2 * rate
    spectrum = np.fft.rfft(np.random.default_rng((SEED, number)).standard_normal(length))
    hz = np.fft.rfftfreq(length, 1 / rate)
    spectrum[(hz < LOW_HZ) | (hz > HIGH_HZ)] = 0
    x = np.fft.irfft(spectrum, length)
    return x / np.std(x) * LEVEL * np.sin(np.pi * (np.arange(length) + 0.5) / length)


def second(number: int, rate: int) -> NDArray[np.float64]:
    """Return one second of the signal; the next joins it without a seam."""
    faded: NDArray[np.float64] = _block(number, rate)[rate:] + _block(number + 1, rate)[:rate]
    return faded


def write_wav(path: Path, seconds: int, rate: int) -> None:
    """Write the signal as 16-bit stereo, both channels alike."""
    with wave.open(str(path), "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(rate)
        for number in range(seconds):
            samples = np.round(second(number, rate) * 32767).clip(-32768, 32767).astype("<i2")
            out.writeframes(np.repeat(samples, 2).tobytes())


def read_wav(path: Path) -> NDArray[Any]:
    """Return the first channel of such a file, read only where it is looked at."""
    frames: NDArray[Any] = np.memmap(path, "<i2", "r", WAV_HEADER_BYTES).reshape(-1, 2)[:, 0]
    return frames
