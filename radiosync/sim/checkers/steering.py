"""A sound card is steered gently: within the ratio's limits, no faster than can be heard, with few hard resyncs.

The ratio is what the clocks' rates ask for, times what works an error off.  The second has a slope that it keeps to,
whatever happens.  The first is an estimate, which improves in steps: the more it knows the smaller.
"""

from dataclasses import dataclass

from radiosync.audio.resampler import DEVIATION_MAX
from radiosync.listener.playout import DevicePlayout
from radiosync.listener.rate import RELEASE_MAX_PER_S, RESYNC_PAUSE_NS, SETTLED_NS
from radiosync.sim.checkers.base import Checker
from radiosync.sim.nodes import ListenerNode
from radiosync.sim.scenario import Scenario
from radiosync.sim.world import World
from radiosync.timeline import Timeline

STEP_MAX = 200e-6  # of the ratio from one look to the next: a third of a cent; nobody hears three
STEP_MAX_LOST = 400e-6  # of whose card has lost time, and lies or was not known yet: two thirds of a cent
STEP_MAX_SETTLED = 40e-6  # of who has played for a while ...
STEP_SIGMAS = 3.0  # ... or so many of what it says the skew may be wrong by, where the network tells it little
STEP_MAX_SLEWED = 1100e-6  # where two clocks are slewed by 500 ppm, which is followed as soon as it is known: two cents
BLOCK_S = 0.02  # rendered at a time, and so looked at


@dataclass(frozen=True, slots=True)
class _Seen:
    """Where a playout stood at the last look."""

    place: tuple[int, int, Timeline | None]
    """How often it has entered anew, or decided to, and by which record: from there on no error is worked off."""
    frame: int
    correction: float
    steering: float
    skew_sigma: float


class SteeringChecker(Checker):
    """Looks at each device playout's ratio and at its resyncs."""

    def __init__(self, world: World, scenario: Scenario) -> None:
        super().__init__(world, scenario)
        self._resyncs: dict[int, tuple[int, int]] = {}
        """Of each playout, how many resyncs there have been, and when the last one was seen."""
        self._seen: dict[DevicePlayout, _Seen] = {}

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
        else:
            self._slope(node, playout)
        # Underruns have their own count, and so has what a card loses; orders come with records, at most one a minute.
        count = playout.hard_resyncs - playout.underruns - (0 if node.dac is None else node.dac.discontinuities)
        before, at = self._resyncs.get(id(playout), (0, -RESYNC_PAUSE_NS))
        if count <= before:
            return
        records = sum(len(host.records) for host in self.world.hosts)
        hurried = self.world.now - at < RESYNC_PAUSE_NS // 2 and records <= 2
        # Another step of a clock, which pauses may be measured by too, is a reason for another resync.
        hurried = hurried and self.disturbed_at(*self._clocks_of(name)) < at
        if count - before > 1 + records or hurried:
            self.complain(f"{name}: {count - before} hard resyncs {(self.world.now - at) / 1e9:.1f} s after the last")
        self._resyncs[id(playout)] = count, self.world.now

    def _clocks_of(self, name: str) -> tuple[str, ...]:
        """Return the machines whose clocks a listener plays by: its own, and any host's."""
        return (name, *(host.machine.name for host in self.world.hosts))

    def _slope(self, node: ListenerNode, playout: DevicePlayout) -> None:
        """Compare how fast the ratio has changed since the last look with what is promised."""
        before, now = self._seen.get(playout), self._stands(node, playout)
        if now is None:
            self._seen.pop(playout, None)
            return
        self._seen[playout] = now
        if before is None or before.place != now.place:
            return
        if now.frame < before.frame:  # an underrun, which counts once the place is found
            return
        name, stream = node.machine.name, node.session.stream
        elapsed_s = (now.frame - before.frame) / (1 if stream is None else stream.format.rate)
        steered = abs(now.steering - before.steering)
        if steered > RELEASE_MAX_PER_S * (1 + DEVIATION_MAX) * (elapsed_s + BLOCK_S):
            self.complain(f"{name}: steered by {steered * 1e6:.0f} ppm in {elapsed_s:.2f} s of music")
        told = STEP_SIGMAS * max(before.skew_sigma, now.skew_sigma)
        lost = node.dac is not None and node.dac.delays > 0
        most = max(STEP_MAX_LOST if lost else STEP_MAX, told)
        # The clock of a card that lies is known by the earliest of its callbacks, of which a better one may come.
        if self.world.now - node.started_at > SETTLED_NS and node.dac is not None and node.dac.believed:
            most = max(STEP_MAX_SETTLED, told)
        if self.unsettled_ever(*self._clocks_of(name)):
            most = STEP_MAX_SLEWED
        if (step := abs(now.correction - before.correction)) > most:
            self.complain(f"{name}: a step of {step * 1e6:.0f} ppm in the ratio")

    @staticmethod
    def _stands(node: ListenerNode, playout: DevicePlayout) -> _Seen | None:
        stream = node.session.stream
        mapping = None if stream is None else stream.clock.mapping()
        if playout.cursor is None or not playout.begun or (stream is not None and stream.mute.muted):
            return None  # nobody hears it
        sigma = 0.0 if mapping is None else mapping.skew_sigma
        place = playout.entries, playout.hard_resyncs, playout.record
        return _Seen(place, playout.cursor, playout.correction, playout.steering, sigma)
