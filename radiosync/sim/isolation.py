"""A run again without those who mean no good or are broken: nobody else may have heard that they were there.

What a listener may do to the others is that a start waits for it: at most so long, which is checked record by record of
the timeline (`host/COORDINATION.md`, "What a listener may claim").  Everything else is compared relative to what was
agreed, from the very first sample on: which frame of a record leaves an output, and how late against its play-at.

Luck is each machine's own, so that whoever is left has the same losses and delays in both runs, as long as it is sent
the same.  Who has no losses and no troubles of its own has no use for luck: it hears the same to the frame, within the
scenario's limit.  Of who has, the two runs differ by luck as soon as one datagram more is sent: it may not miss more
than without the others, but for what luck makes of it, and is as late as without them in the middle.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from radiosync.host.coordinator import (
    JUMP_WAIT_NS,
    MINORITY_WAIT_NS,
    RENDER_LEAD_MAX_NS,
    RENDER_MARGIN_NS,
    START_WAIT_NS,
    SYNC_MARGIN_NS,
)
from radiosync.sim.devices import ExactSink
from radiosync.sim.link import LinkSettings
from radiosync.sim.measure import heard
from radiosync.sim.nodes import HostNode, ListenerNode
from radiosync.sim.run import run_scenario
from radiosync.sim.scenario import Scenario
from radiosync.sim.world import World
from radiosync.timeline import Timeline
from radiosync.units import NS_PER_MS, NS_PER_S, frames_from_ns

JOIN_NS_MAX = 500 * NS_PER_MS  # who joins in mid-stream begins with the first frames that are whole, which is luck
EARLY_NS_MAX = START_WAIT_NS - MINORITY_WAIT_NS  # by many who claim to be ready, so that who is not are few
LUCK_S, LUCK_SHARE = 1.0, 0.25  # of music, and of what is missing anyway: what luck may add to it


def alone(scenario: Scenario) -> Scenario:
    """Return `scenario` without villains and without listeners that are broken."""
    groups = tuple(group for group in scenario.listeners if not group.broken)
    kept = {group.name for group in groups}
    faults = []
    for fault in scenario.faults:
        named = tuple(name for name in fault.listeners if name in kept)
        if named or not fault.listeners:
            faults.append(replace(fault, listeners=named))
    return replace(scenario, listeners=groups, faults=tuple(faults), villains=())


def with_one_broken(scenario: Scenario) -> Scenario:
    """Return `scenario` with somebody to leave out: its last group, where it has nobody yet and others are left."""
    if alone(scenario) != scenario or len(scenario.listeners) < 2:
        return scenario
    *others, last = scenario.listeners
    return replace(scenario, listeners=(*others, replace(last, broken=True)))


def disturbances(scenario: Scenario, seed: int, world: World) -> Iterator[str]:
    """Run `scenario` alone, and yield what its honest listeners heard otherwise in `world`, which has been run."""
    without = alone(scenario)
    if without == scenario:
        return
    yield from differences(scenario, world, run_scenario(without, seed).world)


def differences(scenario: Scenario, world: World, other: World) -> Iterator[str]:
    """Yield what was heard in `world` otherwise than in `other`, by whoever is in both."""
    for mine, its in zip(world.hosts, other.hosts, strict=False):
        yield from _timelines(mine, its, scenario)
    mine_of, its_of = _by_name(world), _by_name(other)
    for name, its_nodes in its_of.items():
        lucky = _has_luck(scenario, name)
        for node, its_node in zip(mine_of.get(name, []), its_nodes, strict=False):
            for what in _Pair(scenario, world, node, other, its_node).differences(lucky=lucky):
                yield f"{name}: {what}"


def _by_name(world: World) -> dict[str, list[ListenerNode]]:
    found: dict[str, list[ListenerNode]] = {}
    for node in world.listeners:
        found.setdefault(node.machine.name, []).append(node)
    return found


def _has_luck(scenario: Scenario, name: str) -> bool:
    """Say whether a listener, or its host, has losses or troubles of its own."""
    groups = [group for group in scenario.listeners if name.startswith(group.name)]
    links = [scenario.host.up, scenario.host.down, *(link for group in groups for link in (group.up, group.down))]
    calm = LinkSettings()
    same = (replace(calm, delay_ns=link.delay_ns, jitter_ns=min(link.jitter_ns, NS_PER_MS)) for link in links)
    mine = (f for f in scenario.faults if f.kind.startswith("host") or not f.listeners or name.startswith(f.listeners))
    return any(link != quiet for link, quiet in zip(links, same, strict=True)) or any(True for _ in mine)


def _played(host: HostNode) -> list[Timeline]:
    """Return the records that say something new: a resync repeats the one before."""
    records, rate = host.records, host.source.format.rate
    return [r for n, r in enumerate(records) if n == 0 or not r.repeats(records[n - 1], rate)]


def _begins_at(host: HostNode) -> int | None:
    """Return when the first frame of all is due, in true time."""
    playing = (record for record in host.records if record.playing)
    return next((host.machine.clock.true(record.effective_at) for record in playing), None)


def _timelines(mine: HostNode, its: HostNode, scenario: Scenario) -> Iterator[str]:
    """Yield where the timeline was made otherwise than by waiting for somebody, which is allowed for so long."""
    name, most = mine.machine.name, scenario.limits.isolation_ns_max
    order_ns = (
        scenario.settings.radio_sync.max_client_latency_ns + RENDER_LEAD_MAX_NS + RENDER_MARGIN_NS - SYNC_MARGIN_NS
    )
    moved, begun = False, False
    ours, theirs = _played(mine), _played(its)
    for number, (a, b) in enumerate(zip(ours, theirs, strict=False)):
        late_ns = a.effective_at - b.effective_at
        moved = moved or abs(late_ns) > most
        away = abs(mine.source.source_frame(a.media_frame) - its.source.source_frame(b.media_frame))
        if (a.state, a.epoch) != (b.state, b.epoch) or away > 1 + 2 * frames_from_ns(most, mine.source.format.rate):
            if moved:  # what an order means depends on when it comes; while a start waits two become one
                return
            yield f"{name}: record {number} of the timeline is {a}, {b} without the disturbance"
        wait_ns = 0 if not a.playing else JUMP_WAIT_NS if begun else START_WAIT_NS
        if not -EARLY_NS_MAX <= late_ns <= order_ns + wait_ns:
            yield f"{name}: record {number} of the timeline begins {late_ns / NS_PER_S:.3f} s later than it would"
        begun = begun or a.playing
    if len(ours) != len(theirs) and not moved:
        yield f"{name}: {len(ours)} records of the timeline, {len(theirs)} without the disturbance"


class _Pair:
    """One listener in both runs."""

    def __init__(
        self, scenario: Scenario, world: World, node: ListenerNode, other: World, its_node: ListenerNode
    ) -> None:
        self._most = scenario.limits.isolation_ns_max
        self._unsure = max(self._most, scenario.limits.calm_error_ns_max or 0)
        self._rate = scenario.stream.rate
        self._world, self._node, self._other, self._its_node = world, node, other, its_node

    def differences(self, *, lucky: bool) -> Iterator[str]:
        """Yield what left its output otherwise."""
        mine, its = self._node.sinks, self._its_node.sinks
        for (session, sink), (its_session, its_sink) in zip(mine.items(), its.items(), strict=False):
            host, its_host = self._world.host_of(session), self._other.host_of(its_session)
            if host is not None and its_host is not None:
                yield from self._sinks(sink, host, its_sink, its_host, lucky=lucky)
        if len(mine) != len(its):
            yield f"{len(mine)} sessions were played, {len(its)} without the disturbance"
        if self._node.dac is not None:
            yield from self._cards(lucky=lucky)

    def _missing(self, what: str, mine: int, its: int, *, lucky: bool) -> Iterator[str]:
        allowed = its * (1 + LUCK_SHARE) + LUCK_S * self._rate
        if mine > allowed if lucky else mine != its:
            yield f"{what} {mine}, {its} without the disturbance"

    def _sinks(
        self, sink: ExactSink, host: HostNode, its_sink: ExactSink, its_host: HostNode, *, lucky: bool
    ) -> Iterator[str]:
        yield from self._missing("silent_frames", sink.silent_frames, its_sink.silent_frames, lucky=lucky)
        if (sink.first_at is None) != (its_sink.first_at is None):
            yield "is heard in one of the two runs only"
        if sink.first_at is None or its_sink.first_at is None:
            return
        for what in () if lucky else ("wrong_frames", "skipped_frames", "repeated_frames", "overrun_frames"):
            yield from self._missing(what, getattr(sink, what), getattr(its_sink, what), lucky=False)
        late = {frame: at - host.play_at(frame) for frame, at in sink.emitted}
        its_late = {frame: at - its_host.play_at(frame) for frame, at in its_sink.emitted}
        if lucky:
            yield from self._in_the_middle(np.array([*late.values()]), np.array([*its_late.values()]))
            return
        waited, its_waited = (
            self._waited_ns(sink, host, self._node),
            self._waited_ns(its_sink, its_host, self._its_node),
        )
        if abs(waited - its_waited) > (JOIN_NS_MAX if sink.first_frame or its_sink.first_frame else self._most):
            first_s = f"{waited / NS_PER_S:.3f} s after it could, {its_waited / NS_PER_S:.3f}"
            yield f"first heard {first_s} without the disturbance"
        both = [abs(late_ns - its_late[frame]) for frame, late_ns in late.items() if frame in its_late]
        if not both or max(both) > self._most:
            apart = f"{max(both)} ns from when they would" if both else "none of them where they would"
            yield f"its frames come {apart} without the disturbance; limit {self._most}"

    @staticmethod
    def _waited_ns(sink: ExactSink, host: HostNode, node: ListenerNode) -> int:
        """Return how long after it could be heard a listener was."""
        return (sink.first_at or 0) - max(node.started_at, _begins_at(host) or 0)

    def _in_the_middle(self, late_ns: NDArray[np.float64], its_ns: NDArray[np.float64]) -> Iterator[str]:
        if not len(late_ns) or not len(its_ns):
            return
        apart_ns = abs(float(np.median(late_ns)) - float(np.median(its_ns)))
        if apart_ns > self._unsure:
            yield f"sounds {apart_ns:.0f} ns from when it would without the disturbance, in the middle"

    def _cards(self, *, lucky: bool) -> Iterator[str]:
        node, its_node = self._node, self._its_node
        missing = [
            sum(stream.playout.concealed_frames for stream in each.streams if stream.playout is not None)
            for each in (node, its_node)
        ]
        yield from self._missing("concealed_frames", missing[0], missing[1], lucky=lucky)
        host, its_host = (
            w.host_of(n.streams[-1].session) if n.streams else None
            for w, n in ((self._world, node), (self._other, its_node))
        )
        if node.dac is None or its_node.dac is None or host is None or its_host is None:
            return
        a, b = heard(node.dac.record, host), heard(its_node.dac.record, its_host)
        begin, its_begin = _begins_at(host), _begins_at(its_host)
        if lucky:
            yield from self._in_the_middle(a.late_ns, b.late_ns)
        elif not len(a.at) or not len(b.at) or begin is None or its_begin is None:
            yield "nothing was heard that could be compared"
        else:  # from the first sample on, as long after the start
            its_late = np.interp(a.at - begin, b.at - its_begin, b.late_ns)
            if (apart_ns := float(np.abs(a.late_ns - its_late).max())) > self._most:
                yield f"sounds {apart_ns:.0f} ns from when it would without the disturbance"
