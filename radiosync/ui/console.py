"""What every command says on the terminal goes to standard error, a line at a time."""

import contextlib
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # all commands say something, and none should wait for what it does not use
    from radiosync.audio.format import AudioFormat


def say(line: str) -> None:
    """Print a line; standard output belongs to `pipe:-`.

    File names and what comes from the network may hold line ends and commands to the terminal: they are shown, not
    obeyed.
    """
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
    # One write, or the lines of two threads would run into each other.  That nobody reads them must not stop the music.
    with contextlib.suppress(OSError, ValueError):
        if sys.stderr is not None:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()


def warn(line: str) -> None:
    """Print a warning."""
    say(f"warning: {line}")


def keep_stderr() -> None:
    """Keep standard error for our own lines: what libmpg123 prints there of a broken file is for its programmers."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or none at all
        own = os.dup(2)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        sys.stderr.flush()
        sys.stderr = os.fdopen(own, "w", 1, sys.stderr.encoding, "backslashreplace")
        os.dup2(nowhere, 2)
        os.close(nowhere)


def song_line(title: str, artist: str, album: str) -> str:
    """Return a song's tags in one line."""
    line = f"{artist} – {title}" if artist else title
    return f"{line} ({album})" if album else line


def format_line(audio: "AudioFormat") -> str:
    """Return a format as people say it."""
    channels = {1: "mono", 2: "stereo"}.get(audio.channels, f"{audio.channels} channels")
    kind = {1: "16 bit", 2: "24 bit", 3: "32 bit", 4: "float"}[audio.sample]
    return f"{audio.rate / 1000:g} kHz {channels}, {kind}"
