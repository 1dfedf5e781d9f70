"""NTPv4 packets (RFC 5905 §7.3), in integers all the way.

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |LI | VN  |Mode |    Stratum    |     Poll      |   Precision   |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |                   Root delay, 16.16 seconds                   |
    |                 Root dispersion, 16.16 seconds                |
    |                         Reference id                          |
    +                 Reference timestamp, 32.32 seconds            +
    |                                                               |
    +                  Origin timestamp, 32.32 seconds              +
    |                                                               |
    +                  Receive timestamp, 32.32 seconds             +
    |                                                               |
    +                  Transmit timestamp, 32.32 seconds            +
    |                                                               |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

Timestamps count 2^-32 s (0.233 ns) since 1900 in an era of 2^32 s; era 1 begins on 2036-02-07.  A timestamp alone does
not say its era, so it is read as the instant nearest to a pivot.  One nanosecond is more than four units, so that every
nanosecond survives the journey unchanged.

A client's transmit timestamp means nothing to a server, which only echoes it as the origin.  Ours is therefore a random
nonce (draft-ietf-ntp-data-minimization): it gives away nothing about the client, and whoever can't see the request
can't forge a reply to it.

UDP's checksum misses one damaged datagram in 65536, and one stamp that is damaged by less than the round trip would be
believed for as long as it is remembered.  The reference id of a server that nobody disciplines says nothing, and no
client reads it, so that ours is the CRC of the reply.
"""

import struct
import zlib
from dataclasses import dataclass

from radiosync.errors import RemoteProtocolError
from radiosync.units import NS_PER_S, HostNs

PACKET_BYTES = 48
PACKET_BYTES_MAX = 1024  # extension fields and authenticators may follow; nobody sends a kilobyte of them
VERSION = 4
MODE_CLIENT = 3
MODE_SERVER = 4
LEAP_NONE = 0
LEAP_UNSYNCHRONISED = 3

LOCAL_STRATUM = 10
"""A clock that no one disciplines must never win over one that somebody does; 10 is the custom for it."""
LOCAL_REFERENCE_ID = bytes((127, 127, 1, 1))
"""The reference id by which both ntpd and chrony call an undisciplined local clock: a reply without a CRC."""
LOCAL_PRECISION = -23  # log2 seconds: 119 ns, about what reading a clock costs

PIVOT_AT = HostNs(2_840_140_800 * NS_PER_S)
"""2060-01-01: timestamps are read as 1992 to 2128 where nothing better is known."""

_UNIX_EPOCH_S = 2_208_988_800  # 1970 in seconds since 1900
_FRACTION = 1 << 32
_ERA_UNITS = 1 << 64
_TIMESTAMP = struct.Struct("!Q")
_ID_FROM, _ID_TO = 12, 16
_LAYOUT = struct.Struct("!BBbbII4sQQQQ")
_CLIENT_PRECISION = 0x20  # says nothing, as the data-minimization practice wants


@dataclass(frozen=True, slots=True, kw_only=True)
class NtpPacket:
    """Hold the header of one NTP packet; timestamps are raw 32.32 numbers, read by `ns_from_timestamp`."""

    leap: int = LEAP_NONE
    version: int = VERSION
    mode: int
    stratum: int = 0
    poll: int = 0
    precision: int = 0
    root_delay: int = 0
    root_dispersion: int = 0
    reference_id: bytes = bytes(4)
    reference_timestamp: int = 0
    origin_timestamp: int = 0
    receive_timestamp: int = 0
    transmit_timestamp: int = 0


def encode(packet: NtpPacket) -> bytes:
    """Return the 48 bytes of `packet`.

    Raises struct.error where a field does not fit: our own mistake, never the network's.
    """
    return _LAYOUT.pack(
        packet.leap << 6 | packet.version << 3 | packet.mode,
        packet.stratum,
        packet.poll,
        packet.precision,
        packet.root_delay,
        packet.root_dispersion,
        packet.reference_id,
        packet.reference_timestamp,
        packet.origin_timestamp,
        packet.receive_timestamp,
        packet.transmit_timestamp,
    )


