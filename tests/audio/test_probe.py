"""The calibration's signal: what it holds when, and at which level."""

from itertools import pairwise

import numpy as np
import pytest

from radiosync.audio.probe import (
    FORMAT,
    HIGH_HZ,
    LEAD_S,
    LEVEL,
    LOW_HZ,
    SWEEP_AT_S,
    SWEEP_S,
    TURN_S,
    make_plan,
    play,
    sweep,
)


def test_everybody_has_one_turn_a_round_to_and_fro():
    plan = make_plan(3, 4)
    assert [turn.listener for turn in plan.turns] == [None, 0, 1, 2, None, 2, 1, 0] * 2
    frames = [plan.markers[0], *(turn.frame for turn in plan.turns), plan.markers[1]]
    assert {b - a for a, b in pairwise(frames)} == {plan.turn_frames} == {TURN_S * plan.rate}
    for listener in range(3):  # a recorder's drift moves all by the same
        assert np.mean([turn.frame for turn in plan.turns if turn.listener == listener]) == np.mean(
            [plan.turns[1].frame, plan.turns[-1].frame]
        )


def test_the_sound_is_where_the_plan_says():
    plan = make_plan(2, 2)
    sound = play(plan)
    assert (sound.shape, sound.dtype) == ((plan.frames, 1), FORMAT.sample.dtype)
    assert not sound[: round(LEAD_S * plan.rate)].any()
    at, length = round(SWEEP_AT_S * plan.rate), round(SWEEP_S * plan.rate)
    places = [turn.frame for turn in plan.turns] + list(plan.markers)
    for place in places:
        turn = sound[place : place + plan.turn_frames, 0]
        assert not turn[:at].any()
        assert turn[at : at + length].any()
        assert not turn[at + length :].any()
        assert np.abs(turn).max() == pytest.approx(LEVEL * 32767, rel=0.01)


def test_a_marker_is_not_taken_for_a_turn():
    rising, falling = sweep(48_000), sweep(48_000, falling=True)

    def peak(a, b):
        return np.abs(np.fft.irfft(np.fft.rfft(a, 1 << 17) * np.conj(np.fft.rfft(b, 1 << 17)))).max()

    assert peak(rising, falling) < 0.05 * peak(rising, rising)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 96_000])
def test_a_sweep_holds_what_its_rate_can(rate):
    power = np.abs(np.fft.rfft(sweep(rate))) ** 2
    hz = np.fft.rfftfreq(rate, 1 / rate)
    inside = (hz > LOW_HZ / 2) & (hz < min(HIGH_HZ * 1.05, 0.46 * rate))
    assert power[~inside].sum() < 1e-3 * power.sum()
