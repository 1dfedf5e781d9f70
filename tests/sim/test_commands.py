"""Pause, resume and jumps: everybody stops and goes on at the same frame, at the same instant, sample by sample."""

from itertools import pairwise

import pytest

from radiosync.sim.card import DacSettings
from radiosync.sim.link import LinkSettings
from radiosync.sim.run import run_scenario
from radiosync.sim.scenario import Fault, Listeners, Order, Stream
from radiosync.timeline import PlayState
from radiosync.units import NS_PER_MS, NS_PER_S

LOSSY = LinkSettings(loss=0.05)
LATE_NS = NS_PER_MS  # of an exact sink: clock and loop


def sinks_of(result):
    return [sink for node in result.world.listeners for sink in node.sinks.values()]


def assert_follow_the_records(result):
    """Every sink's blocks end where records end, and begin when and where they begin."""
    host = result.world.hosts[0]
    true = host.machine.clock.true
    heard_from = next(r for r in host.records if r.playing)
    for sink in sinks_of(result):
        assert sink.first_frame == heard_from.media_frame
        begins = [frame for frame, _ in sink.emitted]
        for old, new in pairwise(host.records):
            end = host.session.transport.log.end_frame(old, host.session.format.rate)
            between = [at for frame, at in sink.emitted if frame < end and at >= true(new.effective_at) + LATE_NS]
            assert not between, "nothing of the old record after its end"
            if new.playing:
                begin_at = min(at for frame, at in sink.emitted if frame >= new.media_frame)
                assert abs(begin_at - true(new.effective_at)) < LATE_NS
                assert new.media_frame in begins
            elif old.playing:
                silent = [at for _, at in sink.emitted if at > true(new.effective_at) + LATE_NS]
                resumed_at = next((r.effective_at for r in host.records if r.version > new.version and r.playing), None)
                assert all(resumed_at is not None and at >= true(resumed_at) - LATE_NS for at in silent)
        for frame, at in sink.emitted:
            assert abs(at - host.play_at(frame)) < LATE_NS


def frames_of(sink):
    """Return what a sink was given as stretches without a hole: first frame, and the frame after the last."""
    jumps = dict(sink.source.cuts)
    begins = [frame for frame, _ in sink.emitted]
    begun = [begins[0], *(to for to in sorted(jumps.values()) if to in begins)]
    ended = [*(at for at in sorted(jumps)), sink.next_frame]
    return list(zip(begun, ended, strict=True))


@pytest.mark.parametrize("seed", [1, 2])
def test_a_pause_stops_and_goes_on_at_the_same_frame_for_all(make_scenario, seed):
    orders = (Order(kind="pause", at_s=5.0), Order(kind="resume", at_s=8.0))
    scenario = make_scenario(12.0, count=10, link=LOSSY, orders=orders, extra_s=10.0, from_first_frame=True)
    result = run_scenario(scenario, seed)
    assert not result.violations
    host = result.world.hosts[0]
    assert [r.state for r in host.records] == [
        PlayState.STOPPED,
        PlayState.PLAYING,
        PlayState.PAUSED,
        PlayState.PLAYING,
    ]
    paused, resumed = host.records[2:]
    assert resumed.media_frame == paused.media_frame
    assert resumed.epoch == paused.epoch == 1
    assert host.machine.clock.true(resumed.effective_at) < 9 * NS_PER_S, "within a second of the order"
    assert not host.source.cuts, "no frame is left out"
    assert_follow_the_records(result)


@pytest.mark.parametrize(("kind", "seed"), [("next", 1), ("seek", 2), ("prev", 3)])
def test_a_jump_is_cut_at_the_same_frame_for_all(make_scenario, kind, seed):
    orders = (Order(kind=kind, at_s=5.0, seconds=1.234),)
    stream = Stream(songs_s=(8.0, 4.0))
    scenario = make_scenario(stream=stream, count=10, link=LOSSY, orders=orders, extra_s=9.0, from_first_frame=True)
    result = run_scenario(scenario, seed)
    assert not result.violations
    host = result.world.hosts[0]
    first, second = [r for r in host.records if r.playing]
    assert (first.epoch, second.epoch) == (1, 2)
    assert host.source.source_frame(second.media_frame) == {"next": 64_000, "seek": 9872, "prev": 0}[kind]
    assert host.machine.clock.true(second.effective_at) < 6 * NS_PER_S
    ((end, begin),) = host.source.cuts.items()
    assert begin == second.media_frame
    assert {tuple(frames_of(sink)) for sink in sinks_of(result)} == {((0, end), (begin, host.source.end_frame))}
    assert_follow_the_records(result)


