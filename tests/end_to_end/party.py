"""Real radiosync processes on the loopback interface, each party on a group and ports of its own.

Nothing here sleeps where it can wait for a line, a statistic or an end, and whatever was started is ended.
"""

import json
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import numpy as np
import soundfile
from numpy.typing import NDArray

WAIT_S = 90  # until something that must happen counts as not happening: not a limit that is tested, so a generous one
RADIOSYNC = shutil.which("radiosync", path=str(Path(sys.executable).parent)) or "radiosync"
IMPAIRED = Path(__file__).with_name("impaired.py")

LISTENING = "waiting for a host on"
SENDING = "^sending "
ENDED = "the stream has ended"

Match = re.Match[str]
Record = dict[str, Any]


def now_ns() -> int:
    """Read the clock that `emitted_at` is in."""
    return time.clock_gettime_ns(getattr(time, "CLOCK_MONOTONIC_RAW", time.CLOCK_MONOTONIC))


class Process:
    """A radiosync process: its lines, its statistics, its end."""

    def __init__(self, command: list[str], stats: Path | None, **options: Any) -> None:
        self.command = command
        self._stats = stats
        self.lines: list[tuple[int, str]] = []
        self._changed = threading.Condition()
        self.started_at = now_ns()
        self.popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, **options)
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def text(self) -> str:
        """Everything it said so far."""
        return "\n".join(line for _, line in self.lines)

    def _collect(self) -> None:
        assert self.popen.stderr is not None
        for raw in self.popen.stderr:
            with self._changed:
                self.lines.append((now_ns(), raw.decode("utf-8", "replace").rstrip("\n")))
                self._changed.notify_all()
        self.popen.wait()
        with self._changed:
            self._changed.notify_all()

    def waited_s(self) -> float:
        """Return how long its main thread has waited for a processor that others used; 0 where nobody counts that."""
        try:
            return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[1]) / 1e9
        except OSError:
            return 0.0

    def wait_line(self, pattern: str, count: int = 1) -> tuple[int, Match]:
        """Wait for the `count`th line that `pattern` is found in; return when it came, and the match."""

        def found() -> list[tuple[int, Match]]:
            return [(at, match) for at, line in self.lines if (match := re.search(pattern, line))]

        with self._changed:
            self._changed.wait_for(lambda: len(found()) >= count or not self._thread.is_alive(), WAIT_S)
            if len(found()) < count and self.popen.poll() is not None:
                self._changed.wait(0.2)  # its last words may still be on their way
            matches = found()
        assert len(matches) >= count, f"{self} never said {pattern!r} {count} times:\n{self.text}"
        return matches[count - 1]

    def stats(self) -> list[Record]:
        """Return the statistics so far; a line that is still being written is left out."""
        assert self._stats is not None
        if not self._stats.exists():
            return []
        text = self._stats.read_text(encoding="utf-8")
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def wait_stats(self, wanted: Callable[[Record], bool]) -> Record:
        """Wait for the first record that is `wanted`."""
        until = time.monotonic() + WAIT_S
        while time.monotonic() < until:
            running = self.popen.poll() is None
            for record in self.stats():
                if wanted(record):
                    return record
            assert running, f"{self} ended too early:\n{self.text}"
            time.sleep(0.05)
        last = self.stats()[-1:]
        raise AssertionError(f"{self}: its statistics never became what they should; the last: {last}\n{self.text}")

    def send_signal(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def wait_end(self) -> int:
        """Wait until it ends by itself, and return its exit status."""
        try:
            status = self.popen.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self} does not end:\n{self.text}") from None
        self._thread.join(WAIT_S)
        return status

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send a signal and return the exit status."""
        self.send_signal(number)
        return self.wait_end()

    def destroy(self) -> None:
        """End it, politely if it can be."""
        for number, patience_s in ((signal.SIGTERM, 5), (signal.SIGKILL, 60)):
            if self.popen.poll() is None:
                self.send_signal(number)
            try:
                self.popen.wait(patience_s)
                break
            except subprocess.TimeoutExpired:
                continue
        self._thread.join(5)
        if self.popen.stderr is not None:
            self.popen.stderr.close()

    def __str__(self) -> str:
        return f"[{self.pid}] {' '.join(self.command[-12:])}"


class Host(Process):
    """A host process."""


class Listener(Process):
    """A listener process and where it plays to."""

    def __init__(self, command: list[str], stats: Path, wav: Path | None, **options: Any) -> None:
        super().__init__(command, stats, **options)
        self.wav = wav
        self.piped = bytearray()
        self._reading = True
        if self.popen.stdout is not None:
            self._pipe = threading.Thread(target=self._drain, daemon=True)
            self._pipe.start()

    def _drain(self) -> None:
        assert self.popen.stdout is not None
        while self._reading and (data := self.popen.stdout.read1(65536)):
            self.piped += data

    def close_pipe(self) -> None:
        """Stop reading, as a player that is closed does."""
        assert self.popen.stdout is not None
        self._reading = False
        self._pipe.join(WAIT_S)
        self.popen.stdout.close()

    def wait_pipe(self) -> bytes:
        """Return everything that came through its standard output, once that is closed."""
        self._pipe.join(WAIT_S)
        assert not self._pipe.is_alive()
        return bytes(self.piped)

    def destroy(self) -> None:
        super().destroy()
        if self.popen.stdout is not None:
            self._pipe.join(5)
            self.popen.stdout.close()


class Party:
    """A group and three ports that nobody else on this machine uses, and the processes that meet there."""

    def __init__(self, folder: Path, head: Sequence[str] = (), group: str = "", interface: str = "lo") -> None:
        self.folder = folder
        self._head = list(head)
        """What comes before each command, to run it somewhere else."""
        self._interface = interface
        self._processes: list[Process] = []
        self._claim, self.port = _claim_ports()
        draw = random.SystemRandom()
        self.group = group or f"239.255.{draw.randrange(1, 255)}.{draw.randrange(1, 255)}"
        self._count = 0

    @property
    def control_port(self) -> int:
        return self.port + 1

    @property
    def clock_port(self) -> int:
        return self.port + 2

    @property
    def place(self) -> list[str]:
        """The options that every process of this party gets."""
        return ["--group", self.group, "--port", str(self.port), "--interface", self._interface]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as stack:
            stack.callback(self._claim.close)
            for process in self._processes:
                stack.callback(process.destroy)

    def host(self, *sources: Path, args: list[str] | None = None, ready: bool = True) -> Host:
        """Start a host, and wait until its sockets are open."""
        named = [word for source in sources for word in ("--source", str(source))]
        stats = self._file("host.json")
        command = [*self._head, RADIOSYNC, "host", *named, *self.place, "--stats-json", str(stats), *(args or [])]
        host = Host(command, stats)
        self._processes.append(host)
        if ready:
            host.wait_line(SENDING)
        return host

    def listener(
        self,
        output: str = "wav",
        *,
        args: list[str] | None = None,
        impair: Record | None = None,
        ready: bool = True,
    ) -> Listener:
        """Start a listener, and wait until it listens; `impair` is what `impaired.py` takes."""
        stats = self._file("listener.json")
        wav = self._file("out.wav") if output == "wav" else None
        sink = f"wav:{wav}" if wav is not None else output
        head = [RADIOSYNC] if impair is None else [sys.executable, str(IMPAIRED), json.dumps(impair)]
        command = [
            *self._head,
            *head,
            "listen",
            *self.place,
            "--output",
            sink,
            "--stats-json",
            str(stats),
            *(args or []),
        ]
        stdout = subprocess.PIPE if output.startswith("pipe") else subprocess.DEVNULL
        listener = Listener(command, stats, wav, stdout=stdout)
        self._processes.append(listener)
        if ready:
            listener.wait_line(LISTENING)
        return listener

    def listeners(self, count: int, **options: Any) -> list[Listener]:
        """Start several listeners at once, and wait until all of them listen."""
        started = [self.listener(ready=False, **options) for _ in range(count)]
        for listener in started:
            listener.wait_line(LISTENING)
        return started

    def _file(self, name: str) -> Path:
        self._count += 1
        return self.folder / f"{self._count}-{name}"


def _claim_ports() -> tuple[socket.socket, int]:
    """Find three UDP ports in a row that are free, and keep them from other test processes.

    The claim is a TCP port of the same number: it is in nobody's way and vanishes with the process.
    """
    draw = random.SystemRandom()
    for _ in range(1000):
        port = draw.randrange(20_000, 32_000, 3)
        claim = socket.socket()
        try:
            claim.bind(("127.0.0.1", port))
            for number in range(port, port + 3):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                    probe.bind(("", number))
        except OSError:
            claim.close()
            continue
        return claim, port
    raise AssertionError("no three free UDP ports in a row were found")


def run(*args: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run radiosync to its end."""
    return subprocess.run(
        [RADIOSYNC, *args],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
        **options,
    )


