"""What a host and a listener say on the terminal: one line per event, on standard error."""

import contextlib
import os
import sys

from radiosync.audio.format import AudioFormat
from radiosync.audio.tiers import tier_name
from radiosync.drivers.portaudio import Device, Direction
from radiosync.host import events as host
from radiosync.listener import events as listener
from radiosync.units import NS_PER_MS, NS_PER_S


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


def host_line(event: host.HostEvent) -> str:
    """Return the line for a host's event."""
    match event:
        case host.ListenerJoined():
            return f"+ {event.name} ({event.address[0]}) listens"
        case host.ListenerLeft():
            return f"- {event.name} {'has gone silent' if event.timed_out else 'has left'}"
        case host.ListenerStatusChanged():
            return f"  {event.name} is {event.status.value}"
        case host.SongStarted():
            return f"♪ {song_line(event.song.title, event.song.artist, event.song.album)}"
        case host.SourceLate():
            return f"warning: the source is too slow: {event.frames} frames of silence"
        case host.SyncGo():
            slowest = f", the slowest is {event.sync.slowest}" if event.sync.slowest else ""
            latency_ms = event.sync.slowest_latency_ns / NS_PER_MS
            return (
                f"  starting in {event.sync.delay_ns / NS_PER_MS:.0f} ms: {event.reason}{slowest} ({latency_ms:.1f} ms)"
            )
        case host.ListenerMuted():
            return f"  {event.name} {'has run dry and is muted' if event.muted else 'is heard again'}"
        case host.ListenerOutOfSync():
            error_ms = event.error_ns / NS_PER_MS
            return f"  {event.name} is {f'out of sync by {error_ms:+.1f} ms' if event.out_of_sync else 'in sync again'}"
        case host.GroupPaused():
            return f"  everybody pauses, up to {event.seconds:.0f} s, for who runs dry: {', '.join(event.names)}"
        case host.GroupResumed():
            left = f" without {', '.join(event.left_behind)}" if event.left_behind else ""
            return f"  everybody goes on{left}"
        case host.ProbationBegan():
            return f"  {event.name} has run dry again: nobody pauses for it for {event.seconds / 60:.0f} min"
        case host.ResyncOrdered():
            return f"  everybody resyncs: {event.reason}"
        case host.BufferChanged() if event.depth_ns == event.before_ns:
            return f"  buffer of {event.depth_ns / NS_PER_S:.2g} s restored: {event.reason}"
        case host.BufferChanged():
            before_s, depth_s = event.before_ns / NS_PER_S, event.depth_ns / NS_PER_S
            return f"  buffer {depth_s:.2g} s, was {before_s:.2g} s: {event.reason}"
        case host.Finished():
            return "the last frame has been played"


def listener_line(event: listener.ListenerEvent) -> str:
    """Return the line for a listener's event."""
    match event:
        case listener.HostFound():
            return f"host {event.name} at {event.ip}: {format_line(event.format)}"
        case listener.PlaybackStarted():
            return f"playing from frame {event.frame}"
        case listener.SongChanged():
            return f"♪ {song_line(event.title, event.artist, event.album)}"
        case listener.StreamEnded():
            return "the stream has ended; waiting for the next"
        case listener.QualityChanged():
            return f"quality: {tier_name(event.tier)} ({event.reason})"
        case listener.SyncAlarmed():
            error_ms = event.error_ns / NS_PER_MS
            return f"warning: out of sync by {error_ms:+.1f} ms" if event.out_of_sync else "in sync again"
        case listener.MuteChanged():
            return "warning: no music is left to play; muted until enough has come" if event.muted else "heard again"
        case listener.HostGone():
            return f"the host {'said good-bye' if event.stopped else 'is gone'}; waiting for a host"


def device_lines(devices: list[Device], direction: Direction) -> list[str]:
    """Return the table of the devices that can play, or of those that can capture."""
    can, option = ("capture", "host --source") if direction is Direction.INPUT else ("play", "listen --output")
    if not devices:
        return [f"no sound device that can {can} was found"]
    width = max(len(d.name) for d in devices)
    head = f"{'':2}{'no.':>4}  {'name':<{width}}  {'host API':<12} {'channels':>8} {'rate, Hz':>9} {'latency, ms':>13}"
    return [f"devices that can {can}, for {option} device:NAME-OR-NUMBER", head] + [
        f"{'*' if d.is_default else '':2}{d.index:>4}  {d.name:<{width}}  {d.host_api:<12} {d.channels_max:>8} "
        f"{d.default_rate:>9} {d.low_latency_s * 1000:>5.0f} to {d.high_latency_s * 1000:<4.0f}"
        for d in devices
    ]


def format_line(audio: AudioFormat) -> str:
    """Return a format as people say it."""
    channels = {1: "mono", 2: "stereo"}.get(audio.channels, f"{audio.channels} channels")
    kind = {1: "16 bit", 2: "24 bit", 3: "32 bit", 4: "float"}[audio.sample]
    return f"{audio.rate / 1000:g} kHz {channels}, {kind}"
