"""What a host's loop passes on between its session and its source."""

import pytest

from radiosync.units import NS_PER_MS, NS_PER_S


def turn_until(host, done):
    for _ in range(2000):
        host._turn(host._clock.now(), lambda event: None)
        if done():
            return
        host._waiter.wait(5 * NS_PER_MS)
    raise AssertionError("it never comes")


@pytest.mark.parametrize("depth_s", [1, 4])
def test_chunks_of_another_length_are_read_when_the_buffer_is_another(make_host, depth_s):
    host = make_host(**{"radio_sync.buffer_duration": 2.0})
    sender = host.session.sender
    turn_until(host, lambda: sender.packetizer.next_seq > 2)
    sender.set_depth(depth_s * NS_PER_S)
    lengths = set()

    def longer_or_shorter():
        lengths.update(chunk.header.frames for chunk in sender._prebuffer._chunks)
        return depth_s * 800 in lengths

    turn_until(host, longer_or_shorter)
    assert lengths <= {1600, depth_s * 800}
