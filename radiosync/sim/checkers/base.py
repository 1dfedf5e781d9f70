"""What all checkers have in common."""

import math
from collections.abc import Iterator

from radiosync.sim.nodes import HostNode, ListenerNode
from radiosync.sim.scenario import Scenario
from radiosync.sim.world import World
from radiosync.units import NS_PER_S, ns_from_s

COMPLAINTS_MAX = 5  # of one checker; the rest are counted
UNSETTLED_NS = (
    20 * NS_PER_S
)  # after a clock was set or stood still, until what a listener says of it must be true again


class Checker:
    """Looks at a world while it runs, and says at its end what was wrong; it changes nothing."""

    def __init__(self, world: World, scenario: Scenario) -> None:
        self.world = world
        self.scenario = scenario
        self._said: list[str] = []
        self._more = 0

    def look(self) -> None:
        """Look at the world as it is now; called every tenth of a second."""

    def finish(self) -> None:
        """Look at the world as it has ended."""

    def complain(self, complaint: str) -> None:
        """Say that something is wrong."""
        if len(self._said) < COMPLAINTS_MAX:
            self._said.append(f"{self.world.now / NS_PER_S:.1f} s: {complaint}")
        else:
            self._more += 1

    def complaints(self) -> Iterator[str]:
        """Yield what was wrong."""
        yield from self._said
        if self._more:
            yield f"and {self._more} more like that"

    @property
    def calm_at(self) -> int | None:
        """When all must be well again: some time after the last fault; None where no such time is planned."""
        calm_s, within_s = self.scenario.calm_from_s, self.scenario.limits.converge_s_max
        if calm_s is None:
            return None
        # Who played on while its host slept has nothing left to play until the host has come to the same place.
        sleeps = [fault for fault in self.scenario.faults if fault.kind == "host_suspend"]
        caught_up_s = max((fault.at_s + 2 * fault.for_s for fault in sleeps), default=0.0)
        return ns_from_s(max(calm_s + within_s, caught_up_s + within_s / 2))

    def following(self) -> Iterator[tuple[ListenerNode, HostNode]]:
        """Yield the listeners that follow a host, with that host."""
        for node in self.world.listeners:
            stream = node.session.stream
            host = None if node.stopped or stream is None else self.world.host_of(stream.session)
            if host is not None:
                yield node, host

    def disturbed_at(self, *names: str) -> int:
        """Return when the last of these machines' clocks was set, or had stood still; long ago if none ever was."""
        return max(self.world.disturbed.get(name, -UNSETTLED_NS) for name in names)

    def unsettled(self, *names: str) -> bool:
        """Say whether one of these machines' clocks has been set, or stood still, a short while ago."""
        return bool(self.world.disturbed) and self.world.now - self.disturbed_at(*names) < UNSETTLED_NS

    def unsettled_ever(self, *names: str) -> bool:
        """Say whether one of these machines' clocks has ever been set, or stood still."""
        return any(name in self.world.disturbed for name in names)

    def shifted_ns(self, node: ListenerNode, host: HostNode, since: int, until: int) -> float:
        """Return by how much the clocks of both were set, or went otherwise than by themselves, between true times."""
        names = (node.machine.name, host.machine.name)
        return math.fsum(shift.within(since, until) for name in names for shift in self.world.shifts.get(name, ()))

    def misled(self, node: ListenerNode, host: HostNode) -> bool:
        """Say whether a clock was set, or stood still, when there was no host any more to learn the time from."""
        mapping = node.streams[-1].clock.mapping() if node.streams else None
        if mapping is None or not host.session.finished:
            return False
        return self.shifted_ns(node, host, node.machine.clock.true(mapping.local_at), self.world.now) > 0.0
