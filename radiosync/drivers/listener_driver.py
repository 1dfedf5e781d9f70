"""Runs a listener session on real sockets and a real output: one loop, with the sound device's callback beside it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import SystemRandom
from typing import Any

from radiosync.audio.format import AudioFormat
from radiosync.clock.filter import Quality
from radiosync.config import Config
from radiosync.drivers.clocks import local_now
from radiosync.drivers.device_sink import DeviceSink
from radiosync.drivers.file_sinks import Sink, open_sink
from radiosync.drivers.interfaces import Interface, find_address
from radiosync.drivers.listener_stats import stream_stats
from radiosync.drivers.loop import StatsFile, Waiter
from radiosync.drivers.memory_file import MemoryFile
from radiosync.drivers.output_search import OutputSearch, begin_search
from radiosync.drivers.roaming import moved
from radiosync.drivers.startup import Startup
from radiosync.drivers.udp import DRAIN_MAX, KERNEL_STAMPS, GroupPort, Port, open_group, open_unicast
from radiosync.errors import NetworkError
from radiosync.listener.events import HostFound, ListenerEvent
from radiosync.listener.exact import ExactPlayout
from radiosync.listener.memory import KnownRate, host_key
from radiosync.listener.playout import DevicePlayout
from radiosync.listener.session import Datagram, ListenerSession
from radiosync.units import NS_PER_MS, NS_PER_S, LocalNs
from radiosync.wire.groups import tier_group

STATS_NS = NS_PER_S
SAVE_NS = 60 * NS_PER_S
COLLECT_NS = 200 * NS_PER_MS  # while enough is buffered: a wake-up for each datagram costs more than the datagram
COLLECT_BUFFER_NS = NS_PER_S  # below this much buffered, every datagram matters at once


class ListenerDriver:
    """Everything of a listener that touches the machine."""

    def __init__(
        self,
        config: Config,
        interface: Interface,
        name: str,
        stats: Path | None,
        memory: MemoryFile,
        record: Path | None = None,
        startup: Startup | None = None,
        search: OutputSearch | None = None,
    ) -> None:
        """`search` is for the output's device, if that has been begun."""
        self._startup = Startup() if startup is None else startup
        self._startup.reached("imported")
        network, listener = config.network, config.listener
        self._config = config
        self._memory = memory
        self._save_at = LocalNs(local_now() + SAVE_NS)
        self._stats = StatsFile(stats)
        self._device: DeviceSink | None = None
        self._sink: Sink | None = None
        self._scheduling = "normal"
        self._waiter = Waiter()
        search = begin_search(listener.output) if search is None else search
        if search is not None:
            self._scheduling = search.scheduling
            resync_ns = config.radio_sync.resync_ns
            self._device = DeviceSink(listener, resync_ns, memory, search.result(), record, self._waiter.wake)
        else:
            self._sink = open_sink(listener.output)
        self._interface = interface
        self._group_ports = {0: open_group(interface, network.group, network.port)}
        self._control, self._time = self._open_unicast(interface)
        self._moves = 0
        self._own_address = (interface.ip, self._time.port)
        self._anyone = (
            find_address(listener.host, network.group) if listener.host else network.group,
            network.control_port,
        )
        self.session = ListenerSession(config, rng=SystemRandom(), now=local_now(), name=name, memory=memory)
        for readable in (self._time, self._control, *self._group_ports.values()):
            self._waiter.watch(readable)
        self._collecting = False
        self._more = False  # datagrams than a turn takes
        self._stats_at = local_now()
        self._emitted: tuple[int, int] | None = None
        self._frames_out = 0
        self._clock_foreign = 0
        self._startup.reached("asking")

    def run(self, on_event: Callable[[ListenerEvent], None], duration_ns: int | None) -> None:
        """Run until a signal comes or `duration_ns` have passed."""
        began = local_now()
        try:
            while not self._waiter.stopped:
                now = local_now()
                if duration_ns is not None and now - began >= duration_ns:
                    break
                self._turn(now, on_event)
                self._note_start()
                self._collect()
                self._waiter.wait(self._wake_at(now) - local_now())
            if (leave := self.session.leave()) is not None:
                self._send(leave)
        finally:
            self.close()

    def close(self) -> None:
        """Let go of everything."""
        self._write_stats(local_now())
        self._remember(local_now())
        self._memory.save()
        self._waiter.close()
        if self._device is not None:
            self._device.close()
        if self._sink is not None:
            self._sink.close()
        self._stats.close()
        for port in (*self._group_ports.values(), self._control, self._time):
            port.close()

    def _turn(self, now: LocalNs, on_event: Callable[[ListenerEvent], None]) -> None:
        session = self.session
        for data, source, received_at in self._time.receive_stamped():
            if session.stream is not None and source == session.stream.clock_address:
                session.receive_clock(data, received_at)
            elif source != self._own_address:
                self._clock_foreign += 1
        self._more = False
        # Before anything is rendered, so that an order is obeyed by all that is rendered after it has come.
        for port in (self._control, *self._group_ports.values()):
            received = port.receive()
            self._more = self._more or len(received) == DRAIN_MAX
            for data, source in received:
                session.receive_datagram(data, source, now, through_group=port is not self._control)
        self._play(now)
        session.handle_timeout(now)
        self._join_tiers()
        if session.rejoin():
            self._rejoin(now)
        for datagram in session.datagrams_to_send():
            self._send(datagram)
        for request in session.clock_requests(now):
            if session.stream is not None:
                # The first datagram after a pause leaves tens of µs late, through cold caches: let it be our own.
                self._time.send(b"", self._own_address)
                sent_at = local_now()
                if self._time.send(request, session.stream.clock_address):
                    session.note_clock_sent(request, sent_at)
        while (event := session.next_event()) is not None:
            if isinstance(event, HostFound):
                self._begin(event.format)
            on_event(event)
        if now >= self._stats_at:
            self._stats_at = LocalNs(max(self._stats_at, now - STATS_NS) + STATS_NS)
            self._write_stats(now)
            self._remember(now)

    def _note_start(self) -> None:
        """Note how far the start has come, until something is heard."""
        stream, device, reached = self.session.stream, self._device, self._startup.reached
        if "rendered" in self._startup.reached_s or stream is None:
            return
        reached("answered")
        if device is not None and device.opened:
            reached("opened")
        if device is not None and device.usable:
            reached("stamped")
        if stream.clock.counters.accepted:
            reached("clock")
        if stream.clock_ready(local_now()):
            reached("ready")
        if stream.buffered_ns(local_now()):
            reached("chunk")
        if stream.playout is not None and stream.playout.cursor is not None:
            reached("started")
        if self._emitted is not None or (isinstance(stream.playout, DevicePlayout) and stream.playout.begun):
            reached("rendered")

    def _remember(self, now: LocalNs) -> None:
        """Note what has been learnt of clocks, and write it down now and then: a machine may be switched off."""
        stream = self.session.stream
        if stream is not None and stream.clock.quality(now) is Quality.LOCKED:
            mapping = stream.clock.mapping()
            if mapping is not None:
                known = KnownRate(rate=mapping.skew, sigma=mapping.skew_sigma)
                self._memory.note_host(host_key(stream.host_name, stream.host_ip), known)
        if self._device is not None and (learnt := self._device.learnt()) is not None:
            self._memory.note_device(*learnt)
        if now >= self._save_at:
            self._save_at = LocalNs(now + SAVE_NS)
            self._memory.save_beside()

    def _collect(self) -> None:
        """Leave sockets to their buffers while there is no hurry; a wake-up costs more than a datagram."""
        stream = self.session.stream
        self._be_calm(stream is not None and stream.playing_calmly(COLLECT_BUFFER_NS))

    def _be_calm(self, calm: bool) -> None:
        if calm != self._collecting:
            self._collecting = calm
            # The kernel has noted when an answer to the clock came; where it does not, that is seen by waking up.
            patient = (*self._group_ports.values(), self._time) if KERNEL_STAMPS else self._group_ports.values()
            for port in patient:
                (self._waiter.unwatch if calm else self._waiter.watch)(port)

    def _join_tiers(self) -> None:
        """Be in the groups of the tiers that are listened to, and in no other."""
        wanted = (0,) if self.session.stream is None else self.session.stream.quality.tiers
        if wanted == tuple(self._group_ports):
            return
        network = self._config.network
        for tier, port in self._group_ports.items():
            if tier not in wanted:
                if not self._collecting:
                    self._waiter.unwatch(port)
                port.close()
        joined: dict[int, GroupPort] = {}
        for tier in wanted:
            known = self._group_ports.get(tier)
            try:
                joined[tier] = known or open_group(self._interface, tier_group(network.group, tier), network.port)
            except NetworkError:  # the interface is away: tried again in the next turn
                continue
            if known is None and not self._collecting:
                self._waiter.watch(joined[tier])
        self._group_ports = joined

    def _rejoin(self, now: LocalNs) -> None:
        """Join the groups anew; on another interface or address, where nothing is heard and the network has changed."""
        config = self._config
        if self.session.stream is None or self.session.reach.silent(now):
            network = config.network
            interface = moved(self._interface, network.interface, network.group, config.listener.host)
            if interface is not None and self._move(interface):
                return
        for group in self._group_ports.values():
            group.rejoin()

    def _move(self, interface: Interface) -> bool:
        """Open all sockets anew on `interface`; say whether that was possible."""
        network = self._config.network
        opened: list[Port] = []
        try:
            groups = {}
            for tier in self._group_ports:
                groups[tier] = open_group(interface, tier_group(network.group, tier), network.port)
                opened.append(groups[tier])
            control, clock = self._open_unicast(interface)
        except NetworkError:  # it is not quite up: another time
            for port in opened:
                port.close()
            return False
        self._be_calm(False)
        for port in (*self._group_ports.values(), self._control, self._time):
            self._waiter.unwatch(port)
            port.close()
        self._interface, self._group_ports, self._control, self._time = interface, groups, control, clock
        self._own_address = (interface.ip, clock.port)
        for port in (*groups.values(), control, clock):
            self._waiter.watch(port)
        self._moves += 1
        return True

    def _open_unicast(self, interface: Interface) -> tuple[Port, Port]:
        """Open the control socket and the clock's."""
        ttl, dscp = self._config.network.ttl, self._config.network.dscp_clock
        control = open_unicast(interface, 0, group_ttl=ttl, dscp=dscp)
        return control, open_unicast(interface, 0, group_ttl=ttl, dscp=dscp, stamps=True)

    def _begin(self, audio: AudioFormat) -> None:
        """Connect the output to the stream that has just been found."""
        stream = self.session.stream
        if stream is None:
            return
        if self._device is not None:
            self._device.begin(audio, stream)
        elif self._sink is not None:
            self._sink.begin(audio)
            stream.attach(ExactPlayout(stream.buffer, stream.schedule))

    def _play(self, now: LocalNs) -> None:
        stream = self.session.stream
        if self._device is not None:
            if stream is None:
                self._device.release()
            self._device.fill(now)
            return
        if stream is None or self._sink is None or not isinstance(stream.playout, ExactPlayout):
            return
        while (block := stream.playout.take(now)) is not None:
            self._emitted = (self._frames_out, local_now())
            self._sink.write(block.samples)
            self._frames_out += len(block.samples)

    def _send(self, datagram: Datagram) -> None:
        self._control.send(datagram.data, self._anyone if datagram.to is None else datagram.to)

    def _wake_at(self, now: LocalNs) -> LocalNs:
        if self._more:
            return now
        stream = self.session.stream
        if self._collecting and self._device is not None and stream is not None:
            # Whatever else is due can wait for the device's turn.
            wake_at = min(self._device.next_timeout(now), LocalNs(now + COLLECT_NS))
            return min(wake_at, stream.poller.next_timeout()) if stream.poller.eager else wake_at
        wake_at = self.session.next_timeout(now)
        if self._device is not None:
            return min(wake_at, self._device.next_timeout(now))
        return min(wake_at, LocalNs(now + COLLECT_NS)) if self._collecting else wake_at

    def _write_stats(self, now: LocalNs) -> None:
        session = self.session
        values: dict[str, Any] = {
            "t": now / NS_PER_S,
            "state": session.state(now).name.lower(),
            "sessions": session.sessions_seen,
            "rejected": session.rejected,
            "foreign": session.foreign,
            "copy": session.reach.wants_copy,
            "rejoins": session.reach.rejoins,
            "moves": self._moves,
            "rejoins_failed": sum(port.failed for port in self._group_ports.values()),
            "sync_alarms": session.alarm.count,
            "clock_foreign": self._clock_foreign,
            "scheduling": self._scheduling,
            "start_s": self._startup.reached_s,
        }
        if session.stream is not None:
            values.update(stream_stats(session.stream, now))
        if self._device is not None:
            values.update(self._device.stats())
        if self._emitted is not None and session.stream is not None:
            values["emitted_frame"], values["emitted_at"] = self._emitted
            values["emitted_rate"] = session.stream.format.rate
        self._stats.write(values)


def with_remembered_offset(
    config: Config,
    memory: MemoryFile,
    given_ms: float | None,
    search: OutputSearch | None,
    say: Callable[[str], None],
) -> Config:
    """Return `config` with the offset that the sound device had last time, where none is given; remember a given one.

    Raises DeviceError where the device does not exist.
    """
    if search is None:
        return config
    device = search.result().device.key
    offset_ms = config.listener.offset_ms
    if given_ms is not None or offset_ms:
        memory.note_offset(device, offset_ms)
        return config
    remembered_ms = memory.offset_ms(device)
    if not remembered_ms:
        return config
    say(f"playing {remembered_ms:+g} ms off, as this device did last time; --offset-ms 0 ends that")
    return replace(config, listener=replace(config.listener, offset_ms=remembered_ms))
