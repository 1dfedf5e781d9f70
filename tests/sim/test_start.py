"""How soon a listener is ready, whether it then misses anything, and whether all start together."""

import pytest

from radiosync.host.events import SyncGo
from radiosync.listener import stream as listener_stream
from radiosync.sim.link import LinkSettings
from radiosync.sim.run import build, end_ns, run_scenario
from radiosync.sim.scenario import Listeners
from radiosync.units import NS_PER_MS
from radiosync.wire.messages import SyncPhase


def test_over_a_network_like_wifi_nobody_misses_the_first_frame(make_scenario):
    link = LinkSettings(delay_ns=800_000, jitter_ns=500_000)
    scenario = make_scenario(5.0, count=10, link=link, from_first_frame=True)
    assert not run_scenario(scenario, 1).violations


def test_with_five_percent_loss_nobody_misses_the_first_frame(make_scenario):
    scenario = make_scenario(5.0, count=20, link=LinkSettings(loss=0.05), from_first_frame=True)
    violations = [v for seed in (0, 1) for v in run_scenario(scenario, seed).violations]
    assert not violations


ONE_WAY_MS = {"fast": 25, "middle": 100, "slow": 250}


@pytest.fixture
def seeds_example(make_scenario):
    """The seed's example: listeners 50, 200 and 500 ms of round trip away; the music begins when all are ready."""
    listeners = tuple(
        Listeners(name=name, clock_ppm_spread=50.0, up=link, down=link)
        for name, ms in ONE_WAY_MS.items()
        for link in (LinkSettings(delay_ns=ms * NS_PER_MS),)
    )
    return make_scenario(6.0, listeners=listeners, from_first_frame=True)


def test_far_and_near_start_together(seeds_example):
    result = run_scenario(seeds_example, 1)
    assert not result.violations
    host = result.world.hosts[0]
    starts = [sink.first_at for node in result.world.listeners for sink in node.sinks.values()]
    assert len(starts) == 3
    assert max(starts) - min(starts) < NS_PER_MS
    assert all(abs(at - host.play_at(0)) < NS_PER_MS for at in starts)
    (go,) = [event for _, event in host.events if isinstance(event, SyncGo)]
    assert go.reason == "everybody is ready"
    assert go.sync.slowest == "slow"


def test_the_sync_command_names_the_slowest_and_each_knows_what_it_has_to_spare(seeds_example, monkeypatch):
    heard = []
    calculate = listener_stream.calculate_client_sync

    def note(command, latency_ns):
        heard.append((command, latency_ns, calculate(command, latency_ns)))
        return heard[-1][2]

    monkeypatch.setattr(listener_stream, "calculate_client_sync", note)
    world = build(seeds_example, 1)
    world.run(end_ns(seeds_example) - 7_000_000_000)  # before anybody leaves
    rows = {row.report.name: row for row in world.hosts[0].session.listeners}
    assert rows.keys() == ONE_WAY_MS.keys()
    for name, ms in ONE_WAY_MS.items():
        assert rows[name].average_ns == pytest.approx(2 * ms * NS_PER_MS, rel=0.1)
        assert rows[name].echo_ns == pytest.approx(2 * ms * NS_PER_MS, rel=0.1), "as the host measures it"
        assert rows[name].report.down_ns == pytest.approx(ms * NS_PER_MS, rel=0.1)
        assert rows[name].report.up_ns == pytest.approx(ms * NS_PER_MS, rel=0.1)
    orders = [entry for entry in heard if entry[0].phase is SyncPhase.GO]
    assert len(orders) == 2 * len(ONE_WAY_MS), "each twice"
    for command, latency_ns, wait in orders:
        assert command.slowest == "slow"
        assert command.slowest_latency_us == pytest.approx(500_000, rel=0.1)
        assert wait.delay_ns == max(0, command.slowest_latency_us * 1000 - latency_ns)
        assert wait.required_ns == pytest.approx((5_000 + 500) * NS_PER_MS, rel=0.02)
    for node in world.listeners:
        (stream,) = node.streams
        expected_ms = 2 * (ONE_WAY_MS["slow"] - ONE_WAY_MS[node.machine.name])
        assert stream.sync.delay_ns == pytest.approx(expected_ms * NS_PER_MS, rel=0.1, abs=2 * NS_PER_MS)


def test_each_listener_reports_how_unevenly_announcements_reach_it(make_scenario):
    listeners = tuple(
        Listeners(name=name, up=link, down=link)
        for name, ms in {"calm": 0, "rough": 30}.items()
        for link in (LinkSettings(jitter_ns=ms * NS_PER_MS),)
    )
    world = build(make_scenario(60.0, listeners=listeners), 1)
    world.run(60_000_000_000)
    jitter_us = {row.report.name: row.report.jitter_us for row in world.hosts[0].session.listeners}
    assert jitter_us["calm"] < 200
    assert 10_000 < jitter_us["rough"] < 100_000
