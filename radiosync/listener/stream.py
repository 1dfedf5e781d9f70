"""One host's session as a listener follows it: clock, jitter buffer, repair, playout.

It begins with the host's answer and ends with the last frame, the host's good-bye, or a silence that outlasts the
buffer.
"""

from dataclasses import dataclass
from random import Random

from radiosync.audio.format import AudioFormat
from radiosync.clock.filter import ClockFilter
from radiosync.clock.mapping import ClockMapping
from radiosync.clock.poller import ClockPoller
from radiosync.config import Config
from radiosync.listener.exact import ExactPlayout
from radiosync.listener.jitter import Added, JitterBuffer
from radiosync.listener.losses import LossDetector
from radiosync.listener.playout import DevicePlayout
from radiosync.listener.schedule import Schedule
from radiosync.repair.request import WHOLE, RequestScheduler
from radiosync.units import NS_PER_MS, NS_PER_S, LocalNs, MediaFrame, frames_from_ns, ns_from_frames
from radiosync.wire.messages import Announce, Audio, ListenerState, NackEntry, SongInfo, extend_seq

ENTRY_NS = NS_PER_S  # what must lie ready to start in mid-stream: with a backfill of four times the music's rate ...
ENTRY_SHARE = 3  # ... plenty; of a short buffer, a third
START_EARLY_NS = 30 * NS_PER_MS  # before the chosen frame: a block's length and a loop's lateness
PASSED_NS = NS_PER_S  # kept before the play position, for a resampler to run in on
CHUNKS_SPARE = 16  # beyond twice the buffer and what has passed
CHUNKS_MAX = 16_384  # 80 s of the smallest chunks
ROUGH_BOUND_NS = float(NS_PER_S)  # of a mapping taken from an announcement's send stamp alone
SONGS_MAX = 64


@dataclass(slots=True)
class StreamCounters:
    """What has been counted since the stream was found."""

    symbols_received: int = 0
    symbols_lost: int = 0
    """Symbols that had not come when they should have; most of them are repaired later."""
    symbols_repaired: int = 0
    symbols_backfilled: int = 0
    """Symbols that were sent before this listener came, and sent again for it."""
    duplicates: int = 0
    refused: int = 0
    chunks_late: int = 0


