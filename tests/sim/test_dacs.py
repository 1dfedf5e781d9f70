"""Sound cards with crystals of their own: what leaves the converters, measured on what was emitted.

The position is read back from the phase of a tone in the emitted samples, and compared with the host's true timeline;
nothing that the program believes is asked.
"""

import numpy as np
import pytest

from radiosync.sim.card import DacRecord, DacSettings
from radiosync.sim.clocks import ClockSettings
from radiosync.sim.devices import SimSource
from radiosync.sim.link import LinkSettings
from radiosync.sim.measure import heard, percentile
from radiosync.sim.run import run_scenario
from radiosync.sim.scenario import Fault, Listeners, Stream

TONES = Stream(channels=2, sample="f32", songs_s=(45.0,))
LIMITS = {"exact_error_ns_p99_max": None, "underruns_max": 0, "hard_resyncs_max": 0}


def card(name, ppm, *, link=None, start_s=0.0, **settings):
    link = link or LinkSettings()
    clock = ClockSettings(skew_ppm=-ppm)
    return Listeners(
        name=name, start_s=start_s, clock=clock, up=link, down=link, dac=DacSettings(skew_ppm=ppm, **settings)
    )


def heard_by(result, name):
    node = next(node for node in result.world.listeners if node.machine.name == name)
    return heard(node.dac.record, result.world.hosts[-1])


@pytest.mark.parametrize("seed", range(2))
def test_cards_that_drift_are_together(make_scenario, seed):
    listeners = (card("fast", 50.0), card("slow", -50.0, latency_ns=90_000_000))
    limits = LIMITS | {"settle_s": 20.0, "sync_error_ns_p99_max": 50_000, "apart_ns_p99_max": 80_000}
    result = run_scenario(make_scenario(stream=TONES, listeners=listeners, **limits), seed)
    assert not result.violations
    for name in ("fast", "slow"):
        late_ns = heard_by(result, name).between(40_000_000_000, 46_000_000_000).late_ns
        assert percentile(late_ns, 99) < 20_000, "once the start is forgotten, the clock filter's few µs"


def test_the_first_frame_leaves_at_its_play_at(make_scenario):
    stream = Stream(channels=2, sample="f32", songs_s=(3.0,))
    result = run_scenario(make_scenario(stream=stream, listeners=(card("room", 30.0),), **LIMITS), 1)
    assert not result.violations
    host, first = result.world.hosts[0], heard_by(result, "room")
    assert 0 <= first.at[0] - host.play_at(0) < 15_000_000, "within a block, whose first sample is looked at"
    assert abs(first.late_ns[0]) < 200_000
    assert 0 <= host.play_at(host.source.end_frame) - first.at[-1] < 15_000_000


def test_a_card_of_another_rate(make_scenario):
    listeners = (card("same", 40.0), card("other", -40.0, rate=11_025))
    stream = Stream(channels=2, sample="f32", songs_s=(25.0,))
    limits = LIMITS | {"settle_s": 15.0, "sync_error_ns_p99_max": 100_000, "apart_ns_p99_max": 150_000}
    assert not run_scenario(make_scenario(stream=stream, listeners=listeners, **limits), 1).violations


def test_a_card_over_a_network_that_loses_and_jitters(make_scenario):
    bad = LinkSettings(loss=0.05, duplicate=0.02, reorder=0.05, jitter_ns=200_000)
    limits = LIMITS | {"settle_s": 20.0, "sync_error_ns_p99_max": 200_000, "apart_ns_p99_max": 200_000}
    listeners = (card("fast", 50.0, link=bad), card("late", -50.0, link=bad, start_s=4.0))
    assert not run_scenario(make_scenario(stream=TONES, listeners=listeners, **limits), 1).violations


def test_after_a_stall_a_card_is_right_again_at_once(make_scenario):
    stream = Stream(channels=2, sample="f32", songs_s=(25.0,))
    fault = Fault(kind="stall", at_s=12.0, for_s=3.0)
    limits = LIMITS | {"underruns_max": 1, "hard_resyncs_max": 1}
    scenario = make_scenario(stream=stream, listeners=(card("room", 50.0),), faults=(fault,), **limits)
    result = run_scenario(scenario, 1)
    assert not result.violations
    emitted = heard_by(result, "room")
    before, after = (emitted.between(round(a * 1e9), round(b * 1e9)) for a, b in ((10, 12), (15.3, 18)))
    silent = emitted.between(12_400_000_000, 15_000_000_000)
    assert not len(silent.at)
    assert len(after.at) > 250
    assert percentile(after.late_ns, 99) < percentile(before.late_ns, 99) + 50_000


def test_the_ruler_is_exact_to_a_few_nanoseconds(make_scenario):
    """A record made by hand, 123.456 µs late by the host's clock, is measured as that."""
    stream = Stream(channels=2, sample="f32", songs_s=(4.0,))
    result = run_scenario(make_scenario(stream=stream, listeners=(card("room", 0.0),), **LIMITS), 1)
    host = result.world.hosts[0]
    source: SimSource = host.source
    record = DacRecord()
    for frame in range(1000, 30_000, 377):
        left, right = np.float32(source.samples(frame, 1)[0])
        record.at.append(host.play_at(frame) + 123_456)
        record.left.append(float(left))
        record.right.append(float(right))
    late_ns = heard(record, host).late_ns
    assert np.abs(late_ns - 123_456).max() < 10
