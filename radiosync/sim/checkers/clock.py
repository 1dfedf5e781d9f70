"""What a listener says of the host's clock is true: the bound always, and sigma on the average.

The bound must hold at every instant.  Sigma is a standard deviation, of an error that goes on for a minute: of all
looks at all listeners few may lie beyond three of them, the fewer the more minutes of listeners there are.  A constant
asymmetry of the network is not in sigma, so that it is left out here, as the links have it.

Both take the clocks for straight.  After one was set by some amount, or slewed or suspended, the error may exceed the
bound by as much, while the listener's line still rests on an exchange of before that (`ClockFilter.since`, within its
window), and a line that was learnt while a clock was slewed, or from both sides of a step, goes on like that until
exchanges contradict it.  Where all that queue lie on one side, ten seconds of one a second are few enough for that:
how soon a step smaller than the scatter can be known is chance.  Meanwhile sigma is not asked for.
"""

import math

from radiosync.clock.filter import RTT_NS_MAX, WINDOW_S_MAX
from radiosync.clock.mapping import ClockMapping
from radiosync.sim.checkers.base import Checker
from radiosync.sim.nodes import HostNode, ListenerNode
from radiosync.sim.scenario import Scenario
from radiosync.sim.scheduler import TrueNs
from radiosync.sim.world import World
from radiosync.units import NS_PER_MS, NS_PER_S, LocalNs, ns_from_s

ROUNDING_NS = 200.0  # clocks that wander do so within a second too, which no bound of an ageing crystal foresees
SKEW_MAX = 200e-6  # of what true time is on a host's clock, in which errors are
SIGMAS = 3.0
WITHIN_SHARE = 0.95  # of infinitely many: the delays of real networks are no Gaussian's
LUCK_SHARE = 1.5  # of one minute of one listener; of more it goes with the square root
WITHIN_SHARE_MIN = 0.5
LOOKS_PER_MINUTE = 600
GOES_ON_NS_MAX = 10 * NS_PER_S


class ClockChecker(Checker):
    """Compares each listener's mapping with the truth."""

    def __init__(self, world: World, scenario: Scenario) -> None:
        super().__init__(world, scenario)
        self.looks = 0
        self.within = 0
        self._complained: set[str] = set()

    def look(self) -> None:
        """Compare the bounds, and count the sigmas."""
        for node, host in self.following():
            stream, name = node.session.stream, node.machine.name
            mapping = None if stream is None else stream.clock.mapping()
            if host.session.finished:  # nobody answers any more
                continue
            if mapping is None or stream is None or name in self._complained:
                continue
            now = node.machine.clock.local(self.world.now)
            error_ns = mapping.host_from_local(now) - host.machine.clock.host(self.world.now)
            bound_ns, shifted_ns = mapping.bound_ns_at(now), self._shifted_ns(node, host, mapping, stream.clock.since)
            if abs(error_ns) > bound_ns + shifted_ns + ROUNDING_NS:
                self._complained.add(name)
                shifted = f", and steps of {shifted_ns:.0f} since its oldest exchange" if shifted_ns else ""
                self.complain(f"{name}: the clock is {error_ns} ns off, with a bound of {bound_ns:.0f}{shifted}")
            if not shifted_ns and stream.clock_ready(now):
                self.looks += 1
                self.within += abs(error_ns - self._asymmetry_ns(node, host)) <= SIGMAS * mapping.sigma_ns_at(now)

    def finish(self) -> None:
        """Judge sigma over everything."""
        minutes = self.looks / LOOKS_PER_MINUTE
        if minutes < 1.0:
            return  # neighbours are nearly equal, so that this tells nothing
        share = self.within / self.looks
        if share < max(WITHIN_SHARE_MIN, WITHIN_SHARE - LUCK_SHARE / math.sqrt(minutes)):
            self.complain(f"{share:.0%} of the clock's errors are within three of its sigmas")

    def _shifted_ns(self, node: ListenerNode, host: HostNode, mapping: ClockMapping, since: LocalNs | None) -> float:
        """Return by how much both clocks were set since the oldest exchange that `mapping` can rest on."""
        shifts = self.world.shifts
        both = (*shifts.get(node.machine.name, ()), *shifts.get(host.machine.name, ()))
        if not both:
            return 0.0
        oldest_at = LocalNs(mapping.local_at - ns_from_s(WINDOW_S_MAX) - RTT_NS_MAX)
        began = node.machine.clock.true(oldest_at if since is None else max(since, oldest_at))
        newest_at, now = node.machine.clock.true(mapping.local_at), self.world.now
        learnt = [shift.end for shift in both if shift.begin <= newest_at and shift.end >= began]
        goes_on_ns = min(max(0, now - min(learnt, default=now)), GOES_ON_NS_MAX)
        shifted_ns = self.shifted_ns(node, host, began, now)
        return (1.0 + SKEW_MAX) * (shifted_ns + goes_on_ns * abs(mapping.skew - self._skew(node, host)))

    def _skew(self, node: ListenerNode, host: HostNode) -> float:
        """Return the truth of the skew, over the last moment."""
        before, now = TrueNs(self.world.now - NS_PER_MS), self.world.now
        local, of_host = node.machine.clock, host.machine.clock
        return (of_host.host(now) - of_host.host(before)) / max(1, local.local(now) - local.local(before)) - 1.0

    def _asymmetry_ns(self, node: ListenerNode, host: HostNode) -> float:
        network = self.world.network
        mine, its = network.link(node.machine.ip), network.link(host.machine.ip)
        up_ns = mine.up.settings.delay_ns + its.down.settings.delay_ns
        down_ns = its.up.settings.delay_ns + mine.down.settings.delay_ns
        return (up_ns - down_ns) / 2
