"""A host and a listener as programs: the sessions of the real ones, driven as the real drivers drive them.

Each `_turn` follows its driver's line by line: clock first, then play, then what has arrived, then what is due.  What
differs is where time, datagrams and sound come from.
"""

from collections import defaultdict, deque
from collections.abc import Callable

from radiosync.audio.codec import ChunkCodec, Codec
from radiosync.errors import RemoteProtocolError
from radiosync.host.commands import RESTART_S, Command
from radiosync.host.continuity import Remembered
from radiosync.host.events import HostEvent
from radiosync.host.ladder import transcode
from radiosync.host.session import HostSession
from radiosync.listener.events import HostFound, ListenerEvent
from radiosync.listener.exact import ExactPlayout
from radiosync.listener.session import ListenerSession
from radiosync.listener.stream import Stream
from radiosync.sim.card import SimDac
from radiosync.sim.devices import ExactSink, SimSource
from radiosync.sim.machine import Machine
from radiosync.sim.reading import read
from radiosync.sim.scheduler import TrueNs
from radiosync.sim.told import Told, cuts
from radiosync.timeline import PlayState
from radiosync.units import NS_PER_MS, NS_PER_S, HostNs, LocalNs, MediaFrame, ns_from_frames
from radiosync.wire import ntp
from radiosync.wire.groups import Address, tier_group
from radiosync.wire.limits import TIERS_MAX
from radiosync.wire.messages import ByeReason

BYES = 3
BYE_PAUSE_NS = 20 * NS_PER_MS
SAVE_NS = NS_PER_S  # as the real one ...
REFRESH_NS = 100 * NS_PER_S  # ... which joins its group anew so often


