"""The coordinator: when everybody starts together, and when they go on after a skip, a seek or a pause.

The seed's rules: the start is reckoned from the slowest listener (its rolling average latency) plus a margin of 200 ms;
a listener is ready when it holds `slowest latency + safety_margin` of audio; nobody starts before everybody is ready.
To which come bounds, because somebody is always missing: only listeners that keep up are waited for, and not for ever.

With a shared clock latency does not decide when a listener plays (the play-at does) but how early the host must give
the order: the order has to reach the slowest, and to find it before it has rendered past the start.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from radiosync.config import RadioSyncConfig
from radiosync.host.listeners import ListenerRow
from radiosync.timeline import Timeline
from radiosync.units import NS_PER_MS, NS_PER_S, NS_PER_US, HostNs, MediaFrame
from radiosync.wire.messages import Sync, SyncPhase

SYNC_MARGIN_NS = 200 * NS_PER_MS  # the seed's
RENDER_MARGIN_NS = 60 * NS_PER_MS  # beyond the lead: a loop's turn at either end
REPEAT_NS = 100 * NS_PER_MS  # of the preparation, so that a lost one costs little
START_WAIT_NS = 5 * NS_PER_S  # for listeners, before the first frame of a session
JUMP_WAIT_NS = 450 * NS_PER_MS  # before a skip, seek or resume: it is to be heard within a second
RENDER_LEAD_MAX_NS = 2 * NS_PER_S  # of any listener: no sound device needs more, and nobody may hold up everybody
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


def calculate_optimal_sync(listeners: Sequence[ListenerRow]) -> OptimalSync:
    """Reckon the start from the slowest of `listeners`."""
    slowest = max(listeners, key=lambda row: row.average_ns, default=None)
    latency_ns = 0 if slowest is None else slowest.average_ns
    lead_ns = max((row.report.lead_ms * NS_PER_MS or RENDER_LEAD_NS for row in listeners), default=0)
    lead_ns = min(lead_ns, RENDER_LEAD_MAX_NS)
    return OptimalSync(
        slowest="" if slowest is None else slowest.report.name,
        slowest_latency_ns=latency_ns,
        delay_ns=latency_ns + max(SYNC_MARGIN_NS, lead_ns + RENDER_MARGIN_NS),
    )


def judge(
    preparation: Preparation, listeners: Sequence[ListenerRow], delay_ns: int, now: HostNs, *, expects: bool = False
) -> Verdict:
    """Say whether to start `delay_ns` from now, and whom that is still waiting for.

    `expects` says that somebody far away has asked for the host and is about to report.
    """
    waited_ns = now - preparation.began_at
    soon = waited_ns + delay_ns < preparation.lead_ns or (expects and waited_ns < preparation.wait_ns)
    waiting = tuple(r.report.name for r in listeners if r.report.ready_frame != preparation.target_frame)
    if not listeners:
        return Verdict(go=not soon, waiting=(), reason="nobody listens yet")
    if not waiting:
        return Verdict(go=not soon, waiting=(), reason="everybody is ready")
    names = ", ".join(waiting[:3]) + (f" and {len(waiting) - 3} more" if len(waiting) > 3 else "")
    if waited_ns >= preparation.wait_ns:
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