class Stream:
    """Follows one session of one host."""

    def __init__(self, announce: Announce, host_ip: str, now: LocalNs, rng: Random, config: Config) -> None:
        self.session = announce.session
        self.host_ip = host_ip
        self.host_name = announce.host_name
        self.control_address = (host_ip, announce.control_port)
        self.clock_address = (host_ip, announce.clock_port)
        self.cookie = announce.cookie
        self.format: AudioFormat = announce.format
        self.final_frame: MediaFrame | None = None
        self.heard_at = now
        self.counters = StreamCounters()
        self.chunk_frames = announce.chunk_frames
        self.buffer_ns = announce.buffer_ms * NS_PER_MS
        chunk_ns = max(1, ns_from_frames(announce.chunk_frames, self.format.rate))
        self._chunks_max = min((2 * self.buffer_ns + PASSED_NS) // chunk_ns + CHUNKS_SPARE, CHUNKS_MAX)
        self.buffer = JitterBuffer(self.format, self._chunks_max)
        self.poller = ClockPoller(rng, now, steady_ns=config.radio_sync.ping_ns)
        self.clock = ClockFilter()
        self._clock_ready = False
        rough = ClockMapping(
            local_at=now,
            host_at=announce.sent_at,
            skew=0.0,
            bound_ns=ROUGH_BOUND_NS,
            sigma_ns=ROUGH_BOUND_NS,
            skew_bound=0.0,
            skew_sigma=0.0,
        )
        self.schedule = Schedule(announce.timeline, rough, self.format.rate, config.listener.offset_ns)
        self.requests = RequestScheduler(rng, self.buffer.missing)
        self._play = (announce.play_seq, announce.play_frame)
        self._first_live_seq = extend_seq(announce.next_seq, announce.play_seq)
        self._losses = LossDetector(self._first_live_seq)
        self._late_seq: int | None = None
        self._songs: dict[int, SongInfo] = {}
        self.playout: ExactPlayout | DevicePlayout | None = None
        self.rtt_ns = 0
        self.receive_announce(announce, now)
        for seq in range(announce.play_seq, min(self._first_live_seq, announce.play_seq + self._chunks_max)):
            self.requests.want(seq, self._deadline_at(seq), now, eager=True)

    # --- in ------------------------------------------------------------------------------------------------------

    def receive_announce(self, announce: Announce, now: LocalNs) -> None:
        """Take in an announcement of this session."""
        self.heard_at = now
        self._follow(announce)
        next_seq = extend_seq(announce.next_seq, self._losses.next_seq)
        play_seq = extend_seq(announce.play_seq, next_seq)
        # The newest pair: songs end in shorter chunks, and a late source leaves gaps.
        self._play = (play_seq, announce.play_frame)
        if abs(next_seq - self._losses.next_seq) > self._chunks_max:
            # An outage has outlasted all that was sent before it: go on with what can still be heard.
            self._losses = LossDetector(max(play_seq, next_seq - self._chunks_max))
            self.requests.clear()
        self._losses.sent_before(next_seq, now)
        if announce.final_frame is not None:
            self.set_final(announce.final_frame)

    def receive_song(self, song: SongInfo) -> None:
        """Take in the tags of a song."""
        while len(self._songs) >= SONGS_MAX and song.song_id not in self._songs:
            del self._songs[next(iter(self._songs))]
        self._songs[song.song_id] = song

    def receive_audio(self, audio: Audio, now: LocalNs) -> None:
        """Take in a symbol."""
        self.heard_at = now
        self._follow(audio)
        seq = extend_seq(audio.chunk.seq, self._losses.next_seq)
        if abs(seq - self._losses.next_seq) > self._chunks_max:
            self.counters.refused += 1
            return
        self.requests.symbols_per_chunk = audio.chunk.symbols
        added = self.buffer.add(seq, audio)
        if added in (Added.NEW, Added.COMPLETED):
            self.counters.symbols_received += 1
            if audio.repair and seq < self._first_live_seq:
                self.counters.symbols_backfilled += 1
            elif audio.repair:
                self.counters.symbols_repaired += 1
            if added is Added.COMPLETED:
                self.requests.forget(seq)
        elif added is Added.DUPLICATE:
            self.counters.duplicates += 1
        elif added is Added.REFUSED:
            self.counters.refused += 1
        elif seq != self._late_seq:
            self._late_seq = seq
            self.counters.chunks_late += 1
        if not audio.repair:
            self._losses.sent_before(seq, now)

    def receive_clock(self, data: bytes, received_at: LocalNs) -> None:
        """Take in a datagram of the clock channel."""
        exchange = self.poller.receive_datagram(data, received_at)
        if exchange is None:
            return
        self.heard_at = max(self.heard_at, received_at)
        self.rtt_ns = exchange.rtt_ns
        self.requests.rtt_ns = exchange.rtt_ns
        steps = self.clock.counters.steps
        self.clock.add(exchange)
        if self.clock.suspicious or self.clock.counters.steps != steps or not self.clock_ready(received_at):
            # A burst settles soon whether a clock has stepped, and makes up for the answers that the first one lost.
            self.poller.hurry(received_at)
        mapping = self.clock.mapping()
        if mapping is not None:
            self.schedule.mapping = mapping

    def set_final(self, frame: MediaFrame) -> None:
        """Note where the music ends."""
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
            bitmap = self.buffer.missing(seq)
            if bitmap:
                count = self.requests.symbols_per_chunk if bitmap == WHOLE else bitmap.bit_count()
                self.counters.symbols_lost += count
                self.requests.want(seq, self._deadline_at(seq), now)
        if self.playout is not None and self.playout.cursor is not None:
            return False
        # While nothing plays nothing else forgets what has passed, and a buffer full of it takes in no more.
        self.buffer.drop_before(self.schedule.frame_at(LocalNs(now - PASSED_NS)))
        return self._try_start(now)

    # --- out -----------------------------------------------------------------------------------------------------

    def ask(self, now: LocalNs) -> tuple[NackEntry, ...]:
        """Return what to ask the host for now."""
        return self.requests.ask(now)

    def next_timeout(self, now: LocalNs) -> LocalNs:
        """Return when to come back at the latest, the playout's and the clock's wishes included."""
        wishes = [self.poller.next_timeout(), self._losses.next_timeout(), self.requests.next_timeout()]
        if self.playout is None or self.playout.cursor is None:
            wishes.append(LocalNs(now + 20 * NS_PER_MS))
        elif isinstance(self.playout, ExactPlayout):
            wishes.append(self.playout.next_timeout())
        return min(at for at in wishes if at is not None)

    # --- what others may know ------------------------------------------------------------------------------------

    def clock_ready(self, now: LocalNs) -> bool:
        """Say whether the clock has been good enough to play by."""
        self._clock_ready = self._clock_ready or self.clock.ready(now)
        return self._clock_ready

    def state(self, now: LocalNs) -> ListenerState:
        """Return where this stream stands."""
        if self.ended:
            return ListenerState.ENDED
        if self.playout is not None and self.playout.cursor is not None:
            return ListenerState.PLAYING
        return ListenerState.BUFFERING if self.clock_ready(now) else ListenerState.SYNCING

    @property
    def ended(self) -> bool:
        """Whether the last frame has been played."""
        return self.playout is not None and self.playout.ended

    @property
    def chunks_concealed(self) -> int:
        """How many chunks' worth of frames had to be concealed, rounded up."""
        return 0 if self.playout is None else -(-self.playout.concealed_frames // self.chunk_frames)

    def buffered_ns(self, now: LocalNs) -> int:
        """Return how much complete audio lies ahead of the play position."""
        frames = self.buffer.complete_frames(self._position(now))
        return ns_from_frames(frames, self.format.rate)

    def playing_calmly(self, enough_ns: int) -> bool:
        """Say whether playing is on and the next `enough_ns` of music are here."""
        if self.playout is None or self.playout.cursor is None:
            return False
        cursor = self.playout.cursor
        until = self.buffer.contiguous_until(cursor, MediaFrame(cursor + frames_from_ns(enough_ns, self.format.rate)))
        return until == self.final_frame or until - cursor >= frames_from_ns(enough_ns, self.format.rate)

    def drained(self, now: LocalNs) -> bool:
        """Say whether there is nothing left to play."""
        return self.buffer.complete_frames(self._position(now)) == 0

    def song(self, now: LocalNs) -> SongInfo | None:
        """Return the song that is heard now."""
        position = self._position(now)
        begun = [song for song in self._songs.values() if song.first_frame <= position]
        return max(begun, key=lambda song: song.first_frame, default=None)

    # --- inside --------------------------------------------------------------------------------------------------

    def _follow(self, message: Announce | Audio) -> None:
        if message.timeline.version > self.schedule.timeline.version:
            self.schedule.timeline = message.timeline

    def _position(self, now: LocalNs) -> MediaFrame:
        if self.playout is not None and self.playout.cursor is not None:
            return self.playout.cursor
        return max(self.schedule.frame_at(now), self.schedule.timeline.media_frame)

    def _deadline_at(self, seq: int) -> LocalNs:
        """Return when the last frame of chunk `seq` is due; reckoned where its header is not known."""
        header = self.buffer.header(seq)
        if header is not None:
            return self.schedule.due_at(MediaFrame(header.first_frame + header.frames))
        play_seq, play_frame = self._play
        return self.schedule.due_at(MediaFrame(play_frame + (seq + 1 - play_seq) * self.chunk_frames))

    def _try_start(self, now: LocalNs) -> bool:
        """Start as soon as the clock is good and enough lies ready."""
        if self.playout is None or not self.clock_ready(now):
            return False
        early_ns = START_EARLY_NS + self.playout.lead_ns
        entry = max(self.schedule.frame_at(LocalNs(now + early_ns)), self.schedule.timeline.media_frame)
        if self.final_frame is not None and entry >= self.final_frame:
            return False
        enough = frames_from_ns(min(ENTRY_NS, self.buffer_ns // ENTRY_SHARE), self.format.rate)
        until = self.buffer.contiguous_until(entry)
        if until - entry < enough and until != self.final_frame:
            return False
        self.playout.start(entry)
        return True
