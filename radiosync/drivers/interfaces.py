"""Which network interface to use, by name or by address.

The group decides between IPv4 and IPv6.  Which address of an interface IPv6 would send from is asked of the system, by
connecting a socket to the group: that sends nothing.  A link-local address is only one with its scope, "fe80::1%eth0".
"""

import socket
import struct
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address

from radiosync.errors import NetworkError

_SIOCGIFADDR = 0x8915  # Linux: the address of an interface
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface: its address, its name where that is known, and with IPv6 its number."""

    ip: str
    name: str = ""
    index: int = 0


def is_v6(ip: str) -> bool:
    """Say whether an address is one of IPv6."""
    return ":" in ip


def find_interfaces(wanted: str, group: str) -> tuple[Interface, ...]:
    """Return the interfaces of a host: those named in `wanted`, separated by commas, or the one that leads to `group`.

    Raises NetworkError as `find_interface` does, also for one that is named twice.
    """
    found: dict[str, Interface] = {}
    for name in wanted.split(","):
        interface = find_interface(name.strip(), group)
        if interface.ip in found:
            raise NetworkError(f"interface {name.strip()}: {interface.ip} is named twice; name each interface once")
        found[interface.ip] = interface
    return tuple(found.values())


def find_interface(wanted: str, group: str, host: str = "") -> Interface:
    """Return the interface named `wanted` (a name or one of its addresses), or with "" the one that leads there.

    There is `group`, or `host` where one is given.  Raises NetworkError where there is none, naming those there are.
    """
    if "," in wanted:
        raise NetworkError(f"interface {wanted}: only a host uses several; name one of them with --interface")
    if is_v6(group):
        return _find_v6(wanted or host.partition("%")[2], group)
    if not wanted:
        return _default(host or group)
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


def find_address(host: str, group: str = "") -> str:
    """Return the address of `host`, a name or an address, of the kind that `group` has.

    It is asked once, because asking takes time.  Raises NetworkError where there is none.
    """
    try:
        if not is_v6(group):
            return socket.gethostbyname(host)
        found = socket.getaddrinfo(host, None, socket.AF_INET6, socket.SOCK_DGRAM)[0][4]
        return scoped(str(found[0]), int(found[3]) if len(found) > 3 else 0)
    except (OSError, UnicodeError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or "no name that can be looked up"
        kind = " at an address of IPv6, which the group is of" if is_v6(group) else ""
        raise NetworkError(
            f"host {host}: it can't be found{kind} ({reason}); check the name, or give its address"
        ) from None


def scoped(ip: str, index: int) -> str:
    """Return an address of IPv6 with the name of the interface that it is only valid on, if there is one."""
    ip = ip.partition("%")[0]
    if not index:
        return ip
    try:
        return f"{ip}%{socket.if_indextoname(index)}"
    except OSError:  # it has just gone
        return f"{ip}%{index}"


def _find_v6(wanted: str, group: str) -> Interface:
    """Return the interface for a group of IPv6."""
    scope, there = group.partition("%")[2], _all_v6(group)
    known = ", ".join(f"{each.name} ({each.ip})" for each in there) or "none"
    address = wanted.partition("%")[0] if is_v6(wanted) else ""
    name = "" if address else wanted
    if name and name not in [each for _, each in socket.if_nameindex()]:
        raise NetworkError(f"interface {name}: there is none of this name; those that send to {group}: {known}")
    found = [
        each
        for each in there
        if name in {"", each.name} and scope in {"", each.name} and address in {"", each.ip.partition("%")[0]}
    ]
    if not found:
        where = f"interface {wanted or scope}" if wanted or scope else "no interface"
        raise NetworkError(f"{where}: can't send to the IPv6 group {group}; those that can: {known}")
    first = _source_v6(0, group)  # the system's own choice, where there are several
    return next((each for each in found if each.ip == first), found[0])


def _all_v6(group: str) -> list[Interface]:
    sources = [(name, index, _source_v6(index, group)) for index, name in socket.if_nameindex()]
    return [Interface(ip, name, index) for name, index, ip in sources if ip is not None]


def _source_v6(index: int, group: str) -> str | None:
    """Return the address that an interface (0: whichever) sends to `group` from, if it can."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            if index:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            probe.connect((group.partition("%")[0], 9, 0, index))
            found = probe.getsockname()
            return scoped(str(found[0]), int(found[3]))
    except OSError:
        return None


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
