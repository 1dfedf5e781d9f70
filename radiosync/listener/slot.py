"""One chunk's place in the jitter buffer: its symbols as they arrive, in each tier that any of them has come in."""

from enum import Enum, auto

from radiosync.repair.request import WHOLE
from radiosync.repair.symbols import Assembly
from radiosync.units import MediaFrame
from radiosync.wire.messages import Audio, ChunkHeader

NEARLY_WHOLE = 0.25  # may be lacking: a chunk of the lowest tier has a sixth of the lossless one's symbols


class Added(Enum):
    """What became of a symbol."""

    NEW = auto()
    COMPLETED = auto()
    DUPLICATE = auto()
    LATE = auto()
    REFUSED = auto()


class Slot:
    """One chunk's place: what has arrived of it, in each tier that it has arrived in.

    `begin` and `end` are the frames that it lies between, which are the same in every tier; `coded_bytes` is the memory
    that it takes.
    """

    __slots__ = ("_best", "_tiers", "begin", "coded_bytes", "complete", "end", "heard", "seq")

    def __init__(self, seq: int, header: ChunkHeader) -> None:
        self.seq = seq
        self.begin = header.first_frame
        self.end = MediaFrame(header.first_frame + header.frames)
        self.coded_bytes = header.coded_bytes
        self.complete = False
        """Whether it is whole in any tier."""
        self.heard = False
        """Whether it has begun to be heard: then it stays as it is, whatever better may come."""
        self._tiers = {header.tier: Assembly(seq, header)}
        self._best = self._tiers[header.tier]  # the best that is whole, or else the first that came

    @property
    def header(self) -> ChunkHeader:
        """The header of the best tier that is whole, or of the first that came."""
        return self._best.header

    def knows(self, tier: int) -> bool:
        """Say whether anything of `tier` has arrived."""
        return tier in self._tiers

    def coded(self) -> bytes:
        """Return the coded chunk."""
        return self._best.coded()

    def missing(self, tier: int) -> int:
        """Return the bitmap of the symbols that `tier` lacks: 0 where the chunk is whole, WHOLE none has arrived."""
        if self.complete:
            return 0
        known = self._tiers.get(tier)
        return WHOLE if known is None else known.missing

    def nearest(self, tier: int) -> int:
        """Return the tier to complete the chunk in: `tier`, unless that lacks all and another one little."""
        if tier in self._tiers:
            return tier
        near = {each: known.missing.bit_count() / known.header.symbols for each, known in self._tiers.items()}
        best = min(near, key=lambda each: near[each])
        return best if near[best] <= NEARLY_WHOLE else tier

    def add(self, audio: Audio) -> Added:
        """Take one symbol."""
        header = audio.chunk
        if self.complete and (self.heard or header.tier > self.header.tier):
            return Added.DUPLICATE  # too late, or a better one is whole
        known = self._tiers.get(header.tier)
        if known is None:
            if header.first_frame != self.begin or header.first_frame + header.frames != self.end:
                return Added.REFUSED
            known = self._tiers[header.tier] = Assembly(self.seq, header)
            self.coded_bytes += header.coded_bytes
        if not known.accepts(header):
            return Added.REFUSED
        if not known.add(audio.index, audio.payload):
            return Added.DUPLICATE
        if not known.complete:
            return Added.NEW
        self._best, self.complete = known, True
        for worse in [tier for tier in self._tiers if tier > header.tier]:
            self.coded_bytes -= self._tiers.pop(worse).header.coded_bytes
        return Added.COMPLETED
