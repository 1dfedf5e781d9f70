"""A cable with delay, jitter and loss in bursts, in user space: not every kernel can delay packets itself.

    relay.py LINKS.json

The file holds a list of {"a": [namespace, name], "b": [namespace, name], "down": {…}, "up": {…}, "seed": 1}.  The relay
makes two TAP interfaces for each and passes Ethernet frames between them: "down" from a to b, "up" back.  Says
"ready" when they exist, and at SIGTERM how many frames it passed and lost and how late it sent them.
"""

import contextlib
import ctypes
import fcntl
import heapq
import itertools
import json
import os
import random
import select
import signal
import struct
import sys
import time
from pathlib import Path
from typing import Any

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
CLONE_NEWNET = 0x40000000
FRAME_MAX = 65536
FRAMES_AT_ONCE = 64  # from one interface before the others have their turn
WAIT_S = 0.5
SPIN_S = 2e-4  # a sleeping process wakes up to so much late; what is due sooner is waited for awake
PRIORITY = 20


def open_tap(libc: ctypes.CDLL, namespace: str, name: str) -> int:
    """Make a TAP interface in a namespace and return its descriptor, which works from everywhere."""
    here = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        if libc.setns(there, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"can't enter the namespace {namespace}")
        tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH14x", name.encode(), IFF_TAP | IFF_NO_PI))
        return tap
    finally:
        libc.setns(here, CLONE_NEWNET)
        os.close(here)
        os.close(there)


class Direction:
    """One way of a cable: says of each frame whether and when it comes out."""

    def __init__(self, out: int, way: dict[str, float], rng: random.Random) -> None:
        self.out = out
        self._delay_s = way["delay_ms"] / 1e3
        self._jitter_s = way["jitter_ms"] / 1e3
        self._loss = way["loss_percent"] / 100
        self._burst = max(1.0, way["burst"])
        self._spread = round(way["burst_spread"])
        self._rng = rng
        self._last_at = 0.0
        self._left = 0
        self.counts: dict[str, float] = {"frames": 0, "lost": 0, "late_us_sum": 0.0, "late_us_max": 0.0}

    def leaves_at(self, now: float) -> float | None:
        """Return when a frame that comes now leaves, or None if it is lost; frames keep their order."""
        self.counts["frames"] += 1
        if self._loses():
            self.counts["lost"] += 1
            return None
        delay_s = max(0.0, self._delay_s + self._rng.uniform(-self._jitter_s, self._jitter_s))
        self._last_at = max(self._last_at, now + delay_s)
        return self._last_at

    def sent(self, late_s: float) -> None:
        """Note how late a frame left."""
        self.counts["late_us_sum"] += late_s * 1e6
        self.counts["late_us_max"] = max(self.counts["late_us_max"], late_s * 1e6)

    def _loses(self) -> bool:
        """Two states (Gilbert's model): bursts of a mean length, and as many that the overall loss is right."""
        if self._loss <= 0:
            return False
        if self._left == 0 and self._rng.random() < self._loss / (1 - self._loss) / self._burst:
            self._left = self._length()
        elif self._left:
            self._left -= 1
        return self._left > 0

    def _length(self) -> int:
        if self._spread:
            return self._rng.randint(round(self._burst) - self._spread, round(self._burst) + self._spread)
        length = 1
        while self._rng.random() >= 1 / self._burst:
            length += 1
        return length


def relay(directions: dict[int, Direction], stop: list[int]) -> None:
    """Pass frames until `stop` holds something."""
    queue: list[tuple[float, int, Direction, bytes]] = []
    serial = itertools.count()
    while not stop:
        wait_s = max(0.0, queue[0][0] - SPIN_S - time.monotonic()) if queue else WAIT_S
        readable, _, _ = select.select(list(directions), [], [], min(wait_s, WAIT_S))
        now = time.monotonic()
        for tap in readable:
            with contextlib.suppress(BlockingIOError):
                for _ in range(FRAMES_AT_ONCE):
                    frame = os.read(tap, FRAME_MAX)
                    at = directions[tap].leaves_at(now)
                    if at is not None:
                        heapq.heappush(queue, (at, next(serial), directions[tap], frame))
        now = time.monotonic()
        while queue and queue[0][0] <= now:
            at, _, direction, frame = heapq.heappop(queue)
            direction.sent(now - at)
            with contextlib.suppress(OSError):  # the other end is down, as after a pulled plug
                os.write(direction.out, frame)


def main() -> None:
    links: list[dict[str, Any]] = json.loads(Path(sys.argv[1]).read_text())
    libc = ctypes.CDLL(None, use_errno=True)
    stop: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _frame: stop.append(got))
    directions: dict[int, Direction] = {}
    for link in links:
        a, b = open_tap(libc, *link["a"]), open_tap(libc, *link["b"])
        rng = random.Random(link["seed"])
        directions[a], directions[b] = Direction(b, link["down"], rng), Direction(a, link["up"], rng)
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    print("ready", flush=True)
    relay(directions, stop)
    print(json.dumps([direction.counts for direction in directions.values()]), flush=True)


if __name__ == "__main__":
    main()
