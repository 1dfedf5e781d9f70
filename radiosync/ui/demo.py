"""The demo: a host and two listeners on this machine, a tune made on the spot, and the sync between them as measured.

What is measured is what came out, not what the program believes.  The two recordings are laid over each other and over
the tune by cross-correlation; each is placed in time by when its frames were handed over, on the one clock that all
processes of a machine share: WAV files by the instants at which their blocks were written, a sound device by the
stamps of its own driver.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radiosync.audio.correlate import lag
from radiosync.audio.format import AudioFormat, SampleFormat
from radiosync.audio.pcm import float_from_samples
from radiosync.audio.resampler import VariableResampler
from radiosync.drivers.clocks import local_now
from radiosync.drivers.file_sinks import WavSink
from radiosync.drivers.portaudio import find_device, load_portaudio
from radiosync.drivers.song_file import SongFile
from radiosync.errors import DeviceError, RadiosyncError
from radiosync.ui.tune import tune
from radiosync.units import NS_PER_S, NS_PER_US

RATE = 48_000
SECONDS = 12.0
NAMES = ("kitchen", "bedroom")
PATIENCE_S = 30.0  # beyond the tune: a machine that needs longer to start three processes has other worries
IN_SYNC_US = 1000.0  # below this two loudspeakers sound as one; what is measured of WAV files is good to a tenth of it
CORRELATION_MIN = 0.9  # two places of the same music correlate by less than 0.5
POLL_S = 0.05

Mono = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What one listener gave out: mono, at `RATE`, and when its first frame came out on the machine's clock."""

    name: str
    samples: Mono
    began_at: float
    stats: dict[str, Any]


class DemoError(RadiosyncError):
    """The demo could not be run to its end."""


def run_demo(say: Callable[[str], None], port: int | None, *, files: bool) -> bool:
    """Play the tune, print the table, and return whether the listeners were in sync.

    Raises DemoError where a process failed.
    """
    output = "wav" if files or not _has_device() else "device"
    with tempfile.TemporaryDirectory(prefix="radiosync-demo-") as name:
        folder = Path(name)
        say(f"making {SECONDS:.0f} s of music")
        wav = WavSink(folder / "tune.wav")
        wav.begin(AudioFormat(RATE, 2, SampleFormat.S16))
        wav.write(tune(RATE, SECONDS))
        wav.close()
        where = "into WAV files, as there is no sound device" if output == "wav" else "on the sound device"
        say(f"playing it {where if not files else 'into WAV files'}: a host and {len(NAMES)} listeners, a process each")
        _Party(folder, output, port).play()
        say("measuring what came out")
        return _report(folder, output, say)


def _has_device() -> bool:
    try:
        find_device(load_portaudio(), "")
    except DeviceError:
        return False
    return True


class _Party:
    """The three processes."""

    def __init__(self, folder: Path, output: str, port: int | None) -> None:
        self._folder = folder
        self._output = output
        self._network = ["--interface", "lo", "--port", str(port or _free_port())]
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def play(self) -> None:
        """Run until the host has ended by itself."""
        try:
            for name in NAMES:
                wav = str(self._folder / f"{name}.wav")
                out = ["--output", f"wav:{wav}"] if self._output == "wav" else ["--output", "device", "--record", wav]
                stats = str(self._folder / f"{name}.jsonl")
                self._start(name, "listen", *self._network, *out, "--name", name, "--stats-json", stats)
            self._wait_for(lambda: all((self._folder / f"{name}.jsonl").exists() for name in NAMES))
            tune_wav, stats = str(self._folder / "tune.wav"), str(self._folder / "host.jsonl")
            self._start("host", "host", "--source", tune_wav, *self._network, "--stats-json", stats)
            self._wait_for(lambda: self._processes["host"].poll() == 0)
        finally:
            for process in self._processes.values():
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
            for process in self._processes.values():
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def _start(self, name: str, *arguments: str) -> None:
        with (self._folder / f"{name}.log").open("wb") as out:
            command = [sys.executable, "-m", "radiosync", *arguments]
            # Two listeners on one device: what they learn of it is not worth remembering.
            environment = os.environ | {"XDG_STATE_HOME": str(self._folder)}
            self._processes[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment
            )

    def _wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = local_now() + (SECONDS + PATIENCE_S) * NS_PER_S
        while not condition():
            for name, process in self._processes.items():
                if process.poll() not in (None, 0):
                    lines = (self._folder / f"{name}.log").read_text(errors="replace").strip().splitlines()
                    raise DemoError(f"{name} failed: {lines[-1] if lines else 'it said nothing'}")
            if local_now() > deadline:
                raise DemoError("the demo took far too long: is this machine very busy?")
            threading.Event().wait(POLL_S)


