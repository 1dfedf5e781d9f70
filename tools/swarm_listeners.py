"""Listeners by the hundred in one process: whole protocol sessions, and what stands in for their ears.

Each has its own control and clock sockets, and so an address, a cookie, a budget and a row at the host.  What goes to
the group comes by one socket for all and is decoded once; each session is given it, or loses it by its own dice.  The
kernel would hand out two hundred copies just as well, but to the same one processor.

An exact member decodes every frame and compares it with the source.  The others go through the buffer at the same pace
and decode nothing: of each chunk that they would have played they compare the CRC of its bytes with the others'.
"""

import selectors
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from radiosync.audio.format import AudioFormat, Samples
from radiosync.config import Config
from radiosync.drivers.clocks import local_now
from radiosync.drivers.interfaces import Interface
from radiosync.drivers.udp import DRAIN_MAX, Port, open_group, open_unicast
from radiosync.errors import RemoteProtocolError
from radiosync.listener.events import HostFound, PlaybackStarted
from radiosync.listener.exact import ExactPlayout
from radiosync.listener.jitter import JitterBuffer
from radiosync.listener.session import ListenerSession
from radiosync.listener.slot import Slot
from radiosync.units import NS_PER_MS, NS_PER_S, LocalNs, MediaFrame
from radiosync.wire.codec import decode
from radiosync.wire.groups import Address
from radiosync.wire.messages import Audio, ListenerState, Message

TICK_NS = 20 * NS_PER_MS  # a session that learns its clock, or waits for music, has a turn so often
CALM_NS = 100 * NS_PER_MS  # one that plays does not
CHUNKS_KNOWN_MAX = 4096  # of whose CRC is known: ten minutes of the shortest usual chunks; the oldest is forgotten
WINDOW_NS = NS_PER_S  # over which the host's sending rate is taken
LATE_MAX = 1 << 16  # twenty minutes of ticks
DRAINS_MAX = 32  # looks at the group's socket in one tick: as much as its buffer holds


class Truth:
    """What the chunks should be: the source's frames, and what the first to play a chunk found it to be."""

    def __init__(self, source: NDArray[Any] | None = None) -> None:
        self.source = source
        self._crcs: dict[tuple[int, int], int] = {}

    def agrees(self, seq: int, tier: int, coded: bytes) -> bool:
        """Say whether chunk `seq` is what everybody else found it to be."""
        if (seq, tier) not in self._crcs and len(self._crcs) >= CHUNKS_KNOWN_MAX:
            del self._crcs[next(iter(self._crcs))]
        crc = zlib.crc32(coded)
        return self._crcs.setdefault((seq, tier), crc) == crc

    def different(self, song_frame: int, samples: Samples) -> int:
        """Return how many frames differ from the source's from `song_frame` on."""
        if self.source is None:
            return 0
        there = self.source[song_frame : song_frame + len(samples)]
        if len(there) != len(samples):
            return len(samples)
        return int((there != samples).any(axis=1).sum())


@dataclass(slots=True)
class Checked:
    """What a member has compared."""

    chunks: int = 0
    chunks_different: int = 0
    frames: int = 0
    frames_different: int = 0


class Ear:
    """Stands between a playout and the jitter buffer, and looks at what is played."""

    def __init__(self, buffer: JitterBuffer, truth: Truth, *, exact: bool) -> None:
        self.format: AudioFormat = buffer.format
        self.checked = Checked()
        self._buffer, self._truth, self._exact = buffer, truth, exact
        self._checked_seq = -1
        self._silence = buffer.format.silence(0)

    def read(self, frame: MediaFrame, count: int) -> tuple[Samples, NDArray[np.bool_]]:
        """Return the frames, or silence in their place, and which of them are present."""
        slots = [slot for slot in self._buffer._overlapping(frame, count) if slot.complete]
        if self._exact:
            samples, present = self._buffer.read(frame, count)
        else:
            if len(self._silence) < count:
                self._silence = self.format.silence(count)
            samples, present = self._silence[:count], np.zeros(count, np.bool_)
        for slot in slots:
            begin = max(slot.header.first_frame, frame) - frame
            end = min(slot.header.first_frame + slot.header.frames, frame + count) - frame
            if self._exact:
                self._compare(slot, MediaFrame(frame + begin), samples[begin:end], present[begin:end])
            present[begin:end] = True
            if slot.seq > self._checked_seq:
                self._checked_seq = slot.seq
                self.checked.chunks += 1
                self.checked.chunks_different += not self._truth.agrees(slot.seq, slot.header.tier, slot.coded())
        return samples, present

    def drop_before(self, frame: MediaFrame) -> None:
        """Forget what has been played."""
        self._buffer.drop_before(frame)

    def _compare(self, slot: Slot, frame: MediaFrame, samples: Samples, present: NDArray[np.bool_]) -> None:
        song_frame = slot.header.song_frame + frame - slot.header.first_frame
        self.checked.frames += len(samples)
        self.checked.frames_different += self._truth.different(song_frame, samples) if present.all() else len(samples)


