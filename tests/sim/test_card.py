"""The simulated sound card: what is wrong with it is wrong by as much as told."""

from random import Random

import numpy as np
import pytest

from radiosync.config import Config
from radiosync.sim.card import LATE_NS, WILD_NS, DacSettings, SimDac
from radiosync.sim.clocks import ClockSettings, SimClock
from radiosync.sim.scheduler import Scheduler, TrueNs
from radiosync.sim.trace import Trace
from radiosync.units import NS_PER_MS, NS_PER_S, LocalNs

RATE = 8000


class Opened:
    """A card that has been opened, and whose program looks after it every 20 ms, but for some time."""

    def __init__(self, away_s=(0.0, 0.0), clock_ppm=0.0, **settings):
        self.scheduler = Scheduler()
        self.clock = SimClock(ClockSettings(offset_ns=5 * NS_PER_S, skew_ppm=clock_ppm), Random(1))
        self.card = SimDac(
            self.scheduler, Trace(), self.clock, DacSettings(**settings), Config.load(None, {}), Random(2)
        )
        self.card._open(RATE)
        self.stamps = []
        for step in range(500):
            if not away_s[0] <= step / 50 < away_s[1]:
                self.scheduler.at(TrueNs(step * 20 * NS_PER_MS), self._fill)

    def _fill(self):
        self.stamps += self.card._stamps
        self.card.fill(LocalNs(self.clock.local(self.scheduler.now)))

    def run(self, seconds):
        self.scheduler.run(TrueNs(round(seconds * NS_PER_S)))

    @property
    def at(self):
        return np.array(self.card.record.at)


@pytest.mark.parametrize("ppm", [-200.0, 0.0, 200.0])
def test_its_crystal_and_latency_and_block_are_as_told(ppm):
    opened = Opened(skew_ppm=ppm, latency_ns=30 * NS_PER_MS, block_frames=40)
    opened.run(9.0)
    assert opened.at[0] == 30 * NS_PER_MS
    block_ns = np.diff(opened.at).mean()
    assert block_ns == pytest.approx(40 / RATE * NS_PER_S * (1 - ppm * 1e-6), rel=1e-6)


def late_ns(opened):
    """Return how much later than its frame's true time each stamp says that it sounds, and the true times."""
    true = {40 * number: at for number, at in enumerate(opened.card.record.at)}
    return np.array([stamp - opened.clock.local(true[frame]) for frame, stamp, _ in opened.stamps])


def test_its_stamps_are_as_good_as_told():
    opened = Opened(block_frames=40, stamp_jitter_ns=2000, clock_ppm=50.0)
    opened.run(5.0)
    assert len(opened.stamps) > 900
    assert np.std(late_ns(opened)) == pytest.approx(2000, rel=0.1)
    assert abs(late_ns(opened).mean()) < 300


def test_its_stamps_lie_as_told():
    zero, copied, late, wild = (
        Opened(block_frames=40, stamps=stamps, stamp_jitter_ns=0) for stamps in ("zero", "copied", "late", "wild")
    )
    for opened in (zero, copied, late, wild):
        opened.run(5.0)
    assert {stamp for _, stamp, _ in zero.stamps} == {0}
    assert all(stamp == entered for _, stamp, entered in copied.stamps)
    lateness = late_ns(late)
    assert 0.02 < np.mean(lateness > 0) < 0.09
    assert NS_PER_MS < lateness.max() < LATE_NS
    assert np.abs(late_ns(wild)).max() > WILD_NS // 2


def test_its_callbacks_come_late():
    opened = Opened(block_frames=40, callback_late_ns=300_000)
    opened.run(5.0)
    entered = np.array([entered - 5 * NS_PER_S for _, _, entered in opened.stamps])
    due = opened.at[: len(entered)] - 40 * NS_PER_MS
    assert (entered - due).mean() == pytest.approx(300_000, rel=0.15)


def test_who_does_not_fill_it_in_time_makes_it_play_silence():
    good, away = Opened(), Opened(away_s=(2.0, 3.0))
    for opened in (good, away):
        opened.run(4.0)
        assert len(opened.at) > 390, "it goes on"
    assert good.card._ring.underrun_frames == 0
    assert 0.7 * RATE < away.card._ring.underrun_frames < RATE


def test_it_is_unplugged_and_comes_back():
    opened = Opened()
    opened.run(2.0)
    opened.card.unplug(TrueNs(5 * NS_PER_S))
    opened.run(9.0)
    gap_ns = np.diff(opened.at)
    assert 3 * NS_PER_S < gap_ns.max() < 5 * NS_PER_S
    assert np.count_nonzero(gap_ns > 20 * NS_PER_MS) == 1
    assert opened.at[-1] > 8.9 * NS_PER_S


def test_its_latency_jumps_and_it_stands_still_with_its_machine():
    opened = Opened()
    opened.run(2.0)
    opened.card.delay(25 * NS_PER_MS)
    opened.run(4.0)
    opened.card.suspend(TrueNs(5 * NS_PER_S))
    opened.run(7.0)
    odd = np.diff(opened.at)[np.abs(np.diff(opened.at) - 10 * NS_PER_MS) > 1000]
    assert sorted(odd.tolist()) == pytest.approx([35 * NS_PER_MS, NS_PER_S + 10 * NS_PER_MS], abs=5 * NS_PER_MS)
