"""Listeners ask no oftener than they may, and never for what is due already."""

from collections import deque

from radiosync.repair.request import TICK_NS
from radiosync.sim.checkers.base import Checker
from radiosync.sim.nodes import ListenerNode
from radiosync.sim.reading import read
from radiosync.sim.scenario import Scenario
from radiosync.sim.world import World
from radiosync.units import NS_PER_S
from radiosync.wire.groups import Address
from radiosync.wire.messages import Kind, Nack, extend_seq

KIND = slice(3, 4)
NACK = bytes([Kind.NACK])
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
        if data[KIND] != NACK or (node := self._honest(source)) is None:
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
        session = host.session
        if not session.transport.newest.playing or session.transport.preparation is not None or len(host.records) > 2:
            return  # deadlines move with the timeline, of which the listener may not have heard yet
        unsure_ns = LATE_NS_MAX + self._unsure_ns(name)
        for entry in nack.entries:
            last = extend_seq(entry.seq, session.sender.next_seq_sent) + max(entry.run, 1) - 1
            chunk = session.sender.history.get(last)
            if chunk is None or self._reckons(name, last):
                continue
            due_at = host.play_at(chunk.header.first_frame + chunk.header.frames)
            if self.world.now > due_at + unsure_ns:
                self.complain(f"{name}: asks for chunk {last}, {(self.world.now - due_at) / 1e6:.0f} ms after its end")

    def _node(self, name: str) -> ListenerNode:
        return next(node for node in reversed(self.world.listeners) if node.machine.name == name)

    def _reckons(self, name: str, seq: int) -> bool:
        """Say whether a listener must reckon when a chunk is due, rather late than early: nothing of it has come."""
        stream = self._node(name).session.stream
        return stream is not None and stream.buffer.header(seq) is None and stream.requests.wants(seq)

    def _unsure_ns(self, name: str) -> float:
        """Return what a listener may be wrong about the time by: much, before it has asked for it."""
        node = self._node(name)
        stream = node.session.stream
        return 0.0 if stream is None else stream.schedule.mapping.bound_ns_at(node.machine.clock.local(self.world.now))
