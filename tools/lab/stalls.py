"""Keeps a (virtual) machine's processors awake, and notes when one stood still.

    stalls.py OUT.jsonl       until SIGTERM

A hypervisor may take 5 to 50 ms to run an idle virtual processor again, which starves programs that no real machine
would starve.  So on each processor a spinner takes the time that nobody else wants (SCHED_IDLE), and a real-time
process that sleeps 4 ms at a time logs every waking that came late: what was the machine's fault is known.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

NAP_NS = 4_000_000
LATE_MS = 5.0
PRIORITY = 50


def spin(parent: int, processor: int) -> None:
    os.sched_setaffinity(0, {processor})
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    while os.getppid() == parent:
        for _ in range(100_000):
            pass


def watch(parent: int, processor: int, out: Path) -> None:
    os.sched_setaffinity(0, {processor})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    with out.open("a", buffering=1) as log:
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
        while os.getppid() == parent:
            time.sleep(NAP_NS / 1e9)
            now = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
            late_ms = (now - before - NAP_NS) / 1e6
            if late_ms > LATE_MS:
                log.write(json.dumps({"t": before, "ms": round(late_ms, 2), "processor": processor}) + "\n")
            before = now


def fork(work: Callable[..., None], *arguments: Any) -> int:
    """Run `work` in a process that ends with this one."""
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            work(parent, *arguments)
        finally:
            os._exit(0)
    return child


def main() -> None:
    out = Path(sys.argv[1])
    out.write_text("")
    children = []
    for processor in sorted(os.sched_getaffinity(0)):
        children.append(fork(watch, processor, out))
        children.append(fork(spin, processor))
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    for child in children:
        os.kill(child, signal.SIGKILL)


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()
