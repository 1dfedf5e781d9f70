"""Run a scenario with a seed, and have it judged."""

import gc
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from radiosync.sim.cast import Cast
from radiosync.sim.checkers import Checks
from radiosync.sim.recorder import Recorder, Write
from radiosync.sim.scenario import Scenario
from radiosync.sim.world import World
from radiosync.units import NS_PER_S, ns_from_s

GARBAGE_OBJECTS = 100_000  # made, between two looks for cycles
STEP_NS = NS_PER_S  # between two reports of progress

Progress = Callable[[float, float], None]
"""Is told how many virtual seconds of how many have passed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a run came to; `world` can be looked at more closely."""

    scenario: Scenario
    seed: int
    violations: tuple[str, ...]
    trace_hash: str
    virtual_s: float
    world: World


def build(scenario: Scenario, seed: int, *, keep_trace: bool = False) -> World:
    """Return the world of a scenario, everything planned and nothing run."""
    world = World(seed, keep_trace=keep_trace)
    if scenario.membership_s is not None:
        world.network.membership_ns = ns_from_s(scenario.membership_s)
    cast = Cast(scenario, world)
    world.at(ns_from_s(scenario.host.start_s), cast.start_host)
    if scenario.neighbour is not None:
        world.at(ns_from_s(scenario.neighbour.start_s), cast.start_neighbour)
    for group in scenario.listeners:
        cast.add(group)
    for fault in scenario.faults:
        cast.plan(fault)
    for villain in scenario.villains:
        cast.invite(villain)
    cast.heal()
    for order in scenario.orders:
        cast.obey(order)
    return world


def end_ns(scenario: Scenario) -> int:
    """Return the true time at which a scenario is over at the latest."""
    starts_s = [scenario.host.start_s]
    # Who can't go on where it was begins anew as well.
    starts_s += [fault.at_s + fault.for_s for fault in scenario.faults if fault.kind in {"host_restart", "host_return"}]
    ends_s = [max(starts_s) + scenario.stream_of(scenario.host).seconds]
    if scenario.neighbour is not None:
        ends_s.append(scenario.neighbour.start_s + scenario.stream_of(scenario.neighbour).seconds)
    lead_s = scenario.settings.host.start_lead
    return ns_from_s(max(ends_s) + lead_s + _later_s(scenario) + scenario.extra_s)


def _planned_ns(scenario: Scenario) -> int:
    """Return the true time from which on nothing is planned any more, and everybody has to be well."""
    plans_s = [scenario.host.start_s, *(group.start_s + group.start_s_spread for group in scenario.listeners)]
    plans_s += [fault.at_s + fault.for_s for fault in scenario.faults]
    plans_s += [villain.at_s + villain.for_s for villain in scenario.villains]
    plans_s += [order.at_s for order in scenario.orders]
    if scenario.neighbour is not None:
        plans_s.append(scenario.neighbour.start_s)
    if scenario.calm_from_s is not None:
        plans_s.append(scenario.calm_from_s + scenario.limits.converge_s_max)
    return ns_from_s(max(plans_s))


def _later_s(scenario: Scenario) -> float:
    """Return how much later the music may end for orders to pause it, and for a host that stands still.

    Live music comes out of a pause by the buffer's depth later, and by as much as that has grown.
    """
    stalls = (fault for fault in scenario.faults if fault.kind in {"host_stall", "host_suspend"})
    live = scenario.stream_of(scenario.host).live
    refilled_s = scenario.settings.radio_sync.buffer_max_ns(live=True) / NS_PER_S if live else 0.0
    seconds, paused_s = sum(fault.for_s for fault in stalls) + refilled_s, None
    for order in sorted(scenario.orders, key=lambda order: order.at_s):
        if order.kind == "pause" and paused_s is None:
            paused_s = order.at_s
        elif order.kind in {"play", "resume"} and paused_s is not None:
            seconds, paused_s = seconds + order.at_s - paused_s + refilled_s, None
    return seconds


def run_scenario(
    scenario: Scenario,
    seed: int,
    *,
    keep_trace: bool = False,
    write: Write | None = None,
    progress: Progress | None = None,
) -> Result:
    """Run a scenario and return what came of it, the violations of its limits among it.

    `write` is given the lines of `radiosync.sim.recorder`.  An exception of any session is a violation too.
    """
    world = build(scenario, seed, keep_trace=keep_trace)
    if write is not None:
        write({"kind": "run", "title": scenario.title, "seed": seed})
        world.watch(Recorder(world, write).look)
    checks = Checks(world, scenario)
    world.watch(checks.look)
    with _garbage_collected_rarely():
        violations = tuple(_run(world, checks, scenario, progress))
    for violation in violations:
        if write is not None:
            write({"kind": "violation", "violation": violation})
    return Result(
        scenario=scenario,
        seed=seed,
        violations=violations,
        trace_hash=world.trace.digest(),
        virtual_s=world.now / NS_PER_S,
        world=world,
    )


@contextmanager
def _garbage_collected_rarely() -> Iterator[None]:
    """Let the interpreter look for cycles less often: a world has few, and to look takes long where it is large."""
    usual = gc.get_threshold()
    gc.set_threshold(GARBAGE_OBJECTS, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def _run(world: World, checks: Checks, scenario: Scenario, progress: Progress | None) -> list[str]:
    """Let a world run to its end, and return what is wrong with it.

    That is a while after the last of its hosts has gone, or when it should have.
    """
    until, planned, gone_at = end_ns(scenario), _planned_ns(scenario), world.now
    try:
        while world.now < min(until, max(gone_at, planned) + ns_from_s(scenario.extra_s)):
            world.run(min(world.now + STEP_NS, until))
            if not all(host.ended for host in world.hosts):
                gone_at = world.now
            if progress is not None:
                progress(world.now / NS_PER_S, until / NS_PER_S)
    except Exception as error:  # whatever it is, it has to be told with the seed
        where = traceback.extract_tb(error.__traceback__)[-1]
        return [f"{where.filename}:{where.lineno} raised {type(error).__name__}: {error}"]
    return list(checks.complaints())
