"""The emergency resync: everybody enters anew, with a fade, exactly where the timeline says.

A listener corrects itself, gently or by a jump of its own; this is for when that did not help: a person orders it, or
the host itself, once

    spread = largest - smallest sync error of the active listeners with a device > resync_threshold   for three reports

so that a listener's own resync (two seconds) has had its chance.  An error is against the timeline, so who alone is off
is not mended by a jump of those who are not: where at most half of the machines have one beyond the threshold, these
are left out, and named to the person instead (`watch.py`).  It is heard, if only as some ms of fade, so there is
at most one a minute, whoever wants it.
"""

from radiosync.host.intervals import REPORT_NS
from radiosync.host.listeners import ListenerRow, ListenerTable, machines
from radiosync.host.watch import steered
from radiosync.units import NS_PER_MS, NS_PER_S, HostNs

RESYNC_PAUSE_NS = 60 * NS_PER_S  # a cause that stays must not make stutter of the music
SPREAD_REPORTS = 3
SPREAD_NS = SPREAD_REPORTS * REPORT_NS  # where reports come every second


class Resyncs:
    """Counts the resyncs of everybody, and says when one is needed and when there may be one."""

    def __init__(self, threshold_ns: int) -> None:
        self.count = 0
        self._threshold_ns = threshold_ns
        self._apart_since: HostNs | None = None
        self._last_at: HostNs | None = None

    def refusal(self, now: HostNs) -> str | None:
        """Return why there may be none now; None if there may."""
        if self._last_at is None or now - self._last_at >= RESYNC_PAUSE_NS:
            return None
        ago_s, pause_s = (now - self._last_at) / NS_PER_S, RESYNC_PAUSE_NS // NS_PER_S
        return f"the last one was {ago_s:.0f} s ago; there is at most one in {pause_s} s"

    def needed(self, listeners: ListenerTable, now: HostNs) -> str | None:
        """Return why everybody should resync, if listeners have been too far apart for too long; to be asked often."""
        heard = [row.report for row in self._agreeing(listeners, now)]
        first = min(heard, key=lambda report: report.sync_error_ns, default=None)
        last = max(heard, key=lambda report: report.sync_error_ns, default=None)
        apart_ns = 0 if first is None or last is None else last.sync_error_ns - first.sync_error_ns
        if first is None or last is None or apart_ns <= self._threshold_ns:
            self._apart_since = None
            return None
        self._apart_since = self._apart_since or now
        if now - self._apart_since < SPREAD_REPORTS * listeners.report_ns:
            return None
        return f"{first.name} and {last.name} are {apart_ns / NS_PER_MS:.1f} ms apart"

    def _agreeing(self, listeners: ListenerTable, now: HostNs) -> list[ListenerRow]:
        """Return who counts: without those far off, if these are not the most."""
        rows = [row for row in listeners.eligible(now) if steered(row.report)]
        far = [row for row in rows if abs(row.report.sync_error_ns) > self._threshold_ns]
        if 2 * len(machines(far)) > len(machines(rows)):
            return rows
        return [row for row in rows if abs(row.report.sync_error_ns) <= self._threshold_ns]

    def note(self, now: HostNs) -> None:
        """Note that everybody has been ordered to resync."""
        self.count += 1
        self._last_at = now
        self._apart_since = None
