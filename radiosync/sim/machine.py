"""What a program of the simulator runs on."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from radiosync.config import Config
from radiosync.listener.exact import BLOCK_NS
from radiosync.sim.clocks import SimClock
from radiosync.sim.network import Network
from radiosync.sim.process import LATE_NS, Process
from radiosync.sim.scheduler import Scheduler, TrueNs
from radiosync.sim.trace import Trace
from radiosync.units import NS_PER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine: its clock, its place in the network, and what its programs are told of them."""

    name: str
    ip: str
    config: Config
    clock: SimClock
    scheduler: Scheduler
    network: Network
    trace: Trace
    rng: Random
    kernel_stamps: bool = True
    """Whether clock datagrams are stamped as they arrive, or when the loop comes to them."""
    block_ns: int = BLOCK_NS
    """How much an exact sink is given at a time."""

    def process(self, turn: Callable[[TrueNs], TrueNs]) -> Process:
        """Return the event loop of a program on this machine."""
        return Process(self.scheduler, self.rng, turn, LATE_NS)

    def true(self, wake_at: int, now: int, true_now: TrueNs) -> TrueNs:
        """Return the true instant at which its clock shows `wake_at`; `now` and `true_now` are the present one."""
        if wake_at <= now:
            return true_now
        # No loop sleeps longer than this, and a clock that wanders must not be reckoned ahead for years.
        return self.clock.true(min(wake_at, now + NS_PER_S))
