"""How often listeners report and ask for the time: the more there are, the less often each.

As in RTCP (RFC 3550 section 6.2) it is all of them together that is bounded, since one host hears them all: a report
costs it about as much as two datagrams of music, a question to the clock about as much as one.  The host announces both
intervals; who has something to say (a change of state, a lower tier, being silent) does not wait for them.
"""

from radiosync.config import RadioSyncConfig
from radiosync.units import NS_PER_MS, NS_PER_S

REPORT_NS = NS_PER_S  # as long as there are not more than ...
REPORTS_PER_S = 50  # ... so many listeners
REPORT_NS_MAX = 4 * NS_PER_S  # it is noticed within three reports that somebody has gone
REPORTS_PER_TIMEOUT = 6  # before a listener is forgotten, so that the loss of a few forgets nobody
CLOCKS_PER_S = 400  # a hundred listeners on bad Wi-Fi, each of which asks four times a second
CLOCK_NS_MAX = 4 * NS_PER_S  # asked less often, the clock estimate is more than 2.5 times worse than at 1 s


def longest_report_ns(config: RadioSyncConfig) -> int:
    """Return how long the interval between two reports may become, in ns."""
    if config.underrun_policy == "pause":
        return REPORT_NS  # who runs low must be known within a second
    return max(REPORT_NS, min(REPORT_NS_MAX, config.slow_client_ns // REPORTS_PER_TIMEOUT))


def report_interval_ns(listeners: int, longest_ns: int) -> int:
    """Return how often each of so many listeners should report while it plays well, in whole ms."""
    return min(max(REPORT_NS, _shared(listeners, REPORTS_PER_S)), longest_ns)


def clock_interval_ns(listeners: int) -> int:
    """Return the least time between two questions to the clock of one of so many, in whole ms."""
    return min(_shared(listeners, CLOCKS_PER_S), CLOCK_NS_MAX)


def _shared(listeners: int, per_s: int) -> int:
    return -(-listeners * NS_PER_S // (per_s * NS_PER_MS)) * NS_PER_MS
