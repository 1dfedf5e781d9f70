"""How a start went: what was reached when, in seconds since the process began, for the statistics file.

Linux says when a process began, to a tick of 10 ms; elsewhere it is counted from when this module was loaded.
"""

from radiosync.drivers.clocks import local_now, process_age_ns
from radiosync.units import NS_PER_S, LocalNs


class Startup:
    """The instants of one start."""

    def __init__(self) -> None:
        self._began_at = LocalNs(local_now() - process_age_ns())
        self.reached_s: dict[str, float] = {}
        """Seconds since the process began, in the order in which things were reached."""

    def reached(self, what: str, at: LocalNs | None = None) -> None:
        """Note that `what` was reached just now, or at an instant that is known; the first time counts."""
        if what not in self.reached_s:
            self.reached_s[what] = round(((local_now() if at is None else at) - self._began_at) / NS_PER_S, 4)
