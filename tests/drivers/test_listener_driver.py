"""When a listener's loop wakes up, and in which order a turn does its work."""

import socket
import time
from types import SimpleNamespace
from typing import Any

import pytest

from radiosync.config import Config
from radiosync.drivers import listener_driver, udp
from radiosync.drivers.interfaces import LOOPBACK, Interface
from radiosync.drivers.listener_driver import COLLECT_NS, ListenerDriver
from radiosync.drivers.memory_file import MemoryFile
from radiosync.units import NS_PER_MS, LocalNs

LO = Interface(LOOPBACK, "lo")
NOW = LocalNs(10**15)


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Any:
    config = Config.load(
        None, {"network.group": "239.255.201.19", "network.interface": "lo", "listener.output": "null"}
    )
    driver = ListenerDriver(config, LO, "listener", None, MemoryFile(None, print))
    yield driver
    driver._device = None
    driver.close()


def send(to: int, count: int = 1) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _ in range(count):
            sock.sendto(b"an order", ("127.0.0.1", to))


def test_an_order_is_heard_before_anything_more_is_rendered(driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(driver, "_play", lambda now: done.append("rendered"))
    monkeypatch.setattr(driver.session, "receive_datagram", lambda data, source, now, **_: done.append("heard"))
    send(driver._control.port)
    until = time.monotonic() + 5
    while "heard" not in done and time.monotonic() < until:
        done.clear()
        driver._turn(NOW, lambda event: None)
    assert done == ["heard", "rendered"]


def test_while_all_is_calm_the_device_alone_decides_when_to_wake_up(driver: Any) -> None:
    driver.session.next_timeout = lambda now: LocalNs(now + 1)
    driver._device = SimpleNamespace(next_timeout=lambda now: LocalNs(now + 80 * NS_PER_MS))
    assert driver._wake_at(NOW) == NOW + 1
    driver._collecting = True
    poller = SimpleNamespace(eager=False, next_timeout=lambda: LocalNs(NOW + 30 * NS_PER_MS))
    driver.session.stream = SimpleNamespace(poller=poller)
    assert driver._wake_at(NOW) == NOW + 80 * NS_PER_MS
    poller.eager = True
    assert driver._wake_at(NOW) == NOW + 30 * NS_PER_MS, "but a clock that has to be learnt is asked in time"
    poller.eager = False
    driver._device.next_timeout = lambda now: LocalNs(now + 10**10)
    assert driver._wake_at(NOW) == NOW + COLLECT_NS
    driver.session.stream = None


@pytest.mark.parametrize("kernel_stamps", [True, False])
def test_sockets_are_left_alone_while_all_is_calm(
    driver: Any, monkeypatch: pytest.MonkeyPatch, kernel_stamps: bool
) -> None:
    monkeypatch.setattr(listener_driver, "KERNEL_STAMPS", kernel_stamps)
    watched = {driver._time, driver._control, *driver._group_ports.values()}
    monkeypatch.setattr(driver._waiter, "watch", watched.add)
    monkeypatch.setattr(driver._waiter, "unwatch", watched.remove)
    driver.session.stream = SimpleNamespace(playing_calmly=lambda enough_ns: True)
    driver._collect()
    assert watched == ({driver._control} if kernel_stamps else {driver._control, driver._time})
    driver.session.stream.playing_calmly = lambda enough_ns: False
    driver._collect()
    assert watched == {driver._time, driver._control, *driver._group_ports.values()}
    driver.session.stream = None


def test_what_a_turn_leaves_behind_is_taken_at_once(driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp, "DRAIN_MAX", 4)
    monkeypatch.setattr(listener_driver, "DRAIN_MAX", 4)
    monkeypatch.setattr(driver, "_play", lambda now: None)
    monkeypatch.setattr(driver, "_stats_at", LocalNs(NOW + 1))
    driver._device = SimpleNamespace(next_timeout=lambda now: LocalNs(now + 80 * NS_PER_MS))
    driver._collecting = True
    heard: list[str] = []
    monkeypatch.setattr(driver.session, "receive_datagram", lambda data, source, now, **_: heard.append("heard"))
    send(driver._control.port, 6)
    wakes = []
    until = time.monotonic() + 5
    while len(heard) < 6 and time.monotonic() < until:
        driver._turn(NOW, lambda event: None)
        wakes.append((len(heard), driver._wake_at(NOW)))
    assert wakes[-1] == (6, NOW + 80 * NS_PER_MS)
    assert all(at == NOW for count, at in wakes if count == 4)