def decode(data: bytes) -> NtpPacket:
    """Return the header that `data` begins with; extension fields and authenticators behind it are ignored.

    Raises RemoteProtocolError if the length or the version can't be NTP's.
    """
    if not PACKET_BYTES <= len(data) <= PACKET_BYTES_MAX or len(data) % 4:
        raise RemoteProtocolError(f"an NTP packet can't have {len(data)} bytes")
    first, stratum, poll, precision, delay, dispersion, reference_id, reference, origin, receive, transmit = (
        _LAYOUT.unpack_from(data)
    )
    version = first >> 3 & 7
    if not 1 <= version <= VERSION:
        raise RemoteProtocolError(f"NTP version {version} is unknown")
    return NtpPacket(
        leap=first >> 6,
        version=version,
        mode=first & 7,
        stratum=stratum,
        poll=poll,
        precision=precision,
        root_delay=delay,
        root_dispersion=dispersion,
        reference_id=reference_id,
        reference_timestamp=reference,
        origin_timestamp=origin,
        receive_timestamp=receive,
        transmit_timestamp=transmit,
    )


def timestamp_from_ns(at: HostNs) -> int:
    """Return the 32.32 timestamp nearest to `at` (ns since the Unix epoch), its era cut off."""
    units = (2 * at * _FRACTION + NS_PER_S) // (2 * NS_PER_S)
    return (units + _UNIX_EPOCH_S * _FRACTION) % _ERA_UNITS


def ns_from_timestamp(timestamp: int, *, pivot_at: HostNs = PIVOT_AT) -> HostNs:
    """Return the instant nearest to `pivot_at` that `timestamp` can mean, in ns since the Unix epoch."""
    pivot_units = pivot_at * _FRACTION // NS_PER_S + _UNIX_EPOCH_S * _FRACTION
    half = _ERA_UNITS // 2
    units = pivot_units + (timestamp - pivot_units + half) % _ERA_UNITS - half - _UNIX_EPOCH_S * _FRACTION
    return HostNs((2 * units * NS_PER_S + _FRACTION) // (2 * _FRACTION))


def request(nonce: int) -> bytes:
    """Return a client request that carries `nonce` (64 bits, random, not 0) and nothing about the client."""
    return encode(NtpPacket(mode=MODE_CLIENT, precision=_CLIENT_PRECISION, transmit_timestamp=nonce))


def nonce_of(request_bytes: bytes) -> int:
    """Return the nonce in bytes made by `request`."""
    return decode(request_bytes).transmit_timestamp


def respond(
    request_bytes: bytes,
    *,
    received_at: HostNs,
    sent_at: HostNs,
    reference_at: HostNs | None = None,
    stratum: int = LOCAL_STRATUM,
    precision: int = LOCAL_PRECISION,
) -> bytes:
    """Return the server's reply to a client's request, never longer than the request.

    `received_at` is when the request arrived and `sent_at` the clock just before the reply leaves; `reference_at` is
    when the media clock was last set, `received_at` if not given.
    Raises RemoteProtocolError unless `request_bytes` is a client's request; it must then stay unanswered, lest two
    servers answer each other for ever.
    """
    asked = decode(request_bytes)
    if asked.mode != MODE_CLIENT:
        raise RemoteProtocolError(f"NTP mode {asked.mode} is not a client's")
    reply = encode(
        NtpPacket(
            version=asked.version,  # RFC 5905 §9.2: answer in the version of the question
            mode=MODE_SERVER,
            stratum=stratum,
            poll=asked.poll,
            precision=precision,
            reference_timestamp=timestamp_from_ns(received_at if reference_at is None else reference_at),
            origin_timestamp=asked.transmit_timestamp,
            receive_timestamp=timestamp_from_ns(received_at),
            transmit_timestamp=timestamp_from_ns(sent_at),
        )
    )
    return _sealed(reply)


def stamp_departure(reply: bytes, sent_at: HostNs) -> bytes:
    """Return a reply with its transmit timestamp put right: the last thing to do before it leaves."""
    return _sealed(reply[: -_TIMESTAMP.size] + _TIMESTAMP.pack(timestamp_from_ns(sent_at)))


def is_intact(reply: bytes) -> bool:
    """Return whether a reply is as its server sent it, as far as that can be known."""
    return reply[_ID_FROM:_ID_TO] == LOCAL_REFERENCE_ID or reply[_ID_FROM:_ID_TO] == _crc(reply)


def _sealed(reply: bytes) -> bytes:
    """Return `reply` with its CRC in the place of the reference id."""
    return reply[:_ID_FROM] + _crc(reply) + reply[_ID_TO:]


def _crc(packet: bytes) -> bytes:
    """Return the CRC-32 of the header that `packet` begins with, its reference id as 0."""
    crc = zlib.crc32(packet[:_ID_FROM] + bytes(4) + packet[_ID_TO:PACKET_BYTES])
    return crc.to_bytes(4, "big")
