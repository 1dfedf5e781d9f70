"""What must hold of every run, each in a module of its own; all of it is checked always.

`outcome` judges a finished run by its scenario's limits.  The others watch while it runs.
"""

from collections.abc import Iterator

from radiosync.sim.checkers.amplification import AmplificationChecker
from radiosync.sim.checkers.base import Checker
from radiosync.sim.checkers.clock import ClockChecker
from radiosync.sim.checkers.epochs import EpochChecker
from radiosync.sim.checkers.liveness import LivenessChecker
from radiosync.sim.checkers.memory import MemoryChecker
from radiosync.sim.checkers.outcome import JUDGES
from radiosync.sim.checkers.positions import PositionChecker
from radiosync.sim.checkers.queues import QueueChecker
from radiosync.sim.checkers.repairs import RepairChecker
from radiosync.sim.checkers.requests import RequestChecker
from radiosync.sim.checkers.steering import SteeringChecker
from radiosync.sim.scenario import Scenario
from radiosync.sim.world import World

CHECKERS: tuple[type[Checker], ...] = (
    PositionChecker,
    EpochChecker,
    ClockChecker,
    QueueChecker,
    MemoryChecker,
    RequestChecker,
    RepairChecker,
    AmplificationChecker,
    LivenessChecker,
    SteeringChecker,
)


class Checks:
    """All checkers of one run."""

    def __init__(self, world: World, scenario: Scenario) -> None:
        self._world = world
        self._scenario = scenario
        self.checkers = [kind(world, scenario) for kind in CHECKERS]

    def look(self) -> None:
        """Let everybody look at the world as it is now."""
        for checker in self.checkers:
            checker.look()

    def complaints(self) -> Iterator[str]:
        """Yield what was wrong with the run, which has ended."""
        for judge in JUDGES:
            yield from judge(self._world, self._scenario)
        for checker in self.checkers:
            checker.finish()
            yield from checker.complaints()
