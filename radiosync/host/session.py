"""A host's session: datagrams, audio and time go in; datagrams, deadlines and events come out.

It only dispatches; every decision lives in the part that is named for it.  Who drives it: mutate once
(`receive_datagram`, `add_audio`, `handle_timeout`), send what `datagrams_to_send` gives, take the events, then sleep
until `next_timeout`.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from radiosync.audio.format import AudioFormat
from radiosync.audio.song import Song
from radiosync.config import Config
from radiosync.errors import RemoteProtocolError
from radiosync.host.announcer import Announcer
from radiosync.host.buffers import History, PreBuffer
from radiosync.host.events import (
    Finished,
    HostEvent,
    ListenerJoined,
    ListenerLeft,
    ListenerStatusChanged,
    SongStarted,
    SourceLate,
)
from radiosync.host.listeners import Cookies, ListenerTable, Status
from radiosync.host.pacer import Pacer
from radiosync.host.packetizer import CodedAudio, Packetizer, chunk_frames
from radiosync.repair.respond import Address, RepairQueue
from radiosync.repair.symbols import Chunk
from radiosync.timeline import PlayState, Timeline
from radiosync.units import NS_PER_MS, NS_PER_S, HostNs, MediaFrame, ns_from_frames
from radiosync.wire.codec import decode, encode
from radiosync.wire.messages import (
    Announce,
    Audio,
    Bye,
    ByeReason,
    Leave,
    ListenerState,
    Nack,
    Report,
    Solicit,
    SongInfo,
    extend_seq,
)

HOUSEKEEPING_NS = 100 * NS_PER_MS
END_LINGER_NS = 3 * NS_PER_S  # how long a listener that plays late, or lost its reports, can hold up the end
HELLO_NS = 150 * NS_PER_MS  # from the first announcement to the first symbol: who waits has joined by then
LATE_LEAD_NS = 200 * NS_PER_MS  # a chunk needs this long to reach everybody
SYMBOLS_PER_NACK_MAX = 1024  # of one datagram; an honest listener asks for 600, or for one chunk more
REPAIRS_PER_S_MIN = 200  # a budget in multiples of a very quiet stream would be nothing


@dataclass(frozen=True, slots=True)
class Datagram:
    """Bytes to send: to one listener, or with None to the group; `urgent` ones overtake audio."""

    data: bytes
    to: Address | None
    urgent: bool


@dataclass(slots=True)
class HostCounters:
    """What has been counted since the start."""

    datagrams_sent: int = 0
    bytes_sent: int = 0
    symbols_sent: int = 0
    repairs_multicast: int = 0
    repairs_unicast: int = 0
    nacks_received: int = 0
    rejected: int = 0
    """Datagrams that were no valid message, or not for this session, or without a valid cookie."""
    chunks_late: int = 0
    """Chunks dropped because they could not be sent in time."""
    source_gaps: int = 0


class HostSession:
    """One stream, from its first frame to its last."""

    def __init__(
        self,
        config: Config,
        audio: AudioFormat,
        *,
        rng: Random,
        now: HostNs,
        control_port: int,
        clock_port: int,
        name: str,
    ) -> None:
        self.config = config
        self.format = audio
        self.session = rng.getrandbits(63) + 1  # never 0, which stands for any
        self.timeline = Timeline(
            version=1,
            epoch=1,
            state=PlayState.PLAYING,
            media_frame=MediaFrame(0),
            effective_at=HostNs(now + config.host.start_lead_ns),
        )
        sync = config.radio_sync
        self.chunk_frames = chunk_frames(audio, sync.chunk_ns, config.network.datagram_max)
        self.chunk_ns = ns_from_frames(self.chunk_frames, audio.rate)
        self.counters = HostCounters()
        self.listeners = ListenerTable(sync.latency_samples, sync.max_client_latency_ns, sync.slow_client_ns)
        self.final_frame: MediaFrame | None = None
        self.finished = False
        self._packetizer = Packetizer(audio, config.network.datagram_max)
        self._prebuffer = PreBuffer(sync.buffer_ns, audio.rate)
        self._history = History(config.host.linger_ns, audio.rate)
        self._pacer = Pacer(config.host.fill_rate)
        self._repairs = RepairQueue(REPAIRS_PER_S_MIN, REPAIRS_PER_S_MIN, now)
        self._cookies = Cookies(rng.randbytes(32))
        self._ports = (control_port, clock_port)
        self._name = name
        self._announcer = Announcer(now)
        self._urgent: deque[Datagram] = deque(maxlen=256)  # answers; a flood of questions pushes out the oldest
        self._events: deque[HostEvent] = deque(maxlen=1024)  # a driver that takes none loses the oldest
        self._statuses: dict[Address, Status] = {}
        self._next_seq_sent = 0
        self._housekeeping_at = now
        self._audio_from = HostNs(now + min(HELLO_NS, config.host.start_lead_ns // 4))

    # --- in ------------------------------------------------------------------------------------------------------

    def audio_wanted(self, now: HostNs) -> bool:
        """Say whether the source should deliver a chunk of at most `chunk_frames` frames."""
        wanted_at = self.audio_wanted_at()
        return wanted_at is not None and wanted_at <= now

    def audio_wanted_at(self) -> HostNs | None:
        """Return when the next chunk will be wanted, or None after the last."""
        if self.final_frame is not None:
            return None
        return self._prebuffer.wanted_at(self._play_at(self._packetizer.next_frame), self.chunk_ns)

    def add_audio(self, coded: CodedAudio, now: HostNs) -> None:
        """Take the next stretch of audio into the pre-buffer."""
        lead_ns = min(LATE_LEAD_NS, self.config.radio_sync.buffer_ns // 2)
        begin = self._packetizer.next_frame
        if self._play_at(begin) < now + lead_ns and begin > 0:
            self._packetizer.skip_to(self.timeline.frame_at(HostNs(now + 2 * lead_ns), self.format.rate))
            self.counters.source_gaps += 1
            self._events.append(SourceLate(frames=self._packetizer.next_frame - begin))
        ahead_ns = max(0, self._play_at(self._packetizer.next_frame) - max(now, self.timeline.effective_at))
        chunk = self._packetizer.packetize(coded, self.timeline, now, ahead_ns)
        self._prebuffer.add(chunk)
        self._announcer.note_song(coded.song, chunk.header)
        per_s = max(REPAIRS_PER_S_MIN, len(chunk.symbols) * self.format.rate // coded.frames)
        host = self.config.host
        self._repairs.set_rates(round(per_s * host.repair_share), round(per_s * host.repair_share_total))

    def end_of_audio(self, now: HostNs) -> None:
        """Note that the source has delivered its last frame."""
        self.final_frame = self._packetizer.next_frame
        self._announcer.hurry(now)

    def receive_datagram(self, data: bytes, source: Address, now: HostNs) -> None:
        """Take a datagram from the control socket; whatever it holds, nothing is raised."""
        try:
            message = decode(data)
        except RemoteProtocolError:
            self.counters.rejected += 1
            return
        if isinstance(message, Solicit) and message.session in (0, self.session):
            self._answer(message, source, now)
        elif (
            isinstance(message, Nack | Report | Leave)
            and message.session == self.session
            and self._cookies.valid(message.cookie, source)
        ):
            if isinstance(message, Nack):
                self._receive_nack(message, source, now)
            elif isinstance(message, Report):
                self._receive_report(message, source, now)
            else:
                self._forget(source, timed_out=False)
        else:
            self.counters.rejected += 1

    def handle_timeout(self, now: HostNs) -> None:
        """Do what is due."""
        if now < self._housekeeping_at:
            return
        self._housekeeping_at = HostNs(now + HOUSEKEEPING_NS)
        for chunk in self._prebuffer.drop_late(now):
            self.counters.chunks_late += 1
            self._next_seq_sent = chunk.header.seq + 1
        for seq in self._history.expire(now):
            self._repairs.forget(seq)
        for row in list(self.listeners):
            status = self.listeners.status(row, now)
            if self._statuses.get(row.address, Status.ACTIVE) != status:
                self._events.append(ListenerStatusChanged(name=row.report.name, status=status))
            self._statuses[row.address] = status
            if now - row.last_heard_at > self.listeners.forget_ns:
                self._forget(row.address, timed_out=True)
        song = self._announcer.song_started(self._due_frame(now))
        if song is not None:
            self._events.append(SongStarted(song=song))
        if not self.finished and self._all_played(now):
            self.finished = True
            self._events.append(Finished())

    def bye(self, reason: ByeReason) -> Datagram:
        """Return the good-bye; its driver sends it a few times."""
        message = Bye(session=self.session, timeline=self.timeline, reason=reason, final_frame=self.final_frame)
        return Datagram(encode(message), None, True)

    # --- out -----------------------------------------------------------------------------------------------------

    def datagrams_to_send(self, now: HostNs) -> Iterator[Datagram]:
        """Give out what may leave now, the urgent first: answers and announcements, then music, then repairs."""
        while self._urgent:
            yield self._counted(self._urgent.popleft())
        if self._announcer.due(now):
            for data in self._announcements(now):
                yield self._counted(Datagram(data, None, True))
        while now >= self._audio_from and self._pacer.granted(now) and (chunk := self._prebuffer.due(now)) is not None:
            filling = chunk.header.play_at - now < self.config.radio_sync.buffer_ns - 2 * self.chunk_ns
            chunk, index, last = self._prebuffer.take_symbol()
            if last:
                self._history.add(chunk)
                self._next_seq_sent = chunk.header.seq + 1
                if self.final_frame is not None and self._prebuffer.first() is None:
                    self._announcer.hurry(now)  # nothing comes after it that would show its loss
            chunk_ns, due_at = (
                ns_from_frames(chunk.header.frames, self.format.rate),
                self._prebuffer.chunk_due_at(chunk),
            )
            self._pacer.sent(chunk, chunk_ns, now, due_at=due_at, filling=filling)
            self.counters.symbols_sent += 1
            yield self._counted(self._symbol(chunk, index, None, repair=False))
        while (repair := self._repairs.take(now)) is not None:
            sent = self._history.get(repair.seq)
            if sent is None:
                continue
            if repair.to is None:
                self.counters.repairs_multicast += 1
            else:
                self.counters.repairs_unicast += 1
            yield self._counted(self._symbol(sent, repair.index, repair.to, repair=True))

    def next_timeout(self, now: HostNs) -> HostNs:
        """Return when to come back at the latest."""
        wake_at = [self._housekeeping_at, self._announcer.due_at]
        due_at = self._prebuffer.due_at()
        if due_at is not None:
            wake_at.append(max(due_at, self._pacer.next_at(now), self._audio_from))
        repair_at = self._repairs.next_timeout()
        if repair_at is not None:
            wake_at.append(repair_at)
        return min(wake_at)

    def next_event(self) -> HostEvent | None:
        """Hand out the next event."""
        return self._events.popleft() if self._events else None

    # --- what others may know ------------------------------------------------------------------------------------

    def _playing(self, now: HostNs) -> tuple[int, MediaFrame]:
        """Return the number and first frame of the chunk that is due, or will be next."""
        chunk = self._history.playing(now) or self._prebuffer.first()
        if chunk is not None:
            return chunk.header.seq, chunk.header.first_frame
        return self._packetizer.next_seq, self._packetizer.next_frame

    def buffered_ns(self, now: HostNs) -> int:
        """Return how much audio lies ready beyond the play position."""
        return max(0, self._play_at(self._packetizer.next_frame) - max(now, self.timeline.effective_at))

    def position_frame(self, now: HostNs) -> MediaFrame:
        """Return the frame that is due, from 0 to the final one."""
        due = max(MediaFrame(0), self._due_frame(now))
        return due if self.final_frame is None else min(due, self.final_frame)

    def memory_bytes(self) -> int:
        """Return the memory that the coded history takes."""
        return self._history.coded_bytes()

    # --- inside --------------------------------------------------------------------------------------------------

    def _play_at(self, frame: MediaFrame) -> HostNs:
        return self.timeline.play_at(frame, self.format.rate)

    def _due_frame(self, now: HostNs) -> MediaFrame:
        return self.timeline.frame_at(now, self.format.rate)

    def _answer(self, solicit: Solicit, source: Address, now: HostNs) -> None:
        for data in self._announcements(now, solicit.nonce, self._cookies.of(source)):
            self._urgent.append(Datagram(data, source, True))

    def _announcements(self, now: HostNs, nonce: int = 0, cookie: int = 0) -> list[bytes]:
        """Return the announcement and those of the songs that play now and next; with a cookie, in answer to one."""
        frame = self.position_frame(now)
        songs = self._announcer.songs_from(frame)
        play_seq, play_frame = self._playing(now)
        announce = Announce(
            session=self.session,
            timeline=self.timeline,
            sent_at=now,
            format=self.format,
            control_port=self._ports[0],
            clock_port=self._ports[1],
            chunk_frames=self.chunk_frames,
            play_seq=play_seq,
            play_frame=play_frame,
            next_seq=self._next_seq_sent,
            final_frame=self.final_frame,
            buffer_ms=self.config.radio_sync.buffer_ns // NS_PER_MS,
            buffered_ms=self.buffered_ns(now) // NS_PER_MS,
            song_id=songs[0][0].song_id if songs else 0,
            nonce=nonce,
            cookie=cookie,
            host_name=self._name,
        )
        # An answer goes to an unproven address: one song, or it would outweigh the question by more than three times.
        return [encode(announce)] + [encode(self._song_info(*entry)) for entry in songs[: 1 if cookie else None]]

    def _song_info(self, song: Song, first_frame: MediaFrame) -> SongInfo:
        return SongInfo(
            session=self.session,
            timeline=self.timeline,
            song_id=song.song_id,
            first_frame=first_frame,
            frames=song.frames,
            title=song.title,
            artist=song.artist,
            album=song.album,
        )

    def _receive_nack(self, nack: Nack, source: Address, now: HostNs) -> None:
        self.counters.nacks_received += 1
        row = self.listeners.get(source)
        if row is not None:
            row.nacks += 1
            row.last_heard_at = now
        symbols = 0
        for entry in nack.entries:
            for chunk in self._history.within(extend_seq(entry.seq, self._next_seq_sent), max(1, entry.run)):
                everything = (1 << len(chunk.symbols)) - 1
                bitmap = everything if entry.run else entry.bitmap & everything
                symbols += bitmap.bit_count()
                if symbols > SYMBOLS_PER_NACK_MAX:
                    return
                self._repairs.ask(chunk.header.seq, bitmap, self._prebuffer.end_at(chunk), source, now)

    def _receive_report(self, report: Report, source: Address, now: HostNs) -> None:
        known = self.listeners.get(source)
        is_new = known is None or known.report.listener_id != report.listener_id
        self.listeners.heard(source, report, now)
        if is_new and self.listeners.get(source) is not None:
            self._events.append(ListenerJoined(name=report.name, address=source))

    def _forget(self, address: Address, *, timed_out: bool) -> None:
        row = self.listeners.get(address)
        if row is not None:
            self._events.append(ListenerLeft(name=row.report.name, timed_out=timed_out))
        self.listeners.remove(address)
        self._repairs.forget_listener(address)
        self._statuses.pop(address, None)

    def _all_played(self, now: HostNs) -> bool:
        if self.final_frame is None or now < self._play_at(self.final_frame):
            return False
        waiting = any(
            row.report.state == ListenerState.PLAYING and self.listeners.status(row, now) is not Status.TIMEOUT
            for row in self.listeners
        )
        return not waiting or now >= self._play_at(self.final_frame) + END_LINGER_NS

    def _symbol(self, chunk: Chunk, index: int, to: Address | None, *, repair: bool) -> Datagram:
        audio = Audio(
            session=self.session,
            timeline=self.timeline,
            chunk=chunk.header,
            index=index,
            repair=repair,
            payload=chunk.symbols[index],
        )
        return Datagram(encode(audio), to, False)

    def _counted(self, datagram: Datagram) -> Datagram:
        self.counters.datagrams_sent += 1
        self.counters.bytes_sent += len(datagram.data)
        return datagram
