"""What leaves a host, and in which order: answers, orders and announcements; music; repairs; backfill."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

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

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._urgent: deque[Datagram] = deque(maxlen=URGENT_MAX)
        self.counters = OutboxCounters()

    def tell(self, data: Iterable[bytes], to: Address | None = None) -> None:
        """Send datagrams before all music: to one listener, or with None to all."""
        self._urgent.extend(Datagram(each, to, True) for each in data)

    def urgent(self) -> Iterator[Datagram]:
        """Give out what was told; what is for all goes to the groups of the lower tiers as well."""
        while self._urgent:
            datagram = self._urgent.popleft()
            yield self._counted(datagram)
            if datagram.to is None:
                for tier in self._sender.ladder.active:
                    yield self._counted(replace(datagram, tier=tier))

    def audio(self, now: HostNs) -> Iterator[Datagram]:
        """Give out the music, repairs and backfill that may leave now."""
        for datagram in self._sender.datagrams(now):
            yield self._counted(datagram)

    def _counted(self, datagram: Datagram) -> Datagram:
        self.counters.datagrams_sent += 1
        self.counters.bytes_sent += len(datagram.data)
        return datagram
