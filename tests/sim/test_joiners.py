"""Who comes while the music plays: how soon it is heard, how true its first frames are, when its buffer is full.

Times are those of the program alone: no interpreter is started and nothing is imported in a virtual second.
"""

import numpy as np
import pytest

from radiosync.sim.card import DacSettings
from radiosync.sim.link import LinkSettings
from radiosync.sim.measure import heard
from radiosync.sim.run import build, run_scenario
from radiosync.sim.scenario import Listeners, Stream
from radiosync.units import NS_PER_MS, NS_PER_S, NS_PER_US

TONES = Stream(channels=2, sample="f32", songs_s=(19.0,))
LIMITS = {"exact_error_ns_p99_max": None, "underruns_max": 0, "hard_resyncs_max": 0}
# A sound card that calls every 50 ms, late by 3 ms in the mean, with stamps that scatter.
CARD = DacSettings(latency_ns=200 * NS_PER_MS, stamp_jitter_ns=15 * NS_PER_US, callback_late_ns=3 * NS_PER_MS)
GLIDE_MAX = 300e-6  # half a cent


def joiners(*, link=None, block_frames=400, count=3):
    link = link or LinkSettings(jitter_ns=50 * NS_PER_US)
    card = DacSettings(
        latency_ns=CARD.latency_ns,
        stamp_jitter_ns=CARD.stamp_jitter_ns,
        callback_late_ns=CARD.callback_late_ns,
        block_frames=block_frames,
    )
    return Listeners(
        name="joiner",
        count=count,
        start_s=4.0,
        start_s_spread=2.0,
        clock_ppm_spread=100.0,
        up=link,
        down=link,
        dac=card,
        dac_ppm_spread=100.0,
    )


def joins(result):
    """Yield of each joiner its name, how soon it was heard in s, and what was."""
    for node in result.world.listeners:
        one = heard(node.dac.record, result.world.hosts[0])
        yield node.machine.name, (int(one.at[0]) - node.started_at) / NS_PER_S, one


def worst_glide(one):
    """Return the greatest slope of the lateness between means of a second, a second apart."""
    seconds = (one.at - one.at[0]) // NS_PER_S
    means = [one.late_ns[seconds == k].mean() for k in range(int(seconds[-1]))]
    return np.abs(np.diff(means)).max() / NS_PER_S


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("block_frames", [80, 400])
def test_a_joiner_is_in_sync_from_its_first_frame_on(make_scenario, seed, block_frames):
    scenario = make_scenario(stream=TONES, listeners=(joiners(block_frames=block_frames),), **LIMITS)
    result = run_scenario(scenario, seed)
    assert not result.violations
    for name, heard_s, one in joins(result):
        assert heard_s < 0.65, f"{name}: 0.15 s of stamps, 0.26 s in the device and the ring, and turns of the loop"
        assert np.abs(one.late_ns).max() < NS_PER_MS, name
        later = one.between(int(one.at[0]) + 10 * NS_PER_S, int(one.at[-1]))
        assert np.abs(later.late_ns).max() < 100 * NS_PER_US, name
        assert worst_glide(one) < GLIDE_MAX, name


@pytest.mark.parametrize("seed", range(2))
def test_where_delays_scatter_a_joiner_waits_until_it_is_in_sync(make_scenario, seed):
    """20 ± 10 ms each way: a second of questions, and not the four after which it would begin anyway."""
    link = LinkSettings(delay_ns=10 * NS_PER_MS, jitter_ns=0, jitter_uniform_ns=20 * NS_PER_MS)
    limits = LIMITS | {"settle_s": 10.0}
    result = run_scenario(make_scenario(stream=TONES, listeners=(joiners(link=link),), **limits), seed)
    assert not result.violations
    for name, heard_s, one in joins(result):
        assert heard_s < 2.2, name
        assert np.abs(one.late_ns[:100]).max() < 1.5 * NS_PER_MS, name
        assert worst_glide(one) < GLIDE_MAX, name


def test_far_away_a_joiner_is_heard_after_a_few_round_trips(make_scenario):
    link = LinkSettings(delay_ns=200 * NS_PER_MS, jitter_ns=50 * NS_PER_US)
    result = run_scenario(make_scenario(stream=TONES, listeners=(joiners(link=link),), **LIMITS), 1)
    assert not result.violations
    for name, heard_s, one in joins(result):
        assert heard_s < 1.8, f"{name}: 0.4 s to be answered, 0.4 s to the first exchange"
        assert np.abs(one.late_ns).max() < NS_PER_MS, name


def test_a_joiner_s_buffer_is_full_within_15_seconds(make_scenario):
    """A stream of more than the least repair rate, so that the backfill's budget is what its share says."""
    stream = Stream(rate=40_000, channels=2, sample="s24", songs_s=(80.0,), dense=True)
    world = build(make_scenario(stream=stream, listeners=(Listeners(name="joiner", start_s=17.0),)), 1)
    world.run(17 * NS_PER_S)
    assert world.hosts[0].session.buffered_ns(world.hosts[0].machine.clock.host(world.now)) > 44 * NS_PER_S
    world.run((17 + 15) * NS_PER_S)
    joiner = world.listeners[0]
    stream_there = joiner.session.stream
    assert stream_there.playout.cursor is not None, "and it plays meanwhile"
    assert stream_there.buffered_ns(joiner.machine.clock.local(world.now)) > 44 * NS_PER_S
    assert stream_there.playout.gaps == 0
