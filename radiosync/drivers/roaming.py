"""Whether a listener's network has changed under it: another address, another interface, a cable pulled.

Its sockets are bound to the address that they were opened with, and so is its proof to the host; both have to be made
anew.  It is only asked when nothing comes through the group: what works stays as it is.
"""

from radiosync.drivers.interfaces import LOOPBACK, Interface, find_interface
from radiosync.errors import NetworkError


def moved(current: Interface, wanted: str, group: str, host: str = "") -> Interface | None:
    """Return what to use instead of `current` to get to `group`, or None where nothing has changed or there is nothing.

    `wanted` is the interface that a person chose, by name or address, or ""; `host` the host to be asked, or "".
    """
    try:
        found = find_interface(wanted, group, host)
    except NetworkError:  # it is away; nobody else's place is taken meanwhile
        return None
    if found.ip == current.ip or (found.ip == LOOPBACK and not wanted):  # loopback: there is no network at all now
        return None
    return found
