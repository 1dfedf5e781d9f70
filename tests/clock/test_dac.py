import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radiosync.clock import dac as module
from radiosync.clock.dac import DacClock, StampSource
from radiosync.clock.dac_fit import DacFit

NS = 1_000_000_000
US = 1_000
RATE = 48_000
T0 = 3_000_000 * NS + 12_345
LATENCY_S = 0.1


class Card:
    """A sound card whose truth is known: frame 0 is heard at T0, and `ppm` more frames a second than it says."""

    def __init__(self, seed=0, ppm=60.0, block=480, jitter_s=lambda r, true_s: r.normal(0, 6e-6), bug=None):
        self.random = np.random.default_rng(seed)
        self.rate = RATE * (1 + ppm * 1e-6)
        self.block, self.jitter_s, self.bug = block, jitter_s, bug
        self.frame, self.shift_s = 0, 0.0

    def true_ns(self, frame):
        return T0 + (frame / self.rate + self.shift_s) * NS

    def play(self, clock, seconds):
        """Call back for `seconds`; return the errors of the clock in ns after each callback."""
        errors, end = [], self.frame + seconds * self.rate
        while self.frame < end:
            self.frame += self.block if isinstance(self.block, int) else int(self.random.integers(*self.block))
            true_s = (self.true_ns(self.frame) - T0) / NS
            entered_s = true_s - LATENCY_S + self.random.exponential(100e-6)
            dac_s = true_s + self.jitter_s(self.random, true_s)
            if self.bug:
                dac_s = self.bug(self.random, dac_s, entered_s)
            clock.stamp(self.frame, T0 + round(dac_s * NS), T0 + round(entered_s * NS), round(LATENCY_S * NS))
            if clock.fit():
                at, fraction = clock.fit().local_from_dac_exact(self.frame)
                errors.append(at + fraction - self.true_ns(self.frame))
        return np.array(errors)


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


@pytest.mark.parametrize("ppm", [-100.0, -30.0, 0.0, 100.0])
@pytest.mark.parametrize("block", [480, (100, 900)])
def test_jitter_of_six_microseconds_fits_to_less_than_one(ppm, block):
    card, clock = Card(ppm=ppm, block=block), DacClock(RATE)
    assert rms(card.play(clock, 1.0)[-50:]) < 15 * US
    card.play(clock, 9.0)
    assert rms(card.play(clock, 2.0)) < 1.0 * US
    card.play(clock, 20.0)
    assert rms(card.play(clock, 3.0)) < 0.6 * US
    assert clock.rate == pytest.approx(card.rate, rel=0.1e-6)
    assert clock.rate_sigma < 0.1e-6
    assert 4 * US < clock.residual_ns < 8 * US
    assert clock.settled
    assert clock.source is StampSource.DEVICE


def test_sigma_is_honest():
    z, z_rate = [], []
    for seed in range(10):
        card, clock = Card(seed=seed, ppm=seed * 10.0), DacClock(RATE)
        for seconds in (1.0, 3.0, 6.0, 10.0):
            error = card.play(clock, seconds)[-1]
            z.append(error / clock.fit().sigma_ns_at(card.frame))
            z_rate.append((clock.rate / card.rate - 1) / clock.rate_sigma)
    assert 0.4 < rms(z) < 1.6
    assert 0.4 < rms(z_rate) < 2.0


@pytest.mark.parametrize("ppm", [-100.0, 100.0])
@pytest.mark.parametrize("block", [480, 2400])
def test_usable_as_soon_as_stamps_agree(ppm, block):
    card, clock = Card(ppm=ppm, block=block), DacClock(RATE)
    card.play(clock, 0.07)
    assert not clock.usable
    card.play(clock, 0.09)
    assert clock.usable
    later = round(card.frame + 0.25 * RATE)
    assert abs(clock.local_from_dac(later) - card.true_ns(later)) < 50 * US, "what is rendered now is heard then"
    card.shift_s += 0.0005
    card.play(clock, 0.05)
    assert clock.usable, "what plays is not silenced again"


def scattered(random, true_s):
    return random.normal(0, 100e-6)


