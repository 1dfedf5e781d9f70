"""The fields that messages share: the common header, the timeline record, text, and a bounds-checked reader.

Every datagram begins with the common header; what a host sends goes on with the timeline record:

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-------------------------------+---------------+---------------+
    |         magic "RS"            |  version = 1  |     kind      |
    +-------------------------------+---------------+---------------+
    |           CRC-32 of the datagram, this field as 0             |
    +---------------------------------------------------------------+
    |                        session (64 bits)                      |
    +===============================================================+
    |                        timeline version                       |
    +---------------------------------------------------------------+
    |                             epoch                             |
    +---------------+-----------------------------------------------+
    |     state     |                   reserved                    |
    +---------------+-----------------------------------------------+
    |                     media frame (64 bits)                     |
    +---------------------------------------------------------------+
    |                effective at, host ns (64 bits)                |
    +---------------------------------------------------------------+
"""

import struct
import zlib
from functools import lru_cache

from radiosync.errors import RemoteProtocolError
from radiosync.timeline import PlayState, Timeline
from radiosync.units import HostNs, MediaFrame
from radiosync.wire.messages import Kind

MAGIC = 0x5253
VERSION = 1

HEADER = struct.Struct("!HBB4xQ")
TIMELINE = struct.Struct("!IIB3xQq")

UNKNOWN = (1 << 64) - 1  # "not known yet" in an unsigned field
U32 = (1 << 32) - 1

TIMELINES_KNOWN = 16  # as they are on the wire: every datagram of a host bears the same one until there is another


class Reader:
    """Reads structs and strings off a datagram; raises RemoteProtocolError or struct.error at its end."""

    __slots__ = ("data", "position")

    def __init__(self, data: bytes, position: int) -> None:
        self.data = data
        self.position = position

    def take(self, layout: struct.Struct) -> tuple[int, ...]:
        """Return the values of one struct."""
        values = layout.unpack_from(self.data, self.position)
        self.position += layout.size
        return values

    def bytes(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        if self.position + count > len(self.data):
            raise RemoteProtocolError("truncated")
        taken = self.data[self.position : self.position + count]
        self.position += count
        return taken

    def text(self, bytes_max: int) -> str:
        """Return a length-prefixed text with whatever a terminal could trip over replaced."""
        length = self.bytes(1)[0]
        if length > bytes_max:
            raise RemoteProtocolError("text too long")
        text = self.bytes(length).decode("utf-8", "replace")
        return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)

    def timeline(self) -> Timeline:
        """Return the timeline record."""
        begin, self.position = self.position, self.position + TIMELINE.size
        return _timeline_of(bytes(self.data[begin : self.position]))

    def end(self) -> None:
        """Insist that nothing is left."""
        if self.position != len(self.data):
            raise RemoteProtocolError(f"{len(self.data) - self.position} bytes too many")


@lru_cache(maxsize=TIMELINES_KNOWN)
def _timeline_of(raw: bytes) -> Timeline:
    version, epoch, state, media_frame, at = TIMELINE.unpack(raw)
    return Timeline(
        version=version,
        epoch=epoch,
        state=PlayState(state),
        media_frame=frame(media_frame),
        effective_at=HostNs(at),
    )


FRAME_MAX = 1 << 48  # 46 years at 192 kHz; keeps sums and products of frames and rates far from surprises


def frame(value: int) -> MediaFrame:
    """Return a frame number that lies in range."""
    if value > FRAME_MAX:
        raise RemoteProtocolError(f"frame {value} is out of range")
    return MediaFrame(value)


def frame_or_none(value: int) -> MediaFrame | None:
    """Return a frame number, or None for the mark of an unknown one."""
    return None if value == UNKNOWN else frame(value)


def pack_text(text: str, bytes_max: int) -> bytes:
    """Return `text` with its length, cut at a whole character.

    Lone surrogates (Linux: a file name that is not UTF-8) become question marks.
    """
    raw = text.encode("utf-8", "replace")[:bytes_max].decode("utf-8", "ignore").encode("utf-8")
    return bytes([len(raw)]) + raw


def pack_head(kind: Kind, session: int) -> bytes:
    """Return the common header."""
    return HEADER.pack(MAGIC, VERSION, kind, session)


def pack_timeline(t: Timeline) -> bytes:
    """Return the timeline record."""
    return TIMELINE.pack(t.version, t.epoch, t.state, t.media_frame, t.effective_at)


def sealed(raw: bytes) -> bytes:
    """Return the datagram `raw` with its CRC-32 filled in."""
    return raw[:4] + zlib.crc32(raw).to_bytes(4, "big") + raw[8:]


def is_intact(data: bytes) -> bool:
    """Say whether the CRC-32 of a datagram is right."""
    crc = zlib.crc32(memoryview(data)[8:], zlib.crc32(b"\0\0\0\0", zlib.crc32(data[:4])))
    return crc == int.from_bytes(data[4:8], "big")


def is_foreign_audio(data: bytes, session: int) -> bool:
    """Say whether a datagram, not checked yet, is music of a session other than `session`: then it need not be."""
    if len(data) < HEADER.size:
        return False
    kind, whose = HEADER.unpack_from(data)[2:]
    return bool(kind == Kind.AUDIO and whose != session)


def clip32(value: int) -> int:
    """Return `value` moved into the range of an unsigned 32-bit field."""
    return min(max(value, 0), U32)


def clip_signed(value: int, bits: int) -> int:
    """Return `value` moved into the range of a signed field of so many bits."""
    return min(max(value, -(1 << (bits - 1))), (1 << (bits - 1)) - 1)
