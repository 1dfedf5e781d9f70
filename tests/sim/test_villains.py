"""Who means no good is not heard by anybody else."""

import pytest

from radiosync.host.events import ResyncOrdered
from radiosync.sim.card import DacSettings
from radiosync.sim.run import run_scenario
from radiosync.sim.scenario import VILLAINS, Listeners, Order, Stream, Villain
from radiosync.units import NS_PER_S


@pytest.mark.parametrize("kind", VILLAINS)
def test_nobody_hears_of_a_villain(make_scenario, kind):
    villain = Villain(kind=kind, at_s=0.0, for_s=8.0, rate_per_s=100.0)
    scenario = make_scenario(
        8.0,
        count=1,
        villains=(villain,),
        config={"radio_sync.buffer_duration": 2.0},
        from_first_frame=True,
        extra_s=14.0,
    )  # a start may have to wait for who claims to be nearly ready
    result = run_scenario(scenario, 1)
    assert not result.violations
    host = result.world.hosts[0].session
    if kind == "greedy":
        assert host.reception.nacks > 500
    elif kind in {"liar", "deaf"}:
        assert "".join(str(event) for _, event in result.world.hosts[0].events).count(f"name='{kind}'") > 0
    else:
        heard = result.world.listeners[0].session
        assert host.counters.rejected + heard.rejected + heard.foreign > 100
    if kind == "impostor":
        (stream,) = result.world.listeners[0].streams
        assert min(host.counters.rejected, heard.foreign, stream.poller.counters.unknown) > 20


@pytest.mark.parametrize("kind", ["liar", "deaf"])
def test_what_a_villain_claims_holds_up_nobody(make_scenario, kind):
    orders = (Order(kind="pause", at_s=4.0), Order(kind="resume", at_s=5.0), Order(kind="next", at_s=7.0))
    scenario = make_scenario(
        listeners=(Listeners(name="room", dac=DacSettings(), clock_ppm_spread=50.0),),
        stream=Stream(songs_s=(10.0, 6.0), sample="f32", channels=2),
        villains=(Villain(kind=kind, at_s=0.0, for_s=12.0, rate_per_s=100.0),),
        orders=orders,
        config={"radio_sync.buffer_duration": 2.0},
        complete=False,
        exact_error_ns_p99_max=None,
    )
    result = run_scenario(scenario, 1)
    assert not result.violations
    (host,) = result.world.hosts
    _, begun, paused, resumed, skipped = (
        host.machine.clock.true(record.effective_at) / NS_PER_S for record in host.records[:5]
    )
    assert begun < 1.5
    assert paused < orders[0].at_s + 0.5
    assert resumed < orders[1].at_s + 1.0
    assert skipped < orders[2].at_s + 1.0
    assert not [event for _, event in host.events if isinstance(event, ResyncOrdered)]
