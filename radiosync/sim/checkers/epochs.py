"""Nothing of a record that is over leaves a sound card, as far as the listener has been told that it is.

Of exact sinks the frames are known.  Of a card it is read from the sound itself which frame of the music it emits, and
the music of a record lies on a line: this frame at this instant.  Three blocks in a row that lie on the line of a
record that is over, and on no other one's, were played by it.  A record is over

- when the next one that the listener has been told of takes effect, and what it plays lies as late behind that as it
  lay behind the timeline in the second before;
- but not before the listener has been told, has come to fill its ring anew, and what the ring and the card held by then
  has sounded;
- and a block later, which may have begun before.

What lasts for less than 30 ms is not seen, nor what lies within 20 ms of where the music is due: the record before and
after a short pause can't be told apart.  Nor is who had its clock set, stood still, or has a card whose latency jumps:
such a listener does not know when anything is over.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radiosync.sim.card import FILL_NS
from radiosync.sim.checkers.base import Checker
from radiosync.sim.measure import positions
from radiosync.sim.nodes import HostNode, ListenerNode
from radiosync.timeline import Timeline
from radiosync.units import NS_PER_MS, NS_PER_S

BLOCKS = 3  # in a row: one alone may lie in a fade
NEAR_NS = 10 * NS_PER_MS  # of a line; where a listener is later than that, nothing is judged
APART_NS = 2 * NEAR_NS  # of two lines, to tell them apart
BEFORE_NS = NS_PER_S  # of a record's end, in which it is seen how late the listener is
CALLBACK_NS = 10 * NS_PER_MS  # a block of the card, and its loop's lateness: what was rendered just before


@dataclass(frozen=True, slots=True)
class _Sound:
    """What a card emitted, as far as it can be read: true times, the media clock's, and frames of the music."""

    at: NDArray[np.int64]
    host_at: NDArray[np.int64]
    frame: NDArray[np.float64]

    def behind_ns(self, host: HostNode, record: Timeline, end: int) -> NDArray[np.float64]:
        """Return how late each block is on the line of `record`, which ends before frame `end`; ±10 s."""
        rate, source = host.source.format.rate, host.source
        last = max(record.media_frame, end - 1)
        due = record.media_frame + (self.host_at - record.effective_at) * (rate / NS_PER_S)
        due -= last - source.source_frame(last)
        ramp = source.ramp_frames
        late: NDArray[np.float64] = ((due - self.frame + ramp / 2) % ramp - ramp / 2) / rate * NS_PER_S
        return late


class EpochChecker(Checker):
    """Reads what each sound card has emitted after the end of each record."""

    def finish(self) -> None:
        """Judge the whole record of everybody."""
        for node in self.world.listeners:
            hosts = {id(h): h for s in node.streams if (h := self.world.host_of(s.session)) is not None}
            name = node.machine.name
            if node.dac is None or len(hosts) != 1 or self._latency_jumps(name):
                continue  # of two hosts one can't tell whose sound it is
            (host,) = hosts.values()
            if not self.unsettled_ever(name, host.machine.name):
                self._card(node, host)

    def _latency_jumps(self, name: str) -> bool:
        jumps = [fault for fault in self.scenario.faults if fault.kind == "card_delay"]
        return any(not fault.listeners or name.startswith(fault.listeners) for fault in jumps)

    def _card(self, node: ListenerNode, host: HostNode) -> None:
        told, known = node.told(host.session.session), host.source.records
        pairs = [(known[v], known[w], at) for v, w, at in told.steps() if v in known and w in known]
        rate = host.source.format.rate
        if node.dac is None or not any(old.playing and not new.repeats(old, rate) for old, new, _ in pairs):
            return
        at, frame = positions(node.dac.record, host.source)
        sound = _Sound(at, np.array([host.machine.clock.host(t) for t in at.tolist()], dtype=np.int64), frame)
        for number, (old, new, told_at) in enumerate(pairs):
            if old.playing and not new.repeats(old, rate):
                later = [record for _, record, _ in pairs[number:] if record.playing]
                self._over(node, host, sound, old, new, told_at + node.dac.reach_ns + 2 * FILL_NS, later)

    def _over(
        self,
        node: ListenerNode,
        host: HostNode,
        sound: _Sound,
        old: Timeline,
        new: Timeline,
        rendered_until: int,
        later: list[Timeline],
    ) -> None:
        """Complain of what is played by `old` after `new` has taken effect; `later` are the records that play then."""
        clock, rate = host.machine.clock, host.source.format.rate
        end, end_at = max(old.media_frame, old.frame_at(new.effective_at, rate)), clock.true(new.effective_at)
        behind_ns = sound.behind_ns(host, old, end)
        before = (sound.at >= max(end_at - BEFORE_NS, clock.true(old.effective_at))) & (sound.at < end_at)
        late_ns = float(np.abs(behind_ns[before]).max()) if before.any() else 0.0
        if late_ns > NEAR_NS:
            return
        dead_at = max(end_at + late_ns, rendered_until) + CALLBACK_NS
        dead = (sound.at > dead_at) & (np.abs(behind_ns) < NEAR_NS)
        for record in later:  # whose line may pass as near
            due_ns = sound.behind_ns(host, record, 1 + record.frame_at(new.effective_at, rate))
            dead &= (np.abs(due_ns - behind_ns) > APART_NS) | (sound.at < clock.true(record.effective_at))
        stale = np.lib.stride_tricks.sliding_window_view(dead, BLOCKS).all(axis=1) if len(dead) >= BLOCKS else dead[:0]
        if stale.any():
            lasts_ns = int(sound.at[np.flatnonzero(stale)[-1] + BLOCKS - 1]) - end_at
            which = f"record {old.version} of the timeline is played {lasts_ns / NS_PER_MS:.0f} ms after its end"
            self.complain(f"{node.machine.name}: {which}")