class HostNode:
    """A host, from its start to its end."""

    def __init__(
        self,
        machine: Machine,
        source: SimSource,
        *,
        live: bool = False,
        continued: Remembered | None = None,
        first_seq: int = 0,
    ) -> None:
        self.machine = machine
        self.source = source
        self._live = live
        self.ended = False
        self.started_at = machine.scheduler.now
        self.buffered_ns_peak = 0
        network = machine.config.network
        self._groups: list[Address] = [(tier_group(network.group, tier), network.port) for tier in range(TIERS_MAX)]
        self.process = machine.process(self._turn)
        wake, ip = self.process.wake, machine.ip
        self._control = machine.network.open(ip, network.control_port, wake)
        self._solicited = machine.network.open(ip, network.control_port, wake, network.group)
        self._time = machine.network.open(ip, network.clock_port, wake)
        self._audio = machine.network.open(ip, 0, wake)
        self._chunk_codec = ChunkCodec()
        self._codec = Codec[machine.config.codec.upper()]
        self.session = HostSession(
            machine.config,
            source.format,
            rng=machine.rng,
            now=machine.clock.host(machine.scheduler.now),
            control_port=network.control_port,
            clock_port=network.clock_port,
            name=machine.name,
            live=live,
            continued=continued,
        )
        self.remembered: Remembered | None = None
        """What it has written down for the case that it is killed."""
        self._stamp: tuple[object, ...] | None = None
        self._save_at = HostNs(0)
        self._refresh_at = machine.clock.host(machine.scheduler.now)
        self._lengths: deque[int] = deque()
        if continued is None:
            self.session.sender.packetizer.go_on_at(first_seq, MediaFrame(0))
            self.session.sender.next_seq_sent = first_seq
        else:
            self._lengths.extend(mark.frames for mark in continued.chunks)
            source.resume(continued.chunks[0].song_id, continued.chunks[0].song_frame)
        self.events: list[tuple[TrueNs, HostEvent]] = []
        self.records = [self.session.transport.newest]
        """The timeline from its beginning."""
        source.records[self.records[0].version] = self.records[0]
        self._orders: deque[tuple[Command, float]] = deque()
        self._jumping = False
        self.process.wake()

    def play_at(self, frame: int) -> TrueNs:
        """Return when `frame` should be heard, in true time."""
        played = (r for r in reversed(self.records) if r.playing and r.media_frame <= frame)
        record = next(played, self.records[-1])
        return self.machine.clock.true(record.play_at(MediaFrame(frame), self.session.format.rate))

    def order(self, command: Command, seconds: float = 0.0) -> None:
        """Give an order, which is carried out in the next turn; `seconds` is where to seek to."""
        self._orders.append((command, seconds))
        self.process.wake()

    def kill(self) -> None:
        """Vanish without a word."""
        if not self.ended:
            self.ended = True
            self.process.stop()
            for port in (self._control, self._solicited, self._time, self._audio):
                port.close()

    def stop(self, reason: ByeReason) -> None:
        """Say good-bye and go."""
        self.process.stop()
        self._say_bye(reason, BYES)

    def _say_bye(self, reason: ByeReason, left: int) -> None:
        if self.ended:
            return
        if left == 0:
            self.kill()
            return
        for datagram in self.session.byes(reason):
            self._control.send(datagram.data, self._groups[datagram.tier])
        again_at = TrueNs(self.machine.scheduler.now + BYE_PAUSE_NS)
        self.machine.scheduler.at(again_at, lambda: self._say_bye(reason, left - 1))

    def _turn(self, true_now: TrueNs) -> TrueNs:
        session, clock = self.session, self.machine.clock
        now = clock.host(true_now)
        self._answer_clock(now)
        for port in (self._control, self._solicited):
            for data, source, _ in port.receive():
                session.receive_datagram(data, source, now)
        while self._orders:
            self._carry_out(*self._orders.popleft(), now)
            self._note_records()
        while self._jumping or (session.audio_wanted(now) and self._readable_at(now) <= now):
            self._jumping = False
            frames = self._lengths.popleft() if self._lengths else session.sender.chunk_frames
            coded = self.source.next(frames, self._codec)
            if coded is not None:
                session.add_audio(coded, now)
                self.source.placed(session.sender.packetizer.next_frame - coded.frames)
            else:
                session.end_of_audio(self.source.generation, now)
        self.buffered_ns_peak = max(self.buffered_ns_peak, session.buffered_ns(now))
        session.handle_timeout(now)
        while (job := session.sender.next_tier_job(complete=session.final_frame is not None)) is not None:
            session.sender.add_tier_audio(transcode(job, session.format, self._chunk_codec), now)
        if now >= self._refresh_at:
            self._refresh_at = HostNs(now + REFRESH_NS)
            self._solicited.rejoin()
        self._note_records()
        self._write_down(now)
        for datagram in session.datagrams_to_send(now):
            port = self._control if datagram.urgent else self._audio
            port.send(datagram.data, self._groups[datagram.tier] if datagram.to is None else datagram.to)
        self._take_events(true_now)
        if session.finished:
            self.stop(ByeReason.ENDED)
            return true_now
        wake_at, wanted_at = session.next_timeout(now), session.audio_wanted_at(now)
        if wanted_at is not None:
            wake_at = min(wake_at, max(wanted_at, self._readable_at(now)))
        return self.machine.true(wake_at, now, true_now)

    def _write_down(self, now: HostNs) -> None:
        stamp = self.session.continuity.stamp(self.session.transport)
        if stamp != self._stamp or now >= self._save_at:
            self._stamp, self._save_at = stamp, HostNs(now + SAVE_NS)
            self.remembered = self.session.remembered(now)

    def _readable_at(self, now: HostNs) -> HostNs:
        """Return when the source has the next chunk: one that is live makes it as time passes."""
        if not self._live:
            return now
        until = self.source.read_frames + self.session.sender.chunk_frames
        began_at = self.machine.clock.host(self.started_at)
        return HostNs(began_at + ns_from_frames(min(until, self.source.frames), self.source.format.rate))

    def _carry_out(self, command: Command, seconds: float, now: HostNs) -> None:
        session, heard = self.session, self.session.song(now)
        match command:
            case Command.PLAY | Command.RESUME:
                session.resume(now)
            case Command.PAUSE:
                session.pause(now)
            case Command.STOP:
                session.pause(now, state=PlayState.STOPPED)
                self._jump(0, 0.0, now)
            case Command.NEXT:
                self._jump(1, 0.0, now)
            case Command.PREV:
                self._jump(0 if heard is not None and heard[1] > RESTART_S else -1, 0.0, now)
            case Command.SEEK:
                self._jump(0, seconds, now)
            case Command.RESYNC:
                session.resync(now)

    def _jump(self, step: int, position_s: float, now: HostNs) -> None:
        known = self.session.target_song(now)
        if known is not None:
            self._lengths.clear()
            self.source.jump(known.song.song_id, step, position_s)
            self._jumping = True

    def _note_records(self) -> None:
        """Keep the timeline's new records, and note for the sinks what they leave out."""
        while (record := self.session.transport.log.after(self.records[-1])) is not None:
            self.records.append(record)
            self.source.records[record.version] = record
            self.source.cuts = cuts(self.records, self.source.format.rate)

    def _take_events(self, true_now: TrueNs) -> None:
        while (event := self.session.next_event()) is not None:
            self.events.append((true_now, event))
            self.machine.trace.note(true_now, f"{self.machine.name} {event}")

    def _answer_clock(self, now: HostNs) -> None:
        for data, source, arrived_at in self._time.receive():
            received_at = self.machine.clock.host(arrived_at) if self.machine.kernel_stamps else now
            try:
                answer = ntp.respond(data, received_at=received_at, sent_at=now)
            except RemoteProtocolError:
                continue
            self._time.send(answer, source)


