from radiosync.listener.sync import calculate_client_sync
from radiosync.timeline import PlayState, Timeline
from radiosync.units import NS_PER_MS, NS_PER_S, HostNs, MediaFrame
from radiosync.wire.messages import Sync, SyncPhase

START = HostNs(1_795_000_000 * NS_PER_S)
TIMELINE = Timeline(version=1, epoch=1, state=PlayState.STOPPED, media_frame=MediaFrame(0), effective_at=START)
COMMAND = Sync(
    session=1,
    timeline=TIMELINE,
    phase=SyncPhase.PREPARE,
    target_frame=MediaFrame(4711),
    sync_at=HostNs(START + 700 * NS_PER_MS),
    required_ms=5_500,
    slowest_latency_us=500_000,
    buffer_offset_ms=30_000,
    waiting=1,
    slowest="c",
    reason="",
)


def test_the_seed_s_formula():
    """Three listeners at 50, 200 and 500 ms: the first waits 450 ms for the slowest, the slowest not at all."""
    waits = [calculate_client_sync(COMMAND, ms * NS_PER_MS) for ms in (50, 200, 500, 800)]
    assert [w.delay_ns // NS_PER_MS for w in waits] == [450, 300, 0, 0]
    assert {w.required_ns for w in waits} == {5_500 * NS_PER_MS}, "slowest latency plus safety margin"
    assert {w.start_at for w in waits} == {COMMAND.sync_at}, "the same instant for all"
