"""Whether everybody pauses when listeners run dry.

By default nobody pauses: who runs dry falls silent and comes back by itself, and the others play on.  With the policy
"pause" everybody stops together until those who ran low have caught up.  Players that did this without bounds have
stood still for hours because of one of them, so here it is bounded on every side:

  eligible   who has played for `STEADY_NS` without a break, is not slow, and not on probation.  Who has just come, or
             just come back, never counts.
  low        an eligible listener that had a buffer since the music last started or jumped, and for more than
             `LOW_FOR_NS` less than `LOW_NS` of one (a share of a short one), or is muted.  Of who is silent it is
             reckoned that nothing has come since.  Near the end of the music nobody is low, nor while the host itself
             is at fault: its source late, or its own loop.  It is low until it has twice as much (hysteresis), but who
             has been low for as long as a pause may last is not paused for any more.
  pause      once `max(1, share of the eligible)` are low; for `PAUSE_NS_MAX` at most, until everybody's music goes on;
             at most one in `PAUSE_EVERY_NS` and `PAUSES_MAX` in `WINDOW_NS`.  Then it goes on without who is still low.
  probation  at its second stall in `WINDOW_NS` a listener ceases to count for `PROBATION_NS`, doubled each time.  It
             gets its music as ever.

What a person orders takes effect at once, and ends the policy's own pause.  A live source is never paused: what it says
meanwhile would be lost.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import ceil

from radiosync.config import RadioSyncConfig
from radiosync.host.coordinator import JUMP_WAIT_NS, calculate_optimal_sync
from radiosync.host.events import GroupPaused, GroupResumed, HostEvent, ProbationBegan
from radiosync.host.listeners import ListenerRow, ListenerTable, Status
from radiosync.host.sender import Sender
from radiosync.host.transport import Transport
from radiosync.units import NS_PER_MS, NS_PER_S, HostNs, MediaFrame, ns_from_frames
from radiosync.wire.messages import ListenerState, Report

STEADY_NS = 30 * NS_PER_S
LOW_NS = 3 * NS_PER_S
LOW_SHARE = 4  # of a short buffer, a quarter
LOW_FOR_NS = NS_PER_S
PAUSE_NS_MAX = 10 * NS_PER_S
PAUSE_EVERY_NS = 60 * NS_PER_S
PAUSES_MAX = 3
WINDOW_NS = 600 * NS_PER_S
STALLS_MAX = 2
PROBATION_NS = 300 * NS_PER_S
PROBATION_NS_MAX = 3600 * NS_PER_S
SICK_NS = 10 * NS_PER_S  # after the host was at fault: what that has done to the listeners' buffers is over by then
LOOK_NS_MAX = NS_PER_S  # between two looks; more, and the host's own loop has stood still
RESUME_SLACK_NS = 200 * NS_PER_MS  # two looks: the order to go on is given so much earlier


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What the policy must know of the host."""

    playing: bool
    """By the record in force, and no start is being prepared."""
    stretch: tuple[int, int]
    """What plays without a break: its epoch and first frame."""
    buffer_ns: int
    left_ns: int | None
    """The music until the end; None where that is not known."""
    healthy: bool
    resume_ns: int
    """How long it takes at most from the order to go on until it is heard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A pause that the policy has made."""

    until: HostNs
    """When music is to be heard again at the latest."""
    blockers: dict[int, Report]
    """Who it is for, by listener id, and what each had said last by then."""
    need: int
    """So many of them have to be low for it to go on."""


@dataclass(slots=True)
class _Member:
    """What is known of one listener."""

    name: str
    playing_since: HostNs | None = None
    steady: bool = False
    stretch: tuple[int, int] | None = None
    filled: bool = False
    low_since: HostNs | None = None
    low: bool = False
    stalls: deque[HostNs] = field(default_factory=lambda: deque(maxlen=STALLS_MAX))
    probation_until: HostNs | None = None
    probation_ns: int = PROBATION_NS

    def leave_behind(self) -> None:
        """Let it count again only after it has played without a break."""
        self.playing_since = self.low_since = None
        self.steady = self.low = False


