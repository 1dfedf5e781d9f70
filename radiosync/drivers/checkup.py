"""What `radiosync doctor` looks at: this machine's network, its processors, its sound device, and a host.

Nothing here changes anything or joins a session: a host that is asked for its announcement and its time does not know
that somebody listens, and the sound device plays silence.
"""

import select
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from random import Random
from secrets import token_bytes
from typing import Any

import ntplib
import numpy as np

from radiosync.audio.format import AudioFormat, SampleFormat
from radiosync.clock.dac import DacClock
from radiosync.clock.filter import ClockFilter
from radiosync.clock.poller import ClockPoller
from radiosync.config import Config, NetworkConfig
from radiosync.drivers.clocks import local_now, real_now
from radiosync.drivers.interfaces import Interface, find_address
from radiosync.drivers.portaudio import find_device, load_portaudio, open_stream
from radiosync.drivers.stamps import Stamps
from radiosync.drivers.udp import KERNEL_STAMPS, LINUX, RECEIVE_BUFFER, Port, open_group, open_unicast
from radiosync.errors import NetworkError, RemoteProtocolError, UserError
from radiosync.listener.discovery import Discovery
from radiosync.units import NS_PER_MS, NS_PER_S, NS_PER_US, LocalNs
from radiosync.wire.codec import decode
from radiosync.wire.messages import Announce

ECHO_NS = NS_PER_S  # for a datagram to come back from this machine's own network stack
NAPS, NAP_NS = 500, 2 * NS_PER_MS
NAP_LATE_NS = 50 * NS_PER_MS  # at a hundredth of all naps: beyond it a device's 0.2 s begin to look short
DEVICE_NS = 4 * NS_PER_S  # a quarter of a second to start, and then some thirty buckets of stamps
SCATTER_NS_MAX = NS_PER_MS  # of a device's stamps: the fit averages it to some ten µs within a second
FIND_NS = 3 * NS_PER_S  # a host is asked four times meanwhile
MUSIC_NS = 3 * NS_PER_S  # announcements come every second, whether music is sent or not
NTP_QUESTIONS, NTP_ANSWER_S = 8, 1.0
FLOAT_NS = 2 * NS_PER_US  # what ntplib's floats of seconds since 1900 lose
WALL_SLEW = 500e-6  # by which the wall clock, which ntplib reads, may run off at most while we compare


