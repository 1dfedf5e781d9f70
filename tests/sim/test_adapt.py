"""The buffer follows the network: deeper where it fails, and everybody still hears the same at the same time."""

from dataclasses import replace

import pytest

from radiosync.host.events import BufferChanged
from radiosync.sim.card import DacSettings
from radiosync.sim.link import LinkSettings
from radiosync.sim.run import build, end_ns, run_scenario
from radiosync.sim.scenario import Fault, Listeners, Order, Stream
from radiosync.units import NS_PER_MS, NS_PER_S, ns_from_frames

ROUGH = LinkSettings(rough_jitter_ns=60 * NS_PER_MS)  # delays of some 100 ms, up to 300 at times
LIVE = {"radio_sync.buffer_duration": 0.3}
MINUTE = Fault(kind="jitter", at_s=20.0, for_s=60.0)
OUTAGES = tuple(Fault(kind="outage_down", at_s=at_s, for_s=2.5) for at_s in range(10, 120, 9))
SHORT = {"radio_sync.buffer_duration": 2.0}


def changes(world):
    return [(at, event) for at, event in world.hosts[0].events if isinstance(event, BufferChanged)]


def silent_s(world):
    """Return for how long each listener has had silence, until now."""
    return [
        sum(sink.silent_frames for sink in node.sinks.values()) / node.streams[-1].format.rate
        for node in world.listeners
    ]


def live_scenario(make_scenario, config=None, count=3, faults=(MINUTE,), **more):
    return make_scenario(
        110.0,
        link=ROUGH,
        count=count,
        stream=Stream(songs_s=(110.0,), live=True),
        faults=faults,
        config=LIVE | (config or {}),
        silent_frames_max=None,
        **more,
    )


def test_something_live_is_delayed_further_and_the_holes_stop(make_scenario):
    scenario = live_scenario(make_scenario)
    world = build(scenario, 1)
    seen = {}
    for second in range(20, 111):
        world.run(second * NS_PER_S)
        seen[second] = silent_s(world)
    world.run(end_ns(scenario))
    (first_at, first), *_ = found = changes(world)
    assert 20 < first_at / NS_PER_S < 30, "soon"
    assert first.before_ns == 300 * NS_PER_MS
    assert first.depth_ns >= 450 * NS_PER_MS
    assert "room" in first.reason
    assert max(seen[20]) == 0
    last_at, last = found[-1]
    assert last_at < 60 * NS_PER_S, "it is found soon, not tried for ever"
    assert last.depth_ns <= 1_200 * NS_PER_MS
    heard_s = last_at // NS_PER_S + 3  # what had been sent before has been heard, and the silence of the change too
    for before, after in zip(seen[heard_s], seen[80], strict=True):
        assert after - before < 0.1, "of the minute's rest"
    # What a listener has missed in all, and what the changes themselves have cost, is little.
    assert max(seen[110]) < 2.0
    host = world.hosts[0].session
    assert host.transport.live_delay_ns == host.sender.depth_ns == last.depth_ns


@pytest.mark.parametrize("loss", [0.0, 0.03])
def test_everybody_hears_the_right_frames_at_the_right_time_across_the_change(make_scenario, loss):
    """With losses, in particular where the chunks become longer."""
    link = LinkSettings(rough_jitter_ns=60 * NS_PER_MS, loss=loss)
    listeners = (Listeners(name="room", count=3, clock_ppm_spread=50.0, up=link, down=link),)
    scenario = live_scenario(
        make_scenario, listeners=listeners, from_first_frame=True, exact_error_ns_p99_max=3 * NS_PER_MS
    )
    result = run_scenario(scenario, 2)
    assert not result.violations
    assert changes(result.world)
    host = result.world.hosts[0].session
    assert host.counters.source_gaps == 0
    chunk_frames = host.sender.chunk_frames
    assert ns_from_frames(chunk_frames, 8_000) == pytest.approx(host.sender.depth_ns / 10, rel=0.01)
    assert all(node.streams[-1].chunk_frames == chunk_frames for node in result.world.listeners)


def test_sound_cards_stay_together_across_the_change(make_scenario):
    listeners = (
        Listeners(name="room", count=2, clock_ppm_spread=30.0, down=ROUGH, dac=DacSettings(), dac_ppm_spread=50.0),
    )
    scenario = make_scenario(
        listeners=listeners,
        stream=Stream(channels=2, sample="f32", songs_s=(70.0,), live=True),
        faults=(Fault(kind="jitter", at_s=30.0, for_s=25.0),),
        config=LIVE,
        silent_frames_max=None,
        exact_error_ns_p99_max=None,
        sync_error_ns_p99_max=2 * NS_PER_MS,
        apart_ns_p99_max=2 * NS_PER_MS,
    )
    result = run_scenario(scenario, 1)
    assert not result.violations
    assert changes(result.world)


