"""Each judge complains when it should: of a good run, one thing is spoilt afterwards."""

from dataclasses import replace

import pytest

from radiosync.sim.checkers.outcome import JUDGES
from radiosync.sim.link import LinkSettings
from radiosync.sim.run import run_scenario
from radiosync.sim.scenario import Scenario


def complaints(world, scenario):
    return [complaint for judge in JUDGES for complaint in judge(world, scenario)]


@pytest.fixture
def good(make_scenario):
    scenario = make_scenario(2.0, count=1, from_first_frame=True, start_s_max=2.0, nacks_max=0)
    result = run_scenario(scenario, 1)
    assert not result.violations
    (sink,) = result.world.listeners[0].sinks.values()
    return result.world, scenario, sink


FRAMES = ("wrong", "repeated", "skipped", "overrun", "silent", "first", "next")


@pytest.mark.parametrize("counter", [f"{kind}_frame{'' if kind in {'first', 'next'} else 's'}" for kind in FRAMES])
def test_one_frame_too_many_is_seen(good, counter):
    world, scenario, sink = good
    setattr(sink, counter, getattr(sink, counter) + 1)
    assert len(complaints(world, scenario)) == 1


def test_a_late_start_is_seen(good):
    world, scenario, sink = good
    sink.first_at += 2_100_000_000
    assert len(complaints(world, scenario)) == 1


def test_wrong_times_are_seen(good):
    world, scenario, sink = good
    sink.emitted = [(frame, at + 1_500_000) for frame, at in sink.emitted]
    assert len(complaints(world, scenario)) == 1


def test_a_nack_a_spinning_loop_and_an_overflow_are_seen(good):
    world, scenario, _ = good
    world.hosts[0].session.reception.nacks += 1
    world.hosts[0].process.turns += 100_000
    world.hosts[0].buffered_ns_peak += 48_000_000_000
    world.listeners[0].streams[0].buffer.overflows += 1
    assert len(complaints(world, scenario)) == 4


def test_a_loop_that_turns_for_what_arrives_does_not_spin(good):
    world, scenario, _ = good
    process = world.hosts[0].process
    assert 0 < process.woken < process.turns
    process.turns += 100_000
    process.woken += 100_000
    assert not complaints(world, scenario)


def test_someone_who_never_played_is_seen(make_scenario):
    dead = LinkSettings(outages_ns=((0, 1 << 62),))
    assert run_scenario(make_scenario(2.0, count=1, link=dead), 1).violations == ("room: never played",)


def test_a_sound_card_that_is_late_is_seen(scenarios):
    drift = Scenario.load(scenarios / "drift.toml")
    drift = replace(drift, stream=replace(drift.stream, songs_s=(4.0,)), limits=replace(drift.limits, settle_s=1.0))
    world = run_scenario(drift, 1).world
    assert not complaints(world, drift)
    record = world.listeners[0].dac.record
    record.at[:] = [at + 300_000 for at in record.at]
    assert len(complaints(world, drift)) == 2, "it is late, and apart from the other"
