"""Five listeners, of whom one runs dry: what the others hear of it, by the policy."""

import pytest

from radiosync.host.events import GroupPaused, GroupResumed
from radiosync.listener.events import MuteChanged
from radiosync.sim.card import DacSettings
from radiosync.sim.link import LinkSettings
from radiosync.sim.measure import heard, percentile
from radiosync.sim.run import run_scenario
from radiosync.sim.scenario import Fault, Listeners, Stream
from radiosync.timeline import PlayState
from radiosync.units import NS_PER_MS, NS_PER_S

LOSSY = LinkSettings(loss=0.02)
SHORT = {"radio_sync.buffer_duration": 6.0}


def five(dac=None, link=LOSSY):
    return (
        Listeners(name="well", count=4, clock_ppm_spread=50.0, up=link, down=link, dac=dac, dac_ppm_spread=40.0),
        Listeners(name="cut", clock_ppm_spread=50.0, up=link, down=link, dac=dac, dac_ppm_spread=40.0),
    )


def nodes_of(result):
    nodes = result.world.listeners
    return [n for n in nodes if n.machine.name != "cut"], next(n for n in nodes if n.machine.name == "cut")


def mutes_of(node):
    return [(at, event.muted) for at, event in node.events if isinstance(event, MuteChanged)]


@pytest.mark.parametrize("kind", ["outage", "outage_down"])
def test_with_mute_nobody_hears_of_the_one_that_runs_dry(make_scenario, kind):
    fault = Fault(kind=kind, at_s=12.0, for_s=12.0, listeners=("cut",))
    scenario = make_scenario(
        40.0, listeners=five(), faults=(fault,), config=SHORT, silent_frames_max=None, from_first_frame=True
    )
    result = run_scenario(scenario, 1)
    assert not result.violations
    well, cut = nodes_of(result)
    host = result.world.hosts[0]
    assert len([r for r in host.records if r.playing]) == 1
    for node in well:
        (sink,) = node.sinks.values()
        assert (sink.first_frame, sink.next_frame) == (0, host.source.end_frame)
        assert (sink.silent_frames, sink.wrong_frames) == (0, 0)
        assert not mutes_of(node)
    (sink,) = cut.sinks.values()
    (muted_at, _), (back_at, _) = mutes_of(cut)
    assert 18 * NS_PER_S < muted_at < 21 * NS_PER_S, "the buffer, and a dry second"
    assert 24 * NS_PER_S < back_at < 27 * NS_PER_S
    dry_s = sink.silent_frames / scenario.stream.rate
    assert dry_s == pytest.approx((back_at - muted_at) / NS_PER_S + 1.0, abs=0.6)
    for frame, at in sink.emitted:
        assert abs(at - host.play_at(frame)) < NS_PER_MS, "silence or music, it is where it should be"


def test_a_card_that_comes_back_is_in_sync_at_once(make_scenario):
    fault = Fault(kind="outage", at_s=15.0, for_s=12.0, listeners=("cut",))
    stream = Stream(channels=2, sample="f32", songs_s=(40.0,))
    scenario = make_scenario(
        stream=stream, listeners=five(DacSettings()), faults=(fault,), config=SHORT, silent_frames_max=None,
        exact_error_ns_p99_max=None,
    )  # fmt: skip
    result = run_scenario(scenario, 2)
    assert not result.violations
    well, cut = nodes_of(result)
    host = result.world.hosts[0]
    for node in well:
        assert node.dac.playout.concealed_frames == node.dac.playout.gaps == 0
        assert node.dac.playout.hard_resyncs == 0
        late_ns = heard(node.dac.record, host).between(15 * NS_PER_S, 40 * NS_PER_S).late_ns
        assert percentile(late_ns, 99) < 100_000
    (_, _), (back_at, muted) = mutes_of(cut)
    assert not muted
    emitted = heard(cut.dac.record, host)
    between = emitted.between(23 * NS_PER_S, 26 * NS_PER_S)
    assert not len(between.at), "silent"
    back = emitted.between(back_at + 300 * NS_PER_MS, back_at + 5 * NS_PER_S)
    assert len(back.at) > 450
    assert percentile(back.late_ns, 99) < 300_000


