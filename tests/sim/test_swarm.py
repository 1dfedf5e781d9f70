"""Parties drawn at random: what must hold always holds."""

from pathlib import Path

import pytest

from radiosync.sim.card import STAMPS
from radiosync.sim.run import run_scenario
from radiosync.sim.scenario import HOSTS, VILLAINS, Scenario
from radiosync.sim.swarm import draw

SEEDS = (1, 2, 11, 108)  # quick ones, of every kind
FOUND = sorted((Path(__file__).parents[2] / "configs" / "scenarios" / "found").glob("*.toml"))  # see SIMULATION.md


@pytest.mark.parametrize("seed", SEEDS)
def test_the_swarm(seed):
    assert not run_scenario(draw(seed), seed).violations


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.stem)
def test_what_once_was_wrong_is_well(path):
    assert not run_scenario(Scenario.load(path), int(path.stem)).violations


def test_the_swarm_draws_every_kind_of_trouble():
    drawn = [draw(seed) for seed in range(300)]
    kinds = {fault.kind for scenario in drawn for fault in scenario.faults}
    assert kinds >= {
        "outage",
        "stall",
        "suspend",
        "clock_step",
        "slew",
        "unplug",
        "card_delay",
        "leave",
        "address_change",
        "host_slew",
        "host_suspend",
        "host_return",
        "host_restart",
        "throttle",
        "jitter",
    }
    assert {villain.kind for scenario in drawn for villain in scenario.villains} == set(VILLAINS)
    assert {s.listeners[0].dac.stamps for s in drawn if s.listeners[0].dac} == set(STAMPS)
    assert any(scenario.stream.live for scenario in drawn)
    assert any(scenario.host.first_seq for scenario in drawn)
    assert any(scenario.membership_s for scenario in drawn)
    assert all(scenario.calm_from_s for scenario in drawn)
    assert {group.hears for scenario in drawn if scenario.neighbour for group in scenario.listeners} == set(HOSTS[1:])
    assert any(scenario.settings.radio_sync.adaptive_quality for scenario in drawn)


def test_a_longer_party_has_as_much_trouble_for_longer():
    drawn = [draw(seed, listeners=20, minutes=5) for seed in range(100)]
    counts = [sum(group.count for group in scenario.listeners) for scenario in drawn]
    assert 1 == min(counts) < max(counts) == 20
    assert all(group.count >= 1 for scenario in drawn for group in scenario.listeners)
    assert {round(scenario.stream.seconds) for scenario in drawn} >= {300}
    faults = [len(scenario.faults) for scenario in drawn]
    assert max(faults) > 40, "fourteen times as long as a short one, which has up to four"
    assert all(fault.at_s + fault.for_s <= 287.1 for scenario in drawn for fault in scenario.faults)
    assert draw(5, minutes=5) == draw(5, minutes=5) != draw(5)


def test_a_party_too_short_to_end_well_is_refused():
    with pytest.raises(ValueError, match=r"0\.35 minutes"):
        draw(1, minutes=0.2)


def test_a_seed_draws_the_same_party_again():
    assert draw(5) == draw(5)
    assert draw(5) != draw(6)
