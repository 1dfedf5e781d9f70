"""Measures how early a program's own stamp of a datagram's departure is against the kernel's (SO_TIMESTAMPING).

    sudo .venv/bin/python tools/bench_stamps.py                 about a minute

A question of the clock's size leaves through a veth pair every few ms, once as it is and once, as listeners do it,
right after a datagram to itself; with the usual scheduling and with a listener's real-time one; on the machine as it
is, and with every processor kept busy.  A row has the gap between the clock read just before sendto() and the stamp of
the network driver, in µs.  What counts for the clock is its least value, which the envelope is made of, and how near
to that the best of a few come: "best of 8" is the median of the least gaps of eight questions in a row.
"""

import argparse
import contextlib
import os
import select
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "lab"))

from bench import row
from lan import LabError, sh

SPACES = ("radiosync-stamps-a", "radiosync-stamps-b")
ADDRESSES = ("10.78.0.1", "10.78.0.2")
PORT = 45452
SO_TIMESTAMPING = 37
TX_SOFTWARE, SOFTWARE, OPT_TSONLY = 1 << 1, 1 << 4, 1 << 11
STAMP = struct.Struct("@qq")
BYTES = 48
PAUSE_S = 0.004
PRIORITY = 5  # as drivers/priority.py
EIGHT = 8


@contextlib.contextmanager
def pair() -> Iterator[None]:
    """Two namespaces and a veth pair between them."""
    if os.geteuid() != 0 or not sys.platform.startswith("linux"):
        raise LabError("this makes network namespaces, which takes root on Linux")
    try:
        for space in SPACES:
            sh("ip", "netns", "add", space)
        sh("ip", "-n", SPACES[0], "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", SPACES[1])
        for space, address in zip(SPACES, ADDRESSES, strict=True):
            sh("ip", "-n", space, "addr", "add", f"{address}/24", "dev", "eth0")
            sh("ip", "-n", space, "link", "set", "eth0", "up")
            sh("ip", "-n", space, "link", "set", "lo", "up")
        yield
    finally:
        for space in SPACES:
            sh("ip", "netns", "del", space, check=False)


@contextlib.contextmanager
def busy() -> Iterator[None]:
    """Keep every processor busy."""
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        time.sleep(0.5)
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def gaps_us(count: int, *, warm: bool, realtime: bool) -> list[float]:
    """Send `count` datagrams; return by how much each left after its own stamp."""
    if realtime:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(PRIORITY))
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((ADDRESSES[0], 0))
    own = sock.getsockname()
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, TX_SOFTWARE | SOFTWARE | OPT_TSONLY)
    found = []
    for _ in range(count):
        time.sleep(PAUSE_S)
        if warm:
            sock.sendto(b"", own)
            _stamp_ns(sock)  # of the datagram to itself
            sock.recv(BYTES)
        before_ns = time.time_ns()
        sock.sendto(bytes(BYTES), (ADDRESSES[1], PORT))
        stamp_ns = _stamp_ns(sock)
        if stamp_ns is not None:
            found.append((stamp_ns - before_ns) / 1e3)
    sock.close()
    return found


def _stamp_ns(sock: socket.socket) -> int | None:
    """Return the kernel's stamp of what was sent last, or None if there is none."""
    wait = select.poll()
    wait.register(sock, 0)  # POLLERR is always reported
    if not wait.poll(50):
        return None
    with contextlib.suppress(BlockingIOError):
        _, ancillary, _, _ = sock.recvmsg(1, 256, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPING):
                seconds, nanoseconds = STAMP.unpack_from(data)
                return int(seconds * 1_000_000_000 + nanoseconds)
    return None


def measured(count: int, *, warm: bool, realtime: bool) -> list[float]:
    """Run `gaps_us` in a process of its own in the first namespace."""
    words = [str(count), str(int(warm)), str(int(realtime))]
    command = ["ip", "netns", "exec", SPACES[0], sys.executable, __file__, "--child", *words]
    return [float(word) for word in sh(*command).split()]


def cells(gaps: list[float]) -> list[str]:
    """Return a distribution as cells of the table."""
    ordered = sorted(gaps)
    shares = [ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.5, 0.95, 0.99)]
    best = statistics.median(min(gaps[k : k + EIGHT]) for k in range(0, len(gaps) - EIGHT + 1, EIGHT))
    return [f"{value:.1f}" for value in (ordered[0], best, *shares, ordered[-1])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1500)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        count, warm, realtime = (int(word) for word in options.child)
        print(*gaps_us(count, warm=bool(warm), realtime=bool(realtime)))
        return
    columns = ("machine", "scheduling", "before it", "least", "best of 8", "median", "95 %", "99 %", "most")
    print(row(columns), row(["---"] * len(columns)), sep="\n", flush=True)
    try:
        with pair():
            for load in ("as it is", "busy"):
                with busy() if load == "busy" else contextlib.nullcontext():
                    for realtime in (False, True):
                        for warm in (False, True):
                            names = [load, "real-time" if realtime else "usual", "a datagram" if warm else "a pause"]
                            found = measured(options.count, warm=warm, realtime=realtime)
                            print(row([*names, *cells(found)] if found else [*names, "no stamps"]), flush=True)
    except LabError as error:
        print(f"bench_stamps: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
