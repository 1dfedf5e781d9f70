"""A host sends to an address that nobody has proved no more than three times what came from there.

An address has proved itself once it shows the cookie that was sent to it (RFC 9000 section 8).
"""

from radiosync.errors import RemoteProtocolError
from radiosync.sim.checkers.base import Checker
from radiosync.sim.network import is_group
from radiosync.sim.reading import kind_of, read
from radiosync.sim.scenario import Scenario
from radiosync.sim.world import World
from radiosync.wire.groups import Address
from radiosync.wire.messages import Announce, Kind, Leave, Message, Nack, Report

AMPLIFICATION_MAX = 3


class AmplificationChecker(Checker):
    """Counts bytes to and from each address at the host's sockets."""

    def __init__(self, world: World, scenario: Scenario) -> None:
        super().__init__(world, scenario)
        self._from: dict[Address, int] = {}
        self._to: dict[Address, int] = {}
        self._cookies: dict[Address, int] = {}
        """What was sent last to each address that has not proved itself."""
        self._proved: set[Address] = set()
        world.network.taps.append(self._sent)
        world.network.arrivals.append(self._arrived)

    def _sent(self, data: bytes, source: Address, to: Address) -> None:
        if to in self._proved or source[0] not in self.world.host_ips or is_group(to):
            return
        if kind_of(data) == Kind.ANNOUNCE and isinstance(answer := _decoded(data), Announce):
            self._cookies[to] = answer.cookie
        self._to[to] = self._to.get(to, 0) + len(data)
        if self._to[to] > AMPLIFICATION_MAX * self._from.get(to, 0):
            self.complain(f"{self._to[to]} bytes to {to}, from where {self._from.get(to, 0)} came")

    def _arrived(self, data: bytes, source: Address, to: Address) -> None:
        if source in self._proved or to[0] not in self.world.host_ips:
            return
        self._from[source] = self._from.get(source, 0) + len(data)
        message = _decoded(data)
        if isinstance(message, Nack | Report | Leave) and message.cookie == self._cookies.get(source):
            self._proved.add(source)


def _decoded(data: bytes) -> Message | None:
    try:
        return read(data)
    except RemoteProtocolError:
        return None
