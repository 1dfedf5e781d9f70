"""What a host says on the terminal: one line per event."""

from radiosync.host import events as host
from radiosync.ui.console import song_line
from radiosync.units import NS_PER_MS, NS_PER_S


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
        case host.OtherHost():
            return (
                f"warning: {event.name} ({event.ip}) hosts on this group and port too; each listener stays with the "
                "host it has found; give one of the two another --group"
            )
        case host.ResyncOrdered():
            return f"  everybody resyncs: {event.reason}"
        case host.BufferChanged() if event.depth_ns == event.before_ns:
            return f"  buffer of {event.depth_ns / NS_PER_S:.2g} s restored: {event.reason}"
        case host.BufferChanged():
            before_s, depth_s = event.before_ns / NS_PER_S, event.depth_ns / NS_PER_S
            return f"  buffer {depth_s:.2g} s, was {before_s:.2g} s: {event.reason}"
        case host.CopyServed():
            served = "gets a copy by unicast: multicast does not reach it" if event.served else "needs no copy any more"
            return f"  {event.name} {served}"
        case host.CopyRefused():
            return f"warning: no copy by unicast for {event.name}, which multicast does not reach: host.copies_max"
        case host.Finished():
            return "the last frame has been played"
