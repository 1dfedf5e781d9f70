"""What a device captures comes out at the media clock's rate, for hours, unharmed; the device is arithmetic."""

import numpy as np
import pytest

from radiosync.clock.adc import AdcClock
from radiosync.clock.dac import StampSource
from radiosync.host.capture import ERROR_NS_MAX, RateMatcher
from radiosync.units import NS_PER_MS, NS_PER_S

RATE = 8_000  # an hour of it is soon reckoned; nothing here depends on the rate
HZ = 997.0
AMPLITUDE = 0.5
FILTERS = 0.2 * RATE  # what the resampler may hold at this rate
T0 = 5_000 * NS_PER_S + 123


class Adc:
    """A device that captures a tone by a crystal of its own, and hands it over a block at a time with jittered stamps.

    Whatever it captures at local time t is sin(2π HZ t), so that the phase of a frame says when it was captured.
    """

    def __init__(self, matcher, ppm, *, rate=RATE, block=256, jitter_s=30e-6, seed=1):
        self.matcher, self.nominal, self.rate = matcher, rate, rate * (1 + ppm * 1e-6)
        self.block, self.jitter_s = block, jitter_s
        self.random = np.random.default_rng(seed)
        self.frame = 0
        self.lost_s = 0.0
        self.lying = False
        self.out = []
        self.frames_out = 0

    @property
    def now_s(self):
        return self.frame / self.rate + self.lost_s

    def run(self, seconds, *, keep=True):
        """Capture for `seconds`; return the most and the least frames that were held after a block."""
        held = []
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            begin_s = self.now_s
            t = begin_s + np.arange(self.block) / self.rate
            tone = (AMPLITUDE * np.sin(2 * np.pi * (HZ * t % 1))).astype(np.float32)[:, None]
            first, self.frame = self.frame, self.frame + self.block
            self.stamp(first, begin_s)
            out = self.matcher.push(tone, first)
            self.frames_out += len(out)
            held.append(self.matcher.frames_held)
            if keep:
                self.out.append(out)
        return max(held), min(held)

    def stamp(self, first, begin_s):
        entered_s = self.now_s + self.random.exponential(200e-6)
        adc_s = 0.0 if self.lying else begin_s + self.random.normal(0, self.jitter_s)
        adc_at = 0 if self.lying else T0 + round(adc_s * NS_PER_S)
        self.matcher.clock.stamp_block(first, self.block, adc_at, T0 + round(entered_s * NS_PER_S))

    def captured_s(self, seconds):
        """Return the instants the last `seconds` of output were captured at, by their phase, less the first, in s."""
        out = np.concatenate(self.out)[-round(seconds * RATE) :, 0]
        n = np.arange(len(out))
        spin = out * np.exp(-2j * np.pi * HZ * n / RATE)
        width = 800  # a tenth of a second: whole turns of the image at twice the tone, nearly
        smooth = np.convolve(spin, np.hanning(width), "valid")
        return np.unwrap(np.angle(smooth)) / (2 * np.pi * HZ)


def purity_db(out, hz, rate):
    angle = 2 * np.pi * hz / rate * np.arange(len(out))
    base = np.stack((np.cos(angle), np.sin(angle)), axis=1)
    parts = np.linalg.lstsq(base, out, rcond=None)[0]
    return 10 * np.log10(np.mean((out - base @ parts) ** 2) / (parts @ parts / 2))


