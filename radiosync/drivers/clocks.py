"""The only place that reads a clock.

Both ends keep time by the raw monotonic clock where there is one (Linux, macOS): NTP neither steps nor slews it, so two
machines' clocks differ by an offset and the constant skew of two crystals, which is what the estimator models.  On
Windows `perf_counter_ns` stands in, because `monotonic_ns` ticks at 15.6 ms there before Python 3.13.

The kernel stamps datagrams, and PortAudio its buffers, in other clocks.  `local_minus` relates such a clock to the
local one by reading both together and keeping the narrowest of a few tries: 0.2 µs wide where it was measured.
"""

import os
import time
from collections.abc import Callable
from typing import NewType

from radiosync.units import NS_PER_S, HostNs, LocalNs

RealNs = NewType("RealNs", int)
"""The system's wall clock, CLOCK_REALTIME: it steps and slews."""

_TRIES = 3  # the first is often late, the third rarely better


def _raw_reader() -> Callable[[], int]:
    if hasattr(time, "CLOCK_MONOTONIC_RAW"):
        raw = time.CLOCK_MONOTONIC_RAW
        return lambda: time.clock_gettime_ns(raw)
    return time.perf_counter_ns


_raw_ns = _raw_reader()


def local_now() -> LocalNs:
    """Read this machine's raw monotonic clock."""
    return LocalNs(_raw_ns())


def real_now() -> RealNs:
    """Read the wall clock."""
    return RealNs(time.time_ns())


def monotonic_now() -> int:
    """Read CLOCK_MONOTONIC, which NTP slews; only sound libraries need it."""
    return time.monotonic_ns()


def _bracket(other: Callable[[], int]) -> tuple[int, int]:
    """Return the least and the most that the local clock can be ahead of another, from the narrowest of a few tries."""
    best = (-(1 << 62), 1 << 62)
    for _ in range(_TRIES):
        before = _raw_ns()
        there = other()
        after = _raw_ns()
        if after - before < best[1] - best[0]:
            best = (before - there, after - there)
    return best


def local_minus(other: Callable[[], int]) -> int:
    """Return local clock minus another one, in ns, from the narrowest of a few bracketed reads."""
    least, most = _bracket(other)
    return (least + most) // 2


def local_from_real(at: RealNs) -> LocalNs:
    """Map an instant of the wall clock, not long ago, to local time, rather late than early.

    It is used for receive stamps, whose other errors are all to the late side, so that the least delay is the truest:
    one stamp mapped too early would be believed for minutes.
    """
    return LocalNs(at + _bracket(time.time_ns)[1])


def process_age_ns() -> int:
    """Return how long ago the kernel started this process, to its tick of 10 ms; 0 where it doesn't say."""
    try:
        with open("/proc/self/stat", "rb") as file:
            # Behind the name, which may hold anything but ends at the last bracket: field 22 of proc(5), in ticks.
            started_s = int(file.read().rpartition(b")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
        return max(0, time.clock_gettime_ns(time.CLOCK_BOOTTIME) - round(started_s * NS_PER_S))
    except (OSError, AttributeError, IndexError, ValueError):
        return 0


class MediaClock:
    """The host's clock: its raw monotonic clock, offset once so that it reads as UTC.

    With `minus_local_ns` it is the very clock that had this offset before, in the same run of the machine.
    """

    def __init__(self, minus_local_ns: int | None = None) -> None:
        self.minus_local_ns = -local_minus(time.time_ns) if minus_local_ns is None else minus_local_ns

    def now(self) -> HostNs:
        """Read the media clock."""
        return self.at(local_now())

    def at(self, local: LocalNs) -> HostNs:
        """Map a local instant of this machine to media time."""
        return HostNs(local + self.minus_local_ns)
