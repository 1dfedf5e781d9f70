"""What a host leaves for the next one, in case it is killed: the file behind `radiosync.host.continuity`.

One small file for each group, port and interface, which only its user may read: it holds the key of the cookies.  It
lies where things last no longer than the machine runs (`XDG_RUNTIME_DIR`) if there is such a place, and is written with
every chunk (`slot_file`).  A host that ends as it should removes it.  It is good for as long as the same clock
runs, so not after a reboot, for the same songs in the same files, and while listeners still hold music.

A file that can't be written or read costs a return without a gap, never the music: it is said once and done without.
"""

import contextlib
import json
import os
import sys
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

from radiosync.config import Config
from radiosync.drivers.clocks import MediaClock, local_now, real_now
from radiosync.drivers.file_source import FileSource
from radiosync.drivers.interfaces import Interface
from radiosync.drivers.memory_file import state_folder
from radiosync.drivers.slot_file import SlotFile
from radiosync.host.continuity import ChunkMark, Remembered
from radiosync.host.session import HostSession
from radiosync.timeline import PlayState, Timeline
from radiosync.units import NS_PER_S, HostNs, MediaFrame

VERSION = 1
FILES_MAX = 16  # of killed hosts on other groups; the oldest are removed
SAVE_NS = NS_PER_S  # at least so often, while nothing changes: how old it is says what listeners still hold
SAME_BOOT_NS = 2 * NS_PER_S  # how much wall clock and local clock may differ since, where boots have no name
_WHOLE_MAX = 1 << 64
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

Warn = Callable[[str], None]


class HostState:
    """The file of one host; `remembered` is what the last one left, if this one can go on with it."""

    def __init__(self, path: Path, source: FileSource, config: Config, warn: Warn) -> None:
        self._path = path
        self._file = SlotFile(path)
        self._boot = _boot_id()
        self._source = source
        self._warn = warn
        self._warned = False
        self._stamp: tuple[object, ...] | None = None
        self._save_at = HostNs(0)
        self._index = 0
        self.clock = MediaClock()
        self.remembered: Remembered | None = None
        self.silent_ns = 0
        """How long ago the last host was heard of."""
        self._read(config)

    @classmethod
    def open(cls, config: Config, source: object, interface: Interface, warn: Warn) -> Self | None:
        """Return the state of a host that plays `source`; None where nothing is to be remembered, or can be."""
        if not config.host.remember or not isinstance(source, FileSource):
            return None
        network = config.network
        name = blake2b(f"{network.group} {network.port} {interface.ip}".encode(), digest_size=8).hexdigest()
        return cls(_folder() / f"host-{name}.state", source, config, warn)

    def lengths(self) -> tuple[int, ...]:
        """Bring the source to where the stream was; return how long its next chunks must be."""
        if self.remembered is None:
            return ()
        first = self.remembered.chunks[0]
        self._source.resume(first.song_id, self._index, first.song_frame)
        return tuple(mark.frames for mark in self.remembered.chunks)

    def save(self, session: HostSession, now: HostNs) -> None:
        """Write down what must be before anything more is sent, and now and then how far it has got."""
        stamp = session.continuity.stamp(session.transport)
        if stamp == self._stamp and now < self._save_at:
            return
        self._stamp, self._save_at = stamp, HostNs(now + SAVE_NS)
        remembered = session.remembered(now)
        if remembered is None:
            self.forget()
            return
        whole = {
            "version": VERSION,
            "boot": self._boot,
            "saved_local": local_now(),
            "saved_real": real_now(),
            "clock_minus_local": self.clock.minus_local_ns,
            "source": self._source.fingerprint,
            "config": _relevant(session.config),
            "songs": {song_id: self._source.index_of(song_id) for song_id in {m.song_id for m in remembered.chunks}},
            "session": _plain(remembered),
        }
        self._write(json.dumps(whole))

    def forget(self) -> None:
        """Leave nothing: the session has ended, or can't be gone on with."""
        try:
            self._file.remove()
        except OSError as error:
            self._say(f"{self._path}: can't be removed: {error.strerror or error}")

    def close(self) -> None:
        """Let go of the file, which stays."""
        self._file.close()

    def _write(self, text: str) -> None:
        try:
            self._file.write(text.encode())
        except OSError as error:
            self._say(f"{self._path}: can't be written: {error.strerror or error}; a killed host can't be gone on with")

    def _read(self, config: Config) -> None:
        try:
            _remove_old(self._path)
            whole = json.loads(self._file.read())
            if not isinstance(whole, dict) or whole["version"] != VERSION or not _same_boot(whole):
                return
            if whole["source"] != self._source.fingerprint or whole["config"] != _relevant(config):
                return
            clock = MediaClock(_whole(whole["clock_minus_local"], signed=True))
            remembered = _remembered(whole["session"]).as_of(self._source.format, config, clock.now())
            songs = {int(song_id): _whole(index) for song_id, index in whole["songs"].items()}
        except FileNotFoundError:
            return
        except OSError as error:
            self._say(f"{self._path}: can't be read: {error.strerror or error}")
            return
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            self._say(f"{self._path}: is no state of a host; it will be written anew")
            return
        index = None if remembered is None else songs.get(remembered.chunks[0].song_id)
        if remembered is not None and index is not None:
            self.clock, self.remembered, self._index = clock, remembered, index
            self.silent_ns = clock.now() - remembered.saved_at

    def _say(self, text: str) -> None:
        if not self._warned:
            self._warned = True
            self._warn(text)


