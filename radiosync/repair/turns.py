"""Whose turn it is: every machine has one in turn, and of each machine every listener.

Where all together ask for more than there is a budget for, who asks most, or first, must not get most of it.  This is
round robin in two levels: by the machine's address, since a thousand sockets cost nobody anything, and then by the
socket's.  Symbols are about equally long, so that a turn is one symbol and no deficits need be kept (Shreedhar and
Varghese, Efficient fair queuing using deficit round robin, SIGCOMM 1995).  What a listener asks for is served by its
number, which rises with its play-at.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush

from radiosync.wire.groups import Address


@dataclass(slots=True)
class _Wanted:
    """What one listener waits for."""

    seqs: set[int] = field(default_factory=set)
    heap: list[int] = field(default_factory=list)
    """The same, the smallest first, and some that it does not wait for any more."""


@dataclass(slots=True)
class _Machine:
    """The listeners at one address, in the order of their turns."""

    listeners: dict[Address, _Wanted] = field(default_factory=dict)
    count: int = 0
    """Of all that they wait for."""


class Turns:
    """Who waits for what, in the order of their turns."""

    def __init__(self) -> None:
        self._machines: dict[str, _Machine] = {}  # in the order of their turns
        self._seqs: dict[int, int] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[tuple[Address, int]]:
        """Yield who waits, the next in turn first, and the first number it waits for; nothing may change meanwhile."""
        for machine in self._machines.values():
            for address, wanted in machine.listeners.items():
                yield address, wanted.heap[0]

    @property
    def seqs(self) -> set[int]:
        """All that somebody waits for."""
        return set(self._seqs)

    def last_of_greediest(self, than: Address) -> tuple[Address, int] | None:
        """Return the last that somebody waits for at the machine that waits for most; None if `than`'s is no better."""
        machine = max(self._machines.values(), key=lambda each: each.count, default=None)
        own = self._machines.get(than[0])
        if machine is None or (own is not None and own.count >= machine.count):
            return None
        address = max(machine.listeners, key=lambda each: len(machine.listeners[each].seqs))
        return address, max(machine.listeners[address].seqs)

    def add(self, address: Address, seq: int) -> None:
        """Note that `address`, which did not, waits for `seq`; who waited for nothing is last in turn."""
        machine = self._machines.setdefault(address[0], _Machine())
        wanted = machine.listeners.setdefault(address, _Wanted())
        wanted.seqs.add(seq)
        if len(wanted.heap) > 2 * len(wanted.seqs):
            wanted.heap = sorted(wanted.seqs)
        else:
            heappush(wanted.heap, seq)
        machine.count += 1
        self._count += 1
        self._seqs[seq] = self._seqs.get(seq, 0) + 1

    def remove(self, address: Address, seq: int) -> None:
        """Note that `address`, which did, waits for `seq` no more."""
        machine = self._machines[address[0]]
        wanted = machine.listeners[address]
        wanted.seqs.remove(seq)
        while wanted.heap and wanted.heap[0] not in wanted.seqs:
            heappop(wanted.heap)
        machine.count -= 1
        self._count -= 1
        self._seqs[seq] -= 1
        if not self._seqs[seq]:
            del self._seqs[seq]
        if not wanted.seqs:
            del machine.listeners[address]
            if not machine.listeners:
                del self._machines[address[0]]

    def served(self, address: Address) -> None:
        """Note that `address` has had its turn: it is the last at its machine now, and this the last of all."""
        machine = self._machines[address[0]] = self._machines.pop(address[0])
        machine.listeners[address] = machine.listeners.pop(address)
