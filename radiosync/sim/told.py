"""Which records of the timeline a listener has been told, and what it has to leave out by these.

Datagrams carry the newest record only.  Who hears nothing while two of them are made knows of the second alone, and
plays on as before until that takes effect: the old song for a moment more, where the others hear something that it has
nothing of.  To know of the first at last would give it silence instead.  So it is judged by what it has been told.
"""

from collections.abc import Sequence

from radiosync.errors import RemoteProtocolError
from radiosync.sim.reading import read
from radiosync.timeline import Timeline
from radiosync.units import MediaFrame
from radiosync.wire.messages import Announce, Audio, SongInfo, Sync

SESSION_AND_VERSION = slice(8, 20)


class Told:
    """The versions that a listener has been told of one session, each newer than those before."""

    def __init__(self) -> None:
        self.versions: list[int] = []
        self._seen: set[bytes] = set()

    def note(self, data: bytes, session: int) -> None:
        """Note what a datagram of the listener's host says; whatever it holds, nothing is raised."""
        key = data[SESSION_AND_VERSION]
        if key in self._seen:
            return
        try:
            message = read(data)
        except RemoteProtocolError:
            return
        if isinstance(message, Announce | Audio | SongInfo | Sync) and message.session == session:
            self._seen.add(key)
            if not self.versions or message.timeline.version > self.versions[-1]:
                self.versions.append(message.timeline.version)


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
