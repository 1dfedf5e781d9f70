"""The sender: chunks from the reader to the network, and again where somebody lacks them.

Music goes before repairs, and these before backfill.  All are paced: music by its own schedule, the others by budgets
in multiples of its rate.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from radiosync.audio.format import AudioFormat
from radiosync.audio.tiers import Tier, tiers_for
from radiosync.config import Config
from radiosync.host.buffers import History, PreBuffer
from radiosync.host.ladder import Ladder, TierAudio, TierJob
from radiosync.host.pacer import Pacer
from radiosync.host.packetizer import CodedAudio, Packetizer, chunk_frames
from radiosync.host.transport import Transport
from radiosync.repair.respond import RepairQueue
from radiosync.repair.symbols import Chunk
from radiosync.units import NS_PER_MS, HostNs, MediaFrame, frames_from_ns, ns_from_frames
from radiosync.wire.codec import AUDIO_OVERHEAD, encode
from radiosync.wire.groups import Address
from radiosync.wire.limits import TIERS_MAX
from radiosync.wire.messages import Audio, Nack, NackEntry, extend_seq

GATHER_SHARE = 20  # of the buffer: what gathering may cost of a short one
HELLO_NS = 150 * NS_PER_MS  # from the first announcement to the first symbol: who waits has joined by then
SYMBOLS_PER_NACK_MAX = 1024  # of one datagram; an honest listener asks for 600, or for one chunk more
SYMBOLS_UNMADE = 8  # what a chunk that has not been made yet in the tier asked for counts for
REPAIRS_PER_S_MIN = 200  # a budget in multiples of a very quiet stream would be nothing


@dataclass(frozen=True, slots=True)
class Datagram:
    """Bytes to send: to one listener, or with None to the group of `tier`; `urgent` ones overtake audio."""

    data: bytes
    to: Address | None
    urgent: bool
    tier: int = 0
    repair: bool = False


@dataclass(slots=True)
class SendCounters:
    """What has been counted since the start."""

    symbols_sent: int = 0
    tier_symbols_sent: int = 0
    repairs_multicast: int = 0
    repairs_parity: int = 0
    """Of those, how many were parity."""
    repairs_unicast: int = 0
    chunks_late: int = 0
    """Chunks dropped because they could not be sent in time."""


class Sender:
    """Keeps the chunks of a session and says which of their symbols to send."""

    def __init__(self, config: Config, audio: AudioFormat, session: int, transport: Transport, now: HostNs) -> None:
        self._session = session
        self._transport = transport
        self.rate = audio.rate
        self._audio = audio
        self._config = config
        self._host = config.host
        self._start_frames = frames_from_ns(config.radio_sync.safety_ns, audio.rate)
        self.packetizer = Packetizer(config.network.datagram_max)
        self.history = History(frames_from_ns(config.host.linger_ns, audio.rate))
        self.counters = SendCounters()
        self.next_seq_sent = 0
        self._prebuffer = PreBuffer(0, 0)
        self._pacer = Pacer(config.host.fill_rate)
        self.set_depth(config.radio_sync.buffer_ns)
        tiers = tiers_for(audio, self.chunk_frames) if config.radio_sync.adaptive_quality else (Tier.LOSSLESS,)
        symbol_bytes = config.network.datagram_max - AUDIO_OVERHEAD
        self.ladder = Ladder(audio, tiers, symbol_bytes, config.host.fill_rate)
        self._repairs = RepairQueue(REPAIRS_PER_S_MIN, REPAIRS_PER_S_MIN, now)
        self._audio_from = HostNs(now + min(HELLO_NS, config.host.start_lead_ns // 4))

    # --- in ------------------------------------------------------------------------------------------------------

    def set_depth(self, depth_ns: int, *, hold: bool = False) -> None:
        """Read and send `depth_ns` ahead from now on, in chunks of the length that goes with it.

        With `hold` the music waits until it is that far ahead: for a live source, which can't be read faster.
        """
        chunk_ns = self._config.radio_sync.chunk_ns_at(depth_ns)
        self.depth_ns = depth_ns
        self.chunk_frames = chunk_frames(self._audio, chunk_ns, self._config.network.datagram_max)
        self._buffer_frames = frames_from_ns(depth_ns, self.rate)
        self._prebuffer.resize(self._buffer_frames, self.chunk_frames)
        self._gather_ns_max = depth_ns // GATHER_SHARE
        self._hold = hold

    def wanted_at(self, now: HostNs) -> HostNs | None:
        """Return when the next chunk will be wanted from the source; None while nothing moves."""
        frames = self._prebuffer.frames_until_wanted(self.packetizer.next_frame, self._transport.horizon(now))
        return self._when_moved(frames, now)

    def add(self, coded: CodedAudio, now: HostNs) -> Chunk:
        """Take the next stretch of audio."""
        hold, self._hold = self._hold, False
        if hold and self._transport.horizon_moves:
            # A hole is the same for everybody, whatever datagrams are lost, and needs no record of the timeline.
            self.packetizer.skip_to(self._transport.newest.frame_at(HostNs(now + self.depth_ns), self.rate))
        chunk = self._packetize(coded, now)
        self._prebuffer.add(chunk)
        return chunk

    def restore(self, next_seq_sent: int, first_seq: int, first_frame: MediaFrame, now: HostNs) -> None:
        """Go on with a session that was being sent before; the chunks from `first_seq` on come by `add_again`."""
        self.next_seq_sent = next_seq_sent
        self.packetizer.go_on_at(first_seq, first_frame)
        self._audio_from = now  # who listens has been there for long

    def add_again(self, coded: CodedAudio, seq: int, frame: MediaFrame, now: HostNs, *, same: bool) -> Chunk:
        """Take a chunk that was made before as number `seq`; one that was sent is kept if it is the `same`."""
        self.packetizer.go_on_at(seq, frame)
        chunk = self._packetize(coded, now)
        if seq >= self.next_seq_sent:
            self._prebuffer.add(chunk)
        elif same:
            self.history.add(chunk)
        return chunk

    def abandon(self) -> None:
        """Drop what has not been sent, and what was sent for a start that is not made: it will never be heard."""
        self._pacer.gather_ns = 0  # what comes now is waited for
        self.ladder.abandon()
        begun, unsent = self._prebuffer.clear()
        if begun is not None:
            self.history.add(begun)
        for seq in self.history.drop_after_epoch(self._transport.newest.epoch):
            self._forget(seq)
        if unsent is not None:
            self.packetizer.rewind(unsent)
        self.next_seq_sent = self.packetizer.next_seq

    def ask(self, nack: Nack, source: Address, now: HostNs, *, first_seq: int) -> None:
        """Note that `source`, which came before chunk `first_seq` was sent, lacks what `nack` says.

        As far as an honest listener would ask for at once.
        """
        symbols = 0
        lanes = self.ladder.lanes
        for entry in nack.entries:
            for sent in self.history.within(extend_seq(entry.seq, self.next_seq_sent), entry.run or 1):
                chunk = self._in_tier(sent, entry, source, now) if entry.tier in lanes else sent
                if chunk is None:
                    symbols += SYMBOLS_UNMADE
                    continue
                everything = (1 << len(chunk.symbols)) - 1
                bitmap = everything if entry.run else entry.bitmap & everything
                symbols += bitmap.bit_count()
                if symbols > SYMBOLS_PER_NACK_MAX:
                    return
                self._repair(chunk, bitmap, source, now, backfill=sent.header.seq < first_seq)

    def want_tier(self, tier: int, now: HostNs) -> None:
        """Note that a listener wants `tier` to be sent."""
        if tier:
            self.ladder.want(tier, self.next_seq_sent, now)

    def next_tier_job(self, *, complete: bool) -> TierJob | None:
        """Return what is to be made next for the lower tiers; `complete` once the last chunk is known."""
        return self.ladder.next_job(self.next_seq_sent, self._base, complete=complete)

    def add_tier_audio(self, made: TierAudio, now: HostNs) -> None:
        """Take what has been made for a lower tier."""
        askers = self.ladder.add(made, self.history.get)
        chunk = self.ladder.get(made.job.tier, made.job.chunk.header.seq)
        if chunk is not None:
            for address in askers:
                self._repair(chunk, (1 << len(chunk.symbols)) - 1, address, now)

    def note_reach(self, address: Address, *, reached: bool) -> None:
        """Note whether multicast reaches a listener."""
        self._repairs.note_reach(address, reached=reached)

    def forget_listener(self, address: Address) -> None:
        """Drop what `address` alone waits for."""
        self._repairs.forget_listener(address)
        self.ladder.forget_listener(address)

    def expire(self, now: HostNs) -> None:
        """Forget what can't be heard any more."""
        due = self._transport.due_frame(now)
        for chunk in self._prebuffer.drop_late(due):
            self.counters.chunks_late += 1
            self.next_seq_sent = chunk.header.seq + 1
        for seq in self.history.expire(due, self._transport.log.at(now).epoch):
            self._forget(seq)
        self.ladder.expire(now)

    # --- out -----------------------------------------------------------------------------------------------------

    def datagrams(self, now: HostNs) -> Iterator[Datagram]:
        """Give out the symbols that may leave now."""
        horizon = self._transport.horizon(now)
        while now >= self._audio_from and self._pacer.granted(now) and (chunk := self._prebuffer.due(horizon)):
            ahead = chunk.header.first_frame - horizon
            speed = self._pacer.speed(
                starting=self._transport.preparation is not None and ahead < self._start_frames,
                filling=ahead < self._buffer_frames - 2 * self.chunk_frames,
            )
            chunk, index, last = self._prebuffer.take_symbol()
            if last:
                self.history.add(chunk)
                self.next_seq_sent = chunk.header.seq + 1
            spare_ns = ns_from_frames(self._buffer_frames - ahead, self.rate)  # since it came within the buffer
            chunk_ns = ns_from_frames(chunk.header.frames, self.rate)
            self._pacer.sent(chunk, chunk_ns, now, due_at=HostNs(now - spare_ns), speed=speed)
            self.counters.symbols_sent += 1
            yield self._symbol(chunk, index, None, now, repair=False)
        yield from self._tier_datagrams(horizon, now)
        while (repair := self._repairs.take(now)) is not None:
            seq, tier = divmod(repair.seq, TIERS_MAX)
            sent = self.ladder.get(tier, seq) if tier else self.history.get(seq)
            if sent is None:
                continue
            if repair.to is None:
                self.counters.repairs_multicast += 1
                self.counters.repairs_parity += repair.parity
            else:
                self.counters.repairs_unicast += 1
            index = repair.index + (len(sent.symbols) if repair.parity else 0)
            yield self._symbol(sent, index, repair.to, now, repair=True)

    def next_timeout(self, now: HostNs) -> HostNs | None:
        """Return when something may be sent next."""
        frames = self._prebuffer.frames_until_due(self._transport.horizon(now))
        due_at = None if frames is None else self._when_moved(frames, now)
        if due_at is not None:
            gather_ns = min(self._pacer.gather_ns, self._gather_ns_max)
            due_at = max(due_at, HostNs(self._pacer.next_at(now) + gather_ns), self._audio_from)
        times = [at for at in (due_at, self._repairs.next_timeout()) if at is not None]
        times += [lane.pacer.next_at(now) for lane in self.ladder.lanes.values() if lane.outbox]
        return min(times, default=None)

    @property
    def emptied(self) -> bool:
        """Whether everything that was made has been sent."""
        return self._prebuffer.first() is None

    def first_from(self, frame: MediaFrame) -> tuple[int, MediaFrame]:
        """Return number and first frame of the chunk that `frame` lies in, or the first after it, or the next made."""
        chunk = self.history.at(frame) or self._prebuffer.first()
        if chunk is None:
            return self.packetizer.next_seq, self.packetizer.next_frame
        return chunk.header.seq, chunk.header.first_frame

    # --- inside --------------------------------------------------------------------------------------------------

    def _tier_datagrams(self, horizon: MediaFrame, now: HostNs) -> Iterator[Datagram]:
        for lane in self.ladder.lanes.values():
            while lane.outbox and lane.pacer.granted(now):
                chunk, index = lane.take_symbol()
                lasts_ns = ns_from_frames(chunk.header.frames, self.rate)
                filling = chunk.header.first_frame - horizon < self._buffer_frames - 3 * self.chunk_frames
                lane.pacer.sent(
                    chunk, lasts_ns, now, due_at=now, speed=lane.pacer.speed(starting=False, filling=filling)
                )
                self.counters.tier_symbols_sent += 1
                yield self._symbol(chunk, index, None, now, repair=False)

    def _packetize(self, coded: CodedAudio, now: HostNs) -> Chunk:
        frame = self.packetizer.next_frame
        ahead_ns = max(0, ns_from_frames(frame - self._transport.horizon(now), self.rate))
        play_at = self._transport.play_at(frame, now)
        chunk = self.packetizer.packetize(coded, self._transport.epoch, play_at, now, ahead_ns)
        per_s = max(REPAIRS_PER_S_MIN, len(chunk.symbols) * self.rate // coded.frames)
        self._repairs.set_rates(round(per_s * self._host.repair_share), round(per_s * self._host.repair_share_total))
        return chunk

    def _base(self, seq: int) -> Chunk | None:
        return self.history.get(seq) or self._prebuffer.get(seq)

    def _in_tier(self, sent: Chunk, entry: NackEntry, source: Address, now: HostNs) -> Chunk | None:
        """Return the chunk in the lower tier that is asked for, or have it made."""
        self.want_tier(entry.tier, now)
        chunk = self.ladder.get(entry.tier, sent.header.seq)
        if chunk is None:
            self.ladder.ask(entry.tier, sent.header.seq, source)
        return chunk

    def _repair(self, chunk: Chunk, bitmap: int, source: Address, now: HostNs, *, backfill: bool = False) -> None:
        header = chunk.header
        key = header.seq * TIERS_MAX + header.tier
        self._repairs.ask(key, bitmap, self._deadline_at(chunk, now), source, now, backfill=backfill)

    def _deadline_at(self, chunk: Chunk, now: HostNs) -> HostNs:
        """Return when the last frame of `chunk` is due: reckoned once for each record, since every NACK asks."""
        transport = self._transport
        newest = transport.newest
        if chunk.deadline is not None and chunk.deadline[0] is newest and transport.horizon_moves:
            return chunk.deadline[1]
        header = chunk.header  # its end may belong to the next epoch already
        lasts_ns = ns_from_frames(header.frames, self.rate)
        deadline_at = HostNs(transport.play_at(header.first_frame, now) + lasts_ns)
        if transport.horizon_moves:  # otherwise it moves with `now`
            chunk.deadline = newest, deadline_at
        return deadline_at

    def _forget(self, seq: int) -> None:
        self.ladder.forget(seq)
        for tier in range(TIERS_MAX):
            self._repairs.forget(seq * TIERS_MAX + tier)

    def _when_moved(self, frames: int, now: HostNs) -> HostNs | None:
        """Return when the horizon will have moved by so many frames; None while it does not move."""
        if frames == 0:
            return now
        return self._transport.horizon_reaches(MediaFrame(self._transport.horizon(now) + frames))

    def _symbol(self, chunk: Chunk, index: int, to: Address | None, now: HostNs, *, repair: bool) -> Datagram:
        if self._transport.newest.playing:  # a pause or a start has moved the chunk's play-at since it was stamped
            play_at = self._transport.play_at(chunk.header.first_frame, now)
            if play_at != chunk.header.play_at:
                chunk.header = replace(chunk.header, play_at=play_at)
        audio = Audio(
            session=self._session,
            timeline=self._transport.newest,
            chunk=chunk.header,
            index=index,
            repair=repair,
            payload=chunk.symbol(index),
        )
        return Datagram(encode(audio), to, False, chunk.header.tier, repair)
