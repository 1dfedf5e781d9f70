"""Runs a host session on real sockets: one loop, with the reader beside it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from random import SystemRandom
from typing import Any

from radiosync.audio.codec import Codec
from radiosync.config import Config
from radiosync.drivers.clocks import MediaClock, local_now
from radiosync.drivers.control_thread import ControlThread
from radiosync.drivers.controls import Controls, listener_values
from radiosync.drivers.host_ports import HostPorts
from radiosync.drivers.host_state import HostState
from radiosync.drivers.interfaces import Interface
from radiosync.drivers.keys import QUIT, Keys
from radiosync.drivers.loop import StatsFile, Waiter
from radiosync.drivers.reader import End, Reader, Source
from radiosync.drivers.send_queue import RETRY_NS
from radiosync.drivers.transcoder import Transcoder
from radiosync.drivers.udp import KERNEL_STAMPS
from radiosync.errors import NetworkError, RemoteProtocolError
from radiosync.host.events import HostEvent, SyncGo
from radiosync.host.packetizer import CodedAudio
from radiosync.host.session import HostSession
from radiosync.units import NS_PER_MS, NS_PER_S, HostNs, MediaFrame
from radiosync.wire import ntp
from radiosync.wire.messages import ByeReason

BYES = 3  # a lost good-bye is a listener that waits
BYE_PAUSE_NS = 20 * NS_PER_MS
STATS_NS = NS_PER_S
REFRESH_NS = 100 * NS_PER_S  # between two joins: twice in the 260 s after which a switch forgets (RFC 3376 section 8.4)
CROWD_PER_S = 100  # questions to the clock: with more, a wake-up for each costs more than its answer ...
CROWD_GATHER_NS = 20 * NS_PER_MS  # ... so they are gathered: an answer says how long it lay here


class HostDriver:
    """Everything of a host that touches the machine."""

    def __init__(
        self,
        config: Config,
        source: Source,
        interfaces: Sequence[Interface],
        name: str,
        stats: Path | None,
        *,
        heeds_keys: bool = True,
        state: HostState | None = None,
    ) -> None:
        self._config = config
        self._source = source
        self._stats = StatsFile(stats)
        self._state = state
        self._clock = MediaClock() if state is None else state.clock
        self.ports = HostPorts(config.network, interfaces)
        self._refresh_at = HostNs(self._clock.now() + REFRESH_NS)
        self.session = HostSession(
            config,
            source.format,
            rng=SystemRandom(),
            now=self._clock.now(),
            control_port=config.network.control_port,
            clock_port=config.network.clock_port,
            name=name,
            live=source.live,
            continued=None if state is None else state.remembered,
        )
        lengths = () if state is None else state.lengths()
        self._reader = Reader(source, self.session.sender.chunk_frames, Codec[config.codec.upper()], lengths)
        self._waiter = Waiter()
        self._transcoder = Transcoder(source.format, self._waiter.wake)
        for readable in (*self.ports.readable, self._reader.wake):
            self._waiter.watch(readable)
        self._stats_at = self._clock.now()
        self._controls = Controls(self.session, self._reader, source, self._waiter.wake)
        self._control_thread: ControlThread | None = None
        self.control_error: NetworkError | None = None
        if config.host.control:
            try:
                self._control_thread = ControlThread(self._controls, config.host.control, config.network.control_port)
            except NetworkError as error:  # the music is more important
                self.control_error = error
        self.keys = Keys(wanted=heeds_keys)
        if self.keys.active:
            self._waiter.watch(self.keys)
        self._last_start: dict[str, Any] | None = None
        self.clock_requests = 0
        self._requests_before = 0
        self._gathering = False
        self.clock_rejected = 0

    def run(
        self,
        on_event: Callable[[HostEvent], None],
        duration_ns: int | None,
        each_turn: Callable[[HostNs], None] | None = None,
    ) -> None:
        """Run until the music has ended, a signal comes or `duration_ns` have passed.

        `each_turn` is called at least ten times a second, in this thread.
        """
        began = self._clock.now()
        reason = ByeReason.STOPPED
        try:
            while not self._waiter.stopped:
                now = self._clock.now()
                if duration_ns is not None and now - began >= duration_ns:
                    break
                self._turn(now, on_event)
                if each_turn is not None:
                    each_turn(now)
                if self._quit(now):
                    break
                if self.session.finished:
                    reason = ByeReason.ENDED
                    break
                self._wait(self._wake_at(now))
            if self._state is not None:
                self._state.forget()
            self._say_bye(reason)
        finally:
            self.close()

    def close(self) -> None:
        """Let go of everything."""
        self._write_stats(self._clock.now())
        self.keys.close()
        if self._control_thread is not None:
            self._control_thread.close()
        self._waiter.close()
        self._reader.close()
        self._transcoder.close()
        self._stats.close()
        self.ports.close()
        if self._state is not None:
            self._state.close()

    def _turn(self, now: HostNs, on_event: Callable[[HostEvent], None]) -> None:
        self._answer_clock()
        self._receive(now, solicited=True)
        self._reader.clear_wake()
        self._controls.carry_out(now)
        self._reader.chunk_frames = self.session.sender.chunk_frames
        while self._reader.ready and (self._controls.jumping or self.session.audio_wanted(now)):
            item = self._reader.take()
            if item is not None:
                self._controls.jumping = False
            if isinstance(item, CodedAudio):
                self.session.add_audio(item, now)
            elif isinstance(item, End):
                self.session.end_of_audio(item.generation, now)
        if self.session.live and self.session.audio_wanted_at(now) is None:
            while self._reader.ready:  # while nothing moves, what is live passes by: kept, it would only be a delay
                item = self._reader.take()
                if isinstance(item, End):
                    self.session.end_of_audio(item.generation, now)
        self.session.handle_timeout(now)
        self._transcode(now)
        if now >= self._refresh_at:
            self._refresh_at = HostNs(now + REFRESH_NS)
            self.ports.rejoin()
        self.ports.flush()
        if self._state is not None:
            self._state.save(self.session, now)
        for datagram in self.session.datagrams_to_send(now):
            self.ports.send(datagram)
        while (event := self.session.next_event()) is not None:
            if isinstance(event, SyncGo):
                self._last_start = {
                    "slowest": event.sync.slowest,
                    "slowest_latency_ms": event.sync.slowest_latency_ns / NS_PER_MS,
                    "delay_ms": event.sync.delay_ns / NS_PER_MS,
                    "reason": event.reason,
                }
            on_event(event)
        if now >= self._stats_at:
            self._stats_at = HostNs(self._stats_at + STATS_NS)
            self._gather()
            if self._stats.wanted:  # of hundreds of listeners it is some ms of work
                self._write_stats(now)

    def _wait(self, until: HostNs) -> None:
        """Wait for something to do; meanwhile the clock is answered, and what listeners say is taken in."""
        now = self._clock.now()
        while True:
            self._waiter.wait((min(until, HostNs(now + CROWD_GATHER_NS)) if self._gathering else until) - now)
            now = self._clock.now()
            if now >= until or not self._waiter.only(*self.ports.asked):
                return
            self._answer_clock()
            if self._receive(now):
                if self.session.transport.preparation is not None:
                    return  # everybody may be ready now
                until = min(until, self._wake_at(now))

    def _gather(self) -> None:
        """Begin or end to gather what listeners say, by how many questions there were; called every `STATS_NS`."""
        crowd = KERNEL_STAMPS and self.clock_requests - self._requests_before > CROWD_PER_S
        self._requests_before = self.clock_requests
        if crowd is not self._gathering:
            self._gathering = crowd
            for port in self.ports.asked:
                (self._waiter.unwatch if crowd else self._waiter.watch)(port)

    def _quit(self, now: HostNs) -> bool:
        """Do what a key asks for; say whether that was to end."""
        if not self.keys.active or not self._waiter.is_ready(self.keys):
            return False
        key = self.keys.read()
        if isinstance(key, tuple):
            self._controls.key(*key, now)
        return key == QUIT

    def _receive(self, now: HostNs, *, solicited: bool = False) -> bool:
        """Take in what has come, also to the group where `solicited`; say whether that was anything."""
        came = self.ports.receive(solicited=solicited)
        for data, source in came:
            self.session.receive_datagram(data, source, now)
        return bool(came)

    def _answer_clock(self) -> None:
        for way in self.ports.ways:
            for data, source, received_at in way.clock.receive_stamped():
                at = self._clock.at(received_at)
                try:
                    answer = ntp.respond(data, received_at=at, sent_at=at)
                except RemoteProtocolError:
                    self.clock_rejected += 1
                    continue
                way.clock.send(ntp.stamp_departure(answer, self._clock.now()), source)
                self.clock_requests += 1

    def _transcode(self, now: HostNs) -> None:
        """Take what was made for the lower tiers, and give out what is to be made next."""
        made = self._transcoder.take()
        if made is not None:
            self.session.sender.add_tier_audio(made, now)
        if self._transcoder.idle:
            job = self.session.sender.next_tier_job(complete=self.session.final_frame is not None)
            if job is not None:
                self._transcoder.submit(job)

    def _wake_at(self, now: HostNs) -> HostNs:
        wake_at = self.session.next_timeout(now)
        if self.ports.waiting:
            wake_at = min(wake_at, HostNs(now + RETRY_NS))
        wanted_at = self.session.audio_wanted_at(now) if self._reader.ready else None
        return wake_at if wanted_at is None else min(wake_at, wanted_at)

    def _say_bye(self, reason: ByeReason) -> None:
        for _ in range(BYES):
            for datagram in self.session.byes(reason):
                self.ports.send(datagram)
            until = local_now() + BYE_PAUSE_NS
            while (left_ns := until - local_now()) > 0:
                self._waiter.wait(left_ns)
                self._answer_clock()

    def _write_stats(self, now: HostNs) -> None:
        session, counters, sent = self.session, self.session.counters, self.session.sender.counters
        rate = session.format.rate
        newest = session.transport.newest
        values: dict[str, Any] = {
            "t": now / NS_PER_S,
            "clock_minus_local_ns": self._clock.minus_local_ns,
            "first_play_at": newest.play_at(MediaFrame(0), rate) if newest.playing else None,
            "state": newest.state.name.lower(),
            "timeline_version": newest.version,
            "position_s": session.position_frame(now) / rate,
            "buffered_s": session.buffered_ns(now) / NS_PER_S,
            "buffer_target_s": session.buffer.depth.depth_ns / NS_PER_S,
            "buffer_reason": session.buffer.depth.reason,
            "datagrams_sent": session.outbox.counters.datagrams_sent,
            "bytes_sent": session.outbox.counters.bytes_sent,
            "symbols_sent": sent.symbols_sent,
            "tier_symbols_sent": sent.tier_symbols_sent,
            "tiers": list(session.sender.ladder.active),
            "repairs_multicast": sent.repairs_multicast,
            "repairs_unicast": sent.repairs_unicast,
            "repairs_parity": sent.repairs_parity,
            "nacks_received": session.reception.nacks,
            "nacks_ignored": session.reception.nacks_ignored,
            "reports_received": session.reception.reports,
            "rejected": counters.rejected + self.clock_rejected,
            "chunks_late": sent.chunks_late,
            "source_gaps": counters.source_gaps,
            "clock_requests": self.clock_requests,
            "listeners_refused": session.listeners.refused,
            "listeners_pushed_out": session.listeners.pushed_out,
            "answers_refused": session.outbox.counters.answers_refused,
            "copies": len(session.copies),
            "copies_sent": session.copies.counters.sent,
            "copies_refused": session.copies.counters.refused,
            "copies_dropped": session.copies.counters.dropped,
            "send_errors": self.ports.send_errors,
            "sends_delayed": self.ports.delayed,
            "history_bytes": session.sender.history.coded_bytes(),
            "last_start": self._last_start,
            "listeners": [listener_values(session, row, now) for row in session.listeners],
        }
        self._stats.write(values | self._source.stats())
