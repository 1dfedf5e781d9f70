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
from radiosync.config import Config
from radiosync.errors import RemoteProtocolError
from radiosync.host.adapt import BufferControl
from radiosync.host.announcer import Announcer, KnownSong, SessionFacts, SessionState
from radiosync.host.continuity import Continuity, Remembered
from radiosync.host.coordinator import REPEAT_NS, WaitedFor, calculate_optimal_sync, sync_command
from radiosync.host.copies import Copies
from radiosync.host.events import (
    Finished,
    HostEvent,
    ResyncOrdered,
    SongStarted,
    SourceLate,
    SyncGo,
)
from radiosync.host.intervals import longest_report_ns
from radiosync.host.listeners import Cookies, ListenerTable
from radiosync.host.neighbours import Neighbours
from radiosync.host.outbox import Outbox
from radiosync.host.packetizer import CodedAudio
from radiosync.host.reception import Reception
from radiosync.host.resync import Resyncs
from radiosync.host.sender import Datagram, Sender
from radiosync.host.stall import StallGuard
from radiosync.host.transport import Transport
from radiosync.host.watch import ListenerWatch
from radiosync.timeline import PlayState
from radiosync.units import NS_PER_MS, HostNs, MediaFrame, ns_from_frames
from radiosync.wire.codec import decode, encode
from radiosync.wire.groups import Address
from radiosync.wire.messages import (
    Announce,
    Bye,
    ByeReason,
    Solicit,
)

HOUSEKEEPING_NS = 100 * NS_PER_MS
LATE_LEAD_NS = 200 * NS_PER_MS  # a chunk needs this long to reach everybody