class ListenerNode:
    """A listener, from its start to its end, with an exact sink per session or a sound card."""

    def __init__(self, machine: Machine, dac: SimDac | None, source_of: Callable[[int], SimSource | None]) -> None:
        self.machine = machine
        self.dac = dac
        self.stopped = False
        self.sinks: dict[int, ExactSink] = {}
        """What was played of each session."""
        self.streams: list[Stream] = []
        """Every session followed, the current one last."""
        self.events: list[tuple[TrueNs, ListenerEvent]] = []
        self.started_at = machine.scheduler.now
        self._source_of = source_of
        self._told: defaultdict[int, Told] = defaultdict(Told)
        network = machine.config.network
        self.process = machine.process(self._turn)
        wake, ip = self.process.wake, machine.ip
        self._tiers: tuple[int, ...] = (0,)
        self._group_ports = {0: machine.network.open(ip, network.port, wake, network.group)}
        self._control = machine.network.open(ip, 0, wake)
        self._time = machine.network.open(ip, 0, wake)
        self._anyone: Address = (machine.config.listener.host or network.group, network.control_port)
        now = machine.clock.local(machine.scheduler.now)
        self.session = ListenerSession(machine.config, rng=machine.rng, now=now, name=machine.name, read=read)
        self.process.wake()

    def kill(self) -> None:
        """Vanish without a word."""
        if self.stopped:
            return
        self.stopped = True
        self.process.stop()
        if self.dac is not None:
            self.dac.close()
        for port in (*self._group_ports.values(), self._control, self._time):
            port.close()

    def stop(self) -> None:
        """Say good-bye and go."""
        if not self.stopped and (leave := self.session.leave()) is not None:
            self._control.send(leave.data, self._anyone if leave.to is None else leave.to)
        self.kill()

    def told(self, session: int) -> Told:
        """Return what it has been told of a session's timeline."""
        return self._told[session]

    @property
    def control_address(self) -> Address:
        """Where it sends from."""
        return self._control.address

    @property
    def has_ended(self) -> bool:
        """Whether it has played a session to its end."""
        return any(stream.ended for stream in self.streams)

    @property
    def dropped(self) -> int:
        """How many datagrams found their receive buffer full."""
        return sum(port.dropped for port in self._group_ports.values()) + self._control.dropped + self._time.dropped

    @property
    def overflows(self) -> int:
        """How often a queue of the session was full."""
        return sum(stream.buffer.overflows + stream.requests.overflows for stream in self.streams)

    def _turn(self, true_now: TrueNs) -> TrueNs:
        session, clock = self.session, self.machine.clock
        now = clock.local(true_now)
        for data, source, arrived_at in self._time.receive() if self._time.inbox else ():
            if session.stream is not None and source == session.stream.clock_address:
                session.receive_clock(data, clock.local(arrived_at) if self.machine.kernel_stamps else now)
        self._play(now, true_now)
        for port in (self._control, *self._group_ports.values()):
            if not port.inbox:
                continue
            for data, source, _ in port.receive():
                session.receive_datagram(data, source, now, through_group=port is not self._control)
                stream = session.stream
                if stream is not None and source[0] == stream.host_ip:
                    self._told[stream.session].note(data, stream.session, true_now)
        session.handle_timeout(now)
        self._join_tiers()
        if session.rejoin():
            for group in self._group_ports.values():
                group.rejoin()
        for datagram in session.datagrams_to_send():
            self._control.send(datagram.data, self._anyone if datagram.to is None else datagram.to)
        for request in session.clock_requests(now):
            if session.stream is not None:
                session.note_clock_sent(request, now)
                self._time.send(request, session.stream.clock_address)
        while (event := session.next_event()) is not None:
            if isinstance(event, HostFound):
                self._begin(event)
            self.events.append((true_now, event))
            self.machine.trace.note(true_now, f"{self.machine.name} {event}")
        wake_at = session.next_timeout(now)
        if self.dac is not None:
            wake_at = min(wake_at, self.dac.next_timeout(now))
        return self.machine.true(wake_at, now, true_now)

    def _join_tiers(self) -> None:
        wanted = (0,) if self.session.stream is None else self.session.stream.quality.tiers
        if wanted == self._tiers:
            return
        self._tiers = wanted
        ports, network, ip = self._group_ports, self.machine.config.network, self.machine.ip
        for tier in [tier for tier in ports if tier not in wanted]:
            ports.pop(tier).close()
        for tier in wanted:
            if tier not in ports:
                group = tier_group(network.group, tier)
                ports[tier] = self.machine.network.open(ip, network.port, self.process.wake, group)

    def _begin(self, found: HostFound) -> None:
        stream = self.session.stream
        if stream is None:
            return
        self.streams.append(stream)
        self._told[stream.session].chunks.clear()
        if self.dac is not None:
            self.dac.begin(found.format, stream)
            return
        source = self._source_of(stream.session)
        if source is not None:
            sink = self.sinks.setdefault(stream.session, ExactSink(source, self._told[stream.session].versions))
            sink.rejoined = sink.first_frame is not None
            stream.attach(ExactPlayout(stream.buffer, stream.schedule, block_ns=self.machine.block_ns))

    def _play(self, now: LocalNs, true_now: TrueNs) -> None:
        if self.dac is not None:
            self.dac.fill(now)
            return
        stream = self.session.stream
        if stream is None or not isinstance(stream.playout, ExactPlayout):
            return
        while (block := stream.playout.take(now)) is not None:
            self.sinks[stream.session].write(block, true_now)
            self.machine.trace.note(true_now, f"{self.machine.name} plays {block.frame}", block.samples.tobytes())
