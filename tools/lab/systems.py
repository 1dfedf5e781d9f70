"""How each system that the lab measures is started: radiosync, and Snapcast for comparison."""

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GROUP = "239.255.77.77"
FEED_AHEAD_S = 0.2  # as a player does that fills a pipe
FEED_STEP_S = 0.02
FEED_LATE_S = 0.05
FEED_PRIORITY = 20
FEED_WAIT_S = 1.0  # for the host to open its end
HEADER_BYTES = 44
Json = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """What a command line needs to know; `start` counts how often listener `i` has been started before.

    With `live_buffer_s` the host gets the signal live, on its standard input, from a clock that is `live_ppm` fast.
    """

    folder: Path
    host_ip: str
    i: int = 0
    ip: str = ""
    start: int = 0
    output: str = "device"
    live_buffer_s: float = 0.0
    live_ppm: float = 0.0

    @property
    def wav(self) -> Path:
        """Where a listener writes what it plays, if that is a file."""
        return self.folder / f"listener{self.i}-{self.start}.wav"

    @property
    def stats(self) -> Path:
        """Where a listener writes what it says of itself."""
        return self.folder / f"listener{self.i}-{self.start}.jsonl"


class Radiosync:
    """The program of this repository."""

    name = "radiosync"
    packages: tuple[str, ...] = ()

    def __init__(self, program: Path, host_options: tuple[str, ...] = ()) -> None:
        self._program, self._host_options = str(program), host_options

    def host(self, place: Place) -> list[str]:
        """Return the host's command line."""
        program = [self._program, "host"]
        if place.live_buffer_s:
            program = ["sh", "-c", f'exec "$0" "$@" < {place.folder / "fifo"}', *program]
            options = ["--source", "-", "--rate", "48000", "--channels", "2", "--buffer", str(place.live_buffer_s)]
        else:
            options = ["--source", str(place.folder / "signal.wav")]
        options += ["--group", GROUP, "--interface", place.host_ip, "--stats-json", str(place.folder / "host.jsonl")]
        return [*program, *options, *self._host_options]

    def listener(self, place: Place) -> list[str]:
        """Return a listener's command line."""
        output = f"wav:{place.wav}" if place.output == "wav" else "device:default"
        options = ["--group", GROUP, "--interface", place.ip, "--output", output, "--name", f"room{place.i}"]
        return [self._program, "listen", *options, "--stats-json", str(place.stats)]

    @contextlib.contextmanager
    def fed(self, place: Place, rate: int) -> Any:
        """Feed a live host; another reads the file itself."""
        if not place.live_buffer_s:
            yield
            return
        with _feeding(place, rate, 0.0, 1 + place.live_ppm * 1e-6, "the live source"):
            yield

    def stats(self, place: Place) -> list[Json]:
        """Return what the listener said of itself."""
        return _rows(place.stats)

    def play_at_zero(self, place: Place, host_minus_machine_ns: int) -> float | None:
        """Return when frame 0 should be heard, in the machine's time: the host says which frame is due when."""
        rows = [row for row in _rows(place.folder / "host.jsonl") if row.get("position_s")]
        # The due frame is rounded up to a whole one, so that each row is up to a frame too early: the latest is right.
        zeros = [row["t"] - row["position_s"] for row in rows[:-1]]
        return max(zeros) * 1e9 - host_minus_machine_ns if zeros else None


class Snapcast:
    """Debian's snapserver and snapclient, as they come: FLAC, one second of buffer."""

    name = "snapcast"
    packages = ("snapserver", "snapclient")
    conf = (
        "[server]\ndatadir = {folder}\n[http]\nenabled = false\n[tcp]\nenabled = true\nbind_to_address = {ip}\n"
        "[stream]\nbind_to_address = {ip}\nsource = pipe://{folder}/fifo?name=default&sampleformat=48000:16:2\n"
        "codec = flac\nchunk_ms = 20\nbuffer = 1000\n[logging]\nsink = stderr\nfilter = *:info\n"
    )

    def host(self, place: Place) -> list[str]:
        """Return the server's command line."""
        path = place.folder / "snapserver.conf"
        path.write_text(self.conf.format(folder=place.folder, ip=place.host_ip))
        return ["snapserver", "-c", str(path)]

    def listener(self, place: Place) -> list[str]:
        """Return a client's command line."""
        sound = ["--player", "alsa", "-s", "default", "--mixer", "none", "--logsink", "stderr"]
        return ["snapclient", "-h", place.host_ip, "--hostID", f"room{place.i}", *sound]

    @contextlib.contextmanager
    def fed(self, place: Place, rate: int) -> Any:
        """Write the signal into the server's pipe in real time, a little ahead."""
        with _feeding(place, rate, FEED_AHEAD_S, 1.0, "Snapcast"):
            yield

    def stats(self, place: Place) -> list[Json]:
        """Snapcast writes none."""
        del place
        return []

    def play_at_zero(self, place: Place, host_minus_machine_ns: int) -> float | None:
        """Snapcast's is not known."""
        del place, host_minus_machine_ns
        return None  # as the other system's


@contextlib.contextmanager
def _feeding(place: Place, rate: int, ahead_s: float, speed: float, whom: str) -> Iterator[None]:
    """Write the signal into the folder's pipe in the time it takes, or faster by `speed`."""
    fifo = place.folder / "fifo"
    os.mkfifo(fifo)
    pipe = os.open(fifo, os.O_RDWR)  # both ways, so that the reader never sees an end
    stop = threading.Event()
    late_s = [0.0]
    source = place.folder / "signal.wav"
    feeder = threading.Thread(target=_feed, args=(source, pipe, rate * speed, ahead_s, stop, late_s), daemon=True)
    feeder.start()
    try:
        yield
    finally:
        stop.set()
        os.set_blocking(pipe, False)
        with contextlib.suppress(BlockingIOError):
            while os.read(pipe, 1 << 16):  # the feeder may wait for room
                pass
        feeder.join(2)
        os.close(pipe)
        if late_s[0] > max(ahead_s, FEED_LATE_S):  # then what follows is the lab's fault
            print(f"lab: {whom} was fed {late_s[0]:.2f} s late; the machine is too busy", file=sys.stderr)


def _feed(wav: Path, pipe: int, rate: float, ahead_s: float, stop: threading.Event, late_s: list[float]) -> None:
    with contextlib.suppress(OSError):  # as a sound card would be: it comes when it should
        os.sched_setscheduler(threading.get_native_id(), os.SCHED_FIFO, os.sched_param(FEED_PRIORITY))
    step = round(rate * FEED_STEP_S) * 4
    stop.wait(FEED_WAIT_S)
    began = time.monotonic()
    with wav.open("rb") as source, contextlib.suppress(OSError):
        source.seek(HEADER_BYTES)
        sent = 0
        while data := source.read(step):
            due = began + (sent + len(data)) / 4 / rate - ahead_s  # a sound card gives what it has heard
            if stop.wait(max(0.0, due - time.monotonic())):
                return
            late_s[0] = max(late_s[0], time.monotonic() - due)
            os.write(pipe, data)
            sent += len(data)


def _rows(path: Path) -> list[Json]:
    if not path.exists():
        return []
    rows = []
    for line in path.read_text().splitlines():
        with contextlib.suppress(json.JSONDecodeError):  # the last line of a process that was killed
            rows.append(json.loads(line))
    return rows