@pytest.mark.parametrize("ppm", [80, -80])
def test_an_hour_by_another_crystal(ppm):
    matcher = RateMatcher(RATE, RATE, 1)
    adc = Adc(matcher, ppm)
    adc.run(60)
    frames, at_s = adc.frames_out + matcher.frames_held, adc.now_s
    held_most, held_least = adc.run(3_540, keep=False)
    passed = adc.frames_out + matcher.frames_held - frames
    assert passed == pytest.approx((adc.now_s - at_s) * RATE, abs=2), "the device alone would be off by 2265 frames"
    assert held_least > 0
    assert held_most < FILTERS
    assert matcher.counters.anchored == 1
    assert abs(matcher.error_ns) < 5_000
    adc.out.clear()
    adc.run(5)
    captured_s = adc.captured_s(4)
    assert np.ptp(captured_s) < 5e-6, "the tone has its pitch, by the media clock"
    assert purity_db(np.concatenate(adc.out)[-RATE // 20 :, 0].astype(np.float64), HZ, RATE) < -90


@pytest.mark.parametrize(("device_rate", "rate"), [(44_100, 48_000), (48_000, 44_100), (96_000, 48_000)])
def test_a_device_of_another_rate(device_rate, rate):
    matcher = RateMatcher(device_rate, rate, 1)
    adc = Adc(matcher, 40, rate=device_rate, block=device_rate // 100)
    adc.run(5)
    frames, at_s = adc.frames_out + matcher.frames_held * rate / device_rate, adc.now_s
    held_most, _ = adc.run(5)
    passed = adc.frames_out + matcher.frames_held * rate / device_rate - frames
    assert passed == pytest.approx((adc.now_s - at_s) * rate, abs=2)
    assert held_most / device_rate < 0.035, "the delay that is stated"
    assert purity_db(np.concatenate(adc.out)[-rate // 20 :, 0].astype(np.float64), HZ, rate) < -90


def test_frames_the_device_lost_are_not_made_up():
    matcher = RateMatcher(RATE, RATE, 1)
    adc = Adc(matcher, 50)
    adc.run(20)
    rate, frames = matcher.clock.rate, adc.frame
    adc.lost_s += 0.5
    matcher.restart()
    adc.run(0.1)
    assert matcher.ratio == pytest.approx(1 + 50e-6, abs=2e-6), "what is known of the rate stays"
    adc.run(20)
    assert matcher.counters.anchored == 2
    assert adc.frames_out == pytest.approx(adc.frame / rate * RATE, abs=FILTERS)
    assert abs(matcher.error_ns) < 20_000
    assert frames < adc.frame


def test_a_loss_that_nobody_reports_is_seen_from_the_stamps():
    matcher = RateMatcher(RATE, RATE, 1)
    adc = Adc(matcher, 50)
    adc.run(20)
    adc.lost_s += 0.5
    adc.run(20)
    assert matcher.clock.counters.discontinuities == 1
    assert matcher.counters.anchored == 2
    assert matcher.ratio == pytest.approx(1 + 50e-6, abs=2e-6)


def test_what_the_driver_leaves_out_is_left_out():
    matcher = RateMatcher(RATE, RATE, 1)
    adc = Adc(matcher, 50)
    adc.run(20)
    before = adc.frames_out
    adc.frame += RATE  # a second of them is thrown away
    adc.run(20)
    assert matcher.counters.skipped_frames == RATE
    assert matcher.counters.anchored == 2
    assert adc.frames_out - before == pytest.approx(20 * RATE, abs=FILTERS)
    assert abs(matcher.error_ns) < 20_000
    assert np.ptp(adc.captured_s(4)) < 5e-6


def test_a_device_whose_stamps_are_lies_is_timed_by_its_callbacks():
    matcher = RateMatcher(RATE, RATE, 1)
    adc = Adc(matcher, 60)
    adc.lying = True
    adc.run(60)
    frames, at_s = adc.frames_out + matcher.frames_held, adc.now_s
    assert matcher.clock.source is StampSource.ENTRY
    adc.run(240, keep=False)
    passed = adc.frames_out + matcher.frames_held - frames
    assert passed == pytest.approx((adc.now_s - at_s) * RATE, abs=3), "and not 115 too many"


def test_a_crystal_beyond_belief_is_followed_as_far_as_the_resampler_goes():
    matcher = RateMatcher(RATE, RATE, 1)
    adc = Adc(matcher, 8_000)
    adc.run(30)
    assert matcher.ratio < 1.006
    assert abs(matcher.error_ns) <= ERROR_NS_MAX
    assert matcher.counters.anchored > 1


@pytest.mark.parametrize(
    ("age_ns", "source"),
    [
        (40 * NS_PER_MS, StampSource.DEVICE),
        (32 * NS_PER_MS, StampSource.DEVICE),
        (0, StampSource.ENTRY),  # the entry itself
        (-100 * NS_PER_MS, StampSource.ENTRY),  # an output's stamp
        (3 * NS_PER_S, StampSource.ENTRY),
    ],
)
def test_which_stamps_of_a_capturing_device_are_believed(age_ns, source):
    clock = AdcClock(RATE)
    for n in range(200):
        entered_at = T0 + (n + 1) * 256 * NS_PER_S // RATE
        clock.stamp_block(n * 256, 256, entered_at - age_ns, entered_at)
    assert clock.source is source
    assert clock.local_from_dac(0) == pytest.approx(
        T0 if source is StampSource.ENTRY else T0 + 32 * NS_PER_MS - age_ns, abs=1_000
    )
