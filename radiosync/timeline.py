"""The timeline: an exact function from media frame to host time.

A timeline record says: at `effective_at`, `media_frame` is heard and what follows it, if the state is PLAYING; nothing,
if it is PAUSED or STOPPED, and `media_frame` is where it would go on.  The host makes a new record, with the next
version, whenever playing starts, stops or moves; every datagram it sends carries the newest one.  Records are facts,
not deltas, so losing, repeating or reordering them is harmless, and the instants at which they take effect never go
back.  A record is made some hundred milliseconds before it takes effect, so that everybody knows it by then.

Media frames are never used twice in a session: a seek goes on at a number nobody has used yet, in a new epoch, and
where in its song a chunk lies is said by the chunk.  So a frame is played at most once, and what was sent for an epoch
that ended can't be mistaken for anything else.
"""

from dataclasses import dataclass
from enum import IntEnum

from radiosync.units import NS_PER_S, HostNs, MediaFrame, frames_from_ns, ns_from_frames

RECORDS_MAX = 16  # remembered: the one in force, those to come, and a few for what is still being played out


class PlayState(IntEnum):
    """What the media clock does; the value is the code on the wire."""

    STOPPED = 0
    PLAYING = 1
    PAUSED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """One record: `media_frame` is heard, or would go on, at `effective_at`."""

    version: int
    epoch: int
    state: PlayState
    media_frame: MediaFrame
    effective_at: HostNs

    @property
    def playing(self) -> bool:
        """Whether anything is heard by this record."""
        return self.state is PlayState.PLAYING

    def play_at(self, frame: MediaFrame, rate: int) -> HostNs:
        """Return the instant at which `frame` must leave every DAC, to the nearest ns."""
        return HostNs(self.effective_at + ns_from_frames(frame - self.media_frame, rate))

    def frame_at(self, at: HostNs, rate: int) -> MediaFrame:
        """Return the first frame whose play-at is not before `at`."""
        frame = MediaFrame(self.media_frame + frames_from_ns(at - self.effective_at, rate))
        return frame if self.play_at(frame, rate) >= at else MediaFrame(frame + 1)

    def repeats(self, earlier: "Timeline", rate: int) -> bool:
        """Say whether this says of its frames what `earlier`, which it follows, says of them."""
        same_line = self.playing and earlier.playing and self.epoch == earlier.epoch
        return same_line and self.effective_at == earlier.play_at(self.media_frame, rate)

    def position_at(self, at: HostNs, rate: int) -> float:
        """Return the fractional media frame that is due at `at`; exact to 1e-6 of a frame over a day."""
        return self.media_frame + (at - self.effective_at) * rate / NS_PER_S


class TimelineLog:
    """The records of a session, in order; both sides keep one.

    At capacity the oldest record is forgotten.
    """

    def __init__(self, first: Timeline) -> None:
        self._records = [first]
        self.newest = first
        """The record with the highest version."""

    @property
    def records(self) -> tuple[Timeline, ...]:
        """Those that are remembered, in order."""
        return tuple(self._records)

    def add(self, record: Timeline) -> bool:
        """Take a record; say whether it was newer than all others.

        One that would take effect before its predecessor does not come from an honest host, and is refused.
        """
        newest = self.newest
        if record.version <= newest.version or record.effective_at < newest.effective_at:
            return False
        self._records.append(record)
        self.newest = record
        del self._records[:-RECORDS_MAX]
        return True

    def at(self, instant: HostNs) -> Timeline:
        """Return the record in force at `instant`; before the first took effect, the first."""
        if self.newest.effective_at <= instant:  # nearly always
            return self.newest
        for record in reversed(self._records):
            if record.effective_at <= instant:
                return record
        return self._records[0]

    def after(self, record: Timeline) -> Timeline | None:
        """Return the record that follows `record`, if it is known."""
        if record is self.newest or record.version >= self.newest.version:
            return None
        return next(r for r in self._records if r.version > record.version)

    def end_frame(self, record: Timeline, rate: int) -> MediaFrame | None:
        """Return the first frame that is not played any more by `record`; None where no end is known."""
        if not record.playing:
            return record.media_frame
        following = self.after(record)
        return None if following is None else max(record.media_frame, record.frame_at(following.effective_at, rate))

    def frame_at(self, instant: HostNs, rate: int) -> MediaFrame:
        """Return the frame that is due at `instant`, or where playing would go on."""
        record = self.at(instant)
        return max(record.media_frame, record.frame_at(instant, rate)) if record.playing else record.media_frame
