"""The stamps that an audio callback notes, and the local time they mean.

PortAudio's stamps are in a clock that depends on its build (CLOCK_REALTIME in Debian's, CLOCK_MONOTONIC elsewhere,
stream time with PulseAudio).  Which one it is is seen from the stamps; an unknown one is related to the local clock by
the callback's entry, which can only be late.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from radiosync.drivers.clocks import local_minus, monotonic_now, real_now
from radiosync.units import NS_PER_S, DacFrame, LocalNs

STAMPS_MAX = 1024  # callbacks between two turns of the loop: 20 are usual; an older one is overwritten
_SAME_CLOCK_S = 1.0
_UNKNOWN_OFFSETS = 512  # callbacks over which the least entry delay is taken, in an unknown clock


@dataclass(frozen=True, slots=True)
class Stamp:
    """A callback was entered at `entered_at` with `frames` frames, and `frame`, its first, is at the converter `at`."""

    frame: DacFrame
    frames: int
    at: LocalNs
    ahead_s: float
    """How far `at` is ahead of PortAudio's own now; negative for what was captured."""
    entered_at: LocalNs


class Stamps:
    """A ring of stamps that the callback writes and one thread takes; neither waits."""

    def __init__(self) -> None:
        self.clock_name = "none"
        self._numbers = np.zeros((STAMPS_MAX, 3), np.int64)  # frame, frames, entered at
        self._times_s = np.zeros((STAMPS_MAX, 2))  # at the converter, now
        self._count = 0
        self._taken = 0
        self._offsets: deque[int] = deque(maxlen=_UNKNOWN_OFFSETS)

    def note(self, frame: int, frames: int, converter_s: float, current_s: float, entered_at: LocalNs) -> None:
        """Note a stamp as PortAudio gives it; for the callback."""
        row = self._count % STAMPS_MAX
        numbers, times_s = self._numbers, self._times_s
        numbers[row, 0] = frame
        numbers[row, 1] = frames
        numbers[row, 2] = entered_at
        times_s[row, 0] = converter_s
        times_s[row, 1] = current_s
        self._count += 1  # last: what it counts is whole

    def take(self) -> Iterator[Stamp]:
        """Yield the stamps noted since the last time, of many the newest."""
        count = self._count
        first = max(self._taken, count - STAMPS_MAX // 2)
        self._taken = count
        if first == count:
            return
        rows = [index % STAMPS_MAX for index in range(first, count)]
        offset_ns = self._clock_offset(rows)
        for row in rows:
            frame, frames, entered_at = self._numbers[row].tolist()
            converter_s, current_s = self._times_s[row].tolist()
            at = LocalNs(round(converter_s * NS_PER_S) + offset_ns)
            yield Stamp(DacFrame(frame), frames, at, converter_s - current_s, LocalNs(entered_at))

    def _clock_offset(self, rows: list[int]) -> int:
        """Return what to add to PortAudio's times, in ns, to get local ones."""
        current_s = float(self._times_s[rows[-1], 1])
        for name, clock in (("realtime", real_now), ("monotonic", monotonic_now)):
            if abs(current_s - clock() / NS_PER_S) < _SAME_CLOCK_S:
                self.clock_name = name
                return local_minus(clock)
        self.clock_name = "unknown"
        for row in rows:
            self._offsets.append(int(self._numbers[row, 2]) - round(float(self._times_s[row, 1]) * NS_PER_S))
        return min(self._offsets)