class Peer(Protocol):
    """Somebody with sockets of its own who talks to the host."""

    ports: tuple[Port, ...]
    wake_at: LocalNs

    def receive_group(self, message: Message, source: Address, now: LocalNs) -> None:
        """Take what was sent to everybody."""

    def turn(self, now: LocalNs) -> int:
        """Read the sockets, do what is due, and send; return how many bytes have come."""

    def close(self, *, politely: bool) -> None:
        """Go, with or without a word."""


class Member:
    """One listener."""

    def __init__(
        self,
        place: "Place",
        number: int,
        truth: Truth,
        *,
        loss: float,
        seed: int,
        exact: bool,
        now: LocalNs,
        reached: bool = True,
    ) -> None:
        network = place.config.network
        interface = place.interface_of(number)
        self._control = open_unicast(interface, 0, group_ttl=network.ttl, dscp=network.dscp_clock)
        self._time = open_unicast(interface, 0, group_ttl=network.ttl, dscp=network.dscp_clock, stamps=True)
        self.ports: tuple[Port, ...] = (self._control, self._time)
        self._anyone = (network.group, network.control_port)
        self.session = ListenerSession(place.config, rng=Random(f"{seed}/{number}"), now=now, name=f"swarm{number}")
        self.exact = exact
        self.began_at = now
        self.played_at: LocalNs | None = None
        self.wake_at = now
        self.lost = 0
        self._reached = reached
        self._truth, self._loss, self._dice = truth, loss, Random(f"{seed}/{number}/loss")
        self._earlier = Checked()
        self._ear: Ear | None = None

    @property
    def playing(self) -> bool:
        """Whether music is being played just now."""
        stream = self.session.stream
        return stream is not None and stream.state(local_now()) is ListenerState.PLAYING

    @property
    def checked(self) -> Checked:
        """What has been compared so far."""
        return self._earlier if self._ear is None else self._ear.checked

    def receive_group(self, message: Message, source: Address, now: LocalNs) -> None:
        """Take what was sent to everybody, unless it is lost."""
        if not self._reached:
            return
        if self._loss and self._dice.random() < self._loss:
            self.lost += 1
        elif not (isinstance(message, Audio) and message.repair and self._has(message)):
            self.session.receive(message, source, now, through_group=True)

    def turn(self, now: LocalNs) -> int:
        """Read the sockets, do what is due, play, and send; return how many bytes have come by unicast."""
        session, came = self.session, 0
        for data, source, received_at in self._time.receive_stamped():
            came += len(data)
            if session.stream is not None and source == session.stream.clock_address:
                session.receive_clock(data, received_at)
        for data, source in self._control.receive():
            came += len(data)
            if self._loss and self._dice.random() < self._loss:
                self.lost += 1
            else:
                session.receive_datagram(data, source, now, through_group=False)
        session.handle_timeout(now)
        for datagram in session.datagrams_to_send():
            self._control.send(datagram.data, self._anyone if datagram.to is None else datagram.to)
        for request in session.clock_requests(now):
            sent_at = local_now()
            if session.stream is not None and self._time.send(request, session.stream.clock_address):
                session.note_clock_sent(request, sent_at)
        while (event := session.next_event()) is not None:
            if isinstance(event, HostFound):
                self._begin()
            elif isinstance(event, PlaybackStarted) and self.played_at is None:
                self.played_at = now
        playout = None if session.stream is None else session.stream.playout
        while isinstance(playout, ExactPlayout) and playout.take(now) is not None:
            pass
        calm = playout is not None and playout.cursor is not None
        self.wake_at = LocalNs(now + (CALM_NS if calm else TICK_NS))
        return came

    def close(self, *, politely: bool) -> None:
        """Go, with or without a word."""
        leave = self.session.leave() if politely else None
        if leave is not None and leave.to is not None:
            self._control.send(leave.data, leave.to)
        for port in self.ports:
            port.close()

    def _has(self, audio: Audio) -> bool:
        """Say whether a repair is of a chunk that is here: with many joiners most are, and 200 times a look is dear."""
        stream = self.session.stream
        slot = None if stream is None else stream.buffer._slots.get(audio.chunk.seq)
        return slot is not None and slot.complete

    def _begin(self) -> None:
        stream = self.session.stream
        assert stream is not None
        self._ear = Ear(stream.buffer, self._truth, exact=self.exact)
        # It is a jitter buffer as far as a playout of this kind asks.
        stream.attach(ExactPlayout(self._ear, stream.schedule))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Place:
    """Where the swarm meets the host."""

    config: Config
    interface: Interface
    machines: int = 1
    """How many the listeners are spread over, on the loopback interface: each has an address of its own."""

    def interface_of(self, number: int, net: int = 1) -> Interface:
        """Return the interface that listener `number` uses."""
        if self.machines == 1 or not self.interface.ip.startswith("127."):
            return self.interface
        machine = number % self.machines
        return Interface(f"127.{net}.{machine // 250}.{machine % 250 + 1}", self.interface.name, self.interface.index)


