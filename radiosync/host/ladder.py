"""The quality ladder: the same chunks once more, coded smaller, for listeners whose network can't keep up.

All tiers have the chunks, the timeline and the play-ats of the lossless stream, so a listener may change between them
at any chunk.  A tier goes to a group of its own, and costs nothing while nobody listens to it: it is made and sent from
the first report or request that wants it until `HOLD_NS` after the last.

While it is sent, each chunk follows its lossless one.  What was sent before, a listener that steps down asks for like
anything else that it lacks; such a chunk is made when it is asked for.  Making one takes longer than a datagram may
wait, so a thread does it: `next_job` says what is to be made, the most urgent first, `add` takes what was made.

A tier's chunk is coded from the lossless one, with a little of its neighbours, so nothing but the coded chunks needs to
be kept.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from radiosync.audio.codec import ChunkCodec, Codec
from radiosync.audio.format import AudioFormat, Samples
from radiosync.audio.tiers import POST_ROLL_NS, PRE_ROLL_NS, Tier, encode_tier, nominal_kbps
from radiosync.host.pacer import Pacer
from radiosync.repair.symbols import Chunk, split
from radiosync.units import NS_PER_S, HostNs, frames_from_ns, ns_from_frames
from radiosync.wire.codec import WIRE_OVERHEAD
from radiosync.wire.groups import Address
from radiosync.wire.messages import TierOffer

HOLD_NS = 10 * NS_PER_S  # ten reports: longer than any network swallows all of them and still carries music
ASKED_MAX = 4096  # chunks asked for and not made yet, over all tiers; what does not fit is asked for again
ASKERS_MAX = 64  # of one chunk; beyond one it is multicast, so the rest gets it all the same
RATE_CHUNKS = 16  # over which a tier's rate is averaged


@dataclass(frozen=True, slots=True, kw_only=True)
class TierJob:
    """A chunk to be coded in a tier, from the lossless one and, where they follow on, its neighbours."""

    tier: Tier
    chunk: Chunk
    before: Chunk | None
    after: Chunk | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TierAudio:
    """What came of a job."""

    job: TierJob
    codec: int
    data: bytes


def transcode(job: TierJob, audio: AudioFormat, codec: ChunkCodec) -> TierAudio:
    """Code a chunk in a tier; takes some ms to some tens of ms, and belongs into a thread."""

    def samples_of(chunk: Chunk) -> Samples:
        header = chunk.header
        return codec.decode(Codec(header.codec), b"".join(chunk.symbols), audio, header.frames)

    none = audio.silence(0)
    before = none if job.before is None else samples_of(job.before)[-frames_from_ns(PRE_ROLL_NS, audio.rate) :]
    after = none if job.after is None else samples_of(job.after)[: frames_from_ns(POST_ROLL_NS, audio.rate)]
    samples = np.ascontiguousarray(samples_of(job.chunk))
    used, data = encode_tier(job.tier, before, samples, after, audio)
    if len(data) >= job.chunk.header.coded_bytes:  # silence, say: nothing is smaller than lossless
        return TierAudio(job=job, codec=job.chunk.header.codec, data=b"".join(job.chunk.symbols))
    return TierAudio(job=job, codec=used, data=data)


class Lane:
    """One tier: its chunks, made and to be sent."""

    def __init__(self, tier: Tier, kbps: int, fill_rate: float) -> None:
        self.tier = tier
        self.chunks: dict[int, Chunk] = {}
        self.wanted_until: HostNs | None = None
        self.next_seq = 0
        """The next chunk to follow its lossless one; while the tier is sent."""
        self.outbox: deque[Chunk] = deque()  # no more than the buffer's: each was sent lossless before
        self.next_symbol = 0
        self.pacer = Pacer(fill_rate)
        self._kbps = kbps
        self._coded: deque[tuple[int, int]] = deque(maxlen=RATE_CHUNKS)

    @property
    def active(self) -> bool:
        """Whether it is being sent."""
        return self.wanted_until is not None

    @property
    def sent_before(self) -> int:
        """The first chunk that has not been sent completely."""
        return self.outbox[0].header.seq if self.outbox else self.next_seq

    def note(self, chunk: Chunk, rate: int) -> None:
        """Keep a chunk that was made, and reckon the tier's rate from the last ones."""
        self.chunks[chunk.header.seq] = chunk
        wire_bytes = sum(len(symbol) for symbol in chunk.symbols) + len(chunk.symbols) * WIRE_OVERHEAD
        self._coded.append((wire_bytes, ns_from_frames(chunk.header.frames, rate)))

    @property
    def kbps(self) -> int:
        """What it takes of the network: measured once it has been made, planned before."""
        if not self._coded:
            return self._kbps
        wire_bytes, lasts_ns = sum(each for each, _ in self._coded), sum(each for _, each in self._coded)
        return round(wire_bytes * 8 * NS_PER_S / max(1, lasts_ns) / 1000)

    def take_symbol(self) -> tuple[Chunk, int]:
        """Return the next symbol to send, as its chunk and index."""
        chunk, index = self.outbox[0], self.next_symbol
        self.next_symbol += 1
        if self.next_symbol == len(chunk.symbols):
            self.outbox.popleft()
            self.next_symbol = 0
        return chunk, index

    def stop(self) -> None:
        """Send it no more; what was made can still be asked for."""
        self.wanted_until = None
        self.outbox.clear()
        self.next_symbol = 0


