"""What a listener says on the terminal: one line per event."""

from radiosync.audio.tiers import tier_name
from radiosync.listener import events as listener
from radiosync.ui.console import format_line, song_line
from radiosync.units import NS_PER_MS


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
        case listener.CopyChanged():
            return "multicast " + ("does not arrive: asking for a copy by unicast" if event.wanted else "arrives again")
        case listener.HostGone():
            return f"the host {'said good-bye' if event.stopped else 'is gone'}; waiting for a host"
