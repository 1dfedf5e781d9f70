"""Listeners ask no oftener than they may, and never for what is due already, or will never be heard.

When something is due is judged by what the listener has been told of the timeline: who has not heard of a jump asks for
what that leaves out, rightly.
"""

import math
from collections import deque

from radiosync.repair.request import TICK_NS
from radiosync.sim.checkers.base import Checker
from radiosync.sim.nodes import HostNode, ListenerNode
from radiosync.sim.reading import kind_of, read
from radiosync.sim.scenario import Scenario
from radiosync.sim.told import UNHURRIED
from radiosync.sim.world import World
from radiosync.units import NS_PER_S, MediaFrame
from radiosync.wire.groups import Address
from radiosync.wire.messages import SEQ_BITS, Kind, Nack, extend_seq

RATE_MAX = NS_PER_S // TICK_NS + 2  # datagrams in a second, and one at either end
LATE_NS_MAX = 5_000_000  # a loop's lateness, and what the clocks may be apart


class RequestChecker(Checker):
    """Listens to the NACKs as they leave."""

    def __init__(self, world: World, scenario: Scenario) -> None:
        super().__init__(world, scenario)
        self._sent: dict[Address, deque[int]] = {}
        self.nacks = 0
        world.network.taps.append(self._tap)

    def _tap(self, data: bytes, source: Address, _to: Address) -> None:
        if kind_of(data) != Kind.NACK or (node := self._honest(source)) is None:
            return
        self.nacks += 1
        times = self._sent.setdefault(source, deque(maxlen=RATE_MAX))
        if len(times) == RATE_MAX and self.world.now - times[0] < NS_PER_S:
            self.complain(f"{node}: more than {RATE_MAX} NACKs in a second")
        times.append(self.world.now)
        self._in_time(node, read(data))

    def _honest(self, source: Address) -> str | None:
        return next((n.machine.name for n in self.world.listeners if n.control_address == source), None)

    def _in_time(self, name: str, nack: object) -> None:
        host = self.world.host_of(nack.session) if isinstance(nack, Nack) else None
        if host is None or not isinstance(nack, Nack) or self.unsettled(name, host.machine.name):
            return
        sender, unsure_ns = host.session.sender, LATE_NS_MAX + self._unsure_ns(name, host)
        told, now = self._node(name).told(nack.session), self.world.now
        for entry in nack.entries:
            first = extend_seq(entry.seq, sender.next_seq_sent)
            for seq in range(first, first + max(entry.run, 1)):
                chunk = sender.history.get(seq)
                if chunk is None or seq % (1 << SEQ_BITS) not in told.chunks:
                    continue  # of which nothing has come, it must reckon when it is due, rather late than early
                begin, end = chunk.header.first_frame, MediaFrame(chunk.header.first_frame + chunk.header.frames)
                over_at = told.over_at(begin, end, host.source.records, host.source.format.rate)
                if over_at is None:
                    self.complain(f"{name}: asks for chunk {seq}, which it has been told is left out")
                elif over_at != UNHURRIED and now > (due_at := host.machine.clock.true(over_at)) + unsure_ns:
                    self.complain(f"{name}: asks for chunk {seq}, {(now - due_at) / 1e6:.0f} ms after its end")

    def _node(self, name: str) -> ListenerNode:
        return next(node for node in reversed(self.world.listeners) if node.machine.name == name)

    def _unsure_ns(self, name: str, host: HostNode) -> float:
        """Return what a listener may be wrong about the time by."""
        node, now = self._node(name), self.world.now
        stream, clock = node.session.stream, node.machine.clock
        if stream is None:
            return 0.0
        if stream.clock.mapping() is None:
            return math.inf  # it goes by an announcement, which may have stood in a queue for seconds
        mapping = stream.schedule.mapping
        # It may have slept, and nobody has answered since.
        return mapping.bound_ns_at(clock.local(now)) + self.shifted_ns(node, host, clock.true(mapping.local_at), now)
