"""A network with true multicast: one send, and every receiver has a luck of its own.

Each node hangs on a link with two directions.  A datagram passes the sender's `up` once, where a loss is common to all
receivers, and then the `down` of each receiver, drawn independently (`link.py`).  Every direction has its own random
numbers, so that a change at one listener leaves the luck of all others as it was.
"""

from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from radiosync.sim.link import Direction, healed
from radiosync.sim.scheduler import Scheduler, TrueNs
from radiosync.sim.trace import Trace
from radiosync.wire.groups import Address

Tap = Callable[[bytes, Address, Address], None]
"""Is told data, source and target of a datagram."""

RECEIVE_DATAGRAMS_MAX = 92  # what Linux's smallest default receive buffer (208 KiB) holds of 1200-byte datagrams
EPHEMERAL_PORT_MIN = 49_152


def is_group(address: Address) -> bool:
    """Say whether `address` is a group's (RFC 1112: class D)."""
    return address[0].partition(".")[0].isdigit() and 224 <= int(address[0].partition(".")[0]) < 240


@dataclass(slots=True)
class Link:
    """A node's two directions."""

    up: Direction
    down: Direction


@dataclass(slots=True, eq=False)
class Port:
    """A socket of a node; what has arrived waits in it as (data, source, true time), at most `datagrams_max`."""

    network: "Network"
    address: Address
    wake: Callable[[], None]
    group: Address | None = None
    datagrams_max: int = RECEIVE_DATAGRAMS_MAX
    dropped: int = 0
    forgotten: bool = False
    """Whether the switch has forgotten that it is a member of its group."""
    joined_at: int = 0
    """When it reported last that it is one."""
    closed: bool = False
    inbox: deque[tuple[bytes, Address, TrueNs]] = field(default_factory=deque)

    def send(self, data: bytes, to: Address) -> None:
        """Send a datagram."""
        self.network.send(data, self.address, to)

    def receive(self) -> Collection[tuple[bytes, Address, TrueNs]]:
        """Take what has arrived."""
        if not self.inbox:
            return ()
        taken, self.inbox = self.inbox, deque()
        return taken

    def deliver(self, data: bytes, source: Address, at: TrueNs) -> None:
        """Put a datagram into the receive buffer, or drop it where that is full."""
        if len(self.inbox) >= self.datagrams_max:
            self.dropped += 1
            return
        self.inbox.append((data, source, at))
        self.wake()

    def rejoin(self) -> None:
        """Leave the group and join it again."""
        self.forgotten = False
        self.joined_at = self.network.now

    def close(self) -> None:
        """Receive nothing any more."""
        self.network.close(self)


