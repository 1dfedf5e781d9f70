"""The sockets of a host: the same four on each of its interfaces.

What is for all leaves on every interface.  What is for one listener leaves on the interface where it was heard last;
who was never heard is tried on the first.  A listener that two interfaces reach hears two addresses say the same, and
heeds the one that it found first.
"""

import contextlib
from collections.abc import Sequence

from radiosync.config import NetworkConfig
from radiosync.drivers.interfaces import Interface
from radiosync.drivers.send_queue import SendQueue
from radiosync.drivers.udp import Port, open_group, open_unicast
from radiosync.host.sender import Datagram
from radiosync.wire.groups import Address, tier_group
from radiosync.wire.limits import TIERS_MAX

HEARD_MAX = 4096  # addresses of which the interface is known, as many as listeners; the one first heard is forgotten


class Way:
    """One interface with its sockets.

    Raises NetworkError where a port is taken, or the interface does no multicast.
    """

    def __init__(self, network: NetworkConfig, interface: Interface) -> None:
        self.interface = interface
        ttl, control, clock = network.ttl, network.control_port, network.clock_port
        with contextlib.ExitStack() as opened:
            self.control = open_unicast(interface, control, group_ttl=ttl, dscp=network.dscp_clock)
            opened.callback(self.control.close)
            self.solicited = open_group(interface, network.group, control)
            opened.callback(self.solicited.close)
            self.clock = open_unicast(interface, clock, group_ttl=ttl, dscp=network.dscp_clock, stamps=True)
            opened.callback(self.clock.close)
            self.audio = open_unicast(interface, 0, group_ttl=ttl, dscp=network.dscp_audio)
            opened.callback(self.audio.close)
            self.close = opened.pop_all().close
        self.music = SendQueue(self.audio)


class HostPorts:
    """All sockets of a host, and the choice between them."""

    def __init__(self, network: NetworkConfig, interfaces: Sequence[Interface]) -> None:
        self._groups = [(tier_group(network.group, tier), network.port) for tier in range(TIERS_MAX)]
        self._heard: dict[str, Way] = {}
        with contextlib.ExitStack() as opened:
            ways = []
            for interface in interfaces:
                ways.append(Way(network, interface))
                opened.callback(ways[-1].close)
            self.close = opened.pop_all().close
        self.ways = tuple(ways)

    @property
    def asked(self) -> tuple[Port, ...]:
        """The sockets where listeners ask and report: their clocks' and the control ones."""
        return tuple(port for way in self.ways for port in (way.clock, way.control))

    @property
    def readable(self) -> tuple[Port, ...]:
        """All sockets where something may come."""
        return (*self.asked, *(way.solicited for way in self.ways))

    def receive(self, *, solicited: bool) -> list[tuple[bytes, Address]]:
        """Return what has come to the control sockets, and where `solicited` to the group's, with where from."""
        came: list[tuple[bytes, Address]] = []
        for way in self.ways:
            received = way.control.receive()
            if solicited:
                received += way.solicited.receive()
            if len(self.ways) > 1:
                for _, source in received:
                    self._note(source[0], way)
            came += received
        return came

    def send(self, datagram: Datagram) -> None:
        """Send a datagram to where it is for: at once if it is urgent, else behind what waits for room."""
        if datagram.to is None:
            to, ways = self._groups[datagram.tier], self.ways
        else:
            to, ways = datagram.to, (self._heard.get(datagram.to[0], self.ways[0]),)
        for way in ways:
            (way.control if datagram.urgent else way.music).send(datagram.data, to)

    def flush(self) -> None:
        """Send what waited for room, as far as there is some."""
        for way in self.ways:
            way.music.flush()

    @property
    def waiting(self) -> bool:
        """Whether something waits for room."""
        return any(way.music for way in self.ways)

    @property
    def delayed(self) -> int:
        """How many datagrams had to wait for room."""
        return sum(way.music.delayed for way in self.ways)

    @property
    def send_errors(self) -> int:
        """How many datagrams did not leave."""
        return sum(way.control.send_errors + way.music.lost for way in self.ways)

    def rejoin(self) -> None:
        """Join the groups anew, or a switch forgets that who looks for a host is to be heard here."""
        for way in self.ways:
            way.solicited.rejoin()

    def _note(self, ip: str, way: Way) -> None:
        if self._heard.get(ip) is way:
            return
        if len(self._heard) >= HEARD_MAX:
            del self._heard[next(iter(self._heard))]
        self._heard[ip] = way
