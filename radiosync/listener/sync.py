"""The sync calculator: what a host's sync command means for this listener.

The seed's rule, for clocks that are not shared: a listener waits `slowest - own latency` after the command reaches it,
so that all start when it has reached the slowest; and it is ready when it holds `slowest + safety margin` of audio.
With a shared clock the start is an instant, the same for all, and the wait only says how much of the time until then
this listener has to spare; the rule for being ready stays as it is.
"""

from dataclasses import dataclass

from radiosync.units import NS_PER_MS, NS_PER_US, HostNs, MediaFrame
from radiosync.wire.messages import Sync


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSync:
    """What a listener makes of a sync command."""

    target_frame: MediaFrame
    delay_ns: int
    """The seed's delay: how much earlier than the slowest this listener hears the command."""
    required_ns: int
    """The audio from the target on that makes it ready."""
    start_at: HostNs


def calculate_client_sync(command: Sync, latency_ns: int) -> ClientSync:
    """Work out a sync command for a listener whose own latency (round trip) is `latency_ns`."""
    return ClientSync(
        target_frame=command.target_frame,
        delay_ns=max(0, command.slowest_latency_us * NS_PER_US - latency_ns),
        required_ns=command.required_ms * NS_PER_MS,
        start_at=command.sync_at,
    )
