"""Runs a host session on real sockets: one loop, with the reader beside it."""

from collections.abc import Callable
from pathlib import Path
from random import SystemRandom
from typing import Any

from radiosync.audio.codec import Codec
from radiosync.config import Config
from radiosync.drivers.clocks import MediaClock, local_now
from radiosync.drivers.interfaces import Interface
from radiosync.drivers.loop import StatsFile, Waiter
from radiosync.drivers.reader import Reader, Source
from radiosync.drivers.udp import Port, open_group, open_unicast
from radiosync.errors import RemoteProtocolError
from radiosync.host.events import HostEvent
from radiosync.host.session import Datagram, HostSession
from radiosync.units import NS_PER_MS, NS_PER_S, HostNs, MediaFrame
from radiosync.wire import ntp
from radiosync.wire.messages import ByeReason

BYES = 3  # a lost good-bye is a listener that waits
BYE_PAUSE_NS = 20 * NS_PER_MS
STATS_NS = NS_PER_S


class HostDriver:
    """Everything of a host that touches the machine."""

    def __init__(self, config: Config, source: Source, interface: Interface, name: str, stats: Path | None) -> None:
        network = config.network
        self._group = (network.group, network.port)
        self._config = config
        self.interface = interface
        self._stats = StatsFile(stats)
        self._clock = MediaClock()
        ttl = network.ttl
        self._control = open_unicast(interface, network.control_port, group_ttl=ttl, dscp=network.dscp_clock)
        self._solicited = open_group(interface, network.group, network.control_port)
        self._time = open_unicast(interface, network.clock_port, group_ttl=ttl, dscp=network.dscp_clock, stamps=True)
        self._audio = open_unicast(interface, 0, group_ttl=ttl, dscp=network.dscp_audio)
        self.session = HostSession(
            config,
            source.format,
            rng=SystemRandom(),
            now=self._clock.now(),
            control_port=self._control.port,
            clock_port=self._time.port,
            name=name,
        )
        self._reader = Reader(source, self.session.chunk_frames, Codec[config.codec.upper()])
        self._waiter = Waiter()
        for readable in (self._time, self._control, self._solicited, self._reader.wake):
            self._waiter.watch(readable)
        self._stats_at = self._clock.now()
        self.clock_requests = 0
        self.clock_rejected = 0

    def run(self, on_event: Callable[[HostEvent], None], duration_ns: int | None) -> None:
        """Run until the music has ended, a signal comes or `duration_ns` have passed."""
        began = self._clock.now()
        reason = ByeReason.STOPPED
        try:
            while not self._waiter.stopped:
                now = self._clock.now()
                if duration_ns is not None and now - began >= duration_ns:
                    break
                self._turn(now, on_event)
                if self.session.finished:
                    reason = ByeReason.ENDED
                    break
                self._waiter.wait(self._wake_at(now) - self._clock.now())
            self._say_bye(reason)
        finally:
            self.close()

    def close(self) -> None:
        """Let go of everything."""
        self._write_stats(self._clock.now())
        self._waiter.close()
        self._reader.close()
        self._stats.close()
        for port in (self._control, self._solicited, self._time, self._audio):
            port.close()

    def _turn(self, now: HostNs, on_event: Callable[[HostEvent], None]) -> None:
        self._answer_clock()
        for port in (self._control, self._solicited):
            for data, source in port.receive():
                self.session.receive_datagram(data, source, now)
        self._reader.clear_wake()
        while self._reader.ready and self.session.audio_wanted(now):
            coded = self._reader.take()
            if coded is not None:
                self.session.add_audio(coded, now)
            elif self._reader.ended:
                self.session.end_of_audio(now)
        self.session.handle_timeout(now)
        for datagram in self.session.datagrams_to_send(now):
            self._send(datagram)
        while (event := self.session.next_event()) is not None:
            on_event(event)
        if now >= self._stats_at:
            self._stats_at = HostNs(self._stats_at + STATS_NS)
            self._write_stats(now)

    def _answer_clock(self) -> None:
        for data, source, received_at in self._time.receive_stamped():
            at = self._clock.at(received_at)
            try:
                answer = ntp.respond(data, received_at=at, sent_at=self._clock.now())
            except RemoteProtocolError:
                self.clock_rejected += 1
                continue
            self._time.send(answer, source)
            self.clock_requests += 1

    def _send(self, datagram: Datagram) -> None:
        port: Port = self._control if datagram.urgent else self._audio
        port.send(datagram.data, self._group if datagram.to is None else datagram.to)

    def _wake_at(self, now: HostNs) -> HostNs:
        wake_at = self.session.next_timeout(now)
        wanted_at = self.session.audio_wanted_at() if self._reader.ready else None
        return wake_at if wanted_at is None else min(wake_at, wanted_at)

    def _say_bye(self, reason: ByeReason) -> None:
        for _ in range(BYES):
            self._send(self.session.bye(reason))
            until = local_now() + BYE_PAUSE_NS
            while (left_ns := until - local_now()) > 0:
                self._waiter.wait(left_ns)
                self._answer_clock()

    def _write_stats(self, now: HostNs) -> None:
        session, counters = self.session, self.session.counters
        rate = session.format.rate
        listeners = [
            {
                "name": row.report.name,
                "address": f"{row.address[0]}:{row.address[1]}",
                "status": session.listeners.status(row, now).value,
                "state": row.report.state.name.lower(),
                "latency_ms": round(row.average_ns / NS_PER_MS, 3),
                "latency_samples_ms": [round(s / NS_PER_MS, 3) for s in row.samples_ns],
                "sync_error_ns": row.report.sync_error_ns,
                "symbols_lost": row.report.symbols_lost,
                "symbols_repaired": row.report.symbols_repaired,
                "chunks_concealed": row.report.chunks_concealed,
                "buffer_s": row.report.buffer_ms / 1000,
                "last_heard_s": round((now - row.last_heard_at) / NS_PER_S, 3),
            }
            for row in session.listeners
        ]
        values: dict[str, Any] = {
            "t": now / NS_PER_S,
            "clock_minus_local_ns": self._clock.minus_local_ns,
            "first_play_at": session.timeline.play_at(MediaFrame(0), rate),
            "position_s": session.position_frame(now) / rate,
            "buffered_s": session.buffered_ns(now) / NS_PER_S,
            "datagrams_sent": counters.datagrams_sent,
            "bytes_sent": counters.bytes_sent,
            "symbols_sent": counters.symbols_sent,
            "repairs_multicast": counters.repairs_multicast,
            "repairs_unicast": counters.repairs_unicast,
            "nacks_received": counters.nacks_received,
            "rejected": counters.rejected + self.clock_rejected,
            "chunks_late": counters.chunks_late,
            "source_gaps": counters.source_gaps,
            "clock_requests": self.clock_requests,
            "send_errors": self._control.send_errors + self._audio.send_errors,
            "history_bytes": session.memory_bytes(),
            "listeners": listeners,
        }
        self._stats.write(values)
