"""Which network interface to use, by name or by address."""

import socket
import struct
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address

from radiosync.errors import NetworkError

_SIOCGIFADDR = 0x8915  # Linux: the address of an interface
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface: its IPv4 address, and its name where that is known."""

    ip: str
    name: str = ""


def find_interface(wanted: str, group: str) -> Interface:
    """Return the interface named `wanted` (a name or one of its addresses), or with "" the one that leads to `group`.

    Raises NetworkError where there is none, naming those there are.
    """
    if not wanted:
        return _default(group)
    try:
        IPv4Address(wanted)
    except AddressValueError:
        return _by_name(wanted)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((wanted, 0))
        except OSError:
            raise NetworkError(f"interface {wanted}: no interface has this address; there are {_known()}") from None
    return Interface(wanted)


def find_address(host: str) -> str:
    """Return the IPv4 address of `host`, a name or an address; asked once, because asking takes time.

    Raises NetworkError where there is none.
    """
    try:
        return socket.gethostbyname(host)
    except (OSError, UnicodeError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or "no name that can be looked up"
        raise NetworkError(f"host {host}: it can't be found ({reason}); check the name, or give its address") from None


def _default(group: str) -> Interface:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((group, 9))
            return Interface(str(probe.getsockname()[0]))
        except OSError:  # no route: a machine without a network can still play to itself
            return Interface(LOOPBACK)


def _by_name(name: str) -> Interface:
    names = [n for _, n in socket.if_nameindex()]
    if name not in names:
        raise NetworkError(f"interface {name}: there is none of this name; there are {_known()}")
    ip = _address_of(name)
    if ip is None:
        raise NetworkError(f"interface {name}: it has no IPv4 address; bring it up, or name another ({_known()})")
    return Interface(ip, name)


def _address_of(name: str) -> str | None:
    """Return the first IPv4 address of an interface."""
    try:
        import fcntl  # noqa: PLC0415  # Unix only
    except ImportError:
        return LOOPBACK if name.lower().startswith("lo") else None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
        except OSError:
            return None
    return socket.inet_ntoa(answer[20:24])


def _known() -> str:
    found = [f"{n} ({ip})" for _, n in socket.if_nameindex() if (ip := _address_of(n)) is not None]
    return ", ".join(found) or "none that are up"
