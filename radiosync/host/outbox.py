"""What leaves a host, and in which order: answers, orders, announcements; music; repairs; backfill; copies of music."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from radiosync.host.copies import Copies
from radiosync.host.sender import Datagram, Sender
from radiosync.repair.respond import Address
from radiosync.units import HostNs

URGENT_MAX = 256  # answers and orders that have not left; a flood of questions pushes out the oldest


@dataclass(slots=True)
class OutboxCounters:
    """What has left since the start."""

    datagrams_sent: int = 0
    bytes_sent: int = 0


class Outbox:
    """Puts what the session has to say before what the sender has to send, and counts both."""

    def __init__(self, sender: Sender, copies: Copies) -> None:
        self._sender = sender
        self._copies = copies
        self._urgent: deque[Datagram] = deque(maxlen=URGENT_MAX)
        self.counters = OutboxCounters()

    def tell(self, data: Iterable[bytes], to: Address | None = None) -> None:
        """Send datagrams before all music: to one listener, or with None to all."""
        self._urgent.extend(Datagram(each, to, True) for each in data)

    @property
    def waiting(self) -> bool:
        """Whether something has been told and not given out."""
        return bool(self._urgent)

    def urgent(self) -> Iterator[Datagram]:
        """Give out what was told; what is for all also goes to the groups of the lower tiers, and in copies."""
        while self._urgent:
            datagram = self._urgent.popleft()
            yield self._counted(datagram)
            if datagram.to is None:
                for tier in self._sender.ladder.active:
                    yield self._counted(replace(datagram, tier=tier))
                for copy in self._copies.at_once(datagram.data):
                    yield self._counted(copy)

    def audio(self, now: HostNs) -> Iterator[Datagram]:
        """Give out the music, repairs, backfill and copies that may leave now."""
        for datagram in self._sender.datagrams(now):
            if datagram.to is None:
                self._copies.add(datagram)
            yield self._counted(datagram)
        for copy in self._copies.music(now):
            yield self._counted(copy)

    def next_timeout(self, now: HostNs) -> HostNs | None:
        """Return when music, repairs or copies may leave."""
        times = [at for at in (self._sender.next_timeout(now), self._copies.next_timeout(now)) if at is not None]
        return min(times, default=None)

    def _counted(self, datagram: Datagram) -> Datagram:
        self.counters.datagrams_sent += 1
        self.counters.bytes_sent += len(datagram.data)
        return datagram
