"""What a listener says of itself while all is well."""

from typing import Any

from radiosync.units import NS_PER_MS
from radiosync.wire.messages import ListenerState, Report


def a_report(**said: Any) -> Report:
    """Return a report that says `said`, and nothing remarkable beside."""
    plain: dict[str, Any] = dict.fromkeys(Report.__slots__, 0) | {"ready_frame": None, "name": "", "rtt_ns": NS_PER_MS}
    return Report(**plain | {"state": ListenerState.PLAYING} | said)
