"""Which interface and which address are meant, with IPv4 and with IPv6."""

import socket

import pytest

from radiosync.drivers import interfaces as module
from radiosync.drivers.interfaces import Interface, find_address, find_interface, scoped
from radiosync.errors import NetworkError

SITE, LINK = "ff15::5253", "ff02::5253%eth1"
SOURCES = {0: "fd00::2", 1: None, 2: "fd00::1", 3: "fd00::2"}


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there be lo, which does no multicast of IPv6, eth0 and eth1, which the system prefers."""
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(1, "lo"), (2, "eth0"), (3, "eth1")])
    monkeypatch.setattr(module, "_source_v6", lambda index, _group: SOURCES[index])


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("wanted", "group", "host", "expected"),
    [
        ("", SITE, "", "eth1"),
        ("eth0", SITE, "", "eth0"),
        ("fd00::1", SITE, "", "eth0"),
        ("", LINK, "", "eth1"),
        ("eth1", LINK, "", "eth1"),
        ("", SITE, "fe80::9%eth0", "eth0"),
    ],
)
def test_an_interface_of_ipv6_is_found(wanted: str, group: str, host: str, expected: str) -> None:
    found = find_interface(wanted, group, host)
    assert found == Interface(str(SOURCES[found.index]), expected, found.index)


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(("wanted", "group"), [("lo", SITE), ("eth0", LINK), ("fd00::9", SITE), ("wlan7", SITE)])
def test_one_that_cannot_be_meant_is_named_with_those_that_can(wanted: str, group: str) -> None:
    with pytest.raises(NetworkError, match=f"interface {wanted}") as raised:
        find_interface(wanted, group)
    assert "eth0 (fd00::1), eth1 (fd00::2)" in str(raised.value)


def test_without_any_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_source_v6", lambda _index, _group: None)
    with pytest.raises(NetworkError, match="no interface"):
        find_interface("", SITE)


def test_a_host_is_looked_for_where_the_group_is() -> None:
    assert find_address("127.0.0.1", "239.255.1.1") == "127.0.0.1"
    if socket.has_ipv6:
        assert find_address("::1", SITE) == "::1"
    with pytest.raises(NetworkError, match="IPv6"):
        find_address("127.0.0.1", SITE)


def test_a_scope_is_a_name_where_it_has_one() -> None:
    index, name = socket.if_nameindex()[0]
    assert scoped("fe80::1", index) == f"fe80::1%{name}"
    assert scoped(f"fe80::1%{index}", index) == f"fe80::1%{name}"
    assert scoped("fd00::1", 0) == "fd00::1"
    assert scoped("fe80::1", 60_000) == "fe80::1%60000"
