"""Cut a coded chunk into symbols, and put it together again.

A symbol is what one datagram carries.  All symbols of a chunk are equally long but the last, so that parity symbols can
be computed over them as columns of one block.
"""

from dataclasses import dataclass

from radiosync.units import MediaFrame
from radiosync.wire.messages import ChunkHeader


def split(coded: bytes, symbol_bytes: int) -> tuple[bytes, ...]:
    """Return `coded` in pieces of `symbol_bytes`, the last one shorter."""
    return tuple(coded[i : i + symbol_bytes] for i in range(0, len(coded), symbol_bytes))


@dataclass(slots=True, kw_only=True)
class Chunk:
    """A chunk as the host keeps it: its header, whose play-at follows the timeline, and its source symbols."""

    header: ChunkHeader
    symbols: tuple[bytes, ...]

    @property
    def end_frame(self) -> MediaFrame:
        """The first frame after it."""
        return MediaFrame(self.header.first_frame + self.header.frames)


class Assembly:
    """Collects the symbols of one chunk.

    The first symbol's header counts: one that contradicts it is refused, so that a forged or damaged datagram can at
    worst spoil a chunk, never grow memory.
    """

    __slots__ = ("_bytes", "_have", "header", "seq")

    def __init__(self, seq: int, header: ChunkHeader) -> None:
        self.seq = seq  # extended; the header has the 32 bits of the wire
        self.header = header
        self._bytes = bytearray(header.coded_bytes)
        self._have = 0

    def accepts(self, header: ChunkHeader) -> bool:
        """Say whether `header` describes this chunk."""
        ours = self.header
        return (
            header.first_frame == ours.first_frame
            and header.frames == ours.frames
            and header.coded_bytes == ours.coded_bytes
            and header.symbol_bytes == ours.symbol_bytes
            and header.codec == ours.codec
        )

    def add(self, index: int, payload: bytes) -> bool:
        """Take a source symbol; say whether it was new."""
        bit = 1 << index
        if index >= self.header.symbols or self._have & bit:
            return False
        start = index * self.header.symbol_bytes
        self._bytes[start : start + len(payload)] = payload
        self._have |= bit
        return True

    @property
    def missing(self) -> int:
        """The symbols still missing, as a bitmap."""
        return ~self._have & ((1 << self.header.symbols) - 1)

    @property
    def complete(self) -> bool:
        """Whether every source symbol is there."""
        return not self.missing

    def coded(self) -> bytes:
        """Return the coded chunk."""
        return bytes(self._bytes)
