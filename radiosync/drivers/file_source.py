"""Read songs one after another as one endless stream in one format.

The first song that can be played decides the format, unless rate or channels are asked for.  Songs of that format pass
bit for bit.  Others are converted: channels mapped, rate changed by libsoxr, and quantised with dither wherever that
loses anything.  A song's last frame is followed by the next one's first: nothing is inserted, nothing left out.

The next song is opened, and its beginning decoded, before the current one ends.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radiosync.audio import pcm
from radiosync.audio.format import CHANNELS_MAX, RATE_MAX, RATE_MIN, AudioFormat, SampleFormat, Samples
from radiosync.audio.resampler import RateConverter, converted_frames
from radiosync.audio.song import Song, SourceBlock
from radiosync.drivers.playlist import Entry
from radiosync.drivers.song_file import SongFile, clean_text
from radiosync.errors import SourceError

OPEN_AHEAD_S = 10  # opening may take seconds where a disk has to spin up
_BITS = {SampleFormat.S16: 16, SampleFormat.S24: 24, SampleFormat.S32: 32, SampleFormat.F32: 33}  # F32 holds the rest
SONGS_REMEMBERED = 1024  # that can be jumped from: what a buffer of 120 s holds of songs of an eighth of a second
_DITHER_SEED = 1  # any: the same song at the same place gives the same frames
AGAIN_S_MAX = 900  # of a converted song that are converted again to go on in it: two seconds' work for a machine

Warn = Callable[[str], None]


class FileSource:
    """The songs of a list as one stream.

    `format` is the stream's, `songs_skipped` counts the entries that could not be played.
    Raises SourceError where the first song was named and can't be played, or where none can.
    """

    live = False

    def __init__(
        self,
        entries: Sequence[Entry],
        *,
        rate: int | None = None,
        channels: int | None = None,
        loop: bool = False,
        ahead: bool = True,
        warn: Warn,
    ) -> None:
        self.songs_skipped = 0
        self._entries = entries
        self._loop = loop
        self._ahead = ahead
        self._warn = warn
        self._next_id = 1
        self._index_of: dict[int, int] = {}
        self._upcoming = self._files(0)
        first = next(self._upcoming, None)
        if first is None:
            raise SourceError(f"none of the {len(entries)} songs can be played; the warnings above say why")
        self.format = AudioFormat(
            rate or min(max(first[1].rate, RATE_MIN), RATE_MAX), channels or first[1].channels, first[1].kind.sample
        )
        self._current: _Player | None = self._start(*first)
        self._prepared: _Player | None = None
        self._is_prepared = False

    def read(self, frames_max: int) -> SourceBlock | None:
        """Return the next `frames_max` frames, fewer only at the end of a song; None after the last song."""
        while self._current is not None:
            player = self._current
            if self._ahead and not self._is_prepared and player.ends_within(OPEN_AHEAD_S * self.format.rate):
                self._prepare()
            samples = player.read(frames_max)
            if len(samples):
                return SourceBlock(song=player.song, song_frame=player.frames_read - len(samples), samples=samples)
            self._finish(player)
        return None

    def queue(self, song_id: int) -> tuple[list[str], int | None]:
        """Return the names of all entries, and which of them song `song_id` is."""
        return [clean_text(e.title or e.path.stem) for e in self._entries], self._index_of.get(song_id)

    def jump(self, song_id: int, step: int, position_s: float) -> None:
        """Go on at `position_s` of the song `step` entries after song `song_id`; before the first is the first."""
        index = max(0, self._index_of.get(song_id, 0) + step)
        self.close()
        self._upcoming = self._files(index % len(self._entries) if self._loop else index)
        self._prepare()
        self._current, self._prepared, self._is_prepared = self._prepared, None, False
        if self._current is not None and position_s > 0:
            self._current.seek(position_s)

    def index_of(self, song_id: int) -> int | None:
        """Return which of the entries song `song_id` is."""
        return self._index_of.get(song_id)

    def resume(self, song_id: int, index: int, song_frame: int) -> None:
        """Go on at a frame of entry number `index`, as song `song_id`, with the very frames that it had before."""
        self._next_id = song_id
        self._index_of.clear()
        self.close()
        self._upcoming = self._files(index)
        self._prepare()
        self._current, self._prepared, self._is_prepared = self._prepared, None, False
        if self._current is not None:
            self._current.go_on_at(song_frame)

    @cached_property
    def fingerprint(self) -> str:
        """What tells this list from others: the files, their sizes and ages, and the stream's format."""
        digest = blake2b(repr(self.format).encode(), digest_size=16)
        for entry in self._entries:
            try:
                status = entry.path.stat()
                digest.update(repr((str(entry.path.absolute()), status.st_size, status.st_mtime_ns)).encode())
            except OSError:
                digest.update(repr(str(entry.path)).encode())
        return digest.hexdigest()

    def stats(self) -> dict[str, Any]:
        """Return how many songs could not be played, for the statistics file."""
        return {"songs_skipped": self.songs_skipped}

    def interrupt(self) -> None:
        """Do nothing: a file never keeps a reader waiting."""

    def close(self) -> None:
        """Close the files that are open."""
        for player in (self._current, self._prepared):
            if player is not None:
                player.file.close()
        self._current = self._prepared = None
        self._is_prepared = True

    def _finish(self, player: "_Player") -> None:
        if player.file.fault is not None:
            self._warn(f"{player.file.path}: {player.file.fault}; what is there was played")
        player.file.close()
        if not self._is_prepared:
            self._prepare()
        self._current, self._prepared, self._is_prepared = self._prepared, None, False

    def _prepare(self) -> None:
        self._is_prepared = True
        found = next(self._upcoming, None)
        self._prepared = None if found is None else self._start(*found)

    def _files(self, begin: int) -> Iterator[tuple[int, SongFile]]:
        """Open the entries in order from number `begin` on, skipping with a warning those that can't be played."""
        first_named = bool(self._entries) and self._entries[0].named
        while True:
            played = 0
            for index in range(begin, len(self._entries)):
                try:
                    file = SongFile(self._entries[index].path)
                except SourceError as error:
                    if first_named and self._next_id == 1:
                        raise
                    self.songs_skipped += 1
                    self._warn(f"{error}; skipped")
                    continue
                played += 1
                yield index, file
            begin = 0
            # A list that has become unplayable must end, not be tried for ever.
            if not (self._loop and played):
                return

    def _start(self, index: int, file: SongFile) -> "_Player":
        entry = self._entries[index]
        tags = file.tags
        if file.channels_left_out:
            there = file.channels + file.channels_left_out
            self._warn(f"{file.path}: has {there} channels; only the first {CHANNELS_MAX} play")
        frames = None if file.frames is None else converted_frames(file.frames, file.rate, self.format.rate)
        song = Song(
            song_id=self._next_id,
            title=tags.get("title") or clean_text(entry.title or entry.path.stem),
            artist=tags.get("artist", ""),
            album=tags.get("album", ""),
            name=clean_text(entry.path.name),
            frames=frames,
        )
        while len(self._index_of) >= SONGS_REMEMBERED:
            del self._index_of[next(iter(self._index_of))]
        self._index_of[self._next_id] = index
        self._next_id += 1
        return _Player(song, file, self.format, np.random.default_rng((_DITHER_SEED, index)))


