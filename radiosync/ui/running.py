"""What the commands that run for a while share; it imports little, as a listener's start waits for it."""

import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from radiosync.config_rules import Number
from radiosync.errors import ConfigError, RadiosyncError, UserError
from radiosync.ui import console
from radiosync.units import ns_from_s

_DURATION = Number(0, 1e9, "s")  # thirty years


def duration_in_ns(seconds: float | None) -> int | None:
    """Return what `--duration` says, in ns.

    Raises ConfigError where that is no length of time.
    """
    if seconds is not None and _DURATION.accept(seconds) is None:
        raise ConfigError(f"--duration {seconds:g}: must be {_DURATION.wants()}")
    return None if seconds is None else ns_from_s(seconds)


@contextmanager
def running() -> Iterator[None]:
    """Make of what a person could have prevented a failure of the run: the start is over."""
    try:
        yield
    except UserError as error:
        raise RadiosyncError(str(error)) from error


def place_keys(group: str | None, port: int | None, interface: str | None) -> dict[str, object]:
    """Return the keys of the configuration that these options stand for: where the party is."""
    return {"network.group": group, "network.port": port, "network.interface": interface}


def host_name() -> str:
    """Return this computer's name, without its domain."""
    return socket.gethostname().split(".")[0]


def exit_after(run: Callable[[], int]) -> None:
    """End the process with the status that `run` returns; an error is one line, and 2 where a person can mend it."""
    try:
        status = run()
    except UserError as error:
        console.say(f"radiosync: {error}")
        sys.exit(2)
    except RadiosyncError as error:
        console.say(f"radiosync: {error}")
        sys.exit(1)
    sys.exit(status)
