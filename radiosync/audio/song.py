"""What is known of a song while it plays, and the blocks in which a source hands it out."""

from dataclasses import dataclass

from radiosync.audio.format import Samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Song:
    """One song of a stream.

    `song_id` counts up from 1 within a session and is never used twice, also where a list starts over.  `name` is the
    file's name without its folder.  `frames` is the length in frames of the stream, None where it isn't known ahead.
    """

    song_id: int
    title: str
    artist: str = ""
    album: str = ""
    name: str = ""
    frames: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceBlock:
    """A run of frames of one song, in the source's format; `song_frame` is the first one's place within the song."""

    song: Song
    song_frame: int
    samples: Samples
