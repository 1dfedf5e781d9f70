"""Run radiosync behind a bad network:   python impaired.py '{"seed": 1, "loss": 0.05}' listen …

What the process receives is lost, doubled and put out of order, by a seed; while the file named by "outage" exists,
nothing comes in and nothing goes out; while the one named by "no_multicast" does, nothing comes in that went to the
group; while the one named by "throttle" does, what comes in beyond "kbps" is lost.
Only this process is changed, from outside: the program has no hook for it.
"""

import json
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

from radiosync.drivers import udp
from radiosync.drivers.clocks import local_now

HELD_S = 0.05  # longer than the reorder guard: what is held back may look lost


class BadNetwork:
    """Takes the place of the receiving and sending of every port."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._rng = Random(settings["seed"])
        self._loss: float = settings.get("loss", 0.0)
        self._duplicate: float = settings.get("duplicate", 0.0)
        self._reorder: float = settings.get("reorder", 0.0)
        self._outage = Path(settings["outage"]) if "outage" in settings else None
        self._no_multicast = Path(settings["no_multicast"]) if "no_multicast" in settings else None
        self._throttle = Path(settings["throttle"]) if "throttle" in settings else None
        self._kbps: float = settings.get("kbps", 0.0)
        self._allowed_bits = 0.0
        self._allowed_at = time.monotonic()
        self._held: dict[int, list[tuple[float, Any]]] = {}
        self._receive = udp.Port.receive
        self._receive_stamped = udp.Port.receive_stamped
        self._send = udp.Port.send

    def install(self) -> None:
        def receive(port: udp.Port) -> list[Any]:
            return self._spoil(port, self._receive(port))

        def receive_stamped(port: udp.Port) -> list[Any]:
            return self._spoil(port, self._receive_stamped(port))

        def send(port: udp.Port, data: bytes, to: tuple[str, int]) -> bool:
            lost = self._is_out() or self._rng.random() < self._loss
            return True if lost else self._send(port, data, to)

        udp.Port.receive = receive
        udp.Port.receive_stamped = receive_stamped
        udp.Port.send = send

    def _is_out(self) -> bool:
        return self._outage is not None and self._outage.exists()

    def _is_too_much(self, size: int) -> bool:
        """Say whether a datagram finds a link that carries no more: a bucket that holds a tenth of a second."""
        now, then = time.monotonic(), self._allowed_at
        self._allowed_at = now
        self._allowed_bits = min(self._allowed_bits + (now - then) * self._kbps * 1000, self._kbps * 100)
        if self._throttle is None or not self._throttle.exists():
            return False
        self._allowed_bits -= 8 * (size + 28)
        if self._allowed_bits >= 0:
            return False
        self._allowed_bits += 8 * (size + 28)
        return True

    def _spoil(self, port: udp.Port, arrived: list[Any]) -> list[Any]:
        held = self._held.setdefault(id(port), [])
        if self._is_out():
            held.clear()
            return []
        if isinstance(port, udp.GroupPort) and self._no_multicast is not None and self._no_multicast.exists():
            return []
        now = time.monotonic()
        through = []
        for item in arrived:
            if self._rng.random() < self._loss or self._is_too_much(len(item[0])):
                continue
            copies = 2 if self._rng.random() < self._duplicate else 1
            for _ in range(copies):
                if self._rng.random() < self._reorder:
                    held.append((now + self._rng.uniform(0, HELD_S), item))
                else:
                    through.append(item)
        for due, item in held:
            if due <= now:  # a receive stamp tells of the delay
                through.append(item if len(item) == 2 else (*item[:2], local_now()))
        held[:] = [entry for entry in held if entry[0] > now]
        if len(through) > 1 and self._reorder:
            self._rng.shuffle(through)
        return through


def main() -> None:
    BadNetwork(json.loads(sys.argv[1])).install()
    sys.argv = ["radiosync", *sys.argv[2:]]
    from radiosync.cli import main as radiosync  # noqa: PLC0415  # only now that the network is bad

    radiosync()


if __name__ == "__main__":
    main()
