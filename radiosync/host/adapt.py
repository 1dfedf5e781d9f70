"""How deep the buffer should be: deeper where the network needs it, back where it is calm.

Every two reports (two seconds, unless there are very many listeners) each listener's are turned into its wish,

    the greatest of   1.5 times 4 J             J the interarrival jitter, unless it is falling as it does where all is
                                                even again; of delays distributed exponentially, two in a hundred are
                                                longer than four times their mean
                      1.5 times the RTT spread  the second longest round trip minus the shortest: one outlier is none
                      1.5 times what it uses    the depth minus what lies ready at the listener, and two chunks that
                                                are read and sent meanwhile
                      1.5 to 2 times the depth  where music was missing that had been lost or came late

and everybody's wishes into one: the greatest, but in a live stream the greatest after those of less than a quarter of
the listeners.  There depth is delay for all, and nobody bears what a few suffer; up to four listeners each of them
counts.  In a file's stream depth delays nobody, so anyone who needs it gets it.

    deeper       when the wish exceeds the depth: by half, or to the wish.  A live stream must be in trouble twice in
                 ten seconds, since the change itself is a silence.
    shallower    by a fifth, towards the depth that was configured, when the wish would fit one and a half times into
                 that for a minute; for twice as long, and so on, after it had to be made deeper again.  A live stream
                 returns only while it is paused: at any other time music would have to be left out.

After a change, or a new record of the timeline, nothing is judged until reports can speak of what was sent since.
Listeners that are silent, on a lower tier, or too slow even for the deepest buffer are not asked.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from radiosync.config import RadioSyncConfig
from radiosync.host.coordinator import RENDER_LEAD_MAX_NS
from radiosync.host.events import BufferChanged
from radiosync.host.intervals import REPORT_NS
from radiosync.host.listeners import LISTENERS_MAX, ListenerRow, ListenerTable, Status
from radiosync.host.sender import Sender
from radiosync.host.transport import Transport
from radiosync.units import NS_PER_MS, NS_PER_S, NS_PER_US, HostNs, ns_from_frames
from radiosync.wire.groups import Address
from radiosync.wire.messages import ListenerState

PERIOD_REPORTS, SETTLE_PERIODS = 2, 2  # a period is two reports of everybody; a round of repairs is over within one
PERIOD_NS = PERIOD_REPORTS * REPORT_NS  # where reports come every second
SETTLE_NS = SETTLE_PERIODS * PERIOD_NS
GROWTH, SHRINK = 1.5, 0.8
MARGIN = 1.5  # from what the network takes of a buffer to the buffer, and from there to one that may shrink
CALM_NS, CALM_NS_MAX = 60 * NS_PER_S, 960 * NS_PER_S
JITTER_FACTOR = 4
JITTER_FALLING = 0.94  # in a period; 2 announcements that are in time make it 0.88 times what it was
STEADY_SHARE = 0.8  # of the depth: where the host itself holds less, listeners can't hold more
QUORUM = 4  # one listener of so many counts in a live stream
PERIODS, LIVE_TROUBLES = 5, 2  # of the latest so many periods, so many must have been bad in a live stream
NAMES_MAX = 3
KEEP_NS = 60 * NS_PER_S  # beyond every outage that a buffer could help with


@dataclass(slots=True)
class _Seen:
    """What a listener reported at the end of the last period that it was asked in."""

    listener_id: int
    troubles: int
    """Symbols lost and chunks late."""
    concealed: int
    jitter_us: int
    troubled_at: HostNs | None
    """When `troubles` has grown last."""
    settled: bool
    """Whether its buffer has been as full as it should be."""
    at: HostNs


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamState:
    """What the host itself is doing: its newest record, what it holds beyond the play position, its chunks' length."""

    version: int
    playing: bool
    ahead_ns: int
    chunk_ns: int
    report_ns: int = REPORT_NS
    """How often its listeners report."""


@dataclass(frozen=True, slots=True)
class _Wish:
    depth_ns: int
    name: str
    why: str


