"""Resample by ratios next to 1: what a playout needs whose sound device has the stream's rate, but its own crystal.

Output frame n stands for input position p + n * ratio.  With a ratio within some hundred ppm of 1 that is n plus a
delay which hardly changes: by an eighth of a frame over 100 ms at 25 ppm.  So a block is filtered by a few filters of
fixed fractional delays (windowed sincs, at the Chebyshev nodes of the delays that occur in the block), and each output
frame is interpolated between their outputs by Lagrange's polynomial in its own delay.  A filter that is fixed over a
block is a product of matrices, rows of overlapping input times a band matrix of the taps, which is what processors are
best at: half of what libsoxr takes, or less, without its delays and blocks.

Errors.  The filters are flat within -115 dB to 20 kHz at 44.1 kHz (96 taps, Kaiser).  Interpolating at M Chebyshev
nodes over a span d is off by 2 (w d / 4)^M / M! at w radians per frame; M is chosen so that this stays below
`ERROR_MAX` at 20 kHz.  Float32 leaves noise at -130 dB.

Positions are integers of 2**-33 frames, as in `radiosync.audio.resampler`, and exact.

Measured by `tools/bench_resampler.py` at ±100 ppm: THD+N -132 dB at 100 and 997 Hz, -131 dB at 15 kHz; 0.37 % of a core
where libsoxr's engine takes 0.69 % in the same run, and less for crystals that differ by less.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from radiosync.audio.pcm import Frames
from radiosync.audio.resampler import DEVIATION_MAX, UNIT_BITS, VariableResampler

TAPS = 96
KAISER_BETA = 12.5
DEGREE = 12  # of the polynomial that gives each tap by the delay: off by 1e-8
SPAN_MAX = 0.5  # of the delays in a block, in frames: 100 ms of music at 48 kHz and 100 ppm
ERROR_MAX = 1e-6  # -120 dB
OMEGA_MAX = 2 * math.pi * 20 / 48  # radians per frame, of what has to be exact
ROW_FRAMES = 16  # output frames per row: fewer make more rows, more make more of the band matrix zeros
ROWS_MAX = 300  # per block: 100 ms at 48 kHz
PRODUCT_MAX = 1 << 18  # of a product's three sizes: OpenBLAS starts threads for larger ones, which wait by spinning
_WEIGHTS_MAX = 8  # blocks of one driver have few sizes
_BEFORE = TAPS // 2 - 1  # input frames that a filter needs before the position, and TAPS - _BEFORE - 1 after it

_WIDTH = ROW_FRAMES + TAPS  # of a row of input
_UNIT = 1 << UNIT_BITS


def steered_resampler(channels: int, nominal_ratio: float) -> "DriftResampler | VariableResampler":
    """Return the resampler for a playout whose device has this many media frames per frame, by its nominal rate."""
    return DriftResampler(channels) if nominal_ratio == 1 else VariableResampler(channels, nominal_ratio)


class DriftResampler:
    """Resample a stream by a ratio next to 1 that may change at any time, knowing every output frame's input position.

    `ratio` is in input (media) frames per output (DAC) frame, within `DEVIATION_MAX` of 1; what it costs goes up
    with the deviation.  Input and output are float32 of shape (frames, channels).  A new ratio takes effect at once.
    """

    __slots__ = ("_begin", "_channels", "_held", "_step", "_units", "_weights")

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self._step = _UNIT
        self._weights: dict[tuple[int, int], NDArray[np.float32]] = {}
        self.reset(0)

    @property
    def ratio(self) -> float:
        """The ratio last set, as rounded to steps of 1e-10."""
        return self._step / _UNIT

    @property
    def position(self) -> float:
        """The input position that the next output frame stands for."""
        return self._units / _UNIT

    @property
    def position_units(self) -> int:
        """The same in units of 2**-33 frames, exactly."""
        return self._units

    @property
    def next_input_frame(self) -> int:
        """The position of the frame that `read` has to fetch next."""
        return self._begin + len(self._held)

    @property
    def frames_ahead(self) -> float:
        """How far ahead of `position` the input is already fetched, in input frames."""
        return self.next_input_frame - self.position

    def set_ratio(self, media_frames_per_dac_frame: float) -> None:
        """Set the ratio for what is computed from now on.

        Raises ValueError outside `DEVIATION_MAX` of 1.
        """
        if not 1 - DEVIATION_MAX <= media_frames_per_dac_frame <= 1 + DEVIATION_MAX:
            raise ValueError(f"ratio {media_frames_per_dac_frame} is not within {DEVIATION_MAX} of 1")
        self._step = round(media_frames_per_dac_frame * _UNIT)

    def reset(self, position: float | Fraction) -> int:
        """Forget everything and make the next output frame stand for `position`, within 2**-33 frames.

        Returns the input frame from which `read` has to go on, 48 before; where there is no music yet (also at
        negative positions), `read` gives zeros.
        """
        self._units = round(Fraction(position) * _UNIT)
        self._begin = (self._units >> UNIT_BITS) - _BEFORE
        self._held: Frames = np.zeros((0, self._channels), np.float32)
        return self._begin

    def pull(self, frames: int, read: Callable[[int], Frames]) -> Frames:
        """Return exactly `frames` output frames; `read(k)` must return the next k input frames."""
        last = (self._units + max(0, frames - 1) * self._step) >> UNIT_BITS
        self._fetch(last + 1 + TAPS - _BEFORE - self.next_input_frame, read)
        drift = max(1, abs(self._step - _UNIT))
        longest = max(1, min(ROWS_MAX, int(SPAN_MAX * _UNIT) // drift // ROW_FRAMES)) * ROW_FRAMES
        out = np.empty((frames, self._channels), np.float32)
        for done in range(0, frames, longest):
            count = min(longest, frames - done)
            out[done : done + count] = self._block(count)
            self._units += count * self._step
        return out

    def _fetch(self, lacking: int, read: Callable[[int], Frames]) -> None:
        """Read what is lacking, and forget what is no longer needed."""
        if lacking <= 0:
            return
        block = read(lacking)
        if block.shape != (lacking, self._channels):
            raise ValueError(f"read({lacking}) returned {block.shape} instead of {(lacking, self._channels)}")
        passed = min((self._units >> UNIT_BITS) - _BEFORE - self._begin, len(self._held))
        self._held = np.concatenate((self._held[passed:], np.asarray(block, np.float32)))
        self._begin += passed

    def _block(self, frames: int) -> Frames:
        """Return the next `frames` output frames, few enough for delays within `SPAN_MAX`."""
        rows = -(-frames // ROW_FRAMES)
        drift = (self._step - _UNIT) / _UNIT * (rows * ROW_FRAMES - 1)  # from the first frame's delay to the last's
        first = math.floor(self._units / _UNIT + drift / 2 + 0.5)
        middle = (self._units - (first << UNIT_BITS)) / _UNIT + drift / 2
        nodes = _nodes(abs(drift))
        taps = _taps(middle + _chebyshev(nodes) * (drift / 2))
        groups = -(-rows * _WIDTH * nodes * ROW_FRAMES // PRODUCT_MAX)
        size = -(-rows // groups)
        windows = self._windows(first, groups, size)
        # Row r, frame b of the result is output frame r * ROW_FRAMES + b, with each of the delays.
        each = np.matmul(windows, _band(taps).T).reshape(self._channels, groups * size, nodes, ROW_FRAMES)[:, :rows]
        mixed = np.einsum("crnb,rnb->crb", each, self._weights_of(rows, nodes))
        result: Frames = mixed.reshape(self._channels, rows * ROW_FRAMES)[:, :frames].T
        return result

    def _windows(self, first: int, groups: int, size: int) -> Frames:
        """Return rows of input for the filters, each ROW_FRAMES after the one before, by channels and groups."""
        rows = groups * size
        padded = np.zeros((self._channels, rows * ROW_FRAMES + TAPS), np.float32)
        begin = first - _BEFORE - self._begin
        part = self._held[begin : begin + padded.shape[1]]
        padded[:, : len(part)] = part.T
        channel, frame = padded.strides
        overlapping = np.ndarray(
            (self._channels, groups, size, _WIDTH),
            np.float32,
            padded,
            strides=(channel, size * ROW_FRAMES * frame, ROW_FRAMES * frame, frame),
        )
        return np.ascontiguousarray(overlapping)

    def _weights_of(self, rows: int, nodes: int) -> NDArray[np.float32]:
        """Return each node's part in each output frame, of shape (rows, nodes, frames of a row)."""
        known = self._weights.get((rows, nodes))
        if known is None:
            if len(self._weights) >= _WEIGHTS_MAX:
                self._weights.clear()
            known = self._weights[rows, nodes] = _lagrange(rows, nodes)
        return known


