"""When a listener that has run dry falls silent, and when it comes back.

One missing chunk is a short silence with soft edges, and passes.  But a network that fails, or is too slow for the
music, leaves scraps: hole, music, hole.  So a listener is muted

  - when nothing has been there for a second at the play position,
  - or at the third hole within five seconds.

It stays on the timeline meanwhile, receives, and asks for what it lacks; nobody waits for it, and the others hear
nothing of it.  It is heard again, at the position that is due by then and faded in, once

  - the next two seconds lie ready without a hole, or all that has been sent is here (what a late source left out does
    not come by waiting),
  - and its clock is locked, since it may have been without the host for long.

Of a short buffer it is a third instead of these seconds, and the whole buffer instead of the five; but never less than
one chunk and a half, so that the loss of one chunk alone mutes nobody.
"""

from collections import deque

from radiosync.clock.filter import ClockFilter, Quality
from radiosync.listener.exact import ExactPlayout
from radiosync.listener.jitter import JitterBuffer
from radiosync.listener.playout import DevicePlayout
from radiosync.listener.schedule import Schedule
from radiosync.repair.request import RequestScheduler
from radiosync.units import NS_PER_S, LocalNs, MediaFrame, frames_from_ns

DRY_NS = NS_PER_S
HOLES_MAX = 3
HOLES_WITHIN_NS = 5 * NS_PER_S
BACK_NS = 2 * NS_PER_S
SHARE = 3  # of a short buffer, a third
CHUNKS_MIN = 1.5


class Mute:
    """Mutes the playout of one stream, and ends that."""

    def __init__(
        self,
        buffer: JitterBuffer,
        schedule: Schedule,
        requests: RequestScheduler,
        clock: ClockFilter,
        buffer_ns: int,
        chunk_frames: int,
    ) -> None:
        self._buffer = buffer
        self._schedule = schedule
        self._requests = requests
        self._clock = clock
        self.fit(buffer_ns, chunk_frames)
        self._holes: deque[LocalNs] = deque(maxlen=HOLES_MAX)
        self._gaps_seen = 0
        self.muted = False
        self.count = 0

    def fit(self, buffer_ns: int, chunk_frames: int) -> None:
        """Reckon with a buffer and with chunks of other sizes from now on."""
        share_ns, rate = buffer_ns // SHARE, self._schedule.rate
        self._dry_frames = max(frames_from_ns(min(DRY_NS, share_ns), rate), round(CHUNKS_MIN * chunk_frames))
        self._back_frames = frames_from_ns(min(BACK_NS, share_ns), rate)
        self._within_ns = min(HOLES_WITHIN_NS, buffer_ns)

    def update(self, playout: ExactPlayout | DevicePlayout | None, now: LocalNs) -> bool:
        """Mute `playout` if it has run dry, or end that; say whether `muted` has just changed."""
        if playout is None or playout.cursor is None or playout.record is None:
            return False
        if self.muted:
            changed = playout.ended or self._enough(playout, playout.cursor, now)
        else:
            changed = playout.record.playing and not playout.ended and self._dry(playout, now)
        if changed:
            self.muted = not self.muted
            self.count += self.muted
            playout.set_muted(self.muted)
            self._holes.clear()
            self._gaps_seen = playout.gaps
        return changed

    def _dry(self, playout: ExactPlayout | DevicePlayout, now: LocalNs) -> bool:
        if playout.gaps != self._gaps_seen:
            self._holes.extend([now] * min(HOLES_MAX, playout.gaps - self._gaps_seen))
            self._gaps_seen = playout.gaps
        while self._holes and now - self._holes[0] > self._within_ns:
            self._holes.popleft()
        return len(self._holes) == HOLES_MAX or playout.gap_frames >= self._dry_frames

    def _enough(self, playout: ExactPlayout | DevicePlayout, cursor: MediaFrame, now: LocalNs) -> bool:
        if self._clock.quality(now) is not Quality.LOCKED:
            return False
        enough = MediaFrame(cursor + self._back_frames)
        until = self._buffer.contiguous_until(cursor, enough)
        end = None if playout.record is None else self._schedule.end_frame(playout.record)
        ends = [e for e in (playout.final_frame, end) if e is not None and e > cursor]
        if until >= min([enough, *ends]):
            return True
        lacking = len(self._requests) > 0 or self._buffer.complete_frames(cursor) > until - cursor
        return until > cursor and not lacking
