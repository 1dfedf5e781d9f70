"""A network with true multicast: one send, and every receiver has a luck of its own.

Each node hangs on a link with two directions.  A datagram passes the sender's `up` once, where a loss is common to all
receivers, and then the `down` of each receiver, drawn independently.  A direction loses (singly, in bursts after
Gilbert and Elliott, or altogether for a while), delays, duplicates and reorders; without reordering it is a queue, in
which nothing overtakes.  Every direction has its own random numbers, so that a change at one listener leaves the luck
of all others as it was.
"""

from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random

from radiosync.sim.bottleneck import Bottleneck, Throttle
from radiosync.sim.scheduler import Scheduler, TrueNs
from radiosync.sim.trace import Trace
from radiosync.units import NS_PER_MS, NS_PER_S, NS_PER_US
from radiosync.wire.groups import Address

Tap = Callable[[bytes, Address, Address], None]
"""Is told data, source and target of a datagram."""

RECEIVE_DATAGRAMS_MAX = 92  # what Linux's smallest default receive buffer (208 KiB) holds of 1200-byte datagrams
EPHEMERAL_PORT_MIN = 49_152
NEVER = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSettings:
    """What one direction of a link does to datagrams; shares are probabilities, times are true."""

    loss: float = 0.0
    multicast_loss: float = 0.0
    """In addition, of what goes to a group: Wi-Fi neither acknowledges nor repeats that."""
    delay_ns: int = 100 * NS_PER_US
    jitter_ns: int = 20 * NS_PER_US
    """The mean of an exponential distribution on top of the delay."""
    jitter_uniform_ns: int = 0
    """The most of a uniform one, in addition."""
    duplicate: float = 0.0
    reorder: float = 0.0
    """The share that is held back by up to `reorder_ns` while others overtake."""
    reorder_ns: int = 5 * NS_PER_MS
    burst_every_ns: int = 0
    """The mean time between bursts of losses; 0 for none.  Bursts pass with time, not with datagrams."""
    burst_ns: int = 50 * NS_PER_MS
    """How long one lasts, in the mean; both are distributed exponentially."""
    burst_loss: float = 1.0
    bits_per_s: int = 0
    """Of a bottleneck; 0 for none."""
    queue_max: int = 1000
    """Datagrams on their way at a time; more are dropped."""
    hold_every_ns: int = 0
    """The mean time between pauses of a queue, in which it keeps all that comes; 0 for none."""
    hold_ns: int = 20 * NS_PER_MS
    """How long one lasts, in the mean: a sleeping radio, a channel that others use."""
    truncate: float = 0.0
    """The share that loses its end."""
    flip: float = 0.0
    """The share of which some bits are turned over."""
    replay: float = 0.0
    """The share that comes again, up to `replay_ns` later."""
    replay_ns: int = 10 * NS_PER_S
    outages_ns: tuple[tuple[int, int], ...] = ()
    """Intervals, from and until, in which nothing passes."""
    multicast_outages_ns: tuple[tuple[int, int], ...] = ()
    """Intervals in which nothing passes that goes to a group."""
    throttles_ns: tuple[Throttle, ...] = ()
    """Intervals, from and until, and the bits per second of the bottleneck that there is meanwhile."""
    rough_ns: tuple[tuple[int, int], ...] = ()
    """Intervals in which the jitter is `rough_jitter_ns`."""
    rough_jitter_ns: int = 100 * NS_PER_MS


@dataclass(slots=True)
class LinkCounters:
    """What became of the datagrams."""

    sent: int = 0
    lost: int = 0
    overflowed: int = 0
    duplicated: int = 0
    reordered: int = 0
    mangled: int = 0
    replayed: int = 0
    queue_peak: int = 0


def is_group(address: Address) -> bool:
    """Say whether `address` is a group's (RFC 1112: class D)."""
    return address[0].partition(".")[0].isdigit() and 224 <= int(address[0].partition(".")[0]) < 240


def healed(settings: LinkSettings) -> LinkSettings:
    """Return `settings` without anything that goes wrong."""
    return LinkSettings(
        delay_ns=settings.delay_ns,
        jitter_ns=settings.jitter_ns,
        bits_per_s=settings.bits_per_s,
        queue_max=settings.queue_max,
    )


class Spells:
    """Intervals of time, looked up at instants that never go back: most of a link's troubles are over, or to come."""

    __slots__ = ("_inside", "_intervals", "_until")

    def __init__(self, intervals: tuple[tuple[int, int], ...]) -> None:
        """Take from and until of each."""
        self._intervals = intervals
        self._inside = False
        self._until = 0 if intervals else NEVER

    def on(self, at: int) -> bool:
        """Say whether `at` lies in one of them."""
        if at >= self._until:
            self._inside = any(begin <= at < end for begin, end in self._intervals)
            self._until = min((edge for each in self._intervals for edge in each if edge > at), default=NEVER)
        return self._inside


