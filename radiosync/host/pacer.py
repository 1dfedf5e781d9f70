"""When the next symbol may leave.

Symbols leave on a schedule in media time: a chunk that lasts 0.5 s and has 44 symbols gives each 11 ms at the rate of
the music, a quarter of that while the listeners' buffers still fill.  A schedule, unlike a burst per chunk, never asks
more of a receive buffer or an access point than the average does.  A loop that comes late may catch up by a few
datagrams, never by what a stall of a second would make.
"""

from radiosync.repair.symbols import Chunk
from radiosync.units import NS_PER_MS, NS_PER_S, HostNs

BURST = 16  # datagrams back to back: the smallest default receive buffer (Linux: 208 KiB) holds 92
DATAGRAMS_PER_S_MAX = 3000  # 29 Mbit/s: what a laptop's listener takes in with a tenth of a core
START_FACTOR = 4  # times the fill speed, for what everybody waits for before a start: 5 s of music in a third of one
GATHERED = 4  # symbols sent per wake-up while nothing hurries: a wake-up costs more than a datagram
GATHER_NS_MAX = 40 * NS_PER_MS
STEADY_SPEED = 1.25  # of the music's rate, when buffers are full: a late chunk is made up for within four


class Pacer:
    """Grants the sending of symbols, one at a time."""

    def __init__(self, fill_speed: float) -> None:
        self._fill_speed = fill_speed
        self._next_at: HostNs | None = None
        self.gather_ns = 0
        """How much later than `next_at` the loop may come, so that it finds a few symbols at once."""

    def next_at(self, now: HostNs) -> HostNs:
        """Return when the next symbol may leave."""
        return now if self._next_at is None else self._next_at

    def granted(self, now: HostNs) -> bool:
        """Say whether a symbol may leave now."""
        return self.next_at(now) <= now

    def speed(self, *, starting: bool, filling: bool) -> float:
        """Return how many times as fast as the music is played it should be sent."""
        if starting:
            return START_FACTOR * self._fill_speed
        return self._fill_speed if filling else STEADY_SPEED

    def sent(self, chunk: Chunk, chunk_ns: int, now: HostNs, *, due_at: HostNs, speed: float) -> None:
        """Note that a symbol of `chunk`, which lasts `chunk_ns` and could leave from `due_at` on, has left.

        Time in which nothing could leave is not made up for, or each chunk would begin with a burst.
        """
        step_ns = max(round(chunk_ns / len(chunk.symbols) / speed), NS_PER_S // DATAGRAMS_PER_S_MAX)
        self.gather_ns = min((GATHERED - 1) * step_ns, GATHER_NS_MAX) if speed == STEADY_SPEED else 0
        self._next_at = HostNs(max(self.next_at(now), due_at, now - (BURST - 1) * step_ns) + step_ns)
