"""The judges: each looks at a finished world, whose truth it knows, and yields what is wrong with it."""

from collections.abc import Callable, Iterator
from itertools import combinations

import numpy as np

from radiosync.host.buffers import CHUNKS_AHEAD_MAX
from radiosync.listener.playout import DevicePlayout
from radiosync.sim.devices import ExactSink
from radiosync.sim.measure import Heard, apart_ns, heard, percentile
from radiosync.sim.nodes import HostNode, ListenerNode
from radiosync.sim.scenario import Scenario
from radiosync.sim.world import World
from radiosync.units import NS_PER_S, ns_from_s

TURNS_PER_S_MAX = 1000  # of an event loop, beside one for each arrival; a loop that spins makes 50,000

Judge = Callable[[World, Scenario], Iterator[str]]


def _sinks(world: World) -> Iterator[tuple[ListenerNode, HostNode, ExactSink]]:
    for listener in world.listeners:
        for session, sink in listener.sinks.items():
            host = world.host_of(session)
            if host is not None:
                yield listener, host, sink


def _lossy(scenario: Scenario) -> set[str]:
    """Return the names of the listeners that may be given a lower quality."""
    return {name for group in scenario.listeners if group.lossy for name in group.names}


def _own_host(world: World, scenario: Scenario, listener: ListenerNode) -> HostNode:
    """Return the host that a listener should hear: the one it was told, or where there are two, the one it found."""
    told = scenario.heard_by(listener.machine.name)
    found = world.host_of(listener.streams[-1].session) if listener.streams else None
    if scenario.neighbour is None or told or found is None:
        return world.newest(told or "host")
    return world.newest(found.machine.name)


def right_frames(world: World, scenario: Scenario) -> Iterator[str]:
    """What is emitted is the source, once and in order."""
    lossy = _lossy(scenario)
    for listener, _, sink in _sinks(world):
        name = listener.machine.name
        if sink.wrong_frames and name not in lossy:
            yield f"{name}: {sink.wrong_frames} frames are not the source's"
        if sink.repeated_frames:
            yield f"{name}: {sink.repeated_frames} frames were emitted again"
        if sink.skipped_frames:
            yield f"{name}: {sink.skipped_frames} frames were left out"
        if sink.overrun_frames:
            yield f"{name}: {sink.overrun_frames} frames were emitted that a jump leaves out"


def silent_frames(world: World, scenario: Scenario) -> Iterator[str]:
    """Little enough was missing when it was due."""
    most = scenario.limits.silent_frames_max
    if most is None:
        return
    lossy = _lossy(scenario)
    silent = sum(sink.silent_frames for node, _, sink in _sinks(world) if node.machine.name not in lossy)
    concealed = sum(
        stream.playout.concealed_frames
        for listener in world.listeners
        for stream in listener.streams
        # A lossy frame may be 0 without being silence, but its playout knows what was missing.
        if isinstance(stream.playout, DevicePlayout) or (stream.playout and listener.machine.name in lossy)
    )
    if silent + concealed > most:
        yield f"{silent} frames were silent and {concealed} concealed, more than {most}"


def completeness(world: World, scenario: Scenario) -> Iterator[str]:
    """Who was there heard everything."""
    if not scenario.limits.complete:
        return
    past_end_frames = round(scenario.limits.past_end_s_max * scenario.stream.rate)
    for listener in world.listeners:
        name = listener.machine.name
        if listener.stopped:
            continue
        if listener.dac is not None:
            if not (listener.streams and listener.streams[-1].ended):
                yield f"{name}: did not play to the end"
            continue
        last = _own_host(world, scenario, listener)
        sink = listener.sinks.get(last.session.session)
        if sink is None or sink.first_frame is None:
            yield f"{name}: never played"
        elif not 0 <= sink.next_frame - last.source.end_frame <= past_end_frames:
            yield f"{name}: played to frame {sink.next_frame} of {last.source.end_frame}"
        elif scenario.limits.from_first_frame and sink.first_frame != 0:
            yield f"{name}: began with frame {sink.first_frame}"


def starts(world: World, scenario: Scenario) -> Iterator[str]:
    """Who comes is heard soon, and so is a host that comes back."""
    limits = scenario.limits
    for listener, host, sink in _sinks(world):
        name = listener.machine.name
        if sink.first_at is None:
            continue
        begun_at = max(listener.started_at, host.play_at(0))
        waited_ns = sink.first_at - begun_at
        is_first = host is next(each for each in world.hosts if each.machine is host.machine)
        if limits.start_s_max is not None and is_first and waited_ns > ns_from_s(limits.start_s_max):
            yield f"{name}: first heard {waited_ns / NS_PER_S:.3f} s after its start"
        resumed_ns = sink.first_at - max(listener.started_at, host.started_at)
        resumed = limits.resume_s_max is not None and not is_first
        if resumed and resumed_ns > ns_from_s(limits.resume_s_max or 0.0):
            yield f"{name}: heard the restarted host after {resumed_ns / NS_PER_S:.3f} s"