# --- music -------------------------------------------------------------------------------------------------------

DTYPES = {"PCM_16": "int16", "PCM_24": "int32", "PCM_32": "int32", "FLOAT": "float32"}


def write_song(path: Path, rate: int, channels: int, subtype: str, seconds: float, seed: int = 1) -> NDArray[Any]:
    """Write a song in which every frame differs from its neighbours, and return it as `read_wav` reads it."""
    rng = np.random.default_rng(seed)
    frames = round(rate * seconds)
    t = np.arange(frames)[:, None] / rate
    pitches = rng.uniform(100, 900, channels)
    tone = 0.4 * np.sin(2 * np.pi * pitches * t) + rng.normal(0, 0.02, (frames, channels))
    if subtype == "FLOAT":
        samples: NDArray[Any] = tone.astype(np.float32)
    else:
        bits = int(subtype[4:])
        whole = np.round(tone * (1 << bits - 1)).astype(np.int64)
        samples = (whole << (8 if bits == 24 else 0)).astype(DTYPES[subtype])
    soundfile.write(path, samples, rate, subtype=subtype)
    return samples


def read_wav(path: Path, rate: int, channels: int, subtype: str) -> NDArray[Any]:
    """Read a file bit for bit, and see that it has the format it should have."""
    with soundfile.SoundFile(path) as file:
        assert (file.samplerate, file.channels, file.subtype) == (rate, channels, subtype)
        return np.asarray(file.read(dtype=DTYPES[subtype], always_2d=True))


def assert_same(played: NDArray[Any], source: NDArray[Any], what: object = "") -> None:
    """Assert bit-identity, and say where it ends if it does."""
    common = min(len(played), len(source))
    different = np.flatnonzero((played[:common] != source[:common]).any(axis=1))
    first = f", the first at {different[0]}, the last at {different[-1]}" if len(different) else ""
    assert len(different) == 0, f"{what}: {len(different)} of {common} frames differ{first}"
    assert len(played) == len(source), f"{what}: {len(played)} frames were played of {len(source)}"
