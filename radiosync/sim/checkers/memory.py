"""What a session holds is what its queues hold, and little besides; and it does not grow with the hours.

The queues themselves have limits of their own (`queues.py`).  Measured is everything that can be reached from a
session; what is shared with the rest of the program (classes, functions and what they remember) is left out.
"""

import gc
import sys
from collections import deque
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import numpy as np

from radiosync.repair.parity import GROUP
from radiosync.sim.checkers.base import Checker
from radiosync.sim.nodes import HostNode, ListenerNode
from radiosync.sim.reading import read
from radiosync.sim.scenario import Scenario
from radiosync.sim.world import World
from radiosync.units import NS_PER_MS, NS_PER_S, frames_from_ns, ns_from_s

MEASURE_NS = 10 * NS_PER_S - 50 * NS_PER_MS  # between two measurements: one takes as long as some seconds of a run ...
MEASUREMENTS = 16  # ... so in a long one there are so many: four in each of the quarters that are compared
FIXED_BYTES = 512 << 10  # filters, lists of exchanges, decoded chunks
AUDIO_FACTOR = 1.25  # of the coded audio: symbols have their own objects ...
PARITY_FACTOR = (
    2.5  # ... and so has the parity that was made of them, at a host: so many symbols at a time at the least
)
CHUNK_BYTES = 2 << 10  # beside its audio: header, numbers, what was sent to whom
ROW_BYTES = 4 << 10  # of a listener at the host
REPAIR_BYTES = 256  # of each question that was answered: who was sent what when is kept as long as the chunk
GROWN_AFTER_NS = 1200 * NS_PER_S  # in less, a minute of bad network at the end looks like a leak
GROWTH_MAX = 1.2
GROWTH_BYTES = 64 << 10
SHARED = (type, ModuleType, FunctionType, BuiltinFunctionType, type(read))


def held_bytes(root: object) -> int:
    """Return the size of everything that can be reached from `root`, in bytes."""
    seen: set[int] = set()
    found: list[Any] = [root]
    total = 0
    while found:  # what lies equally deep at once: these are some ten thousand objects
        by_id = dict(zip(map(id, found), found, strict=True))
        for known in seen.intersection(by_id):
            del by_id[known]
        seen.update(by_id)
        shared = {kind: issubclass(kind, SHARED) for kind in set(map(type, by_id.values()))}
        fresh = [each for each in by_id.values() if not shared[type(each)]]
        total += sum(map(sys.getsizeof, fresh))
        found = gc.get_referents(*fresh)
        if np.ndarray in shared:
            found += [each.base for each in fresh if isinstance(each, np.ndarray) and each.base is not None]
    return total


class MemoryChecker(Checker):
    """Measures every session now and then."""

    def __init__(self, world: World, scenario: Scenario) -> None:
        super().__init__(world, scenario)
        self.measured: dict[str, list[tuple[int, int, float, object]]] = {}
        """By name: when it was measured, how many bytes it held and might, and which stream it followed."""
        self._repaired: deque[tuple[int, int]] = deque([(0, 0)])
        """When all hosts had repaired how much; the first one from before everything that is kept."""
        self._counted = 0
        self._measure_ns = max(MEASURE_NS, ns_from_s(scenario.stream.seconds) // MEASUREMENTS)
        self._next_at = MEASURE_NS
        self._complained: set[str] = set()

    def look(self) -> None:
        """Measure, if it is time."""
        if self.world.now < self._next_at:
            return
        self._next_at = self.world.now + self._measure_ns
        for host in self.world.hosts:
            if not host.ended:
                self._measure(host, host.session, self._host_bytes_max(host))
        for node in self.world.listeners:
            if not node.stopped:
                self._measure(node, node.session.stream, self._listener_bytes_max(node))

    def finish(self) -> None:
        """Compare the last quarter of a long run with its second; who sends further ahead by then may hold more."""
        for name, found in self.measured.items():
            same = [(at, held, most) for at, held, most, of in found if of is found[-1][3]]
            lasted_ns = same[-1][0] - same[0][0]
            if lasted_ns < GROWN_AFTER_NS:
                continue
            quarters = [[row[1:] for row in same if 4 * (row[0] - same[0][0]) // (lasted_ns + 1) == n] for n in (1, 3)]
            if not all(quarters):
                continue
            before, after = (max(held for held, _ in quarter) for quarter in quarters)
            might, may = (max(most for _, most in quarter) for quarter in quarters)
            if after > GROWTH_MAX * max(1.0, may / might) * before + GROWTH_BYTES:
                self.complain(f"{name}: holds {after >> 10} KiB, and held {before >> 10} KiB earlier")

    def _measure(self, node: HostNode | ListenerNode, of: object, most: float) -> None:
        held, name = held_bytes(node.session), node.machine.name
        self.measured.setdefault(name, []).append((self.world.now, held, most, of))
        if held > most and name not in self._complained:
            self._complained.add(name)
            self.complain(f"{name}: holds {held >> 10} KiB; its queues account for {int(most) >> 10}")

    def _host_bytes_max(self, node: HostNode) -> float:
        session, audio = node.session, node.session.format
        kept_ns = session.buffered_ns(node.machine.clock.host(self.world.now)) + node.machine.config.host.linger_ns
        frames = frames_from_ns(kept_ns, audio.rate) + 2 * session.sender.chunk_frames
        chunks = len(session.sender.history) + frames // session.sender.chunk_frames
        parity_bytes = GROUP * node.machine.config.network.datagram_max
        most = FIXED_BYTES + PARITY_FACTOR * frames * audio.frame_bytes + (CHUNK_BYTES + parity_bytes) * chunks
        return most + ROW_BYTES * len(session.listeners) + REPAIR_BYTES * self._repaired_lately(kept_ns)

    def _repaired_lately(self, kept_ns: int) -> int:
        """Return how much all hosts have repaired within the last `kept_ns`, at least."""
        counters = [host.session.sender.counters for host in self.world.hosts]
        counted = sum(each.repairs_multicast + each.repairs_unicast for each in counters)
        count = self._repaired[-1][1] + max(0, counted - self._counted)  # a host that begins anew counts anew
        self._counted = counted
        self._repaired.append((self.world.now, count))
        while self._repaired[1][0] < self.world.now - kept_ns:
            self._repaired.popleft()
        return count - self._repaired[0][1]

    def _listener_bytes_max(self, node: ListenerNode) -> float:
        stream = node.session.stream
        if stream is None:
            return FIXED_BYTES
        chunks = len(stream.buffer)
        audio = chunks * stream.chunk_frames * stream.format.frame_bytes
        return FIXED_BYTES + AUDIO_FACTOR * audio + CHUNK_BYTES * (chunks + len(stream.requests))
