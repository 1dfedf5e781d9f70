"""What is known of a song while it plays."""

from dataclasses import dataclass


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