class Verdict(Enum):
    """What a finding means for whoever wants to hear music."""

    GOOD = "ok"
    NOTE = "note"
    BAD = "NOT"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, what it is like, and what mends it if it is not as it should be."""

    what: str
    verdict: Verdict
    says: str
    mend: str = ""


def _wait(ports: list[Port], until: LocalNs) -> bool:
    """Wait until one of `ports` has something; return False at `until`."""
    left_ns = until - local_now()
    return left_ns > 0 and bool(select.select(ports, [], [], left_ns / NS_PER_S)[0] or local_now() < until)


@contextmanager
def _ports(*ports: Port) -> Iterator[None]:
    try:
        yield
    finally:
        for port in ports:
            port.close()


def check_multicast(place: Interface, network: NetworkConfig) -> Finding:
    """Send a datagram to the group, on a port nobody uses, and see whether it comes back."""
    what = "multicast"
    sender = open_unicast(place, 0, group_ttl=0, dscp=network.dscp_audio)  # 0: it stays on this machine
    with _ports(sender):
        try:
            receiver = open_group(place, network.group, sender.port)
        except NetworkError as error:
            return Finding(what, Verdict.BAD, str(error))
        with _ports(receiver):
            token = token_bytes(16)
            sender.send(token, (network.group, sender.port))
            until = LocalNs(local_now() + ECHO_NS)
            while _wait([receiver], until):
                if any(data == token for data, _ in receiver.receive()):
                    return Finding(what, Verdict.GOOD, f"a datagram to {network.group} goes out by {place.ip} and back")
    mend = f"let a firewall pass UDP to {network.group}, or name another network with --interface"
    return Finding(what, Verdict.BAD, f"a datagram to {network.group} by {place.ip} does not come back", mend)


def check_receive_buffer(place: Interface) -> Finding:
    """Ask how much the system lets a socket hold while the program has no processor."""
    port = open_unicast(place, 0, group_ttl=0, dscp=0)
    with _ports(port):
        got = port.receive_buffer
    says = f"{got >> 10} KiB"
    if got >= RECEIVE_BUFFER:
        return Finding("receive buffer", Verdict.GOOD, says)
    mend = f"sysctl -w net.core.rmem_max={RECEIVE_BUFFER}" if LINUX else "the system allows no more"
    says += f" of {RECEIVE_BUFFER >> 10} wished for: in a burst some datagrams will have to be sent again"
    return Finding("receive buffer", Verdict.NOTE, says, mend)


def check_stamps(place: Interface) -> Finding:
    """See whether the kernel says when a datagram arrived."""
    what = "receive stamps"
    port = open_unicast(place, 0, group_ttl=0, dscp=0, stamps=True)
    with _ports(port):
        sent_at = local_now()
        port.send(b"?", (place.ip, port.port))
        until = LocalNs(sent_at + ECHO_NS)
        while _wait([port], until):
            for _ in port.receive_stamped():
                if port.kernel_stamped:
                    return Finding(what, Verdict.GOOD, "by the kernel")
                break
    mend = "" if not KERNEL_STAMPS else "a sandbox or an unusual kernel may be the reason"
    return Finding(what, Verdict.NOTE, "by this program, some tens of µs late, and more when it is busy", mend)


def check_wake_ups() -> Finding:
    """Take many short naps and see how late one wakes up."""
    late_ns = np.empty(NAPS)
    for i in range(NAPS):
        due_at = local_now() + NAP_NS
        select.select([], [], [], NAP_NS / NS_PER_S)
        late_ns[i] = local_now() - due_at
    median_us, tail_us = np.percentile(late_ns, [50, 99]) / NS_PER_US
    says = f"{median_us:.0f} µs late, one in a hundred {tail_us:.0f} µs"
    if tail_us * NS_PER_US <= NAP_LATE_NS:
        return Finding("wake-ups", Verdict.GOOD, says)
    return Finding("wake-ups", Verdict.BAD, says, "other programs need the processors; end some of them")


def check_device(wanted: str) -> Finding:
    """Play silence for a few seconds and see how well the device says when its frames are heard."""
    what = "sound device"
    try:
        portaudio = load_portaudio()
        found = find_device(portaudio, wanted)
        device = found.opened_for(portaudio, AudioFormat(found.default_rate, 2, SampleFormat.S16))
        stamps, dac, frames = Stamps(), DacClock(device.rate), 0

        def callback(out: Any, count: int, time: Any, _status: Any) -> None:
            nonlocal frames
            stamps.note(frames, count, time.outputBufferDacTime, time.currentTime, local_now())
            frames += count
            out.fill(0)

        stream = open_stream(portaudio, device, device.high_latency_s, callback)
    except UserError as error:
        return Finding(what, Verdict.BAD, str(error))
    try:
        until = local_now() + DEVICE_NS
        while local_now() < until:
            select.select([], [], [], 0.1)
            for stamp in stamps.take():
                dac.stamp(stamp.frame, stamp.at, stamp.entered_at, round(stream.latency * NS_PER_S))
    finally:
        stream.abort(ignore_errors=True)
        stream.close(ignore_errors=True)
    fit = dac.fit()
    if fit is None:
        return Finding(
            what, Verdict.BAD, f"{device.name} was opened and plays nothing", "try another; radiosync devices"
        )
    ppm = (fit.rate / device.rate - 1) * 1e6
    says = (
        f"{device.name}, {device.rate} Hz {ppm:+.1f} ± {fit.rate_sigma * 1e6:.1f} ppm, "
        f"stamps by the {dac.source.value}, scattered by {fit.residual_ns / NS_PER_US:.0f} µs"
    )
    if fit.residual_ns <= SCATTER_NS_MAX:
        return Finding(what, Verdict.GOOD, says)
    return Finding(what, Verdict.NOTE, says, "another device, or the sound server's own, may keep better time")


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundHost:
    """A host that has answered, and how long it took to find it."""

    announce: Announce
    ip: str
    took_ns: int


def find_host(place: Interface, config: Config) -> FoundHost | None:
    """Ask the group, or the address that `listen` would ask, for a host."""
    network, wanted = config.network, config.listener.host
    to = (find_address(wanted, network.group) if wanted else network.group, network.control_port)
    port = open_unicast(place, 0, group_ttl=network.ttl, dscp=network.dscp_audio)
    with _ports(port):
        began_at = local_now()
        discovery = Discovery(Random(token_bytes(8)), began_at)
        until = LocalNs(began_at + FIND_NS)
        while (now := local_now()) < until:
            question = discovery.ask(now, 0)
            if question is not None:
                port.send(question, to)
            _wait([port], min(until, discovery.due_at))
            for data, (ip, number) in port.receive():
                message = _announce(data)
                if message is not None and discovery.is_answer(message, (ip, number)):
                    return FoundHost(announce=message, ip=ip, took_ns=local_now() - began_at)
    return None


def _announce(data: bytes) -> Announce | None:
    try:
        message = decode(data)
    except RemoteProtocolError:
        return None
    return message if isinstance(message, Announce) else None


def check_music(place: Interface, network: NetworkConfig, host: FoundHost) -> Finding:
    """Count what reaches this machine of what the host sends to the group."""
    what = "the host's multicast"
    port = open_group(place, network.group, network.port)
    count = 0
    with _ports(port):
        until = LocalNs(local_now() + MUSIC_NS)
        while _wait([port], until):
            count += sum(ip == host.ip for _, (ip, _) in port.receive())
    if count:
        return Finding(what, Verdict.GOOD, f"{count} datagrams in {MUSIC_NS / NS_PER_S:g} s")
    mend = f"let a firewall pass UDP port {network.port}; on Wi-Fi, look for AP isolation or multicast filtering"
    return Finding(what, Verdict.BAD, "none arrives here, though the host answers", mend)


def check_clock(place: Interface, network: NetworkConfig, host: FoundHost) -> list[Finding]:
    """Measure the host's clock as a listener does, and as ntplib does, who knows nothing of us."""
    to = (host.ip, host.announce.clock_port)
    port = open_unicast(place, 0, group_ttl=network.ttl, dscp=network.dscp_clock, stamps=True)
    clock = ClockFilter()
    least_ns = NS_PER_S
    with _ports(port):
        began_at = local_now()
        poller = ClockPoller(Random(token_bytes(8)), began_at)
        until = LocalNs(began_at + FIND_NS)
        while (now := local_now()) < until:
            for question in poller.handle_timeout(now):
                poller.note_sent(question, local_now())
                port.send(question, to)
            _wait([port], min(until, poller.next_timeout()))
            for data, _, received_at in port.receive_stamped():
                exchange = poller.receive_datagram(data, received_at)
                if exchange is not None and clock.add(exchange):
                    least_ns = min(least_ns, exchange.rtt_ns)
    mapping = clock.mapping()
    if mapping is None:
        mend = f"let a firewall pass UDP port {to[1]}"
        return [Finding("the host's clock", Verdict.BAD, "it does not answer", mend)]
    now, wall = local_now(), real_now()
    ours_ns = mapping.host_from_local(now) - wall
    sigma_us, bound_us = mapping.sigma_ns_at(now) / NS_PER_US, mapping.bound_ns_at(now) / NS_PER_US
    says = (
        f"known to {sigma_us:.0f} µs, to {bound_us:.0f} whatever the network does; "
        f"round trip {least_ns / NS_PER_MS:.1f} ms, {clock.excess_ns / NS_PER_MS:.1f} more in the mean"
    )
    good = Verdict.GOOD if clock.ready(now) else Verdict.NOTE
    mend = "" if good is Verdict.GOOD else "a cable, or a better place for the Wi-Fi, makes it steadier"
    return [Finding("the host's clock", good, says, mend), _ask_ntplib(to, ours_ns, round(bound_us * NS_PER_US))]


