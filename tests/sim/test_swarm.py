"""Parties drawn at random: what must hold always holds."""

import pytest

from radiosync.sim.card import STAMPS
from radiosync.sim.run import run_scenario
from radiosync.sim.scenario import VILLAINS
from radiosync.sim.swarm import draw

SEEDS = (1, 2, 11, 108)  # quick ones, of every kind
FOUND = (9, 1099, 1155, 1220)  # what they once found: SIMULATION.md says what


@pytest.mark.parametrize("seed", SEEDS + FOUND)
def test_the_swarm(seed):
    assert not run_scenario(draw(seed), seed).violations


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
    }
    assert {villain.kind for scenario in drawn for villain in scenario.villains} == set(VILLAINS) - {"impostor"}
    assert {s.listeners[0].dac.stamps for s in drawn if s.listeners[0].dac} == set(STAMPS)
    assert any(scenario.stream.live for scenario in drawn)
    assert all(scenario.calm_from_s for scenario in drawn)


def test_a_seed_draws_the_same_party_again():
    assert draw(5) == draw(5)
    assert draw(5) != draw(6)
