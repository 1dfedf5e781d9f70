"""The host's half of repair: which symbols to send again, to whom, and when.

- Requests for a chunk are gathered for a window (`rounds.py`).  What one listener lacks goes to it alone (a unicast
  frame is also acknowledged on Wi-Fi, RFC 9119).  When several lack something of a chunk the answer is multicast: the
  symbols themselves where all lack the same, and otherwise parity, as many symbols as the one needs that lacks most.
  Each of them heals one loss, whichever it is, of every listener (Nonnenmacher, Biersack and Towsley, SIGCOMM 1997).
- Whom multicast does not reach is always answered alone, and is none of the several.
- Who asks a little after another did is taken for one of several, because more are probably waiting to ask; and so is
  the first where that is to be expected (`crowd.py`).  Parity is never wasted by sending too little at first: what is
  sent later adds to it.
- A repeat within the hold-off is ignored: the answer is probably on its way (Aeron's linger).
- Listeners are served by turns (`turns.py`), each its earliest play-at first, and nothing that can't arrive in time.
  But what was lost goes before backfill, which is what was sent before its listener came, unless the backfill is due
  soon: a joiner, who wants a whole buffer, holds up nobody's repairs, and needs no more than to be ahead of its own
  play position.
- Token buckets bound what one listener and what all of them together can make the host send.  A symbol that several
  wait for is drawn from the bucket of the one whose turn it is.
"""

from dataclasses import dataclass, field
from heapq import heappop, heappush

from radiosync.repair.budget import Budgets, TokenBucket
from radiosync.repair.crowd import SCATTERED_MAX, CrowdWatch
from radiosync.repair.rounds import CROWD_NS, HOLD_OFF_NS, gather_ns, hold_off_ns
from radiosync.repair.turns import Turns
from radiosync.units import NS_PER_MS, NS_PER_S, HostNs
from radiosync.wire.groups import Address
from radiosync.wire.limits import PARITY_MAX

SOON_NS = 5 * NS_PER_S  # what is due so soon goes by its play-at alone: in less, several rounds of asking don't fit
ASKS_PENDING_MAX = 16_384  # of a listener for a chunk, 200 bytes each: a thousand listeners that return from an outage
IDLE_NS = 5 * NS_PER_MS  # between two looks at a queue whose budget is used up: a look costs up to 1 ms
BUCKETS_MAX = 4096  # addresses with a budget of their own; the oldest is forgotten and begins anew, within the total
UNREACHED_PER_S_MAX = 2000  # of those whom multicast does not reach, 20 Mbit/s: sixteen come at once, at stereo's rate
BURST = 16  # datagrams back to back: a sixth of the smallest default receive buffer
_NEVER = HostNs(-(1 << 62))


@dataclass(slots=True)
class _Lane:
    """What is asked for of one chunk."""

    turns: Turns
    """Of those who ask for anything of this kind."""
    asks: dict[Address, int] = field(default_factory=dict)
    """Who asks, and for which symbols, as a bitmap; as many others would do as well."""
    ready_at: HostNs = _NEVER
    """When the first question's window is over, ..."""
    gathered: bool = False
    """... and whether those who ask have their turns."""


