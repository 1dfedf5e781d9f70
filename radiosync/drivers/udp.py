"""UDP sockets: multicast, priorities, big receive buffers, and the kernel's receive stamps.

What the platform decides is decided here.  Linux binds a receiver to the group's own address, which keeps other groups
out; Windows can't, and binds to all.  Several listeners on one machine share a port with SO_REUSEADDR, and on macOS and
BSD with SO_REUSEPORT.
"""

import contextlib
import errno
import socket
import struct
import sys
from typing import Any

from radiosync.drivers.clocks import RealNs, local_from_real, local_now
from radiosync.drivers.interfaces import Interface, is_v6, scoped
from radiosync.errors import NetworkError
from radiosync.units import NS_PER_MS, NS_PER_S, LocalNs

RECEIVE_BYTES = 2048  # longer than any datagram of ours: a longer one is then seen to be too long
RECEIVE_BUFFER = 4 << 20  # 1800 datagrams by Linux's accounting: half a second of the fastest fill
DRAIN_MAX = 64  # datagrams taken per wake-up, so that a flood can't keep the loop from its other work
_SO_TIMESTAMPNS = 35  # Linux on x86 and ARM with 64-bit time; Python has no name for it
_IP_MULTICAST_ALL = 49  # Linux: only the groups this socket joined
_IPV6_MULTICAST_ALL = 29  # likewise
_MEMBERSHIP = {
    socket.AF_INET: (socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.IP_DROP_MEMBERSHIP),
    socket.AF_INET6: (socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.IPV6_LEAVE_GROUP),
}
SCOPES_MAX = 4096  # addresses with a scope whose number is known, as many as listeners; then they are looked up anew
_STAMP = struct.Struct("@qq")
_STAMP_AGE_MAX_NS = 200 * NS_PER_MS  # an older stamp means that the wall clock was stepped meanwhile

LINUX = sys.platform.startswith("linux")
KERNEL_STAMPS = LINUX and sys.maxsize > 2**32


class Port:
    """A bound UDP socket that never blocks."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._scopes: dict[str, tuple[str, int]] | None = {} if sock.family == socket.AF_INET6 else None
        self.send_errors = 0
        self.full = False
        """Whether the last datagram that did not leave found the buffer full."""
        self.kernel_stamped = 0

    def fileno(self) -> int:
        """Return the descriptor, for a selector."""
        return self._socket.fileno()

    @property
    def port(self) -> int:
        """The local port."""
        return int(self._socket.getsockname()[1])

    @property
    def receive_buffer(self) -> int:
        """How many bytes the system lets wait here, by its own accounting."""
        size = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        return size // 2 if LINUX else size  # Linux says twice what was asked for

    def send(self, data: bytes, to: tuple[str, int]) -> bool:
        """Send a datagram; a full buffer or a network that is down is a loss like any other, and is counted."""
        try:
            self._socket.sendto(data, to if self._scopes is None or "%" not in to[0] else self._with_scope(to))
        except OSError as error:
            self.full = error.errno == errno.ENOBUFS or isinstance(error, BlockingIOError)  # the first on BSD and macOS
            self.send_errors += 1
            return False
        return True

    def receive(self) -> list[tuple[bytes, tuple[str, int]]]:
        """Return what has arrived, with where it came from."""
        received = []
        for _ in range(DRAIN_MAX):
            try:
                data, source = self._socket.recvfrom(RECEIVE_BYTES)
            except BlockingIOError:
                break
            except OSError:  # an ICMP error of something sent earlier; what matters arrives anyway
                continue
            received.append((data, _plain(source)))
        return received

    def receive_stamped(self) -> list[tuple[bytes, tuple[str, int], LocalNs]]:
        """Return what has arrived, with where it came from and when: by the kernel's stamp where there is one."""
        received = []
        for _ in range(DRAIN_MAX):
            try:
                data, ancillary, _, source = self._socket.recvmsg(RECEIVE_BYTES, 64)
            except BlockingIOError:
                break
            except OSError:
                continue
            except AttributeError:  # Windows has no recvmsg
                return [(d, s, local_now()) for d, s in self.receive()]
            now = local_now()
            stamped = _kernel_stamp(ancillary)
            if stamped is not None and 0 <= now - stamped < _STAMP_AGE_MAX_NS:
                now = stamped
                self.kernel_stamped += 1
            received.append((data, _plain(source), now))
        return received

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _with_scope(self, to: tuple[str, int]) -> tuple[str, int, int, int]:
        """Return an address with a scope as the system wants it; the names are looked up once."""
        assert self._scopes is not None
        known = self._scopes.get(to[0])
        if known is None:
            if len(self._scopes) >= SCOPES_MAX:
                self._scopes.clear()
            ip, _, scope = to[0].partition("%")
            known = self._scopes[to[0]] = ip, int(scope) if scope.isdecimal() else socket.if_nametoindex(scope)
        return known[0], to[1], 0, known[1]


