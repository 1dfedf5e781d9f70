"""Playout into a sink without a crystal: a file, a pipe, nothing.

Such a sink takes frames whenever it is given them, so it follows the media clock exactly: block after block is handed
over when its first frame is due, sample for sample as the source had it.  What is missing then is silence, and so is
everything while it is muted, or while another listener plays alone; while the timeline pauses, nothing is handed over.
"""

from typing import NamedTuple

import numpy as np

from radiosync.audio.conceal import gap_at_end
from radiosync.audio.format import Samples
from radiosync.audio.pcm import quieter
from radiosync.clock.mapping import ClockMapping
from radiosync.listener.jitter import JitterBuffer
from radiosync.listener.schedule import Schedule
from radiosync.timeline import Timeline
from radiosync.units import NS_PER_MS, LocalNs, MediaFrame, frames_from_ns

BLOCK_NS = 20 * NS_PER_MS  # fifty wake-ups a second; what a pipe's reader has to wait for
BLOCK_FRAMES_MAX = 192_000  # after a stall: a second at most in one piece


class Block(NamedTuple):
    """Frames to hand to the sink."""

    frame: MediaFrame
    samples: Samples
    due_at: LocalNs
    """When the first of them is due."""


class ExactPlayout:
    """Hands out every frame that the timeline plays once, in order."""

    def __init__(self, buffer: JitterBuffer, schedule: Schedule, *, block_ns: int = BLOCK_NS) -> None:
        self._buffer = buffer
        self._schedule = schedule
        self._block_frames = max(1, frames_from_ns(block_ns, buffer.format.rate))
        self._muted = False
        self._record: Timeline | None = None
        self._due_frame: MediaFrame | None = None
        self._due_by: tuple[Timeline | None, ClockMapping | None, int] = (None, None, 0)
        self._due = LocalNs(0)
        self.cursor: MediaFrame | None = None
        self.final_frame: MediaFrame | None = None
        self.concealed_frames = 0
        self.gaps = 0
        self.gap_frames = 0
        """How long the gap is, so far, that the last frame handed out lies in."""
        self.lead_ns = 0  # nothing lies between this playout and its sink
        self.sync_error_ns = 0.0
        self.correction = 0.0  # there is no crystal to correct
        self.underruns = 0
        self.hard_resyncs = 0

    def start(self, frame: MediaFrame, record: Timeline | None = None) -> None:
        """Play from `frame` on, by `record` (the newest if not given) and those that follow it."""
        self.cursor, self._record = frame, record or self._schedule.log.newest

    def set_muted(self, muted: bool) -> None:
        """Hand out silence for everything from here on, or no longer."""
        self._muted = muted
        self.gap_frames = 0  # what comes is judged anew

    @property
    def record(self) -> Timeline | None:
        """The record that is being played by."""
        return self._record

    @property
    def ended(self) -> bool:
        """Whether the last frame has been handed out."""
        final_frame, cursor = self.final_frame, self.cursor
        return final_frame is not None and cursor is not None and cursor >= final_frame

    def next_timeout(self) -> LocalNs | None:
        """Return when the next block is due, or the next record takes effect."""
        if self.cursor is None or self._record is None:
            return None
        if self._plays_on(self._record, self.cursor):
            # After the end nothing is due, whatever follows: only a jump goes on, which takes the end back.
            return None if self.ended else self._due_at(self.cursor, self._record)
        following = self._schedule.log.after(self._record)
        return None if following is None else self._schedule.begin_at(following)

    def take(self, now: LocalNs) -> Block | None:
        """Return the next block if it is due."""
        record, cursor = self._follow(now), self.cursor
        if record is None or cursor is None or self.ended:
            return None
        due_at = self._due_at(cursor, record)
        if due_at > now:
            return None
        behind = self._schedule.frame_at(now, record) - cursor
        count = min(max(self._block_frames, behind), BLOCK_FRAMES_MAX)
        for end in (self._schedule.end_frame(record), self.final_frame):
            count = count if end is None else min(count, end - cursor)
        if self._muted:
            samples, present = self._buffer.format.silence(count), np.zeros(count, np.bool_)
        else:
            samples, present = self._buffer.read(cursor, count)
        gain = self._schedule.solos.gain(cursor, count)
        if gain is not None:
            samples = quieter(samples, gain)
        if missing := count - int(np.count_nonzero(present)):
            gap = ~present
            self.concealed_frames += missing
            self.gaps += int(np.count_nonzero(gap[1:] & present[:-1])) + int(gap[0] and not self.gap_frames)
            self.gap_frames = gap_at_end(present, self.gap_frames)
        else:
            self.gap_frames = 0
        self.sync_error_ns = float(now - due_at)
        self.cursor = MediaFrame(cursor + count)
        self._buffer.drop_before(self.cursor)
        return Block(frame=cursor, samples=samples, due_at=due_at)

    def _plays_on(self, record: Timeline, cursor: MediaFrame) -> bool:
        if record is self._schedule.log.newest:  # it has no end yet
            return record.playing
        end = self._schedule.end_frame(record)
        return record.playing and (end is None or cursor < end)

    def _due_at(self, cursor: MediaFrame, record: Timeline) -> LocalNs:
        """Return when `cursor` is due: reckoned once, since every turn of a loop asks, until something has moved."""
        schedule, (by, mapping, offset_ns) = self._schedule, self._due_by
        if (
            cursor != self._due_frame
            or record is not by
            or schedule.mapping is not mapping
            or schedule.offset_ns != offset_ns
        ):
            self._due_frame, self._due_by = cursor, (record, schedule.mapping, schedule.offset_ns)
            self._due = schedule.due_at(cursor, record)
        return self._due

    def _follow(self, now: LocalNs) -> Timeline | None:
        """Go on to the record that is to be played by now; return it if it plays."""
        while (record := self._record) is not None and self.cursor is not None:
            if self._plays_on(record, self.cursor):
                return record
            following = self._schedule.log.after(record)
            if following is None or self._schedule.begin_at(following) > now:
                return None
            self._record = following
            self.cursor = max(self.cursor, following.media_frame)
            self.gap_frames = 0
        return None
