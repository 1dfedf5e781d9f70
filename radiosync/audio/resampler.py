"""Change the rate of a song once, and of a playout continuously.

A listener's crystal runs some ten ppm beside the host's.  What its DAC plays must therefore be resampled by a ratio
that is always near, never equal to and never constant at the nominal one, and at any instant it must be known which
fractional input position the next output frame stands for: the whole sync rests on that number.

libsoxr's variable-rate engine (`vr=True`) does it, within limits that decide how it is used here:

* At ratios (input frames per output frame) above 1 it works through an IIR half-band filter, whose delay depends on
  the frequency: 1.61 samples at 100 Hz, 2.11 at 15 kHz, 2.64 at 19 kHz.  Created for a largest ratio of 1 and kept
  there, it uses linear-phase FIR filters only and has no delay at all.  So it runs at `fine` times the output rate,
  fine being the whole number that keeps its ratio at or below `STEP_MAX`, and a fixed linear-phase stage of libsoxr
  takes the rate down again; that also lowers its noise by 10 dB.
* It counts in fixed point: output frame n of the engine stands for input position (a + n * s) / 2**33, where s is the
  ratio in units of 2**-33 and a is half the fractional part of s / 2**32, in the same units, of the first s.  With
  ratios rounded to that unit beforehand, integer arithmetic here follows it exactly, for hours.
* `delay()` says 100 whatever happens, hence the bookkeeping.

Measured with soxr 1.1.0 from 48 to 48 kHz: the position is right within 1e-5 frames from 100 Hz to 19 kHz, THD+N is
-125 dB at 100, 997 and 15000 Hz, and stereo costs 0.7 % of a core (one of 2.5 GHz).  The fixed stage works in blocks,
so that up to 25 ms of input are fetched ahead of the output.

A playout whose device has the stream's own rate has `radiosync.audio.drift`, which is cheaper.  This module is for the
other rates, and for what is captured.  `tools/bench_resampler.py` measures both beside others at ±100 ppm:
libsamplerate's medium converter has -141 and -123 dB THD+N at 997 Hz and 15 kHz for 0.58 % of a core, its best one
takes 1.8 %; straight lines have -64 and -13 dB.  libsamplerate glides from ratio to ratio by a rule of its own, so that
its position between two samples would have to be inferred, and it keeps the interpreter's lock while it works, in front
of the audio callback.
"""

import math
from collections import deque
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import soxr
from numpy.typing import NDArray

from radiosync.audio.pcm import Frames

UNIT_BITS = 33
"""Positions are counted in 2**-33 input frames, the fixed point of libsoxr's engine."""

DEVIATION_MAX = 0.01  # how far a ratio may leave its nominal value: ten times the worst crystal, 20 times the slowest
STEP_MAX = 0.35  # the engine's largest ratio here: 0.5 costs a third less and is 10 dB noisier
BLOCK_FRAMES = 960  # input per step: 20 ms at 48 kHz; a new ratio takes effect that late at most
_BLOCK_FRAMES_MIN = 64  # smaller steps cost more calls than they save in time

# Input before the first output frame: the engine holds back 240 frames and has filters 60 frames long; the aim takes
# a run at a ratio that is off by up to 0.1 %; the fixed stage forgets its start within 160 of its output frames.
_SETTLE_FRAMES = 320
_ENGINE_LATENCY_FRAMES = 240
_AIM_FRAMES = 256
_SKIP_FRAMES = 192
_MARGIN_FRAMES = 4  # the run leads this far beyond the aim, so that the aim is in it


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


