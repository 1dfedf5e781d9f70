"""The bytes of announcements and of what goes with them; see `radiosync.wire.codec`."""

import struct

from radiosync.audio.format import AudioFormat, SampleFormat
from radiosync.errors import RemoteProtocolError
from radiosync.units import HostNs
from radiosync.wire.fields import (
    U32,
    UNKNOWN,
    Reader,
    clip32,
    frame,
    frame_or_none,
    pack_head,
    pack_text,
    pack_timeline,
)
from radiosync.wire.limits import NAME_MAX, TAG_MAX, TIERS_MAX
from radiosync.wire.messages import Announce, Kind, SongInfo, TierOffer

_ANNOUNCE = struct.Struct("!qIBBHHIIQIQIIIQQHH")
_TIER = struct.Struct("!BBHI")
_SONG = struct.Struct("!IQQ")


def encode_announce(m: Announce) -> bytes:
    """Return the datagram of an announcement, not yet sealed."""
    final = UNKNOWN if m.final_frame is None else m.final_frame
    fixed = _ANNOUNCE.pack(
        m.sent_at,
        m.format.rate,
        m.format.channels,
        m.format.sample,
        m.control_port,
        m.clock_port,
        m.chunk_frames,
        m.play_seq & U32,
        m.play_frame,
        m.next_seq & U32,
        final,
        clip32(m.buffer_ms),
        clip32(m.buffered_ms),
        m.song_id,
        m.nonce,
        m.cookie,
        min(m.report_ms, 0xFFFF),
        min(m.clock_ms, 0xFFFF),
    )
    tiers = [_TIER.pack(t.tier, t.active, min(t.kbps, 0xFFFF), t.next_seq & U32) for t in m.tiers]
    return b"".join(
        (
            pack_head(Kind.ANNOUNCE, m.session),
            pack_timeline(m.timeline),
            fixed,
            pack_text(m.host_name, NAME_MAX),
            bytes([len(tiers)]),
            *tiers,
        )
    )


def decode_announce(session: int, r: Reader) -> Announce:
    """Read an announcement."""
    timeline = r.timeline()
    (sent_at, rate, channels, sample, control_port, clock_port, chunk_frames, play_seq, play_frame, next_seq, final,
     buffer_ms, buffered_ms, song_id, nonce, cookie, report_ms, clock_ms) = r.take(_ANNOUNCE)  # fmt: skip
    name = r.text(NAME_MAX)
    (count,) = r.bytes(1)
    if count >= TIERS_MAX:
        raise RemoteProtocolError(f"{count} offers of tiers")
    tiers = tuple(_take_tier(r) for _ in range(count))
    r.end()
    if not (control_port and clock_port and chunk_frames):
        raise RemoteProtocolError("announcement with a port or chunk size of 0")
    return Announce(
        session=session,
        timeline=timeline,
        sent_at=HostNs(sent_at),
        format=AudioFormat(rate, channels, SampleFormat(sample)),
        control_port=control_port,
        clock_port=clock_port,
        chunk_frames=chunk_frames,
        play_seq=play_seq,
        play_frame=frame(play_frame),
        next_seq=next_seq,
        final_frame=frame_or_none(final),
        buffer_ms=buffer_ms,
        buffered_ms=buffered_ms,
        song_id=song_id,
        nonce=nonce,
        cookie=cookie,
        report_ms=report_ms,
        clock_ms=clock_ms,
        host_name=name,
        tiers=tiers,
    )


def _take_tier(r: Reader) -> TierOffer:
    tier, active, kbps, next_seq = r.take(_TIER)
    if not 0 < tier < TIERS_MAX:
        raise RemoteProtocolError(f"offer of tier {tier}")
    return TierOffer(tier=tier, kbps=kbps, active=bool(active), next_seq=next_seq)


def encode_song(m: SongInfo) -> bytes:
    """Return the datagram of a song's tags, not yet sealed."""
    frames = UNKNOWN if m.frames is None else m.frames
    tags = b"".join(pack_text(t, TAG_MAX) for t in (m.title, m.artist, m.album))
    return (
        pack_head(Kind.SONG, m.session)
        + pack_timeline(m.timeline)
        + _SONG.pack(m.song_id, m.first_frame, frames)
        + tags
    )


def decode_song(session: int, r: Reader) -> SongInfo:
    """Read a song's tags."""
    timeline = r.timeline()
    song_id, first_frame, frames = r.take(_SONG)
    title, artist, album = (r.text(TAG_MAX) for _ in range(3))
    r.end()
    return SongInfo(
        session=session,
        timeline=timeline,
        song_id=song_id,
        first_frame=frame(first_frame),
        frames=frame_or_none(frames),
        title=title,
        artist=artist,
        album=album,
    )
