"""Watches the listeners: who has left, who is slow, silent, muted or out of sync; what changes is told as an event."""

from collections.abc import Iterator
from dataclasses import dataclass

from radiosync.host.events import HostEvent, ListenerMuted, ListenerOutOfSync, ListenerStatusChanged
from radiosync.host.intervals import REPORT_NS
from radiosync.host.listeners import ListenerRow, ListenerTable, Status
from radiosync.host.transport import Transport
from radiosync.units import NS_PER_S, HostNs, MediaFrame
from radiosync.wire.groups import Address
from radiosync.wire.messages import ListenerState, Report

ALARM_REPORTS = 3  # in a row: the listener itself tells its person after a second
ALARM_NS = ALARM_REPORTS * REPORT_NS  # where reports come every second
ROWS_PER_S = 200  # looked at, if not each at every turn of the housekeeping: a tenth of a per cent of a core
LOOK_NS_MAX = NS_PER_S  # a report's time
END_LINGER_NS = 3 * NS_PER_S  # how long a listener that plays late, or lost its reports, can hold up the end


@dataclass(slots=True)
class _Seen:
    """What was last told of a listener."""

    status: Status = Status.ACTIVE
    muted: bool = False
    out_of_sync: bool = False
    changing_since: HostNs | None = None
    """Since when its error is on the other side of the tolerance."""


class ListenerWatch:
    """Notices what changes about the listeners of a table; it remembers no more than the table holds."""

    def __init__(self, table: ListenerTable, tolerance_ns: int) -> None:
        self._table = table
        self._tolerance_ns = tolerance_ns
        self._seen: dict[Address, _Seen] = {}
        self._look_at = HostNs(0)

    def due(self, now: HostNs) -> bool:
        """Say whether it is time to look, and plan the next: a crowd is looked at less often, for what that takes."""
        if now < self._look_at:
            return False
        self._look_at = HostNs(now + min(len(self._table) * NS_PER_S // ROWS_PER_S, LOOK_NS_MAX))
        return True

    def look(self, now: HostNs) -> Iterator[HostEvent]:
        """Yield what has changed since the last look."""
        for row in self._table:
            seen = self._seen.setdefault(row.address, _Seen())
            yield from self._status(row, seen, now)
            yield from self._sync(row, seen, now)

    def silent(self, now: HostNs) -> list[Address]:
        """Return who has been silent for so long that it is to be forgotten."""
        return [row.address for row in self._table if now - row.last_heard_at > self._table.forget_ns]

    def forget(self, address: Address) -> None:
        """Forget a listener."""
        self._seen.pop(address, None)

    def out_of_sync(self, address: Address) -> bool:
        """Say whether a listener is out of sync."""
        seen = self._seen.get(address)
        return seen is not None and seen.out_of_sync

    def all_played(self, transport: Transport, final_frame: MediaFrame, rate: int, now: HostNs) -> bool:
        """Say whether the last frame has been played, by everybody who still plays."""
        record = transport.newest
        end_at = record.play_at(final_frame, rate) if record.playing else record.effective_at
        if now < end_at or (not record.playing and record.media_frame < final_frame):
            return False
        waiting = any(
            row.report.state is ListenerState.PLAYING and self._table.status(row, now) is not Status.TIMEOUT
            for row in self._table
        )
        return not waiting or now >= end_at + END_LINGER_NS

    def _status(self, row: ListenerRow, seen: _Seen, now: HostNs) -> Iterator[HostEvent]:
        status = self._table.status(row, now)
        if status is not seen.status:
            seen.status = status
            yield ListenerStatusChanged(name=row.report.name, status=status)
        muted = row.report.state is ListenerState.MUTED
        if muted is not seen.muted:
            seen.muted = muted
            yield ListenerMuted(name=row.report.name, muted=muted)

    def _sync(self, row: ListenerRow, seen: _Seen, now: HostNs) -> Iterator[HostEvent]:
        """Tell of an error that has stayed beyond the tolerance, or within it, for three reports."""
        error_ns = row.report.sync_error_ns
        beyond = steered(row.report) and abs(error_ns) > self._tolerance_ns
        if beyond is seen.out_of_sync:
            seen.changing_since = None
            return
        seen.changing_since = seen.changing_since or now
        if now - seen.changing_since >= ALARM_REPORTS * row.report_ns:
            seen.out_of_sync, seen.changing_since = beyond, None
            yield ListenerOutOfSync(name=row.report.name, out_of_sync=beyond, error_ns=error_ns)


def steered(report: Report) -> bool:
    """Say whether a listener plays through a device that it steers: a file that is written late is not out of sync."""
    return report.state is ListenerState.PLAYING and report.lead_ms > 0
