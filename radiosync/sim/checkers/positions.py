"""What a sound card emits goes on where it was, and is what is due: nothing jumps that is not counted.

The position heard is read from the sound itself, 100 times a second.  From one block to the next it may move against
the timeline by what the ratio may deviate; whatever is more is a jump, and a jump needs a reason: one that a listener
counts, a hard resync, an underrun, a gap, or another record of the timeline; or that the card has delayed what it
plays.  Once all should be well it has to be where the timeline says, within the scenario's limit.

After a slew that takes longer than after anything else.  No raw clock is ever slewed, so that a listener needs eight
answers, of one a second, to believe it; and what has gathered by then, up to 2 ms, may be caught up with at 500 ppm
only, after the 5 s in which that may be reached.  The same holds for a step that delays have hidden until all is calm.
"""

from collections.abc import Iterator

import numpy as np

from radiosync.audio.resampler import DEVIATION_MAX
from radiosync.sim.checkers.base import Checker
from radiosync.sim.measure import Heard, heard
from radiosync.sim.nodes import HostNode, ListenerNode
from radiosync.units import NS_PER_MS, NS_PER_S, NS_PER_US, ns_from_s

END_NS = 50 * NS_PER_MS  # of the music, where a resampler runs out
BLOCKS = 3  # in a row: one alone may lie in a fade
SLEWS, STEPS = {"slew", "host_slew"}, {"clock_step", "host_clock_step"}
SLEWED_NS = 15 * NS_PER_S
HIDDEN_NS, HIDDEN_MS_MAX = 60 * NS_PER_S, 5.0  # for how long a step may hide, and how large a one
SCATTER_NS = NS_PER_MS  # of delays, that hides one
NOISE_NS = 5 * NS_PER_US  # of reading a position from 32-bit samples, next to a fade


class PositionChecker(Checker):
    """Reads back what each sound card has emitted."""

    def finish(self) -> None:
        """Judge the whole record of everybody."""
        for node in self.world.listeners:
            hosts = {id(h): h for s in node.streams if (h := self.world.host_of(s.session)) is not None}
            if node.dac is not None and len(hosts) == 1:  # of two hosts one can't tell whose sound it is
                (host,) = hosts.values()
                whole = heard(node.dac.record, host)
                self._jumps(node, host, whole)
                if not self.misled(node, host):
                    self._calm(node.machine.name, whole.between(0, host.play_at(host.source.end_frame) - END_NS))
        for node in self.world.listeners:
            if node.dac is None:
                self._exact(node)

    def _jumps(self, node: ListenerNode, host: HostNode, whole: Heard) -> None:
        if node.dac is None or len(whole.at) < 2 or self.unsettled_ever(node.machine.name, host.machine.name):
            return
        moved_ns = np.abs(np.diff(whole.late_ns))
        jumps = int(np.count_nonzero(moved_ns > NOISE_NS + DEVIATION_MAX * np.diff(whole.at)))
        playouts = [stream.playout for stream in node.streams if stream.playout is not None]
        reasons = sum(p.hard_resyncs + p.underruns + p.gaps for p in playouts) + len(host.records) + len(playouts)
        reasons += node.dac.delays
        if jumps > reasons:
            self.complain(f"{node.machine.name}: {jumps} jumps were heard, and {reasons} are accounted for")

    @property
    def _judged_from(self) -> int | None:
        slewed = (f for f in self.scenario.faults if f.kind in SLEWS)
        slewed_at = max((ns_from_s(f.at_s + f.for_s) for f in slewed), default=-SLEWED_NS)
        if self.calm_at is None or self.scenario.calm_from_s is None:
            return None
        calm_from = ns_from_s(self.scenario.calm_from_s)
        if self._scattered and any(calm_from - HIDDEN_NS < at for at in self._small_steps):
            slewed_at = max(slewed_at, calm_from)
        return max(self.calm_at, slewed_at + SLEWED_NS)

    @property
    def _small_steps(self) -> Iterator[int]:
        return (ns_from_s(f.at_s) for f in self.scenario.faults if f.kind in STEPS and f.ms < HIDDEN_MS_MAX)

    @property
    def _scattered(self) -> bool:
        links = (link for group in self.scenario.listeners for link in (group.up, group.down))
        return any(link.hold_every_ns or link.burst_every_ns or link.jitter_ns >= SCATTER_NS for link in links)

    def _calm(self, name: str, whole: Heard) -> None:
        most, judged_from = self.scenario.limits.calm_error_ns_max, self._judged_from
        if judged_from is None or most is None:
            return
        late_ns = np.abs(whole.between(judged_from, self.world.now).late_ns)
        if len(late_ns) < BLOCKS:
            return
        lasting_ns = np.lib.stride_tricks.sliding_window_view(late_ns, BLOCKS).min(axis=1)
        if (worst_ns := float(lasting_ns.max())) > most:
            self.complain(f"{name}: sounds {worst_ns:.0f} ns from its play-at when all should be well; limit {most}")

    def _exact(self, node: ListenerNode) -> None:
        most, judged_from = self.scenario.limits.calm_error_ns_max, self._judged_from
        if judged_from is None or most is None:
            return
        for session, sink in node.sinks.items():
            host = self.world.host_of(session)
            if host is None or self.misled(node, host):
                continue
            late = [(abs(at - host.play_at(f)), f) for f, at in sink.emitted if at > judged_from]
            if late and max(late)[0] > most:
                worst_ns, frame = max(late)
                self.complain(f"{node.machine.name}: frame {frame} comes {worst_ns} ns from its play-at; limit {most}")
