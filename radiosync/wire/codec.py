"""The bytes of the radiosync protocol: big-endian structs of fixed size, described in PROTOCOL.md.

Every datagram begins with the common header of `radiosync.wire.fields`; what a host sends goes on with the timeline.
Decoding checks every length and range and raises RemoteProtocolError; it allocates nothing that the datagram itself
does not contain.  Unknown trailing bytes are an error: a new field is a new version.
"""

import struct
from collections.abc import Callable
from functools import lru_cache

from radiosync.errors import RemoteProtocolError
from radiosync.units import HostNs
from radiosync.wire import announce_codec, listener_codec
from radiosync.wire.fields import (
    HEADER,
    MAGIC,
    TIMELINE,
    U32,
    UNKNOWN,
    VERSION,
    Reader,
    clip32,
    frame,
    frame_or_none,
    is_intact,
    pack_head,
    pack_text,
    pack_timeline,
    sealed,
)
from radiosync.wire.limits import (
    DATAGRAM_MAX,
    NACK_ENTRIES_MAX,
    NACK_RUN_MAX,
    NAME_MAX,
    PARITY_MAX,
    SOLICIT_BYTES,
    SOLOS_MAX,
    TAG_MAX,
    TIERS_MAX,
    UDP_IP_BYTES,
)
from radiosync.wire.listener_codec import NACK_OVERHEAD, nack_entry_bytes
from radiosync.wire.messages import (
    SYMBOLS_MAX,
    Announce,
    Audio,
    Bye,
    ByeReason,
    ChunkHeader,
    Kind,
    Leave,
    Message,
    Nack,
    Report,
    Solicit,
    Solo,
    SoloEntry,
    SongInfo,
    Sync,
    SyncPhase,
)

__all__ = [
    "AUDIO_OVERHEAD",
    "DATAGRAM_MAX",
    "NACK_ENTRIES_MAX",
    "NACK_OVERHEAD",
    "NACK_RUN_MAX",
    "NAME_MAX",
    "PARITY_MAX",
    "SOLICIT_BYTES",
    "SOLOS_MAX",
    "SYMBOL_BYTES_MAX",
    "TAG_MAX",
    "WIRE_OVERHEAD",
    "decode",
    "encode",
    "nack_entry_bytes",
]

_CHUNK = struct.Struct("!IIQIqIQIqBBIHHHBx")
_SYMBOL = struct.Struct("!HBx")  # the last of it, in which symbols of one chunk differ
_BYE = struct.Struct("!B7xQ")
_SYNC = struct.Struct("!B3xQqIIIH")
_SOLO_ENTRY = struct.Struct("!QQI")

AUDIO_OVERHEAD = HEADER.size + TIMELINE.size + _CHUNK.size
WIRE_OVERHEAD = AUDIO_OVERHEAD + UDP_IP_BYTES  # of one symbol, as the network carries it
SYMBOL_BYTES_MAX = DATAGRAM_MAX - AUDIO_OVERHEAD

_FLAG_REPAIR = 1
CHUNKS_KNOWN = 64  # headers as they are on the wire: each comes with every symbol of its chunk

assert (HEADER.size, TIMELINE.size, _CHUNK.size) == (16, 28, 66)  # PROTOCOL.md gives these


def encode(message: Message) -> bytes:
    """Return the datagram for `message`."""
    return sealed(_ENCODERS[type(message)](message))


def decode(data: bytes) -> Message:
    """Return the message in `data`.

    Raises RemoteProtocolError for anything that is not exactly one valid message.
    """
    if len(data) < HEADER.size:
        raise RemoteProtocolError(f"{len(data)} bytes are no datagram of ours")
    magic, version, kind, session = HEADER.unpack_from(data)
    if magic != MAGIC or version != VERSION:
        raise RemoteProtocolError(f"magic {magic:#06x}, version {version}")
    if not is_intact(data):
        raise RemoteProtocolError("damaged: its CRC is wrong")
    decoder = _DECODERS.get(kind)
    if decoder is None:
        raise RemoteProtocolError(f"unknown kind {kind}")
    try:
        return decoder(session, Reader(data, HEADER.size))
    except (struct.error, ValueError) as error:  # too short, or a value outside its enum or format
        raise RemoteProtocolError(f"kind {kind}: {error}") from None


# --- orders and good-byes --------------------------------------------------------------------------------------------


def _encode_bye(m: Bye) -> bytes:
    final = UNKNOWN if m.final_frame is None else m.final_frame
    return pack_head(Kind.BYE, m.session) + pack_timeline(m.timeline) + _BYE.pack(m.reason, final)


def _decode_bye(session: int, r: Reader) -> Bye:
    timeline = r.timeline()
    reason, final = r.take(_BYE)
    r.end()
    return Bye(session=session, timeline=timeline, reason=ByeReason(reason), final_frame=frame_or_none(final))


def _encode_sync(m: Sync) -> bytes:
    fixed = _SYNC.pack(
        m.phase,
        m.target_frame,
        m.sync_at,
        clip32(m.required_ms),
        clip32(m.slowest_latency_us),
        clip32(m.buffer_offset_ms),
        min(m.waiting, 0xFFFF),
    )
    return (
        pack_head(Kind.SYNC, m.session)
        + pack_timeline(m.timeline)
        + fixed
        + pack_text(m.slowest, NAME_MAX)
        + pack_text(m.reason, TAG_MAX)
    )


