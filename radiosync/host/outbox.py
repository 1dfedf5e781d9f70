"""What leaves a host, and in which order: answers, orders, announcements; music; repairs; backfill; copies of music.

Two limits bound what listeners can make a host send, however many they are and whatever they ask for: one of answers to
who looks for a host, one of music in all its forms, which goes first within it.  Beyond them are only orders and
announcements, a dozen a second (and as many to each tier's group, and in each copy), and the clock's replies, which are
no longer than their questions.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain

from radiosync.host.copies import Copies
from radiosync.host.listeners import LISTENERS_MAX
from radiosync.host.sender import Datagram, Sender
from radiosync.repair.budget import Budgets, TokenBucket
from radiosync.units import HostNs
from radiosync.wire.groups import Address

ANSWERS_PER_S_MAX = 1000  # datagrams: two for each question, and a hundred who come at once ask four times each at most
ANSWERS_BURST = 200
ANSWERS_PER_S_MACHINE = 800  # so that one machine's flood leaves a hundred newcomers a second their answers
ANSWERS_MACHINE_BURST = 160
SENT_PER_S_MAX = 8000  # datagrams, 80 Mbit/s: music 3000 at the most (`host.pacer`), copies 4000, the rest repairs
SENT_BURST = 128  # back to back: what one turn of the loop gives out of music, repairs and copies together
URGENT_MAX = 256  # answers and orders that have not left; a flood of questions pushes out the oldest


@dataclass(slots=True)
class OutboxCounters:
    """What has left since the start."""

    datagrams_sent: int = 0
    bytes_sent: int = 0
    answers_refused: int = 0
    """Answers to who looks for a host that went beyond the limit; it will ask again."""


class Outbox:
    """Puts what the session has to say before what the sender has to send, and counts both."""

    def __init__(self, sender: Sender, copies: Copies, now: HostNs) -> None:
        self._sender = sender
        self._answers = TokenBucket(ANSWERS_PER_S_MAX, ANSWERS_BURST, now)
        self._answers_to: Budgets[str] = Budgets(ANSWERS_PER_S_MACHINE, ANSWERS_MACHINE_BURST, LISTENERS_MAX)
        self._budget = TokenBucket(SENT_PER_S_MAX, SENT_BURST, now)
        self._copies = copies
        self._urgent: deque[Datagram] = deque(maxlen=URGENT_MAX)
        self.counters = OutboxCounters()

    def tell(self, data: Iterable[bytes]) -> None:
        """Send datagrams to all, before all music."""
        self._urgent.extend(Datagram(each, None, True) for each in data)

    def answer(self, data: Iterable[bytes], to: Address, now: HostNs) -> None:
        """Send datagrams to one listener, before all music, as far as the limits of answers allow."""
        for each in data:
            if self._answers.available(now) and self._answers_to.take(to[0], now):
                self._answers.take(now)
                self._urgent.append(Datagram(each, to, True))
            else:
                self.counters.answers_refused += 1

    def tidy(self, now: HostNs) -> None:
        """Forget the machines that have not asked for a while."""
        self._answers_to.tidy(now)

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
        everything = chain(self._music(now), self._copies.music(now))
        while self._budget.available(now) and (datagram := next(everything, None)) is not None:
            self._budget.take(now)
            yield self._counted(datagram)

    def next_timeout(self, now: HostNs) -> HostNs | None:
        """Return when music, repairs or copies may leave."""
        times = [at for at in (self._sender.next_timeout(now), self._copies.next_timeout(now)) if at is not None]
        return HostNs(max(min(times), self._budget.next_at(now))) if times else None

    def _music(self, now: HostNs) -> Iterator[Datagram]:
        for datagram in self._sender.datagrams(now):
            if datagram.to is None and not datagram.repair:
                self._copies.add(datagram)
            yield datagram

    def _counted(self, datagram: Datagram) -> Datagram:
        self.counters.datagrams_sent += 1
        self.counters.bytes_sent += len(datagram.data)
        return datagram
