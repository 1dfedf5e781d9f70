"""A listener whose address changes opens its sockets anew, and loses nothing that it had."""

import socket
import time
from typing import Any

import pytest

from radiosync.config import Config
from radiosync.drivers import listener_driver, roaming
from radiosync.drivers.interfaces import LOOPBACK, Interface
from radiosync.drivers.listener_driver import ListenerDriver
from radiosync.drivers.memory_file import MemoryFile
from radiosync.drivers.udp import open_unicast
from radiosync.errors import NetworkError

GROUP, PORT = "239.255.201.20", 45_460
LO, OTHER = Interface(LOOPBACK, "lo"), Interface("127.0.0.2")
NETWORK = Interface("192.0.2.7")


@pytest.fixture
def driver() -> Any:
    config = Config.load(
        None, {"network.group": GROUP, "network.port": PORT, "network.interface": "lo", "listener.output": "null"}
    )
    driver = ListenerDriver(config, LO, "listener", None, MemoryFile(None, print))
    yield driver
    driver.close()


def finds(monkeypatch: pytest.MonkeyPatch, found: Interface | NetworkError) -> None:
    def find(_wanted: str, _group: str, _host: str) -> Interface:
        if isinstance(found, NetworkError):
            raise found
        return found

    monkeypatch.setattr(roaming, "find_interface", find)


def test_only_another_address_is_a_move(monkeypatch: pytest.MonkeyPatch) -> None:
    finds(monkeypatch, OTHER)
    assert roaming.moved(NETWORK, "", GROUP) == OTHER
    finds(monkeypatch, NETWORK)
    assert roaming.moved(NETWORK, "", GROUP) is None


def test_a_network_that_is_away_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    finds(monkeypatch, NetworkError("interface eth0: it has no IPv4 address"))
    assert roaming.moved(NETWORK, "eth0", GROUP) is None
    finds(monkeypatch, LO)
    assert roaming.moved(NETWORK, "", GROUP) is None, "loopback is what there is without a network"
    assert roaming.moved(NETWORK, "lo", GROUP) == LO


def hears(driver: Any, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Say whether what goes to the group arrives."""
    heard: list[bytes] = []
    monkeypatch.setattr(driver.session, "receive_datagram", lambda data, source, now, **_: heard.append(data))
    sender = open_unicast(LO, 0, group_ttl=0, dscp=0)
    until = time.monotonic() + 2
    while not heard and time.monotonic() < until:
        sender.send(b"to all", (GROUP, PORT))
        driver._turn(listener_driver.local_now(), lambda event: None)
    sender.close()
    return bool(heard)


def test_after_a_move_everything_goes_by_the_new_address(driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    old = {driver._control, driver._time, *driver._group_ports.values()}
    driver._be_calm(True)
    assert driver._move(OTHER)
    assert all(port.fileno() == -1 for port in old), "closed"
    assert hears(driver, monkeypatch)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there:
        there.bind((LOOPBACK, 0))
        there.settimeout(2)
        driver._control.send(b"from", there.getsockname())
        assert there.recvfrom(10)[1][0] == OTHER.ip
    assert driver._own_address == (OTHER.ip, driver._time.port)


def test_an_address_that_can_not_be_used_yet_leaves_everything_as_it_was(
    driver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not driver._move(NETWORK)
    assert driver._interface == LO
    assert hears(driver, monkeypatch)


def test_it_is_looked_for_only_while_nothing_is_heard(driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(listener_driver, "moved", lambda current, wanted, group, host: asked.append(group))
    monkeypatch.setattr(driver.session, "stream", object())
    now = listener_driver.local_now()
    driver.session.reach.begin(now, given=False)
    driver._rejoin(now)
    assert not asked
    driver._rejoin(now + 10**10)
    assert asked == [GROUP]
    driver.session.stream = None
    driver._rejoin(now)
    assert asked == [GROUP, GROUP]


def test_a_group_that_can_not_be_joined_just_now_ends_nothing(driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise NetworkError("group 239.255.201.21: no such device")

    quality = type("Quality", (), {"tiers": (0, 1)})
    monkeypatch.setattr(driver.session, "stream", type("Stream", (), {"quality": quality}))
    monkeypatch.setattr(listener_driver, "open_group", refuse)
    driver._join_tiers()
    assert list(driver._group_ports) == [0]
    monkeypatch.undo()
