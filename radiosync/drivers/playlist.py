"""Expand what a person names as a source into a list of files: songs, folders and playlists.

A folder gives its own songs in natural order ("2" before "10"), then those of its sub-folders, likewise.  A playlist
(M3U, M3U8, PLS) gives its entries in its own order; they are taken relative to the playlist's folder.  What a person
named must be there; what a folder or playlist leads to may be broken, and is then skipped with one line of warning.
"""

import os
import re
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from radiosync.errors import SourceError

ENTRIES_MAX = 100_000  # a year of music; a folder named by mistake must not fill the memory
PLAYLIST_BYTES_MAX = 16 << 20  # more than `ENTRIES_MAX` lines of usual length; stops a disk image named .m3u
FOLDER_DEPTH_MAX = 32  # music collections are four deep; stops a maze of links

AUDIO_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("aif", "aifc", "aiff", "au", "caf", "flac", "mp1", "mp2", "mp3", "oga", "ogg", "opus", "paf", "pvf", "rf64"),
        *("sd2", "sds", "snd", "svx", "voc", "w64", "wav", "wave", "wve", "xi"),
    )
)
PLAYLIST_SUFFIXES = frozenset({".m3u", ".m3u8", ".pls"})

Warn = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file to play; `title` is the playlist's, `named` says that a person named this very file."""

    path: Path
    title: str | None = None
    named: bool = False


def expand_sources(values: Sequence[str], warn: Warn) -> list[Entry]:
    """Expand files, folders and playlists into the files to play, in order.

    Raises SourceError where one of the values isn't there, can't be read or leads to no music.
    """
    entries: list[Entry] = []
    for value in values:
        found = _expand(value, warn)
        room = ENTRIES_MAX - len(entries)
        for count, entry in enumerate(found):
            if count >= room:
                warn(f"{value}: only the first {ENTRIES_MAX} songs are taken")
                return entries
            entries.append(entry)
    if not entries:
        raise SourceError("no source was named; name a sound file, a folder or a playlist")
    return entries


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Return a sort key that puts `2 b` before `10 a` and upper and lower case together."""
    parts = re.split(r"(\d+)", name.casefold())
    # Digits beyond ASCII match too, and int() reads them.
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


def _expand(value: str, warn: Warn) -> Iterator[Entry]:
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", value):
        raise SourceError(f"{value}: is a network address, which can't be played; name a file, folder or playlist")
    if not value:
        raise SourceError("a source without a name; name a sound file, a folder or a playlist")
    path = Path(value).expanduser() if value.startswith("~") else Path(value)
    try:
        path.stat()
        if path.is_dir():
            os.listdir(path)
    except FileNotFoundError:
        raise SourceError(f"{value}: no such file or folder; check the name") from None
    except (OSError, ValueError) as error:
        raise SourceError(f"{value}: can't be read ({_reason(error)}); check its name and permissions") from error
    if path.is_dir():
        return _needs_music(value, _folder(path, warn), "a folder without music that can be played")
    if path.suffix.lower() in PLAYLIST_SUFFIXES:
        return _needs_music(value, _playlist(path, warn), "a playlist without a song that can be played")
    return iter([Entry(path=path, named=True)])


def _needs_music(value: str, entries: Iterator[Entry], reason: str) -> Iterator[Entry]:
    first = next(entries, None)
    if first is None:
        raise SourceError(f"{value}: {reason}; put sound files there or name another")
    yield first
    yield from entries


def _folder(top: Path, warn: Warn) -> Iterator[Entry]:
    seen: set[tuple[int, int]] = set()  # a link may lead back to a folder above it
    waiting = [(top, 0)]
    while waiting:
        folder, depth = waiting.pop()
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen and status.st_ino:
                continue
            seen.add((status.st_dev, status.st_ino))
            names = sorted((name for name in os.listdir(folder) if not name.startswith(".")), key=natural_key)
        except OSError as error:
            warn(f"{folder}: skipped, the folder can't be read ({_reason(error)})")
            continue
        deeper: list[tuple[Path, int]] = []
        for path in (folder / name for name in names):
            if path.is_dir():
                deeper.append((path, depth + 1))
            elif path.suffix.lower() in AUDIO_SUFFIXES and path.is_file():
                yield Entry(path=path)
        if depth < FOLDER_DEPTH_MAX:
            waiting.extend(reversed(deeper))
        elif deeper:
            warn(f"{folder}: the folders in it are skipped, they lie more than {FOLDER_DEPTH_MAX} deep")


def _playlist(path: Path, warn: Warn) -> Iterator[Entry]:
    try:
        with path.open("rb") as file:
            data = file.read(PLAYLIST_BYTES_MAX + 1)
    except OSError as error:
        raise SourceError(f"{path}: can't be read ({_reason(error)}); check its permissions") from error
    if len(data) > PLAYLIST_BYTES_MAX:
        raise SourceError(f"{path}: is larger than a playlist may be ({PLAYLIST_BYTES_MAX >> 20} MiB); split it")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    parse = _parse_pls if path.suffix.lower() == ".pls" else _parse_m3u
    for target, title in parse(text):
        found = _resolve(path, target)
        if isinstance(found, Path):
            yield Entry(path=found, title=title)
        else:
            warn(f"{path}: {target!r} skipped, {found}")


def _parse_m3u(text: str) -> Iterator[tuple[str, str | None]]:
    title = None
    # Only these end a line; str.splitlines() would also split at characters that names may hold.
    for raw in re.split(r"\r\n|\n|\r", text):
        line = raw.strip()
        if line.upper().startswith("#EXTINF:"):
            title = line[8:].partition(",")[2].strip() or None
        elif line and not line.startswith("#"):
            yield line, title
            title = None


def _parse_pls(text: str) -> Iterator[tuple[str, str | None]]:
    files: dict[int, str] = {}
    titles: dict[int, str] = {}
    for line in re.split(r"\r\n|\n|\r", text):
        match = re.match(r"\s*(file|title)([0-9]{1,9})\s*=", line, re.IGNORECASE)
        if match:
            (files if match[1].lower() == "file" else titles)[int(match[2])] = line[match.end() :].strip()
    for number in sorted(files):
        if files[number]:
            yield files[number], titles.get(number) or None


def _resolve(playlist: Path, target: str) -> Path | str:
    """Return the file a playlist's line means, or the reason why there is none."""
    name = target
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", name):
        if not name.lower().startswith("file://"):
            return "a network address can't be played"
        try:
            name = urllib.request.url2pathname(urllib.parse.urlsplit(name).path)
        except (ValueError, OSError) as error:  # a bracket where a host would stand; Windows: no drive
            return f"it is no address of a file ({_reason(error)})"
    # A playlist written on Windows separates by backslashes, which are letters elsewhere.
    for spelling in dict.fromkeys((name, name.replace("\\", "/"))):
        path = playlist.parent / spelling
        try:
            if path.is_file():
                nested = path.suffix.lower() in PLAYLIST_SUFFIXES
                return "a playlist within a playlist isn't followed" if nested else path
            if path.exists():
                return "it is not a file"
        except (OSError, ValueError) as error:
            return f"it can't be read ({_reason(error)})"
    return "there is no such file"


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
