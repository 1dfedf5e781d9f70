"""Music that found the socket's buffer full waits here for room, in order: lost, each datagram would be asked for.

Nothing that is urgent goes this way, so nothing urgent waits behind it.
"""

from collections import deque

from radiosync.drivers.udp import Port
from radiosync.units import NS_PER_MS

KEPT_MAX = 256  # datagrams: a tenth of a second of the fastest fill; beyond it the newest is lost, as on the network
RETRY_NS = 2 * NS_PER_MS  # 100 Mbit/s sends twenty datagrams meanwhile


class SendQueue:
    """Sends through a port, and keeps what it has no room for."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self._kept: deque[tuple[bytes, tuple[str, int]]] = deque()
        self.delayed = 0
        """How many datagrams had to wait."""
        self.lost = 0
        """How many did not leave: too many waited already, or the network is down."""

    def __len__(self) -> int:
        return len(self._kept)

    def send(self, data: bytes, to: tuple[str, int]) -> None:
        """Send a datagram, or keep it."""
        if not self._kept and self._had_room(data, to):
            return
        if len(self._kept) >= KEPT_MAX:
            self.lost += 1
            return
        self._kept.append((data, to))
        self.delayed += 1

    def flush(self) -> None:
        """Send what was kept, as far as there is room."""
        while self._kept and self._had_room(*self._kept[0]):
            self._kept.popleft()

    def _had_room(self, data: bytes, to: tuple[str, int]) -> bool:
        sent = self._port.send(data, to)
        if not sent and self._port.full:
            return False
        self.lost += not sent
        return True
