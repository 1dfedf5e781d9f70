"""The sync calculator: what a host's sync command means for this listener.

The seed's rule, for clocks that are not shared: a listener waits `slowest - own latency` after the command reaches it,
so that all start when it has reached the slowest; and it is ready when it holds `slowest + safety margin` of audio.
With a shared clock the start is an instant, the same for all, and the wait only says how much of the time until then
this listener has to spare; the rule for being ready stays as it is.
"""

from dataclasses import dataclass

from radiosync.units import NS_PER_MS, NS_PER_S, NS_PER_US, HostNs, LocalNs, MediaFrame
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


ALARM_NS = NS_PER_S  # how long an error must stay beyond the tolerance, or within it, to count


class SyncAlarm:
    """Says when a listener falls out of sync, and when it is back.

    An error beyond the tolerance is an alarm once it has stayed for a second: one late stamp is none.
    """

    def __init__(self, tolerance_ns: int) -> None:
        self._tolerance_ns = tolerance_ns
        self._since: LocalNs | None = None
        self.raised = False
        self.count = 0

    def update(self, error_ns: float, now: LocalNs) -> bool:
        """Take in the error at `now`; say whether `raised` has just changed."""
        if (abs(error_ns) > self._tolerance_ns) == self.raised:
            self._since = None
            return False
        if self._since is None:
            self._since = now
        if now - self._since < ALARM_NS:
            return False
        self._since = None
        self.raised = not self.raised
        self.count += self.raised
        return True
