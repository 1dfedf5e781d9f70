"""Turn samples into wire PCM, floats and other channel counts, and back.

Three shapes of the same audio meet here, all with one row per frame:

    Samples     what a stream carries, in the dtype of its `SampleFormat`; 24 bits sit left-justified in an int32
    wire PCM    bytes: little-endian, frames one after another, channels interleaved, 24 bits packed in 3 bytes
    floats      float32 (or float64) with full scale at 1.0, for resampling, gain and mixing

An integer of b bits and the float x belong together by x = integer / 2**(b - 1): exact in both directions for 16 and
24 bits, since a float32 has 24 bits of mantissa.  A float that falls between two integers goes to the nearest, a tie
to the even one.  That alone correlates the error with the music; noise of triangular distribution, two steps wide,
added before the rounding (TPDF dither; Lipshitz, Wannamaker, Vanderkooy, "Quantization and Dither", JAES 40(5), 1992)
turns it into a constant hiss.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from radiosync.audio.format import CHANNELS_MAX, AudioFormat, SampleFormat, Samples
from radiosync.errors import RemoteProtocolError

Frames = NDArray[np.float32]
"""Audio as float32, shape (frames, channels), full scale at 1.0."""

FLOAT_MAX = 16.0  # 24 dB above full scale: more is no music, and would swallow a filter's precision

_BITS = {SampleFormat.S16: 16, SampleFormat.S24: 24, SampleFormat.S32: 32}

# What each channel of a stream of n channels is, in the order of WAV and FLAC files.
_ROLES: dict[int, tuple[str, ...]] = {
    1: ("C",),
    2: ("L", "R"),
    3: ("L", "R", "C"),
    4: ("L", "R", "Ls", "Rs"),
    5: ("L", "R", "C", "Ls", "Rs"),
    6: ("L", "R", "C", "LFE", "Ls", "Rs"),
    7: ("L", "R", "C", "LFE", "Cs", "Ls", "Rs"),
    8: ("L", "R", "C", "LFE", "Ls", "Rs", "Lw", "Rw"),
}
# Where a channel goes that the output has no loudspeaker for: the centre to both sides and a surround to the front,
# each 3 dB down (ITU-R BS.775-4, annex 4); the LFE channel is left out there and here.
_HALF_POWER = 0.5**0.5
_FOLDS: dict[str, tuple[tuple[str, float], ...]] = {
    "C": (("L", _HALF_POWER), ("R", _HALF_POWER)),
    "Ls": (("L", _HALF_POWER),),
    "Rs": (("R", _HALF_POWER),),
    "Lw": (("Ls", 1.0),),
    "Rw": (("Rs", 1.0),),
    "Cs": (("Ls", _HALF_POWER), ("Rs", _HALF_POWER)),
    "LFE": (),
}


def bytes_from_samples(samples: Samples, sample: SampleFormat) -> bytes:
    """Pack samples into wire PCM."""
    if sample is SampleFormat.S24:
        # The little-endian int32 holds the 24 bits in its last three bytes.
        packed = samples.astype("<i4", order="C", copy=False).view(np.uint8).reshape(-1, 4)[:, 1:]
        return packed.tobytes()
    return samples.astype(sample.dtype.newbyteorder("<"), order="C", copy=False).tobytes()


def samples_from_bytes(data: bytes, audio: AudioFormat) -> Samples:
    """Unpack wire PCM.

    Raises RemoteProtocolError where the bytes are not a whole number of frames.
    """
    frames, rest = divmod(len(data), audio.frame_bytes)
    if rest:
        raise RemoteProtocolError(f"{len(data)} bytes are not a whole number of {audio.frame_bytes}-byte frames")
    if audio.sample is SampleFormat.S24:
        wide = np.zeros((frames * audio.channels, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        flat: Samples = wide.view("<i4").astype(np.int32, copy=False)
    else:
        flat = np.frombuffer(data, audio.sample.dtype.newbyteorder("<")).astype(audio.sample.dtype)
    return flat.reshape(frames, audio.channels)


def float_from_samples(samples: Samples, sample: SampleFormat) -> Frames:
    """Scale samples to float32 with full scale at 1.0.

    Integers land in [-1, 1).  Floats pass as they are, but what no loudspeaker can play (NaN, infinities, beyond
    `FLOAT_MAX`) becomes silence or is limited, since one NaN would spread through every filter behind.
    """
    if sample is SampleFormat.F32:
        return clean_floats(samples)
    bits = 16 if sample is SampleFormat.S16 else 32  # S24 is left-justified in 32
    scaled: Frames = np.multiply(samples, np.float32(2.0 ** (1 - bits)), dtype=np.float32)
    return scaled


def clean_floats(block: NDArray[Any]) -> Frames:
    """Return the floats as float32, NaN as 0 and everything else within ±`FLOAT_MAX`."""
    limited: Frames = block.clip(-FLOAT_MAX, FLOAT_MAX).astype(np.float32, copy=False)
    if np.isnan(limited).any():
        np.nan_to_num(limited, copy=False, nan=0.0)
    return limited


def samples_from_float(
    block: NDArray[np.floating[Any]],
    sample: SampleFormat,
    dither: "np.random.Generator | None" = None,  # quoted: to name it is to import it
) -> Samples:
    """Quantise floats (float32 or float64): nearest integer, ties to even, limited to full scale, NaN as 0.

    `dither` draws TPDF noise of ±1 step.  F32 is neither limited nor dithered.
    """
    if sample is SampleFormat.F32:
        return block.astype(np.float32)
    bits = _BITS[sample]
    full = 2.0 ** (bits - 1)
    # 31 bits and a sign do not fit a float32: only the narrower formats may be computed in it.
    scaled: NDArray[Any] = np.multiply(block, full, dtype=np.float64 if bits == 32 else block.dtype)
    if dither is not None:
        scaled += dither.random(scaled.shape, np.float32)
        scaled -= dither.random(scaled.shape, np.float32)
    np.rint(scaled, out=scaled)
    np.clip(scaled, -full, full - 1, out=scaled)
    if np.isnan(scaled).any():
        np.nan_to_num(scaled, copy=False, nan=0.0)
    samples: Samples = scaled.astype(sample.dtype)
    if sample is SampleFormat.S24:
        samples <<= 8
    return samples


def quieter(samples: Samples, gain: NDArray[np.float32]) -> Samples:
    """Return `samples`, of any format, with a gain of at most 1 for each frame; integers are rounded."""
    scaled = samples * gain[:, np.newaxis].astype(np.float64)
    return (np.rint(scaled) if samples.dtype.kind == "i" else scaled).astype(samples.dtype)


def map_channels(block: NDArray[Any], channels: int) -> NDArray[Any]:
    """Give a float block of 1 to 8 channels another number of channels; the block itself where it has that number.

    Mono goes to every channel.  More channels than there were: the first ones, then silence.  Fewer: what has no
    loudspeaker is folded into its neighbours and the whole scaled so that full scale in every channel can't clip;
    stereo to mono is the mean.
    """
    count = block.shape[1]
    if count == channels:
        return block
    if count == 1:
        return np.repeat(block, channels, axis=1)
    if count < channels:
        wide = np.zeros((len(block), channels), block.dtype)
        wide[:, :count] = block
        return wide
    mixed: NDArray[Any] = block @ _downmix(count, channels).astype(block.dtype)
    return mixed


def _downmix(source: int, target: int) -> NDArray[np.float64]:
    if not 1 <= target < source <= CHANNELS_MAX:
        raise ValueError(f"no downmix from {source} to {target} channels")
    if target == 1:
        stereo = _downmix(source, 2) if source > 2 else np.eye(2)
        mono: NDArray[np.float64] = stereo @ np.full((2, 1), 0.5)
        return mono
    roles = _ROLES[target]
    matrix = np.zeros((source, target))

    def send(channel: int, role: str, gain: float) -> None:
        if role in roles:
            matrix[channel, roles.index(role)] += gain
        else:
            for neighbour, share in _FOLDS[role]:
                send(channel, neighbour, gain * share)

    for channel, role in enumerate(_ROLES[source]):
        send(channel, role, 1.0)
    loudest: float = matrix.sum(axis=0).max()
    return matrix / loudest
