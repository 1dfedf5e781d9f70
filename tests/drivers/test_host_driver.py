"""What a host's loop passes on between its session and its source."""

import socket

import pytest

from radiosync.drivers import host_driver
from radiosync.drivers.host_driver import CROWD_GATHER_NS, CROWD_PER_S
from radiosync.drivers.loop import StatsFile
from radiosync.drivers.udp import KERNEL_STAMPS
from radiosync.units import NS_PER_MS, NS_PER_S, HostNs
from radiosync.wire import ntp
from radiosync.wire.codec import decode, encode
from radiosync.wire.messages import Announce, Solicit


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


@pytest.fixture
def asker(make_host):
    """A host that has played for a while, and a socket that asks it for the time."""
    host = make_host(**{"radio_sync.buffer_duration": 2.0})
    turn_until(host, lambda: host.session.sender.packetizer.next_seq > 2)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.bind((host.ports.ways[0].interface.ip, 0))
        yield host, asking, (host.ports.ways[0].interface.ip, host.ports.ways[0].clock.port)


def test_who_only_asks_for_the_time_costs_no_turn(asker):
    host, asking, clock = asker
    asked = host.clock_requests
    for _ in range(5):
        asking.sendto(ntp.request(77), clock)
    for _ in range(100):  # the reader may have something to say as well
        host._reader.clear_wake()
        host.ports.ways[0].solicited.receive()  # and so has the group: its own question who else hosts there
        host._wait(host._clock.now() + 20 * NS_PER_MS)
        if host.clock_requests == asked + 5:
            break
    assert host.clock_requests == asked + 5, "answered while the loop waits for something to do"
    assert len(asking.recv(2048)) == 48


def message_of(data):
    return None if len(data) == 48 else decode(data)


def test_what_listeners_say_is_taken_in_while_waiting_and_heeded_at_once(asker):
    host, asking, clock = asker
    asking.sendto(ntp.request(77), clock)
    asking.sendto(b"anything", (host.ports.ways[0].interface.ip, host.ports.ways[0].control.port))
    rejected = host.session.counters.rejected
    for _ in range(100):
        host._reader.clear_wake()
        host.ports.ways[0].solicited.receive()  # and so has the group: its own question who else hosts there
        host._wait(host._clock.now() + 20 * NS_PER_MS)
        if host.session.counters.rejected > rejected:
            break
    assert host.session.counters.rejected == rejected + 1, "taken in without a turn"
    asking.sendto(
        encode(Solicit(session=0, nonce=5)), (host.ports.ways[0].interface.ip, host.ports.ways[0].control.port)
    )
    until = host._clock.now() + 3600 * NS_PER_S
    host._wait(until)
    assert host._clock.now() < until, "a question is answered at once"
    host._turn(host._clock.now(), lambda event: None)
    asking.settimeout(10)
    assert any(isinstance(message_of(asking.recv(2048)), Announce) for _ in range(3))


def test_statistics_that_nobody_reads_are_not_made(make_host, monkeypatch, tmp_path):
    made = []
    monkeypatch.setattr(host_driver.HostDriver, "_write_stats", lambda self, now: made.append(now))
    for stats, count in ((None, 0), (tmp_path / "host.json", 1)):
        host = make_host()
        host._stats = StatsFile(stats)
        host._turn(HostNs(host._stats_at), lambda event: None)
        assert len(made) == count
        host.close()
        made.clear()


@pytest.mark.skipif(not KERNEL_STAMPS, reason="without the kernel's stamps an answer must not wait")
def test_a_crowd_s_questions_are_gathered_and_answered_all_the_same(asker):
    host, asking, clock = asker
    host.clock_requests += CROWD_PER_S + 1
    host._gather()
    asked = host.clock_requests
    asking.sendto(ntp.request(77), clock)
    host._reader.clear_wake()
    host._waiter.wait(0)
    assert not host._waiter.is_ready(host.ports.ways[0].clock), "no wake-up for each of them"
    received_at = host._clock.now()
    for _ in range(100):
        host._reader.clear_wake()
        host.ports.ways[0].solicited.receive()  # and so has the group: its own question who else hosts there
        host._wait(host._clock.now() + 2 * CROWD_GATHER_NS)
        if host.clock_requests > asked:
            break
    answer = ntp.decode(asking.recv(2048))
    came_at, left_at = (ntp.ns_from_timestamp(t) for t in (answer.receive_timestamp, answer.transmit_timestamp))
    assert came_at < received_at + NS_PER_MS, "by the kernel's stamp, not when it was read"
    assert left_at > came_at
    host._gather()
    asking.sendto(ntp.request(78), clock)
    host._waiter.wait(NS_PER_S)
    assert host._waiter.is_ready(host.ports.ways[0].clock), "and no more once they are few"


def test_a_host_s_membership_is_renewed_before_a_switch_forgets_it(make_host, monkeypatch):
    host = make_host()
    rejoined = []
    monkeypatch.setattr(host.ports.ways[0].solicited, "rejoin", lambda: rejoined.append(True))
    now = host._clock.now()
    for seconds in (1, 101, 102, 202):
        host._turn(now + seconds * NS_PER_S, lambda event: None)
    assert len(rejoined) == 2
