"""What the host announces, and when: the session once a second, and with it the songs that play now and next."""

from dataclasses import dataclass

from radiosync.audio.format import AudioFormat
from radiosync.audio.song import Song
from radiosync.timeline import Timeline
from radiosync.units import NS_PER_MS, NS_PER_S, HostNs, MediaFrame
from radiosync.wire.codec import encode
from radiosync.wire.limits import SOLOS_MAX
from radiosync.wire.messages import Announce, ChunkHeader, Solo, SoloEntry, SongInfo, TierOffer

PERIOD_NS = NS_PER_S
HURRY_NS = 100 * NS_PER_MS  # between the first ones, so that one loss does not cost a second
HURRIED = 4
SONGS_MAX = 64  # known at once: what fits a buffer of songs of a second each; the oldest is forgotten
SONGS_ANNOUNCED_MAX = 2  # the one that plays and the next


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFacts:
    """What does not change during a session."""

    session: int
    format: AudioFormat
    control_port: int
    clock_port: int
    host_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionState:
    """What does."""

    timeline: Timeline
    position: MediaFrame
    play_seq: int
    play_frame: MediaFrame
    next_seq: int
    final_frame: MediaFrame | None
    chunk_frames: int
    buffer_ns: int
    buffered_ns: int
    report_ns: int
    clock_ns: int
    tiers: tuple[TierOffer, ...] = ()


@dataclass(frozen=True, slots=True)
class KnownSong:
    """A song in the stream: from which frame on it is heard, and where in it that is."""

    song: Song
    begin: MediaFrame
    song_frame: int


class Announcer:
    """Keeps the announcements' schedule and the songs of the stream, and builds the announcements."""

    def __init__(self, facts: SessionFacts, now: HostNs) -> None:
        self._facts = facts
        self._songs: dict[int, KnownSong] = {}
        self._started: int | None = None
        self._hurried = 0
        self.due_at = now
        self.solos: tuple[SoloEntry, ...] = ()
        """The stretches that one listener each plays alone, in order; told until they have passed."""

    def hurry(self, now: HostNs) -> None:
        """Announce at once, and a few times more soon: something has changed."""
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
        """Remember where a song begins, from its first chunk."""
        if song.song_id not in self._songs:
            while len(self._songs) >= SONGS_MAX:
                del self._songs[next(iter(self._songs))]
            self._songs[song.song_id] = KnownSong(song, chunk.first_frame, chunk.song_frame)

    def forget_songs_after(self, frame: MediaFrame) -> None:
        """Forget the songs that begin after `frame`: a jump has left them behind, and their frames may come again."""
        self._songs = {song_id: known for song_id, known in self._songs.items() if known.begin <= frame}

    def song_at(self, frame: MediaFrame) -> KnownSong | None:
        """Return the song that `frame` belongs to."""
        begun = [known for known in self._songs.values() if known.begin <= frame]
        return max(begun, key=lambda known: known.begin, default=None)

    def song_started(self, frame: MediaFrame) -> Song | None:
        """Return the song at `frame` if it was not returned before."""
        current = self.song_at(frame)
        if current is None or current.song.song_id == self._started:
            return None
        self._started = current.song.song_id
        return current.song

    def songs_from(self, frame: MediaFrame, count_max: int = SONGS_ANNOUNCED_MAX) -> list[KnownSong]:
        """Return the song at `frame` and those after it."""
        current = self.song_at(frame)
        begin = MediaFrame(0) if current is None else current.begin
        return [known for known in self._songs.values() if known.begin >= begin][:count_max]

    def announcements(self, state: SessionState, now: HostNs, nonce: int = 0, cookie: int = 0) -> list[bytes]:
        """Return the announcement and those of the songs that play now and next; with a cookie, in answer to one."""
        facts, songs = self._facts, self.songs_from(state.position)
        announce = Announce(
            session=facts.session,
            timeline=state.timeline,
            sent_at=now,
            format=facts.format,
            control_port=facts.control_port,
            clock_port=facts.clock_port,
            chunk_frames=state.chunk_frames,
            play_seq=state.play_seq,
            play_frame=state.play_frame,
            next_seq=state.next_seq,
            final_frame=state.final_frame,
            buffer_ms=state.buffer_ns // NS_PER_MS,
            buffered_ms=state.buffered_ns // NS_PER_MS,
            song_id=songs[0].song.song_id if songs else 0,
            nonce=nonce,
            cookie=cookie,
            report_ms=state.report_ns // NS_PER_MS,
            clock_ms=state.clock_ns // NS_PER_MS,
            host_name=facts.host_name,
            tiers=state.tiers,
        )
        # An answer goes to an unproven address: one song, or it would outweigh the question by more than three times.
        told = songs[:1] if cookie else songs
        datagrams = [encode(announce)] + [encode(self._song_info(known, state.timeline)) for known in told]
        ahead = tuple(s for s in self.solos if s.first_frame + s.frames > state.position)[:SOLOS_MAX]
        if ahead and not cookie:
            datagrams.append(encode(Solo(session=facts.session, timeline=state.timeline, entries=ahead)))
        return datagrams

    def _song_info(self, known: KnownSong, timeline: Timeline) -> SongInfo:
        return SongInfo(
            session=self._facts.session,
            timeline=timeline,
            song_id=known.song.song_id,
            first_frame=known.begin,
            frames=known.song.frames,
            title=known.song.title,
            artist=known.song.artist,
            album=known.song.album,
        )