def exact_times(world: World, scenario: Scenario) -> Iterator[str]:
    """Exact sinks are given their frames at their true play-at."""
    most = scenario.limits.exact_error_ns_p99_max
    if most is None:
        return
    for listener, host, sink in _sinks(world):
        errors = np.array([float(at - host.play_at(frame)) for frame, at in sink.emitted])
        if (error_ns := percentile(errors, 99)) > most:
            yield f"{listener.machine.name}: frames come {error_ns} ns from their play-at (p99), more than {most}"


def _heard(world: World, scenario: Scenario) -> list[tuple[str, Heard]]:
    settle_ns = ns_from_s(scenario.limits.settle_s)
    found = []
    for listener in world.listeners:
        if listener.dac is not None:
            host = _own_host(world, scenario, listener)
            end_at = host.play_at(host.source.end_frame)
            begin_at = max(listener.started_at, host.play_at(0)) + settle_ns
            found.append((listener.machine.name, heard(listener.dac.record, host).between(begin_at, end_at)))
    return found


def dac_times(world: World, scenario: Scenario) -> Iterator[str]:
    """Sound cards emit each frame at its true play-at, and all at the same time."""
    limits = scenario.limits
    if limits.sync_error_ns_p99_max is None and limits.apart_ns_p99_max is None:
        return
    cards = _heard(world, scenario)
    for name, one in cards:
        error_ns = percentile(one.late_ns, 99)
        if not len(one.at):
            yield f"{name}: nothing heard"
        elif limits.sync_error_ns_p99_max is not None and error_ns > limits.sync_error_ns_p99_max:
            yield f"{name}: sounds {error_ns} ns from its play-at (p99), more than {limits.sync_error_ns_p99_max}"
    for (name, one), (other_name, other) in combinations(cards, 2):
        error_ns = percentile(apart_ns(one, other), 99)
        if limits.apart_ns_p99_max is not None and error_ns > limits.apart_ns_p99_max:
            yield f"{name} and {other_name}: {error_ns} ns apart (p99), more than {limits.apart_ns_p99_max}"


def counters(world: World, scenario: Scenario) -> Iterator[str]:
    """Underruns, resyncs and NACKs stay within what the scenario allows."""
    limits = scenario.limits
    playouts = [s.playout for listener in world.listeners for s in listener.streams if s.playout is not None]
    for what, count, most in (
        ("underruns", sum(playout.underruns for playout in playouts), limits.underruns_max),
        ("hard resyncs", sum(playout.hard_resyncs for playout in playouts), limits.hard_resyncs_max),
        ("NACKs", sum(host.session.reception.nacks for host in world.hosts), limits.nacks_max),
    ):
        if most is not None and count > most:
            yield f"{count} {what}, more than {most}"


def loops(world: World, _scenario: Scenario) -> Iterator[str]:
    """No event loop spins."""
    nodes: list[HostNode | ListenerNode] = [*world.hosts, *world.listeners]
    for node in nodes:
        seconds = max(1.0, (world.now - node.started_at) / NS_PER_S)
        turns = node.process.turns - node.process.woken
        if turns > TURNS_PER_S_MAX * seconds:
            yield f"{node.machine.name}: {turns} turns in {seconds:.0f} s for which nothing had arrived"


def bounds(world: World, scenario: Scenario) -> Iterator[str]:
    """No queue has grown beyond what its owner promises, and few have been full."""
    sync = scenario.settings.radio_sync
    for host in world.hosts:
        most_ns = sync.buffer_max_ns(live=scenario.stream.live) + (CHUNKS_AHEAD_MAX + 1) * sync.chunk_ns
        if host.buffered_ns_peak > most_ns:
            yield f"{host.machine.name}: {host.buffered_ns_peak} ns of music read ahead, more than {most_ns}"
    overflows = sum(listener.overflows for listener in world.listeners)
    most = scenario.limits.overflows_max
    if most is not None and overflows > most:
        yield f"{overflows} times a jitter buffer or a list of requests was full, more than {most}"


JUDGES: tuple[Judge, ...] = (
    right_frames,
    silent_frames,
    completeness,
    starts,
    exact_times,
    dac_times,
    counters,
    loops,
    bounds,
)
