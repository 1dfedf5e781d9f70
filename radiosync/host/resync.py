"""The emergency resync: everybody enters anew, with a fade, exactly where the timeline says.

A listener corrects itself, gently or by a jump of its own; this is for when that did not help.  It is heard, if only as
some ms of fade, so there is at most one a minute, whoever wants it.
"""

from radiosync.units import NS_PER_S, HostNs

RESYNC_PAUSE_NS = 60 * NS_PER_S  # a cause that stays must not make stutter of the music


class Resyncs:
    """Counts the resyncs of everybody, and says when there may be another."""

    def __init__(self) -> None:
        self.count = 0
        self._last_at: HostNs | None = None

    def refusal(self, now: HostNs) -> str | None:
        """Return why there may be none now; None if there may."""
        if self._last_at is None or now - self._last_at >= RESYNC_PAUSE_NS:
            return None
        ago_s, pause_s = (now - self._last_at) / NS_PER_S, RESYNC_PAUSE_NS // NS_PER_S
        return f"the last one was {ago_s:.0f} s ago; there is at most one in {pause_s} s"

    def note(self, now: HostNs) -> None:
        """Note that everybody has been ordered to resync."""
        self.count += 1
        self._last_at = now