def _free_port() -> int:
    """Return a port that is free with the two after it."""
    for _ in range(100):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
        if port < 65_000 and all(_is_free(port + more) for more in (1, 2)):
            return port
    raise DemoError("no three free UDP ports in a row were found")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _report(folder: Path, output: str, say: Callable[[str], None]) -> bool:
    """Print the table and the verdict."""
    source = _mono(folder / "tune.wav")
    play_at = _first_play_at(folder / "host.jsonl")
    heard = [_heard(folder, name) for name in NAMES]
    say("")
    say(f"{'listener':<10} {'first frame':>12} {'lost':>6} {'repaired':>9} {'concealed':>10} {'like the tune':>14}")
    good = True
    for each in heard:
        late = lag(source, each.samples, RATE)
        first_error_us = (each.began_at + late.frames / RATE * NS_PER_S - play_at) / NS_PER_US
        good = good and late.correlation > CORRELATION_MIN and abs(first_error_us) < IN_SYNC_US
        lost, repaired, concealed = (each.stats[k] for k in ("symbols_lost", "symbols_repaired", "frames_concealed"))
        good = good and concealed == 0
        counts = f"{lost:>6} {repaired:>9} {concealed:>10} {late.correlation:>13.1%}"
        say(f"{each.name:<10} {first_error_us:>+9.0f} µs {counts}")
    apart = lag(heard[0].samples, heard[1].samples, RATE)
    apart_us = (heard[1].began_at - heard[0].began_at + apart.frames / RATE * NS_PER_S) / NS_PER_US
    good = good and apart.correlation > CORRELATION_MIN and abs(apart_us) < IN_SYNC_US
    say("")
    how = "by when the files were written" if output == "wav" else "by the sound device's own stamps"
    say(f"{heard[1].name} played {abs(apart_us):.0f} µs {'after' if apart_us > 0 else 'before'} {heard[0].name}")
    say(f"(cross-correlation of the two recordings, {apart.correlation:.1%} alike, placed in time {how})")
    say("in sync" if good else f"NOT in sync: everything should be within {IN_SYNC_US:.0f} µs, and nothing concealed")
    return good


def _heard(folder: Path, name: str) -> Heard:
    stats = _lines(folder / f"{name}.jsonl")
    points = {
        (s["emitted_frame"], s["emitted_at"], s["emitted_rate"]) for s in stats if s.get("emitted_at") is not None
    }
    playing = [s for s in stats if s.get("frames_concealed") is not None]
    if not points or not playing:
        raise DemoError(f"{name} has played nothing")
    rate = playing[-1]["emitted_rate"]  # of a device: as measured, some ppm beside the nominal one
    began_at = median(at - frame / rate * NS_PER_S for frame, at, _ in points)
    return Heard(name=name, samples=_mono(folder / f"{name}.wav", rate), began_at=began_at, stats=playing[-1])


def _first_play_at(path: Path) -> float:
    """Return when the first frame should have come out, on the machine's clock."""
    line = next(s for s in reversed(_lines(path)) if s["first_play_at"] is not None)
    return float(line["first_play_at"] - line["clock_minus_local_ns"])


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _mono(path: Path, rate: float = RATE) -> Mono:
    """Return a recording made at the true rate `rate`, mixed to mono and brought to `RATE`."""
    file = SongFile(path)
    stored = []
    while len(block := file.read()):
        stored.append(block)
    file.close()
    samples = float_from_samples(np.concatenate(stored), file.kind.sample)
    mono = np.ascontiguousarray(samples.mean(axis=1, keepdims=True), np.float32)
    if not len(mono) or not np.isfinite(mono).all():
        raise DemoError(f"{path.name} holds no sound")
    if rate == RATE:
        return mono[:, 0]
    resampler = VariableResampler(1, rate / RATE)
    at = resampler.next_input_frame

    def read(count: int) -> Mono:
        nonlocal at
        block = np.zeros((count, 1), np.float32)
        part = mono[max(0, at) : max(0, at + count)]
        begin = max(0, -at)
        block[begin : begin + len(part)] = part
        at += count
        return block

    return resampler.pull(int(len(mono) * RATE / rate), read)[:, 0]
