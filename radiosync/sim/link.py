"""What happens to datagrams in one direction of a link: they are lost, delayed, doubled, reordered and damaged.

Losses come singly, in bursts after Gilbert and Elliott, or altogether for a while; without reordering a direction is a
queue, in which nothing overtakes.
"""

from dataclasses import dataclass
from heapq import heappop, heappush
from random import Random

from radiosync.sim.bottleneck import Bottleneck, Throttle
from radiosync.sim.scheduler import TrueNs
from radiosync.units import NS_PER_MS, NS_PER_S, NS_PER_US

NEVER = 1 << 62
ONCE, TWICE = range(1), range(2)


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
        for _ in TWICE if settings.duplicate and rng.random() < settings.duplicate else ONCE:
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