@dataclass(slots=True)
class _ChunkRepairs:
    deadline_at: HostNs
    lost: _Lane
    """By who was there when the chunk was sent ..."""
    backfill: _Lane
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
    scattered: bool = False
    """Whether they are taken to have lost different symbols, whatever is known."""
    parity_sent: int = 0
    sent: dict[Address | None, dict[tuple[bool, int], HostNs]] = field(default_factory=dict)
    """To whom which symbol, parity or not, was sent last when ..."""
    sent_at: HostNs = _NEVER
    """... and when anything was."""

    def lane_of(self, turns: Turns) -> _Lane:
        """Return the lane whose askers have their turns there."""
        return self.lost if self.lost.turns is turns else self.backfill

    @property
    def lost_apart(self) -> bool:
        """Whether some have lost other symbols than others."""
        return self.scattered or self.any_lost.bit_count() > self.most_lost

    def note_lost(self, bitmap: int, symbols: int, by: Address, now: HostNs) -> None:
        """Note who has lost what: so many symbols."""
        if self.asker != by and self.asker is not None and now - self.asked_at < CROWD_NS:
            self.crowd_until = HostNs(now + CROWD_NS)
        self.asker, self.asked_at = by, now
        self.any_lost |= bitmap
        self.most_lost = max(self.most_lost, symbols)

    def expect_others(self, now: HostNs, *, scattered: bool) -> None:
        """Take it that others have lost something as well: where losses are `scattered`, other symbols."""
        self.crowd_until = HostNs(now + CROWD_NS)
        self.scattered |= scattered

    def not_on_its_way(self, bitmap: int, by: Address, now: HostNs, *, reached: bool) -> int:
        """Return what of `bitmap` `by`, whom multicast reaches or not, was not sent within the hold-off."""
        if now - self.sent_at >= HOLD_OFF_NS:  # mostly; and a flood of questions must cost little
            return bitmap
        parity, hold_ns = 0, hold_off_ns(self.deadline_at - now)
        for to in (None, by) if reached else (by,):
            for (is_parity, index), sent_at in self.sent.get(to, {}).items():
                if now - sent_at < hold_ns:
                    parity += is_parity
                    bitmap &= -1 if is_parity else ~(1 << index)
        for _ in range(min(parity, bitmap.bit_count())):
            bitmap = _healed(bitmap)
        return bitmap

    def heal(self, index: int, *, parity: bool, but: set[Address]) -> None:
        """Take a symbol that is multicast off what is asked for, by all `but` those."""
        for lane in (self.lost, self.backfill):
            for by, bitmap in list(lane.asks.items()):
                if by not in but:
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
        self._count = 0
        self._gathering: list[tuple[HostNs, int, bool]] = []  # a heap: when which chunk is ready, and whether backfill
        self._lost, self._backfill = Turns(), Turns()
        self._backfill_next = False
        self._total = TokenBucket(rate_total_per_s, BURST, now)
        self._alone = TokenBucket(UNREACHED_PER_S_MAX if rate_total_per_s else 0, BURST, now)
        self._each: Budgets[Address] = Budgets(rate_each_per_s, BURST, BUCKETS_MAX)
        self._unreached: set[Address] = set()
        self._next_at = HostNs(0)
        self._looked_at = _NEVER
        self._crowd = CrowdWatch(now)
        self.repeats_ignored = 0
        self.overflows = 0

    def __len__(self) -> int:
        return self._count

    def set_rates(self, each_per_s: int, total_per_s: int) -> None:
        """Follow the stream's own rate, which the budgets are multiples of."""
        self._each.set_rate(each_per_s)
        self._total.rate_per_s = total_per_s
        self._alone.rate_per_s = UNREACHED_PER_S_MAX if total_per_s else 0

    def note_reach(self, address: Address, *, reached: bool) -> None:
        """Note whether multicast reaches `address`; who is not reached is answered alone, within another budget."""
        if reached:
            self._unreached.discard(address)
        else:
            self._unreached.add(address)

    def ask(
        self, seq: int, bitmap: int, deadline_at: HostNs, by: Address, now: HostNs, *, backfill: bool = False
    ) -> None:
        """Note that `by` lacks the symbols in `bitmap` of chunk `seq`, which is due at `deadline_at`.

        `backfill` says that the chunk was sent before `by` came.
        """
        chunk = self._chunks.get(seq)
        if chunk is None:
            chunk = self._chunks[seq] = _ChunkRepairs(deadline_at, _Lane(self._lost), _Lane(self._backfill))
        chunk.deadline_at = deadline_at  # a pause, or a start that waits, has moved it
        reached = by not in self._unreached
        lacking = chunk.not_on_its_way(bitmap, by, now, reached=reached)
        symbols = lacking.bit_count()
        self.repeats_ignored += bitmap.bit_count() - symbols
        if not lacking:
            return
        lane = chunk.backfill if backfill else chunk.lost
        if by not in lane.asks:
            if self._count >= ASKS_PENDING_MAX:
                self.overflows += 1  # who is dropped will ask again
                if not self._make_room(by):
                    return
            if not lane.asks:
                lane.ready_at, lane.gathered = HostNs(now + gather_ns(deadline_at - now)), False
                heappush(self._gathering, (lane.ready_at, seq, backfill))
            if lane.gathered:
                lane.turns.add(by, seq)
            self._count += 1
            self._next_at = min(self._next_at, lane.ready_at)
        lane.asks[by] = lacking
        if reached and not backfill:
            chunk.note_lost(lacking, symbols, by, now)
            if self._crowd.note(seq, symbols, by, now):
                chunk.expect_others(now, scattered=symbols <= SCATTERED_MAX)
            # The sooner it is answered, the fewer ask, and what is too little is added to.  After an outage, from which
            # listeners may come back one by one, all of it would be sent again.
            if now < chunk.crowd_until and symbols <= SCATTERED_MAX:
                soon = HostNs(now + gather_ns(deadline_at - now, crowd=True))
                if soon < lane.ready_at:
                    lane.ready_at = soon
                    heappush(self._gathering, (soon, seq, False))
                    self._next_at = min(self._next_at, soon)

    def take(self, now: HostNs) -> Repair | None:
        """Return the next symbol that may be sent now, of whoever's turn it is, and count it as sent."""
        if now < self._next_at:
            return None
        self._gather(now)
        if any(budget.available(now) for budget in (self._total, self._alone)):
            self._drop_late(now)
            self._backfill_next = not self._backfill_next
            soon = HostNs(now + SOON_NS)
            ways: list[tuple[Turns, HostNs | None]] = [(self._lost, None), (self._backfill, soon)]
            for turns, due_at in [*ways[:: -1 if self._backfill_next else 1], (self._backfill, None)]:
                found = self._next_in(turns, due_at, now)
                if found is not None:
                    return self._serve(*found, turns, now)
        self._next_at = HostNs(now + IDLE_NS)
        if not self._lost and not self._backfill and self._gathering:
            self._next_at = max(now, self._gathering[0][0])
        return None

    def _gather(self, now: HostNs) -> None:
        """Give turns to those who ask for what has been gathered."""
        while self._gathering and self._gathering[0][0] <= now:
            ready_at, seq, backfill = heappop(self._gathering)
            chunk = self._chunks.get(seq)
            if chunk is None:
                continue
            lane = chunk.backfill if backfill else chunk.lost
            if lane.asks and not lane.gathered and lane.ready_at == ready_at:
                lane.gathered = True
                for by in lane.asks:
                    lane.turns.add(by, seq)

    def _next_in(self, turns: Turns, due_at: HostNs | None, now: HostNs) -> tuple[Address, int] | None:
        """Return whose turn it is of those who have a budget left, and with which chunk, due before `due_at`."""
        for by, seq in turns:
            if due_at is not None and self._chunks[seq].deadline_at > due_at:
                continue
            if self._budget(by).available(now) and self._each.available(by, now):
                return by, seq
        return None

    def _serve(self, by: Address, seq: int, turns: Turns, now: HostNs) -> Repair:
        """Choose a symbol of chunk `seq` for `by`, and for who else waits for it."""
        chunk = self._chunks[seq]
        lane = chunk.lane_of(turns)
        index, to, parity = _first(lane.asks[by]), None, False
        if by in self._unreached:
            to = by
        elif self._reached(lane) == 1 and (lane is chunk.backfill or now >= chunk.crowd_until):
            if sum(self._reached(each, index) for each in (chunk.lost, chunk.backfill)) == 1:
                to = by
        elif lane is chunk.lost and chunk.lost_apart and chunk.most_lost <= PARITY_MAX:
            index, parity = chunk.parity_sent % PARITY_MAX, True
            chunk.parity_sent += 1
        if to is None:
            chunk.heal(index, parity=parity, but=self._unreached)
        else:
            lane.asks[to] &= ~(1 << index)
        self._each.take(by, now)
        self._budget(by).take(now)
        turns.served(by)
        chunk.sent.setdefault(to, {})[parity, index] = chunk.sent_at = now
        self._tidy(seq)
        return Repair(seq=seq, index=index, parity=parity, to=to)

    def _reached(self, lane: _Lane, index: int | None = None) -> int:
        """Return how many ask in `lane`, for symbol `index` where one is given, whom multicast reaches."""
        asks = lane.asks.items()
        return sum(index is None or bitmap >> index & 1 for by, bitmap in asks if by not in self._unreached)

    def _drop_late(self, now: HostNs) -> None:
        """Drop what would come too late."""
        if now == self._looked_at:
            return
        self._looked_at = now
        for seq in self._lost.seqs | self._backfill.seqs:
            if self._chunks[seq].deadline_at <= now:
                self._drop_asks(seq)

    def next_timeout(self) -> HostNs | None:
        """Return when `take` may have something, or None while nobody waits."""
        return self._next_at if len(self) else None

    def forget(self, seq: int) -> None:
        """Drop everything about chunk `seq`: it has left the history."""
        if seq in self._chunks:
            self._drop_asks(seq)
            del self._chunks[seq]

    def forget_listener(self, address: Address) -> None:
        """Drop everything about `address`: what it alone waits for, what it was sent, its budget."""
        self._each.forget(address)
        self._unreached.discard(address)
        for chunk in self._chunks.values():
            chunk.sent.pop(address, None)
        for seq, chunk in self._chunks.items():
            for lane in (chunk.lost, chunk.backfill):
                if address in lane.asks:
                    self._drop_ask(seq, lane, address)

    def _make_room(self, by: Address) -> bool:
        """Drop the last question of the machine that asks most, unless that is the machine of `by`; say whether."""
        turns = max((self._lost, self._backfill), key=len)
        last = turns.last_of_greediest(by)
        if last is None:
            return False
        chunk = self._chunks[last[1]]
        self._drop_ask(last[1], chunk.lane_of(turns), last[0])
        return True

    def _tidy(self, seq: int) -> None:
        """Drop the questions that have been answered."""
        chunk = self._chunks[seq]
        for lane in (chunk.lost, chunk.backfill):
            for by in [by for by, bitmap in lane.asks.items() if not bitmap]:
                self._drop_ask(seq, lane, by)

    def _drop_asks(self, seq: int) -> None:
        chunk = self._chunks[seq]
        for lane in (chunk.lost, chunk.backfill):
            for by in list(lane.asks):
                self._drop_ask(seq, lane, by)

    def _drop_ask(self, seq: int, lane: _Lane, by: Address) -> None:
        del lane.asks[by]
        self._count -= 1
        if lane.gathered:
            lane.turns.remove(by, seq)

    def _budget(self, by: Address) -> TokenBucket:
        return self._alone if by in self._unreached else self._total


def _first(bitmap: int) -> int:
    """Return the number of the lowest bit that is set."""
    return (bitmap & -bitmap).bit_length() - 1


def _healed(bitmap: int) -> int:
    """Return `bitmap` without its highest bit: a parity symbol does for any of them."""
    return bitmap & ~(1 << (bitmap.bit_length() - 1)) if bitmap else 0