def test_one_order_after_the_other(make_scenario):
    """A pause and a jump while paused; a jump while a jump is being prepared; a stop, and play again."""
    orders = (
        Order(kind="pause", at_s=4.0),
        Order(kind="seek", at_s=5.0, seconds=2.0),
        Order(kind="resume", at_s=6.0),
        Order(kind="next", at_s=8.0),
        Order(kind="next", at_s=8.1),
        Order(kind="stop", at_s=10.0),
        Order(kind="play", at_s=12.0),
        Order(kind="pause", at_s=14.0),
        Order(kind="resume", at_s=14.05),
    )
    stream = Stream(songs_s=(9.0, 7.0, 5.0))
    scenario = make_scenario(stream=stream, count=10, link=LOSSY, orders=orders, extra_s=6.0, from_first_frame=True)
    result = run_scenario(scenario, 3)
    assert not result.violations
    host = result.world.hosts[0]
    played = [host.source.source_frame(r.media_frame) for r in host.records if r.playing]
    assert played[:2] == [0, 16_000]
    assert played[2] == 8000 * 16, "two songs on, since the first jump had not been heard yet"
    assert played[3] == 8000 * 16, "stopped, the song begins anew"
    assert len({tuple(frames_of(sink)) for sink in sinks_of(result)}) == 1
    assert_follow_the_records(result)


def test_who_comes_while_nothing_plays_starts_with_the_others(make_scenario):
    listeners = (
        Listeners(name="early", count=2, up=LOSSY, down=LOSSY),
        Listeners(name="paused", start_s=6.0, up=LOSSY, down=LOSSY),
    )
    orders = (Order(kind="pause", at_s=5.0), Order(kind="resume", at_s=9.0))
    result = run_scenario(make_scenario(12.0, listeners=listeners, orders=orders, extra_s=10.0), 1)
    assert not result.violations
    host = result.world.hosts[0]
    late = next(node for node in result.world.listeners if node.machine.name == "paused")
    (sink,) = late.sinks.values()
    assert sink.first_frame == host.records[-1].media_frame
    assert abs(sink.first_at - host.machine.clock.true(host.records[-1].effective_at)) < LATE_NS


def test_an_outage_during_the_order_costs_nobody_else_anything(make_scenario):
    listeners = (Listeners(name="cut"), Listeners(name="other", count=2))
    fault = Fault(kind="outage", at_s=4.5, for_s=2.0, listeners=("cut",))
    orders = (Order(kind="next", at_s=5.0),)
    stream = Stream(songs_s=(9.0, 6.0))
    scenario = make_scenario(
        stream=stream, listeners=listeners, faults=(fault,), orders=orders, extra_s=8.0, exact_error_ns_p99_max=None,
        complete=False,
    )  # fmt: skip
    result = run_scenario(scenario, 1)
    host = result.world.hosts[0]
    others = [n for n in result.world.listeners if n.machine.name != "cut"]
    (end, begin) = next(iter(host.source.cuts.items()))
    for node in others:
        (sink,) = node.sinks.values()
        assert frames_of(sink) == [(0, end), (begin, host.source.end_frame)]
        assert (sink.wrong_frames, sink.silent_frames, sink.overrun_frames, sink.skipped_frames) == (0, 0, 0, 0)
    (cut,) = (n for n in result.world.listeners if n.machine.name == "cut")
    (sink,) = cut.sinks.values()
    assert sink.next_frame == host.source.end_frame, "it has found the way"


def test_a_resync_of_everybody_is_a_fade_on_cards_and_nothing_in_files(make_scenario):
    listeners = (
        Listeners(name="file", count=3, clock_ppm_spread=50.0, up=LOSSY, down=LOSSY),
        Listeners(name="card", count=2, clock_ppm_spread=50.0, up=LOSSY, down=LOSSY, dac=DacSettings(skew_ppm=40.0)),
    )
    orders = (Order(kind="resync", at_s=5.0), Order(kind="resync", at_s=9.0))
    stream = Stream(channels=2, sample="f32", songs_s=(14.0,))
    scenario = make_scenario(stream=stream, listeners=listeners, orders=orders, from_first_frame=True)
    result = run_scenario(scenario, 1)
    assert not result.violations
    host = result.world.hosts[0]
    first, again = [r for r in host.records if r.playing]
    assert again.repeats(first, 8_000), "one a minute"
    assert not host.source.cuts
    for node in result.world.listeners:
        if node.dac is None:
            (sink,) = node.sinks.values()
            assert (sink.first_frame, sink.next_frame) == (0, host.source.end_frame)
            assert (sink.wrong_frames, sink.silent_frames) == (0, 0)
        else:
            assert node.dac.playout.hard_resyncs == 1
            at = host.machine.clock.true(again.effective_at)
            record = node.dac.record
            around = [
                (when, left * left + right * right)
                for when, left, right in zip(record.at, record.left, record.right, strict=True)
                if abs(when - at) < 50 * NS_PER_MS
            ]
            faded = [when for when, power in around if power < 0.95 * around[0][1]]
            assert len(faded) in (1, 2), "5 ms down, 5 ms up, seen every 10 ms"
            assert all(abs(when - at) < 10 * NS_PER_MS for when in faded)
