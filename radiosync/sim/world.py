"""A world: hosts and listeners with clocks, links and outputs of their own, in one virtual time.

Everything random comes from one seed through generators of their own, named for what they decide: to add a listener, or
to make one's link worse, changes nothing for the others but what the sessions make of it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from radiosync.audio.format import AudioFormat
from radiosync.config import Config
from radiosync.listener.exact import BLOCK_NS
from radiosync.sim.card import DacSettings, SimDac
from radiosync.sim.clocks import ClockSettings, Shift, SimClock
from radiosync.sim.devices import SimSource
from radiosync.sim.link import Direction, LinkSettings
from radiosync.sim.machine import Machine
from radiosync.sim.network import Network
from radiosync.sim.nodes import HostNode, ListenerNode
from radiosync.sim.scheduler import Scheduler, TrueNs
from radiosync.sim.trace import Trace
from radiosync.units import NS_PER_MS, NS_PER_S

HOST_EPOCH_NS = 1_790_000_000 * NS_PER_S  # a media clock reads as time since 1970
LOOK_NS = 100 * NS_PER_MS  # between two looks of who watches a world
SALT_FRAMES = 100_003  # between two hosts' marks: twelve seconds at 8 kHz, and coprime to every period


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """What a machine is like: its clock, and its link with `up` towards the network and `down` from it."""

    clock: ClockSettings = field(default_factory=ClockSettings)
    up: LinkSettings = field(default_factory=LinkSettings)
    down: LinkSettings = field(default_factory=LinkSettings)
    kernel_stamps: bool = True
    block_ns: int = BLOCK_NS
    dac: DacSettings | None = None
    """A listener's sound card; without one it plays into an exact sink."""


class World:
    """The only loop; `now` is the true time in ns since the world began."""

    def __init__(self, seed: int, *, keep_trace: bool = False) -> None:
        self.seed = seed
        self.scheduler = Scheduler()
        self.trace = Trace(keep=keep_trace)
        self.network = Network(self.scheduler, self.trace)
        self.hosts: list[HostNode] = []
        self.host_ips: set[str] = set()
        self.listeners: list[ListenerNode] = []
        self.disturbed: dict[str, int] = {}
        """When each machine's clock was last set or stood still, by name ..."""
        self.shifts: dict[str, list[Shift]] = {}
        """... and all that has been done to it."""
        self._machines = 0
        self._watchers: list[Callable[[], None]] = []

    @property
    def now(self) -> TrueNs:
        """The true time."""
        return self.scheduler.now

    def rng(self, *names: object) -> Random:
        """Return a generator that decides what `names` say, and nothing else."""
        return Random("/".join(str(name) for name in (self.seed, *names)))

    def machine(self, name: str, settings: NodeSettings, config: Config) -> Machine:
        """Add a machine to the network; names must differ."""
        self._machines += 1
        ip = f"10.0.{self._machines >> 8}.{self._machines & 255}"
        up = Direction(settings.up, self.rng(name, "up"))
        self.network.attach(ip, up, Direction(settings.down, self.rng(name, "down")))
        return Machine(
            name=name,
            ip=ip,
            config=config,
            clock=SimClock(settings.clock, self.rng(name, "clock")),
            scheduler=self.scheduler,
            network=self.network,
            trace=self.trace,
            rng=self.rng(name),
            kernel_stamps=settings.kernel_stamps,
            block_ns=settings.block_ns,
        )

    def start_host(
        self,
        machine: Machine,
        audio: AudioFormat,
        song_frames: tuple[int, ...],
        *,
        dense: bool = False,
        live: bool = False,
        first_seq: int = 0,
    ) -> HostNode:
        """Start a host now."""
        source = SimSource(audio, song_frames, salt=len(self.hosts) * SALT_FRAMES, dense=dense)
        host = HostNode(machine, source, live=live, first_seq=first_seq)
        self.trace.note(self.now, f"{machine.name} starts")
        self.hosts.append(host)
        self.host_ips.add(machine.ip)
        return host

    def continue_host(self, killed: HostNode) -> HostNode | None:
        """Start a host anew that goes on where `killed` was, if it can."""
        machine = killed.machine
        audio, now = killed.source.format, machine.clock.host(self.now)
        continued = None if killed.remembered is None else killed.remembered.as_of(audio, machine.config, now)
        if continued is None:
            return None
        host = HostNode(machine, killed.source, continued=continued)
        host.records = killed.records
        self.trace.note(self.now, f"{machine.name} goes on")
        self.hosts[self.hosts.index(killed)] = host
        return host

    def start_listener(self, machine: Machine, dac: DacSettings | None = None) -> ListenerNode:
        """Start a listener now, with a sound card or an exact sink."""
        card = None
        if dac is not None:
            rng = self.rng(machine.name, "dac", len(self.listeners))
            card = SimDac(self.scheduler, self.trace, machine.clock, dac, machine.config, rng)
        listener = ListenerNode(machine, card, self._source_of)
        self.trace.note(self.now, f"{machine.name} starts")
        self.listeners.append(listener)
        return listener

    def at(self, at_ns: int, callback: Callable[[], object]) -> None:
        """Call `callback` at a true time."""
        self.scheduler.at(TrueNs(at_ns), lambda: (callback(), None)[1])

    def watch(self, look: Callable[[], None]) -> None:
        """Call `look` every `LOOK_NS` from now on; it must change nothing."""
        if not self._watchers:
            self.scheduler.at(self.now, self._look)
        self._watchers.append(look)

    def run(self, until_ns: int) -> None:
        """Let everything happen until a true time."""
        self.scheduler.run(TrueNs(until_ns))

    def host_of(self, session: int) -> HostNode | None:
        """Return the host that a session is of."""
        for host in self.hosts:
            if host.session.session == session:
                return host
        return None

    def newest(self, name: str) -> HostNode:
        """Return the host on a machine as it was started last; raises StopIteration before it is."""
        return next(host for host in reversed(self.hosts) if host.machine.name == name)

    def _look(self) -> None:
        for look in self._watchers:
            look()
        self.scheduler.at(TrueNs(self.now + LOOK_NS), self._look)

    def _source_of(self, session: int) -> SimSource | None:
        host = self.host_of(session)
        return None if host is None else host.source