def _band(taps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a row for each filter and each frame of a row: the taps, moved along by the frame."""
    band = np.zeros((len(taps), ROW_FRAMES, _WIDTH), np.float32)
    filters, frames, item = band.strides
    diagonal = np.ndarray((len(taps), ROW_FRAMES, TAPS), np.float32, band, strides=(filters, frames + item, item))
    diagonal[:] = taps[:, None, :]
    return band.reshape(len(taps) * ROW_FRAMES, _WIDTH)


def _nodes(span: float) -> int:
    """Return how many nodes interpolation over so many frames of delay needs."""
    quarter = OMEGA_MAX * span / 4
    nodes, error = 1, 2 * quarter
    while error > ERROR_MAX:
        nodes += 1
        error *= quarter / nodes
    return nodes


@lru_cache(maxsize=_WEIGHTS_MAX)
def _chebyshev(nodes: int) -> NDArray[np.float64]:
    """Return the Chebyshev nodes of that number; not to be written to."""
    at: NDArray[np.float64] = np.cos((np.arange(nodes) + 0.5) * (math.pi / nodes))
    at.flags.writeable = False
    return at


def _lagrange(rows: int, nodes: int) -> NDArray[np.float32]:
    at = _chebyshev(nodes)
    x = np.linspace(-1, 1, rows * ROW_FRAMES)
    weights = np.ones((nodes, len(x)))
    for a in range(nodes):
        for b in range(nodes):
            if a != b:
                weights[a] *= (x - at[b]) / (at[a] - at[b])
    return np.ascontiguousarray(
        weights.reshape(nodes, rows, ROW_FRAMES).transpose(1, 0, 2).astype(np.float32), np.float32
    )


def _design() -> NDArray[np.float64]:
    """Return every tap as a Chebyshev series in the delay over ±(0.5 + SPAN_MAX / 2): shape (DEGREE + 1, TAPS)."""
    count = 4 * DEGREE
    angles = (np.arange(count) + 0.5) * (math.pi / count)
    delays = np.cos(angles) * (0.5 + SPAN_MAX / 2)
    x = np.arange(TAPS) - _BEFORE - delays[:, None]
    taps = np.sinc(x) * np.i0(KAISER_BETA * np.sqrt(np.maximum(0, 1 - (x / (TAPS / 2)) ** 2))) / np.i0(KAISER_BETA)
    series = np.cos(np.outer(np.arange(DEGREE + 1), angles)) @ taps * (2 / count)
    series[0] /= 2
    return np.asarray(series, np.float64)


_SERIES, _ORDERS = _design(), np.arange(DEGREE + 1)


def _taps(delays: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the filters of these fractional delays, of shape (delays, TAPS)."""
    angles = np.arccos(np.minimum(np.maximum(delays / (0.5 + SPAN_MAX / 2), -1), 1))
    return np.asarray(np.cos(angles[:, None] * _ORDERS) @ _SERIES, np.float32)