def test_stamps_that_scatter_take_a_third_of_a_second_at_the_nominal_rate():
    card, clock = Card(ppm=100.0, jitter_s=scattered), DacClock(RATE)
    assert not clock.usable
    assert clock.fit() is None
    with pytest.raises(LookupError):
        clock.local_from_dac(0)
    card.play(clock, 0.1)
    assert clock.fit() is not None
    assert not clock.usable
    card.play(clock, 0.15)
    assert not clock.usable
    errors = card.play(clock, 0.1)
    assert clock.usable
    assert not clock.settled
    assert np.abs(errors).max() < 200 * US
    assert abs(clock.rate / RATE - 1) < 60e-6  # the prior still rules
    assert 20e-6 < clock.rate_sigma <= 50e-6


def test_a_remembered_rate_is_used_from_the_first_stamp():
    card = Card(ppm=80.0)
    clock = DacClock(RATE, rate=card.rate * (1 + 0.5e-6), rate_sigma=1e-6)
    assert clock.rate == pytest.approx(card.rate, rel=1e-6)
    assert clock.rate_sigma == 1e-6
    card.play(clock, 0.3)
    assert clock.rate == pytest.approx(card.rate, rel=1e-6)


def test_a_pointer_in_steps_of_48_frames_fits_to_ten_microseconds_about_its_mean():
    scatter = []
    for seed in range(8):
        card, clock = Card(seed=seed, jitter_s=lambda r, t: -r.uniform(0, 1e-3)), DacClock(RATE)
        card.play(clock, 32.0)
        scatter.append(card.play(clock, 0.5)[-1])
    assert np.mean(scatter) == pytest.approx(-500 * US, abs=15 * US)  # half a step: no stamp tells where it begins
    assert np.std(scatter) < 15 * US


def test_a_slow_sawtooth_widens_the_uncertainty():
    card, clock = Card(jitter_s=lambda r, t: ((t / 3.3) % 1 - 0.5) * 1e-3), DacClock(RATE)
    errors = card.play(clock, 60.0)
    assert rms(errors[-1000:]) < 60 * US
    assert clock.fit().sigma_ns > 60 * US  # were the buckets independent, 33 µs


@pytest.mark.parametrize("wrong_s", [1e-3, 8e-3, -8e-3])
def test_outliers_are_rejected(wrong_s):
    def jitter(r, t):
        return r.normal(0, 6e-6) + (wrong_s * r.uniform(0.5, 1.5) if r.random() < 0.05 else 0.0)

    for seed in range(4):
        card, clock = Card(seed=seed, jitter_s=jitter), DacClock(RATE)
        card.play(clock, 10.0)
        assert rms(card.play(clock, 5.0)) < 1.5 * US
        assert clock.counters.discontinuities == 0
        assert (clock.counters.outliers > 30) == (abs(wrong_s) > 5e-3)


def test_spells_of_late_stamps_are_trimmed():
    """A stalled machine shifts all stamps of a spell alike, by less than what counts as a jump."""
    card = Card(jitter_s=lambda r, t: r.normal(0, 6e-6) + (1.5e-3 if t % 2.7 < 0.2 else 0.0))
    clock = DacClock(RATE)
    card.play(clock, 15.0)
    assert np.abs(card.play(clock, 10.0)).max() < 5 * US
    assert clock.counters.discontinuities == 0


@pytest.mark.parametrize("jump_s", [0.005, -0.005, 0.3])
def test_a_discontinuity_begins_a_new_line_and_keeps_the_rate(jump_s):
    card, clock = Card(ppm=90.0), DacClock(RATE)
    card.play(clock, 10.0)
    card.shift_s += jump_s
    card.play(clock, 0.06)
    assert clock.counters.discontinuities == 1
    errors = card.play(clock, 0.5)
    assert np.abs(errors).max() < 12 * US
    assert clock.rate == pytest.approx(card.rate, rel=3e-6)
    card.play(clock, 5.0)
    assert clock.counters.discontinuities == 1


@pytest.mark.parametrize("lost_s", [0.001, -0.0005])
def test_a_line_that_was_left_by_less_than_a_jump_begins_anew_within_two_seconds(lost_s):
    card, clock = Card(ppm=90.0), DacClock(RATE)
    card.play(clock, 20.0)
    card.shift_s += lost_s
    card.play(clock, 1.5)
    assert np.abs(card.play(clock, 0.5)).max() < 12 * US
    assert clock.counters.discontinuities == 1
    assert clock.rate == pytest.approx(card.rate, rel=3e-6)
    assert np.abs(card.play(clock, 10.0)).max() < 12 * US
    assert clock.counters.discontinuities == 1


