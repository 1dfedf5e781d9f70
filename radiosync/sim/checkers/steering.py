"""A sound card is steered gently: within the ratio's limits, no faster than can be heard, with few hard resyncs."""

from radiosync.audio.resampler import DEVIATION_MAX
from radiosync.listener.playout import DevicePlayout
from radiosync.listener.rate import RESYNC_PAUSE_NS
from radiosync.sim.checkers.base import Checker
from radiosync.sim.nodes import ListenerNode
from radiosync.sim.scenario import Scenario
from radiosync.sim.world import World


class SteeringChecker(Checker):
    """Looks at each device playout's ratio and at its resyncs."""

    def __init__(self, world: World, scenario: Scenario) -> None:
        super().__init__(world, scenario)
        self._resyncs: dict[int, tuple[int, int]] = {}
        """Of each playout, how many resyncs there have been, and when the last one was seen."""

    def look(self) -> None:
        """Compare the ratio, and the time between two resyncs, with their limits."""
        for node in self.world.listeners:
            playout = None if node.session.stream is None else node.session.stream.playout
            if isinstance(playout, DevicePlayout) and not node.stopped:
                self._playout(node, playout)

    def _playout(self, node: ListenerNode, playout: DevicePlayout) -> None:
        name = node.machine.name
        if abs(playout.correction) > DEVIATION_MAX:
            self.complain(f"{name}: a ratio {playout.correction:.4%} off")
        # Underruns have their own count; the host's orders come with records, at most one a minute.
        count = playout.hard_resyncs - playout.underruns
        before, at = self._resyncs.get(id(playout), (0, -RESYNC_PAUSE_NS))
        if count <= before:
            return
        records = sum(len(host.records) for host in self.world.hosts)
        if count - before > 1 + records or (self.world.now - at < RESYNC_PAUSE_NS // 2 and records <= 2):
            self.complain(f"{name}: {count - before} hard resyncs {(self.world.now - at) / 1e9:.1f} s after the last")
        self._resyncs[id(playout)] = count, self.world.now
