"""The event loop of the simulator: callbacks in the order of true time.

True time is the simulator's own: nanoseconds since the run began, by a clock that is never wrong.  No part of the
program ever sees it; nodes read clocks of their own, which `radiosync.sim.clocks` relates to it.

Events at the same instant run in the order in which they were scheduled, so that a run depends on nothing but its seed.
"""

import heapq
from collections.abc import Callable
from typing import NewType

TrueNs = NewType("TrueNs", int)


class Event:
    """A scheduled callback; without one it does nothing."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Don't run."""
        self.callback = None


class Scheduler:
    """Runs callbacks in virtual time; `now` is the true time, `ran` counts what was run."""

    __slots__ = ("_heap", "_serial", "now", "ran")

    def __init__(self) -> None:
        self.now = TrueNs(0)
        self.ran = 0
        self._heap: list[tuple[TrueNs, int, Event]] = []  # serial numbers differ, so that events are never compared
        self._serial = 0

    def __len__(self) -> int:
        return len(self._heap)

    def at(self, at: TrueNs, callback: Callable[[], None]) -> Event:
        """Run `callback` at `at`, or now if that has passed."""
        event = Event(callback)
        self._serial += 1
        heapq.heappush(self._heap, (max(at, self.now), self._serial, event))
        return event

    def run(self, until: TrueNs) -> None:
        """Run everything that is due before `until`, and end at that instant."""
        heap = self._heap
        while heap and heap[0][0] < until:
            at, _, event = heapq.heappop(heap)
            if event.callback is not None:
                self.now = at
                self.ran += 1
                event.callback()
        self.now = max(self.now, until)