@pytest.mark.parametrize("ppm", [500.0, -500.0, 50.0])
def test_a_line_that_bends_is_followed(ppm):
    """The local clock is slewed, and no longer: whoever fits one line through it all is off by a millisecond."""
    card, clock = Card(ppm=20.0), DacClock(RATE)
    card.play(clock, 15.0)
    for rate in (card.rate * (1 + ppm * 1e-6), card.rate):
        card.shift_s += card.frame / card.rate - card.frame / rate  # from here on
        card.rate = rate
        assert np.abs(card.play(clock, 5.0)).max() < (150 + 1.2 * abs(ppm)) * US  # until it is seen
        assert np.abs(card.play(clock, 10.0)).max() < 12 * US


def test_a_line_that_was_left_before_it_was_known_begins_anew_within_seven_seconds():
    card, clock = Card(ppm=20.0), DacClock(RATE)
    card.play(clock, 3.0)
    card.shift_s += 0.0015
    assert np.abs(card.play(clock, 6.0)).max() > 400 * US
    card.play(clock, 1.0)
    assert np.abs(card.play(clock, 10.0)).max() < 12 * US
    assert clock.counters.discontinuities == 1


def test_a_few_stamps_far_off_are_no_discontinuity():
    card, clock = Card(), DacClock(RATE)
    card.play(clock, 5.0)
    card.shift_s += 0.005
    card.play(clock, 0.035)  # four callbacks
    card.shift_s -= 0.005
    card.play(clock, 1.0)
    assert clock.counters.discontinuities == 0
    assert clock.counters.outliers == 4


def test_restart_after_an_xrun_keeps_the_rate():
    card, clock = Card(ppm=-70.0), DacClock(RATE)
    card.play(clock, 20.0)
    clock.restart()
    assert clock.fit() is None
    assert not clock.usable
    assert clock.rate == pytest.approx(card.rate, rel=0.2e-6)
    card.shift_s += 0.001
    assert np.abs(card.play(clock, 1.0)).max() < 20 * US


def test_a_frame_counter_that_runs_backwards_is_a_discontinuity():
    card, clock = Card(), DacClock(RATE)
    card.play(clock, 2.0)
    card.shift_s = card.frame / card.rate
    card.frame = 0
    card.play(clock, 1.0)
    assert clock.counters.discontinuities == 1
    assert np.abs(card.play(clock, 1.0)).max() < 15 * US


LIES = {
    "zero": lambda r, dac, entered: -T0 / NS,
    "the entry itself": lambda r, dac, entered: entered,
    "another clock": lambda r, dac, entered: dac + 1.7e9,
    "long ago": lambda r, dac, entered: dac - 5.0,
}


@pytest.mark.parametrize("ppm", [-150.0, 60.0])
def test_where_the_entry_serves_a_crystal_far_from_nominal_costs_nothing(ppm):
    """What the prior of the rate is wrong by is no lateness."""
    card, clock = Card(ppm=ppm, bug=LIES["the entry itself"]), DacClock(RATE)
    card.play(clock, 40.0)
    assert np.abs(card.play(clock, 10.0)).max() < 5 * US
    assert clock.residual_ns < 100 * US


@pytest.mark.parametrize("lie", LIES)
def test_lies_are_found_out_and_the_entry_serves_instead(lie):
    card, clock = Card(bug=LIES[lie]), DacClock(RATE)
    card.play(clock, 5.0)
    assert clock.source is StampSource.ENTRY
    assert clock.counters.source_changes == 1
    assert clock.counters.implausible == clock.counters.stamps
    errors = card.play(clock, 25.0)
    assert np.abs(errors).max() < 60 * US  # callbacks are 100 µs late on average, never early
    assert clock.rate == pytest.approx(card.rate, rel=2e-6)


@pytest.mark.parametrize("by_ms", [-15.0, -3.0, 3.0, 15.0])
def test_where_the_entry_serves_lost_or_repeated_time_is_found_too(by_ms):
    card, clock = Card(bug=LIES["the entry itself"]), DacClock(RATE)
    card.play(clock, 40.0)
    card.shift_s += by_ms / 1000
    card.play(clock, 7.0)
    assert np.abs(card.play(clock, 30.0)).max() < 80 * US
    assert clock.rate == pytest.approx(card.rate, rel=5e-6)


