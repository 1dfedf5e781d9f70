"""A switch that snoops on IGMP, and nobody who asks for members: who does not report in time is forgotten."""

from dataclasses import replace
from random import Random

import pytest

from radiosync.sim.link import Direction, LinkSettings
from radiosync.sim.network import Network
from radiosync.sim.run import build, run_scenario
from radiosync.sim.scenario import Listeners, Scenario
from radiosync.sim.scheduler import Scheduler
from radiosync.sim.trace import Trace
from radiosync.units import NS_PER_S

GROUP = ("239.1.2.3", 5000)


def test_a_membership_lasts_as_long_as_told_after_the_last_report():
    scheduler = Scheduler()
    network = Network(scheduler, Trace())
    network.membership_ns = 260 * NS_PER_S
    for ip in ("10.0.0.1", "10.0.0.2"):
        network.attach(ip, *(Direction(LinkSettings(), Random(1)) for _ in range(2)))
    sender = network.open("10.0.0.1", 0, lambda: None)
    member = network.open("10.0.0.2", GROUP[1], lambda: None, GROUP[0])
    heard = []
    for second in (1, 259, 261, 300, 558, 560):
        scheduler.at(second * NS_PER_S, lambda second=second: sender.send(bytes([second & 255]), GROUP))
    scheduler.at(299 * NS_PER_S, member.rejoin)
    for until in (2, 260, 262, 301, 559, 561):
        scheduler.run(until * NS_PER_S)
        heard.append(len(list(member.receive())))
    assert heard == [1, 1, 0, 1, 1, 0]


@pytest.fixture
def snooping(scenarios):
    """The scenario file, with a switch that is twice as forgetful, for half the time."""
    whole = Scenario.load(scenarios / "snooping.toml")
    assert whole.membership_s == 260
    return replace(whole.scaled(1, 2.6), membership_s=130)


def test_listeners_report_in_time(snooping):
    assert not run_scenario(snooping, 1).violations


def test_a_host_reports_in_time_too(snooping):
    """Who is out of multicast's reach can only ask the group for a host."""
    far = Listeners(name="far", start_s=140.0, block_ms=100.0, down=LinkSettings(multicast_loss=1.0))
    world = build(replace(snooping, listeners=(far,)), 1)
    world.run(142 * NS_PER_S)
    (node,) = world.listeners
    assert len(node.streams) == 1
