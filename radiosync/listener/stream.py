"""One host's session as a listener follows it: clock, jitter buffer, repair, playout.

It begins with the host's answer and ends with the last frame, the host's good-bye, or a silence that outlasts the
buffer.
"""

from collections import deque
from random import Random

from radiosync.audio.format import AudioFormat
from radiosync.clock.exchange import Exchange
from radiosync.clock.filter import ClockFilter
from radiosync.clock.mapping import ClockMapping
from radiosync.clock.poller import ClockPoller
from radiosync.config import Config
from radiosync.listener.arrival import ArrivalJitter
from radiosync.listener.counters import StreamCounters
from radiosync.listener.exact import ExactPlayout
from radiosync.listener.jitter import PASSED_NS, JitterBuffer
from radiosync.listener.losses import LossDetector
from radiosync.listener.memory import Memory, host_key
from radiosync.listener.mute import Mute
from radiosync.listener.playout import DevicePlayout
from radiosync.listener.quality import LOW_NS, QualityControl, Supply
from radiosync.listener.schedule import Schedule
from radiosync.listener.slot import Added
from radiosync.listener.sync import ClientSync, calculate_client_sync
from radiosync.repair.request import FAR_NS, WHOLE, RequestScheduler
from radiosync.timeline import Timeline
from radiosync.units import NS_PER_MS, NS_PER_S, HostNs, LocalNs, MediaFrame, frames_from_ns, ns_from_frames
from radiosync.wire.messages import Announce, Audio, ListenerState, NackEntry, SongInfo, Sync, SyncPhase, extend_seq

# What must lie ready to start in mid-stream: the backfill of four times the music's rate has a chunk here in half that,
# and time to repair it; of a short buffer, a third.
ENTRY_NS, ENTRY_SHARE = 300 * NS_PER_MS, 3
UNREADY_NS = 2 * NS_PER_S  # of music, at most, is asked for before the clock is good enough to play by
START_EARLY_NS = 30 * NS_PER_MS  # before the chosen frame: a block's length and a loop's lateness
ROUGH_BOUND_NS = float(NS_PER_S)  # of a mapping taken from an announcement's send stamp alone
SONGS_MAX = 64
LEFT_OUT_MAX = 4  # jumps of which something may still be on its way
PREPARED_NS = NS_PER_S // 2  # the least time to the start that a preparation leaves: who lacks something is waited for
UNHURRIED_NS = 3600 * NS_PER_S  # the deadline of what is missing during a pause: longer than the pause's audio is kept


