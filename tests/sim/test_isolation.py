"""Who is broken or means harm changes nothing of what all others hear: the same run without them sounds the same."""

from dataclasses import replace

import pytest

from radiosync.sim.card import DacSettings
from radiosync.sim.isolation import alone, differences, disturbances
from radiosync.sim.run import run_scenario
from radiosync.sim.scenario import Fault, Listeners, Scenario, Stream, Villain


@pytest.fixture(scope="module")
def hostile(scenarios):
    return Scenario.load(scenarios / "hostile.toml")


def test_alone_there_is_nobody_who_is_broken_or_means_harm(hostile):
    common = Fault(kind="outage", at_s=1.0, for_s=1.0)
    both = Fault(kind="stall", at_s=1.0, for_s=1.0, listeners=("broken", "room"))
    left = alone(replace(hostile, faults=(*hostile.faults, common, both)))
    assert [group.name for group in left.listeners] == ["room", "lossy"]
    assert left.faults == (common, replace(both, listeners=("room",)))
    assert not left.villains


def test_nobody_hears_of_the_scenario_file_s_villains(hostile):
    result = run_scenario(hostile, 1)
    assert not result.violations
    assert list(disturbances(hostile, 1, result.world)) == []
    assert result.world.hosts[0].session.reception.nacks > 500, "they were at work"


def test_nobody_hears_of_them_on_sound_cards(make_scenario):
    listeners = (
        Listeners(name="card", dac=DacSettings(skew_ppm=30.0)),
        Listeners(name="pulled", start_s=3.0, dac=DacSettings(skew_ppm=-30.0), broken=True),
    )
    faults = (Fault(kind="unplug", at_s=5.0, for_s=1.5, listeners=("pulled",)),)
    scenario = make_scenario(
        stream=Stream(channels=2, sample="f32", songs_s=(8.0,)),
        listeners=listeners,
        faults=faults,
        villains=(Villain(kind="greedy", at_s=2.0, for_s=6.0),),
        config={"radio_sync.buffer_duration": 3.0},
        settle_s=3.0,
        silent_frames_max=None,
    )
    result = run_scenario(scenario, 1)
    assert not result.violations
    without = run_scenario(alone(scenario), 1).world
    assert list(differences(scenario, result.world, without)) == []
    record = without.listeners[0].dac.record
    record.at[:] = [at + 2_000_000 for at in record.at]
    (difference,) = differences(scenario, result.world, without)
    apart_ns = int(difference.partition(" sounds ")[2].split()[0])
    assert 1_000_000 < apart_ns < 3_000_000, "what was moved, and what the two runs differ by anyway"
    without.listeners[0].streams[0].playout._fader.concealed_frames += 1
    assert len(list(differences(scenario, result.world, without))) == 2


def test_what_differs_is_told(make_scenario):
    scenario = make_scenario(3.0, count=1, villains=(Villain(kind="parrot", at_s=1.0, for_s=1.0),))
    world = run_scenario(scenario, 1).world
    (node,), (host,) = world.listeners, world.hosts

    def told():
        return list(disturbances(scenario, 1, world))

    assert not told()
    (sink,) = node.sinks.values()
    sink.silent_frames += 1
    assert told() == ["room: silent_frames 1, 0 without the disturbance"]
    sink.silent_frames -= 1
    frame, at = sink.emitted[3]
    sink.emitted[3] = frame, at + 3_000_000
    (complaint,) = told()
    assert "room: its frames come" in complaint
    sink.emitted[3] = frame, at
    host.records[-1] = replace(host.records[-1], effective_at=host.records[-1].effective_at + 2_000_000)
    (complaint,) = told()
    assert "host: record" in complaint
    host.records.append(host.records[-1])
    (complaint,) = told()
    assert "records of the timeline" in complaint


def test_with_nobody_to_leave_out_nothing_is_run(make_scenario):
    assert list(disturbances(make_scenario(3.0), 1, None)) == []