class _Player:
    """One song on its way into the stream's format."""

    __slots__ = ("_convert", "_ended", "_exact", "_rate", "_ready", "file", "frames_read", "song")

    def __init__(self, song: Song, file: SongFile, audio: AudioFormat, dither: np.random.Generator) -> None:
        self.song = song
        self.file = file
        self.frames_read = 0
        self._rate = audio.rate
        self._ready: list[Samples] = []
        self._ended = False
        self._exact = _passes(file, audio)
        self._convert = _converter(file, audio, dither)

    def seek(self, position_s: float) -> None:
        """Go on at `position_s`, or at the end where the song is shorter."""
        frame = round(position_s * self.file.rate)
        if self.file.frames is not None:
            frame = min(frame, self.file.frames)
        self.file.seek(frame)
        self.frames_read = converted_frames(frame, self.file.rate, self._rate)

    def go_on_at(self, frame: int) -> None:
        """Go on at `frame` of the stream's frames of this song, so that they are the same as if read from its start.

        What is converted depends on all that came before it.
        """
        if self._exact or frame > AGAIN_S_MAX * self._rate:
            self.seek(frame / self._rate)
            return
        while self.frames_read < frame and len(self.read(min(frame - self.frames_read, self._rate))):
            pass

    def ends_within(self, frames: int) -> bool:
        """Return whether no more than `frames` frames are left, or it isn't known how many are."""
        return self.song.frames is None or self.song.frames - self.frames_read <= frames

    def read(self, frames_max: int) -> Samples:
        """Return the next `frames_max` frames of the stream, fewer at the song's end only."""
        count = sum(map(len, self._ready))
        while count < frames_max and not self._ended:
            stored = self.file.read()
            self._ended = not len(stored)
            self._ready.append(self._convert(stored))
            count += len(self._ready[-1])
        joined = np.concatenate(self._ready) if len(self._ready) > 1 else self._ready[0]
        self._ready = [joined[frames_max:]]
        self.frames_read += min(count, frames_max)
        return joined[:frames_max]


def _passes(file: SongFile, audio: AudioFormat) -> bool:
    """Say whether a file's frames are the stream's, bit for bit."""
    same_layout = (file.rate, file.channels) == (audio.rate, audio.channels)
    return same_layout and file.kind.sample is audio.sample and not file.kind.is_lossy


def _converter(file: SongFile, audio: AudioFormat, dither: np.random.Generator) -> Callable[[NDArray[Any]], Samples]:
    """Return what turns the file's stored frames into the stream's; called with none at the end, to get the rest."""
    stored = file.kind.sample
    if _passes(file, audio):
        return lambda block: block
    resampler = (
        None if file.rate == audio.rate else RateConverter(file.rate, audio.rate, min(file.channels, audio.channels))
    )
    # Copying mono to every channel and widening lose nothing, so that noise would only do harm.
    exact = (
        resampler is None
        and not file.kind.is_lossy
        and file.channels <= audio.channels
        and _BITS[stored] <= _BITS[audio.sample]
    )
    source_bits = 16 if stored is SampleFormat.S16 else 32  # S24 is left-justified in 32
    noise = None if exact else dither

    def convert(block: NDArray[Any]) -> Samples:
        floats = block.astype(np.float64)
        if block.dtype.kind == "i":
            floats *= 2.0 ** (1 - source_bits)
        else:
            np.nan_to_num(floats, copy=False, nan=0.0)
            np.clip(floats, -pcm.FLOAT_MAX, pcm.FLOAT_MAX, out=floats)
        if audio.channels < file.channels:
            floats = pcm.map_channels(floats, audio.channels)
        if resampler is not None:
            floats = resampler.convert(floats, last=not len(block))
        return pcm.samples_from_float(pcm.map_channels(floats, audio.channels), audio.sample, noise)

    return convert
