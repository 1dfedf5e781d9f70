"""Cut a coded chunk into symbols, and put it together again.

A symbol is what one datagram carries.  All symbols of a chunk are equally long but the last, so that parity symbols can
be computed over them as columns of one block.  Those are numbered from the number of source symbols on.
"""

from dataclasses import dataclass, field

import numpy as np

from radiosync.repair.parity import GROUP, block_of, parity_symbols, recover
from radiosync.timeline import Timeline
from radiosync.units import HostNs, MediaFrame
from radiosync.wire.limits import PARITY_MAX
from radiosync.wire.messages import ChunkHeader


def split(coded: bytes, symbol_bytes: int) -> tuple[bytes, ...]:
    """Return `coded` in pieces of `symbol_bytes`, the last one shorter."""
    return tuple(coded[i : i + symbol_bytes] for i in range(0, len(coded), symbol_bytes))


@dataclass(slots=True, kw_only=True)
class Chunk:
    """A chunk as the host keeps it: its header, whose play-at follows the timeline, and its source symbols."""

    header: ChunkHeader
    symbols: tuple[bytes, ...]
    _parity: dict[int, bytes] = field(default_factory=dict)
    deadline: tuple[Timeline, HostNs] | None = None
    """When its last frame is due by which record of the timeline, once that has been reckoned."""

    @property
    def end_frame(self) -> MediaFrame:
        """The first frame after it."""
        return MediaFrame(self.header.first_frame + self.header.frames)

    def symbol(self, index: int) -> bytes:
        """Return a symbol; parity is made when first wanted and kept as long as the chunk, at most 64 symbols."""
        number = index - len(self.symbols)
        if number < 0:
            return self.symbols[index]
        if number not in self._parity:
            first = number - number % GROUP
            made = parity_symbols(block_of(self.symbols, self.header.symbol_bytes), first, GROUP)
            self._parity.update(enumerate(made, first))
        return self._parity[number]


class Assembly:
    """Collects the symbols of one chunk; so many of any kind as it has source symbols make it complete.

    The first symbol's header counts: one that contradicts it is refused, so that a forged or damaged datagram can at
    worst spoil a chunk, never grow memory: there is never more parity than source symbols are missing.
    """

    __slots__ = ("_all", "_bytes", "_have", "_parity", "complete", "header", "seq")

    def __init__(self, seq: int, header: ChunkHeader) -> None:
        self.seq = seq  # extended; the header has the 32 bits of the wire
        self.header = header
        self._bytes = bytearray(header.symbols * header.symbol_bytes)  # zeros where nothing has arrived
        self._have = 0
        self._all = (1 << header.symbols) - 1
        self._parity: dict[int, bytes] = {}
        self.complete = False
        """Whether every source symbol is there."""

    def accepts(self, header: ChunkHeader) -> bool:
        """Say whether `header` describes this chunk."""
        ours = self.header
        return header is ours or (
            header.first_frame == ours.first_frame
            and header.frames == ours.frames
            and header.coded_bytes == ours.coded_bytes
            and header.symbol_bytes == ours.symbol_bytes
            and header.codec == ours.codec
        )

    def add(self, index: int, payload: bytes) -> bool:
        """Take a symbol; say whether it was new."""
        number, bit = index - self.header.symbols, 1 << index
        if self.complete or self._have & bit or number in self._parity or number >= PARITY_MAX:
            return False
        if number >= 0:
            self._parity[number] = payload
        else:
            start = index * self.header.symbol_bytes
            self._bytes[start : start + len(payload)] = payload
            self._have |= bit
        if self._parity and (absent := self._absent).bit_count() <= len(self._parity):
            self._recover([i for i in range(self.header.symbols) if absent >> i & 1])
        self.complete = self._have == self._all
        return True

    def _recover(self, lost: list[int]) -> None:
        block = np.frombuffer(self._bytes, np.uint8).reshape(self.header.symbols, self.header.symbol_bytes)
        if lost:
            block[lost] = recover(block, lost, self._parity)
        self._have = self._all
        self._parity.clear()

    @property
    def _absent(self) -> int:
        return self._have ^ self._all

    @property
    def missing(self) -> int:
        """The symbols that it takes to complete the chunk, as a bitmap: those absent that there is no parity for.

        Others would do as well, but as many.
        """
        absent = self._absent
        for _ in self._parity:
            absent &= ~(1 << (absent.bit_length() - 1))
        return absent

    def coded(self) -> bytes:
        """Return the coded chunk."""
        return bytes(self._bytes[: self.header.coded_bytes])
