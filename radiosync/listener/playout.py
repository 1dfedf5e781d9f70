"""Playout into a sound device: which media frame leaves the DAC when.

A device has a crystal of its own.  The DAC clock says when each of its frames will be heard, the schedule says which
media position is due then, and a continuous resampler is steered so that the one meets the other:

    target(n) = position due at the local instant at which device frame n is heard
    E(n)      = target(n) - position of the resampler's output frame n        (positive: late)
    ratio     = slope of target, in media frames per device frame  x  (1 + u),   u from the rate controller

The device is opened ahead of time and runs silence, so that its clock is known before the first frame matters.  That
frame is then placed exactly: whole device frames of silence before it, the fraction in the resampler's phase.  A jump
(resync, underrun, new entry) is a fade out, an exact start at another position, and a fade in.
"""

from dataclasses import dataclass

import numpy as np

from radiosync.audio.conceal import RAMP_MS, GainFollower
from radiosync.audio.pcm import Frames, float_from_samples, map_channels
from radiosync.audio.resampler import DEVIATION_MAX, VariableResampler
from radiosync.clock.dac import DacClock
from radiosync.listener.jitter import JitterBuffer
from radiosync.listener.rate import RateController
from radiosync.listener.schedule import Schedule
from radiosync.units import NS_PER_S, DacFrame, LocalNs, MediaFrame

SLOPE_NS = NS_PER_S  # the baseline for the ratio: 1 ns of rounding over 1 s is 0.001 ppm
KEEP_S = 1  # of what was played, for the resampler's run-in after a jump


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFormat:
    """What the device was opened with."""

    rate: int
    channels: int


class DevicePlayout:
    """Renders the device's frames, one block after the other."""

    def __init__(
        self,
        buffer: JitterBuffer,
        schedule: Schedule,
        dac: DacClock,
        device: DeviceFormat,
        *,
        resync_ns: int,
        gain: float,
    ) -> None:
        self._buffer = buffer
        self._schedule = schedule
        self._dac = dac
        self._device = device
        self._gain = np.float32(gain)
        self._nominal_ratio = buffer.format.rate / device.rate
        self._resampler = VariableResampler(buffer.format.channels, self._nominal_ratio)
        self._fader = GainFollower(buffer.format.rate, start_gain=1.0)
        turn = np.arange(1, 1 + max(1, round(device.rate * RAMP_MS / 1000)))
        self._fade_in = ((1 - np.cos(np.pi * turn / (len(turn) + 1))) / 2).astype(np.float32)[:, None]
        self._faded = 0
        self._entered = MediaFrame(0)
        self._controller = RateController(resync_ns)
        self._entry: MediaFrame | None = None
        self._running = False
        self._rendered_at: LocalNs | None = None
        self.cursor: MediaFrame | None = None
        self.final_frame: MediaFrame | None = None
        self.lead_ns = 0
        self.sync_error_ns = 0.0
        self.correction = 0.0
        self.underruns = 0
        self.hard_resyncs = 0

    def start(self, frame: MediaFrame) -> None:
        """Play from `frame` on, or from what is due by the time the device gets to it."""
        self._entry = self.cursor = frame

    @property
    def ended(self) -> bool:
        """Whether the last frame has been rendered."""
        return self.cursor is not None and self.final_frame is not None and self.cursor >= self.final_frame

    @property
    def concealed_frames(self) -> int:
        """How many frames were missing when they were due."""
        return self._fader.concealed_frames

    def note_underrun(self) -> None:
        """Enter anew at the right position: the device has played silence that nobody rendered."""
        self.underruns += 1
        self._running = False

    def render(self, first: DacFrame, frames: int) -> Frames:
        """Return `frames` frames for the device, of which `first` is the first."""
        silence = np.zeros((frames, self._device.channels), np.float32)
        if self._entry is None or self.ended or not self._dac.usable:
            self._running = False
            return silence
        target, ratio = self._target(first)
        if not self._running:
            skipped = self._enter(target, ratio, frames)
            if skipped is None:
                return silence
            played = self._pull(frames - skipped, ratio)
            silence[skipped:] = played
            self._rendered_at = self._dac.local_from_dac(DacFrame(first + frames))
            return silence
        heard_at = self._dac.local_from_dac(first)
        error_ns = (target - self._resampler.position) / self._schedule.rate * NS_PER_S
        elapsed_ns = 0 if self._rendered_at is None else max(0, heard_at - self._rendered_at)
        self.sync_error_ns = error_ns
        correction = self._controller.update(error_ns, elapsed_ns)
        block = self._pull(frames, ratio * (1 + correction))
        self._rendered_at = heard_at
        if self._controller.resync_due(error_ns, heard_at):
            self._controller.resynced(heard_at)
            self.hard_resyncs += 1
            self._running = False
            block *= np.linspace(1, 0, len(block), dtype=np.float32)[:, None]
        return block

    def _target(self, first: DacFrame) -> tuple[float, float]:
        """Return the position due at device frame `first`, and the slope of the position there."""
        rate = self._device.rate
        begin = self._schedule.position_at(self._dac.local_from_dac(first))
        end = self._schedule.position_at(self._dac.local_from_dac(DacFrame(first + rate)))
        slope = (end - begin) / rate
        low, high = self._nominal_ratio * (1 - DEVIATION_MAX / 2), self._nominal_ratio * (1 + DEVIATION_MAX / 2)
        return begin, min(max(slope, low), high)

    def _enter(self, target: float, ratio: float, frames: int) -> int | None:
        """Set the resampler so that it starts within this block; return after how many frames, or None if not yet."""
        entry = self._entry
        assert entry is not None
        skipped = max(0, -int((target - entry) // ratio))
        if skipped >= frames:
            return None
        position = max(target + skipped * ratio, 0.0)
        self._resampler.set_ratio(ratio)
        self._resampler.reset(position)
        # The first frame of the music has its attack; what is entered in the middle is faded in.  That can't be done on
        # the way into the resampler, which runs in on more frames than a fade is long.
        whole = entry == self._schedule.timeline.media_frame and target < entry + ratio
        self._faded = len(self._fade_in) if whole else 0
        self._entered = MediaFrame(int(position))
        self._fader.restart(1.0)
        self._running = True
        return skipped

    def _pull(self, frames: int, ratio: float) -> Frames:
        low, high = self._nominal_ratio * (1 - DEVIATION_MAX), self._nominal_ratio * (1 + DEVIATION_MAX)
        self._resampler.set_ratio(min(max(ratio, low), high))
        self.correction = ratio / self._nominal_ratio - 1
        block = map_channels(self._resampler.pull(frames, self._read), self._device.channels)
        self.cursor = MediaFrame(int(self._resampler.position))
        self._buffer.drop_before(MediaFrame(self.cursor - KEEP_S * self._schedule.rate))
        fade = self._fade_in[self._faded : self._faded + frames]
        self._faded += len(fade)
        block[: len(fade)] *= fade
        return np.ascontiguousarray(block * self._gain, np.float32)

    def _read(self, count: int) -> Frames:
        """Fetch the resampler's next input frames, with gaps faded."""
        frame = self._resampler.next_input_frame
        ahead = self._fader.ramp_frames
        samples, present = self._buffer.read(MediaFrame(frame), count + ahead)
        # Before the first frame that is heard and after the last there is nothing to miss.
        present[: max(0, self._entered - frame)] = True
        if self.final_frame is not None:
            present[max(0, self.final_frame - frame) :] = True
        block = float_from_samples(samples[:count], self._buffer.format.sample)
        return self._fader.apply(block, present)