class Ladder:
    """The tiers below lossless."""

    def __init__(self, audio: AudioFormat, tiers: tuple[Tier, ...], symbol_bytes: int, fill_rate: float) -> None:
        self._audio = audio
        self._symbol_bytes = symbol_bytes
        self.lanes = {int(t): Lane(t, nominal_kbps(t, audio), fill_rate) for t in tiers if t is not Tier.LOSSLESS}
        self._asked: dict[tuple[int, int], set[Address]] = {}
        self.made = 0
        self.overflows = 0

    @property
    def active(self) -> tuple[int, ...]:
        """The tiers that are being sent."""
        return tuple(tier for tier, lane in self.lanes.items() if lane.active)

    def offers(self) -> tuple[TierOffer, ...]:
        """Return what can be had beside lossless."""
        return tuple(
            TierOffer(tier=tier, kbps=lane.kbps, active=lane.active, next_seq=lane.sent_before if lane.active else 0)
            for tier, lane in self.lanes.items()
        )

    def want(self, tier: int, next_seq: int, now: HostNs) -> None:
        """Note that somebody wants `tier`; if it is not being sent, it is from chunk `next_seq` on."""
        lane = self.lanes.get(tier)
        if lane is None:
            return
        if not lane.active:
            lane.next_seq = next_seq
        lane.wanted_until = HostNs(now + HOLD_NS)

    def expire(self, now: HostNs) -> None:
        """Stop sending what nobody wants any more."""
        for lane in self.lanes.values():
            if lane.wanted_until is not None and now >= lane.wanted_until:
                lane.stop()

    def get(self, tier: int, seq: int) -> Chunk | None:
        """Return a chunk of `tier` if it has been made."""
        return self.lanes[tier].chunks.get(seq)

    def ask(self, tier: int, seq: int, by: Address) -> None:
        """Note that `by` lacks a chunk which has not been made."""
        askers = self._asked.get((seq, tier))
        if askers is None:
            if len(self._asked) >= ASKED_MAX:
                self.overflows += 1
                return
            askers = self._asked[seq, tier] = set()
        if len(askers) < ASKERS_MAX:
            askers.add(by)

    def forget(self, seq: int) -> None:
        """Forget chunk `seq`: its lossless one has gone."""
        for tier, lane in self.lanes.items():
            chunk = lane.chunks.pop(seq, None)
            self._asked.pop((seq, tier), None)
            if chunk is not None and chunk in lane.outbox:
                lane.next_symbol = 0 if chunk is lane.outbox[0] else lane.next_symbol
                lane.outbox.remove(chunk)

    def abandon(self) -> None:
        """Send nothing of what waits: the stream goes on elsewhere."""
        for lane in self.lanes.values():
            lane.outbox.clear()
            lane.next_symbol = 0

    def forget_listener(self, address: Address) -> None:
        """Drop what `address` alone waits for."""
        for key in [key for key, askers in self._asked.items() if askers <= {address}]:
            del self._asked[key]

    def next_job(self, next_seq_sent: int, base: Callable[[int], Chunk | None], *, complete: bool) -> TierJob | None:
        """Return what to make next: the earliest chunk that is asked for or follows its lossless one.

        `base` gives the lossless chunks.  A chunk waits for its neighbour behind, unless the stream is `complete`.
        """
        wanted = set(self._asked)
        for tier, lane in self.lanes.items():
            while lane.active and lane.next_seq < next_seq_sent:
                if lane.next_seq not in lane.chunks and base(lane.next_seq) is not None:
                    wanted.add((lane.next_seq, tier))
                    break
                self._follow(lane, lane.next_seq)  # made already for somebody who asked, or dropped
        for seq, tier in sorted(wanted):
            chunk = base(seq)
            if chunk is None:
                self._asked.pop((seq, tier), None)
                continue
            after = base(seq + 1)
            if after is None and not complete:
                continue
            before = base(seq - 1)
            return TierJob(
                tier=Tier(tier),
                chunk=chunk,
                before=before if before is not None and _follows(before, chunk) else None,
                after=after if after is not None and _follows(chunk, after) else None,
            )
        return None

    def add(self, made: TierAudio, base: Callable[[int], Chunk | None]) -> list[Address]:
        """Take what was made; return who asked for it.  What is not of the stream any more is dropped."""
        header, lane = made.job.chunk.header, self.lanes[made.job.tier]
        symbols = split(made.data, self._symbol_bytes)
        key = (header.seq, int(made.job.tier))
        if base(header.seq) is not made.job.chunk:
            return []
        self.made += 1
        header = replace(
            header,
            codec=made.codec,
            tier=int(made.job.tier),
            coded_bytes=len(made.data),
            symbol_bytes=self._symbol_bytes,
            symbols=len(symbols),
        )
        lane.note(Chunk(header=header, symbols=symbols), self._audio.rate)
        if lane.active and header.seq == lane.next_seq:
            self._follow(lane, header.seq)
        return sorted(self._asked.pop(key, ()))

    @staticmethod
    def _follow(lane: Lane, seq: int) -> None:
        chunk = lane.chunks.get(seq)
        if chunk is not None:
            lane.outbox.append(chunk)
        lane.next_seq = seq + 1


def _follows(first: Chunk, second: Chunk) -> bool:
    """Say whether `second` is heard right after `first`."""
    return first.end_frame == second.header.first_frame and first.header.epoch == second.header.epoch
