"""Who means no good is not heard by anybody else."""

import pytest

from radiosync.sim.run import run_scenario
from radiosync.sim.scenario import VILLAINS, Villain


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
