"""The host's half of repair: which symbols to send again, to whom, and when.

- Requests for a chunk are gathered for a short window.  What one listener lacks goes to it alone (a unicast frame is
  also acknowledged on Wi-Fi, RFC 9119).  When several lack something of a chunk the answer is multicast: the symbols
  themselves where all lack the same, and otherwise parity, as many symbols as the one needs that lacks most.  Each of
  them heals one loss, whichever it is, of every listener (Nonnenmacher, Biersack and Towsley, SIGCOMM 1997).
- Who asks a little after another did is taken for one of several, because more are probably waiting to ask.  Parity is
  never wasted by sending too little at first: what is sent later adds to it.
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
from radiosync.wire.limits import PARITY_MAX

Address = tuple[str, int]

GATHER_NS = 20 * NS_PER_MS  # the aggregation window; half a NACK tick
GATHER_URGENT_NS = 500 * NS_PER_MS  # with less time than this to play-at, nothing is gathered
CROWD_NS = (
    4 * NS_PER_S
)  # longer than a listener's longest back-off: who lost something of the chunk as well asks within
SOON_NS = 5 * NS_PER_S  # what is due so soon goes by its play-at alone: in less, several rounds of asking don't fit
HOLD_OFF_NS = 60 * NS_PER_MS  # longer than a LAN's round trip and a loop's lateness; asking again takes longer
HOLD_OFF_URGENT_NS = 20 * NS_PER_MS  # less than one listener's NACKs are apart: with little time left none is ignored
ASKS_PENDING_MAX = 16_384  # of a listener for a chunk, 200 bytes each: a thousand listeners that return from an outage
IDLE_NS = 5 * NS_PER_MS  # between two looks at a queue whose budget is used up: a look costs up to 1 ms
BUCKETS_MAX = 4096  # addresses with a budget of their own; who is forgotten begins a new one, within the total
BURST = 16  # datagrams back to back: a sixth of the smallest default receive buffer
_NEVER = HostNs(-(1 << 62))


@dataclass(slots=True)
class _Lane:
    """What is asked for of one chunk."""

    asks: dict[Address, int] = field(default_factory=dict)
    """Who asks, and for which symbols, as a bitmap; as many others would do as well."""
    ready_at: HostNs = _NEVER
    """When the first question's window is over."""


@dataclass(slots=True)
class _ChunkRepairs:
    deadline_at: HostNs
    lost: _Lane = field(default_factory=_Lane)
    """By who was there when the chunk was sent ..."""
    backfill: _Lane = field(default_factory=_Lane)
    """... and by who came later."""
    any_lost: int = 0
    """The symbols that anybody has lost, as a bitmap, ..."""
    most_lost: int = 0
    """... and the most that one listener asked for."""
    asker: Address | None = None
    asked_at: HostNs = _NEVER
    """Who has lost something and asked last, and when."""
    crowd_until: HostNs = _NEVER
    """Until when more listeners than one are taken to have lost something."""
    parity_sent: int = 0
    sent: dict[Address | None, dict[tuple[bool, int], HostNs]] = field(default_factory=dict)
    """To whom which symbol, parity or not, was sent last when."""

    def note_lost(self, bitmap: int, by: Address, now: HostNs) -> None:
        """Note who has lost what."""
        if self.asker not in (None, by) and now - self.asked_at < CROWD_NS:
            self.crowd_until = HostNs(now + CROWD_NS)
        self.asker, self.asked_at = by, now
        self.any_lost |= bitmap
        self.most_lost = max(self.most_lost, bitmap.bit_count())

    def not_on_its_way(self, bitmap: int, by: Address, now: HostNs) -> int:
        """Return what of `bitmap` `by` was not sent within the hold-off."""
        parity, urgent = 0, self.deadline_at - now < GATHER_URGENT_NS
        hold_off_ns = HOLD_OFF_URGENT_NS if urgent else HOLD_OFF_NS
        for to in (None, by):
            for (is_parity, index), sent_at in self.sent.get(to, {}).items():
                if now - sent_at < hold_off_ns:
                    parity += is_parity
                    bitmap &= -1 if is_parity else ~(1 << index)
        for _ in range(min(parity, bitmap.bit_count())):
            bitmap = _healed(bitmap)
        return bitmap

    def heal(self, index: int, *, parity: bool) -> None:
        """Take a symbol that is multicast off what is asked for."""
        for lane in (self.lost, self.backfill):
            for by, bitmap in list(lane.asks.items()):
                lane.asks[by] = _healed(bitmap) if parity else bitmap & ~(1 << index)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """A symbol to send again: to one listener, or with None to the group."""

    seq: int
    """The chunk's number, or another that rises with its play-at."""
    index: int
    parity: bool = False
    """Whether `index` counts parity symbols."""
    to: Address | None


