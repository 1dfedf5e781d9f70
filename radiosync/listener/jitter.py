"""The jitter buffer: chunks as they arrive, in order, until they are played.

It holds coded chunks; a chunk is decoded when it is first read, and only a few decoded ones are kept.  Capacity is a
number of chunks (twice what the host says it sends ahead) and of bytes; at capacity the chunk furthest in the future
gives way, because it has the best chance of being repaired later.
"""

from bisect import bisect_right, insort
from collections import OrderedDict
from collections.abc import Iterator
from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray

from radiosync.audio.codec import ChunkCodec, Codec
from radiosync.audio.format import AudioFormat, Samples
from radiosync.errors import RemoteProtocolError
from radiosync.repair.request import WHOLE
from radiosync.repair.symbols import Assembly
from radiosync.units import MediaFrame
from radiosync.wire.messages import Audio, ChunkHeader

BYTES_MAX = 256 << 20  # 45 s of the largest format there is (192 kHz, 8 channels, 32 bits) is 276 MB as PCM
DECODED_MAX = 4  # the chunk being played, its neighbours, and one for a jump
_AFTER_ALL = 1 << 62  # greater than any sequence number


class Added(Enum):
    """What became of a symbol."""

    NEW = auto()
    COMPLETED = auto()
    DUPLICATE = auto()
    LATE = auto()
    REFUSED = auto()


class JitterBuffer:
    """The chunks of one session that have arrived and not been played."""

    def __init__(self, audio: AudioFormat, chunks_max: int) -> None:
        self.format = audio
        self._chunks_max = chunks_max
        self._codec = ChunkCodec()
        self._slots: dict[int, Assembly] = {}
        self._order: list[tuple[MediaFrame, int]] = []
        self._decoded: OrderedDict[int, Samples] = OrderedDict()
        self._bytes = 0
        self.floor_frame = MediaFrame(0)
        self.overflows = 0
        self.broken = 0

    def __len__(self) -> int:
        return len(self._slots)

    def add(self, seq: int, audio: Audio) -> Added:
        """Take one symbol of chunk `seq`."""
        header = audio.chunk
        if header.first_frame + header.frames <= self.floor_frame:
            return Added.LATE
        slot = self._slots.get(seq)
        if slot is None:
            if header.frames * self.format.frame_bytes > BYTES_MAX // 4 or not self._make_room(header, seq):
                return Added.REFUSED
            slot = self._slots[seq] = Assembly(seq, header)
            insort(self._order, (header.first_frame, seq))
            self._bytes += header.coded_bytes
        if not slot.accepts(header):
            return Added.REFUSED
        if not slot.add(audio.index, audio.payload):
            return Added.DUPLICATE
        return Added.COMPLETED if slot.complete else Added.NEW

    def missing(self, seq: int) -> int:
        """Return the bitmap of the symbols that chunk `seq` lacks: 0 complete, WHOLE none has arrived."""
        slot = self._slots.get(seq)
        return WHOLE if slot is None else slot.missing

    def header(self, seq: int) -> ChunkHeader | None:
        """Return what is known of chunk `seq`."""
        slot = self._slots.get(seq)
        return None if slot is None else slot.header

    def drop_before(self, frame: MediaFrame) -> None:
        """Forget the chunks that end at or before `frame`."""
        self.floor_frame = max(self.floor_frame, frame)
        while self._order:
            slot = self._slots[self._order[0][1]]
            if slot.header.first_frame + slot.header.frames > frame:
                return
            self._remove(self._order[0])

    def drop_between(self, begin: MediaFrame, end: MediaFrame) -> None:
        """Forget the chunks that lie wholly from `begin` on and before `end`."""
        for entry in [e for e in self._order if begin <= e[0] < end]:
            if entry[0] + self._slots[entry[1]].header.frames <= end:
                self._remove(entry)

    def contiguous_until(self, frame: MediaFrame, enough: MediaFrame | None = None) -> MediaFrame:
        """Return the first frame from `frame` on that is not here completely; looks no further than `enough`."""
        for slot in self._from(frame):
            if slot.header.first_frame > frame or not slot.complete or (enough is not None and frame >= enough):
                break
            frame = MediaFrame(slot.header.first_frame + slot.header.frames)
        return frame

    def complete_frames(self, frame: MediaFrame) -> int:
        """Return how many frames from `frame` on are here, gaps not counted."""
        ready = 0
        for slot in self._from(frame):
            if slot.complete:
                begin = max(slot.header.first_frame, frame)
                ready += slot.header.first_frame + slot.header.frames - begin
        return ready

    def read(self, frame: MediaFrame, count: int) -> tuple[Samples, NDArray[np.bool_]]:
        """Return `count` frames from `frame` on, and which of them are present; absent ones are silence."""
        samples = self.format.silence(count)
        present = np.zeros(count, np.bool_)
        for slot in self._overlapping(frame, count):
            header = slot.header
            decoded = self._decode(slot) if slot.complete else None
            if decoded is None:
                continue
            begin = max(header.first_frame, frame)
            end = min(header.first_frame + header.frames, frame + count)
            samples[begin - frame : end - frame] = decoded[begin - header.first_frame : end - header.first_frame]
            present[begin - frame : end - frame] = True
        return samples, present

    def header_at(self, frame: MediaFrame) -> ChunkHeader | None:
        """Return the header of the chunk that `frame` lies in."""
        for slot in self._from(frame):
            return slot.header if slot.header.first_frame <= frame else None
        return None

    def _from(self, frame: MediaFrame) -> Iterator[Assembly]:
        """Yield the slots in order of their frames, from the one that `frame` lies in."""
        index = max(0, bisect_right(self._order, (frame, _AFTER_ALL)) - 1)
        for position in range(index, len(self._order)):
            slot = self._slots[self._order[position][1]]
            if slot.header.first_frame + slot.header.frames > frame:
                yield slot

    def _overlapping(self, frame: MediaFrame, count: int) -> list[Assembly]:
        """Return the slots that hold any of `count` frames from `frame` on; a list, since decoding may remove one."""
        found = []
        for slot in self._from(frame):
            if slot.header.first_frame >= frame + count:
                break
            found.append(slot)
        return found

    def _make_room(self, header: ChunkHeader, seq: int) -> bool:
        """Make room for a new chunk; say whether it may come in."""
        while len(self._slots) >= self._chunks_max or self._bytes + header.coded_bytes > BYTES_MAX:
            self.overflows += 1
            if not self._order or self._order[-1] <= (header.first_frame, seq):
                return False
            self._remove(self._order[-1])
        return True

    def _remove(self, entry: tuple[MediaFrame, int]) -> None:
        self._order.remove(entry)
        self._bytes -= self._slots.pop(entry[1]).header.coded_bytes
        self._decoded.pop(entry[1], None)

    def _decode(self, slot: Assembly) -> Samples | None:
        header = slot.header
        known = self._decoded.get(slot.seq)
        if known is not None:
            return known
        try:
            decoded = self._codec.decode(Codec(header.codec), slot.coded(), self.format, header.frames)
        except (RemoteProtocolError, ValueError):
            # Damaged on the way in spite of UDP's checksum, or forged: as if nothing had arrived, so it is asked for.
            self.broken += 1
            self._remove((header.first_frame, slot.seq))
            return None
        self._decoded[slot.seq] = decoded
        while len(self._decoded) > DECODED_MAX:
            self._decoded.popitem(last=False)
        return decoded
