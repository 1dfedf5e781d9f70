"""The timeline: an exact function from media frame to host time.

A timeline record says: from `effective_at` on, what is heard is `media_frame` and what follows it, if the state is
PLAYING.  The host makes a new record, with the next version, whenever playing starts, stops or moves; every datagram it
sends carries the newest one, and a listener keeps the highest version it has seen.  Records are facts, not deltas, so
losing, repeating or reordering them is harmless.

An epoch is a stretch of frames that play one after the other.  Media frames are never used twice in a session: a seek
starts a new epoch at a frame number nobody has used yet, and where in its song a chunk lies is said by the chunk.
"""

from dataclasses import dataclass
from enum import IntEnum

from radiosync.units import NS_PER_S, HostNs, MediaFrame, frames_from_ns, ns_from_frames


class PlayState(IntEnum):
    """What the media clock does; the value is the code on the wire."""

    STOPPED = 0
    PLAYING = 1
    PAUSED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """One record: `media_frame` is heard at `effective_at`."""

    version: int
    epoch: int
    state: PlayState
    media_frame: MediaFrame
    effective_at: HostNs

    def play_at(self, frame: MediaFrame, rate: int) -> HostNs:
        """Return the instant at which `frame` must leave every DAC, to the nearest ns."""
        return HostNs(self.effective_at + ns_from_frames(frame - self.media_frame, rate))

    def frame_at(self, at: HostNs, rate: int) -> MediaFrame:
        """Return the first frame whose play-at is not before `at`."""
        frame = MediaFrame(self.media_frame + frames_from_ns(at - self.effective_at, rate))
        return frame if self.play_at(frame, rate) >= at else MediaFrame(frame + 1)

    def position_at(self, at: HostNs, rate: int) -> float:
        """Return the fractional media frame that is due at `at`; exact to 1e-6 of a frame over a day."""
        return self.media_frame + (at - self.effective_at) * rate / NS_PER_S
