"""Rate matching: from the frames of a capturing device to frames at exactly the nominal rate of the media clock.

A sound card's crystal is some ten ppm off, in an hour some thousand frames.  Handed on as they are, its frames would
run ever further ahead of the timeline, so that the delay grew, or fall ever further behind, until there was a hole.

Output frame m is to stand for the instant of capture A + m / rate on the local clock, with any A: what is sent m /
rate seconds after the first frame was also captured m / rate seconds after it, however long this goes on.  The
resampler knows which input frame its next output frame stands for, the ADC clock when that was captured; the
difference is the error E. The fitted rate is fed forward and a proportional term takes E away:

    ratio = (measured rate of the device / nominal rate of the output) (1 - Kp E),   Kp = 0.25 per second

An integral term would have nothing to do: the slope and the phase are of one and the same line, so that E comes only
from changes of the fit and from ratios that took effect a block late.

All input is pushed through as it comes, and nothing waits for its turn, so that the fill can neither run dry nor
grow. What is held is what the filters need, 8 to 31 ms of input at 48 kHz.

Where the device loses frames (an overrun, an unplugged cable) or the driver leaves some out, A is chosen anew, as
soon as the clock is usable again.  The output goes on meanwhile at the last rate; that it has fallen behind by what
was lost is seen by the session, which leaves a hole where that matters.
"""

from dataclasses import dataclass

import numpy as np

from radiosync.audio.pcm import Frames
from radiosync.audio.resampler import UNIT_BITS, VariableResampler
from radiosync.clock.adc import AdcClock
from radiosync.units import NS_PER_MS, NS_PER_S, DacFrame, LocalNs, ns_from_frames

GAIN_PER_S = 0.25
CORRECTION_MAX = 300e-6  # half a cent of pitch
RATE_OFF_MAX = (
    0.005  # of a device: five times the worst crystal, and inside what the resampler takes with the correction
)
ERROR_NS_MAX = 20 * NS_PER_MS  # the correction would need a minute for more: a device that far off has lost its time


@dataclass(slots=True)
class MatchCounters:
    """What has been counted since the start."""

    anchored: int = 0
    """How often the output was fixed to the media clock: once, and once after every loss."""
    skipped_frames: int = 0
    """Frames that the driver left out, as `push` was told."""


class RateMatcher:
    """Turns blocks of one device into frames at `rate`, float32 of shape (frames, channels) in and out.

    Whoever drives it notes the stamps in `clock`, and says with every block which frame of the device is its first.
    """

    def __init__(self, device_rate: int, rate: int, channels: int, *, known_rate: float | None = None) -> None:
        self.clock = AdcClock(device_rate, rate=known_rate)
        self.counters = MatchCounters()
        self.error_ns = 0.0
        self._rate = rate
        self._resampler = VariableResampler(channels, device_rate / rate)
        self._resampler.push(np.zeros((-self._resampler.next_input_frame, channels), np.float32))
        self._next = DacFrame(0)
        self._skipped = 0  # what to add to a position of the resampler to get one of the device
        self._frames = 0
        self._anchor: tuple[int, LocalNs] | None = None
        self._discontinuities = 0

    @property
    def ratio(self) -> float:
        """How many of the device's frames make one of the output."""
        return self._resampler.ratio

    @property
    def frames_held(self) -> float:
        """How much of the device's frames is in the filters."""
        return self._resampler.frames_ahead

    def restart(self) -> None:
        """Note that the device has lost frames; what is known of its rate stays."""
        self.clock.restart()
        self._anchor = None

    def push(self, block: Frames, first: DacFrame) -> Frames:
        """Take a block that begins with frame `first` of the device; return the output that it makes ready."""
        if first != self._next:
            self._skipped += first - self._next
            self.counters.skipped_frames += first - self._next
            self._anchor = None
        self._next = DacFrame(first + len(block))
        self._steer()
        out = self._resampler.push(block)
        self._frames += len(out)
        return out

    def _steer(self) -> None:
        clock = self.clock
        if clock.counters.discontinuities != self._discontinuities:
            self._discontinuities = clock.counters.discontinuities
            self._anchor = None
        if not clock.usable:
            return
        captured_at = self._captured_at()
        if self._anchor is not None:
            begin, at = self._anchor
            self.error_ns = captured_at - (at + ns_from_frames(self._frames - begin, self._rate))
        if self._anchor is None or abs(self.error_ns) > ERROR_NS_MAX:
            self._anchor = (self._frames, LocalNs(round(captured_at)))
            self.error_ns = 0.0
            self.counters.anchored += 1
        off = clock.rate / clock.nominal_rate - 1
        off = min(max(off, -RATE_OFF_MAX), RATE_OFF_MAX)
        correction = min(max(GAIN_PER_S * self.error_ns / NS_PER_S, -CORRECTION_MAX), CORRECTION_MAX)
        self._resampler.set_ratio(clock.nominal_rate / self._rate * (1 + off) * (1 - correction))

    def _captured_at(self) -> float:
        """Return when the input that the next output frame stands for was captured, in local ns."""
        whole, rest = divmod(self._resampler.position_units, 1 << UNIT_BITS)
        frame = DacFrame(whole + self._skipped)
        return self.clock.local_from_dac(frame) + rest / (1 << UNIT_BITS) / self.clock.rate * NS_PER_S
