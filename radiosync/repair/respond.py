"""The host's half of repair: which symbols to send again, to whom, and when.

- Requests for a symbol are gathered for a short window; what several listeners ask for is multicast once, what one
  asks for goes to it alone (RFC 5740 section 5.4; a unicast frame is also acknowledged on Wi-Fi, RFC 9119).
- A repeat within the hold-off is ignored: the answer is probably on its way (Aeron's linger).
- The earliest play-at first, and nothing that can't arrive in time.  But what was lost goes before backfill, which
  is what was sent before its listener came, unless the backfill is due soon: a joiner, who wants a whole buffer, holds
  up nobody's repairs, and needs no more than to be ahead of its own play position.
- Token buckets bound what one listener and what all of them together can make the host send.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from radiosync.repair.budget import TokenBucket
from radiosync.units import NS_PER_MS, NS_PER_S, HostNs

Address = tuple[str, int]

GATHER_NS = 20 * NS_PER_MS  # the aggregation window; half a NACK tick
GATHER_URGENT_NS = 500 * NS_PER_MS  # with less time than this to play-at, nothing is gathered
SOON_NS = 5 * NS_PER_S  # what is due so soon goes by its play-at alone: in less, several rounds of asking don't fit
HOLD_OFF_NS = 60 * NS_PER_MS  # longer than a LAN's round trip and a loop's lateness; asking again takes longer
SYMBOLS_PENDING_MAX = 16_384  # three times the whole buffer of a stereo stream
IDLE_NS = 5 * NS_PER_MS  # between two looks at a queue that could send nothing: a look costs up to 1 ms
BUCKETS_MAX = 4096  # addresses with a budget of their own; who is forgotten begins a new one, within the total
BURST = 16  # datagrams back to back: a sixth of the smallest default receive buffer


@dataclass(slots=True)
class _Pending:
    """One symbol that somebody waits for."""

    asked_at: HostNs
    by: set[Address]


@dataclass(slots=True)
class _ChunkRepairs:
    deadline_at: HostNs
    lost: dict[int, _Pending] = field(default_factory=dict)
    """By index, what somebody asked for who was there when it was sent ..."""
    backfill: dict[int, _Pending] = field(default_factory=dict)
    """... and what only those who came later did."""
    sent: dict[Address | None, dict[int, HostNs]] = field(default_factory=dict)
    """To whom which index was sent last when."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """A symbol to send again: to one listener, or with None to the group."""

    seq: int
    """The chunk's number, or another that rises with its play-at."""
    index: int
    to: Address | None


