"""Who means no good: whatever it does, nobody else may hear any of it.

It has a machine and a perfect link of its own, joins the group, finds the host like anybody, and then does what its
kind does, so many times a second.  All but the impostor send from addresses of their own.
"""

import zlib
from collections import deque
from dataclasses import replace
from random import Random

from radiosync.errors import RemoteProtocolError
from radiosync.sim.machine import Machine
from radiosync.sim.reading import read
from radiosync.sim.scenario import Villain
from radiosync.sim.scheduler import TrueNs
from radiosync.units import NS_PER_S, HostNs, MediaFrame
from radiosync.wire import ntp
from radiosync.wire.codec import encode
from radiosync.wire.groups import Address
from radiosync.wire.messages import Announce, Bye, ByeReason, Leave, ListenerState, Nack, NackEntry, Report, Solicit

HEARD_MAX = 2000
NOISE_MAX = 1400
ASKED_MAX = 256  # questions for a host that may still be answered
RUN = 4096
ENTRIES = 100
HEARD_SHARE = 0.8
PRETEND_LISTENER_SHARE = 0.5
PRETEND_CLOCK_SHARE = 0.3
CRC = slice(4, 8)


class Acting:
    """One of them, at work until `until`."""

    def __init__(self, machine: Machine, villain: Villain, until: int) -> None:
        self.sent = 0
        self._machine = machine
        self._villain = villain
        self._until = until
        self._host: Announce | None = None
        self._host_ip = ""
        self._heard: deque[bytes] = deque(maxlen=HEARD_MAX)
        self._asked: deque[int] = deque(maxlen=ASKED_MAX)

    def begin(self) -> None:
        """Come, and look for the host."""
        network, config = self._machine.network, self._machine.config.network
        self._group: Address = (config.group, config.port)
        self._everybody: Address = (config.group, config.control_port)
        self._listening = network.open(self._machine.ip, config.port, self._hear, config.group)
        self._control = network.open(self._machine.ip, 0, self._hear)
        self._act()

    def _hear(self) -> None:
        for port in (self._listening, self._control):
            for data, source, _ in port.receive():
                self._heard.append(data)
                try:
                    message = read(data)
                except RemoteProtocolError:
                    continue
                if isinstance(message, Announce) and message.cookie and message.nonce in self._asked:
                    self._host, self._host_ip = message, source[0]

    def _act(self) -> None:
        machine, rng = self._machine, self._machine.rng
        now = machine.scheduler.now
        if now >= self._until:
            self._listening.close()
            self._control.close()
            return
        if self._host is None or (self._villain.kind == "deaf" and self.sent % 2):
            self._asked.append(rng.getrandbits(63) + 1)
            self._send(encode(Solicit(session=0, nonce=self._asked[-1])), self._everybody)
        else:
            self._do(self._host)
        self.sent += 1
        pause_ns = round(rng.expovariate(1.0) * NS_PER_S / self._villain.rate_per_s)
        machine.scheduler.at(TrueNs(now + pause_ns), self._act)

    def _do(self, host: Announce) -> None:
        rng, control = self._machine.rng, (self._host_ip, host.control_port)
        match self._villain.kind:
            case "greedy":
                entries = tuple(
                    NackEntry(seq=(host.play_seq + _below(rng, 200)) % (1 << 32), run=1 + _below(rng, RUN - 1))
                    for _ in range(rng.randrange(1, ENTRIES))
                )
                nack = Nack(session=host.session, cookie=host.cookie, listener_id=1, entries=entries)
                self._send(encode(nack), control)
            case "liar":
                self._send(encode(self._lie(host)), control)
            case "deaf":
                self._send(encode(self._lie(host, name="deaf")), control)
                self._control.close()
                self._control = self._machine.network.open(self._machine.ip, 0, self._hear)
                self._host = None
            case "parrot" if self._heard:
                self._send(rng.choice(self._heard), self._anywhere(control, host.clock_port))
            case "forger" if self._heard:
                self._send(self._forged(), self._anywhere(control, host.clock_port))
            case "impostor" if self._heard:
                self._pretend(host, control)

    def _pretend(self, host: Announce, control: Address) -> None:
        """Send in somebody's name what that one could say, but for the number that only that one knows."""
        rng, network = self._machine.rng, self._machine.network
        wrong = rng.getrandbits(63) + 1
        host_ports = (control, (self._host_ip, host.clock_port))
        others = [at for at in network.addresses() if at[0] not in {self._host_ip, self._control.address[0]}]
        if not others:
            return
        victim = rng.choice(others)
        if rng.random() < PRETEND_LISTENER_SHARE:
            nack = Nack(
                session=host.session, cookie=wrong, listener_id=1, entries=(NackEntry(seq=0, run=RUN, bitmap=0),)
            )
            leave = Leave(session=host.session, cookie=wrong, listener_id=1)
            data = encode(
                rng.choice((nack, leave, self._lie(replace(host, cookie=wrong)), Solicit(session=0, nonce=wrong)))
            )
            source, to = victim, control
        elif rng.random() < PRETEND_CLOCK_SHARE:
            question = ntp.request(wrong)
            data = ntp.respond(question, received_at=host.sent_at, sent_at=host.sent_at)
            source, to = host_ports[1], victim
        else:
            source, to = control, rng.choice((self._group, victim))
            good_bye = encode(Bye(session=wrong, timeline=host.timeline, reason=ByeReason.STOPPED, final_frame=None))
            data = rng.choice((good_bye, self._renamed(rng.choice(self._heard), wrong)))
        network.send(data, source, to, forged_by=self._control.address)

    def _renamed(self, heard: bytes, session: int) -> bytes:
        """Return what was heard of a host as if it were of another session of the same host."""
        try:
            message = read(heard)
        except RemoteProtocolError:
            return heard
        if isinstance(message, Announce):
            message = replace(message, nonce=self._machine.rng.getrandbits(63) + 1, cookie=session)
        return encode(replace(message, session=session))

    def _anywhere(self, control: Address, clock_port: int) -> Address:
        return self._machine.rng.choice((self._group, self._everybody, control, (self._host_ip, clock_port)))

    def _forged(self) -> bytes:
        rng = self._machine.rng
        heard = rng.choice(self._heard) if rng.random() < HEARD_SHARE else rng.randbytes(rng.randrange(NOISE_MAX))
        data = bytearray(heard)
        for _ in range(rng.randrange(8)):
            if data:
                data[rng.randrange(len(data))] = rng.getrandbits(8)
        if len(data) > CRC.stop and rng.random() < HEARD_SHARE:  # so that it gets beyond the first check
            data[CRC] = bytes(4)
            data[CRC] = zlib.crc32(data).to_bytes(4, "big")
        return bytes(data)

    def _lie(self, host: Announce, name: str = "liar") -> Report:
        rng = self._machine.rng

        def some(bits: int) -> int:
            return rng.choice((0, 1, rng.getrandbits(bits), (1 << bits) - 1))

        return Report(
            session=host.session,
            cookie=host.cookie,
            listener_id=rng.choice((1, rng.getrandbits(63) + 1)),
            state=rng.choice(tuple(ListenerState)),
            tier=rng.randrange(8),
            rtt_ns=some(40),
            down_ns=some(40),
            up_ns=some(40),
            echo_at=HostNs(host.sent_at - some(40)),
            echo_held_ns=some(40),
            ready_frame=MediaFrame(some(48)),
            lead_ms=some(31),
            offset_bound_ns=some(40),
            sync_error_ns=some(40) - some(40),
            rate_ppb=some(30) - some(30),
            buffer_ms=some(31),
            symbols_received=some(31),
            symbols_lost=some(31),
            symbols_repaired=some(31),
            chunks_late=some(31),
            chunks_concealed=some(31),
            underruns=some(31),
            hard_resyncs=some(31),
            jitter_us=some(31),
            offset_us=some(30) - some(30),
            name=name,
        )

    def _send(self, data: bytes, to: Address) -> None:
        self._control.send(data, to)


def _below(rng: Random, limit: int) -> int:
    """Draw what `rng.randrange(limit)` would, in half the time."""
    bits = limit.bit_length()
    drawn = rng.getrandbits(bits)
    while drawn >= limit:
        drawn = rng.getrandbits(bits)
    return drawn
