"""Which records of the timeline a listener has been told, and what it has to leave out by these.

Datagrams carry the newest record only.  Who hears nothing while two of them are made knows of the second alone, and
plays on as before until that takes effect: the old song for a moment more, where the others hear something that it has
nothing of.  To know of the first at last would give it silence instead.  So it is judged by what it has been told, in
what it plays and in what it asks for.
"""

from collections.abc import Iterator, Mapping, Sequence

from radiosync.errors import RemoteProtocolError
from radiosync.sim.reading import kind_of, read
from radiosync.sim.scheduler import TrueNs
from radiosync.timeline import Timeline, TimelineLog
from radiosync.units import HostNs, MediaFrame
from radiosync.wire.messages import Announce, Audio, Kind, SongInfo, Sync, SyncPhase

TELLING = (Announce, Audio, SongInfo, Sync)
MORE = {Kind.AUDIO, Kind.SYNC}  # they tell more than a version
VERSIONED_FROM, VERSIONED_TO = 8, 20  # in a datagram: its session, and the version of its timeline
UNHURRIED = HostNs(1 << 62)  # when what no instant is set for is over


class Told:
    """The versions that a listener has been told of one session, each newer than those before."""

    def __init__(self) -> None:
        self.versions: list[int] = []
        self._told_at: list[TrueNs] = []
        self.chunks: set[int] = set()
        """The chunks, by their numbers on the wire, that anything has come of: the place of others must be reckoned."""
        self._seen: set[bytes] = set()
        self._prepared: tuple[int, MediaFrame] | None = None
        self._log: tuple[int, TimelineLog] | None = None
        """Of how many versions the timeline is kept, and it."""

    def note(self, data: bytes, session: int, now: TrueNs) -> None:
        """Note what a datagram of the listener's host says at the true instant `now`; nothing is raised."""
        key = data[VERSIONED_FROM:VERSIONED_TO]
        if key in self._seen and kind_of(data) not in MORE:
            return
        try:
            message = read(data)
        except RemoteProtocolError:
            return
        if isinstance(message, TELLING) and message.session == session:
            self._seen.add(key)
            if not self.versions or message.timeline.version > self.versions[-1]:
                self.versions.append(message.timeline.version)
                self._told_at.append(now)
            if isinstance(message, Audio):
                self.chunks.add(message.chunk.seq)
            elif isinstance(message, Sync):
                prepares = message.phase is SyncPhase.PREPARE
                self._prepared = (message.timeline.version, message.target_frame) if prepares else None

    def steps(self) -> Iterator[tuple[int, int, TrueNs]]:
        """Yield each version but the first: the one before it, it, and when the listener was told of it."""
        yield from zip(self.versions, self.versions[1:], self._told_at[1:], strict=False)

    @property
    def target(self) -> MediaFrame | None:
        """Where the start begins that is being prepared, as far as it has been told."""
        prepared = self._prepared
        return prepared[1] if prepared is not None and prepared[0] == self.versions[-1] else None

    def log(self, known: Mapping[int, Timeline]) -> TimelineLog | None:
        """Return what it has been told of the records `known` by their versions; None of none."""
        if self._log is None or self._log[0] != len(self.versions):
            records = [known[version] for version in self.versions if version in known]
            if not records:
                return None
            log = TimelineLog(records[0])
            for record in records[1:]:
                log.add(record)
            self._log = len(self.versions), log
        return self._log[1]

    def over_at(self, begin: MediaFrame, end: MediaFrame, known: Mapping[int, Timeline], rate: int) -> HostNs | None:
        """Return when the frames from `begin` on and before `end` are over; None where all of them are left out.

        UNHURRIED as long as nothing plays that would come to them.
        """
        log = self.log(known)
        if log is None or (self.target is not None and end > self.target):
            return UNHURRIED
        if not log.newest.playing and end > log.newest.media_frame:
            return UNHURRIED
        for record in reversed(log.records):
            cut = log.end_frame(record, rate)
            if record.playing and end > record.media_frame and (cut is None or begin < cut):
                return record.play_at(end, rate)
        return None


def cuts(records: Sequence[Timeline], rate: int) -> dict[int, int]:
    """Return the media frames before which these records end playing, and with which they go on further on."""
    found: dict[int, int] = {}
    playing: Timeline | None = None
    end: MediaFrame | None = None
    for record in records:
        if playing is not None and end is None:
            end = max(playing.media_frame, playing.frame_at(record.effective_at, rate))
        if not record.playing:
            continue
        if end is not None and end < record.media_frame:
            found[end] = record.media_frame
        playing, end = record, None
    return found
