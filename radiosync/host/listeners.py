"""The host's table of listeners: their latency, their health, and whether they still count.

Nothing here is trusted: a row exists only for an address that has shown it receives what is sent to it (the cookie),
the table is bounded, and a listener that is not heard of for `slow_client_timeout` is forgotten.  Who says one thing
and is never heard again, from ever another port, counts for nothing; COORDINATION.md says what else one may claim.

An address costs whoever means harm no more than a socket, so that a full table must not be a closed one: the machine
with the most rows gives way, first those that came and were not heard of again.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from heapq import nsmallest

from radiosync.host.intervals import REPORT_NS, REPORT_NS_MAX, clock_interval_ns, report_interval_ns
from radiosync.units import NS_PER_S, HostNs
from radiosync.wire.groups import Address
from radiosync.wire.messages import Report

LISTENERS_MAX = 4096  # rows of about 1 KiB; more than one group has ever been asked to serve
ROWS_PER_MACHINE_MAX = 512  # a swarm of two hundred for a test, and a house behind one router
GIVE_WAY_MAX = 64  # rows at once, since to look for them takes up to a millisecond
SETTLED_NS = 2 * NS_PER_S  # who is still heard of after that has stayed
NEWCOMER_SILENCE_NS = NS_PER_S  # while it learns the clock and waits for music a listener has more to say than later
ASKED_MAX = 256  # who has asked for a host and not reported: the oldest question is forgotten
ANSWER_NS = 3 * NS_PER_S // 2  # from a question to the first report: two round trips of half a second, and a little
NEWCOMERS_MAX = 3  # at one IP address, that have reported once: a person starts a program again, or two
SILENCE_REPORTS = 3
_NEVER = HostNs(0)
SILENCE_NS = SILENCE_REPORTS * REPORT_NS  # where reports come every second


class Status(StrEnum):
    """The seed's three states of a listener."""

    ACTIVE = "active"
    SLOW = "slow"
    TIMEOUT = "timeout"


@dataclass(slots=True)
class ListenerRow:
    """What is known of one listener."""

    address: Address
    samples_ns: deque[int]
    """The latest round trips."""
    last_heard_at: HostNs
    report: Report
    first_heard_at: HostNs = _NEVER
    reports: int = 0
    first_seq: int = 0
    """The first chunk that was sent after it came."""
    nacks: int = 0
    copy_refused: bool = False
    """Whether it has asked for a copy by unicast when there was no room, and that was told."""
    average_ns: int = 0
    """The rolling average of the samples."""
    echo_ns: int = 0
    """The last round trip as the host measured it, by the echo of an announcement."""
    report_ns: int = REPORT_NS
    """How often it was to report when it did so last."""


