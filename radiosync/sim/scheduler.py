"""The event loop of the simulator: callbacks in the order of true time.

True time is the simulator's own: nanoseconds since the run began, by a clock that is never wrong.  No part of the
program ever sees it; nodes read clocks of their own, which `radiosync.sim.clocks` relates to it.

Events at the same instant run in the order in which they were scheduled, so that a run depends on nothing but its seed.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, NewType

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
        # Serial numbers differ, so that what follows them is never compared: an event, or a callback and its arguments.
        self._heap: list[tuple[TrueNs, int, Event | None, Callable[..., None] | None, tuple[Any, ...]]] = []
        self._serial = 0

    def __len__(self) -> int:
        return len(self._heap)

    def at(self, at: TrueNs, callback: Callable[[], None]) -> Event:
        """Run `callback` at `at`, or now if that has passed."""
        event = Event(callback)
        self._serial = serial = self._serial + 1
        heappush(self._heap, (max(self.now, at), serial, event, None, ()))
        return event

    def call(self, at: TrueNs, callback: Callable[..., None], *arguments: Any) -> None:
        """Call `callback` with `arguments` at `at`, or now if that has passed; this can't be cancelled."""
        self._serial = serial = self._serial + 1
        heappush(self._heap, (max(self.now, at), serial, None, callback, arguments))

    def run(self, until: TrueNs) -> None:
        """Run everything that is due before `until`, and end at that instant."""
        heap = self._heap
        while heap and heap[0][0] < until:
            at, _, event, callback, arguments = heappop(heap)
            if event is not None:
                callback = event.callback
            if callback is not None:
                self.now = at
                self.ran += 1
                callback(*arguments)
        self.now = max(self.now, until)
