"""Measures what radiosync costs: processor time and memory of a host and of a listener, from /proc.

    sudo .venv/bin/python tools/bench_cost.py             about six minutes
    sudo .venv/bin/python tools/bench_cost.py --seconds 10 --listeners 1,8

Host and listeners run in network namespaces, as in tools/lab; the music is the demo's tune as a FLAC file, 48 kHz
stereo.  The steady state is measured, after the buffers are full, and the start (Python's, and the filling) on its own.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile

from radiosync.ui.tune import tune

sys.path.insert(0, str(Path(__file__).parent / "lab"))

import cards
from bench import prepare, row
from lan import LabError, Lan
from systems import GROUP, Radiosync
from usage import members, usage

RATE = 48_000
TUNE_S = 60.0
LEAD_S = 2.0
STOP_S = 6.0
COLUMNS = ("process", "CPU %", "ratio", "waited %", "RSS MiB", "PSS MiB", "start: CPU s")


@dataclass(frozen=True)
class Cost:
    """What one process took: in the steady state, and processor seconds until then."""

    steady: dict[str, float]
    start_cpu_s: float


class Session:
    """A host and listeners with these outputs, ended when the block is left."""

    def __init__(self, program: Path, folder: Path, outputs: list[str]) -> None:
        self._program, self._folder, self._outputs = str(program), folder, outputs
        self._processes: list[subprocess.Popen[bytes]] = []
        self._lan = Lan(len(outputs), {})

    def costs(self, warm_up_s: float, seconds: float) -> list[Cost]:
        """Return the host's cost and those of the listeners."""
        with self._lan:
            try:
                time.sleep(1.0)
                music = ["--source", str(self._folder / "tune.flac"), "--loop"]
                self._start(self._lan.host, ["host", *music, "--interface", self._lan.host_ip])
                time.sleep(LEAD_S)
                for i, output in enumerate(self._outputs):
                    card = cards.set_up(self._folder / f"card{i}", 20.0) if output == "device" else {}
                    where = f"wav:{self._folder / f'{i}.wav'}" if output == "wav" else output
                    self._start(
                        self._lan.listener(i), ["listen", "--output", where, "--interface", self._lan.ip(i)], card
                    )
                time.sleep(warm_up_s)
                before = [usage(process.pid) for process in self._processes]
                time.sleep(seconds)
                after = [usage(process.pid) for process in self._processes]
                if any(process.poll() is not None for process in self._processes):
                    raise LabError(f"a process has ended by itself; its log is in {self._folder}")
            finally:
                self._end()
        return [Cost(b.since(a), a.cpu_s) for a, b in zip(before, after, strict=True)]

    def _start(self, namespace: str, arguments: list[str], environment: dict[str, str] | None = None) -> None:
        command = ["ip", "netns", "exec", namespace, self._program, *arguments, "--group", GROUP]
        with (self._folder / "log").open("ab") as log:
            process = subprocess.Popen(
                command,
                env=os.environ | {"XDG_STATE_HOME": str(self._folder)} | (environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes.append(process)

    def _end(self) -> None:
        for process in reversed(self._processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        until = time.monotonic() + STOP_S
        for process in self._processes:
            try:
                process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                for pid in members(process.pid):
                    os.kill(pid, signal.SIGKILL)
                process.wait()


def line(name: str, cost: Cost, base: Cost) -> str:
    """Return a row of the table; the ratio is to the processor time of `base`."""
    steady = cost.steady
    ratio = steady["cpu_percent"] / base.steady["cpu_percent"] if base.steady["cpu_percent"] else float("nan")
    values = [steady["cpu_percent"], round(ratio, 2), steady["waited_percent"], steady["rss_mib"], steady["pss_mib"]]
    return row([name, *(f"{value:g}" for value in values), f"{cost.start_cpu_s:.2f}"])


def measure(options: Any, folder: Path) -> None:
    """Run every arrangement and print its rows."""
    soundfile.write(folder / "tune.flac", tune(RATE, TUNE_S), RATE, subtype="PCM_16")

    def costs(*outputs: str) -> list[Cost]:
        found = Session(options.program, folder, list(outputs)).costs(options.warm_up, options.seconds)
        for path in (*folder.glob("card*"), *folder.glob("*.wav")):
            path.unlink()
        return found

    print(row(COLUMNS), row(["---"] * len(COLUMNS)), sep="\n", flush=True)
    _, null = costs("null")
    print(line("listener, null", null, null), flush=True)
    for output in ("wav", "device"):
        print(line(f"listener, {output}", costs(output)[1], null), flush=True)
    base: Cost | None = None
    for count in options.listeners:
        host = costs(*["null"] * count)[0]
        base = base or host
        print(line(f"host, {count} listener{'s' * (count > 1)}", host, base), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each measurement")
    parser.add_argument("--warm-up", type=float, default=25.0, help="until the buffers are full")
    parser.add_argument("--listeners", type=lambda text: [int(n) for n in text.split(",")], default=[1, 2, 8])
    parser.add_argument("--program", type=Path, default=Path(sys.executable).with_name("radiosync"))
    options = parser.parse_args()
    try:
        prepare([Radiosync(options.program)])
        with tempfile.TemporaryDirectory(prefix="lab-cost-") as folder:
            measure(options, Path(folder))
    except LabError as error:
        print(f"bench_cost: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
