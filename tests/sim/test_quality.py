"""A listener behind a narrow link steps down and climbs back, and nobody else notices."""

from dataclasses import replace

import pytest

from radiosync.listener.events import QualityChanged
from radiosync.sim.run import run_scenario
from radiosync.sim.scenario import Scenario

WRAPS_MEANWHILE = (1 << 32) - 100


@pytest.mark.parametrize(("seed", "first_seq"), [(0, 0), (1, WRAPS_MEANWHILE)])
def test_a_throttled_listener_steps_down_without_a_gap_and_climbs_back(scenarios, seed, first_seq):
    scenario = Scenario.load(scenarios / "throttle.toml")
    result = run_scenario(replace(scenario, host=replace(scenario.host, first_seq=first_seq)), seed)
    assert not result.violations
    for node in result.world.listeners:
        changes = [(at, event.tier) for at, event in node.events if isinstance(event, QualityChanged)]
        if node.machine.name != "narrow":
            assert changes == []
            continue
        assert 20e9 < changes[0][0] < 40e9  # within the buffer
        assert changes[0][1] > 0
        assert changes[-1][1] == 0, "it has climbed back"
        assert changes[-1][0] > 60e9
        sink = next(iter(node.sinks.values()))
        assert sink.wrong_frames > 0, "it was given a lower quality"
    host = result.world.hosts[0].session
    assert host.sender.ladder.active == ()
    assert host.sender.counters.tier_symbols_sent > 0
    assert (host.sender.next_seq_sent > 1 << 32) == bool(first_seq)


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_a_link_that_carries_a_quarter_is_left_while_there_is_music_in_hand(scenarios, seed):
    result = run_scenario(Scenario.load(scenarios / "narrow.toml"), seed)
    assert not result.violations
    events = {node.machine.name: [event for _, event in node.events] for node in result.world.listeners}
    assert any(isinstance(event, QualityChanged) for event in events["narrow"])
    assert not any(isinstance(event, QualityChanged) for event in events["free"])
