"""The listener's half of repair: when to ask for what is missing.

The horizon is long (45 s by default), so asking is scheduling, not emergency.  The rules, after NORM (RFC 5740
section 5, RFC 5401 section 5) and Aeron:

- Ask for a chunk only once it should have arrived; wait a random part of a back-off first, drawn from the truncated
  exponential distribution: of many listeners that lost something of the same chunk, few ask early, and the host's
  multicast answer silences the rest.  The back-off is as long as the time left until play-at allows (`rounds.py`).
- Whoever hears an answer to somebody waits for the rest of it.
- Ask again, a round later, for as long as an answer can still come in time, and never after that.
- One datagram per tick, the earliest deadline first, bounded in size and in what it asks for at once.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from radiosync.repair.rounds import GATHER_URGENT_NS, gather_ns, hold_off_ns, round_ns
from radiosync.units import NS_PER_MS, LocalNs
from radiosync.wire.codec import DATAGRAM_MAX, NACK_ENTRIES_MAX, NACK_OVERHEAD, NACK_RUN_MAX, nack_entry_bytes
from radiosync.wire.messages import NackEntry

TICK_NS = 25 * NS_PER_MS  # at most 40 NACKs a second from one listener, whatever happens
ANSWERED_NS = 100 * NS_PER_MS  # the host sends 16 symbols at once, and more after a moment
GROUP_SIZE = 10  # the NORM estimate of how many may have lost the same; wrong by 10 costs one NACK more
ANSWER_MIN_NS = 5 * NS_PER_MS  # beyond the round trip: the host's aggregation and a loop's lateness
SYMBOLS_ASKED_MAX = 600  # at once: a second of backfill; what is asked later has later deadlines
WANTS_MAX = 4096  # chunks under repair: beyond any buffer, so that only a lying host meets it
FAR_NS = 1 << 62
WHOLE = -1  # the bitmap of a chunk of which nothing has arrived


@dataclass(slots=True)
class _Want:
    deadline_at: LocalNs
    ask_at: LocalNs


def truncated_exponential(rng: Random, longest_ns: int, group_size: int = GROUP_SIZE) -> int:
    """Draw a back-off of at most `longest_ns` whose density rises exponentially (RFC 5401 section 5.2)."""
    lam = math.log(group_size) + 1
    x = rng.uniform(0.0, lam) + lam / (math.exp(lam) - 1)
    return min(longest_ns, max(0, round(longest_ns / lam * math.log(x * (math.exp(lam) - 1) / lam))))


class RequestScheduler:
    """Knows which chunks lack symbols and says when to ask for them.

    `tier` is asked which quality to have a chunk in, and `missing` for the bitmap of the symbols that are missing for
    that: 0 complete, WHOLE nothing arrived.
    """

    def __init__(
        self, rng: Random, missing: Callable[[int, int], int], tier: Callable[[int], int] = lambda _: 0
    ) -> None:
        self._rng = rng
        self._missing = missing
        self._tier = tier
        self._wants: dict[int, _Want] = {}
        self._ask_at: LocalNs | None = None  # the earliest of what is missing; None where that is to be found again
        self._tick_at = LocalNs(0)
        self.rtt_ns = 0
        self.symbols_per_chunk = 1
        self.horizon_ns = FAR_NS
        """What is due later than that is not asked for yet."""
        self.nacks = 0
        self.given_up = 0
        self.overflows = 0

    def __len__(self) -> int:
        return len(self._wants)

    def wants(self, seq: int) -> bool:
        """Say whether chunk `seq` is being asked for."""
        return seq in self._wants

    def missing(self, seq: int) -> int:
        """Return the bitmap of what is to be asked for of chunk `seq`."""
        return self._missing(seq, self._tier(seq))

    def want(self, seq: int, deadline_at: LocalNs, now: LocalNs, *, eager: bool = False) -> None:
        """Begin to ask for chunk `seq`, due at `deadline_at`; `eager` (a joiner's backlog) skips the back-off."""
        known = self._wants.get(seq)
        if known is not None:
            known.deadline_at = deadline_at
            return
        if len(self._wants) >= WANTS_MAX:
            self.overflows += 1
            return
        wait = 0 if eager else truncated_exponential(self._rng, round_ns(deadline_at - now, self.rtt_ns))
        self._wants[seq] = _Want(deadline_at, LocalNs(now + wait))
        self._ask_at = None

    def reschedule(self, deadline: Callable[[int], LocalNs | None], now: LocalNs) -> None:
        """Take new deadlines for all that is missing, None for what is not wanted any more: the timeline has moved."""
        self._ask_at = None
        for seq, want in list(self._wants.items()):
            deadline_at = deadline(seq)
            if deadline_at is None:
                del self._wants[seq]
                continue
            want.deadline_at = deadline_at
            want.ask_at = min(want.ask_at, LocalNs(now + round_ns(want.deadline_at - now, self.rtt_ns)))

    def heard(self, seq: int, now: LocalNs) -> None:
        """Note that a symbol of chunk `seq` has come in answer to somebody: others are probably on their way."""
        want = self._wants.get(seq)
        if want is not None:
            slack_ns = want.deadline_at - now
            want.ask_at = max(want.ask_at, LocalNs(now + min(ANSWERED_NS, round_ns(slack_ns, self.rtt_ns))))
            self._ask_at = None

    def forget(self, seq: int) -> None:
        """Stop asking for chunk `seq`: it is complete, or played."""
        if self._wants.pop(seq, None) is not None:
            self._ask_at = None

    def clear(self) -> None:
        """Stop asking for anything."""
        self._wants.clear()

    def next_timeout(self) -> LocalNs | None:
        """Return when `ask` is due, or None while nothing is missing."""
        if not self._wants:
            return None
        if self._ask_at is None:
            self._ask_at = min([want.ask_at for want in self._wants.values()])
        return max(self._tick_at, self._ask_at)

    def ask(self, now: LocalNs) -> tuple[NackEntry, ...]:
        """Return what to put into one NACK now; empty if nothing is due."""
        if now < self._tick_at:
            return ()
        self._tick_at = LocalNs(now + TICK_NS)
        if not self._wants:
            return ()
        self._ask_at = None
        entries: list[NackEntry] = []
        room, symbols = DATAGRAM_MAX - NACK_OVERHEAD, 0
        for seq, want in sorted(self._wants.items(), key=_deadline_of):
            tier = self._tier(seq)
            bitmap = self._missing(seq, tier)
            if bitmap == 0 or want.deadline_at - now < self.rtt_ns + ANSWER_MIN_NS:
                self.given_up += bitmap != 0
                del self._wants[seq]
                continue
            if want.deadline_at - now > self.horizon_ns:
                break
            if want.ask_at > now:
                continue
            count = self.symbols_per_chunk if bitmap == WHOLE else bitmap.bit_count()
            run, bits = (1, 0) if bitmap == WHOLE else (0, bitmap)
            entry = NackEntry(seq=seq, run=run, bitmap=bits, tier=tier)
            merged = _extended(entries[-1], seq) if entries and entry.run else None
            size = 0 if merged else nack_entry_bytes(entry)
            if size > room or len(entries) >= NACK_ENTRIES_MAX or (symbols and symbols + count > SYMBOLS_ASKED_MAX):
                break
            if merged:
                entries[-1] = merged
            else:
                entries.append(entry)
            room -= size
            symbols += count
            want.ask_at = LocalNs(now + self._retry_ns(want.deadline_at - now))
        self.nacks += bool(entries)
        return tuple(entries)

    def _retry_ns(self, slack_ns: int) -> int:
        """Return when to ask again: not before an answer could have come, nor while the host would not heed it."""
        longest_ns = round_ns(slack_ns, self.rtt_ns, again=True)
        host_ns = 0 if slack_ns < GATHER_URGENT_NS else gather_ns(slack_ns) + hold_off_ns(slack_ns)
        return self.rtt_ns + host_ns + longest_ns // 2 + self._rng.randrange(longest_ns)


def _deadline_of(item: tuple[int, _Want]) -> LocalNs:
    return item[1].deadline_at


def _extended(last: NackEntry, seq: int) -> NackEntry | None:
    """Return `last` grown by whole chunk `seq`, where that follows on."""
    if last.run and last.seq + last.run == seq and last.run < NACK_RUN_MAX:
        return last._replace(run=last.run + 1)
    return None
