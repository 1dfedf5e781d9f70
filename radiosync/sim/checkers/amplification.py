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

Pair = tuple[str, Address]
"""A host's machine, and an address that speaks to it."""


class AmplificationChecker(Checker):
    """Counts bytes to and from each address at each host's sockets: what one is shown tells the other nothing."""

    def __init__(self, world: World, scenario: Scenario) -> None:
        super().__init__(world, scenario)
        self._from: dict[Pair, int] = {}
        self._to: dict[Pair, int] = {}
        self._cookies: dict[Pair, int] = {}
        """What was sent last to each address that has not proved itself."""
        self._proved: set[Pair] = set()
        world.network.taps.append(self._sent)
        world.network.arrivals.append(self._arrived)

    def _sent(self, data: bytes, source: Address, to: Address) -> None:
        pair = source[0], to
        if pair in self._proved or source[0] not in self.world.host_ips or is_group(to):
            return
        if kind_of(data) == Kind.ANNOUNCE and isinstance(answer := _decoded(data), Announce):
            self._cookies[pair] = answer.cookie
        self._to[pair] = self._to.get(pair, 0) + len(data)
        if self._to[pair] > AMPLIFICATION_MAX * self._from.get(pair, 0):
            self.complain(f"{self._to[pair]} bytes to {to}, from where {self._from.get(pair, 0)} came")

    def _arrived(self, data: bytes, source: Address, to: Address) -> None:
        pair = to[0], source
        if pair in self._proved or to[0] not in self.world.host_ips:
            return
        self._from[pair] = self._from.get(pair, 0) + len(data)
        message = _decoded(data)
        if isinstance(message, Nack | Report | Leave) and message.cookie == self._cookies.get(pair):
            self._proved.add(pair)


def _decoded(data: bytes) -> Message | None:
    try:
        return read(data)
    except RemoteProtocolError:
        return None
