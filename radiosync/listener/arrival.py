"""How unevenly datagrams of the host arrive: interarrival jitter (RFC 3550 section 6.4.1, appendix A.8).

    D  = (arrived - sent) of one datagram - (arrived - sent) of the one before
    J += (|D| - J) / 16

Of what goes to the group only announcements say when they were sent, so they are what it is measured by, about one a
second.  They take the way that audio takes, which the clock's questions do not: an access point that holds back what
goes to a group delays those.  The two clocks' skew counts as jitter, but is a ten-thousandth of the time between two.
"""

from radiosync.units import NS_PER_S, HostNs, LocalNs

GAIN = 16  # RFC 3550: enough to quiet the noise, and a change shows within a quarter of a minute
APART_NS_MAX = 10 * NS_PER_S  # two datagrams further apart are not compared: a clock may have stood still between them
JITTER_NS_MAX = 60 * NS_PER_S  # longer than any network holds a datagram; a host that lies must not exceed the report


class ArrivalJitter:
    """The running estimate; 0 before the second datagram."""

    def __init__(self) -> None:
        self._last: tuple[HostNs, LocalNs] | None = None
        self._sixteenths_ns = 0

    @property
    def jitter_ns(self) -> int:
        """The mean deviation of the time between two datagrams from what it was when they were sent."""
        return self._sixteenths_ns // GAIN

    def arrived(self, sent_at: HostNs, now: LocalNs) -> None:
        """Take in that a datagram sent at `sent_at` arrived now; one that was overtaken says nothing."""
        last = self._last
        if last is not None and sent_at <= last[0]:
            return
        self._last = (sent_at, now)
        if last is not None and sent_at - last[0] <= APART_NS_MAX:
            deviation_ns = min(abs((now - last[1]) - (sent_at - last[0])), JITTER_NS_MAX)
            self._sixteenths_ns += deviation_ns - self._sixteenths_ns // GAIN
