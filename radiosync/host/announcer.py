"""When the host announces itself, and which songs it tells of."""

from radiosync.audio.song import Song
from radiosync.units import NS_PER_MS, NS_PER_S, HostNs, MediaFrame
from radiosync.wire.messages import ChunkHeader

PERIOD_NS = NS_PER_S
HURRY_NS = 100 * NS_PER_MS  # between the first ones, so that one loss does not cost a second
HURRIED = 3
SONGS_MAX = 64  # known at once: what fits a buffer of songs of a second each; the oldest is forgotten
SONGS_ANNOUNCED_MAX = 2  # the one that plays and the next


class Announcer:
    """Keeps the announcements' schedule, and the songs of the stream."""

    def __init__(self, now: HostNs) -> None:
        self._songs: dict[int, tuple[Song, MediaFrame]] = {}
        self._started: int | None = None
        self._hurried = 0
        self.due_at = now

    def hurry(self, now: HostNs) -> None:
        """Announce at once, and twice more soon: something has changed."""
        self._hurried = 0
        self.due_at = now

    def due(self, now: HostNs) -> bool:
        """Say whether an announcement is due, and schedule the next."""
        if now < self.due_at:
            return False
        self._hurried += 1
        self.due_at = HostNs(now + (HURRY_NS if self._hurried < HURRIED else PERIOD_NS))
        return True

    def note_song(self, song: Song, chunk: ChunkHeader) -> None:
        """Remember where a song begins, from any chunk of it."""
        if song.song_id not in self._songs:
            while len(self._songs) >= SONGS_MAX:
                del self._songs[next(iter(self._songs))]
            self._songs[song.song_id] = (song, MediaFrame(chunk.first_frame - chunk.song_frame))

    def song_at(self, frame: MediaFrame) -> tuple[Song, MediaFrame] | None:
        """Return the song that `frame` belongs to and its first frame."""
        begun = [entry for entry in self._songs.values() if entry[1] <= frame]
        return max(begun, key=lambda entry: entry[1], default=None)

    def song_started(self, frame: MediaFrame) -> Song | None:
        """Return the song at `frame` if it was not returned before."""
        current = self.song_at(frame)
        if current is None or current[0].song_id == self._started:
            return None
        self._started = current[0].song_id
        return current[0]

    def songs_from(self, frame: MediaFrame, count_max: int = SONGS_ANNOUNCED_MAX) -> list[tuple[Song, MediaFrame]]:
        """Return the song at `frame` and those after it, with their first frames."""
        current = self.song_at(frame)
        if current is None:
            return []
        return [entry for entry in self._songs.values() if entry[1] >= current[1]][:count_max]