class RepairQueue:
    """Gathers requests and hands out repairs within budget."""

    def __init__(self, rate_each_per_s: int, rate_total_per_s: int, now: HostNs) -> None:
        self._chunks: dict[int, _ChunkRepairs] = {}
        self._asked: set[int] = set()  # of these the chunks that are asked for
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
        lacking = chunk.not_on_its_way(bitmap, by, now)
        self.repeats_ignored += bitmap.bit_count() - lacking.bit_count()
        if not lacking:
            return
        lane = chunk.backfill if backfill else chunk.lost
        if by not in lane.asks:
            if self._count >= ASKS_PENDING_MAX:
                self.overflows += 1  # the asker will ask again
                return
            if not lane.asks:
                lane.ready_at = HostNs(now + _gather_ns(deadline_at - now))
            self._count += 1
            self._asked.add(seq)
            self._next_at = min(self._next_at, lane.ready_at)
        lane.asks[by] = lacking
        if not backfill:
            chunk.note_lost(lacking, by, now)

    def take(self, now: HostNs) -> Repair | None:
        """Return the next symbol that may be sent now, the most urgent first, and count it as sent."""
        if now < self._next_at:
            return None
        wake_at = now + IDLE_NS
        if self._total.available(now):
            wait_until = []
            for seq, lane in self._in_order(now):
                if lane.ready_at > now:
                    wait_until.append(lane.ready_at)
                elif (repair := self._serve(seq, lane, now)) is not None:
                    return repair
                else:
                    wait_until.append(HostNs(wake_at))
            wake_at = min(wait_until, default=HostNs(wake_at))
        self._next_at = HostNs(wake_at)
        return None

    def _serve(self, seq: int, lane: _Lane, now: HostNs) -> Repair | None:
        """Choose a symbol for those who ask in `lane`; None if the budget of the only one is used up."""
        chunk = self._chunks[seq]
        everybody = [bitmap for each in (chunk.lost, chunk.backfill) for bitmap in each.asks.values()]
        by, bitmap = next(iter(lane.asks.items()))
        alone = len(lane.asks) == 1 and (lane is chunk.backfill or now >= chunk.crowd_until)
        to, parity = None, False
        if alone:
            index = _first(bitmap)
            if sum(each >> index & 1 for each in everybody) == 1:
                to = by
        elif lane is chunk.lost and chunk.any_lost.bit_count() > chunk.most_lost <= PARITY_MAX:
            index, parity = chunk.parity_sent % PARITY_MAX, True
            chunk.parity_sent += 1
        else:
            index = min(_first(each) for each in lane.asks.values())
        if to is None:
            chunk.heal(index, parity=parity)
        elif self._bucket(to, now).take(now):
            lane.asks[to] = bitmap & ~(1 << index)
        else:
            return None
        self._total.take(now)
        chunk.sent.setdefault(to, {})[parity, index] = now
        self._tidy(seq)
        return Repair(seq=seq, index=index, parity=parity, to=to)

    def _in_order(self, now: HostNs) -> Iterator[tuple[int, _Lane]]:
        """Yield what is asked for, the most urgent first; drop what comes too late."""
        later: list[tuple[int, _Lane]] = []
        for seq in sorted(self._asked):
            chunk = self._chunks[seq]
            if chunk.deadline_at <= now:
                self._drop_asks(seq)
                continue
            if chunk.lost.asks:
                yield seq, chunk.lost
            if chunk.backfill.asks:
                if chunk.deadline_at - now <= SOON_NS:
                    yield seq, chunk.backfill
                else:
                    later.append((seq, chunk.backfill))
        yield from later

    def next_timeout(self) -> HostNs | None:
        """Return when `take` may have something, or None while nobody waits."""
        return self._next_at if self._count else None

    def forget(self, seq: int) -> None:
        """Drop everything about chunk `seq`: it has left the history."""
        if seq in self._chunks:
            self._drop_asks(seq)
            del self._chunks[seq]

    def forget_listener(self, address: Address) -> None:
        """Drop everything about `address`: what it alone waits for, what it was sent, its budget."""
        self._each.pop(address, None)
        for chunk in self._chunks.values():
            chunk.sent.pop(address, None)
        for seq in list(self._asked):
            for lane in (self._chunks[seq].lost, self._chunks[seq].backfill):
                if address in lane.asks:
                    lane.asks[address] = 0
            self._tidy(seq)

    def _tidy(self, seq: int) -> None:
        """Drop the questions that have been answered."""
        chunk = self._chunks[seq]
        for lane in (chunk.lost, chunk.backfill):
            for by in [by for by, bitmap in lane.asks.items() if not bitmap]:
                del lane.asks[by]
                self._count -= 1
        if not chunk.lost.asks and not chunk.backfill.asks:
            self._asked.discard(seq)

    def _drop_asks(self, seq: int) -> None:
        chunk = self._chunks[seq]
        self._count -= len(chunk.lost.asks) + len(chunk.backfill.asks)
        chunk.lost.asks.clear()
        chunk.backfill.asks.clear()
        self._asked.discard(seq)

    def _bucket(self, address: Address, now: HostNs) -> TokenBucket:
        bucket = self._each.get(address)
        if bucket is None:
            while len(self._each) >= BUCKETS_MAX:
                del self._each[next(iter(self._each))]
            bucket = self._each[address] = TokenBucket(self._rate_each_per_s, BURST, now)
        return bucket


def _gather_ns(slack_ns: int) -> int:
    """Return how long to gather requests for a chunk that is due in `slack_ns`."""
    return 0 if slack_ns < GATHER_URGENT_NS else GATHER_NS


def _first(bitmap: int) -> int:
    """Return the number of the lowest bit that is set."""
    return (bitmap & -bitmap).bit_length() - 1


def _healed(bitmap: int) -> int:
    """Return `bitmap` without its highest bit: a parity symbol does for any of them."""
    return bitmap & ~(1 << (bitmap.bit_length() - 1)) if bitmap else 0
