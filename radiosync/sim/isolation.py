"""A run again without those who mean no good or are broken: nobody else may have heard that they were there.

Luck is each machine's own, so that whoever is left has the same losses and delays in both runs, as far as it is sent
the same.  What is compared is what left the outputs: the same frames, at the same times within the scenario's limit.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from radiosync.sim.measure import heard
from radiosync.sim.nodes import HostNode, ListenerNode
from radiosync.sim.run import run_scenario
from radiosync.sim.scenario import Scenario
from radiosync.sim.world import World
from radiosync.units import NS_PER_MS, NS_PER_S, ns_from_s

START_NS_MAX = 500 * NS_PER_MS  # a listener's first frame is the first that is whole, which is luck


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


def disturbances(scenario: Scenario, seed: int, world: World) -> Iterator[str]:
    """Run `scenario` alone, and yield what its honest listeners heard otherwise in `world`, which has been run."""
    without = alone(scenario)
    if without == scenario:
        return
    yield from differences(scenario, world, run_scenario(without, seed).world)


def differences(scenario: Scenario, world: World, other: World) -> Iterator[str]:
    """Yield what was heard in `world` otherwise than in `other`, by whoever is in both."""
    most = scenario.limits.isolation_ns_max
    for mine, its in zip(world.hosts, other.hosts, strict=False):
        yield from _timelines(mine, its, most)
    mine_of, its_of = _by_name(world), _by_name(other)
    for name, its_nodes in its_of.items():
        for node, its_node in zip(mine_of.get(name, []), its_nodes, strict=False):
            yield from (f"{name}: {what}" for what in _sinks(node, its_node, most))
            if node.dac is not None:
                yield from (f"{name}: {what}" for what in _cards(world, node, other, its_node, scenario))


def _by_name(world: World) -> dict[str, list[ListenerNode]]:
    found: dict[str, list[ListenerNode]] = {}
    for node in world.listeners:
        found.setdefault(node.machine.name, []).append(node)
    return found


def _timelines(mine: HostNode, its: HostNode, most: int) -> Iterator[str]:
    name = mine.machine.name
    if len(mine.records) != len(its.records):
        yield f"{name}: {len(mine.records)} records of the timeline, {len(its.records)} without the disturbance"
        return
    for number, (a, b) in enumerate(zip(mine.records, its.records, strict=True)):
        apart_ns = abs(a.effective_at - b.effective_at)
        if apart_ns > most or a.media_frame != b.media_frame:
            yield f"{name}: record {number} of the timeline begins {apart_ns / NS_PER_S:.3f} s from where it would"


def _sinks(node: ListenerNode, its_node: ListenerNode, most: int) -> Iterator[str]:
    for sink, other in zip(node.sinks.values(), its_node.sinks.values(), strict=False):
        if sink.first_at is None or other.first_at is None:
            continue
        for what in ("next_frame", "silent_frames", "wrong_frames", "skipped_frames", "repeated_frames"):
            if getattr(sink, what) != getattr(other, what):
                yield f"{what} {getattr(sink, what)}, {getattr(other, what)} without the disturbance"
        if abs(sink.first_at - other.first_at) > START_NS_MAX:
            first_s = [at / NS_PER_S for at in (sink.first_at, other.first_at)]
            yield f"first heard at {first_s[0]:.3f} s, {first_s[1]:.3f} without the disturbance"
        times = dict(other.emitted)
        apart_ns = max((abs(at - times[frame]) for frame, at in sink.emitted if frame in times), default=None)
        if apart_ns is None or apart_ns > most:
            yield f"its frames come {apart_ns} ns from when they would without the disturbance; limit {most}"
    if len(node.sinks) != len(its_node.sinks):
        yield f"{len(node.sinks)} sessions were played, {len(its_node.sinks)} without the disturbance"


def _cards(world: World, node: ListenerNode, other: World, its_node: ListenerNode, scenario: Scenario) -> Iterator[str]:
    mine, its = ([s.playout for s in each.streams if s.playout is not None] for each in (node, its_node))
    missing = [sum(playout.concealed_frames for playout in each) for each in (mine, its)]
    if missing[0] != missing[1]:
        yield f"{missing[0]} frames concealed, {missing[1]} without the disturbance"
    hosts = [w.host_of(n.streams[-1].session) if n.streams else None for w, n in ((world, node), (other, its_node))]
    if node.dac is None or its_node.dac is None or hosts[0] is None or hosts[1] is None:
        return
    a, b = heard(node.dac.record, hosts[0]), heard(its_node.dac.record, hosts[1])
    settled = node.started_at + ns_from_s(scenario.limits.settle_s)
    a = a.between(settled, int(b.at[-1]) if len(b.at) else 0)
    if not len(a.at):
        yield "nothing was heard that could be compared"
        return
    zero = b.at[0]
    apart_ns = float(np.abs(a.late_ns - np.interp(a.at - zero, b.at - zero, b.late_ns)).max())
    if apart_ns > scenario.limits.isolation_ns_max:
        yield f"sounds {apart_ns:.0f} ns from when it would without the disturbance"
