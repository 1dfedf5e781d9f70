"""A listener's session: datagrams and time go in; datagrams, deadlines, events and audio come out.

It only dispatches: `Discovery` finds hosts, a `Stream` follows one of them, a playout hands out its frames.  Who drives
it: mutate once (`receive_*`, `handle_timeout`), send what `datagrams_to_send` and `clock_requests` give, take the
events, play, then sleep until `next_timeout`.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from radiosync.config import Config
from radiosync.errors import RemoteProtocolError
from radiosync.listener.discovery import Discovery
from radiosync.listener.events import (
    CopyChanged,
    HostFound,
    HostGone,
    ListenerEvent,
    MuteChanged,
    PlaybackStarted,
    QualityChanged,
    SongChanged,
    StreamEnded,
    SyncAlarmed,
)
from radiosync.listener.memory import Memory, NoMemory
from radiosync.listener.playout import DevicePlayout
from radiosync.listener.reach import Reach
from radiosync.listener.stream import Stream
from radiosync.listener.sync import SyncAlarm
from radiosync.units import NS_PER_MS, NS_PER_S, NS_PER_US, LocalNs, MediaFrame
from radiosync.wire.codec import decode, encode
from radiosync.wire.fields import is_foreign_audio
from radiosync.wire.groups import Address
from radiosync.wire.messages import (
    Announce,
    Audio,
    Bye,
    ByeReason,
    Leave,
    ListenerState,
    Message,
    Nack,
    Report,
    Solo,
    SongInfo,
    Sync,
)

REPORT_NS = NS_PER_S
REPORT_NS_MAX = 10 * NS_PER_S  # whatever a host announces: it forgets who is silent for three times that by default
REPORT_SPREAD = 1.1  # of the interval at most, 0.9 at least: so that listeners don't report all at once
SILENT_NS = 2 * NS_PER_S  # two announcements missed: ask who is there
GONE_NS = 5 * NS_PER_S  # silence after which a stream that has ended, or not begun, is over ...
LOST_NS = 30 * NS_PER_S  # ... and one that has run dry: while a host remembers us, it may be the network
AT_EASE = (ListenerState.PLAYING, ListenerState.PAUSED, ListenerState.ENDED)
FROM_HOSTS = (Announce, SongInfo, Audio, Bye, Sync, Solo)


@dataclass(frozen=True, slots=True)
class Datagram:
    """Bytes to send from the control socket: to an address, or with None to whoever hosts on the group."""

    data: bytes
    to: Address | None


class ListenerSession:
    """Everything a listener does, whichever host it hears."""

    def __init__(
        self,
        config: Config,
        *,
        rng: Random,
        now: LocalNs,
        name: str,
        memory: Memory | None = None,
        read: Callable[[bytes], Message] = decode,
    ) -> None:
        """Begin to look for a host; `read` is `decode`, or what gives the same for the same bytes."""
        self.config = config
        self.name = name
        self.stream: Stream | None = None
        self.rejected = 0
        self.foreign = 0
        self.sessions_seen = 0
        self._rng = rng
        self._read = read
        self._memory = NoMemory() if memory is None else memory
        self._listener_id = rng.getrandbits(63) + 1
        self._discovery = Discovery(rng, now)
        self._events: deque[ListenerEvent] = deque(maxlen=256)  # a driver that takes none loses the oldest
        self._out: deque[Datagram] = deque(maxlen=64)  # a flood of announcements pushes out the oldest
        self._report_at = now
        self._reported: tuple[ListenerState, MediaFrame | None] | None = None
        self._end_told = False
        self._song_id: int | None = None
        self.reach = Reach(rng, now)
        self._rejoin = False
        self.alarm = SyncAlarm(config.radio_sync.tolerance_ns)

    # --- in ------------------------------------------------------------------------------------------------------

    def receive_datagram(self, data: bytes, source: Address, now: LocalNs, *, through_group: bool = True) -> None:
        """Take a datagram from the group, or else the control socket; whatever it holds, nothing is raised."""
        if self.stream is not None and is_foreign_audio(data, self.stream.session):
            self.foreign += 1  # another party's music on the same group: as much as our own, and nothing to read it for
            return
        try:
            message = self._read(data)
        except RemoteProtocolError:
            self.rejected += 1
            return
        self.receive(message, source, now, through_group=through_group)

    def receive(self, message: Message, source: Address, now: LocalNs, *, through_group: bool) -> None:
        """Take a datagram that has been decoded already, by whoever drives many sessions with one socket."""
        stream = self.stream
        ours = stream is not None and message.session == stream.session and source[0] == stream.host_ip
        if stream is not None and ours and isinstance(message, Audio):
            if message.repair:
                self._discovery.served(now)
            self.reach.heard(now, through_group=through_group, asked_for=message.repair)
            stream.receive_audio(message, now)
            return
        if ours and isinstance(message, FROM_HOSTS):
            answer = isinstance(message, Announce) and message.nonce != 0
            self.reach.heard(now, through_group=through_group, asked_for=answer)
        if isinstance(message, Announce) and self._discovery.is_answer(message, source):
            self._answered(message, source, now)
        elif stream is not None and ours and isinstance(message, Announce):
            stream.receive_announce(message, now)
        elif stream is not None and ours and isinstance(message, SongInfo):
            stream.receive_song(message, now)
        elif stream is not None and ours and isinstance(message, Sync):
            stream.receive_sync(message, now)
        elif stream is not None and ours and isinstance(message, Solo):
            stream.schedule.solos.add(message.entries, self._listener_id)
        elif stream is not None and ours and isinstance(message, Bye):
            self._bye(stream, message)
        elif isinstance(message, Announce) and (
            stream is None or stream.ended or (source[0], message.control_port) == stream.control_address
        ):
            # A host came, or came back: ask it, by itself, since a switch may have forgotten that it is in the group.
            self._discovery.hurry(now)
            self._solicit(now, 0, None if self.config.listener.host else (source[0], message.control_port))
        elif isinstance(message, FROM_HOSTS) and not ours:
            self.foreign += 1
        else:
            self.rejected += 1

    def receive_clock(self, data: bytes, received_at: LocalNs) -> None:
        """Take a datagram from the clock socket, with its receive stamp."""
        if self.stream is not None:
            self.stream.receive_clock(data, received_at)

    def handle_timeout(self, now: LocalNs) -> None:
        """Do what is due."""
        stream = self.stream
        if self.reach.rejoin_due(now):
            self._rejoin = True
        if self._rejoin and (stream is None or self.reach.silent(now)):
            self._discovery.hurry(now)  # does a host live?
        if stream is None:
            self._solicit(now, 0, None)
            return
        if self.reach.update(stream.heard_at, now):
            self._events.append(CopyChanged(wanted=self.reach.wants_copy))
            self._report_at = now
        if stream.handle_timeout(now) and stream.playout is not None and stream.playout.cursor is not None:
            self._events.append(PlaybackStarted(frame=stream.playout.cursor))
        song = stream.song(now)
        if song is not None and song.song_id != self._song_id and stream.state(now) is ListenerState.PLAYING:
            self._song_id = song.song_id
            self._events.append(SongChanged(title=song.title, artist=song.artist, album=song.album))
        playout = stream.playout
        if isinstance(playout, DevicePlayout) and self.alarm.update(playout.sync_error_ns, now):
            error_ns = round(playout.sync_error_ns)
            self._events.append(SyncAlarmed(out_of_sync=self.alarm.raised, error_ns=error_ns))
        if stream.quality_reason is not None:
            self._events.append(QualityChanged(tier=stream.quality.tier, reason=stream.quality_reason))
            stream.quality_reason = None
            self._report_at = now  # the host has to know at once
        if stream.mute.update(playout, now):
            self._events.append(MuteChanged(muted=stream.mute.muted))
        silent_ns = now - stream.heard_at
        if silent_ns > SILENT_NS:
            self._discovery.hurry(now)
            self._solicit(now, 0, None)
        elif now >= self._discovery.due_at:
            self._solicit(now, stream.session, stream.control_address)
        entries = stream.ask(now)
        if entries:
            nack = Nack(session=stream.session, cookie=stream.cookie, listener_id=self._listener_id, entries=entries)
            self._out.append(Datagram(encode(nack), stream.control_address))
            self._discovery.requested(now)
        self._report(stream, now)
        ended = stream.ended
        if ended and not self._end_told:
            self._events.append(StreamEnded())
        self._end_told = ended  # a jump back may make it go on
        if silent_ns > GONE_NS and self._is_over(stream, silent_ns, now):
            self._drop(HostGone(stopped=False) if not stream.ended else None)

    def leave(self) -> Datagram | None:
        """Return the good-bye to the host, if there is one."""
        if self.stream is None:
            return None
        message = Leave(session=self.stream.session, cookie=self.stream.cookie, listener_id=self._listener_id)
        return Datagram(encode(message), self.stream.control_address)

    # --- out -----------------------------------------------------------------------------------------------------

    def datagrams_to_send(self) -> Iterator[Datagram]:
        """Give out what is to be sent from the control socket."""
        while self._out:
            yield self._out.popleft()

    def clock_requests(self, now: LocalNs) -> list[bytes]:
        """Return the clock questions that are due; stamp each with `note_clock_sent` as it leaves."""
        return [] if self.stream is None else self.stream.poller.handle_timeout(now)

    def note_clock_sent(self, request: bytes, sent_at: LocalNs) -> None:
        """Note when a clock question left."""
        if self.stream is not None:
            self.stream.poller.note_sent(request, sent_at)

    def rejoin(self) -> bool:
        """Say, once, that the groups should be left and joined again."""
        rejoin, self._rejoin = self._rejoin, False
        return rejoin

    def next_timeout(self, now: LocalNs) -> LocalNs:
        """Return when to come back at the latest."""
        due_at, reach_at = self._discovery.due_at, self.reach.next_timeout(now)
        if self.stream is None:
            return min(due_at, reach_at)
        return min(due_at, reach_at, self._report_at, self.stream.next_timeout(now))

    def next_event(self) -> ListenerEvent | None:
        """Hand out the next event."""
        return self._events.popleft() if self._events else None

    def state(self, now: LocalNs) -> ListenerState:
        """Return where this listener stands."""
        return ListenerState.WAITING if self.stream is None else self.stream.state(now)

    # --- inside --------------------------------------------------------------------------------------------------

    def _solicit(self, now: LocalNs, session: int, to: Address | None) -> None:
        data = self._discovery.ask(now, session)
        if data is not None:
            self._out.append(Datagram(data, to))

    def _answered(self, announce: Announce, source: Address, now: LocalNs) -> None:
        stream = self.stream
        if stream is not None and announce.session == stream.session:
            if source != stream.control_address and self._has_moved(stream, announce, now):
                stream.host_ip, stream.control_address = source[0], source
                stream.clock_address = (source[0], announce.clock_port)
            if source == stream.control_address:
                stream.receive_announce(announce, now)
                if announce.cookie != stream.cookie:
                    stream.cookie = announce.cookie
                    self._discovery.served(now)
                self._discovery.answered(now)
        elif stream is None or self._replaces(stream, announce, source, now):
            self.stream = Stream(announce, source[0], now, self._rng, self.config, self._memory)
            self.reach.begin(now, given=bool(self.config.listener.host))
            self.sessions_seen += 1
            self._reported = None
            self._end_told = False
            self._song_id = None
            self._report_at = now
            self._discovery.answered(now)
            self._events.append(HostFound(name=announce.host_name, ip=source[0], format=announce.format))

    @staticmethod
    def _has_moved(stream: Stream, announce: Announce, now: LocalNs) -> bool:
        """Say whether an answer from another address is our host's: nobody else knows the cookie that it gave us.

        While it is heard where it was it has not moved: a host with two interfaces has two addresses.
        """
        return announce.cookie == stream.cookie and now - stream.heard_at > SILENT_NS

    @staticmethod
    def _replaces(stream: Stream, announce: Announce, source: Address, now: LocalNs) -> bool:
        """Say whether the host that answered takes the place of the one we follow.

        A host on the same address and port has taken over the very socket of the old one, which must be dead.  Any
        other host has to wait until ours has ended, or has been silent until nothing is left of its music: till then
        it may come back and go on.
        """
        restarted = (source[0], announce.control_port) == stream.control_address
        silent_ns = now - stream.heard_at
        given_up = silent_ns > SILENT_NS and (stream.drained(now) or silent_ns > stream.buffer_ns)
        return restarted or stream.ended or given_up

    def _bye(self, stream: Stream, bye: Bye) -> None:
        if bye.reason is ByeReason.ENDED and not stream.ended and bye.final_frame is not None:
            stream.set_final(bye.final_frame)
        elif stream.ended:
            self._drop(None)
        else:
            self._drop(HostGone(stopped=True))

    @staticmethod
    def _is_over(stream: Stream, silent_ns: int, now: LocalNs) -> bool:
        """Say whether nothing more is to be expected of a stream that has been silent for longer than `GONE_NS`."""
        dry = stream.state(now) in (ListenerState.PLAYING, ListenerState.MUTED)
        return (not dry or silent_ns > LOST_NS) and (stream.ended or stream.drained(now))

    def _drop(self, event: ListenerEvent | None) -> None:
        self.stream = None
        self.reach.end()
        if event is not None:
            self._events.append(event)

    def _report(self, stream: Stream, now: LocalNs) -> None:
        state, ready = stream.state(now), stream.ready_frame(now)
        period_ns = REPORT_NS
        if state in AT_EASE and not stream.quality.tier:
            period_ns = min(max(REPORT_NS, stream.report_ns), REPORT_NS_MAX)  # nothing is wrong: as the host wishes
        if self._report_at > now + period_ns:
            self._report_at = min(self._report_at, LocalNs(now + round(REPORT_SPREAD * period_ns)))
        if now < self._report_at and (state, ready) == self._reported:
            return
        self._report_at = LocalNs(now + round(period_ns * self._rng.uniform(2 - REPORT_SPREAD, REPORT_SPREAD)))
        self._reported = (state, ready)
        counters, playout, mapping = stream.counters, stream.playout, stream.clock.mapping()
        down_ns, up_ns = stream.one_way_ns()
        echo_at, echo_held_ns = stream.echo(now)
        report = Report(
            session=stream.session,
            cookie=stream.cookie,
            listener_id=self._listener_id,
            state=state,
            tier=stream.quality.tier,
            wants_copy=self.reach.wants_copy,
            rtt_ns=stream.rtt_ns,
            down_ns=down_ns,
            up_ns=up_ns,
            echo_at=echo_at,
            echo_held_ns=echo_held_ns,
            ready_frame=ready,
            lead_ms=playout.lead_ns // NS_PER_MS if playout is not None else 0,
            offset_bound_ns=round(mapping.bound_ns_at(now)) if mapping is not None else 0,
            sync_error_ns=round(playout.sync_error_ns) if playout is not None else 0,
            rate_ppb=round(playout.correction * 1e9) if playout is not None else 0,
            buffer_ms=stream.buffered_ns(now) // NS_PER_MS,
            symbols_received=counters.symbols_received,
            symbols_lost=counters.symbols_lost,
            symbols_repaired=counters.symbols_repaired,
            chunks_late=counters.chunks_late,
            chunks_concealed=stream.chunks_concealed,
            underruns=playout.underruns if playout is not None else 0,
            hard_resyncs=playout.hard_resyncs if playout is not None else 0,
            jitter_us=stream.arrivals.jitter_ns // NS_PER_US,
            offset_us=stream.schedule.offset_ns // NS_PER_US,
            name=self.name,
        )
        self._out.append(Datagram(encode(report), stream.control_address))
