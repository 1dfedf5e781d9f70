"""What is missing: from gaps in what arrived, and from what the host says it has sent.

A chunk is looked at once a later one has begun to arrive, or an announcement says that all of it was sent, and the
reorder guard has passed.  What it still lacks then counts as lost and is asked for.
"""

from collections import deque

from radiosync.units import NS_PER_MS, LocalNs

REORDER_GUARD_NS = 30 * NS_PER_MS  # a datagram that is later than its successor by more was lost, on any LAN
NONE = range(0)
LOOKS_MAX = 4096  # chunks waiting for the guard to pass: a minute of the smallest chunks


class LossDetector:
    """Says which chunks should have arrived by now.

    `next_seq` is the first chunk that nothing is known to have been sent of.
    """

    def __init__(self, first_seq: int) -> None:
        self.next_seq = first_seq
        self._checked = first_seq
        self._looks: deque[tuple[LocalNs, int]] = deque(maxlen=LOOKS_MAX)

    def sent_before(self, seq: int, now: LocalNs) -> None:
        """Note that every chunk before `seq` has been sent."""
        if seq > self.next_seq:
            self.next_seq = seq
            self._looks.append((LocalNs(now + REORDER_GUARD_NS), seq))

    def next_timeout(self) -> LocalNs | None:
        """Return when the next chunk is to be looked at."""
        return self._looks[0][0] if self._looks else None

    def due(self, now: LocalNs) -> range:
        """Return the chunks to look at now, each once."""
        if not self._looks or self._looks[0][0] > now:
            return NONE
        until = self._checked
        while self._looks and self._looks[0][0] <= now:
            until = self._looks.popleft()[1]
        due = range(self._checked, until)
        self._checked = max(self._checked, until)
        return due