class Network:
    """Everything between the nodes."""

    def __init__(self, scheduler: Scheduler, trace: Trace) -> None:
        self._scheduler = scheduler
        self._trace = trace
        self._links: dict[str, Link] = {}
        self._ports: dict[Address, Port] = {}
        self._members: dict[Address, list[Port]] = {}
        self._renamed: dict[str, str] = {}
        self._next_port = EPHEMERAL_PORT_MIN
        self.taps: list[Tap] = []
        """Who hears everything as it is sent, and from where in truth ..."""
        self.arrivals: list[Tap] = []
        """... and as it is delivered."""
        self.membership_ns: int | None = None
        """How long a membership lasts without a report; None for ever."""
        self.delivered = 0
        self.unreachable = 0

    @property
    def now(self) -> TrueNs:
        """The true time."""
        return self._scheduler.now

    def attach(self, ip: str, up: Direction, down: Direction) -> None:
        """Connect a node."""
        self._links[ip] = Link(up, down)

    def link(self, ip: str) -> Link:
        """Return the link of a node."""
        return self._links[self.address_of(ip)]

    def address_of(self, ip: str) -> str:
        """Return the address that the node has now that was first at `ip`."""
        return self._renamed.get(ip, ip)

    def heal(self) -> None:
        """Let nothing go wrong on any link from now on."""
        for link in self._links.values():
            for direction in (link.up, link.down):
                direction.settings = healed(direction.settings)

    def open(self, ip: str, port: int, wake: Callable[[], None], group: str | None = None) -> Port:
        """Open a port at `ip`, 0 for any, or join `group` there; `wake` is called when something arrives."""
        ip = self.address_of(ip)
        if port == 0:
            port, self._next_port = self._next_port, self._next_port + 1
        if group is not None:
            member = Port(self, (ip, port), wake, (group, port), joined_at=self.now)
            self._members.setdefault((group, port), []).append(member)
            return member
        address = (ip, port)
        if address in self._ports:
            raise ValueError(f"{address} is taken")
        self._ports[address] = Port(self, address, wake)
        return self._ports[address]

    def close(self, port: Port) -> None:
        """Close `port`; what arrives from now on is lost."""
        port.closed = True
        if port.group is not None:
            self._members[port.group].remove(port)
        else:
            del self._ports[port.address]

    def forget_members(self, ip: str) -> None:
        """Let the switch forget which groups `ip` is a member of, until it joins again."""
        for members in self._members.values():
            for member in members:
                member.forgotten |= member.address[0] == ip

    def readdress(self, old: str, new: str) -> None:
        """Give the node that was first at `old` the address `new`: what is on its way to another one is lost."""
        first, old = old, self.address_of(old)
        self._renamed[first] = new
        self._links[new] = self._links.pop(old)
        for address, port in list(self._ports.items()):
            if address[0] == old:
                port.address = (new, address[1])
                self._ports[port.address] = self._ports.pop(address)
        for members in self._members.values():
            for member in members:
                if member.address[0] == old:
                    member.address = (new, member.address[1])

    def addresses(self) -> list[Address]:
        """Return where somebody listens, groups left out: who is patient finds that out."""
        return list(self._ports)

    def send(self, data: bytes, source: Address, to: Address, *, forged_by: Address | None = None) -> None:
        """Send a datagram to a port, or once to every member of a group; `source` may be claimed by `forged_by`."""
        sender = forged_by or source
        for tap in self.taps:
            tap(data, sender, to)
        now, multicast = self._scheduler.now, to in self._members
        members = None
        if multicast:
            members = [m for m in self._members[to] if m.address[0] != sender[0] and self._is_known(m)]
        up = self._links[sender[0]].up
        for passed_at in up.transit(len(data), now, multicast=multicast):
            left = up.mangle(data)
            self._scheduler.call(passed_at, self._fan_out, left, source, to, members)

    def _is_known(self, member: Port) -> bool:
        """Say whether the switch knows a member, and has not forgotten it."""
        lasts_ns = self.membership_ns
        return not member.forgotten and (lasts_ns is None or self.now - member.joined_at < lasts_ns)

    def _fan_out(self, data: bytes, source: Address, to: Address, members: list[Port] | None) -> None:
        """Pass on what has come through the sender's link now: receivers' links are entered in this order."""
        if members is None:
            self._carry(data, source, to[0], to, multicast=False)
            return
        for member in members:
            self._carry(data, source, member.address[0], member, multicast=True)

    def _carry(self, data: bytes, source: Address, ip: str, to: Port | Address, *, multicast: bool) -> None:
        link = self._links.get(ip)
        if link is None:
            self.unreachable += 1
            return
        down, scheduler = link.down, self._scheduler
        for arrives_at in down.transit(len(data), scheduler.now, multicast=multicast):
            scheduler.call(arrives_at, self._arrive, down.mangle(data), source, to)

    def _arrive(self, data: bytes, source: Address, to: Port | Address) -> None:
        # A port is looked up on arrival: its node may have gone, or come back, meanwhile.
        port = to if isinstance(to, Port) else self._ports.get(to)
        now = self._scheduler.now
        if port is None or port.closed:
            self.unreachable += 1
            return
        self.delivered += 1
        for tap in self.arrivals:
            tap(data, source, port.address)
        self._trace.note(now, f"{source[0]}:{source[1]} > {port.address[0]}:{port.address[1]}", data)
        port.deliver(data, source, now)
