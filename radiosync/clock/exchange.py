"""One question and answer between a listener's clock and the host's."""

from dataclasses import dataclass

from radiosync.units import HostNs, LocalNs


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """Hold the four instants of one NTP exchange (RFC 5905 §8: T1 to T4).

    With θ the host's clock minus the local one, `forward_ns` is θ plus the delay of the question, and `backward_ns` is
    -θ plus the delay of the answer.  No delay is ever negative, so each of the two bounds θ from one side.
    """

    sent_at: LocalNs
    host_received_at: HostNs
    host_sent_at: HostNs
    received_at: LocalNs

    @property
    def forward_ns(self) -> int:
        """Return T2 - T1: the offset plus the delay towards the host, in ns."""
        return self.host_received_at - self.sent_at

    @property
    def backward_ns(self) -> int:
        """Return T4 - T3: the delay from the host minus the offset, in ns."""
        return self.received_at - self.host_sent_at

    @property
    def rtt_ns(self) -> int:
        """Return the time on the road, both ways, without the time the host took to answer, in ns."""
        return self.forward_ns + self.backward_ns

    @property
    def offset_ns(self) -> int:
        """Return host minus local clock as if both ways took equally long, in ns; wrong by at most half `rtt_ns`."""
        return (self.forward_ns - self.backward_ns) // 2
