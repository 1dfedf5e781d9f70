"""The jitter buffer: chunks as they arrive, in order, until they are played.

It holds coded chunks; a chunk is decoded when it is first read, and only a few decoded ones are kept.  Capacity is a
number of chunks (twice what the host says it sends ahead) and of bytes; at capacity the chunk furthest in the future
gives way, because it has the best chance of being repaired later.

Chunks need not be of one length: songs end in shorter ones, and a host whose buffer grows makes longer ones.  Where a
chunk lies of which nothing has arrived is reckoned from its neighbours.

Chunks coded without loss follow one another bit for bit.  Where one of two neighbours is lossy, the two don't meet:
each has its own error.  So they are cross-faded with what the lossy one knows of the other: what it decodes behind its
own end fades out over the head of the later one; or, where the later one alone is lossy, what it decodes before its own
beginning fades in over the tail of the earlier.
"""

from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict, deque
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from radiosync.audio.codec import ChunkCodec, Codec
from radiosync.audio.crossfade import cross_fade
from radiosync.audio.format import AudioFormat, Samples
from radiosync.audio.opus import OVERLAP_NS, Decoded
from radiosync.errors import RemoteProtocolError
from radiosync.listener.slot import Added, Slot
from radiosync.repair.request import WHOLE
from radiosync.units import NS_PER_S, MediaFrame, frames_from_ns, ns_from_frames
from radiosync.wire.messages import Audio, ChunkHeader

PASSED_NS = NS_PER_S  # kept before the play position, for a resampler to run in on
CHUNKS_SPARE = 16  # beyond twice the buffer and what has passed
CHUNKS_MAX = 16_384  # 80 s of the smallest chunks
BYTES_MAX = 256 << 20  # 45 s of the largest format there is (192 kHz, 8 channels, 32 bits) is 276 MB as PCM
DECODED_MAX = 4  # the chunk being played, its neighbours, and one for a jump
DROPPED_MAX = 64  # chunks that had to go, until they are asked for again: more at once is a flood
_AFTER_ALL = 1 << 62  # greater than any sequence number


