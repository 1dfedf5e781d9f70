"""The state file: what a listener has learnt of hosts and devices, in the user's own state folder.

Losing it costs a few seconds of learning, so it is never waited for, and never a reason to fail: a file that can't be
read or written is said once and done without.  Several listeners of one user share it; each writes what it learnt on
top of what is there.  While music plays that is done in a thread: a busy disk may take longer for it than there is
music in the ring.
"""

import contextlib
import json
import math
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from radiosync.config import ListenerConfig
from radiosync.drivers.background import Background
from radiosync.drivers.clocks import real_now
from radiosync.listener.memory import KNOWN_SIGMA_MAX, KnownRate
from radiosync.units import NS_PER_S

ENTRIES_MAX = 64  # hosts, and devices; the one that was seen longest ago is forgotten
BYTES_MAX = 1 << 20  # a file that is longer is not ours
SAVING_S_MAX = 2.0  # that the end waits for a disk
RATE_MAX = 500e-6  # of a crystal, in any consumer's device
OFFSET_MS_MAX = 2000.0  # as listener.offset_ms
VERSION = 1
FILE_NAME = "state.json"

_Changes = dict[tuple[str, str], dict[str, Any]]


def state_folder() -> Path:
    """Return the folder for what programs remember, as the platform has it."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "radiosync"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "radiosync"
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "radiosync"


class MemoryFile:
    """A `Memory` in a JSON file; `path` None keeps it for this run only."""

    def __init__(self, path: Path | None, warn: Callable[[str], None]) -> None:
        self._path = path
        self._warn = warn
        self._warned = False
        self._hosts: dict[str, dict[str, Any]] = {}
        self._devices: dict[str, dict[str, Any]] = {}
        self._changed: _Changes = {}
        self._saving: Background[None] | None = None
        self._hosts, self._devices = self._read()

    def host_skew(self, host: str) -> KnownRate | None:
        """Return how fast a host's clock runs against this machine's."""
        return _known(self._hosts.get(host), "skew_ppm")

    def device_rate(self, device: str) -> KnownRate | None:
        """Return how fast a sound device runs against this machine's clock."""
        return _known(self._devices.get(device), "rate_ppm")

    def offset_ms(self, device: str) -> float | None:
        """Return how much later this device is to play, where that was set once."""
        offset_ms = _number(self._devices.get(device, {}).get("offset_ms"))
        return offset_ms if offset_ms is not None and abs(offset_ms) <= OFFSET_MS_MAX else None

    def note_host(self, host: str, known: KnownRate) -> None:
        """Remember a host's skew, if it is known well."""
        if known.sigma <= KNOWN_SIGMA_MAX and abs(known.rate) <= RATE_MAX:
            self._note("hosts", host, {"skew_ppm": known.rate * 1e6, "sigma_ppm": known.sigma * 1e6})

    def note_device(self, device: str, known: KnownRate) -> None:
        """Remember a device's rate, if it is known well."""
        if known.sigma <= KNOWN_SIGMA_MAX and abs(known.rate) <= RATE_MAX:
            self._note("devices", device, {"rate_ppm": known.rate * 1e6, "sigma_ppm": known.sigma * 1e6})

    def note_offset(self, device: str, offset_ms: float) -> None:
        """Remember how much later a device is to play."""
        self._note("devices", device, {"offset_ms": offset_ms})

    def save(self) -> None:
        """Write what was learnt on top of what the file says now."""
        if self._saving is not None:
            with contextlib.suppress(TimeoutError):
                self._saving.result(SAVING_S_MAX)
        if self._path is not None and self._changed:
            self._write(self._path, self._taken())

    def save_beside(self) -> None:
        """Begin to do the same in a thread, unless the last time is not over yet."""
        if self._path is None or not self._changed or (self._saving is not None and not self._saving.done):
            return
        path, changed = self._path, self._taken()
        self._saving = Background(lambda: self._write(path, changed))

    def _taken(self) -> _Changes:
        changed, self._changed = self._changed, {}
        return changed

    def _write(self, path: Path, changed: _Changes) -> None:
        hosts, devices = self._read()
        for (kind, name), values in changed.items():
            table = hosts if kind == "hosts" else devices
            table[name] = table.get(name, {}) | values
        for table in (hosts, devices):
            while len(table) > ENTRIES_MAX:
                del table[min(table, key=lambda name: _seen_s(table[name]))]
        text = json.dumps({"version": VERSION, "hosts": hosts, "devices": devices}, indent=1, sort_keys=True)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
                file.write(text)
            Path(file.name).replace(path)  # all of it or nothing, whoever else writes
        except OSError as error:
            self._say(f"{path}: can't remember anything there: {error.strerror or error}")

    def _note(self, kind: str, name: str, values: dict[str, Any]) -> None:
        values = values | {"seen_s": real_now() // NS_PER_S}
        table = self._hosts if kind == "hosts" else self._devices
        table[name] = table.get(name, {}) | values
        self._changed[kind, name] = self._changed.get((kind, name), {}) | values

    def _read(self) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
        if self._path is None:
            return dict(self._hosts), dict(self._devices)
        try:
            raw = self._path.read_bytes()
        except FileNotFoundError:
            return {}, {}
        except OSError as error:
            self._say(f"{self._path}: can't be read: {error.strerror or error}; nothing is remembered")
            return {}, {}
        try:
            whole = json.loads(raw) if len(raw) <= BYTES_MAX else None
        except (ValueError, RecursionError):
            whole = None
        if not isinstance(whole, dict) or whole.get("version") != VERSION:
            self._say(f"{self._path}: is no state file of this version; it will be written anew")
            return {}, {}
        return _entries(whole.get("hosts")), _entries(whole.get("devices"))

    def _say(self, text: str) -> None:
        if not self._warned:
            self._warned = True
            self._warn(text)


def open_memory(config: ListenerConfig, warn: Callable[[str], None]) -> MemoryFile:
    """Return this user's memory, or one that lasts as long as the program."""
    return MemoryFile(state_folder() / FILE_NAME if config.remember else None, warn)


def _entries(table: object) -> dict[str, dict[str, Any]]:
    if not isinstance(table, dict):
        return {}
    return {name: dict(entry) for name, entry in table.items() if isinstance(entry, dict)}


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # JSON has whole numbers of any length
        return None
    return number if math.isfinite(number) else None


def _seen_s(entry: dict[str, Any]) -> float:
    return _number(entry.get("seen_s")) or 0.0


def _known(entry: dict[str, Any] | None, key: str) -> KnownRate | None:
    """Return a rate that makes sense, whatever somebody wrote into the file."""
    if entry is None:
        return None
    ppm, sigma_ppm = _number(entry.get(key)), _number(entry.get("sigma_ppm"))
    if ppm is None or sigma_ppm is None:
        return None
    known = KnownRate(rate=ppm * 1e-6, sigma=sigma_ppm * 1e-6)
    return known if abs(known.rate) <= RATE_MAX and 0 <= known.sigma <= KNOWN_SIGMA_MAX else None
