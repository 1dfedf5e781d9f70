"""A host that is killed and comes back in time goes on, and nobody hears that it was gone."""

import pytest

from radiosync.sim.card import DacSettings
from radiosync.sim.checkers.outcome import JUDGES
from radiosync.sim.link import LinkSettings
from radiosync.sim.run import build, end_ns, run_scenario
from radiosync.sim.scenario import Fault, Listeners, Order, Stream
from radiosync.units import NS_PER_S

LOSSY = LinkSettings(loss=0.05)


def returning(*times):
    return tuple(Fault(kind="host_return", at_s=at_s, for_s=for_s) for at_s, for_s in times)


def sessions_of(result):
    return {len(listener.streams) for listener in result.world.listeners}


@pytest.mark.parametrize("link", [LinkSettings(), LOSSY], ids=["clean", "5 % lost"])
def test_a_host_that_comes_back_in_time_is_not_missed(make_scenario, link):
    scenario = make_scenario(
        count=2,
        link=link,
        stream=Stream(songs_s=(5.3, 0.2, 6.1, 15.0)),
        faults=returning((4.0, 3.0), (8.9, 0.4), (15.0, 5.0)),
        config={"radio_sync.buffer_duration": 8.0},
    )
    result = run_scenario(scenario, seed=3)
    assert not result.violations
    assert sessions_of(result) == {1}
    assert len(result.world.hosts) == 1


def test_a_host_that_comes_back_at_another_address_is_not_missed(make_scenario):
    scenario = make_scenario(
        count=2, seconds=16.0, faults=returning((4.0, 2.0)), config={"radio_sync.buffer_duration": 8.0}
    )
    world = build(scenario, 1)
    world.at(5 * NS_PER_S, lambda: world.network.readdress(world.hosts[0].machine.ip, "10.9.0.1"))
    world.run(14 * NS_PER_S)
    assert [stream.control_address[0] for listener in world.listeners for stream in listener.streams] == [
        "10.9.0.1"
    ] * 2
    world.run(end_ns(scenario))
    assert not [violation for judge in JUDGES for violation in judge(world, scenario)]


def test_who_comes_after_the_return_has_the_music_of_before(make_scenario):
    rooms = (Listeners(name="room"), Listeners(name="late", start_s=12.6))
    scenario = make_scenario(seconds=20.0, listeners=rooms, faults=returning((9.0, 3.0)), start_s_max=2.0)
    assert not run_scenario(scenario, seed=1).violations


def test_a_sound_card_plays_on_through_it(make_scenario):
    rooms = (Listeners(name="room", dac=DacSettings(skew_ppm=40.0)), Listeners(name="den", dac=DacSettings()))
    scenario = make_scenario(
        stream=Stream(rate=8_000, channels=2, sample="f32", songs_s=(30.0,)),
        listeners=rooms,
        faults=returning((14.0, 5.0)),
        exact_error_ns_p99_max=None,
        settle_s=10.0,
        apart_ns_p99_max=100_000,
        hard_resyncs_max=0,
        underruns_max=0,
    )
    result = run_scenario(scenario, seed=1)
    assert not result.violations
    assert sessions_of(result) == {1}


@pytest.mark.parametrize("order", ["pause", "next", "seek", "resync"])
def test_orders_of_just_before_are_kept(make_scenario, order):
    orders = (Order(kind=order, at_s=9.0, seconds=5.0), Order(kind="resume", at_s=13.0))
    scenario = make_scenario(
        count=1,
        stream=Stream(songs_s=(12.0, 8.0)),
        orders=orders,
        faults=returning((9.8, 2.0)),
        extra_s=10.0,
        complete=False,
    )
    result = run_scenario(scenario, seed=1)
    assert not result.violations
    assert sessions_of(result) == {1}
    (host,) = result.world.hosts
    assert host.session.finished
    for listener in result.world.listeners:
        (sink,) = listener.sinks.values()
        assert sink.first_frame == 0
        assert sink.next_frame == host.source.end_frame


def test_who_comes_back_too_late_is_another_session(make_scenario):
    scenario = make_scenario(
        seconds=10.0,
        count=1,
        faults=returning((6.0, 6.0)),
        config={"radio_sync.buffer_duration": 4.0},
        silent_frames_max=None,
        complete=False,
    )
    result = run_scenario(scenario, seed=1)
    assert len(result.world.hosts) == 2
    assert sessions_of(result) == {2}
    assert all(host.started_at == at for host, at in zip(result.world.hosts, (0, 12 * NS_PER_S), strict=True))