@dataclass(slots=True)
class ListenerTable:
    """All listeners that have proved their address."""

    latency_samples: int
    max_latency_ns: int
    forget_ns: int
    report_ns_max: int = REPORT_NS_MAX
    refused: int = 0
    """Reports of newcomers for whom there was no room."""
    pushed_out: int = 0
    """Rows that gave way to a newcomer's."""
    _rows: dict[Address, ListenerRow] = field(default_factory=dict)
    _at: dict[str, int] = field(default_factory=dict)
    """How many rows each machine has."""
    _asked: dict[Address, HostNs] = field(default_factory=dict)
    """When those first asked who have not reported yet; an address that nobody has proved, so it counts for little."""

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[ListenerRow]:
        return iter(self._rows.values())

    def get(self, address: Address) -> ListenerRow | None:
        """Return the row of `address`."""
        return self._rows.get(address)

    def asked(self, address: Address, now: HostNs) -> None:
        """Note that somebody at `address` looks for a host."""
        if address not in self._rows and address not in self._asked:
            while len(self._asked) >= ASKED_MAX:
                del self._asked[next(iter(self._asked))]
            self._asked[address] = now

    def expects(self, now: HostNs) -> bool:
        """Say whether somebody who has asked may still report."""
        return any(now - at < ANSWER_NS for at in self._asked.values())

    def heard(self, address: Address, report: Report, now: HostNs) -> None:
        """Take in a report."""
        self._asked.pop(address, None)
        row = self._rows.get(address)
        if row is None or row.report.listener_id != report.listener_id:
            if row is None:
                if not self._has_room(address):
                    self.refused += 1
                    return
                self._at[address[0]] = self._at.get(address[0], 0) + 1
            row = ListenerRow(address, deque(maxlen=self.latency_samples), now, report, first_heard_at=now)
            self._rows[address] = row
        row.last_heard_at = now
        row.report = report
        row.reports += 1
        row.report_ns = self.report_ns
        if report.rtt_ns > 0:
            row.samples_ns.append(report.rtt_ns)
            row.average_ns = sum(row.samples_ns) // len(row.samples_ns)
        if 0 < report.echo_at <= now - report.echo_held_ns:
            row.echo_ns = now - report.echo_at - report.echo_held_ns

    def give_way(self, address: Address, now: HostNs) -> list[Address]:
        """Return who is to be forgotten so that a newcomer at `address` has room: nobody, if it has, or should not.

        Those of its own machine, if that has too many rows, or no fewer than any; else those of the machine that has
        most.  Who did not stay, or is silent, goes before who is there.
        """
        if address in self._rows or self._has_room(address):
            return []
        own, crowd = self._at.get(address[0], 0), address[0]
        most = max(self._at, key=self._at.__getitem__)
        if own < ROWS_PER_MACHINE_MAX and self._at[most] > own + 1:
            crowd = most
        rows = [row for row in self._rows.values() if row.address[0] == crowd]
        chosen = nsmallest(GIVE_WAY_MAX, (row for row in rows if self._is_away(row, now)), key=_last_heard_at)
        if not chosen and crowd != address[0]:
            chosen = [min(rows, key=_last_heard_at)]
        if not chosen and own < ROWS_PER_MACHINE_MAX:
            away = (row for row in self._rows.values() if self._is_away(row, now))
            chosen = nsmallest(GIVE_WAY_MAX, away, key=_last_heard_at)
        self.pushed_out += len(chosen)
        return [row.address for row in chosen]

    @property
    def report_ns(self) -> int:
        """How often each listener should report while it plays well, in ns."""
        return report_interval_ns(len(self._rows), self.report_ns_max)

    @property
    def clock_ns(self) -> int:
        """The least time between two questions to the clock of one listener, in ns."""
        return clock_interval_ns(len(self._rows))

    def status(self, row: ListenerRow, now: HostNs) -> Status:
        """Return whether a listener is active, slow or gone quiet."""
        if now - row.last_heard_at > SILENCE_REPORTS * row.report_ns:
            return Status.TIMEOUT
        return Status.SLOW if row.average_ns > self.max_latency_ns else Status.ACTIVE

    def eligible(self, now: HostNs) -> list[ListenerRow]:
        """Return the listeners that a start waits for and is reckoned from."""
        return [row for row in self.counted() if self.status(row, now) is Status.ACTIVE]

    def counted(self) -> list[ListenerRow]:
        """Return all but those at an address from which too many come that have said one thing only."""
        newcomers = Counter(row.address[0] for row in self._rows.values() if row.reports == 1)
        return [r for r in self._rows.values() if r.reports > 1 or newcomers[r.address[0]] <= NEWCOMERS_MAX]

    def remove(self, address: Address) -> None:
        """Forget a listener."""
        if self._rows.pop(address, None) is not None:
            self._at[address[0]] -= 1
            if not self._at[address[0]]:
                del self._at[address[0]]

    def _has_room(self, address: Address) -> bool:
        return len(self._rows) < LISTENERS_MAX and self._at.get(address[0], 0) < ROWS_PER_MACHINE_MAX

    def _is_away(self, row: ListenerRow, now: HostNs) -> bool:
        """Say whether a listener is silent, or has come and soon was not heard of any more."""
        stayed = row.last_heard_at - row.first_heard_at >= SETTLED_NS
        return now - row.last_heard_at > (SILENCE_REPORTS * row.report_ns if stayed else NEWCOMER_SILENCE_NS)


def _last_heard_at(row: ListenerRow) -> HostNs:
    return row.last_heard_at


def machines(rows: Iterable[ListenerRow]) -> set[str]:
    """Return the IP addresses of `rows`: one machine has one voice, however many listeners it says it has."""
    return {row.address[0] for row in rows}


class Cookies:
    """Proofs of address: who returns one has received what was sent to its address (RFC 9000 section 8.1).

    Stateless: a keyed hash of the address.  The key lives as long as the session.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, address: Address) -> int:
        """Return the cookie for `address`; never 0, which means none."""
        digest = blake2b(f"{address[0]}|{address[1]}".encode(), key=self._key, digest_size=8).digest()
        return int.from_bytes(digest, "big") or 1

    def valid(self, cookie: int, address: Address) -> bool:
        """Say whether `cookie` was given to `address`."""
        return cookie == self.of(address)
