"""A program's event loop in virtual time: it turns when something arrives or is due, never twice at once.

Real loops wake up late, take time for a turn, and stop altogether for a while (a stall: the machine swaps, the
interpreter collects garbage, somebody presses Ctrl-Z).  While a process is stalled its sockets fill, and overflow.
"""

from collections.abc import Callable
from random import Random

from radiosync.sim.scheduler import Scheduler, TrueNs
from radiosync.units import NS_PER_MS, NS_PER_US

TURN_NS = 20 * NS_PER_US  # a turn of the loop with little to do; also keeps a loop that never waits from stopping time
LATE_NS = 30 * NS_PER_US  # mean lateness of a wake-up on an idle machine
NEVER = TrueNs(1 << 80)
WAIT_NS_MAX = 250 * NS_PER_MS  # the real loops look around at least so often


class Process:
    """Calls `turn` when it should; `turn` returns when it wants to be called again.

    `turns` counts the calls, `woken` those before which something had arrived; the others the loop wanted itself.
    """

    def __init__(self, scheduler: Scheduler, rng: Random, turn: Callable[[TrueNs], TrueNs], late_ns: int) -> None:
        self._scheduler = scheduler
        self._rng = rng
        self._turn = turn
        self._late_ns = late_ns
        self._plan_number = 0
        self._planned_at = NEVER
        """When the next turn is planned; a plan that another one has replaced has another number."""
        self._asleep_until = TrueNs(0)
        self._stopped = False
        self._arrived = False
        self.turns = 0
        self.woken = 0

    def wake(self) -> None:
        """Turn soon: something has arrived."""
        self._arrived = True
        self._plan(self._scheduler.now)

    def stall(self, until: TrueNs) -> None:
        """Do nothing before `until`."""
        self._asleep_until = max(self._asleep_until, until)
        if self._planned_at < until:
            self._planned_at = NEVER
            self._plan(until)

    def stop(self) -> None:
        """Never turn again."""
        self._stopped = True

    def _plan(self, at: TrueNs) -> None:
        at = max(at, self._asleep_until)
        late_ns = self._late_ns
        if self._planned_at <= at + late_ns or self._stopped:
            return
        self._planned_at = TrueNs(at + round(self._rng.expovariate(1.0) * late_ns))
        self._plan_number += 1
        self._scheduler.call(self._planned_at, self._run, self._plan_number)

    def _run(self, plan: int) -> None:
        if plan != self._plan_number or self._stopped:
            return
        now = self._scheduler.now
        self._planned_at = NEVER
        self.turns += 1
        self.woken += self._arrived
        self._arrived = False
        self._asleep_until = TrueNs(now + TURN_NS)
        again_at = self._turn(now)
        self._plan(min(again_at, TrueNs(now + WAIT_NS_MAX)))
