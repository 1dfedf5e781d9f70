"""The sessions in virtual time: what listeners emit is the source, in spite of what happens to the network.

Each run is judged by `radiosync.sim.checkers` against its scenario's limits; here is only what a scenario can't say.
"""

import pytest

from radiosync.sim.link import LinkSettings
from radiosync.sim.run import run_scenario
from radiosync.sim.scenario import Fault, Listeners, Scenario, Stream

BAD = LinkSettings(loss=0.05, duplicate=0.02, reorder=0.05, jitter_ns=200_000)


@pytest.mark.parametrize("name", ["clean", "lossy", "outage", "drift", "cheap-cards", "wifi-loaded", "roaming"])
def test_the_scenario_files(scenarios, name):
    result = run_scenario(Scenario.load(scenarios / f"{name}.toml"), 0)
    assert not result.violations


def test_that_numbers_wrap_is_unheard(scenarios):
    result = run_scenario(Scenario.load(scenarios / "wrap.toml"), 1)
    assert not result.violations
    assert result.world.hosts[0].session.sender.next_seq_sent > 1 << 32
    numbers = {node.machine.name: node.streams[0].requests.nacks for node in result.world.listeners}
    assert all(numbers.values()), "everybody had something to ask for"


def test_without_loss_nobody_asks_for_anything(make_scenario):
    result = run_scenario(make_scenario(nacks_max=0, from_first_frame=True, exact_error_ns_p99_max=300_000), 1)
    assert not result.violations
    host = result.world.hosts[0].session
    assert host.sender.counters.repairs_multicast + host.sender.counters.repairs_unicast == 0
    assert host.counters.rejected == 0


@pytest.mark.parametrize("seed", range(3))
def test_five_percent_loss_is_repaired_bit_for_bit(make_scenario, seed):
    result = run_scenario(make_scenario(link=BAD), seed)
    assert not result.violations
    assert all(stream.counters.symbols_repaired > 5 for node in result.world.listeners for stream in node.streams)


@pytest.mark.parametrize(
    "stream",
    [
        Stream(rate=44_100, channels=2, sample="s16", songs_s=(3.3, 2.2)),
        Stream(rate=48_000, channels=1, sample="s24", songs_s=(5.0,)),
    ],
)
@pytest.mark.parametrize("codec", ["pcm", "flac"])
def test_formats_and_codecs(make_scenario, stream, codec):
    scenario = make_scenario(stream=stream, link=BAD, count=1, config={"host.codec": codec})
    assert not run_scenario(scenario, 5).violations


def test_a_late_joiner_is_right_from_its_first_frame(make_scenario):
    late = tuple(Listeners(name=f"late{s}", start_s=s, clock_ppm_spread=50.0) for s in (2.0, 5.1, 11.7, 16.9))
    result = run_scenario(make_scenario(listeners=late, start_s_max=2.0), 1)
    assert not result.violations


def test_a_late_joiner_is_heard_soon_although_much_is_lost(make_scenario):
    late = tuple(Listeners(name=f"late{s}", start_s=s, up=BAD, down=BAD) for s in (2.0, 5.1, 11.7))
    result = run_scenario(make_scenario(listeners=late, start_s_max=3.0), 1)
    assert not result.violations


def test_a_host_that_is_killed_and_restarted_is_followed(make_scenario):
    fault = Fault(kind="host_restart", at_s=8.0, for_s=0.5)
    result = run_scenario(make_scenario(10.0, faults=(fault,), from_first_frame=True, resume_s_max=3.0), 1)
    assert not result.violations
    assert [len(node.sinks) for node in result.world.listeners] == [2, 2, 2]


