"""Who is broken or means harm changes nothing of what all others hear: the same run without them sounds the same."""

from dataclasses import replace

import pytest

from radiosync.sim.card import DacSettings
from radiosync.sim.isolation import alone, differences, disturbances, with_one_broken
from radiosync.sim.link import LinkSettings
from radiosync.sim.run import run_scenario
from radiosync.sim.scenario import Fault, Listeners, Scenario, Stream, Villain
from radiosync.timeline import PlayState
from radiosync.units import NS_PER_MS, NS_PER_S


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
    first_at, sink.first_at = sink.first_at, sink.first_at + 2_000_000
    (complaint,) = told()
    assert "room: first heard 0.002 s after it could" in complaint
    sink.first_at = first_at
    begin = host.records[-1]
    host.records[-1] = replace(begin, effective_at=begin.effective_at + 2_000_000)
    complaints = told()
    assert not any("record" in each for each in complaints), "a start may wait"
    assert any("room: its frames come" in each for each in complaints), "and everybody's frames with it"
    host.records[-1] = replace(begin, effective_at=begin.effective_at + 12 * NS_PER_S)
    assert any("host: record 1 of the timeline begins 12.000 s later" in each for each in told())
    host.records[-1] = replace(begin, media_frame=begin.media_frame + 400)
    assert any("host: record 1 of the timeline is Timeline(" in each for each in told())
    host.records[-1] = begin
    host.records.append(replace(begin, version=3, state=PlayState.PAUSED, effective_at=begin.effective_at + NS_PER_S))
    assert any("3 records of the timeline, 2 without" in each for each in told())


def test_all_is_the_same_from_the_first_sample_though_the_start_waited(make_scenario):
    deaf = LinkSettings(loss=0.4)
    for card in (None, DacSettings(skew_ppm=30.0)):
        listeners = (
            Listeners(name="room", count=2, clock_ppm_spread=50.0, dac=card),
            Listeners(name="broken", broken=True, up=deaf, down=deaf, dac=card),
        )
        stream = Stream(channels=2, sample="f32", songs_s=(4.0,)) if card else Stream(songs_s=(4.0,))
        scenario = make_scenario(stream=stream, listeners=listeners, silent_frames_max=None, complete=False)
        world, without = run_scenario(scenario, 1).world, run_scenario(alone(scenario), 1).world
        begins = [w.hosts[0].records[-1].effective_at for w in (world, without)]
        assert begins[0] > begins[1] + 100 * NS_PER_MS, "it was waited for"
        assert list(differences(scenario, world, without)) == []
        node = world.listeners[0]
        if card:
            node.dac.record.at[:] = [at + 2_000_000 for at in node.dac.record.at]
        else:
            (sink,) = node.sinks.values()
            sink.emitted[:] = [(frame, at + 2_000_000) for frame, at in sink.emitted]
        (difference,) = differences(scenario, world, without)
        assert "from when it would" in difference or "from when they would" in difference


def test_luck_is_allowed_to_who_has_troubles_of_its_own(make_scenario):
    lossy = LinkSettings(loss=0.02)
    listeners = (Listeners(name="room", down=lossy), Listeners(name="broken", broken=True, down=lossy))
    scenario = make_scenario(4.0, listeners=listeners)
    world, without = run_scenario(scenario, 1).world, run_scenario(alone(scenario), 1).world
    (sink,) = world.listeners[0].sinks.values()
    sink.silent_frames += round(0.9 * 8000)
    assert list(differences(scenario, world, without)) == []
    sink.silent_frames += round(0.2 * 8000)
    (difference,) = differences(scenario, world, without)
    assert "room: silent_frames 8800, 0 without" in difference
    sink.silent_frames = 0
    sink.emitted[:] = [(frame, at + 2_000_000) for frame, at in sink.emitted]
    (difference,) = differences(scenario, world, without)
    assert "in the middle" in difference


def test_a_drawn_party_has_somebody_to_leave_out(make_scenario):
    scenario = make_scenario(3.0, listeners=(Listeners(name="a"), Listeners(name="b")))
    assert [group.broken for group in with_one_broken(scenario).listeners] == [False, True]
    for enough in (make_scenario(3.0), replace(scenario, villains=(Villain(kind="parrot", at_s=1.0, for_s=1.0),))):
        assert with_one_broken(enough) == enough


def test_with_nobody_to_leave_out_nothing_is_run(make_scenario):
    assert list(disturbances(make_scenario(3.0), 1, None)) == []
