"""The coordinator: when everybody starts together, and when they go on after a skip, a seek or a pause.

The seed's rules: the start is reckoned from the slowest listener (its rolling average latency) plus a margin of 200 ms;
a listener is ready when it holds `slowest latency + safety_margin` of audio; nobody starts before everybody is ready.
To which come bounds, because somebody is always missing: only listeners that keep up are waited for, and not for ever;
and because nobody may hold up the others by what it says of itself.  COORDINATION.md has all of these in one place.

With a shared clock latency does not decide when a listener plays (the play-at does) but how early the host must give
the order: the order has to reach the slowest, and to find it before it has rendered past the start.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from radiosync.config import RadioSyncConfig
from radiosync.host.listeners import ANSWER_NS, ListenerRow, ListenerTable, Status, machines
from radiosync.timeline import Timeline
from radiosync.units import NS_PER_MS, NS_PER_S, NS_PER_US, HostNs, MediaFrame
from radiosync.wire.groups import Address
from radiosync.wire.messages import Sync, SyncPhase

SYNC_MARGIN_NS = 200 * NS_PER_MS  # the seed's
RENDER_MARGIN_NS = 60 * NS_PER_MS  # beyond the lead: a loop's turn at either end
REPEAT_NS = 100 * NS_PER_MS  # of the preparation, so that a lost one costs little
START_WAIT_NS = 5 * NS_PER_S  # for listeners, before the first frame of a session
MINORITY_WAIT_NS = 3 * NS_PER_S  # for less than half of the machines: who is half a second away is ready after two
JUMP_WAIT_NS = 450 * NS_PER_MS  # before a skip, seek or resume: it is to be heard within a second
RENDER_LEAD_MAX_NS = 2 * NS_PER_S  # of any listener: no sound device needs more, and nobody may hold up everybody
LEAD_USUAL_NS = 700 * NS_PER_MS  # render_ahead, and a device of half a second, as Bluetooth has them
LEAD_TIMES_USUAL = 2  # of the machine in the middle: who needs more than that gets its orders late, and alone
RENDER_LEAD_NS = 300 * NS_PER_MS  # of a listener that has not said yet what its own is


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimalSync:
    """When everybody can start, and who decides that."""

    slowest: str
    slowest_latency_ns: int
    delay_ns: int
    """From the order to the start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """A start that is being prepared."""

    target_frame: MediaFrame
    epoch: int
    began_at: HostNs
    wait_ns: int
    lead_ns: int
    """The least time from the beginning to the start, for those who are about to make themselves known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What has come of the waiting."""

    go: bool
    waiting: tuple[str, ...]
    reason: str


class WaitedFor:
    """Remembers one listener that a start waits for: while it does, not everybody need be asked at every turn."""

    def __init__(self) -> None:
        self._address: Address | None = None

    def look(self, preparation: Preparation, listeners: Sequence[ListenerRow]) -> None:
        """Find one among those who are waited for; one that has said more than one thing, and so counts for sure."""
        unready = (r for r in listeners if r.reports > 1 and r.report.ready_frame != preparation.target_frame)
        self._address = next((row.address for row in unready), None)

    def forget(self) -> None:
        """Wait for nobody."""
        self._address = None

    def still(self, preparation: Preparation, listeners: ListenerTable, now: HostNs) -> bool:
        """Say whether `judge` would go on waiting for this one, whatever the others say."""
        row = None if self._address is None else listeners.get(self._address)
        if row is None or now - preparation.began_at >= min(preparation.wait_ns, MINORITY_WAIT_NS):
            return False
        unready = row.reports > 1 and row.report.ready_frame != preparation.target_frame
        return unready and listeners.status(row, now) is Status.ACTIVE


def calculate_optimal_sync(listeners: Sequence[ListenerRow]) -> OptimalSync:
    """Reckon the start from the slowest of `listeners`."""
    slowest = max(listeners, key=lambda row: row.average_ns, default=None)
    latency_ns = 0 if slowest is None else slowest.average_ns
    lead_ns = min(_lead_ns(listeners), RENDER_LEAD_MAX_NS)
    return OptimalSync(
        slowest="" if slowest is None else slowest.report.name,
        slowest_latency_ns=latency_ns,
        delay_ns=latency_ns + max(SYNC_MARGIN_NS, lead_ns + RENDER_MARGIN_NS),
    )


def _lead_ns(listeners: Sequence[ListenerRow]) -> int:
    """Return the longest lead that is not far beyond what is usual here."""
    leads_ns: dict[str, int] = {}
    for row in listeners:
        lead_ns = row.report.lead_ms * NS_PER_MS or RENDER_LEAD_NS
        leads_ns[row.address[0]] = max(lead_ns, leads_ns.get(row.address[0], 0))
    ordered = sorted(leads_ns.values())
    most_ns = max(LEAD_TIMES_USUAL * ordered[(len(ordered) - 1) // 2], LEAD_USUAL_NS) if ordered else 0
    return max((lead_ns for lead_ns in ordered if lead_ns <= most_ns), default=0)


def judge(
    preparation: Preparation, listeners: Sequence[ListenerRow], delay_ns: int, now: HostNs, *, expects: bool = False
) -> Verdict:
    """Say whether to start `delay_ns` from now, and whom that is still waiting for.

    `expects` says that somebody far away has asked for the host and is about to report.
    """
    waited_ns = now - preparation.began_at
    expected_ns = min(preparation.wait_ns, preparation.lead_ns + ANSWER_NS)
    soon = waited_ns + delay_ns < preparation.lead_ns or (expects and waited_ns < expected_ns)
    unready = [row for row in listeners if row.report.ready_frame != preparation.target_frame]
    waiting = tuple(row.report.name for row in unready)
    if not listeners:
        return Verdict(go=not soon, waiting=(), reason="nobody listens yet")
    if not waiting:
        return Verdict(go=not soon, waiting=(), reason="everybody is ready")
    names = ", ".join(waiting[:3]) + (f" and {len(waiting) - 3} more" if len(waiting) > 3 else "")
    few = 2 * len(machines(unready)) < len(machines(listeners))
    wait_ns = min(preparation.wait_ns, MINORITY_WAIT_NS) if few else preparation.wait_ns
    if waited_ns >= wait_ns:
        return Verdict(go=True, waiting=waiting, reason=f"{names}: not ready after {waited_ns / NS_PER_S:.1f} s")
    return Verdict(go=False, waiting=waiting, reason=f"waiting for {names}")


def sync_command(
    *,
    session: int,
    timeline: Timeline,
    target_frame: MediaFrame,
    decided: tuple[Verdict, OptimalSync],
    sync_config: RadioSyncConfig,
    buffered_ns: int,
    now: HostNs,
) -> Sync:
    """Return the message that prepares a start, or orders it; `timeline` is the newest record, the order's if given."""
    verdict, sync = decided
    required_ns = min(sync.slowest_latency_ns + sync_config.safety_ns, sync_config.buffer_ns // 2)
    return Sync(
        session=session,
        timeline=timeline,
        phase=SyncPhase.GO if verdict.go else SyncPhase.PREPARE,
        target_frame=target_frame,
        sync_at=timeline.effective_at if verdict.go else HostNs(now + sync.delay_ns),
        required_ms=required_ns // NS_PER_MS,
        slowest_latency_us=sync.slowest_latency_ns // NS_PER_US,
        buffer_offset_ms=buffered_ns // NS_PER_MS,
        waiting=len(verdict.waiting),
        slowest=sync.slowest,
        reason=verdict.reason,
    )