def test_a_listener_that_is_stopped_for_a_while_catches_up(make_scenario):
    listeners = (Listeners(name="stopped"), Listeners(name="other"))
    fault = Fault(kind="stall", at_s=9.0, for_s=3.0, listeners=("stopped",))
    scenario = make_scenario(listeners=listeners, faults=(fault,), from_first_frame=True, exact_error_ns_p99_max=None)
    result = run_scenario(scenario, 1)
    assert not result.violations
    for node in result.world.listeners:
        (sink,) = node.sinks.values()
        host = result.world.hosts[0]
        late_ns = {frame: at - host.play_at(frame) for frame, at in sink.emitted}
        worst_ns = max(late_ns.values())
        assert worst_ns > 2_900_000_000 if node.machine.name == "stopped" else worst_ns < 1_000_000
        assert max(ns for frame, ns in late_ns.items() if frame > 8000 * 13) < 1_000_000, "in time again afterwards"


def test_a_host_that_is_stopped_for_a_while_is_not_noticed(make_scenario):
    fault = Fault(kind="host_stall", at_s=6.0, for_s=3.0)
    assert not run_scenario(make_scenario(faults=(fault,), from_first_frame=True), 1).violations


def test_an_outage_of_one_listener_is_not_noticed_by_the_others(make_scenario):
    listeners = (Listeners(name="cut"), Listeners(name="other"))
    fault = Fault(kind="outage", at_s=7.0, for_s=8.0, listeners=("cut",))
    scenario = make_scenario(40.0, listeners=listeners, faults=(fault,), from_first_frame=True)
    result = run_scenario(scenario, 1)
    assert not result.violations
    other = next(node for node in result.world.listeners if node.machine.name == "other")
    assert other.streams[0].counters.symbols_lost == 0
    assert other.streams[0].requests.nacks == 0


def test_small_chunks_and_a_short_buffer(make_scenario):
    config = {"radio_sync.buffer_duration": 0.3, "radio_sync.chunk_duration": 0.02}
    result = run_scenario(make_scenario(link=LinkSettings(loss=0.01), config=config), 1)
    assert not result.violations


def test_a_listener_whose_clock_is_ready_late_plays_nevertheless(make_scenario):
    # What came before it was ready must not fill the buffer for ever.
    config = {"radio_sync.buffer_duration": 1.0, "radio_sync.chunk_duration": 0.02}
    rough = LinkSettings(jitter_ns=3_000_000)
    scenario = make_scenario(count=2, link=rough, config=config, exact_error_ns_p99_max=2_000_000)
    result = run_scenario(scenario, 1)
    assert not result.violations
    assert result.world.hosts[0].session.reception.nacks < 30


@pytest.mark.parametrize("outage_s", [1.0, 3.0, 8.0, 13.0])
def test_an_outage_longer_than_the_buffer_costs_no_more_than_itself(make_scenario, outage_s):
    config = {"radio_sync.buffer_duration": 0.5, "radio_sync.chunk_duration": 0.02}
    fault = Fault(kind="outage", at_s=4.0, for_s=outage_s)
    limits = {"silent_frames_max": round(2 * 8000 * (outage_s + 1.5)), "exact_error_ns_p99_max": None}
    result = run_scenario(make_scenario(30.0, count=2, config=config, faults=(fault,), **limits), 1)
    assert not result.violations


def test_repair_goes_on_as_before_after_the_host_has_left_a_gap(make_scenario):
    # From then on every frame is due later than was reckoned before.
    config = {"radio_sync.buffer_duration": 1.0, "radio_sync.chunk_duration": 0.02}
    fault = Fault(kind="host_stall", at_s=5.0, for_s=3.0)
    scenario = make_scenario(30.0, link=LinkSettings(loss=0.05), config=config, faults=(fault,), silent_frames_max=None)
    result = run_scenario(scenario, 1)
    assert not result.violations
    host = result.world.hosts[0]
    assert host.session.counters.source_gaps == 1
    gap_frames = host.source.end_frame - host.source.frames
    for node in result.world.listeners:
        (sink,) = node.sinks.values()
        assert gap_frames <= sink.silent_frames < gap_frames + 8000 * 0.3