@dataclass
class Traffic:
    """What the host has sent, as it arrived: of all bytes, and of what was sent again, by `WINDOW_NS`."""

    bytes_in: dict[int, int] = field(default_factory=dict)
    again_in: dict[int, int] = field(default_factory=dict)

    def note(self, size: int, now: LocalNs, *, again: bool) -> None:
        """Count a datagram."""
        window = now // WINDOW_NS
        self.bytes_in[window] = self.bytes_in.get(window, 0) + size
        if again:
            self.again_in[window] = self.again_in.get(window, 0) + size


class Swarm:
    """Drives all members in one thread: every `TICK_NS` one look at all sockets, and a turn for each that is due."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.peers: list[Peer] = []
        self.traffic = Traffic()
        self.late_ns: deque[int] = deque(maxlen=LATE_MAX)
        """How much later than planned the latest ticks ended: what a swarm measures that can't keep up is its own."""
        self._group = open_group(place.interface, place.config.network.group, place.config.network.port)
        self._selector = selectors.DefaultSelector()

    def add(self, peer: Peer) -> None:
        """Let somebody come."""
        self.peers.append(peer)
        for port in peer.ports:
            self._selector.register(port, selectors.EVENT_READ, peer)

    def remove(self, peer: Peer, *, politely: bool) -> None:
        """Let somebody go."""
        self.peers.remove(peer)
        for port in peer.ports:
            self._selector.unregister(port)
        peer.close(politely=politely)

    def run(self, until: LocalNs, each_tick: Callable[[LocalNs], None]) -> None:
        """Drive everybody until then; `each_tick` is called before each look at the sockets."""
        tick_at = local_now()
        while (now := local_now()) < until:
            if now < tick_at:
                time.sleep((tick_at - now) / NS_PER_S)
                continue
            each_tick(now)
            self._tick(now)
            tick_at = LocalNs(tick_at + TICK_NS)
            late_ns = max(0, local_now() - tick_at)
            self.late_ns.append(late_ns)
            tick_at = LocalNs(tick_at + late_ns)

    def close(self) -> None:
        """Let everybody go."""
        for peer in list(self.peers):
            self.remove(peer, politely=True)
        self._selector.close()
        self._group.close()

    @property
    def group_port(self) -> int:
        """The group's port."""
        return self._group.port

    def _tick(self, now: LocalNs) -> None:
        for data, source in self._from_group():
            try:
                message = decode(data)
            except RemoteProtocolError:
                continue
            again = isinstance(message, Audio) and message.repair
            self.traffic.note(len(data), now, again=again)
            for peer in self.peers:
                peer.receive_group(message, source, now)
        spoken_to = {id(key.data) for key, _ in self._selector.select(0)}
        for peer in list(self.peers):
            if peer.wake_at <= now or id(peer) in spoken_to:
                # By the tick's time: a swarm that is late must not make its listeners think that they are cut off.
                self.traffic.note(peer.turn(now), now, again=True)

    def _from_group(self) -> Iterator[tuple[bytes, Address]]:
        """Yield what has come for everybody, within reason."""
        for _ in range(DRAINS_MAX):
            came = self._group.receive()
            yield from came
            if len(came) < DRAIN_MAX:
                return
