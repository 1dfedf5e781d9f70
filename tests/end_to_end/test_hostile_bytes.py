"""Whatever is thrown at a socket is counted and does no harm: nobody dies, and not one frame differs."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
from party import ENDED, LISTENING, WAIT_S, Party, Process, assert_same, read_wav, write_song

from radiosync.drivers import udp
from radiosync.drivers.interfaces import Interface
from radiosync.errors import RemoteProtocolError
from radiosync.wire import ntp
from radiosync.wire.codec import decode, encode
from radiosync.wire.groups import Address
from radiosync.wire.messages import Announce, Leave, Nack, NackEntry, Solicit

AUDIO = (44_100, 2, "PCM_16")
LOOPBACK = Interface("127.0.0.1", "lo")
PROC_UDP = Path("/proc/net/udp")
THROWN_PER_S = 1000
HEARD_MAX = 2000  # datagrams of each socket to choose from

pytestmark = pytest.mark.skipif(not PROC_UDP.exists(), reason="finds the sockets of a process by /proc")


def sockets_of(process: Process) -> set[Address]:
    """Return the addresses of the UDP sockets that a process has open."""
    descriptors = Path(f"/proc/{process.pid}/fd").iterdir()
    inodes = {str(d.readlink())[8:-1] for d in descriptors if str(d.readlink()).startswith("socket:[")}
    found = set()
    for row in PROC_UDP.read_text().splitlines()[1:]:
        fields = row.split()
        if fields[9] in inodes:
            ip, port = fields[1].split(":")
            found.add((socket.inet_ntoa(bytes.fromhex(ip)[::-1]), int(port, 16)))
    return found


class Attacker:
    """Listens in on a party and throws what it heard, or made up, at every socket it is told of."""

    def __init__(self, party: Party, seed: int) -> None:
        self.rng = Random(seed)
        self._party = party
        self._ears = [udp.open_group(LOOPBACK, party.group, port) for port in (party.port, party.control_port)]
        self._mouth = udp.open_unicast(LOOPBACK, 0, group_ttl=1, dscp=0)
        self.heard: list[bytes] = [ntp.request(1)]
        self.answers: list[bytes] = []
        self.fresh: list[bytes] = []
        self.thrown = 0
        self._announced: Announce | None = None

    def close(self) -> None:
        for port in (*self._ears, self._mouth):
            port.close()

    def listen(self) -> None:
        """Take in what the group says; repeat every question in the listeners' place, and keep the answers.

        The `fresh` ones are to be passed on at once: an answer with somebody else's cookie, while the question is open.
        """
        for ear in self._ears:
            for data, _ in ear.receive():
                if data[3:4] == encode(Solicit(session=0, nonce=1))[3:4]:
                    self._mouth.send(data, ("127.0.0.1", self._party.control_port))
                if len(self.heard) < HEARD_MAX:
                    self.heard.append(data)
        self._mouth.send(encode(Solicit(session=0, nonce=7)), ("127.0.0.1", self._party.control_port))
        self._mouth.send(ntp.request(self.rng.getrandbits(64)), ("127.0.0.1", self._party.clock_port))
        self.fresh = [data for data, _ in self._mouth.receive()]
        for data in self.fresh:
            if len(self.answers) < HEARD_MAX:
                self.answers.append(data)
            try:
                message = decode(data)
            except RemoteProtocolError:
                continue
            if isinstance(message, Announce):
                self._announced = message

    def missile(self) -> bytes:
        """Make up one datagram."""
        kind = self.rng.randrange(6)
        if kind == 0:
            return self.rng.randbytes(self.rng.choice((0, 1, 15, 16, 48, 400, 1200, 1201, 2048, 9000)))
        if kind == 1 and self._announced is not None:
            return encode(self._forged(self._announced))
        data = bytearray(self.rng.choice(self.answers or self.heard if kind < 4 else self.heard))
        change = self.rng.randrange(4)
        if change == 0:
            del data[self.rng.randrange(len(data) + 1) :]
        elif change == 1 and data:
            for _ in range(self.rng.choice((1, 1, 8, 100))):
                data[self.rng.randrange(len(data))] ^= 1 << self.rng.randrange(8)
        elif change == 2:
            data += self.rng.randbytes(self.rng.randrange(1, 20))
        return bytes(data)  # else it is replayed as it was

    def _forged(self, announced: Announce) -> Nack | Leave:
        """Return a request with a cookie that belongs to nobody, or to another address."""
        cookie = self.rng.choice((0, announced.cookie, self.rng.getrandbits(64)))
        if self.rng.randrange(2):
            return Leave(session=announced.session, cookie=cookie, listener_id=self.rng.getrandbits(63))
        everything = tuple(NackEntry(seq=self.rng.getrandbits(32), run=4096) for _ in range(8))
        return Nack(session=announced.session, cookie=cookie, listener_id=1, entries=everything)

    def throw(self, data: bytes, to: Address, from_new_port: bool = False) -> None:
        self.thrown += 1
        if not from_new_port:
            self._mouth.send(data, to)
            return
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
            other.sendto(data, to)


@contextmanager
def attack(attacker: Attacker, targets: Callable[[], set[Address]]) -> Iterator[None]:
    """Throw at all targets from a thread, until the block ends."""
    done = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            while not done.is_set():
                attacker.listen()
                for to in targets():
                    for data in attacker.fresh:
                        attacker.throw(data, to)
                    attacker.throw(attacker.missile(), to, from_new_port=attacker.rng.randrange(8) == 0)
                    done.wait(1 / THROWN_PER_S)
        except BaseException as error:  # a dead attacker would be a test that proves nothing
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(WAIT_S)
    assert not failures, failures


@pytest.fixture
def attacker(party: Party) -> Iterator[Attacker]:
    attacker = Attacker(party, seed=1)
    yield attacker
    attacker.close()


def test_a_party_under_attack_plays_every_frame(party: Party, attacker: Attacker, tmp_path: Path) -> None:
    # An earlier session on the same ports, so that there is something old to replay, its good-bye included.
    write_song(tmp_path / "old.wav", *AUDIO, 0.5)
    early = party.listener("null", ready=False)
    early.wait_line(LISTENING)
    old = party.host(tmp_path / "old.wav")
    while old.popen.poll() is None:
        attacker.listen()
        time.sleep(0.02)
    attacker.listen()
    assert old.wait_end() == 0
    assert early.stop() == 0
    assert len(attacker.heard) > 60
    assert len(attacker.answers) > 10

    source = write_song(tmp_path / "song.wav", *AUDIO, 9)
    listeners = [
        party.listener(),
        party.listener(impair={"seed": 5, "loss": 0.03}),  # needs its repairs, attack or not
    ]
    targets: set[Address] = set.union(*(sockets_of(listener) for listener in listeners))
    assert len(targets) == 5  # the group's, and two for each
    with attack(attacker, lambda: targets):
        host = party.host(tmp_path / "song.wav")
        of_host = sockets_of(host)
        assert {(party.group, party.control_port), ("127.0.0.1", party.clock_port)} < of_host
        assert len(of_host) == 4
        targets = targets | of_host
        for listener in listeners:
            listener.wait_line(ENDED)
    assert host.wait_end() == 0, host.text
    for process in (host, *listeners):
        assert "Traceback" not in process.text
        assert "Error" not in process.text
    for listener in listeners:
        played = [record for record in listener.stats() if record["state"] == "playing"]
        assert listener.stop() == 0
        assert listener.wav is not None
        assert_same(read_wav(listener.wav, *AUDIO), source, listener)
        assert listener.stats()[-1]["sessions"] == 1
        assert played[-1]["rejected"] > 50
        assert played[-1]["foreign"] > 0
        assert played[-1]["hard_resyncs"] == played[-1]["frames_concealed"] == 0
    assert host.stats()[-1]["rejected"] > 50
    assert attacker.thrown > 500


def test_every_socket_counts_what_it_refuses(party: Party, attacker: Attacker, tmp_path: Path) -> None:
    write_song(tmp_path / "song.wav", 8_000, 1, "PCM_16", 90)
    listener = party.listener("null")
    host = party.host(tmp_path / "song.wav")
    listener.wait_stats(lambda record: record["state"] == "playing")
    of_host = {address for address in sockets_of(host) if address[1] in (party.control_port, party.clock_port)}
    (own_clock,) = {address for address in sockets_of(listener) if is_clock(address, listener, attacker)}

    for process, targets in ((host, of_host), (listener, sockets_of(listener))):
        assert len(targets) == 3  # the host's fourth only sends
        for target in sorted(targets):
            counter = "clock_foreign" if target == own_clock else "rejected"
            before = process.stats()[-1]
            for _ in range(40):
                attacker.throw(attacker.rng.randbytes(99), target)  # which no NTP packet has
            wait_for_count(process, counter, before[counter] + 40)
    assert listener.stop() == 0
    assert host.stop() == 0


def wait_for_count(process: Process, counter: str, count: int) -> None:
    process.wait_stats(lambda record: record[counter] >= count)


def is_clock(address: Address, listener: Process, attacker: Attacker) -> bool:
    """Find out whether this is the socket on which a listener awaits the host's time."""
    before = listener.stats()[-1]
    attacker.throw(b"?", address)
    after = listener.wait_stats(
        lambda record: record["clock_foreign"] + record["rejected"] > before["clock_foreign"] + before["rejected"]
    )
    return bool(after["clock_foreign"] > before["clock_foreign"])