class Direction:
    """One direction of a link."""

    def __init__(self, settings: LinkSettings, rng: Random) -> None:
        self.settings = settings
        self.counters = LinkCounters()
        self._rng = rng
        self._in_burst = True
        self._burst_until = 0
        self._hold = (0, 0)  # the latest pause: from, until
        self._last_at = 0
        self._bottleneck = Bottleneck()
        self._on_way: list[int] = []

    @property
    def settings(self) -> LinkSettings:
        """What it does to datagrams."""
        return self._settings

    @settings.setter
    def settings(self, settings: LinkSettings) -> None:
        self._settings = settings
        self._outage = Spells(settings.outages_ns)
        self._multicast_outage = Spells(settings.multicast_outages_ns)
        self._rough = Spells(settings.rough_ns)
        self._mangles = bool(settings.truncate or settings.flip)

    def transit(self, size: int, at: TrueNs, *, multicast: bool) -> list[TrueNs]:
        """Return when a datagram of `size` bytes that enters at `at` comes out: never, once or twice."""
        settings, rng, counters, on_way = self._settings, self._rng, self.counters, self._on_way
        counters.sent += 1
        if self._is_lost(at, multicast):
            counters.lost += 1
            return []
        arrivals: list[TrueNs] = []
        for _ in range(2 if settings.duplicate and rng.random() < settings.duplicate else 1):
            while on_way and on_way[0] <= at:
                heappop(on_way)
            if len(on_way) >= settings.queue_max:
                counters.overflowed += 1
                continue
            counters.duplicated += bool(arrivals)
            out_at: int = at
            if settings.bits_per_s or settings.throttles_ns:
                out_at = self._bottleneck.passed_at(size, at, settings.bits_per_s, settings.throttles_ns)
            if settings.hold_every_ns:
                out_at = self._released_at(out_at)
            out_at += settings.delay_ns
            if jitter_ns := settings.rough_jitter_ns if self._rough.on(at) else settings.jitter_ns:
                out_at += round(rng.expovariate(1.0) * jitter_ns)
            if settings.jitter_uniform_ns:
                out_at += rng.randrange(settings.jitter_uniform_ns)
            if settings.reorder and rng.random() < settings.reorder:
                counters.reordered += 1
                out_at += rng.randrange(settings.reorder_ns)
            else:
                out_at = self._last_at = max(out_at, self._last_at)
            heappush(on_way, out_at)
            counters.queue_peak = max(counters.queue_peak, len(on_way))
            arrivals.append(TrueNs(out_at))
        if settings.replay and rng.random() < settings.replay:
            counters.replayed += 1
            arrivals.append(TrueNs(at + settings.delay_ns + rng.randrange(settings.replay_ns)))
        return arrivals

    def mangle(self, data: bytes) -> bytes:
        """Return what is left of a datagram."""
        if not self._mangles:
            return data
        settings, rng = self._settings, self._rng
        if settings.truncate and rng.random() < settings.truncate:
            self.counters.mangled += 1
            data = data[: rng.randrange(len(data) + 1)]
        if settings.flip and data and rng.random() < settings.flip:
            self.counters.mangled += 1
            turned = bytearray(data)
            for _ in range(rng.randint(1, 4)):
                turned[rng.randrange(len(turned))] ^= 1 << rng.randrange(8)
            data = bytes(turned)
        return data

    def _released_at(self, at: int) -> int:
        """Return when what comes at `at` leaves a queue that pauses now and then."""
        settings = self._settings
        while self._hold[1] <= at:
            begin = self._hold[1] + 1 + round(self._rng.expovariate(1.0) * settings.hold_every_ns)
            self._hold = begin, begin + 1 + round(self._rng.expovariate(1.0) * settings.hold_ns)
        return self._hold[1] if self._hold[0] <= at else at

    def _is_lost(self, at: TrueNs, multicast: bool) -> bool:
        settings, rng = self._settings, self._rng
        lost = False
        if settings.burst_every_ns:
            while self._burst_until <= at:
                self._in_burst = not self._in_burst
                mean_ns = settings.burst_ns if self._in_burst else settings.burst_every_ns
                self._burst_until += 1 + round(rng.expovariate(1.0) * mean_ns)
            lost = self._in_burst and rng.random() < settings.burst_loss
        if settings.loss:
            lost |= rng.random() < settings.loss
        if settings.multicast_loss and multicast:
            lost |= rng.random() < settings.multicast_loss
        return lost or self._outage.on(at) or (multicast and self._multicast_outage.on(at))


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