class GroupPort(Port):
    """A port that is a member of a group on one interface."""

    def __init__(self, sock: socket.socket, membership: bytes) -> None:
        super().__init__(sock)
        self._membership = membership
        self._level, self._join, self._leave = _MEMBERSHIP[sock.family]
        self.failed = 0

    def rejoin(self) -> bool:
        """Leave the group and join it again, which makes the system report its membership; say whether it is a member.

        What has arrived stays, and what arrives between the two calls is lost: some microseconds.  By IGMPv3 Linux then
        reports twice, 12 ms and half a second later, and never says that it left; by IGMPv2 it leaves and, 12 ms later,
        reports.  Another program's membership on the same interface is the system's as well: while there is one,
        nothing is reported.
        """
        with contextlib.suppress(OSError):  # the interface may have been away, and its memberships with it
            self._socket.setsockopt(self._level, self._leave, self._membership)
        try:
            self._socket.setsockopt(self._level, self._join, self._membership)
        except OSError:  # it is away still
            self.failed += 1
            return False
        return True


def _kernel_stamp(ancillary: list[tuple[int, int, bytes]]) -> LocalNs | None:
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS and len(data) >= _STAMP.size:
            seconds, nanoseconds = _STAMP.unpack_from(data)
            return local_from_real(RealNs(seconds * NS_PER_S + nanoseconds))
    return None


def _plain(source: tuple[Any, ...]) -> tuple[str, int]:
    """Return where a datagram came from; a link-local address of IPv6 with its scope."""
    if len(source) == 2 or not source[3]:
        return str(source[0]), int(source[1])
    return scoped(str(source[0]), int(source[3])), int(source[1])


def _new_socket(interface: Interface, dscp: int) -> socket.socket:
    v6 = is_v6(interface.ip)
    sock = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    if v6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    with contextlib.suppress(OSError, AttributeError):  # Windows ignores it, some containers refuse it
        if v6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, dscp << 2)
        else:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)
    return sock


def open_unicast(interface: Interface, port: int, *, group_ttl: int, dscp: int, stamps: bool = False) -> Port:
    """Open a socket on `interface` that sends to groups through it too; port 0 takes any.

    Raises NetworkError where the port is taken.
    """
    sock = _new_socket(interface, dscp)
    try:
        if is_v6(interface.ip):
            ip, _, scope = interface.ip.partition("%")
            sock.bind((ip, port, 0, interface.index if scope else 0))
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, interface.index)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, group_ttl)
        else:
            sock.bind((interface.ip, port))
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(interface.ip))
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, group_ttl)
        if stamps and KERNEL_STAMPS:
            sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    except OSError as error:
        sock.close()
        raise NetworkError(
            f"UDP port {port} on {interface.ip}: {error.strerror}; another radiosync host may run here, use --port"
        ) from None
    return Port(sock)


def open_group(interface: Interface, group: str, port: int) -> GroupPort:
    """Join `group` on `interface` and receive what is sent to it on `port`; several programs may.

    Raises NetworkError where the interface can't.
    """
    sock = _new_socket(interface, 0)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "SO_REUSEPORT") and not LINUX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        address = group.partition("%")[0]
        if is_v6(address):
            sock.bind(("" if sys.platform == "win32" else address, port, 0, interface.index))
            membership = socket.inet_pton(socket.AF_INET6, address) + struct.pack("@I", interface.index)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)
            if LINUX:
                with contextlib.suppress(OSError):  # Linux before 4.20
                    sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MULTICAST_ALL, 0)
        else:
            sock.bind(("" if sys.platform == "win32" else address, port))
            membership = socket.inet_aton(address) + socket.inet_aton(interface.ip)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
            if LINUX:
                sock.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
    except OSError as error:
        sock.close()
        raise NetworkError(
            f"group {group}, port {port} on {interface.ip}: {error.strerror}; name an interface that does multicast "
            "with --interface"
        ) from None
    return GroupPort(sock, membership)