class JitterBuffer:
    """The chunks of one session that have arrived and not been played."""

    def __init__(self, audio: AudioFormat, chunks_max: int) -> None:
        self.format = audio
        self.chunks_max = chunks_max
        self._codec = ChunkCodec()
        self._slots: dict[int, Slot] = {}
        self._order: list[tuple[MediaFrame, int]] = []
        self._decoded: OrderedDict[int, Decoded] = OrderedDict()
        # What lossy chunks know of the frames behind them, by the frame it begins with; needed when they are gone.
        self._behind: OrderedDict[MediaFrame, tuple[int, Samples]] = OrderedDict()
        self._fade_frames = frames_from_ns(OVERLAP_NS, audio.rate)
        self._bytes = 0
        self._whole_frames = 0  # of all chunks that are complete
        self._lossy = False  # whether any chunk has come that is
        self._found: tuple[int, int, Slot | None] = (0, 0, None)  # the frames for which `header_at` has found what
        self.floor_frame = MediaFrame(0)
        self._passed_seq = -1
        self.overflows = 0
        self.broken = 0
        self.dropped: deque[int] = deque(maxlen=DROPPED_MAX)
        """The numbers of chunks that were whole and had to go: to be asked for again."""

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def full(self) -> bool:
        """Whether a new chunk would have to push out another."""
        return len(self._slots) >= self.chunks_max

    def add(self, seq: int, audio: Audio) -> Added:
        """Take one symbol of chunk `seq`."""
        header = audio.chunk
        if header.first_frame + header.frames <= self.floor_frame:
            self._passed_seq = max(self._passed_seq, seq)
            return Added.LATE
        slot = self._slots.get(seq)
        if slot is None:
            if header.frames * self.format.frame_bytes > BYTES_MAX // 4 or not self._make_room(header, seq):
                return Added.REFUSED
            slot = self._slots[seq] = Slot(seq, header)
            insort(self._order, (header.first_frame, seq))
            self._found = (0, 0, None)
            self._bytes += header.coded_bytes
        elif not slot.knows(header.tier) and self._bytes + header.coded_bytes > BYTES_MAX:
            self.overflows += 1
            return Added.REFUSED
        self._lossy = self._lossy or header.codec == Codec.OPUS
        before_bytes, was_complete = slot.coded_bytes, slot.complete
        added = slot.add(audio)
        self._bytes += slot.coded_bytes - before_bytes
        if slot.complete and not was_complete:
            self._whole_frames += slot.end - slot.begin
        return added

    def make_room(self, buffer_ns: int, chunk_frames: int) -> None:
        """Hold what a host sends that is `buffer_ns` ahead; never less than before, since that is on its way."""
        chunk_ns = max(1, ns_from_frames(chunk_frames, self.format.rate))
        chunks = min((2 * buffer_ns + PASSED_NS) // chunk_ns + CHUNKS_SPARE, CHUNKS_MAX)
        self.chunks_max = max(self.chunks_max, chunks)

    def missing(self, seq: int, tier: int = 0) -> int:
        """Return the bitmap of the symbols that chunk `seq` lacks of `tier`.

        0 where it is whole in any tier, or over; WHOLE where nothing has arrived.
        """
        slot = self._slots.get(seq)
        if slot is None:
            return 0 if seq <= self._passed_seq else WHOLE  # later numbers have later frames
        return slot.missing(tier)

    def nearest(self, seq: int, tier: int) -> int:
        """Return the tier to ask for chunk `seq` in, if it should be `tier`: another one that nearly is whole."""
        slot = self._slots.get(seq)
        return tier if slot is None else slot.nearest(tier)

    def header(self, seq: int) -> ChunkHeader | None:
        """Return what is known of chunk `seq`."""
        slot = self._slots.get(seq)
        return None if slot is None else slot.header

    def end_of(self, seq: int, chunk_frames: int, announced: tuple[int, MediaFrame]) -> MediaFrame:
        """Return where chunk `seq` ends, or should end where nothing of it has arrived.

        `announced` is the number and first frame of some chunk, `chunk_frames` the usual length.  What lies before a
        known chunk is reckoned back from that, since a hole or a jump lies before it rather than behind it.
        """
        if (header := self.header(seq)) is not None:
            return MediaFrame(header.first_frame + header.frames)
        if seq == announced[0]:
            return MediaFrame(announced[1] + chunk_frames)
        index = bisect_left(self._order, seq, key=itemgetter(1))
        begin_seq, begin, usual = 0, MediaFrame(0), chunk_frames
        if index > 0:
            before = self._slots[self._order[index - 1][1]]
            begin_seq, begin = before.seq + 1, MediaFrame(before.header.first_frame + before.header.frames)
            usual = max(usual, before.header.frames)  # while lengths change, the greater: early would be given up on
        after_frame, after_seq = self._order[index] if index < len(self._order) else (MediaFrame(0), 0)
        if announced[0] <= seq and (index == 0 or announced[0] > begin_seq):
            begin_seq, begin = announced
        elif announced[0] > seq and (index == len(self._order) or announced[0] < after_seq):
            after_seq, after_frame = announced
        if after_seq > seq:
            known = index > 0 or announced[0] <= seq
            mean = (after_frame - begin) // max(1, after_seq - begin_seq) if known else usual
            return MediaFrame(after_frame - (after_seq - seq - 1) * min(mean, usual))
        return MediaFrame(begin + (seq + 1 - begin_seq) * usual)

    def drop_before(self, frame: MediaFrame) -> None:
        """Forget the chunks that end at or before `frame`."""
        self.floor_frame = max(self.floor_frame, frame)
        order = self._order
        if not order or order[0][0] >= frame:
            return
        # One that claims to last long must not hold what lies behind it.
        for entry in order[: bisect_left(order, (frame,))]:
            if self._slots[entry[1]].end <= frame:
                self._passed_seq = max(self._passed_seq, entry[1])
                self._remove(entry)

    def drop_between(self, begin: MediaFrame, end: MediaFrame) -> None:
        """Forget the chunks that lie wholly from `begin` on and before `end`."""
        for entry in [e for e in self._order if begin <= e[0] < end]:
            if self._slots[entry[1]].end <= end:
                self._remove(entry)

    def contiguous_until(self, frame: MediaFrame, enough: MediaFrame | None = None) -> MediaFrame:
        """Return the first frame from `frame` on that is not here completely; looks no further than `enough`."""
        if not self._order or self._order[0][0] > frame:
            return frame
        slots, first = self._slots, frame
        for position in range(self._index(frame), len(self._order)):
            slot = slots[self._order[position][1]]
            if slot.end <= first:
                continue
            if slot.begin > frame or not slot.complete or (enough is not None and frame >= enough):
                break
            frame = slot.end
        return frame

    def complete_frames(self, frame: MediaFrame) -> int:
        """Return how many frames from `frame` on are here, gaps not counted."""
        # All but what lies before: of what has been played little is kept.
        order, slots = self._order, self._slots
        ready, first = self._whole_frames, self._index(frame)
        for _, seq in order[:first]:
            slot = slots[seq]
            ready -= slot.end - slot.begin if slot.complete else 0
        if first < len(order) and (slot := slots[order[first][1]]).complete and slot.begin < frame:
            ready -= min(frame, slot.end) - slot.begin
        return ready

    def read(self, frame: MediaFrame, count: int) -> tuple[Samples, NDArray[np.bool_]]:
        """Return `count` frames from `frame` on, and which of them are present; absent ones are silence."""
        overlapping = self._overlapping(frame, count)
        if len(overlapping) == 1 and not self._lossy:  # nearly always
            (slot,) = overlapping
            within = slot.complete and slot.begin <= frame and frame + count <= slot.end
            decoded = self._decode(slot) if within else None
            if decoded is not None:
                begin = frame - slot.begin
                return decoded.samples[begin : begin + count].copy(), np.ones(count, np.bool_)
        samples = self.format.silence(count)
        present = np.zeros(count, np.bool_)
        for slot in overlapping:
            decoded = self._decode(slot) if slot.complete else None
            if decoded is None:
                continue
            begin, end = max(slot.begin, frame), min(slot.end, frame + count)
            part = samples[begin - frame : end - frame]
            part[:] = decoded.samples[begin - slot.begin : end - slot.begin]
            self._join(slot, decoded, begin - slot.begin, part)
            present[begin - frame : end - frame] = True
        return samples, present

    def header_at(self, frame: MediaFrame) -> ChunkHeader | None:
        """Return the header of the chunk that `frame` lies in."""
        begin, until, slot = self._found
        if slot is not None and begin <= frame < until:  # every turn of a loop asks
            return slot.header
        order = self._order
        for position in range(self._index(frame), len(order)):
            slot = self._slots[order[position][1]]
            if slot.begin > frame:
                return None
            if slot.end > frame:
                until = min(slot.end, order[position + 1][0]) if position + 1 < len(order) else slot.end
                self._found = slot.begin, until, slot
                return slot.header
        return None

    def _index(self, frame: MediaFrame) -> int:
        """Return the place in the order of the last slot that begins at or before `frame`, or 0."""
        return max(0, bisect_right(self._order, (frame, _AFTER_ALL)) - 1)

    def _overlapping(self, frame: MediaFrame, count: int) -> list[Slot]:
        """Return the slots that hold any of `count` frames from `frame` on; a list, since decoding may remove one."""
        found, slots, end = [], self._slots, frame + count
        for position in range(self._index(frame), len(self._order)):
            slot = slots[self._order[position][1]]
            if slot.begin >= end:
                break
            if slot.end > frame:
                found.append(slot)
        return found

    def _make_room(self, header: ChunkHeader, seq: int) -> bool:
        """Make room for a new chunk; say whether it may come in."""
        while len(self._slots) >= self.chunks_max or self._bytes + header.coded_bytes > BYTES_MAX:
            self.overflows += 1
            if not self._order or self._order[-1] <= (header.first_frame, seq):
                return False
            self._drop(self._order[-1])
        return True

    def _drop(self, entry: tuple[MediaFrame, int]) -> None:
        """Remove a chunk that is still wanted."""
        if self._slots[entry[1]].complete:  # if not, it is being asked for, or will be
            self.dropped.append(entry[1])
        self._remove(entry)

    def _remove(self, entry: tuple[MediaFrame, int]) -> None:
        self._order.remove(entry)
        self._found = (0, 0, None)
        slot = self._slots.pop(entry[1])
        self._bytes -= slot.coded_bytes
        self._whole_frames -= slot.end - slot.begin if slot.complete else 0
        self._decoded.pop(entry[1], None)

    def _join(self, slot: Slot, decoded: Decoded, begin: int, part: Samples) -> None:
        """Cross-fade what `part`, the frames of a chunk from its `begin` on, has of the chunk's edges."""
        if not self._lossy:
            return
        frames, end = len(decoded.samples), begin + len(part)
        longest = min(self._fade_frames, frames // 2)
        if begin < longest:
            earlier = self._known_behind(slot)[:longest]
            if begin < len(earlier):
                faded = cross_fade(earlier, decoded.samples[: len(earlier)], self.format.sample)[begin:end]
                part[: len(faded)] = faded
        if end > frames - longest and not len(decoded.after):
            later = self._known_before(slot)
            later = later[max(0, len(later) - longest) :]
            first = frames - len(later)
            if end > first:
                faded = cross_fade(decoded.samples[first:], later, self.format.sample)[
                    max(0, begin - first) : end - first
                ]
                part[len(part) - len(faded) :] = faded

    def _known_behind(self, slot: Slot) -> Samples:
        """Return what the chunk before this one knows of its frames: none, unless that is lossy."""
        header = slot.header
        earlier = self._neighbour(slot, -1)
        if earlier is not None and earlier.header.first_frame + earlier.header.frames == header.first_frame:
            decoded = self._decode(earlier)
            if decoded is not None:
                return decoded.after if earlier.header.epoch == header.epoch else self.format.silence(0)
        epoch, passed = self._behind.get(header.first_frame, (0, None))
        return self.format.silence(0) if passed is None or epoch != header.epoch else passed

    def _known_before(self, slot: Slot) -> Samples:
        """Return what the chunk after this one knows of its frames: none, unless that is lossy."""
        header = slot.header
        later = self._neighbour(slot, 1)
        if (
            later is not None
            and later.header.first_frame == header.first_frame + header.frames
            and later.header.epoch == header.epoch
        ):
            decoded = self._decode(later)
            if decoded is not None:
                return decoded.before
        return self.format.silence(0)

    def _neighbour(self, slot: Slot, step: int) -> Slot | None:
        """Return the lossy chunk next to this one in order, if it is complete."""
        index = bisect_left(self._order, (slot.header.first_frame, slot.seq)) + step
        if not 0 <= index < len(self._order):
            return None
        found = self._slots[self._order[index][1]]
        return found if found.complete and found.header.codec == Codec.OPUS else None

    def _decode(self, slot: Slot) -> Decoded | None:
        header = slot.header
        known = self._decoded.get(slot.seq)
        if known is not None or self._slots.get(slot.seq) is not slot:  # a neighbour's turn may have shown it broken
            return known
        try:
            decoded = self._codec.decode_with_overlap(Codec(header.codec), slot.coded(), self.format, header.frames)
        except (RemoteProtocolError, ValueError):
            # Damaged on the way in spite of UDP's checksum, or forged: as if nothing had arrived, so it is asked for.
            self.broken += 1
            self._drop((header.first_frame, slot.seq))
            return None
        self._decoded[slot.seq] = decoded
        slot.heard = True
        if len(decoded.after):
            self._behind[MediaFrame(header.first_frame + header.frames)] = header.epoch, decoded.after.copy()
        for kept in (self._decoded, self._behind):
            while len(kept) > DECODED_MAX:
                kept.popitem(last=False)
        return decoded