class Stream:
    """Follows one session of one host."""

    def __init__(
        self, announce: Announce, host_ip: str, now: LocalNs, rng: Random, config: Config, memory: Memory
    ) -> None:
        self.session = announce.session
        self.host_ip = host_ip
        self.host_name = announce.host_name
        self.control_address = (host_ip, announce.control_port)
        self.clock_address = (host_ip, announce.clock_port)
        self.cookie = announce.cookie
        self.format: AudioFormat = announce.format
        self.final_frame: MediaFrame | None = None
        self._final_at = announce.sent_at
        self.heard_at = now
        self.counters = StreamCounters()
        self.chunk_frames = announce.chunk_frames
        self.buffer_ns = announce.buffer_ms * NS_PER_MS
        self._concealed_before = (0, 0)
        self.buffer = buffer = JitterBuffer(self.format, 0)
        self.poller = ClockPoller(rng, now, steady_ns=config.radio_sync.ping_ns)
        known = memory.host_skew(host_key(announce.host_name, host_ip))
        self.clock = ClockFilter() if known is None else ClockFilter(skew=known.rate, skew_sigma=known.prior_sigma)
        self._clock_ready = False
        rough = ClockMapping.rough(announce.sent_at, now, ROUGH_BOUND_NS)
        self.schedule = Schedule(announce.timeline, rough, self.format.rate, config.listener.offset_ns)
        self.quality = QualityControl(config.radio_sync.adaptive_quality, self.format.rate)
        self.quality_reason: str | None = None
        self.requests = RequestScheduler(rng, buffer.missing, lambda seq: buffer.nearest(seq, self.quality.tier))
        self.mute = Mute(self.buffer, self.schedule, self.requests, self.clock, self.buffer_ns, self.chunk_frames)
        self._play = (announce.play_seq, announce.play_frame)
        self._first_live_seq = extend_seq(announce.next_seq, announce.play_seq)
        self._losses = LossDetector(self._first_live_seq)
        self._left_out: deque[tuple[MediaFrame, MediaFrame]] = deque(maxlen=LEFT_OUT_MAX)
        self._songs: dict[int, SongInfo] = {}
        self.playout: ExactPlayout | DevicePlayout | None = None
        self.rtt_ns = self._prepared_version = 0
        self.exchange: Exchange | None = None
        self.sync: ClientSync | None = None
        self.arrivals = ArrivalJitter()
        self._echo: tuple[HostNs, LocalNs] = (HostNs(0), now)
        self.receive_announce(announce, now)
        for seq in range(announce.play_seq, min(self._first_live_seq, announce.play_seq + self.buffer.chunks_max)):
            self._want(seq, now, eager=True)

    # --- in ------------------------------------------------------------------------------------------------------

    def receive_announce(self, announce: Announce, now: LocalNs) -> None:
        """Take in an announcement of this session."""
        self.heard_at = now
        self._follow(announce.timeline, now)
        self._echo = (announce.sent_at, now)
        if not announce.nonce:  # answers come by another way
            self.arrivals.arrived(announce.sent_at, now)
        self.report_ns = announce.report_ms * NS_PER_MS
        self.poller.least_ns = announce.clock_ms * NS_PER_MS
        self._resize(announce)
        next_seq = extend_seq(self.quality.sent_before(announce), self._losses.next_seq)
        play_seq = extend_seq(announce.play_seq, next_seq)
        # The newest pair: songs end in shorter chunks, and a late source leaves gaps.
        self._play = (play_seq, announce.play_frame)
        if abs(next_seq - self._losses.next_seq) > (chunks_max := self.buffer.chunks_max):
            # An outage has outlasted all that was sent before it: go on with what can still be heard.
            self._losses = LossDetector(max(play_seq, next_seq - chunks_max))
            self.requests.clear()
        self._losses.sent_before(next_seq, now)
        if announce.sent_at >= self._final_at:  # a jump makes the end unknown again, and announcements may overtake
            self.set_final(announce.final_frame)
            self._final_at = announce.sent_at

    def receive_song(self, song: SongInfo, now: LocalNs) -> None:
        """Take in the tags of a song."""
        self._follow(song.timeline, now)
        while len(self._songs) >= SONGS_MAX and song.song_id not in self._songs:
            del self._songs[next(iter(self._songs))]
        self._songs[song.song_id] = song

    def receive_sync(self, command: Sync, now: LocalNs) -> None:
        """Take in a sync command: begin to work for its target, or follow its timeline."""
        self.heard_at = now
        self.sync = calculate_client_sync(command, self.rtt_ns)
        self._prepared_version = command.timeline.version if command.phase is SyncPhase.PREPARE else 0
        self._follow(command.timeline, now)
        self.requests.reschedule(lambda seq: self._deadline_at(seq, now), now)  # a start that waits moves with time

    def receive_audio(self, audio: Audio, now: LocalNs) -> None:
        """Take in a symbol."""
        self.heard_at = now
        self._follow(audio.timeline, now)
        seq = extend_seq(audio.chunk.seq, self._losses.next_seq)
        if abs(seq - self._losses.next_seq) > self.buffer.chunks_max:
            self.counters.refused += 1
            return
        if audio.chunk.tier == self.quality.tier:
            self.requests.symbols_per_chunk = audio.chunk.symbols
        begin, end = audio.chunk.first_frame, audio.chunk.first_frame + audio.chunk.frames
        if self._left_out and any(cut <= begin and end <= resumed for cut, resumed in self._left_out):
            self.requests.forget(seq)  # asked for where its place was reckoned
            return  # on its way when the order to jump overtook it
        reckoned = self._end_of(seq) if self.requests else end
        added = self.buffer.add(seq, audio)
        self.quality.note(audio, new=added in (Added.NEW, Added.COMPLETED))
        self.counters.note(seq, added, repair=audio.repair, backfill=seq < self._first_live_seq)
        if added is Added.COMPLETED:
            self.requests.forget(seq)
        elif self.requests.wants(seq):  # its place was reckoned, maybe, and is known now
            self._want(seq, now)
        if end != reckoned:  # nor are those beside it where they were
            self.requests.reschedule(lambda seq: self._deadline_at(seq, now), now)
        if audio.repair:
            self.requests.heard(seq, now)
        elif audio.chunk.tier == self.quality.tier:
            self._losses.sent_before(seq, now)

    def receive_clock(self, data: bytes, received_at: LocalNs) -> None:
        """Take in a datagram of the clock channel."""
        exchange = self.poller.receive_datagram(data, received_at)
        if exchange is None:
            return
        self.heard_at = max(self.heard_at, received_at)
        steps, settled = self.clock.counters.steps, self.poller.settled
        if self.clock.add(exchange):  # what was damaged on its way can say anything
            self.exchange, self.rtt_ns, self.requests.rtt_ns = exchange, exchange.rtt_ns, exchange.rtt_ns
        self.poller.settled = self.clock_ready(received_at)
        if self.clock.suspicious or self.clock.counters.steps != steps or not self.poller.settled:
            # A burst settles soon whether a clock has stepped, and makes up for what the first one could not tell.
            self.poller.hurry(received_at)
        self.poller.excess_ns = self.clock.excess_ns
        mapping = self.clock.mapping() or self.schedule.mapping
        better = 2 * mapping.bound_ns < self.schedule.mapping.bound_ns
        self.schedule.mapping = mapping
        if better or (self.poller.settled and not settled):  # what was due when was a guess
            self.requests.reschedule(lambda seq: self._deadline_at(seq, received_at), received_at)

    def set_final(self, frame: MediaFrame | None) -> None:
        """Note where the music ends; None where a jump has made that unknown again."""
        self.final_frame = frame
        if self.playout is not None:
            self.playout.final_frame = frame

    def attach(self, playout: ExactPlayout | DevicePlayout) -> None:
        """Play through `playout`, which reads this stream's buffer by its schedule."""
        self.playout = playout
        playout.final_frame = self.final_frame

    def handle_timeout(self, now: LocalNs) -> bool:
        """Do what is due; say whether playing has just been started."""
        for seq in self._losses.due(now):
            if bitmap := self.requests.missing(seq):
                self.counters.symbols_lost += self.requests.symbols_per_chunk if bitmap == WHOLE else bitmap.bit_count()
                self._want(seq, now)
        while self.buffer.dropped:  # damaged, or pushed out: nothing else would ask for it again
            self._want(self.buffer.dropped.popleft(), now)
        if self.quality.slot_over(now):
            self._choose_quality(now)
        playing = self.playout is not None and self.playout.cursor is not None
        if not playing or self.buffer.full:  # of what a device has not taken that is gone
            # Nothing else forgets what has passed then, and a buffer full of it takes in no more.
            self.buffer.drop_before(self.schedule.frame_at(LocalNs(now - PASSED_NS)))
        return not playing and self._try_start(now)

    # --- out -----------------------------------------------------------------------------------------------------

    def ask(self, now: LocalNs) -> tuple[NackEntry, ...]:
        """Return what to ask the host for now."""
        # What comes in bulk keeps the answers of the clock waiting behind it, each of them and one way only: where
        # delays scatter and datagrams keep their order, that is milliseconds that no statistics would see.
        self.requests.horizon_ns = FAR_NS if self.clock_ready(now) else UNREADY_NS
        return self.requests.ask(now)

    def next_timeout(self, now: LocalNs) -> LocalNs:
        """Return when to come back at the latest, the playout's and the clock's wishes included."""
        wake_at, playout = self.poller.next_timeout(), self.playout
        if playout is None or playout.cursor is None:
            wake_at = min(wake_at, LocalNs(now + 20 * NS_PER_MS))
        play_at = playout.next_timeout() if isinstance(playout, ExactPlayout) else None
        for at in (self._losses.next_timeout(), self.requests.next_timeout(), play_at):
            wake_at = wake_at if at is None else min(wake_at, at)
        return wake_at

    # --- what others may know ------------------------------------------------------------------------------------

    def clock_ready(self, now: LocalNs) -> bool:
        """Say whether the clock has been good enough to play by."""
        self._clock_ready = self._clock_ready or self.clock.ready(now)
        return self._clock_ready

    def state(self, now: LocalNs) -> ListenerState:
        """Return where this stream stands."""
        if self.ended:
            return ListenerState.ENDED
        if not self.clock_ready(now):
            return ListenerState.SYNCING
        if not self.schedule.record_at(now).playing:
            begins = self.preparing or self.schedule.log.newest.playing
            return ListenerState.BUFFERING if begins else ListenerState.PAUSED
        if self.mute.muted:
            return ListenerState.MUTED
        playing = self.playout is not None and self.playout.cursor is not None
        return ListenerState.PLAYING if playing else ListenerState.BUFFERING

    @property
    def preparing(self) -> bool:
        """Whether a start is being prepared: the last sync command is younger than the timeline's newest record."""
        return self._prepared_version == self.schedule.log.newest.version

    @property
    def ended(self) -> bool:
        """Whether the last frame has been played."""
        return self.playout is not None and self.playout.ended

    @property
    def chunks_concealed(self) -> int:
        """How many chunks' worth of frames had to be concealed, rounded up."""
        frames, chunks = self._concealed_before
        concealed = 0 if self.playout is None else self.playout.concealed_frames
        return chunks + -(-max(0, concealed - frames) // self.chunk_frames)

    def one_way_ns(self) -> tuple[int, int]:
        """Return how long the last exchange took from host to listener and back, by the estimate of the clocks."""
        mapping, exchange = self.clock.mapping(), self.exchange
        if mapping is None or exchange is None:
            return 0, 0
        up_ns = exchange.host_received_at - mapping.host_from_local(exchange.sent_at)
        return exchange.rtt_ns - up_ns, up_ns

    def ready_frame(self, now: LocalNs) -> MediaFrame | None:
        """Return the target of the sync command that this listener is ready for, if it is."""
        if self.sync is None or not self.clock_ready(now):
            return None
        target = self.sync.target_frame
        enough = MediaFrame(target + frames_from_ns(self.sync.required_ns, self.format.rate))
        until = self.buffer.contiguous_until(target, enough)
        return target if until >= enough or target < until == self.final_frame else None

    def echo(self, now: LocalNs) -> tuple[HostNs, int]:
        """Return when the last announcement was sent, and how long ago it was heard."""
        return self._echo[0], now - self._echo[1]

    def buffered_ns(self, now: LocalNs) -> int:
        """Return how much complete audio lies ahead of the play position."""
        return ns_from_frames(self.buffer.complete_frames(self._position(now)), self.format.rate)

    def playing_calmly(self, enough_ns: int) -> bool:
        """Say whether playing is on, the next `enough_ns` of music are here and no burst of clock questions is on."""
        if self.playout is None or self.playout.cursor is None or self.poller.in_burst:
            return False
        cursor = self.playout.cursor
        until = self.buffer.contiguous_until(cursor, MediaFrame(cursor + frames_from_ns(enough_ns, self.format.rate)))
        return until == self.final_frame or until - cursor >= frames_from_ns(enough_ns, self.format.rate)

    def drained(self, now: LocalNs) -> bool:
        """Say whether there is nothing left to play."""
        return self.buffer.complete_frames(self._position(now)) == 0

    def song(self, now: LocalNs) -> SongInfo | None:
        """Return the song that is heard now, once its tags have come."""
        header = self.buffer.header_at(self._position(now))
        return None if header is None else self._songs.get(header.song_id)

    # --- inside --------------------------------------------------------------------------------------------------

    def _resize(self, announce: Announce) -> None:
        """Follow a host that changes how far ahead it sends, or in which chunks."""
        if announce.chunk_frames != self.chunk_frames:
            concealed = 0 if self.playout is None else self.playout.concealed_frames
            self._concealed_before = (concealed, self.chunks_concealed)
            self.chunk_frames = announce.chunk_frames
        self.buffer_ns = announce.buffer_ms * NS_PER_MS
        self.buffer.make_room(self.buffer_ns, self.chunk_frames)
        self.mute.fit(self.buffer_ns, self.chunk_frames)

    def _follow(self, timeline: Timeline, now: LocalNs) -> None:
        old = self.schedule.log.newest
        if timeline is old or not self.schedule.log.add(timeline):
            return
        end = self.schedule.end_frame(old)
        if timeline.epoch != old.epoch and end is not None:
            # What was sent of the old epoch beyond its end will never be heard.
            self.buffer.drop_between(end, timeline.media_frame)
            self._left_out.append((end, timeline.media_frame))
            if self.final_frame is not None and self.final_frame <= timeline.media_frame:
                self.set_final(None)  # it was the old epoch's
        self.requests.reschedule(lambda seq: self._deadline_at(seq, now), now)

    def _choose_quality(self, now: LocalNs) -> None:
        position, rate = self._position(now), self.format.rate
        until = self.buffer.contiguous_until(position, MediaFrame(position + frames_from_ns(LOW_NS, rate)))
        supply = Supply(
            lacking=len(self.requests) > 0,
            ahead_ns=ns_from_frames(until - position, rate),
            buffer_ns=self.buffer_ns,
            concealed=0 if self.playout is None else self.playout.concealed_frames,
        )
        if (reason := self.quality.decide(supply, now)) is not None:
            self.quality_reason = reason
            self.requests.reschedule(lambda seq: self._deadline_at(seq, now), now)

    def _want(self, seq: int, now: LocalNs, *, eager: bool = False) -> None:
        if (deadline_at := self._deadline_at(seq, now)) is not None:
            self.requests.want(seq, deadline_at, now, eager=eager)

    def _position(self, now: LocalNs) -> MediaFrame:
        cursor = None if self.playout is None else self.playout.cursor
        return self.schedule.frame_at(now) if cursor is None else cursor

    def _deadline_at(self, seq: int, now: LocalNs) -> LocalNs | None:
        """Return when the last frame of chunk `seq` is due, by where it should be at least; None if never."""
        frame = self._end_of(seq)
        log, rate = self.schedule.log, self.format.rate
        if self.preparing and self.sync is not None and frame > self.sync.target_frame:
            # A start is being prepared: what it begins with is needed at once.
            after_ns = ns_from_frames(frame - self.sync.target_frame, rate)
            return LocalNs(max(self.schedule.local_at(self.sync.start_at), now + PREPARED_NS) + after_ns)
        cut_at: LocalNs | None = None
        playing = None if self.playout is None else self.playout.record
        record: Timeline | None = playing or self.schedule.record_at(now)
        while record is not None:
            end = self.schedule.end_frame(record)
            if record.playing and frame > record.media_frame:
                if end is None or frame <= end:
                    return self.schedule.due_at(frame, record)
                if frame - self.chunk_frames < end:
                    cut_at = self.schedule.due_at(frame, record)
            record = log.after(record)
        if not log.newest.playing and frame > log.newest.media_frame:
            # While nothing plays, nothing is late; the order stays that of the frames.
            return LocalNs(now + UNHURRIED_NS + ns_from_frames(frame - log.newest.media_frame, rate))
        return cut_at

    def _end_of(self, seq: int) -> MediaFrame:
        return self.buffer.end_of(seq, self.chunk_frames, self._play)

    def _try_start(self, now: LocalNs) -> bool:
        """Start as soon as the clock is good and enough lies ready."""
        if self.playout is None or not self.clock_ready(now):
            return False
        soon = LocalNs(now + START_EARLY_NS + self.playout.lead_ns)
        record, newest = self.schedule.record_at(soon), self.schedule.log.newest
        if not record.playing and newest.playing:
            record = newest  # it will begin: be there
        if not record.playing:
            return False
        entry = max(self.schedule.frame_at(soon, record), record.media_frame)
        end = min((e for e in (self.final_frame, self.schedule.end_frame(record)) if e is not None), default=None)
        if end is not None and entry >= end:
            return False
        enough = frames_from_ns(min(ENTRY_NS, self.buffer_ns // ENTRY_SHARE), self.format.rate)
        until = self.buffer.contiguous_until(entry, MediaFrame(entry + enough))
        if until - entry < enough and (end is None or until < end):
            return False
        self.playout.start(entry, record)
        return True
