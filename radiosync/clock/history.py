"""Keep exchanges as columns of integers, so that a fit over hundreds of them costs no loop over objects."""

import numpy as np
from numpy.typing import NDArray

from radiosync.clock.envelope import Delays
from radiosync.clock.exchange import Exchange
from radiosync.units import NS_PER_S, LocalNs

Columns = NDArray[np.int64]
_SENT, _FORWARD, _RECEIVED, _BACKWARD = range(4)


def columns_of(exchanges: list[Exchange]) -> Columns:
    """Return when each left, its forward delay, when it came back and its backward delay: shape (4, n), in ns.

    NTP's timestamps span 4.3e18 ns, so that neither the delays nor the difference of any two overflow.
    """
    return np.array([_row(exchange) for exchange in exchanges], np.int64).reshape(-1, 4).T


def joined(columns: Columns, newest: list[Exchange]) -> Columns:
    """Return a copy of `columns` with `newest` behind them."""
    return np.concatenate((columns, columns_of(newest)), axis=1)


def delays_of(columns: Columns, zero_at: LocalNs, offset_ns: int) -> Delays:
    """Return `columns` as floats; differences are taken in integers first, so that nothing is lost."""
    return Delays(
        forward_s=(columns[_SENT] - zero_at) / NS_PER_S,
        forward_ns=(columns[_FORWARD] - offset_ns).astype(np.float64),
        backward_s=(columns[_RECEIVED] - zero_at) / NS_PER_S,
        backward_ns=(columns[_BACKWARD] + offset_ns).astype(np.float64),
    )


class History:
    """Hold the newest `capacity` exchanges, in the order in which they were added; the oldest make room."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._ring = np.empty((4, 2 * capacity), np.int64)  # moved to its beginning once per `capacity`
        self._begin = self._end = 0

    def __len__(self) -> int:
        return self._end - self._begin

    @property
    def columns(self) -> Columns:
        """Return all of them, shape (4, n), oldest first, valid until the next change."""
        return self._ring[:, self._begin : self._end]

    def add(self, exchange: Exchange) -> bool:
        """Append `exchange`; return whether the oldest had to go."""
        if self._end == self._ring.shape[1]:
            kept = self.columns.copy()
            self._begin, self._end = 0, kept.shape[1]
            self._ring[:, : self._end] = kept
        full = len(self) == self._capacity
        self._begin += full
        self._ring[:, self._end] = _row(exchange)
        self._end += 1
        return full

    def replace(self, columns: Columns) -> None:
        """Hold the newest of `columns`, shape (4, n), instead."""
        kept = columns[:, -self._capacity :]
        self._begin, self._end = 0, kept.shape[1]
        self._ring[:, : self._end] = kept

    def clear(self) -> None:
        """Forget all."""
        self._begin = self._end = 0

    def drop_before(self, since: LocalNs) -> None:
        """Drop the oldest ones that came back before `since`."""
        late = self.columns[_RECEIVED] >= since
        self._begin += int(late.argmax()) if late.any() else len(self)

    def before(self, until: LocalNs) -> Columns:
        """Return those that came back before `until`."""
        columns = self.columns
        return columns[:, columns[_RECEIVED] < until]


def _row(exchange: Exchange) -> tuple[int, int, int, int]:
    return exchange.sent_at, exchange.forward_ns, exchange.received_at, exchange.backward_ns
