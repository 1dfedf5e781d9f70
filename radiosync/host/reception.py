"""What listeners say: whom the host heeds, and what becomes of it.

A question for the host is answered at once, whoever asks.  Everything else counts only with the session's number and
the cookie that was sent to the address that it comes from.
"""

from collections import deque

from radiosync.host.copies import Answer, Copies
from radiosync.host.events import CopyRefused, CopyServed, HostEvent, ListenerJoined, ListenerLeft
from radiosync.host.listeners import LISTENERS_MAX, Cookies, ListenerRow, ListenerTable, Status
from radiosync.host.sender import Sender
from radiosync.host.watch import ListenerWatch
from radiosync.repair.budget import Budgets
from radiosync.units import HostNs
from radiosync.wire.groups import Address
from radiosync.wire.messages import Leave, Message, Nack, Report

NACKS_PER_S_MAX = 40  # of one listener: an honest one sends no more (`repair/request.py`)
NACKS_PER_S_MACHINE = 1000  # of one machine: a tenth of a processor; two hundred lossy listeners send half of that
NACKS_MACHINE_BURST = 2000  # two hundred joiners at once


class Reception:
    """Takes in what listeners say; what is worth telling a person goes to `events`."""

    def __init__(
        self,
        session: int,
        cookies: Cookies,
        listeners: ListenerTable,
        sender: Sender,
        watch: ListenerWatch,
        copies: Copies,
        events: deque[HostEvent],
    ) -> None:
        self.cookies = cookies
        self.nacks = 0
        self.nacks_ignored = 0
        """Of those how many were beyond what is heeded of one listener or one machine."""
        self._nacks_of: Budgets[Address] = Budgets(NACKS_PER_S_MAX, NACKS_PER_S_MAX, LISTENERS_MAX)
        self._nacks_at: Budgets[str] = Budgets(NACKS_PER_S_MACHINE, NACKS_MACHINE_BURST, LISTENERS_MAX)
        self.reports = 0
        self._session = session
        self._listeners = listeners
        self._sender = sender
        self._watch = watch
        self._copies = copies
        self._events = events

    def receive(self, message: Message, source: Address, now: HostNs) -> bool:
        """Take in a message; say whether it was one of a listener of this session that has proved its address."""
        if (
            not isinstance(message, Nack | Report | Leave)
            or message.session != self._session
            or not self.cookies.valid(message.cookie, source)
        ):
            return False
        if isinstance(message, Nack):
            self._receive_nack(message, source, now)
        elif isinstance(message, Report):
            self._receive_report(message, source, now)
        else:
            self._forget(source, timed_out=False)
        return True

    def watch(self, now: HostNs) -> None:
        """Tell what has changed, and forget who has been silent for too long."""
        self._nacks_of.tidy(now)
        self._nacks_at.tidy(now)
        self._events.extend(self._watch.look(now))
        for address in self._watch.silent(now):
            self._forget(address, timed_out=True)
        for address in self._copies.addresses:
            row = self._listeners.get(address)
            if row is not None and self._listeners.status(row, now) is Status.TIMEOUT:
                self._stop_copy(row)

    def _receive_nack(self, nack: Nack, source: Address, now: HostNs) -> None:
        self.nacks += 1
        row = self._listeners.get(source)
        first_seq = self._sender.next_seq_sent  # who has not reported yet has just come
        if row is not None:
            row.nacks += 1
            row.last_heard_at = now
            first_seq = row.first_seq
        if self._nacks_of.take(source, now) and self._nacks_at.take(source[0], now):
            self._sender.ask(nack, source, now, first_seq=first_seq)
        else:
            self.nacks_ignored += 1

    def _receive_report(self, report: Report, source: Address, now: HostNs) -> None:
        self.reports += 1
        known = self._listeners.get(source)
        is_new = known is None or known.report.listener_id != report.listener_id
        for other in self._listeners.give_way(source, now):
            self._forget(other, timed_out=True)
        self._listeners.heard(source, report, now)
        self._sender.want_tier(report.tier, now)
        row = self._listeners.get(source)
        if is_new and row is not None:
            row.first_seq = self._sender.next_seq_sent
            self._events.append(ListenerJoined(name=report.name, address=source))
        if row is not None:
            self._serve_copy(row)

    def _serve_copy(self, row: ListenerRow) -> None:
        """Begin or end a copy, as the listener's report wants it."""
        report = row.report
        if not report.wants_copy:
            self._stop_copy(row)
            return
        answer = self._copies.serve(row.address, report.tier)
        self._sender.note_reach(row.address, reached=row.address not in self._copies)
        if answer is Answer.BEGUN:
            self._events.append(CopyServed(name=report.name, served=True))
        elif answer is Answer.REFUSED and not row.copy_refused:
            row.copy_refused = True
            self._events.append(CopyRefused(name=report.name))

    def _stop_copy(self, row: ListenerRow) -> None:
        if self._copies.stop(row.address):
            self._sender.note_reach(row.address, reached=True)
            self._events.append(CopyServed(name=row.report.name, served=False))

    def _forget(self, address: Address, *, timed_out: bool) -> None:
        row = self._listeners.get(address)
        if row is not None:
            self._events.append(ListenerLeft(name=row.report.name, timed_out=timed_out))
        self._copies.stop(address)
        self._listeners.remove(address)
        self._sender.forget_listener(address)
        self._watch.forget(address)
