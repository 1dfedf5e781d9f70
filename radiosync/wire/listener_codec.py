"""The bytes of what listeners send; see `radiosync.wire.codec`."""

import struct

from radiosync.errors import RemoteProtocolError
from radiosync.units import HostNs
from radiosync.wire.fields import (
    HEADER,
    U32,
    UNKNOWN,
    Reader,
    clip32,
    clip_signed,
    frame_or_none,
    pack_head,
    pack_text,
)
from radiosync.wire.limits import NACK_ENTRIES_MAX, NACK_RUN_MAX, NAME_MAX, SOLICIT_BYTES, TIERS_MAX
from radiosync.wire.messages import (
    SYMBOLS_MAX,
    Kind,
    Leave,
    ListenerState,
    Nack,
    NackEntry,
    Report,
    Solicit,
)

_SOLICIT = struct.Struct("!Q")
_ASK = struct.Struct("!QQ")
_NACK_ENTRY = struct.Struct("!IHBB")
_REPORT = struct.Struct("!BBBxqqqqqQIqqiIIIIIIIIIi")


def encode_solicit(m: Solicit) -> bytes:
    """Return the datagram of a solicitation, not yet sealed."""
    data = pack_head(Kind.SOLICIT, m.session) + _SOLICIT.pack(m.nonce)
    return data.ljust(SOLICIT_BYTES, b"\0")


def decode_solicit(session: int, r: Reader) -> Solicit:
    """Read a solicitation."""
    (nonce,) = r.take(_SOLICIT)
    if len(r.data) != SOLICIT_BYTES:
        raise RemoteProtocolError("solicitation without its padding")
    return Solicit(session=session, nonce=nonce)


def encode_nack(m: Nack) -> bytes:
    """Return the datagram of a NACK, not yet sealed."""
    parts = [pack_head(Kind.NACK, m.session), _ASK.pack(m.cookie, m.listener_id)]
    for e in m.entries:
        bitmap = b"" if e.run else e.bitmap.to_bytes((e.bitmap.bit_length() + 7) // 8, "little")
        parts.append(_NACK_ENTRY.pack(e.seq & U32, e.run, e.tier, len(bitmap)) + bitmap)
    return b"".join(parts)


def nack_entry_bytes(entry: NackEntry) -> int:
    """Return how many bytes of a datagram `entry` takes."""
    return _NACK_ENTRY.size + (0 if entry.run else (entry.bitmap.bit_length() + 7) // 8)


NACK_OVERHEAD = HEADER.size + _ASK.size


def decode_nack(session: int, r: Reader) -> Nack:
    """Read a NACK."""
    cookie, listener_id = r.take(_ASK)
    entries: list[NackEntry] = []
    while r.position < len(r.data):
        seq, run, tier, length = r.take(_NACK_ENTRY)
        bitmap = int.from_bytes(r.bytes(length), "little") if length else 0
        if bool(run) == bool(bitmap) or run > NACK_RUN_MAX or bitmap.bit_length() > SYMBOLS_MAX:
            raise RemoteProtocolError("NACK entry that asks for nothing or too much")
        if tier >= TIERS_MAX:
            raise RemoteProtocolError(f"NACK entry for tier {tier}")
        entries.append(NackEntry(seq=seq, run=run, bitmap=bitmap, tier=tier))
        if len(entries) > NACK_ENTRIES_MAX:
            raise RemoteProtocolError("too many NACK entries")
    return Nack(session=session, cookie=cookie, listener_id=listener_id, entries=tuple(entries))


def encode_report(m: Report) -> bytes:
    """Return the datagram of a report, not yet sealed."""
    fixed = _REPORT.pack(
        m.state,
        m.tier,
        m.wants_copy,
        clip_signed(m.rtt_ns, 64),
        clip_signed(m.down_ns, 64),
        clip_signed(m.up_ns, 64),
        m.echo_at,
        clip_signed(m.echo_held_ns, 64),
        UNKNOWN if m.ready_frame is None else m.ready_frame,
        clip32(m.lead_ms),
        clip_signed(m.offset_bound_ns, 64),
        clip_signed(m.sync_error_ns, 64),
        clip_signed(m.rate_ppb, 32),
        *map(
            clip32,
            (
                m.buffer_ms,
                m.symbols_received,
                m.symbols_lost,
                m.symbols_repaired,
                m.chunks_late,
                m.chunks_concealed,
                m.underruns,
                m.hard_resyncs,
                m.jitter_us,
            ),
        ),
        clip_signed(m.offset_us, 32),
    )
    return pack_head(Kind.REPORT, m.session) + _ASK.pack(m.cookie, m.listener_id) + fixed + pack_text(m.name, NAME_MAX)


def decode_report(session: int, r: Reader) -> Report:
    """Read a report."""
    cookie, listener_id = r.take(_ASK)
    (state, tier, wants_copy, rtt_ns, down_ns, up_ns, echo_at, echo_held_ns, ready_frame, lead_ms, bound_ns, error_ns,
     rate_ppb, buffer_ms, received, lost, repaired, late, concealed, underruns, resyncs, jitter_us,
     offset_us) = r.take(_REPORT)  # fmt: skip
    name = r.text(NAME_MAX)
    r.end()
    if tier >= TIERS_MAX:
        raise RemoteProtocolError(f"report of tier {tier}")
    return Report(
        session=session,
        cookie=cookie,
        listener_id=listener_id,
        state=ListenerState(state),
        tier=tier,
        wants_copy=bool(wants_copy),
        rtt_ns=rtt_ns,
        down_ns=down_ns,
        up_ns=up_ns,
        echo_at=HostNs(echo_at),
        echo_held_ns=echo_held_ns,
        ready_frame=frame_or_none(ready_frame),
        lead_ms=lead_ms,
        offset_bound_ns=bound_ns,
        sync_error_ns=error_ns,
        rate_ppb=rate_ppb,
        buffer_ms=buffer_ms,
        symbols_received=received,
        symbols_lost=lost,
        symbols_repaired=repaired,
        chunks_late=late,
        chunks_concealed=concealed,
        underruns=underruns,
        hard_resyncs=resyncs,
        jitter_us=jitter_us,
        offset_us=offset_us,
        name=name,
    )


def encode_leave(m: Leave) -> bytes:
    """Return the datagram of a good-bye, not yet sealed."""
    return pack_head(Kind.LEAVE, m.session) + _ASK.pack(m.cookie, m.listener_id)


def decode_leave(session: int, r: Reader) -> Leave:
    """Read a good-bye."""
    cookie, listener_id = r.take(_ASK)
    r.end()
    return Leave(session=session, cookie=cookie, listener_id=listener_id)