@dataclass(slots=True)
class HostCounters:
    """What has been counted since the start, beside what the sender and the outbox count."""

    rejected: int = 0
    """Datagrams that were no valid message, or not for this session, or without a valid cookie."""
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
        live: bool = False,
        continued: Remembered | None = None,
    ) -> None:
        sync, rate = config.radio_sync, audio.rate
        self.live = live
        self.config = config
        self.format = audio
        self.session = rng.getrandbits(63) + 1 if continued is None else continued.session  # never 0: it stands for any
        cookie_key = rng.randbytes(32) if continued is None else continued.cookie_key
        self.counters = HostCounters()
        self.listeners = ListenerTable(
            sync.latency_samples, sync.max_client_latency_ns, sync.slow_client_ns, longest_report_ns(sync)
        )
        self.transport = Transport(rate, config.host.start_lead_ns, now, live_delay_ns=sync.buffer_ns if live else None)
        self.sender = Sender(config, audio, self.session, self.transport, now)
        self.buffer = BufferControl(sync, self.sender, self.transport, now, live=live)
        self.final_frame: MediaFrame | None = None
        self.finished = False
        facts = SessionFacts(
            session=self.session, format=audio, control_port=control_port, clock_port=clock_port, host_name=name
        )
        self.announcer = Announcer(facts, now)
        self.resyncs = Resyncs(sync.resync_ns)
        self.stall = StallGuard(sync, self.sender, self.transport, rate, live=live)
        self.copies = Copies(config.host.copies_max, now)
        self.outbox = Outbox(self.sender, self.copies, now)
        self._events: deque[HostEvent] = deque(maxlen=1024)  # a driver that takes none loses the oldest
        self.watch = ListenerWatch(self.listeners, sync.tolerance_ns)
        self.reception = Reception(
            self.session, Cookies(cookie_key), self.listeners, self.sender, self.watch, self.copies, self._events
        )
        self.continuity = Continuity(cookie_key, continued)
        self.neighbours = Neighbours(rng, self.session, control_port, now)
        self._group_control = (config.network.group, config.network.control_port)
        self._generation = 0
        self._housekeeping_at = now
        self._sync_at = now
        self._waited_for = WaitedFor()
        if continued is not None:
            self._go_on(continued, now)

    # --- audio in ------------------------------------------------------------------------------------------------

    def audio_wanted_at(self, now: HostNs) -> HostNs | None:
        """Return when the next chunk will be wanted; None after the last, and while nothing moves."""
        if self.final_frame is not None:
            return None
        return self.sender.wanted_at(now)

    def audio_wanted(self, now: HostNs) -> bool:
        """Say whether the source should deliver a chunk of at most `chunk_frames` frames."""
        wanted_at = self.audio_wanted_at(now)
        return wanted_at is not None and wanted_at <= now

    def add_audio(self, coded: CodedAudio, now: HostNs) -> None:
        """Take the next stretch of audio into the pre-buffer; what was read before the last jump is dropped."""
        if coded.generation < self._generation:
            return
        if coded.generation > self._generation:
            self._begin_generation(coded.generation, now)
        chunk = self.continuity.add(self.sender, coded, now)
        if chunk is None:
            self._skip_what_is_late(now)
            chunk = self.sender.add(coded, now)
            self.continuity.note(coded, chunk)
        self.announcer.note_song(coded.song, chunk.header)

    def end_of_audio(self, generation: int, now: HostNs) -> None:
        """Note that the source has delivered its last frame since jump number `generation`."""
        if generation < self._generation:
            return
        if generation > self._generation:  # a jump beyond the last song
            self._begin_generation(generation, now)
        self.final_frame = self.sender.packetizer.next_frame
        self.announcer.hurry(now)

    # --- commands ------------------------------------------------------------------------------------------------

    def pause(self, now: HostNs, *, state: PlayState = PlayState.PAUSED) -> bool:
        """Stop playing, everywhere at the same frame; say whether anything changed."""
        changed = self.transport.pause(self._delay_ns(now), now, state=state)
        if changed:
            self.announcer.hurry(now)
        return self.stall.policy.override() or changed

    def resume(self, now: HostNs) -> bool:
        """Go on where playing was stopped; say whether anything changed."""
        self._sync_at = now
        self.stall.policy.override()
        return self.transport.resume(now)

    def resync(self, now: HostNs, *, reason: str = "ordered") -> str | None:
        """Let everybody enter anew where they should be; return why not, if not."""
        refusal = self.resyncs.refusal(now)
        if refusal is None and not self.transport.resync(self._delay_ns(now), now):
            refusal = "nothing plays, or a start is being prepared, which is one for everybody"
        if refusal is None:
            self.resyncs.note(now)
            self.announcer.hurry(now)
            self._events.append(ResyncOrdered(reason=reason))
        return refusal

    # --- datagrams and time in -----------------------------------------------------------------------------------

    def receive_datagram(self, data: bytes, source: Address, now: HostNs) -> None:
        """Take a datagram from the control socket; whatever it holds, nothing is raised."""
        try:
            message = decode(data)
        except RemoteProtocolError:
            self.counters.rejected += 1
            return
        if isinstance(message, Solicit) and self.neighbours.is_own(message):
            return
        if isinstance(message, Solicit) and message.session in (0, self.session):
            if self.transport.preparation is not None and not self.neighbours.may_be_host(source):
                self.listeners.asked(source, now)
            cookie = self.reception.cookies.of(source)
            self.outbox.answer(self.announcer.announcements(self._state(now), now, message.nonce, cookie), source, now)
            self.outbox.answer(self.neighbours.ask_back(source, now), source, now)
        elif isinstance(message, Announce) and (other := self.neighbours.answered(message, source)) is not None:
            self._events.append(other)
        elif not self.reception.receive(message, source, now):
            self.counters.rejected += 1

    def handle_timeout(self, now: HostNs) -> None:
        """Do what is due."""
        self._coordinate(now)
        if now < self._housekeeping_at:
            return
        self._housekeeping_at = HostNs(now + HOUSEKEEPING_NS)
        self.sender.expire(now)
        self.outbox.tidy(now)
        self.continuity.expire(self.transport.due_frame(now))
        for changed in self.buffer.update(self.listeners, now):
            self._events.append(changed)
            self.announcer.hurry(now)
        crowd_due = self.watch.due(now)
        if crowd_due:
            self.reception.watch(now)
        for decided in self.stall.update(self.listeners, self.final_frame, self.counters.source_gaps, now):
            self._events.append(decided)
            self.announcer.hurry(now)
        if crowd_due and (reason := self.resyncs.needed(self.listeners, now)) is not None:
            self.resync(now, reason=reason)
        song = (
            self.announcer.song_started(self.transport.due_frame(now)) if self.transport.log.at(now).playing else None
        )
        if song is not None:
            self._events.append(SongStarted(song=song))
        if not self.finished and self.final_frame is not None and self.transport.preparation is None:
            self.finished = self.watch.all_played(self.transport, self.final_frame, self.format.rate, now)
            self._events.extend([Finished()] if self.finished else [])

    # --- out -----------------------------------------------------------------------------------------------------

    def datagrams_to_send(self, now: HostNs) -> Iterator[Datagram]:
        """Give out what may leave now, the urgent first: answers, orders, announcements; music; repairs; backfill."""
        if self.announcer.due(now):
            self.outbox.tell(self.announcer.announcements(self._state(now), now))
        self.outbox.answer(self.neighbours.ask(now), self._group_control, now)
        yield from self.outbox.urgent()
        emptied = self.sender.emptied
        yield from self.outbox.audio(now)
        if self.final_frame is not None and self.sender.emptied and not emptied:
            self.announcer.hurry(now)  # nothing comes after the last chunk that would show its loss

    def next_timeout(self, now: HostNs) -> HostNs:
        """Return when to come back at the latest."""
        if self.outbox.waiting:
            return now
        wake_at = [self._housekeeping_at, self.announcer.due_at, self.neighbours.due_at]
        preparation = self.transport.preparation
        if preparation is not None and self.sender.packetizer.next_frame > preparation.target_frame:
            wake_at.append(self._sync_at)
        send_at = self.outbox.next_timeout(now)
        if send_at is not None:
            wake_at.append(send_at)
        return min(wake_at)

    def next_event(self) -> HostEvent | None:
        """Hand out the next event."""
        return self._events.popleft() if self._events else None

    def byes(self, reason: ByeReason) -> Iterator[Datagram]:
        """Give out the good-bye; its driver sends it a few times."""
        message = Bye(session=self.session, timeline=self.transport.newest, reason=reason, final_frame=self.final_frame)
        self.outbox.tell([encode(message)])
        return self.outbox.urgent()

    # --- what others may know ------------------------------------------------------------------------------------

    def buffered_ns(self, now: HostNs) -> int:
        """Return how much audio lies ready beyond the play position."""
        frames = self.sender.packetizer.next_frame - self.transport.horizon(now)
        return max(0, ns_from_frames(frames, self.format.rate))

    def position_frame(self, now: HostNs) -> MediaFrame:
        """Return the frame that is due, up to the final one."""
        due = self.transport.due_frame(now)
        return due if self.final_frame is None else min(due, self.final_frame)

    def target_song(self, now: HostNs) -> KnownSong | None:
        """Return the song that is heard, or the one that a jump under way will lead to."""
        return self.announcer.song_at(max(self.transport.horizon(now), self.position_frame(now)))

    def song(self, now: HostNs) -> tuple[KnownSong, float] | None:
        """Return the song that is heard, and the position in it in seconds."""
        frame = self.position_frame(now)
        known = self.announcer.song_at(frame)
        return None if known is None else (known, (frame - known.begin + known.song_frame) / self.format.rate)

    def remembered(self, now: HostNs) -> Remembered | None:
        """Return what a host would need to go on with this session, if it were killed; None where that can't be."""
        if self.live or self.finished:
            return None
        held = self.stall.policy.hold is not None
        return self.continuity.remembered(self.session, self.transport, self.sender, self.final_frame, now, held=held)

    # --- inside --------------------------------------------------------------------------------------------------

    def _go_on(self, continued: Remembered, now: HostNs) -> None:
        """Take up a session where it was left."""
        first = continued.chunks[0]
        self.transport.restore(continued.records, continued.begin_frame, continued.preparing, now)
        self.sender.restore(continued.next_seq_sent, first.seq, first.first_frame, now)
        if continued.held:
            self.transport.resume(now)

    def _delay_ns(self, now: HostNs) -> int:
        return calculate_optimal_sync(self.listeners.eligible(now)).delay_ns

    def _begin_generation(self, generation: int, now: HostNs) -> None:
        """The source has jumped: what was read before will not be heard, unless it is before the jump is."""
        self._generation = generation
        self.continuity.forget()
        self.sender.abandon()
        self.copies.clear()
        self.announcer.forget_songs_after(self.transport.due_frame(now))
        self.final_frame = None
        self.sender.packetizer.skip_to(self.transport.unreachable_frame(self._delay_ns(now), now))
        self.transport.begin_epoch(self.sender.packetizer.next_frame, now)
        self._sync_at = now
        self.announcer.hurry(now)

    def _skip_what_is_late(self, now: HostNs) -> None:
        """Leave a hole in the stream where the source fell behind the timeline."""
        self.sender.packetizer.skip_to(self.transport.begin_frame)  # a pause has overtaken the source
        record, begin = self.transport.newest, self.sender.packetizer.next_frame
        lead_ns = min(LATE_LEAD_NS, self.config.radio_sync.buffer_ns // 2)
        if (
            self.transport.preparation is None
            and record.playing
            and record.play_at(begin, self.format.rate) < now + lead_ns
        ):
            self.sender.packetizer.skip_to(record.frame_at(HostNs(now + 2 * lead_ns), self.format.rate))
            self.counters.source_gaps += 1
            self._events.append(SourceLate(frames=self.sender.packetizer.next_frame - begin))

    def _coordinate(self, now: HostNs) -> None:
        """Prepare a start, or give the order for it."""
        preparation = self.transport.preparation
        if preparation is None:
            self._waited_for.forget()
            return
        if self.sender.packetizer.next_frame <= preparation.target_frame:  # there is nothing to play yet ...
            if self.final_frame is not None:  # ... nor ever
                self.pause(now, state=PlayState.STOPPED)
            return
        if now < self._sync_at and self._waited_for.still(preparation, self.listeners, now):
            return
        eligible = self.listeners.eligible(now)
        self._waited_for.look(preparation, eligible)
        decided = self.transport.decide(eligible, now, expects=self.listeners.expects(now))
        if decided is None:
            return
        verdict, sync = decided
        if verdict.go:
            self._events.append(SyncGo(reason=verdict.reason, sync=sync))
            self.announcer.hurry(now)
        if verdict.go or now >= self._sync_at:
            self._sync_at = HostNs(now + REPEAT_NS)
            command = sync_command(
                session=self.session,
                timeline=self.transport.newest,
                target_frame=preparation.target_frame,
                decided=decided,
                sync_config=self.config.radio_sync,
                buffered_ns=self.buffered_ns(now),
                now=now,
            )
            self.outbox.tell([encode(command)] * (2 if verdict.go else 1))  # the announcements that follow repeat it

    def _state(self, now: HostNs) -> SessionState:
        play_seq, play_frame = self.sender.first_from(self.transport.horizon(now))
        return SessionState(
            timeline=self.transport.newest,
            position=self.position_frame(now),
            play_seq=play_seq,
            play_frame=play_frame,
            next_seq=self.sender.next_seq_sent,
            final_frame=self.continuity.final_frame if self.final_frame is None else self.final_frame,
            chunk_frames=self.sender.chunk_frames,
            buffer_ns=self.sender.depth_ns,
            buffered_ns=self.buffered_ns(now),
            report_ns=self.listeners.report_ns,
            clock_ns=self.listeners.clock_ns,
            tiers=self.sender.ladder.offers(),
        )