def test_as_deep_as_configured_and_no_deeper(make_scenario):
    result = run_scenario(live_scenario(make_scenario, {"radio_sync.buffer_max": 0.3}), 1)
    assert not result.violations
    assert not changes(result.world)
    assert min(silent_s(result.world)) > 0.2, "which does not help"


def test_few_of_many_do_not_delay_something_live(make_scenario):
    listeners = (
        Listeners(name="bad", clock_ppm_spread=50.0, up=ROUGH, down=ROUGH),
        Listeners(name="good", count=4, clock_ppm_spread=50.0),
    )
    fault = replace(MINUTE, listeners=("bad",))
    result = run_scenario(live_scenario(make_scenario, listeners=listeners, faults=(fault,)), 1)
    assert not changes(result.world)
    bad_s, *good_s = silent_s(result.world)
    assert bad_s > 0
    assert max(good_s) == 0


def test_a_short_buffer_of_files_grows_until_bursts_of_losses_are_outlasted(make_scenario):
    adapted, fixed = (
        build(make_scenario(120.0, faults=OUTAGES, config=SHORT | keys, silent_frames_max=None), 1)
        for keys in ({}, {"radio_sync.buffer_max": 2.0})
    )
    seen = {}
    for second in (60, 120):
        for world in (adapted, fixed):
            world.run(second * NS_PER_S)
        seen[second] = silent_s(adapted), silent_s(fixed)
    assert not changes(fixed)
    assert min(seen[120][1]) > min(seen[60][1]) + 3, "it would go on"
    found = [event for _, event in changes(adapted)]
    assert found[0].before_ns == 2 * NS_PER_S
    assert all("room" in event.reason for event in found)
    assert adapted.hosts[0].session.sender.depth_ns >= 3 * NS_PER_S
    assert max(seen[60][0]) < min(seen[60][1])
    assert seen[120][0] == seen[60][0], "nothing is missing any more"
    assert all(node.streams[-1].buffer_ns >= 3 * NS_PER_S for node in adapted.listeners)
    assert all(node.overflows == 0 for node in adapted.listeners)


def test_a_calm_network_changes_nothing(make_scenario):
    result = run_scenario(make_scenario(90.0, link=LinkSettings(loss=0.02), config=SHORT), 1)
    assert not result.violations
    assert not changes(result.world)


def test_after_the_trouble_it_returns(make_scenario):
    scenario = make_scenario(
        330.0,
        count=1,
        config=SHORT,
        faults=(Fault(kind="outage", at_s=10.0, for_s=4.0),),
        silent_frames_max=None,
    )
    result = run_scenario(scenario, 1)
    assert not result.violations
    steps = [event.depth_ns for _, event in changes(result.world)]
    assert max(steps) > 2 * NS_PER_S
    assert steps[-1] == 2 * NS_PER_S
    assert changes(result.world)[-1][1].reason.startswith("calm for")


def test_something_live_is_nearer_again_after_a_pause_that_follows_a_calm_time(make_scenario):
    scenario = live_scenario(
        make_scenario,
        count=1,
        faults=(Fault(kind="jitter", at_s=10.0, for_s=15.0),),
        orders=(Order(kind="pause", at_s=104.0), Order(kind="resume", at_s=107.0)),
        exact_error_ns_p99_max=3 * NS_PER_MS,
    )
    world = build(scenario, 1)
    world.run(103 * NS_PER_S)
    host = world.hosts[0].session
    assert host.sender.depth_ns > 300 * NS_PER_MS
    world.run(end_ns(scenario))
    assert host.sender.depth_ns == host.transport.live_delay_ns == 300 * NS_PER_MS
    at, back = changes(world)[-1]
    assert 104 < at / NS_PER_S < 107
    assert back.reason.startswith("paused, and calm for ")
    resumed = next(record for record in reversed(world.hosts[0].records) if record.playing)
    ordered_at = world.hosts[0].machine.clock.host(107 * NS_PER_S)
    assert (resumed.effective_at - ordered_at) / NS_PER_S == pytest.approx(0.3, abs=0.4), "no longer the deeper one"