@pytest.mark.parametrize("seed", range(4))
def test_where_the_entry_serves_time_lost_twice_does_not_tilt_the_line(seed):
    """The first loss, a small one, is taken for lateness, and what is early meanwhile for another rate."""
    card, clock = Card(seed=seed, ppm=100.0, block=4800, bug=LIES["zero"]), DacClock(RATE)
    card.play(clock, 1.5)
    card.shift_s += 1e-3
    card.play(clock, 3.4)
    card.shift_s += 20e-3
    card.play(clock, 16.0)
    assert clock.rate == pytest.approx(card.rate, rel=50e-6)


def test_callbacks_that_are_late_for_seconds_are_passed_over():
    card, clock = Card(bug=LIES["the entry itself"]), DacClock(RATE)
    card.play(clock, 40.0)
    card.shift_s += 0.003
    card.play(clock, 4.0)
    card.shift_s -= 0.003
    assert np.abs(card.play(clock, 30.0)).max() < 80 * US
    assert clock.counters.discontinuities == 0


def test_single_lies_are_passed_over():
    card, clock = Card(bug=lambda r, dac, entered: dac - 5.0 if r.random() < 0.1 else dac), DacClock(RATE)
    card.play(clock, 5.0)
    assert clock.source is StampSource.DEVICE
    assert clock.counters.implausible > 30
    assert rms(card.play(clock, 5.0)) < 1.5 * US


def test_a_device_that_mends_its_ways_is_believed_again():
    card, clock = Card(bug=LIES["zero"]), DacClock(RATE)
    card.play(clock, 2.0)
    assert clock.source is StampSource.ENTRY
    card.bug = None
    card.play(clock, 2.0)
    assert clock.source is StampSource.DEVICE
    assert rms(card.play(clock, 5.0)[-100:]) < 3 * US


def test_a_device_without_latency_may_stamp_the_entry():
    clock = DacClock(RATE)
    for i in range(100):
        at = T0 + i * 10_000_000
        clock.stamp(480 * i, at, at, 0)
    assert clock.source is StampSource.DEVICE
    assert clock.counters.implausible == 0


def test_everything_is_bounded():
    card, clock = Card(block=48), DacClock(RATE)  # a thousand callbacks a second
    card.play(clock, 2.0)
    assert clock.counters.surplus > 300
    assert clock.counters.surplus < clock.counters.stamps / 2
    card, clock = Card(block=4800), DacClock(RATE)
    card.play(clock, 60.0)
    assert len(clock._buckets) == module.WINDOW_BUCKETS
    assert rms(card.play(clock, 1.0)) < 3 * US


@given(
    frame=st.integers(0, 10**12),
    local_at=st.integers(0, 10**19),
    fraction=st.floats(-0.5, 0.5),
    rate=st.floats(8_000, 400_000),
    since=st.integers(-(10**9), 10**9),
)
def test_the_fit_inverts_itself(frame, local_at, fraction, rate, since):
    fit = DacFit(
        frame=frame,
        local_at=local_at,
        local_fraction_ns=fraction,
        rate=rate,
        sigma_ns=0.0,
        rate_sigma=0.0,
        residual_ns=0.0,
    )
    at, rest_ns = fit.local_from_dac_exact(frame + since)
    assert at == fit.local_from_dac(frame + since)
    assert abs(rest_ns) <= 0.5
    back, rest = fit.dac_from_local(at)
    assert abs(back + rest + rest_ns * rate / NS - frame - since) < 1e-3


@pytest.mark.parametrize("known_ppm", [0.0, -100.0])
def test_a_rate_that_another_crystal_had_is_let_go(known_ppm):
    card = Card(ppm=100.0)
    clock = DacClock(RATE, rate=RATE * (1 + known_ppm * 1e-6), rate_sigma=2e-6)
    card.play(clock, 3.0)
    assert clock.rate == pytest.approx(card.rate, rel=5e-6)
    assert rms(card.play(clock, 1.0)) < 15 * US


def test_a_right_rate_is_kept_and_helps_at_once():
    known = DacClock(RATE, rate=RATE * (1 + 61e-6), rate_sigma=2e-6)
    fresh = DacClock(RATE)
    for clock in (known, fresh):
        Card(seed=3).play(clock, 0.6)
    off = [abs(clock.rate / (RATE * (1 + 60e-6)) - 1) for clock in (known, fresh)]
    assert off[0] < 3e-6 < off[1]
    assert known.rate_sigma < 2.1e-6 < fresh.rate_sigma
