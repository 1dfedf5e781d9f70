#!/usr/bin/env python3
"""Measures what a host costs with 0, 1, 10, 50 and 200 listeners, and what of that is the clock and the reports.

    .venv/bin/python tools/bench_host_cost.py                      about six minutes, on the loopback interface
    .venv/bin/python tools/bench_host_cost.py --listeners 1,200

Host and swarm (`tools/swarm.py`) are two processes; processor time is the scheduler's own count of the host's threads,
in the steady state.  The parts are measured with the same host and a swarm of which one listens and the others only ask
for the time, or only report, as often as that many listeners do.  The music is the demo's tune as FLAC, 48 kHz stereo.
"""

import argparse
import json
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

from radiosync.host.intervals import REPORT_NS_MAX, report_interval_ns
from radiosync.ui.tune import tune
from radiosync.units import NS_PER_S

sys.path.insert(0, str(Path(__file__).parent / "lab"))

from bench import row
from usage import usage

RATE = 48_000
TUNE_S = 60.0
GROUP, PORT = "239.255.77.78", "27450"
LEAD_S = 2.0
JOIN_PER_S = 20.0  # listeners that come in a second: faster, and most of the time goes into their backfill
STOP_S = 10.0
SWARM = Path(__file__).with_name("swarm.py")
COLUMNS = ("listeners", "CPU %", "loop", "reader", "clock/s", "reports/s", "sent/s", "RSS MiB", "PSS MiB")


@dataclass(frozen=True)
class Cost:
    """What the host took in the steady state."""

    cpu_percent: float
    threads: tuple[float, ...]
    clock_per_s: float
    reports_per_s: float
    sent_per_s: float
    rss_mib: float
    pss_mib: float


def threads(pid: int) -> dict[str, float]:
    """Return the processor time of each thread so far, in s."""
    ran = {}
    for thread in os.listdir(f"/proc/{pid}/task"):
        ran[thread] = int(Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()[0]) / 1e9
    return ran


def last(path: Path) -> dict[str, Any]:
    """Return the latest whole line of the host's statistics."""
    text = path.read_text()
    return dict(json.loads(text[: text.rfind("\n")].rpartition("\n")[2]))


def measure(options: Any, folder: Path, listeners: int, beside: str = "", others: int = 0) -> Cost:
    """Run a host with so many listeners, and others beside them."""
    stats, place = folder / "host.jsonl", ["--group", GROUP, "--port", PORT, "--interface", "lo"]
    with (folder / "log").open("ab") as log:
        music = ["--source", str(folder / "tune.flac"), "--loop", "--stats-json", str(stats)]
        host = start([str(options.program), "host", *music, *place], log)
        processes = [host]
        try:
            time.sleep(LEAD_S)
            join_s = max(1.0, (listeners + others) / JOIN_PER_S)
            warm_up_s = join_s + options.warm_up
            if listeners:
                words = ["--listeners", str(listeners), "--join-over", str(join_s), *place]
                words += ["--source", str(folder / "tune.flac"), "--seconds", str(warm_up_s + options.seconds + 2)]
                if beside:
                    report_s = report_interval_ns(listeners + others, REPORT_NS_MAX) / NS_PER_S
                    words += ["--beside", beside, "--others", str(others), "--report-s", str(report_s)]
                processes.append(start([sys.executable, str(SWARM), *words], log))
            time.sleep(warm_up_s)
            told, before, ran = last(stats), usage(host.pid), threads(host.pid)
            time.sleep(options.seconds)
            now, after, running = last(stats), usage(host.pid), threads(host.pid)
            if any(process.poll() is not None for process in processes):
                raise SystemExit(
                    f"bench_host_cost: a process has ended by itself: {(folder / 'log').read_text()[-2000:]}"
                )
        finally:
            stop(processes)
    cost, seconds = after.since(before), now["t"] - told["t"]

    def per_s(key: str) -> float:
        return float((now[key] - told[key]) / seconds)

    each = sorted(((running[t] - ran.get(t, 0.0)) / options.seconds * 100 for t in running), reverse=True)
    return Cost(
        cpu_percent=cost["cpu_percent"],
        threads=tuple(each),
        clock_per_s=per_s("clock_requests"),
        reports_per_s=per_s("reports_received"),
        sent_per_s=per_s("datagrams_sent"),
        rss_mib=cost["rss_mib"],
        pss_mib=cost["pss_mib"],
    )


def start(command: list[str], log: Any) -> subprocess.Popen[bytes]:
    """Start a process in a group of its own, as `usage` wants it."""
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0)


def stop(processes: list[subprocess.Popen[bytes]]) -> None:
    """End what was started, the swarm first."""
    for process in reversed(processes):
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def line(name: str, cost: Cost) -> str:
    """Return a row of the table."""
    each = [*cost.threads, 0.0, 0.0]
    values = [cost.cpu_percent, each[0], each[1], cost.clock_per_s, cost.reports_per_s, cost.sent_per_s]
    return row([name, *(f"{value:.2f}" for value in values), f"{cost.rss_mib:.0f}", f"{cost.pss_mib:.0f}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each measurement")
    parser.add_argument("--warm-up", type=float, default=15.0, help="after the last has come")
    parser.add_argument("--listeners", type=lambda text: [int(n) for n in text.split(",")], default=[0, 1, 10, 50, 200])
    parser.add_argument("--program", type=Path, default=Path(sys.executable).with_name("radiosync"))
    options = parser.parse_args()
    most = max(options.listeners)
    with tempfile.TemporaryDirectory(prefix="host-cost-") as name:
        folder = Path(name)
        soundfile.write(folder / "tune.flac", tune(RATE, TUNE_S), RATE, subtype="PCM_16")
        print(row(COLUMNS), row(["---"] * len(COLUMNS)), sep="\n", flush=True)
        costs = {}
        for count in sorted({*options.listeners, 1}):
            costs[count] = measure(options, folder, count)
            print(line(str(count), costs[count]), flush=True)
        if most < 2:
            return
        parts = {}
        for kind in ("clock-only", "report-only", "talk"):
            parts[kind] = measure(options, folder, 1, kind, most - 1)
            print(line(f"1, and {most - 1} {kind}", parts[kind]), flush=True)
    one, crowd, talk = costs[1].cpu_percent, costs[most].cpu_percent, parts["talk"].cpu_percent
    for kind, count in (("clock-only", "clock_per_s"), ("report-only", "reports_per_s")):
        more = getattr(parts[kind], count) - getattr(costs[1], count)
        each_us = (parts[kind].cpu_percent - one) / max(more, 1e-9) * 1e4
        print(f"{kind}: {more:.0f} a second more, {each_us:.0f} µs each")
    rest = crowd - (talk - one)
    print(f"{most} listeners: {crowd:.2f} % of a processor = {talk - one:.2f} for clock and reports + {rest:.2f}")
    print(f"beyond clock and reports {rest / one:.2f} times what it takes with one listener ({one:.2f} %)")


if __name__ == "__main__":
    main()
