"""Five listeners, of whom one runs dry: what the others hear of it, by the policy."""

import pytest

from radiosync.listener.events import MuteChanged
from radiosync.sim.devices import DacSettings
from radiosync.sim.measure import heard, percentile
from radiosync.sim.network import LinkSettings
from radiosync.sim.run import run_scenario
from radiosync.sim.scenario import Fault, Listeners, Stream
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