def _decode_sync(session: int, r: Reader) -> Sync:
    timeline = r.timeline()
    phase, target_frame, sync_at, required_ms, slowest_us, offset_ms, waiting = r.take(_SYNC)
    slowest, reason = r.text(NAME_MAX), r.text(TAG_MAX)
    r.end()
    return Sync(
        session=session,
        timeline=timeline,
        phase=SyncPhase(phase),
        target_frame=frame(target_frame),
        sync_at=HostNs(sync_at),
        required_ms=required_ms,
        slowest_latency_us=slowest_us,
        buffer_offset_ms=offset_ms,
        waiting=waiting,
        slowest=slowest,
        reason=reason,
    )


def _encode_solo(m: Solo) -> bytes:
    entries = [_SOLO_ENTRY.pack(e.listener_id, e.first_frame, e.frames) for e in m.entries]
    return b"".join((pack_head(Kind.SOLO, m.session), pack_timeline(m.timeline), bytes([len(entries)]), *entries))


def _decode_solo(session: int, r: Reader) -> Solo:
    timeline = r.timeline()
    (count,) = r.bytes(1)
    if count > SOLOS_MAX:
        raise RemoteProtocolError(f"{count} stretches")
    entries = []
    for _ in range(count):
        listener_id, first_frame, frames = r.take(_SOLO_ENTRY)
        if not frames:
            raise RemoteProtocolError("a stretch without frames")
        entries.append(SoloEntry(listener_id=listener_id, first_frame=frame(first_frame), frames=frames))
    r.end()
    return Solo(session=session, timeline=timeline, entries=tuple(entries))


# --- audio -------------------------------------------------------------------------------------------------------


def pack_chunk(c: ChunkHeader, index: int, repair: bool) -> bytes:
    """Return the part of an audio datagram between timeline and payload."""
    return _CHUNK.pack(
        c.seq & U32,
        c.epoch,
        c.first_frame,
        c.frames,
        c.play_at,
        c.song_id,
        c.song_frame,
        clip32(c.buffer_position_ms),
        c.stamped_at,
        c.codec,
        c.tier,
        c.coded_bytes,
        c.symbol_bytes,
        c.symbols,
        index,
        _FLAG_REPAIR if repair else 0,
    )


def _encode_audio(m: Audio) -> bytes:
    return (
        pack_head(Kind.AUDIO, m.session)
        + pack_timeline(m.timeline)
        + pack_chunk(m.chunk, m.index, m.repair)
        + m.payload
    )


def _decode_audio(session: int, r: Reader) -> Audio:
    timeline = r.timeline()
    chunk = _chunk_of(bytes(r.bytes(_CHUNK.size - _SYMBOL.size)))
    index, flags = r.take(_SYMBOL)
    payload = r.bytes(len(r.data) - r.position)
    symbols, symbol_bytes, coded_bytes = chunk.symbols, chunk.symbol_bytes, chunk.coded_bytes
    if not (1 <= symbols <= SYMBOLS_MAX and index < symbols + PARITY_MAX and 1 <= symbol_bytes <= SYMBOL_BYTES_MAX):
        raise RemoteProtocolError(f"symbol {index} of {symbols} with {symbol_bytes} bytes")
    if not (symbols - 1) * symbol_bytes < coded_bytes <= symbols * symbol_bytes:
        raise RemoteProtocolError(f"{coded_bytes} bytes are not {symbols} symbols of {symbol_bytes}")
    if len(payload) != (symbol_bytes if index != symbols - 1 else coded_bytes - index * symbol_bytes):
        raise RemoteProtocolError(f"payload of {len(payload)} bytes")
    if not chunk.frames or chunk.tier >= TIERS_MAX:
        raise RemoteProtocolError(f"chunk of {chunk.frames} frames in tier {chunk.tier}")
    return Audio(
        session=session,
        timeline=timeline,
        chunk=chunk,
        index=index,
        repair=bool(flags & _FLAG_REPAIR),
        payload=payload,
    )


@lru_cache(maxsize=CHUNKS_KNOWN)
def _chunk_of(raw: bytes) -> ChunkHeader:
    """Return the header in `raw`, the part of an audio datagram that all symbols of a chunk have in common."""
    (seq, epoch, first_frame, frames, play_at, song_id, song_frame, buffer_position_ms, stamped_at, codec, tier,
     coded_bytes, symbol_bytes, symbols, _, _) = _CHUNK.unpack(raw + bytes(_SYMBOL.size))  # fmt: skip
    return ChunkHeader(
        seq=seq,
        epoch=epoch,
        first_frame=frame(first_frame),
        frames=frames,
        play_at=HostNs(play_at),
        song_id=song_id,
        song_frame=song_frame,
        buffer_position_ms=buffer_position_ms,
        stamped_at=HostNs(stamped_at),
        codec=codec,
        tier=tier,
        coded_bytes=coded_bytes,
        symbol_bytes=symbol_bytes,
        symbols=symbols,
    )


_ENCODERS: dict[type, Callable[..., bytes]] = {
    Announce: announce_codec.encode_announce,
    SongInfo: announce_codec.encode_song,
    Sync: _encode_sync,
    Solo: _encode_solo,
    Audio: _encode_audio,
    Bye: _encode_bye,
    Solicit: listener_codec.encode_solicit,
    Nack: listener_codec.encode_nack,
    Report: listener_codec.encode_report,
    Leave: listener_codec.encode_leave,
}
_DECODERS: dict[int, Callable[[int, Reader], Message]] = {
    Kind.ANNOUNCE: announce_codec.decode_announce,
    Kind.SONG: announce_codec.decode_song,
    Kind.SYNC: _decode_sync,
    Kind.SOLO: _decode_solo,
    Kind.AUDIO: _decode_audio,
    Kind.BYE: _decode_bye,
    Kind.SOLICIT: listener_codec.decode_solicit,
    Kind.NACK: listener_codec.decode_nack,
    Kind.REPORT: listener_codec.decode_report,
    Kind.LEAVE: listener_codec.decode_leave,
}