class BufferDepth:
    """Decides the depth of one session's buffer, in ns; `reason` says in words why it is what it is."""

    def __init__(self, depth_ns: int, depth_ns_max: int, now: HostNs, *, live: bool) -> None:
        self.depth_ns = depth_ns
        self.reason = "as configured"
        self._start_ns = depth_ns
        self._max_ns = depth_ns_max
        self._live = live
        self._seen: dict[Address, _Seen] = {}
        self._version = 0
        self._period_ns = PERIOD_NS
        self._judge_at = HostNs(now + PERIOD_NS)
        self._settled_at = now
        self._troubles: deque[bool] = deque(maxlen=PERIODS)
        self._calm_ns = 0
        self._calm_ns_needed = CALM_NS
        self._shrunk = False
        self._was_steady = False

    def due(self, now: HostNs) -> bool:
        """Say whether `update` would judge now: a period has passed, and there is a choice."""
        return now >= self._judge_at and self._start_ns < self._max_ns

    def update(self, listeners: Sequence[ListenerRow], state: StreamState, now: HostNs) -> BufferChanged | None:
        """Judge what the listeners that keep up report; return the change, if there is one."""
        if not self.due(now):
            return None
        self._period_ns = PERIOD_REPORTS * state.report_ns
        self._judge_at = HostNs(now + self._period_ns)
        if state.version != self._version:
            self._version = state.version
            self._settle(0, now)
        if not state.playing:
            return self._return(now) if self._live and self._calm_ns >= self._calm_ns_needed else None
        steady = state.ahead_ns >= STEADY_SHARE * self.depth_ns
        # Reports are up to a second old: what the host has only just is not in them.
        steady_ns = min(state.ahead_ns, self.depth_ns) if steady and self._was_steady else 0
        wishes = self._wishes(listeners, steady_ns, state.chunk_ns, now)
        self._was_steady = steady
        if not wishes or now < self._settled_at:
            return None
        return self._decide(wishes, now, behind=self._live and not steady)

    def _decide(self, wishes: list[_Wish], now: HostNs, *, behind: bool) -> BufferChanged | None:
        wishes.sort(key=lambda wish: wish.depth_ns, reverse=True)
        quorum = -(-len(wishes) // QUORUM) if self._live else 1
        wish = wishes[quorum - 1]
        trouble = wish.depth_ns > self.depth_ns
        self._troubles.append(trouble)
        shallower_ns = self._start_ns if self._live else max(self._start_ns, round(self.depth_ns * SHRINK))
        self._calm_ns = self._calm_ns + self._period_ns if wish.depth_ns * MARGIN <= shallower_ns else 0
        if trouble and sum(self._troubles) >= (LIVE_TROUBLES if self._live else 1):
            names = [each.name for each in wishes if each.depth_ns > self.depth_ns]
            return self._deepen(wish, names, now, behind=behind)
        if not self._live and self.depth_ns > self._start_ns and self._calm_ns >= self._calm_ns_needed:
            reason = f"calm for {self._calm_ns // NS_PER_S} s"
            self._shrunk = True
            return self._change(shallower_ns, reason, now)
        return None

    def _deepen(self, wish: _Wish, names: list[str], now: HostNs, *, behind: bool) -> BufferChanged | None:
        who = ", ".join(names[:NAMES_MAX]) + (f" and {len(names) - NAMES_MAX} more" if len(names) > NAMES_MAX else "")
        reason = f"{who}: {wish.why}"
        if behind:  # the source was late once, and there is less than there should be
            return self._change(self.depth_ns, reason, now)
        if self.depth_ns >= self._max_ns:
            self.reason = f"as deep as it may be; {reason}"
            return None
        if self._shrunk:
            self._calm_ns_needed = min(2 * self._calm_ns_needed, CALM_NS_MAX)
        self._shrunk = False
        return self._change(min(self._max_ns, max(round(self.depth_ns * GROWTH), wish.depth_ns)), reason, now)

    def _return(self, now: HostNs) -> BufferChanged | None:
        """Go back to the configured depth at once."""
        if self.depth_ns == self._start_ns:
            return None
        return self._change(self._start_ns, f"paused, and calm for {self._calm_ns // NS_PER_S} s before", now)

    def _change(self, depth_ns: int, reason: str, now: HostNs) -> BufferChanged:
        change = BufferChanged(before_ns=self.depth_ns, depth_ns=depth_ns, reason=reason)
        self.depth_ns, self.reason = depth_ns, reason
        if depth_ns == self._start_ns:
            self._calm_ns_needed = CALM_NS
        self._calm_ns = 0
        self._settle(max(change.before_ns, depth_ns), now)  # what was sent before is heard until then
        return change

    def _settle(self, wait_ns: int, now: HostNs) -> None:
        self._settled_at = HostNs(now + SETTLE_PERIODS * self._period_ns + wait_ns)
        self._troubles.clear()
        self._was_steady = False
        for seen in self._seen.values():
            seen.settled = False

    def _wishes(self, listeners: Sequence[ListenerRow], steady_ns: int, chunk_ns: int, now: HostNs) -> list[_Wish]:
        """Return the wish of each listener that played throughout the period."""
        before, self._seen = self._seen, {}
        wishes = []
        for row in listeners:
            report = row.report
            if report.tier or report.state not in {ListenerState.PLAYING, ListenerState.MUTED}:
                continue
            troubles = report.symbols_lost + report.chunks_late
            unused_ns = (report.buffer_ms + min(report.lead_ms, RENDER_LEAD_MAX_NS // NS_PER_MS)) * NS_PER_MS
            settled = 0 < steady_ns <= MARGIN * unused_ns
            troubled_at = None
            seen = before.get(row.address)
            if seen is not None and seen.listener_id == report.listener_id and seen.troubles <= troubles:
                troubled_at = now if troubles > seen.troubles else seen.troubled_at
                used_ns = max(0, steady_ns - 2 * chunk_ns - unused_ns) if seen.settled else 0
                missing = report.chunks_concealed - seen.concealed
                # What was lost is missing when it is due; what the host left out, being late with it, does not count.
                if troubled_at is None or now - troubled_at > self.depth_ns + self._period_ns:
                    missing = 0
                jitter_us = report.jitter_us if report.jitter_us > JITTER_FALLING * seen.jitter_us else 0
                each = _each(row, self.depth_ns, jitter_us * NS_PER_US, used_ns, missing, chunk_ns)
                wishes.append(max(each, key=lambda wish: wish.depth_ns))
                settled |= seen.settled
            self._seen[row.address] = _Seen(
                listener_id=report.listener_id,
                troubles=troubles,
                concealed=report.chunks_concealed,
                jitter_us=report.jitter_us,
                troubled_at=troubled_at,
                settled=settled,
                at=now,
            )
        for address, seen in before.items():  # who is cut off for a while comes back with what it has missed
            if address not in self._seen and now - seen.at <= KEEP_NS and len(self._seen) < LISTENERS_MAX:
                self._seen[address] = seen
        return wishes


class BufferControl:
    """Lets a session's buffer, and the length of its chunks, follow `depth`."""

    def __init__(
        self, config: RadioSyncConfig, sender: Sender, transport: Transport, now: HostNs, *, live: bool
    ) -> None:
        depth_ns, depth_ns_max = config.buffer_ns, config.buffer_max_ns(live=live)
        self.depth = BufferDepth(depth_ns, depth_ns_max, now, live=live)
        self._latency_ns_max = config.max_client_latency_ns * depth_ns_max // depth_ns
        self._sender = sender
        self._transport = transport
        self._live = live

    def update(self, table: ListenerTable, now: HostNs) -> Iterator[BufferChanged]:
        """Judge, and carry out the change if there is one; yield it."""
        if not self.depth.due(now):
            return
        transport, sender, rate = self._transport, self._sender, self._sender.rate
        state = StreamState(
            version=transport.newest.version,
            playing=transport.horizon_moves,
            ahead_ns=max(0, ns_from_frames(sender.packetizer.next_frame - transport.horizon(now), rate)),
            chunk_ns=ns_from_frames(sender.chunk_frames, rate),
            report_ns=table.report_ns,
        )
        # `max_client_latency` suits the buffer that was configured; who keeps up with the deepest is asked as well.
        limit_ns = self._latency_ns_max
        asked = [r for r in table.counted() if r.average_ns <= limit_ns and table.status(r, now) is not Status.TIMEOUT]
        change = self.depth.update(asked, state, now)
        if change is not None:
            self._sender.set_depth(change.depth_ns, hold=self._live and state.playing)
            if self._live:
                transport.live_delay_ns = change.depth_ns
            yield change


def _each(row: ListenerRow, depth_ns: int, jitter_ns: int, used_ns: int, missing: int, chunk_ns: int) -> list[_Wish]:
    """Return what a listener wants for each of the reasons there are."""
    name, spread_ns = row.report.name, _spread_ns(row)
    behind = f"{used_ns / NS_PER_S:.1f} s of {depth_ns / NS_PER_S:.1f} used up"
    wishes = [
        _Wish(round(MARGIN * JITTER_FACTOR * jitter_ns), name, f"jitter of {jitter_ns / NS_PER_MS:.0f} ms"),
        _Wish(round(MARGIN * spread_ns), name, f"round trips differ by {spread_ns / NS_PER_MS:.0f} ms"),
        _Wish(round(MARGIN * used_ns), name, behind),
    ]
    if missing > 0:
        more_ns = min(max(missing * chunk_ns, round((GROWTH - 1) * depth_ns)), depth_ns)
        wishes.append(_Wish(depth_ns + more_ns, name, f"{missing} chunk{'s' * (missing > 1)} missing when due"))
    return wishes


def _spread_ns(row: ListenerRow) -> int:
    """Return the second longest of the latest round trips minus the shortest."""
    samples = sorted(row.samples_ns)
    return samples[-2] - samples[0] if len(samples) > 2 else 0
