"""The command `listen`, and a quick way to it.

A joiner should be heard soon, and typer takes longer to read a command line than everything else a listener imports: it
loads pydantic.  So the options of `run_listen` are read here where that is plain, each `--name value` or
`--name=value`; help, mistakes and whatever else is left to typer, with which they must agree.
"""

import re
from pathlib import Path
from types import UnionType
from typing import Any, get_args

from radiosync.config import Config
from radiosync.drivers.interfaces import find_interface
from radiosync.drivers.output_search import begin_search
from radiosync.drivers.startup import Startup
from radiosync.ui import console
from radiosync.ui.running import duration_in_ns, host_name, place_keys, running
from radiosync.wire.groups import endpoint

_PLAIN = {
    str: re.compile(r"(?s).*"),
    Path: re.compile(r"(?s).+"),
    int: re.compile(r"[+-]?[0-9]{1,18}"),
    float: re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{0,18})?"),
}


def run_listen(
    startup: Startup,
    *,
    group: str | None = None,
    port: int | None = None,
    interface: str | None = None,
    host: str | None = None,
    output: str | None = None,
    name: str | None = None,
    offset_ms: float | None = None,
    volume: float | None = None,
    record: Path | None = None,
    config: Path | None = None,
    stats_json: Path | None = None,
    duration: float | None = None,
) -> int:
    """Listen until the end; return the exit status."""
    startup.reached("parsed")
    duration_ns = duration_in_ns(duration)
    settings = Config.load(
        config,
        place_keys(group, port, interface)
        | {
            "listener.host": host,
            "listener.output": output,
            "listener.name": name,
            "listener.offset_ms": offset_ms,
            "listener.volume": volume,
        },
    )
    place = find_interface(settings.network.interface, settings.network.group, settings.listener.host)
    search = begin_search(settings.listener.output)  # it goes on while these are loaded:
    from radiosync.drivers.listener_driver import ListenerDriver, with_remembered_offset  # noqa: PLC0415
    from radiosync.drivers.memory_file import open_memory  # noqa: PLC0415
    from radiosync.ui.listener_lines import listener_line  # noqa: PLC0415

    memory = open_memory(settings.listener, console.warn)
    settings = with_remembered_offset(settings, memory, offset_ms, search, console.say)
    name = settings.listener.name or host_name()
    driver = ListenerDriver(settings, place, name, stats_json, memory, record, startup, search)
    network = settings.network
    console.say(f"waiting for a host on {endpoint(network.group, network.port)} at {place.ip}")
    with running():
        driver.run(lambda event: console.say(listener_line(event)), duration_ns)
    return 0


def option_kinds() -> dict[str, type]:
    """Return each option, as the words have it, and the type of its value."""
    kinds = {f"--{name.replace('_', '-')}": kind for name, kind in run_listen.__annotations__.items()}
    return {name: get_args(kind)[0] for name, kind in kinds.items() if isinstance(kind, UnionType)}


def read_plainly(words: list[str]) -> dict[str, Any] | None:
    """Return the options that `words` give, or None where somebody else should look at them."""
    kinds, values, left = option_kinds(), {}, iter(words)
    for word in left:
        name, given, value = word.partition("=")
        value = value if given else next(left, "")
        if name not in kinds or not value or value.startswith("--") or not _PLAIN[kinds[name]].fullmatch(value):
            return None
        values[name[2:].replace("-", "_")] = kinds[name](value)
    return values