class VariableResampler:
    """Resample a stream by a ratio that may change at any time, knowing every output frame's input position.

    `ratio` is in input (media) frames per output (DAC) frame, within `DEVIATION_MAX` of `nominal_ratio`.
    Input and output are float32 of shape (frames, channels).  Input is fetched ahead of the position, see
    `frames_ahead`; a new ratio takes effect behind what is already fetched, up to 25 ms later at 48 kHz.

    After construction and after every `reset` the first output frame stands for the position asked for, within 0.001
    frames, and has the full precision of the filters: they run in on the input before it.
    """

    __slots__ = (
        *("_aim_units", "_channels", "_engine", "_engine_next", "_fifo", "_fifo_frames", "_fine", "_fixed"),
        *(
            "_held",
            "_input_next",
            "_is_primed",
            "_output_next",
            "_ratio_max",
            "_ratio_min",
            "_segments",
            "_skip",
            "_step",
        ),
    )

    def __init__(self, channels: int, nominal_ratio: float, *, position: float | Fraction = 0) -> None:
        self._ratio_min = nominal_ratio * (1 - DEVIATION_MAX)
        self._ratio_max = nominal_ratio * (1 + DEVIATION_MAX)
        self._channels = channels
        self._fine = math.ceil(self._ratio_max / STEP_MAX)
        self._step = 0
        self._is_primed = False
        self.set_ratio(nominal_ratio)
        self.reset(position)

    @property
    def ratio(self) -> float:
        """The ratio last set, as rounded to what the engine can do (steps of 1e-10)."""
        return self._step * self._fine / (1 << UNIT_BITS)

    @property
    def position(self) -> float:
        """The input position that the next output frame stands for."""
        return self.position_units / (1 << UNIT_BITS)

    @property
    def position_units(self) -> int:
        """The same in units of 2**-33 frames, exactly."""
        if not self._is_primed:
            return self._aim_units
        index = self._output_next * self._fine
        while len(self._segments) > 1 and self._segments[1][0] <= index:
            self._segments.popleft()
        start, units, step = self._segments[0]
        return units + (index - start) * step

    @property
    def next_input_frame(self) -> int:
        """The position of the frame that `read` has to fetch next."""
        return self._input_next

    @property
    def frames_ahead(self) -> float:
        """How far ahead of `position` the input is already fetched, in input frames."""
        return self._input_next - self.position

    def set_ratio(self, media_frames_per_dac_frame: float) -> None:
        """Set the ratio for what is computed from now on.

        Raises ValueError outside `DEVIATION_MAX` of the nominal ratio.
        """
        if not self._ratio_min <= media_frames_per_dac_frame <= self._ratio_max:
            raise ValueError(f"ratio {media_frames_per_dac_frame} is not in {self._ratio_min} to {self._ratio_max}")
        step = round(media_frames_per_dac_frame / self._fine * (1 << UNIT_BITS))
        if step != self._step:
            self._step = step
            if self._is_primed:
                self._apply(step)

    def reset(self, position: float | Fraction) -> int:
        """Forget everything and make the next output frame stand for `position`.

        Returns the input frame from which `read` has to go on, about 530 frames before at a ratio of 1; where there
        is no music yet (also at negative positions), `read` gives zeros.
        """
        self._aim_units = round(Fraction(position) * (1 << UNIT_BITS))
        # Created for a ratio of 1, the engine stays on its linear-phase path.
        self._engine = soxr.ResampleStream(1, 1, self._channels, dtype="float32", vr=True)
        self._fixed = (
            None
            if self._fine == 1
            else soxr.ResampleStream(self._fine, 1, self._channels, dtype="float32", quality="VHQ")
        )
        self._fifo: deque[Frames] = deque()
        self._fifo_frames = 0
        self._held: Frames = np.zeros((0, self._channels), np.float32)
        self._segments: deque[tuple[int, int, int]] = deque()
        self._engine_next = 0
        self._output_next = 0
        self._skip = 0
        self._is_primed = False
        before = _SETTLE_FRAMES + _AIM_FRAMES - _ENGINE_LATENCY_FRAMES - _MARGIN_FRAMES
        run_in = (self._start_units() >> UNIT_BITS) - before
        self._input_next = run_in
        return run_in

    def pull(self, frames: int, read: Callable[[int], Frames]) -> Frames:
        """Return exactly `frames` output frames; `read(k)` must return the next k input frames."""
        if not self._is_primed:
            self._prime(read)
        while self._fifo_frames < frames:
            wanted = int((frames - self._fifo_frames) * self.ratio) + 1
            self._feed(read, min(max(wanted, _BLOCK_FRAMES_MIN), BLOCK_FRAMES))
        out = np.empty((frames, self._channels), np.float32)
        filled = 0
        while filled < frames:
            block = self._fifo[0]
            part = block[: frames - filled]
            out[filled : filled + len(part)] = part
            filled += len(part)
            if len(part) == len(block):
                self._fifo.popleft()
            else:
                self._fifo[0] = block[len(part) :]
        self._fifo_frames -= frames
        self._output_next += frames
        return out

    def push(self, block: Frames) -> Frames:
        """Take the input frames from `next_input_frame` on and return all output they make ready, often none.

        This is for input that comes when it will, and not to be mixed with `pull`.  A new ratio takes effect from the
        next block on, less what lies `frames_ahead`.
        """
        self._held = np.concatenate((self._held, block))

        def read(frames: int) -> Frames:
            part, self._held = self._held[:frames], self._held[frames:]
            return part

        if not self._is_primed:
            if len(self._held) < _SETTLE_FRAMES + _AIM_FRAMES:
                return self._held[:0]
            self._prime(read)
        while len(self._held):
            self._feed(read, min(len(self._held), BLOCK_FRAMES))
        return self.pull(self._fifo_frames, read)

    def _start_units(self) -> int:
        """The position at which the fixed stage starts, so that the aim is met after its run-in."""
        skip = _SKIP_FRAMES if self._fixed is not None else 0
        return self._aim_units - skip * self._fine * self._step

    def _prime(self, read: Callable[[int], Frames]) -> None:
        step, goal = self._step, self._start_units()
        self._apply(step)
        units = (self._input_next << UNIT_BITS) + ((step & 0xFFFF_FFFF) >> 1)
        units += len(self._run(read, _SETTLE_FRAMES)) * step
        # A slightly other ratio for the next frames ends where the goal is.  What comes beyond it before the ratio can
        # change again is foreseen, so that it is not beside the goal by that much.
        count = max(1, round((goal - units) / step))
        limit = (self._input_next + _AIM_FRAMES - _ENGINE_LATENCY_FRAMES) << UNIT_BITS
        total = max(count, -((units - limit) // step))
        aim_step = round((goal + (total - count) * step - units) / total)
        self._apply(aim_step)
        beyond = self._run(read, _AIM_FRAMES)[count:]
        self._segments.append((0, units + count * aim_step, aim_step))
        self._engine_next = len(beyond)
        self._is_primed = True
        self._apply(step)
        if self._fixed is not None:
            self._skip = self._output_next = _SKIP_FRAMES
        self._push(beyond)

    def _apply(self, step: int) -> None:
        """Give the engine a step, from the next of its output frames on."""
        self._engine.set_io_ratio(step / (1 << UNIT_BITS), 1.0)
        if self._is_primed:
            start, units, old = self._segments[-1]
            units += (self._engine_next - start) * old
            if start == self._engine_next:
                self._segments.pop()
            self._segments.append((self._engine_next, units, step))

    def _run(self, read: Callable[[int], Frames], frames: int) -> Frames:
        block = read(frames)
        if block.shape != (frames, self._channels):
            raise ValueError(f"read({frames}) returned {block.shape} instead of {(frames, self._channels)}")
        self._input_next += frames
        out: Frames = self._engine.resample_chunk(np.ascontiguousarray(block, np.float32))
        return out

    def _feed(self, read: Callable[[int], Frames], frames: int) -> None:
        out = self._run(read, frames)
        self._engine_next += len(out)
        self._push(out)

    def _push(self, out: Frames) -> None:
        if self._fixed is not None:
            out = self._fixed.resample_chunk(out)
        if self._skip:
            dropped = min(self._skip, len(out))
            self._skip -= dropped
            out = out[dropped:]
        if len(out):
            self._fifo.append(out)
            self._fifo_frames += len(out)