PAUSE = {
    "radio_sync.underrun_policy": "pause",
    "radio_sync.underrun_share": 0.0,
    "radio_sync.adaptive_quality": False,
} | SHORT
STATES = [PlayState.STOPPED, PlayState.PLAYING, PlayState.PAUSED, PlayState.PLAYING]


def check_all_stop_and_go_on_together(result, nodes):
    """Return how long the pause was: heard by all from the same frame to the same instant."""
    host = result.world.hosts[0]
    assert [r.state for r in host.records] == STATES
    paused, resumed = host.records[2:]
    true = host.machine.clock.true
    assert resumed.media_frame == paused.media_frame
    for node in nodes:
        (sink,) = node.sinks.values()
        before = [frame for frame, at in sink.emitted if at < true(resumed.effective_at) - NS_PER_MS]
        assert max(before) < paused.media_frame
        (went_on_at,) = [at for frame, at in sink.emitted if frame == resumed.media_frame]
        assert abs(went_on_at - true(resumed.effective_at)) < NS_PER_MS
        assert not [at for _, at in sink.emitted if true(paused.effective_at) + NS_PER_MS < at < went_on_at]
    return (resumed.effective_at - paused.effective_at) / NS_PER_S


def test_with_pause_all_stop_for_the_one_that_recovers(make_scenario):
    """A network that brings next to nothing for a while, but orders still."""
    faults = tuple(
        Fault(kind="outage_down", at_s=36.0 + 0.29 * i, for_s=0.27, listeners=("cut",)) for i in range(round(14 / 0.29))
    )

    def run(policy):
        config = PAUSE | {"radio_sync.underrun_policy": policy}
        scenario = make_scenario(
            60.0, listeners=five(), faults=faults, config=config, extra_s=20.0, silent_frames_max=None
        )
        result = run_scenario(scenario, 1)
        assert not result.violations
        well, cut = nodes_of(result)
        for node in well:
            (sink,) = node.sinks.values()
            assert sink.silent_frames == 0
        (sink,) = cut.sinks.values()
        return result, sink.silent_frames / scenario.stream.rate

    result, missed_s = run("pause")
    pause_s = check_all_stop_and_go_on_together(result, result.world.listeners)
    assert 1.0 < pause_s < 9.0
    events = [event for _, event in result.world.hosts[0].events]
    assert [e.names for e in events if isinstance(e, GroupPaused)] == [("cut",)]
    assert [e.left_behind for e in events if isinstance(e, GroupResumed)] == [()]
    result, missed_muted_s = run("mute")
    assert len([r for r in result.world.hosts[0].records if r.playing]) == 1
    assert missed_s < 2.0 < missed_muted_s


@pytest.mark.parametrize("kind", ["outage", "outage_down"])
def test_with_pause_a_network_that_stays_dead_costs_ten_seconds(make_scenario, kind):
    fault = Fault(kind=kind, at_s=38.0, for_s=200.0, listeners=("cut",))
    scenario = make_scenario(
        150.0, listeners=five(), faults=(fault,), config=PAUSE, silent_frames_max=None, complete=False, extra_s=20.0
    )
    result = run_scenario(scenario, 1)
    well, _ = nodes_of(result)
    assert all(violation.startswith("cut: ") for violation in result.violations), "it has not heard of the pause"
    pause_s = check_all_stop_and_go_on_together(result, well)
    assert 8.0 < pause_s <= 10.0
    host = result.world.hosts[0]
    for node in well:
        (sink,) = node.sinks.values()
        assert (sink.first_frame, sink.next_frame) == (0, host.source.end_frame)
        assert (sink.silent_frames, sink.wrong_frames) == (0, 0)
    assert [e.left_behind for _, e in host.events if isinstance(e, GroupResumed)] == [("cut",)]
