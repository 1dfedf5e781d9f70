"""When each frame is due on the local clock: timeline, clock mapping and the room's own offset in one place."""

from radiosync.clock.mapping import ClockMapping
from radiosync.timeline import Timeline
from radiosync.units import LocalNs, MediaFrame


class Schedule:
    """Maps media frames to local instants and back.

    A positive `offset_ns` plays later than the play-at, for a loudspeaker that is nearer than the others; a device that
    sounds later than it says (an amplifier, Bluetooth) needs a negative one.
    """

    def __init__(self, timeline: Timeline, mapping: ClockMapping, rate: int, offset_ns: int) -> None:
        self.timeline = timeline
        self.mapping = mapping
        self.rate = rate
        self.offset_ns = offset_ns

    def due_at(self, frame: MediaFrame) -> LocalNs:
        """Return when `frame` is to leave the output."""
        return LocalNs(self.mapping.local_from_host(self.timeline.play_at(frame, self.rate)) + self.offset_ns)

    def frame_at(self, at: LocalNs) -> MediaFrame:
        """Return the first frame that is due at `at` or later."""
        return self.timeline.frame_at(self.mapping.host_from_local(LocalNs(at - self.offset_ns)), self.rate)

    def position_at(self, at: LocalNs) -> float:
        """Return the fractional frame that is due at `at`."""
        return self.timeline.position_at(self.mapping.host_from_local(LocalNs(at - self.offset_ns)), self.rate)
