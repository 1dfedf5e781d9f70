"""The sockets of a host: marked as configured, and such that a full one holds up no other."""

import socket
import sys

import pytest

from radiosync.drivers.interfaces import LOOPBACK, Interface
from radiosync.drivers.udp import Port, open_group
from radiosync.units import NS_PER_MS
from radiosync.wire.codec import decode
from radiosync.wire.messages import Announce, Audio

GROUP = "239.255.201.17"
# Linux's default queue sends what lies in a lower band first, always: Documentation of tc-prio, the table "priomap".
BAND_OF_PRIORITY = (1, 2, 2, 2, 1, 2, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1)


def option(port, level, name):
    return port._socket.getsockopt(level, name)


def test_datagrams_are_marked_as_configured(make_host):
    host = make_host(**{"network.dscp_clock": 10, "network.dscp_audio": 12, "network.ttl": 7})
    for port, dscp in (
        (host.ports.ways[0].control, 10),
        (host.ports.ways[0].clock, 10),
        (host.ports.ways[0].audio, 12),
    ):
        assert option(port, socket.IPPROTO_IP, socket.IP_TOS) == dscp << 2
        assert option(port, socket.IPPROTO_IP, socket.IP_MULTICAST_TTL) == 7


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems queue otherwise")
def test_what_is_urgent_overtakes_music_in_the_system_s_own_queue(make_host):
    host = make_host()
    bands = [
        BAND_OF_PRIORITY[option(port, socket.SOL_SOCKET, socket.SO_PRIORITY)]
        for port in (host.ports.ways[0].control, host.ports.ways[0].clock, host.ports.ways[0].audio)
    ]
    assert max(bands[:2]) < bands[2]


class Full:
    """A socket with no room left for sending."""

    def __init__(self, real):
        self._real = real

    def sendto(self, data, to):
        raise BlockingIOError

    def __getattr__(self, name):
        return getattr(self._real, name)


def test_music_that_finds_its_socket_full_holds_up_nothing_urgent(make_host, port):
    """It waits for room, or counts as lost where too much waits; announcements and orders go another way."""
    host = make_host(**{"network.group": GROUP})
    host.ports.ways[0].audio._socket = Full(host.ports.ways[0].audio._socket)
    listener: Port = open_group(Interface(LOOPBACK, "lo"), GROUP, port)
    try:
        for _ in range(5_000):
            host._turn(host._clock.now(), lambda event: None)
            if host.ports.ways[0].music.delayed >= 20:
                break
            host._waiter.wait(5 * NS_PER_MS)
        assert host.ports.ways[0].music.delayed >= 20
        kinds = [type(decode(data)) for data, _ in listener.receive()]
        assert Announce in kinds
        assert Audio not in kinds
        assert host.ports.ways[0].control.send_errors == 0
        assert (
            host.session.sender.counters.symbols_sent == len(host.ports.ways[0].music) + host.ports.ways[0].music.lost
        )
    finally:
        listener.close()
