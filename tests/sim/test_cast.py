"""What goes wrong in a scenario goes wrong where and when it says, and for nobody else."""

from pathlib import Path

import pytest

from radiosync.sim.run import build
from radiosync.sim.scenario import FAULTS, Fault, Listeners
from radiosync.units import NS_PER_S

WINDOW = (3 * NS_PER_S, 5 * NS_PER_S)


@pytest.fixture
def planned(make_scenario):
    """Return a world with a fault of a kind at 3 s for 2 s, at a listener and not at the other."""

    def plan(kind, until_s=0.0, **values):
        listeners = (Listeners(name="hit", offset_s_spread=0.0), Listeners(name="other", offset_s_spread=0.0))
        fault = Fault(kind=kind, at_s=3.0, for_s=2.0, listeners=("hit",), **values)
        world = build(make_scenario(8.0, listeners=listeners, faults=(fault,)), 1)
        world.run(round(until_s * NS_PER_S))
        return world

    return plan


def directions(world, name):
    ip = next(ip for ip, (known, _) in enumerate([("host", 0), ("hit", 0), ("other", 0)], 1) if known == name)
    link = world.network.link(f"10.0.0.{ip}")
    return link.up.settings, link.down.settings


@pytest.mark.parametrize(("kind", "up", "down"), [("outage", 1, 1), ("outage_up", 1, 0), ("outage_down", 0, 1)])
def test_outages_have_a_direction(planned, kind, up, down):
    world = planned(kind)
    assert [d.outages_ns for d in directions(world, "hit")] == [(WINDOW,) * up, (WINDOW,) * down]
    assert all(not d.outages_ns for name in ("other", "host") for d in directions(world, name))


def test_what_is_towards_the_listeners_alone_is_so(planned):
    up, down = directions(planned("no_multicast"), "hit")
    assert (up.multicast_outages_ns, down.multicast_outages_ns) == ((), (WINDOW,))
    up, down = directions(planned("throttle", kbps=300.0), "hit")
    assert (up.throttles_ns, down.throttles_ns) == ((), ((*WINDOW, 300_000),))
    assert [d.rough_ns for d in directions(planned("jitter"), "hit")] == [(WINDOW,)] * 2


@pytest.mark.parametrize(
    ("kind", "values", "machine", "apart_ns"),
    [
        ("clock_step", {"ms": 20.0}, "hit", 20_000_000),
        ("slew", {"ppm": 500.0}, "hit", 1_000_000),
        ("suspend", {}, "hit", -2_000_000_000),
        ("host_clock_step", {"ms": 20.0}, "host", 20_000_000),
        ("host_slew", {"ppm": -500.0}, "host", -1_000_000),
        ("host_suspend", {}, "host", -2_000_000_000),
    ],
)
def test_clocks_are_set_slewed_and_stopped(planned, kind, values, machine, apart_ns):
    usual, world = planned("outage_up", 6.0), planned(kind, 6.0, **values)

    def read(world, name):
        nodes = {node.machine.name: node for node in (*world.hosts, *world.listeners)}
        return nodes[name].machine.clock.reading(world.now)

    for name in ("host", "hit", "other"):
        assert read(world, name) - read(usual, name) == pytest.approx(apart_ns if name == machine else 0, abs=3000)


@pytest.mark.parametrize("kind", ["stall", "host_stall", "suspend", "host_suspend"])
def test_programs_stand_still(planned, kind):
    world = planned(kind, 3.05)
    nodes = {node.machine.name: node for node in (*world.hosts, *world.listeners)}
    before = {name: node.process.turns for name, node in nodes.items()}
    world.run(round(4.95 * NS_PER_S))
    stood = {name for name, node in nodes.items() if node.process.turns == before[name]}
    assert stood == {"host" if kind.startswith("host") else "hit"}
    world.run(6 * NS_PER_S)
    assert all(node.process.turns > before[name] for name, node in nodes.items())


@pytest.mark.parametrize("kind", ["listener_restart", "leave", "host_restart", "host_return"])
def test_programs_go_and_come_back(planned, kind):
    world = planned(kind, 4.0)
    gone = [node.machine.name for node in world.listeners if node.stopped]
    gone += ["host"] * world.hosts[-1].ended
    assert gone == (["host"] if kind.startswith("host") else ["hit"])
    left = any("Left" in type(event).__name__ for _, event in world.hosts[0].events)
    assert left == (kind == "leave"), "with or without a word"
    world.run(8 * NS_PER_S)
    assert not world.hosts[-1].ended
    running = [node.machine.name for node in world.listeners if not node.stopped]
    assert sorted(running) == ["hit", "other"]


def test_a_move_and_a_lost_membership_are_the_listener_s_alone(planned):
    world = planned("address_change", 3.01)
    assert [world.network.address_of(f"10.0.0.{n}") for n in (1, 2, 3)] == ["10.0.0.1", "10.1.0.1", "10.0.0.3"]
    world = planned("membership_lost", 3.01)
    forgotten = [node.machine.name for node in world.listeners if any(p.forgotten for p in node._group_ports.values())]
    assert forgotten == ["hit"]


def test_every_kind_of_fault_is_seen_to_here_or_in_test_card():
    text = Path(__file__).read_text(encoding="utf-8") + (Path(__file__).parent / "test_card.py").read_text("utf-8")
    of_cards = {"unplug": "card.unplug(", "card_delay": "card.delay("}
    assert not [kind for kind in FAULTS if of_cards.get(kind, f'"{kind}"') not in text]