class StallPolicy:
    """Decides; one `look` after the other, with nothing but what it is given."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._members: dict[int, _Member] = {}
        self._pauses: deque[HostNs] = deque(maxlen=PAUSES_MAX)
        self.hold: Hold | None = None

    def override(self) -> bool:
        """Give up the policy's own pause, since a person has decided; say whether there was one."""
        held, self.hold = self.hold is not None, None
        return held

    def probation_ns(self, listener_id: int, now: HostNs) -> int:
        """Return how long a listener is still on probation."""
        member = self._members.get(listener_id)
        if member is None or member.probation_until is None:
            return 0
        return max(0, member.probation_until - now)

    def look(self, table: ListenerTable, scene: Scene, now: HostNs) -> Iterator[HostEvent]:
        """Yield what is decided; the pause and its end are to be carried out."""
        rows = {row.report.listener_id: row for row in table}
        for gone in self._members.keys() - rows.keys():
            del self._members[gone]
        for listener_id, row in rows.items():
            member = self._members.setdefault(listener_id, _Member(row.report.name))
            slow = table.status(row, now) is Status.SLOW
            if slow or not scene.playing:
                member.leave_behind()
            elif self._update(member, row, scene, now):
                yield from self._stalled(member, now)
        if self.hold is not None:
            yield from self._end(self.hold, rows, scene, now)
        elif scene.playing:
            yield from self._begin(rows, now)

    def _begin(self, rows: dict[int, ListenerRow], now: HostNs) -> Iterator[HostEvent]:
        eligible = {i: m for i, m in self._members.items() if m.steady and not self.probation_ns(i, now)}
        blockers = {i: rows[i].report for i, m in eligible.items() if m.low}
        need = max(1, ceil(self._share * len(eligible)))
        if len(blockers) < need:
            return
        if self._pauses and now - self._pauses[-1] < PAUSE_EVERY_NS:
            return
        if len(self._pauses) == PAUSES_MAX and now - self._pauses[0] < WINDOW_NS:
            return
        self._pauses.append(now)
        self.hold = Hold(until=HostNs(now + PAUSE_NS_MAX), blockers=blockers, need=need)
        yield GroupPaused(names=tuple(report.name for report in blockers.values()), seconds=PAUSE_NS_MAX / NS_PER_S)

    def _end(self, hold: Hold, rows: dict[int, ListenerRow], scene: Scene, now: HostNs) -> Iterator[HostEvent]:
        high_ns = 2 * low_ns(scene.buffer_ns)
        still = [
            said.name
            for listener_id, said in hold.blockers.items()
            if (row := rows.get(listener_id)) is not None  # who has left is not waited for
            and (row.report is said or row.report.buffer_ms * NS_PER_MS < high_ns)
        ]
        if len(still) >= hold.need and now < hold.until - scene.resume_ns:
            return
        self.hold = None
        yield GroupResumed(left_behind=tuple(still))

    def _stalled(self, member: _Member, now: HostNs) -> Iterator[HostEvent]:
        """Note a listener's stall."""
        member.stalls.append(now)
        if len(member.stalls) == STALLS_MAX and now - member.stalls[0] < WINDOW_NS:
            member.stalls.clear()
            member.probation_until = HostNs(now + member.probation_ns)
            yield ProbationBegan(name=member.name, seconds=member.probation_ns / NS_PER_S)
            member.probation_ns = min(2 * member.probation_ns, PROBATION_NS_MAX)

    @staticmethod
    def _update(member: _Member, row: ListenerRow, scene: Scene, now: HostNs) -> bool:
        """Take in how a listener stands; say whether it has just become low."""
        state = row.report.state
        muted = state is ListenerState.MUTED
        if state is ListenerState.PLAYING:
            if member.playing_since is None:
                member.playing_since = now
            member.steady = now - member.playing_since >= STEADY_NS
        elif not muted or not member.steady:
            member.leave_behind()
        if scene.stretch != member.stretch:
            member.stretch, member.filled = scene.stretch, False
        least_ns = low_ns(scene.buffer_ns)
        ahead_ns = row.report.buffer_ms * NS_PER_MS - (now - row.last_heard_at)
        if ahead_ns >= 2 * least_ns and not muted:
            member.filled = True
            if member.low:
                member.leave_behind()  # it has stalled, and plays again
        ending = scene.left_ns is not None and scene.left_ns < 2 * least_ns + LOW_FOR_NS
        if not scene.healthy or ending or not member.filled or not member.steady:
            member.low_since, member.low = None, False
        elif muted or ahead_ns < least_ns:
            member.low_since = member.low_since or now
        elif not member.low:
            member.low_since = None
        was_low = member.low
        member.low = member.low_since is not None and (muted or member.low or now - member.low_since > LOW_FOR_NS)
        if member.low_since is not None and now - member.low_since > PAUSE_NS_MAX:
            member.leave_behind()
        return member.low and not was_low


class StallGuard:
    """The policy at work: shows it the host, and carries out what it decides."""

    def __init__(self, config: RadioSyncConfig, sender: Sender, transport: Transport, rate: int, *, live: bool) -> None:
        self.policy = StallPolicy(config.underrun_share)
        self._enabled = config.underrun_policy == "pause" and not live
        self._sender = sender
        self._transport = transport
        self._rate = rate
        self._gaps_seen = 0
        self._looked_at: HostNs | None = None
        self._sick_until = HostNs(0)

    def update(
        self, listeners: ListenerTable, final_frame: MediaFrame | None, source_gaps: int, now: HostNs
    ) -> Iterator[HostEvent]:
        """Pause or go on as the policy says, and yield what has happened; `source_gaps` counts the source's faults."""
        if not self._enabled:
            return
        delay_ns = calculate_optimal_sync(listeners.eligible(now)).delay_ns
        for event in self.policy.look(listeners, self._scene(final_frame, source_gaps, delay_ns, now), now):
            if isinstance(event, GroupPaused):
                self._transport.pause(delay_ns, now)
            elif isinstance(event, GroupResumed):
                self._transport.resume(now)
            yield event

    def _scene(self, final_frame: MediaFrame | None, source_gaps: int, delay_ns: int, now: HostNs) -> Scene:
        transport, buffer_ns = self._transport, self._sender.depth_ns
        late = self._looked_at is not None and now - self._looked_at > LOOK_NS_MAX
        if late or source_gaps != self._gaps_seen:
            self._sick_until = HostNs(now + SICK_NS)
        self._looked_at, self._gaps_seen = now, source_gaps
        due = transport.due_frame(now)
        ready_ns = ns_from_frames(self._sender.packetizer.next_frame - due, self._rate)
        newest = transport.newest
        return Scene(
            playing=newest.playing and transport.preparation is None and newest.effective_at <= now,
            stretch=(newest.epoch, transport.begin_frame),
            buffer_ns=buffer_ns,
            left_ns=None if final_frame is None else ns_from_frames(final_frame - due, self._rate),
            healthy=now >= self._sick_until and (final_frame is not None or ready_ns >= 2 * low_ns(buffer_ns)),
            resume_ns=JUMP_WAIT_NS + delay_ns + RESUME_SLACK_NS,
        )


def low_ns(buffer_ns: int) -> int:
    """Return below how much music a listener is low, by a buffer of `buffer_ns`."""
    return min(LOW_NS, buffer_ns // LOW_SHARE)
