"""Copies by unicast of what goes to the group, for listeners that multicast does not reach.

Only who has shown its cookie is served, since only its reports are heeded; while they ask for it, and no longer than
they come.  So many listeners are served, so many of them at one address, and all together within a budget: whoever
claims a copy for nothing costs no more than that, and nobody else anything, since copies leave last.

Orders and announcements are copied at once.  Music waits in a queue for each listener, and leaves in turns.  What finds
the queue full is lost on the way like any other datagram, and asked for.

Repairs are not copied: who is not reached is sent its own (`repair/respond.py`).  Sixteen copies of what a crowd asks
for would leave no room for the music.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto

from radiosync.host.sender import Datagram
from radiosync.repair.budget import TokenBucket
from radiosync.units import HostNs
from radiosync.wire.groups import Address

COPIES_PER_S_MAX = 4000  # datagrams, 40 Mbit/s: two fifths of 100 Mbit/s, and less than a tenth of a core
COPIES_PER_IP_MAX = 4  # behind one address: a few programs on one computer, or a flat behind a router of its own
BURST = 64  # back to back: four symbols, as the music is gathered, for sixteen listeners
QUEUED_MAX = 1024  # datagrams of one listener: ten seconds of stereo music


class Answer(Enum):
    """What became of a wish for a copy."""

    BEGUN = auto()
    GOES_ON = auto()
    REFUSED = auto()


@dataclass(slots=True)
class _Served:
    tier: int
    queue: deque[bytes] = field(default_factory=deque)


@dataclass(slots=True)
class CopyCounters:
    """What has been counted since the start."""

    sent: int = 0
    refused: int = 0
    """Wishes that came while so many were served already."""
    dropped: int = 0
    """Datagrams that found a queue full."""


class Copies:
    """Knows who is served a copy, and what of it has not left."""

    def __init__(self, served_max: int, now: HostNs) -> None:
        self.counters = CopyCounters()
        self._served_max = served_max
        self._served: dict[Address, _Served] = {}
        self._budget = TokenBucket(COPIES_PER_S_MAX, BURST, now)

    def __len__(self) -> int:
        return len(self._served)

    def __contains__(self, address: Address) -> bool:
        return address in self._served

    @property
    def addresses(self) -> list[Address]:
        """Who is served."""
        return list(self._served)

    def serve(self, address: Address, tier: int) -> Answer:
        """Serve `address` a copy of what goes to all, with the music of `tier`, if there is room for it."""
        known = self._served.get(address)
        if known is not None:
            known.tier = tier
            return Answer.GOES_ON
        neighbours = sum(other[0] == address[0] for other in self._served)
        if len(self._served) >= self._served_max or neighbours >= COPIES_PER_IP_MAX:
            self.counters.refused += 1
            return Answer.REFUSED
        self._served[address] = _Served(tier)
        return Answer.BEGUN

    def stop(self, address: Address) -> bool:
        """Serve `address` no more; say whether it was served."""
        return self._served.pop(address, None) is not None

    def at_once(self, data: bytes) -> Iterator[Datagram]:
        """Give out the copies of an order or an announcement."""
        for address in self._served:
            self.counters.sent += 1
            yield Datagram(data, address, True)

    def add(self, datagram: Datagram) -> None:
        """Note a datagram of music that has gone to the group."""
        for served in self._served.values():
            if served.tier == datagram.tier:
                if len(served.queue) < QUEUED_MAX:
                    served.queue.append(datagram.data)
                else:
                    self.counters.dropped += 1

    def clear(self) -> None:
        """Drop what waits: a jump has made it worthless."""
        for served in self._served.values():
            served.queue.clear()

    def music(self, now: HostNs) -> Iterator[Datagram]:
        """Give out the copies of music that may leave now, one for each listener in turn."""
        while waiting := [(address, served.queue) for address, served in self._served.items() if served.queue]:
            for address, queue in waiting:
                if not self._budget.take(now):
                    return
                self.counters.sent += 1
                self._served[address] = self._served.pop(address)  # the last in turn when the budget ends here
                yield Datagram(queue.popleft(), address, False)

    def next_timeout(self, now: HostNs) -> HostNs | None:
        """Return when `music` may have something; None while nothing waits."""
        if not any(served.queue for served in self._served.values()):
            return None
        return HostNs(self._budget.next_at(now))
