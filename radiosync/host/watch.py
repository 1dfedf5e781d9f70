"""Watches the listeners: who has left, who has become slow or silent; what changes is told as an event."""

from collections.abc import Iterator
from dataclasses import dataclass

from radiosync.host.events import HostEvent, ListenerStatusChanged
from radiosync.host.listeners import ListenerRow, ListenerTable, Status
from radiosync.repair.respond import Address
from radiosync.units import HostNs


@dataclass(slots=True)
class _Seen:
    """What was last told of a listener."""

    status: Status = Status.ACTIVE


class ListenerWatch:
    """Notices what changes about the listeners of a table; it remembers no more than the table holds."""

    def __init__(self, table: ListenerTable) -> None:
        self._table = table
        self._seen: dict[Address, _Seen] = {}

    def look(self, now: HostNs) -> Iterator[HostEvent]:
        """Yield what has changed since the last look."""
        for row in self._table:
            seen = self._seen.setdefault(row.address, _Seen())
            yield from self._status(row, seen, now)

    def silent(self, now: HostNs) -> list[Address]:
        """Return who has been silent for so long that it is to be forgotten."""
        return [row.address for row in self._table if now - row.last_heard_at > self._table.forget_ns]

    def forget(self, address: Address) -> None:
        """Forget a listener."""
        self._seen.pop(address, None)

    def _status(self, row: ListenerRow, seen: _Seen, now: HostNs) -> Iterator[HostEvent]:
        status = self._table.status(row, now)
        if status is not seen.status:
            seen.status = status
            yield ListenerStatusChanged(name=row.report.name, status=status)
