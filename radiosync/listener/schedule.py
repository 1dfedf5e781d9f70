"""When each frame is due on the local clock: timeline, clock mapping and the room's own offset in one place."""

from radiosync.clock.mapping import ClockMapping
from radiosync.listener.solo import Solos
from radiosync.timeline import Timeline, TimelineLog
from radiosync.units import HostNs, LocalNs, MediaFrame


class Schedule:
    """Maps media frames to local instants and back, by the timeline's records.

    A positive `offset_ns` plays later than the play-at, for a loudspeaker that is nearer than the others; a device that
    sounds later than it says (an amplifier, Bluetooth) needs a negative one.
    """

    def __init__(self, timeline: Timeline, mapping: ClockMapping, rate: int, offset_ns: int) -> None:
        self.log = TimelineLog(timeline)
        self.mapping = mapping
        self.rate = rate
        self.offset_ns = offset_ns
        self.solos = Solos(rate)
        self._in_force: tuple[Timeline | None, ClockMapping, int, LocalNs] = (None, mapping, offset_ns, LocalNs(0))
        """The newest record, and since when it is known to be in force, by this mapping and offset."""

    def host_at(self, at: LocalNs) -> HostNs:
        """Return the instant of the media clock whose music is due at `at`."""
        return self.mapping.host_from_local(LocalNs(at - self.offset_ns))

    def local_at(self, at: HostNs) -> LocalNs:
        """Return when the music of the media clock's instant `at` is due here."""
        return LocalNs(self.mapping.local_from_host(at) + self.offset_ns)

    def record_at(self, at: LocalNs) -> Timeline:
        """Return the record in force at `at`."""
        newest, (record, mapping, offset_ns, since) = self.log.newest, self._in_force
        if newest is record and at >= since and self.mapping is mapping and self.offset_ns == offset_ns:
            return newest  # nearly always, and every turn of a loop asks
        record = self.log.at(self.host_at(at))
        if record is newest:
            self._in_force = (newest, self.mapping, self.offset_ns, at)
        return record

    def begin_at(self, record: Timeline) -> LocalNs:
        """Return when `record` takes effect here."""
        return self.local_at(record.effective_at)

    def end_frame(self, record: Timeline) -> MediaFrame | None:
        """Return the first frame that `record` does not play any more, where that is known."""
        return self.log.end_frame(record, self.rate)

    def due_at(self, frame: MediaFrame, record: Timeline | None = None) -> LocalNs:
        """Return when `frame` is to leave the output by `record`, or by the newest record as if it played."""
        record = self.log.newest if record is None else record
        return self.local_at(record.play_at(frame, self.rate))

    def frame_at(self, at: LocalNs, record: Timeline | None = None) -> MediaFrame:
        """Return the first frame that is due at `at` or later: by `record`, or by the one in force then."""
        if record is None:
            return self.log.frame_at(self.host_at(at), self.rate)
        return record.frame_at(self.host_at(at), self.rate)

    def position_at(self, at: LocalNs, record: Timeline | None = None) -> float:
        """Return the fractional frame that is due at `at`: by `record`, or by the one in force then."""
        record = self.record_at(at) if record is None else record
        return record.position_at(self.host_at(at), self.rate)
