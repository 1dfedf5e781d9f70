"""Nothing of a record that is over is played: at exact sinks frame by frame, at cards read from the sound."""

import pytest

from radiosync.sim.card import DacSettings
from radiosync.sim.checkers import Checks
from radiosync.sim.checkers.epochs import EpochChecker
from radiosync.sim.link import LinkSettings
from radiosync.sim.run import build, run_scenario
from radiosync.sim.scenario import Fault, Listeners, Order, Stream
from radiosync.units import NS_PER_MS, NS_PER_S

LOSSY = LinkSettings(loss=0.05)
BLOCK_NS = 10 * NS_PER_MS


def jumping(make_scenario, kind, latency_ms, **more):
    card = DacSettings(skew_ppm=40.0, latency_ns=latency_ms * NS_PER_MS)
    room = Listeners(name="card", clock_ppm_spread=50.0, up=LOSSY, down=LOSSY, dac=card)
    orders = (Order(kind=kind, at_s=4.0, seconds=1.2), Order(kind="resume", at_s=7.0))
    stream = Stream(channels=2, sample="f32", songs_s=(7.0, 2.0))
    config = {"radio_sync.buffer_duration": 3.0}
    return make_scenario(stream=stream, listeners=(room,), orders=orders, config=config, silent_frames_max=None, **more)


@pytest.mark.parametrize(("kind", "latency_ms"), [("next", 5), ("seek", 150), ("pause", 40)])
def test_a_card_plays_nothing_of_a_record_that_is_over(make_scenario, kind, latency_ms):
    assert not run_scenario(jumping(make_scenario, kind, latency_ms), 1).violations


@pytest.fixture
def jumped(make_scenario):
    """Return a finished run with a jump, its checker, and when the record that was left ended."""
    scenario = jumping(make_scenario, "next", 5)
    world = build(scenario, 1)
    checks = Checks(world, scenario)
    world.run(9 * NS_PER_S)
    (checker,) = (each for each in checks.checkers if isinstance(each, EpochChecker))
    (host,), (node,) = world.hosts, world.listeners
    return checker, host, node, host.machine.clock.true(host.records[-1].effective_at)


def play_on(host, node, begin_at, blocks):
    """Let the card emit what the record before the newest would have played, in so many blocks from `begin_at` on."""
    old, dac = host.records[-2], node.dac.record
    first = next(n for n, at in enumerate(dac.at) if at >= begin_at)
    for n in range(first, first + blocks):
        due = old.position_at(host.machine.clock.host(dac.at[n]), 8000)
        dac.left[n], dac.right[n] = map(float, host.source._music(round(due), 1)[0])


@pytest.mark.parametrize(
    ("after_ms", "blocks", "told_late", "seen"),
    [
        (15, 3, False, True),
        (1000, 4, False, True),
        (15, 2, False, False),  # may lie in fades
        (-35, 4, False, False),  # until its end it is right
        (15, 4, True, False),  # what had been rendered sounds
        (800, 4, True, True),
    ],
)
def test_what_is_played_of_a_record_that_is_over_is_seen(jumped, after_ms, blocks, told_late, seen):
    checker, host, node, end_at = jumped
    checker.finish()
    assert not list(checker.complaints())
    if told_late:
        node.told(host.session.session)._told_at[-1] = end_at
    play_on(host, node, end_at + after_ms * NS_PER_MS, blocks)
    checker.finish()
    complaints = list(checker.complaints())
    assert len(complaints) == seen
    assert all("card: record 2 of the timeline is played" in each for each in complaints)


def test_who_is_later_than_can_be_told_apart_is_not_judged(jumped):
    checker, host, node, end_at = jumped
    record = node.dac.record
    play_on(host, node, end_at + 50 * NS_PER_MS, 4)
    record.at[:] = [at + 15 * NS_PER_MS for at in record.at]
    checker.finish()
    assert not list(checker.complaints())


def test_a_card_whose_latency_jumps_is_not_judged(make_scenario, jumped):
    checker, host, node, end_at = jumped
    play_on(host, node, end_at + 50 * NS_PER_MS, 4)
    fault = Fault(kind="card_delay", at_s=1.0, ms=20.0, listeners=("card",))
    checker.scenario = jumping(make_scenario, "next", 5, faults=(fault,))
    checker.finish()
    assert not list(checker.complaints())