def _ask_ntplib(to: tuple[str, int], ours_ns: int, bound_ns: int) -> Finding:
    what = "the clock by NTP"
    client = ntplib.NTPClient()
    began_at = local_now()
    answers = []
    for _ in range(NTP_QUESTIONS):
        try:
            answers.append(client.request(to[0], version=4, port=to[1], timeout=NTP_ANSWER_S))
        except (ntplib.NTPException, OSError):
            continue
    if not answers:
        return Finding(what, Verdict.BAD, "ntplib gets no answer", f"let a firewall pass UDP port {to[1]}")
    best = min(answers, key=lambda answer: answer.delay)
    apart_ns = abs(round(best.offset * NS_PER_S) - ours_ns)
    slewed_ns = round((local_now() - began_at) * WALL_SLEW)
    limit_ns = bound_ns + round(best.delay / 2 * NS_PER_S) + FLOAT_NS + slewed_ns
    says = f"ntplib says the same, but for {apart_ns / NS_PER_US:.0f} µs of {limit_ns / NS_PER_US:.0f} that may be"
    if apart_ns <= limit_ns:
        return Finding(what, Verdict.GOOD, says)
    says = (
        f"ntplib says {apart_ns / NS_PER_US:.0f} µs else, and no more than {limit_ns / NS_PER_US:.0f} can be explained"
    )
    return Finding(what, Verdict.BAD, says, "the wall clock may have been set meanwhile; look again")
