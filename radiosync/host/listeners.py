"""The host's table of listeners: their latency, their health, and whether they still count.

Nothing here is trusted: a row exists only for an address that has shown it receives what is sent to it (the cookie),
the table is bounded, and a listener that is not heard of for `slow_client_timeout` is forgotten.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b

from radiosync.host.intervals import REPORT_NS, REPORT_NS_MAX, clock_interval_ns, report_interval_ns
from radiosync.repair.respond import Address
from radiosync.units import NS_PER_S, HostNs
from radiosync.wire.messages import Report

LISTENERS_MAX = 4096  # rows of about 1 KiB; more than one group has ever been asked to serve
ASKED_MAX = 256  # who has asked for a host and not reported: the oldest question is forgotten
ANSWER_NS = 3 * NS_PER_S // 2  # from a question to the first report: two round trips of half a second, and a little
SILENCE_REPORTS = 3
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
    """All listeners that have proved their address.

    At capacity a newcomer is refused and counted: those who listen already are not pushed out.
    """

    latency_samples: int
    max_latency_ns: int
    forget_ns: int
    report_ns_max: int = REPORT_NS_MAX
    refused: int = 0
    _rows: dict[Address, ListenerRow] = field(default_factory=dict)
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
            if row is None and len(self._rows) >= LISTENERS_MAX:
                self.refused += 1
                return
            row = self._rows[address] = ListenerRow(address, deque(maxlen=self.latency_samples), now, report)
        row.last_heard_at = now
        row.report = report
        row.report_ns = self.report_ns
        if report.rtt_ns > 0:
            row.samples_ns.append(report.rtt_ns)
            row.average_ns = sum(row.samples_ns) // len(row.samples_ns)
        if 0 < report.echo_at <= now - report.echo_held_ns:
            row.echo_ns = now - report.echo_at - report.echo_held_ns

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
        return [row for row in self._rows.values() if self.status(row, now) is Status.ACTIVE]

    def remove(self, address: Address) -> None:
        """Forget a listener."""
        self._rows.pop(address, None)


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
