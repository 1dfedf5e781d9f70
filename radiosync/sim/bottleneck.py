"""A bottleneck: what takes longer to come in than to be served waits, in order.

Its rate changes while it is throttled.  What waits is served at the rate of the time in which it is served, whenever it
came: when a throttle ends, what had gathered is gone at once.
"""

from collections.abc import Iterator

from radiosync.units import NS_PER_S

Throttle = tuple[int, int, int]
"""From and until, true time in nanoseconds, and the bits per second meanwhile."""


class Bottleneck:
    """Knows until when it is busy."""

    def __init__(self) -> None:
        self._free_at = 0

    def passed_at(self, size: int, at: int, bits_per_s: int, throttles: tuple[Throttle, ...]) -> int:
        """Return when `size` bytes that come at `at` have passed: outside throttles at `bits_per_s`, 0 for at once."""
        free_at, bits = max(at, self._free_at), size * 8
        if bits_per_s and not throttles:
            self._free_at = free_at = free_at + bits * NS_PER_S // bits_per_s
            return free_at
        for rate, until in _rates(free_at, bits_per_s, throttles):
            if not rate:
                break
            if until is None or free_at + bits * NS_PER_S // rate <= until:
                free_at += bits * NS_PER_S // rate
                break
            bits -= (until - free_at) * rate // NS_PER_S
            free_at = until
        self._free_at = free_at
        return free_at


def _rates(at: int, bits_per_s: int, throttles: tuple[Throttle, ...]) -> Iterator[tuple[int, int | None]]:
    """Yield the rates from `at` on, each with its end; the first that was told of two throttles at a time holds."""
    while True:
        throttled = next(((rate, end) for begin, end, rate in throttles if begin <= at < end), None)
        begins = [begin for begin, _, _ in throttles if begin > at]
        rate, until = throttled or (bits_per_s, min(begins, default=None))
        yield rate, until
        if until is None:
            return
        at = until