def _folder() -> Path:
    """Return where to leave it: in a place that does not outlast the machine's run, if there is one."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if sys.platform.startswith("linux") and runtime and Path(runtime).is_dir():
        return Path(runtime) / "radiosync"
    return state_folder()


def _remove_old(path: Path) -> None:
    """Remove what other hosts have left, but for the newest."""
    others = [other for other in path.parent.glob("host-*") if other != path]
    with contextlib.suppress(OSError):  # somebody else does the same
        for other in sorted(others, key=lambda each: each.stat().st_mtime)[: -FILES_MAX + 1]:
            other.unlink(missing_ok=True)


def _boot_id() -> str | None:
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, ValueError):  # not Linux
        return None


def _same_boot(whole: dict[str, Any]) -> bool:
    """Say whether the local clock is still the one that it was."""
    boot = _boot_id()
    if boot is not None:
        return bool(whole["boot"] == boot)
    passed_ns = local_now() - _whole(whole["saved_local"], signed=True)
    return passed_ns >= 0 and abs(real_now() - _whole(whole["saved_real"]) - passed_ns) < SAME_BOOT_NS


def _relevant(config: Config) -> list[Any]:
    """Return the settings that decide what chunks are like; with others they can't be made again."""
    return [config.codec, config.network.datagram_max]


def _plain(remembered: Remembered) -> dict[str, Any]:
    """Return what is to be written down; spelled out, since it is done with every chunk."""
    return {
        "saved_at": remembered.saved_at,
        "session": remembered.session,
        "cookie_key": remembered.cookie_key.hex(),
        "records": [[r.version, r.epoch, r.state, r.media_frame, r.effective_at] for r in remembered.records],
        "begin_frame": remembered.begin_frame,
        "preparing": remembered.preparing,
        "held": remembered.held,
        "next_seq_sent": remembered.next_seq_sent,
        "final_frame": remembered.final_frame,
        "chunks": [[m.seq, m.first_frame, m.frames, m.song_id, m.song_frame, m.crc] for m in remembered.chunks],
    }


def _remembered(plain: dict[str, Any]) -> Remembered:
    """Return what was written down; raises ValueError, KeyError or TypeError where that makes no sense."""
    preparing, final = plain["preparing"], plain["final_frame"]
    records = tuple(
        Timeline(
            version=_whole(version),
            epoch=_whole(epoch),
            state=PlayState(state),
            media_frame=MediaFrame(_whole(frame)),
            effective_at=HostNs(_whole(at)),
        )
        for version, epoch, state, frame, at in plain["records"]
    )
    chunks = tuple(
        ChunkMark(
            seq=_whole(seq),
            first_frame=MediaFrame(_whole(frame)),
            frames=_whole(frames, least=1),
            song_id=_whole(song_id, least=1),
            song_frame=_whole(song_frame),
            crc=_whole(crc),
        )
        for seq, frame, frames, song_id, song_frame, crc in plain["chunks"]
    )
    if not records or not chunks:
        raise ValueError("nothing to go on with")
    return Remembered(
        saved_at=HostNs(_whole(plain["saved_at"])),
        session=_whole(plain["session"], least=1),
        cookie_key=bytes.fromhex(plain["cookie_key"]),
        records=records,
        begin_frame=MediaFrame(_whole(plain["begin_frame"])),
        preparing=None if preparing is None else (MediaFrame(_whole(preparing[0])), _whole(preparing[1])),
        held=plain["held"] is True,
        next_seq_sent=_whole(plain["next_seq_sent"]),
        final_frame=None if final is None else MediaFrame(_whole(final)),
        chunks=chunks,
    )


def _whole(value: object, *, least: int = 0, signed: bool = False) -> int:
    """Return a whole number of a sensible size; raises ValueError for anything else."""
    if (
        isinstance(value, bool)
        or not isinstance(value, int)
        or not (-_WHOLE_MAX if signed else least) <= value < _WHOLE_MAX
    ):
        raise ValueError(f"{value!r} makes no sense")
    return value
