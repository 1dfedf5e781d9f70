"""Playout into a sound device: which media frame leaves the DAC when.

A device has a crystal of its own.  The DAC clock says when each of its frames will be heard, the schedule says which
media position is due then, and a continuous resampler is steered so that the one meets the other:

    target(n) = position due at the local instant at which device frame n is heard
    E(n)      = target(n) - position of the resampler's output frame n        (positive: late)
    ratio     = slope of target, in media frames per device frame  x  (1 + u),   u from the rate controller

The device is opened ahead of time and runs silence, so that its clock is known before the first frame matters.  That
frame is then placed exactly: whole device frames of silence before it, the fraction in the resampler's phase.  A jump
(resync, underrun, new entry) is a fade out, an exact start at another position, and a fade in.  Where the timeline ends
a record (pause, skip), the fade out ends at the very frame that the record ends with, and what follows starts exactly
when the next record says.  A record that repeats its predecessor further on is the host's order to jump there.
"""

import math
from dataclasses import dataclass

import numpy as np

from radiosync.audio.conceal import RAMP_MS, GainFollower
from radiosync.audio.drift import steered_resampler
from radiosync.audio.pcm import Frames, float_from_samples, map_channels
from radiosync.audio.resampler import DEVIATION_MAX
from radiosync.clock.dac import DacClock
from radiosync.listener.jitter import JitterBuffer
from radiosync.listener.rate import RateController
from radiosync.listener.schedule import Schedule
from radiosync.timeline import Timeline
from radiosync.units import NS_PER_MS, NS_PER_S, DacFrame, LocalNs, MediaFrame, ns_from_frames

KEEP_S = 1  # of what was played, for the resampler's run-in after a jump
RENDER_SHARE = 4  # of a short buffer: what lies in the ring must have come before
SILENCE_NS = 60 * NS_PER_MS  # of silence rendered ahead: running out of it is not heard, and music need not wait for it


