import errno

import pytest

from radiosync.drivers.interfaces import LOOPBACK, Interface
from radiosync.drivers.send_queue import KEPT_MAX, SendQueue
from radiosync.drivers.udp import open_unicast

LO = Interface(LOOPBACK, "lo")


class Tight:
    """A socket with room for so many datagrams; then sending fails with `error`."""

    def __init__(self, real, room, error):
        self._real, self.room, self.error = real, room, error

    def sendto(self, data, to):
        if self.room <= 0:
            raise self.error
        self.room -= 1
        return self._real.sendto(data, to)

    def __getattr__(self, name):
        return getattr(self._real, name)


@pytest.fixture
def ports():
    pair = [open_unicast(LO, 0, group_ttl=0, dscp=0) for _ in range(2)]
    yield pair
    for port in pair:
        port.close()


def tight(port, room, error):
    port._socket = Tight(port._socket, room, error)
    return port._socket


@pytest.mark.parametrize("error", [BlockingIOError(), OSError(errno.ENOBUFS, "No buffer space available")], ids=repr)
def test_what_finds_the_buffer_full_leaves_later_in_order(ports, error):
    port, other = ports
    queue, sock = SendQueue(port), tight(port, 2, error)
    to = (LOOPBACK, other.port)
    for number in range(6):
        queue.send(b"%d" % number, to)
    assert (len(queue), queue.delayed, queue.lost) == (4, 4, 0)
    sock.room = 3
    queue.flush()
    assert len(queue) == 1
    queue.send(b"6", to)  # not before the one that waits
    sock.room = 10
    queue.flush()
    queue.send(b"7", to)
    assert [data for data, _ in other.receive()] == [b"%d" % number for number in range(8)]
    assert (len(queue), queue.delayed, queue.lost) == (0, 5, 0)


def test_too_much_that_waits_loses_the_newest_and_counts_it(ports):
    port, other = ports
    queue = SendQueue(port)
    tight(port, 0, BlockingIOError())
    for number in range(KEPT_MAX + 3):
        queue.send(b"%d" % number, (LOOPBACK, other.port))
    assert (len(queue), queue.lost) == (KEPT_MAX, 3)


def test_a_network_that_is_down_is_a_loss_and_holds_up_nothing(ports):
    port, other = ports
    queue = SendQueue(port)
    sock = tight(port, 0, OSError(errno.ENETUNREACH, "Network is unreachable"))
    queue.send(b"lost", (LOOPBACK, other.port))
    assert (len(queue), queue.lost) == (0, 1)
    sock.room = 1
    queue.send(b"sent", (LOOPBACK, other.port))
    assert [data for data, _ in other.receive()] == [b"sent"]
