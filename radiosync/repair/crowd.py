"""Whether who asks is one of several, as far as what was asked before can tell.

A host that answers the first who asks alone sends that answer in vain where others are waiting to ask as well.  Who has
asked for the same chunk tells of it too late, and those who were served by another's answer never ask.  But:

- Losses are scattered where nearly everybody loses something now and then.  Over some seconds each of them is once the
  first to ask for some chunk, whichever it is:

      listeners that ask x CHUNKS_EACH  >=  chunks that are asked for

  With one listener on a bad link, or two, there are more chunks.
- Two who lack whole stretches of music and ask within seconds of each other come back from the same outage.
"""

from radiosync.repair.parity import GROUP
from radiosync.units import NS_PER_S, HostNs
from radiosync.wire.groups import Address

WINDOW_NS = 4 * NS_PER_S  # eight chunks: of whoever loses one datagram in a hundred, four lack something
CHUNKS_EACH = 2
LISTENERS_MIN = 3
SEEN_MAX = 4096  # listeners, or chunks, of a window: as many as a host has rows for
SCATTERED_MAX = GROUP  # symbols of one chunk: more are an outage, and dear to heal by parity
_NEVER = HostNs(-(1 << 62))


class CrowdWatch:
    """Counts who asks, and for how many chunks, in one window after the other."""

    def __init__(self, now: HostNs) -> None:
        self._listeners: set[Address] = set()
        self._chunks: set[int] = set()
        self._until = HostNs(now + WINDOW_NS)
        self._scattered = False
        self._outage_by: Address | None = None
        self._outage_at = _NEVER
        self._outage_until = _NEVER

    def note(self, seq: int, symbols: int, by: Address, now: HostNs) -> bool:
        """Note that `by` has lost so many symbols of chunk `seq`; say whether others probably have as well."""
        if symbols > SCATTERED_MAX:
            return self._note_outage(by, now)
        if now >= self._until:
            listeners, chunks = len(self._listeners), len(self._chunks)
            fresh = now - self._until < WINDOW_NS
            self._scattered = fresh and listeners >= LISTENERS_MIN and listeners * CHUNKS_EACH >= chunks
            self._until = HostNs(now + WINDOW_NS)
            self._listeners.clear()
            self._chunks.clear()
        if len(self._listeners) < SEEN_MAX:
            self._listeners.add(by)
        if len(self._chunks) < SEEN_MAX:
            self._chunks.add(seq)
        return self._scattered

    def _note_outage(self, by: Address, now: HostNs) -> bool:
        if self._outage_by not in (None, by) and now - self._outage_at < WINDOW_NS:
            self._outage_until = HostNs(now + WINDOW_NS)
        self._outage_by, self._outage_at = by, now
        return now < self._outage_until
