"""When the faults have stopped, all is well again: everybody plays, and nothing is missing any more.

What the source itself left out, because the host stood still or something live was delayed further, is nobody's loss.
"""

from radiosync.sim.checkers.base import Checker
from radiosync.sim.nodes import ListenerNode
from radiosync.sim.scenario import Scenario
from radiosync.sim.world import World
from radiosync.units import NS_PER_S
from radiosync.wire.messages import ListenerState

WELL = {ListenerState.PLAYING, ListenerState.ENDED, ListenerState.PAUSED}


class LivenessChecker(Checker):
    """Looks at everybody from some seconds after the last fault on."""

    def __init__(self, world: World, scenario: Scenario) -> None:
        super().__init__(world, scenario)
        self._missed: dict[str, tuple[int, int, int]] = {}
        """By name, when all should be well: frames concealed, underruns, and the frame that was due."""
        self._unwell: set[str] = set()

    def look(self) -> None:
        """Note where everybody stands once all should be well; complain of who does not play from then on."""
        if self.calm_at is None or self.world.now < self.calm_at:
            return
        for node in self.world.listeners:
            name = node.machine.name
            if node.stopped or name in self._unwell or self._is_new(node):
                continue
            state = node.session.state(node.machine.clock.local(self.world.now))
            stream = node.session.stream
            if state is ListenerState.WAITING and (node.has_ended or self._all_has_ended(name)):
                continue  # it has heard the end, or came too late for it
            if (host := None if stream is None else self.world.host_of(stream.session)) and self.misled(node, host):
                continue
            if state not in WELL or stream is None or stream.playout is None:
                self._unwell.add(name)
                self.complain(f"{name}: is {state.name}, {self._since_s():.1f} s after the last fault")
            elif name not in self._missed and stream.playout.cursor is not None:
                playout = stream.playout
                self._missed[name] = playout.concealed_frames, playout.underruns, stream.playout.cursor or 0

    def finish(self) -> None:
        """Complain of what was missing since."""
        for node in self.world.listeners:
            name, stream = node.machine.name, node.streams[-1] if node.streams else None
            if node.stopped or name not in self._missed or stream is None or stream.playout is None:
                continue
            concealed, underruns, cursor = self._missed[name]
            host = self.world.host_of(stream.session)
            now_at = stream.playout.cursor or 0
            if host is None or now_at < cursor:
                continue
            missing = stream.playout.concealed_frames - concealed
            source_missing = host.source.gap_frames(cursor, now_at + host.source.format.rate)
            if missing > source_missing:
                self.complain(f"{name}: {missing - source_missing} frames concealed although the faults had stopped")
            if stream.playout.underruns > underruns:
                self.complain(
                    f"{name}: {stream.playout.underruns - underruns} underruns although the faults had stopped"
                )

    def _all_has_ended(self, name: str) -> bool:
        """Say whether no host plays any more that this listener would hear."""
        told = self.scenario.heard_by(name)
        return all(host.ended for host in self.world.hosts if told in ("", host.machine.name))

    def _since_s(self) -> float:
        return self.world.now / NS_PER_S - (self.scenario.calm_from_s or 0.0)

    def _is_new(self, node: ListenerNode) -> bool:
        """Say whether a listener has come too late to be well by now."""
        return self.world.now - node.started_at < self.scenario.limits.converge_s_max * NS_PER_S