def render_ahead_ns(wanted_ns: int, buffer_ns: int, *, begun: bool) -> int:
    """Return how far ahead of its device to render, where `wanted_ns` is configured and music has `begun` or not."""
    most_ns = min(wanted_ns, buffer_ns // RENDER_SHARE)
    return most_ns if begun else min(most_ns, SILENCE_NS)


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
        self._resampler = steered_resampler(buffer.format.channels, self._nominal_ratio)
        self._fader = GainFollower(buffer.format.rate, start_gain=1.0)
        turn = np.arange(1, 1 + max(1, round(device.rate * RAMP_MS / 1000)))
        self._fade_in = ((1 - np.cos(np.pi * turn / (len(turn) + 1))) / 2).astype(np.float32)[:, None]
        self._faded = 0
        self._entered = MediaFrame(0)
        self._controller = RateController(resync_ns)
        self._entry = MediaFrame(0)
        self._record: Timeline | None = None
        self._running = False
        self._thrown_out = False
        self._muted_from: MediaFrame | None = None
        self._steered_from = DacFrame(0)
        self.begun = False
        """Whether any music has been rendered."""
        self.cursor: MediaFrame | None = None
        self.final_frame: MediaFrame | None = None
        self.lead_ns = 0
        self.sync_error_ns = 0.0
        self.correction = 0.0
        self.underruns = 0
        self.hard_resyncs = 0
        self.entries = 0
        """How often it has begun at an exact place: starts, jumps, and returns from silence."""

    def start(self, frame: MediaFrame, record: Timeline | None = None) -> None:
        """Play from `frame` on by `record`, or from what is due by the time the device gets to it."""
        self._entry = self.cursor = frame
        self._record = record or self._schedule.log.newest
        self._running = False

    def set_muted(self, muted: bool) -> None:
        """Fade out and render silence for all that comes, on the timeline as before, or fade in where it should be."""
        if not muted and self._fader.gap_frames > self._fader.ramp_frames:
            self._running = False  # out of silence, so that an error of meanwhile need not be worked off
        ahead = self._resampler.next_input_frame + self._fader.ramp_frames if self._running else 0
        self._muted_from = MediaFrame(ahead) if muted else None
        self._fader.gap_frames = 0  # what comes is judged anew

    @property
    def record(self) -> Timeline | None:
        """The record that is being played by."""
        return self._record

    @property
    def steering(self) -> float:
        """The part of `correction` that works an error off; the rest is what the clocks' rates ask for."""
        return self._controller.correction

    @property
    def ended(self) -> bool:
        """Whether the last frame has been rendered."""
        return self.cursor is not None and self.final_frame is not None and self.cursor >= self.final_frame

    @property
    def concealed_frames(self) -> int:
        """How many frames were missing when they were due, or muted."""
        return self._fader.concealed_frames

    @property
    def gaps(self) -> int:
        """How many gaps that makes."""
        return self._fader.concealed_events

    @property
    def gap_frames(self) -> int:
        """How long the gap is, so far, that the last frame rendered lies in."""
        return self._fader.gap_frames

    def note_underrun(self) -> None:
        """Enter anew at the right position, a hard resync: the device has played silence that nobody rendered."""
        self.underruns += 1
        self._thrown_out = True
        self._running = False

    def render(self, first: DacFrame, frames: int) -> Frames:
        """Return `frames` frames for the device, of which `first` is the first."""
        silence = np.zeros((frames, self._device.channels), np.float32)
        if self._record is None or self.ended or not self._dac.usable:
            self._thrown_out = self._thrown_out or (self._running and not self.ended)
            self._running = False
            return silence
        until = self._follow(first, frames)
        if until < frames:  # the next record takes effect within this block
            return np.concatenate((self.render(first, until), self.render(DacFrame(first + until), frames - until)))
        if not self._record.playing:
            return silence
        target, ratio = self._target(self._record, first)
        if not self._running:
            skipped = self._enter(target, ratio, frames)
            if skipped is None:
                return silence
            silence[skipped:] = self._pull(self._record, frames - skipped, ratio * (1 + self._controller.correction))
            self._steered_from = DacFrame(first + frames)
            return silence
        return self._continue(self._record, first, frames, target, ratio)

    def _continue(self, record: Timeline, first: DacFrame, frames: int, target: float, ratio: float) -> Frames:
        """Render the next block of what is being played, steered towards its target."""
        heard_at = self._dac.local_from_dac(first)
        error_ns = (target - self._resampler.position) / self._schedule.rate * NS_PER_S
        # By its frames: the card's clock may have found meanwhile that it was without it for a second.
        elapsed_ns = ns_from_frames(max(0, first - self._steered_from), self._device.rate)
        self.sync_error_ns = error_ns
        sigma_ns = math.hypot(self._schedule.mapping.sigma_ns_at(heard_at), self._dac.sigma_ns_at(first))
        correction = self._controller.update(error_ns, elapsed_ns, sigma_ns)
        block = self._pull(record, frames, ratio * (1 + correction))
        self._steered_from = first
        if self._controller.resync_due(error_ns, heard_at):
            self._controller.resynced(heard_at)
            self.hard_resyncs += 1
            self._running = False
            block *= np.linspace(1, 0, len(block), dtype=np.float32)[:, None]
        self._fade_to_resync(block, first, record)
        return block

    def _fade_to_resync(self, block: Frames, first: DacFrame, record: Timeline) -> None:
        """Fade out towards a resync that was ordered: who is out of sync is not at the record's end by then."""
        following = self._schedule.log.after(record)
        if following is None or not following.repeats(record, self._schedule.rate):
            return
        ramp = self._fade_in[::-1]
        left = self._frames_until(first, self._schedule.begin_at(following))
        faded = np.arange(len(block)) - (left - len(ramp))
        block *= np.where(faded[:, None] < 0, np.float32(1), ramp[np.clip(faded, 0, len(ramp) - 1)])

    def _follow(self, first: DacFrame, frames: int) -> int:
        """Go on to the record in force at device frame `first`; return how many frames it lasts, `frames` at most."""
        while self._record is not None:
            following = self._schedule.log.after(self._record)
            if following is None:
                return frames
            begin_at = self._schedule.begin_at(following)
            until = self._frames_until(first, begin_at)
            if until > 0:
                return min(until, frames)
            if self._running and following.repeats(self._record, self._schedule.rate):  # the host orders a resync
                self._controller.resynced(self._dac.local_from_dac(first))
                self.hard_resyncs += 1
            self._record = following
            self._running = False
            self._entry = max(following.media_frame, self._entry)
            self.cursor = max(self.cursor or self._entry, following.media_frame)
        return frames

    def _frames_until(self, first: DacFrame, at: LocalNs) -> int:
        """Return how many device frames from `first` on are heard before `at`."""
        heard_at = self._dac.local_from_dac(first)
        return max(0, -int((heard_at - at) * self._dac.rate // NS_PER_S))

    def _target(self, record: Timeline, first: DacFrame) -> tuple[float, float]:
        """Return the position due at device frame `first`, and the slope of the position there."""
        rate = self._device.rate  # a second: 1 ns of rounding over it is 0.001 ppm
        begin = self._schedule.position_at(self._dac.local_from_dac(first), record)
        end = self._schedule.position_at(self._dac.local_from_dac(DacFrame(first + rate)), record)
        slope = (end - begin) / rate
        low, high = self._nominal_ratio * (1 - DEVIATION_MAX / 2), self._nominal_ratio * (1 + DEVIATION_MAX / 2)
        return begin, min(max(slope, low), high)

    def _enter(self, target: float, ratio: float, frames: int) -> int | None:
        """Set the resampler so that it starts within this block; return after how many frames, or None if not yet."""
        skipped = max(0, -int((target - self._entry) // ratio))
        if skipped >= frames:
            return None
        position = max(target + skipped * ratio, 0.0)
        self._controller.entered()
        self._resampler.set_ratio(ratio)
        self._resampler.reset(position)
        # A song's first frame has its attack; what is entered in the middle is faded in.  That can't be done on the
        # way into the resampler, which runs in on more frames than a fade is long.
        header = self._buffer.header_at(self._entry)
        at_start = header is not None and header.song_frame == header.first_frame - self._entry == 0
        whole = at_start and target < self._entry + ratio
        self._faded = len(self._fade_in) if whole else 0
        self._entered = MediaFrame(int(position))
        self._fader.restart(1.0)
        self._running = self.begun = True
        self.entries += 1
        self.hard_resyncs += self._thrown_out
        self._thrown_out = False
        return skipped

    def _pull(self, record: Timeline, frames: int, ratio: float) -> Frames:
        low, high = self._nominal_ratio * (1 - DEVIATION_MAX), self._nominal_ratio * (1 + DEVIATION_MAX)
        self._resampler.set_ratio(min(max(ratio, low), high))
        self.correction = ratio / self._nominal_ratio - 1
        block = map_channels(
            self._resampler.pull(frames, lambda count: self._read(record, count)), self._device.channels
        )
        self.cursor = MediaFrame(int(self._resampler.position))
        self._buffer.drop_before(MediaFrame(self.cursor - KEEP_S * self._schedule.rate))
        fade = self._fade_in[self._faded : self._faded + frames]
        self._faded += len(fade)
        block[: len(fade)] *= fade
        return np.ascontiguousarray(block * self._gain, np.float32)

    def _read(self, record: Timeline, count: int) -> Frames:
        """Fetch the resampler's next input frames, with gaps faded, and silence outside of what `record` plays."""
        frame = self._resampler.next_input_frame
        samples, present = self._buffer.read(MediaFrame(frame), count + self._fader.ramp_frames)
        block = float_from_samples(samples[:count], self._buffer.format.sample)
        gain = self._schedule.solos.gain(MediaFrame(frame), count)
        if gain is not None:
            block = block * gain[:, None]
        if self._muted_from is not None:
            present[max(0, self._muted_from - frame) :] = False
        silent = np.zeros(len(present), np.bool_)
        # Before the first frame that is heard and after the last there is nothing to miss.
        present[: max(0, self._entered - frame)] = True
        end = self._schedule.end_frame(record)
        if end is not None:
            silent[max(0, end - frame) :] = True
        if self.final_frame is not None:
            present[max(0, self.final_frame - frame) :] = True
        return self._fader.apply(block, present, silent if end is not None else None)
