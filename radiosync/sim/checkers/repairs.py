"""A host repairs no faster than its budgets allow: to one listener, and to all of them together.

Budgets are multiples of the stream's own rate, and may be saved up to a burst.  In a second, by the host's own clock,
there are so many at the most, whoever asks for what.  Whom multicast does not reach is repaired alone, and has a budget
beside the others'.
"""

from collections import deque

from radiosync.host.sender import REPAIRS_PER_S_MIN
from radiosync.repair.respond import BURST, UNREACHED_PER_S_MAX
from radiosync.sim.checkers.base import Checker
from radiosync.sim.network import is_group
from radiosync.sim.nodes import HostNode
from radiosync.sim.reading import kind_of
from radiosync.sim.scenario import Scenario
from radiosync.sim.world import World
from radiosync.units import NS_PER_S
from radiosync.wire.codec import AUDIO_OVERHEAD, decode
from radiosync.wire.groups import Address
from radiosync.wire.messages import Audio, Kind

FLAGS = AUDIO_OVERHEAD - 2  # the last octet but one before the payload: 0 in what is sent the first time
ALL, UNREACHED = "all", "all whom multicast does not reach"
To = Address | str


class RepairChecker(Checker):
    """Counts a host's repairs as they leave."""

    def __init__(self, world: World, scenario: Scenario) -> None:
        super().__init__(world, scenario)
        self.repairs = 0
        self.worst: dict[tuple[str, To], tuple[int, int]] = {}
        """By host and listener, or group of them: the most repairs within a second, and when."""
        self._sent: dict[tuple[str, To], deque[int]] = {}
        self._fastest: dict[str, int] = {}
        """By host: the highest rate of its stream, in symbols per second."""
        self._next_seq: dict[int, int] = {}
        world.network.taps.append(self._tap)

    def look(self) -> None:
        """Follow the rate of each stream."""
        for host in self.world.hosts:
            sender = host.session.sender
            known = self._next_seq.get(host.session.session, sender.next_seq_sent)
            for seq in range(known, sender.next_seq_sent):
                chunk = sender.history.get(seq)
                if chunk is not None:
                    per_s = chunk.header.symbols * sender.rate // chunk.header.frames
                    self._fastest[host.machine.name] = max(self._fastest.get(host.machine.name, 0), per_s)
            self._next_seq[host.session.session] = sender.next_seq_sent

    def finish(self) -> None:
        """Compare the busiest seconds with the budgets."""
        for (name, to), (count, at) in self.worst.items():
            host = next(host for host in self.world.hosts if host.machine.name == name).machine.config.host
            share = host.repair_share_total if to == ALL else host.repair_share
            per_s = (
                UNREACHED_PER_S_MAX if to == UNREACHED else share * max(REPAIRS_PER_S_MIN, self._fastest.get(name, 0))
            )
            most = round(per_s) + BURST + 1
            if count > most:
                whom = to if isinstance(to, str) else f"{to[0]}:{to[1]}"
                self.complain(
                    f"{name}: {count} repairs to {whom} in the second before {at / NS_PER_S:.1f} s; {most} may"
                )

    def _tap(self, data: bytes, source: Address, to: Address) -> None:
        if kind_of(data) != Kind.AUDIO or len(data) <= FLAGS or not data[FLAGS] or (host := self._host(source)) is None:
            return
        audio = decode(data)
        if not isinstance(audio, Audio) or not audio.repair:
            return
        self.repairs += 1
        self._count(host, UNREACHED if to in host.session.copies else ALL)
        if not is_group(to):
            self._count(host, to)

    def _host(self, source: Address) -> HostNode | None:
        """Return the host at `source`, as it was started last."""
        return next((host for host in reversed(self.world.hosts) if host.machine.ip == source[0]), None)

    def _count(self, host: HostNode, to: To) -> None:
        which = host.machine.name, to
        times, now = self._sent.setdefault(which, deque()), host.machine.clock.host(self.world.now)
        times.append(now)
        while times[0] <= now - NS_PER_S:
            times.popleft()
        if len(times) > self.worst.get(which, (0, 0))[0]:
            self.worst[which] = len(times), self.world.now
