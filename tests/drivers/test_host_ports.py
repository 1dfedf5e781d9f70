"""A host on two interfaces: two addresses of the loopback interface stand for them."""

import socket
from collections.abc import Iterator

import pytest

from radiosync.config import NetworkConfig
from radiosync.drivers import host_ports
from radiosync.drivers.host_ports import HostPorts, Way
from radiosync.drivers.interfaces import Interface, find_interface, find_interfaces
from radiosync.drivers.send_queue import KEPT_MAX
from radiosync.drivers.udp import Port
from radiosync.errors import NetworkError
from radiosync.host.sender import Datagram

ONE, OTHER = Interface("127.0.0.1", "lo"), Interface("127.0.0.2", "lo")
GROUP = "239.255.201.17"


@pytest.fixture
def network(port: int) -> NetworkConfig:
    return NetworkConfig(group=GROUP, port=port)


@pytest.fixture
def ports(network: NetworkConfig) -> Iterator[HostPorts]:
    both = HostPorts(network, (ONE, OTHER))
    yield both
    both.close()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(5)
        yield sock


def heard(ports: HostPorts, *, solicited: bool = False) -> list[bytes]:
    for _ in range(1000):
        if came := ports.receive(solicited=solicited):
            return [data for data, _ in came]
    raise AssertionError("nothing came")


@pytest.mark.parametrize("urgent", [True, False])
def test_an_answer_comes_from_where_the_question_went(
    ports: HostPorts, network: NetworkConfig, listener: socket.socket, urgent: bool
) -> None:
    here = listener.getsockname()
    for interface in (OTHER, ONE, OTHER):
        listener.sendto(b"question", (interface.ip, network.control_port))
        assert heard(ports) == [b"question"]
        ports.send(Datagram(b"answer", here, urgent))
        assert listener.recvfrom(100)[1][0] == interface.ip


def test_who_was_never_heard_is_tried_on_the_first(ports: HostPorts, listener: socket.socket) -> None:
    ports.send(Datagram(b"music", listener.getsockname(), False))
    assert listener.recvfrom(100)[1][0] == ONE.ip


@pytest.mark.parametrize("urgent", [True, False])
def test_what_is_for_all_leaves_on_every_interface(
    ports: HostPorts, monkeypatch: pytest.MonkeyPatch, urgent: bool
) -> None:
    sent: list[tuple[Port, tuple[str, int]]] = []
    monkeypatch.setattr(Port, "send", lambda self, data, to: sent.append((self, to)) or True)
    ports.send(Datagram(b"music", None, urgent))
    assert [port for port, _ in sent] == [way.control if urgent else way.audio for way in ports.ways]
    assert {ip for _, (ip, _) in sent} == {GROUP}


def test_a_full_interface_keeps_nothing_from_the_other(ports: HostPorts, monkeypatch: pytest.MonkeyPatch) -> None:
    full, free = ports.ways
    monkeypatch.setattr(full.music, "_had_room", lambda data, to: False)
    for _ in range(300):
        ports.send(Datagram(b"music", None, False))
    assert (len(full.music), len(free.music)) == (KEPT_MAX, 0)
    assert ports.waiting
    assert ports.delayed == len(full.music)
    assert ports.send_errors == 300 - len(full.music)


def test_addresses_are_remembered_only_as_many_as_listeners(ports: HostPorts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_ports, "HEARD_MAX", 3)
    way = ports.ways[1]
    for i in range(5):
        ports._note(f"10.0.0.{i}", way)
    assert list(ports._heard) == ["10.0.0.2", "10.0.0.3", "10.0.0.4"]


def test_a_port_that_is_taken_on_the_second_interface_leaves_the_first_free(network: NetworkConfig) -> None:
    taken = Way(network, OTHER)
    try:
        with pytest.raises(NetworkError, match=r"127\.0\.0\.2.*use --port"):
            HostPorts(network, (ONE, OTHER))
        Way(network, ONE).close()
    finally:
        taken.close()


def test_a_host_may_name_several() -> None:
    assert [each.ip for each in find_interfaces("127.0.0.1, 127.0.0.2", GROUP)] == ["127.0.0.1", "127.0.0.2"]
    assert find_interfaces("lo", GROUP) == (find_interface("lo", GROUP),)


@pytest.mark.parametrize("twice", ["lo,127.0.0.1", "127.0.0.1,127.0.0.1"])
def test_one_that_is_named_twice_is_one_line(twice: str) -> None:
    with pytest.raises(NetworkError, match=r"127\.0\.0\.1.*named twice"):
        find_interfaces(twice, GROUP)


def test_a_listener_has_one() -> None:
    with pytest.raises(NetworkError, match="only a host"):
        find_interface("lo,eth0", GROUP)
