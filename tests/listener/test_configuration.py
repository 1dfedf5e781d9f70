"""Each key that a listener session obeys, by what it does: with the default in its place every test here fails."""

import pytest

from radiosync.clock.dac import DacClock
from radiosync.listener.events import SyncAlarmed
from radiosync.listener.playout import DeviceFormat, DevicePlayout
from radiosync.units import NS_PER_MS


@pytest.mark.parametrize("interval_s", [0.2, 5.0])
def test_ping_interval_is_the_time_between_clock_exchanges(world, interval_s):
    it = world(seconds=60.0, overrides={"radio_sync.ping_interval": interval_s}).run(20)
    before = it.listener.stream.poller.counters.replies
    it.run(30)
    asked = it.listener.stream.poller.counters.replies - before
    assert asked == pytest.approx(30 / interval_s, rel=0.1, abs=1)


class Off(DevicePlayout):
    """A sound device that is out of sync by so much."""

    def __init__(self, stream, error_ns):
        device = DeviceFormat(rate=stream.format.rate, channels=1)
        dac = DacClock(device.rate)
        super().__init__(stream.buffer, stream.schedule, dac, device, resync_ns=5 * NS_PER_MS, gain=1.0)
        self.sync_error_ns = error_ns

    def take(self, now):
        del now


@pytest.mark.parametrize(("tolerance_ms", "error_ms", "alarmed"), [(1.0, 1.5, True), (4.0, 3.0, False)])
def test_sync_tolerance_is_what_counts_as_in_sync(world, tolerance_ms, error_ms, alarmed):
    it = world(seconds=20.0, overrides={"radio_sync.sync_tolerance": tolerance_ms})
    it.attaches = False
    it.run(2)
    it.listener.stream.playout = Off(it.listener.stream, error_ms * NS_PER_MS)
    it.run(3)
    assert any(isinstance(event, SyncAlarmed) for event in it.events) == alarmed


def heard_at(it):
    """Return when the first block was played, by the host's clock, less the first frame's play-at."""
    it.run(3, until=lambda: it.blocks)
    return it.now + it.offset - it.host.transport.newest.play_at(it.blocks[0].frame, it.host.format.rate)


@pytest.mark.parametrize("offset_ms", [-150.0, 250.0])
def test_offset_ms_is_how_much_later_a_listener_plays(world, offset_ms):
    it = world(overrides={"listener.offset_ms": offset_ms})
    assert heard_at(it) == pytest.approx(offset_ms * NS_PER_MS, abs=10 * NS_PER_MS)