class RepairQueue:
    """Gathers requests and hands out repairs within budget."""

    def __init__(self, rate_each_per_s: int, rate_total_per_s: int, now: HostNs) -> None:
        self._chunks: dict[int, _ChunkRepairs] = {}
        self._count = 0
        self._rate_each_per_s = rate_each_per_s
        self._total = TokenBucket(rate_total_per_s, BURST, now)
        self._each: dict[Address, TokenBucket] = {}
        self._next_at = HostNs(0)
        self.repeats_ignored = 0
        self.overflows = 0

    def __len__(self) -> int:
        return self._count

    def set_rates(self, each_per_s: int, total_per_s: int) -> None:
        """Follow the stream's own rate, which the budgets are multiples of."""
        self._rate_each_per_s = each_per_s
        self._total.rate_per_s = total_per_s
        for bucket in self._each.values():
            bucket.rate_per_s = each_per_s

    def ask(
        self, seq: int, bitmap: int, deadline_at: HostNs, by: Address, now: HostNs, *, backfill: bool = False
    ) -> None:
        """Note that `by` lacks the symbols in `bitmap` of chunk `seq`, which is due at `deadline_at`.

        `backfill` says that the chunk was sent before `by` came.
        """
        chunk = self._chunks.get(seq)
        if chunk is None:
            chunk = self._chunks[seq] = _ChunkRepairs(deadline_at)
        chunk.deadline_at = deadline_at  # a pause, or a start that waits, has moved it
        while bitmap:
            index = (bitmap & -bitmap).bit_length() - 1
            bitmap &= bitmap - 1
            waiting = chunk.lost.get(index) or chunk.backfill.get(index)
            if waiting is not None:
                waiting.by.add(by)
                if not backfill and index in chunk.backfill:
                    chunk.lost[index] = chunk.backfill.pop(index)
            elif self._held_off(chunk, index, by, now):
                self.repeats_ignored += 1
            elif self._count >= SYMBOLS_PENDING_MAX:
                self.overflows += 1  # the asker will ask again
            else:
                waiting = _Pending(now, {by})
                (chunk.backfill if backfill else chunk.lost)[index] = waiting
                self._count += 1
                self._next_at = min(self._next_at, self._gathered_at(chunk, waiting))

    @staticmethod
    def _held_off(chunk: _ChunkRepairs, index: int, by: Address, now: HostNs) -> bool:
        last = max(chunk.sent.get(to, {}).get(index, -HOLD_OFF_NS) for to in (None, by))
        return now - last < HOLD_OFF_NS

    def take(self, now: HostNs) -> Repair | None:
        """Return the next symbol that may be sent now, the most urgent first, and count it as sent."""
        if now < self._next_at:
            return None
        if self._total.available(now):
            for seq, pending in self._in_order(now):
                chunk = self._chunks[seq]
                for index, waiting in pending.items():
                    if self._gathered_at(chunk, waiting) > now:
                        continue
                    to = next(iter(waiting.by)) if len(waiting.by) == 1 else None
                    if to is not None and not self._bucket(to, now).take(now):
                        continue
                    self._total.take(now)
                    del pending[index]
                    self._count -= 1
                    chunk.sent.setdefault(to, {})[index] = now
                    return Repair(seq=seq, index=index, to=to)
        self._next_at = HostNs(now + IDLE_NS)
        return None

    def _in_order(self, now: HostNs) -> Iterator[tuple[int, dict[int, _Pending]]]:
        """Yield the chunks' symbols that are waited for, the most urgent first; drop those that come too late."""
        later: list[tuple[int, dict[int, _Pending]]] = []
        for seq in sorted(self._chunks):
            chunk = self._chunks[seq]
            if chunk.deadline_at <= now:
                self._drop_pending(chunk)
            yield seq, chunk.lost
            if chunk.deadline_at - now <= SOON_NS:
                yield seq, chunk.backfill
            elif chunk.backfill:
                later.append((seq, chunk.backfill))
        yield from later

    def next_timeout(self) -> HostNs | None:
        """Return when `take` may have something, or None while nobody waits."""
        return self._next_at if self._count else None

    def forget(self, seq: int) -> None:
        """Drop everything about chunk `seq`: it has left the history."""
        chunk = self._chunks.pop(seq, None)
        if chunk is not None:
            self._drop_pending(chunk)

    def forget_listener(self, address: Address) -> None:
        """Drop everything about `address`: what it alone waits for, what it was sent, its budget."""
        self._each.pop(address, None)
        for chunk in self._chunks.values():
            for pending in (chunk.lost, chunk.backfill):
                for waiting in pending.values():
                    waiting.by.discard(address)
                for index in [index for index, waiting in pending.items() if not waiting.by]:
                    del pending[index]
                    self._count -= 1
            chunk.sent.pop(address, None)

    def _drop_pending(self, chunk: _ChunkRepairs) -> None:
        self._count -= len(chunk.lost) + len(chunk.backfill)
        chunk.lost.clear()
        chunk.backfill.clear()

    def _gathered_at(self, chunk: _ChunkRepairs, waiting: _Pending) -> HostNs:
        urgent = chunk.deadline_at - waiting.asked_at < GATHER_URGENT_NS
        return waiting.asked_at if urgent else HostNs(waiting.asked_at + GATHER_NS)

    def _bucket(self, address: Address, now: HostNs) -> TokenBucket:
        bucket = self._each.get(address)
        if bucket is None:
            while len(self._each) >= BUCKETS_MAX:
                del self._each[next(iter(self._each))]
            bucket = self._each[address] = TokenBucket(self._rate_each_per_s, BURST, now)
        return bucket
