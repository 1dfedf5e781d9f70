from random import Random

import pytest

from radiosync.sim.process import Process
from radiosync.sim.scheduler import Scheduler, TrueNs
from radiosync.units import NS_PER_MS, NS_PER_S


@pytest.fixture
def scheduler():
    return Scheduler()


def test_turns_are_told_apart_by_whether_something_had_arrived(scheduler):
    process = Process(scheduler, Random(1), lambda now: TrueNs(now + 100 * NS_PER_MS), 0)
    process.wake()
    scheduler.run(NS_PER_S)
    assert (process.turns, process.woken) == (10, 1)
    for _ in range(2):  # one turn takes in both
        scheduler.at(scheduler.now + 50 * NS_PER_MS, process.wake)
    scheduler.run(scheduler.now + 60 * NS_PER_MS)
    assert (process.turns, process.woken) == (12, 2)


def test_a_loop_that_spins_is_not_woken(scheduler):
    process = Process(scheduler, Random(1), lambda now: now, 0)
    process.wake()
    scheduler.run(NS_PER_S)
    assert process.turns > 10_000
    assert process.woken == 1
