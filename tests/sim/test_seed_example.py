"""Listeners 50, 200 and 500 ms away begin together, by what their sound cards emit; `test_start.py` looks inside."""

from dataclasses import replace

import pytest

from radiosync.sim.measure import heard
from radiosync.sim.run import run_scenario
from radiosync.sim.scenario import Scenario
from radiosync.units import NS_PER_MS

READ_EVERY_NS = 15 * NS_PER_MS  # a sound card's block of 10 ms, of whose frames the first is looked at, and a little


@pytest.fixture(scope="module")
def scenario(scenarios):
    return Scenario.load(scenarios / "seed-example.toml")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_three_begin_within_a_millisecond_by_what_their_cards_emit(scenario, seed):
    result = run_scenario(scenario, seed)
    assert not result.violations
    host = result.world.hosts[0]
    cards = {node.machine.name: heard(node.dac.record, host) for node in result.world.listeners}
    assert cards.keys() == {"fast", "middle", "slow"}
    for name, one in cards.items():
        assert 0 <= one.at[0] - host.play_at(0) < READ_EVERY_NS, f"{name} begins with the first frame"
    begins = [one.late_ns[0] for one in cards.values()]  # of the music they emit, modulo 100 ms
    assert max(begins) - min(begins) < NS_PER_MS
    assert max(abs(late_ns) for late_ns in begins) < NS_PER_MS


def test_the_slow_one_is_not_forgotten_where_the_fast_one_is_ready_before_it_is_known(scenario):
    """They wait for a host that comes later: the slow one's first report takes two round trips."""
    two = tuple(group for group in scenario.listeners if group.name != "middle")
    result = run_scenario(replace(scenario, listeners=two, host=replace(scenario.host, start_s=3.0)), 1)
    assert not result.violations
    host = result.world.hosts[0]
    for node in result.world.listeners:
        assert 0 <= heard(node.dac.record, host).at[0] - host.play_at(0) < READ_EVERY_NS, node.machine.name
