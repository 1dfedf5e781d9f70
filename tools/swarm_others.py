"""Peers that are no listeners, for `tools/swarm.py --beside`: most mean harm, and do what their cookie allows them.

nack-all     asks for every chunk there is, without end, from an address of its own each
never-read   asks for every chunk there is and reads nothing of what comes
join-leave   comes, reports, and leaves, every second one without a word; the next one has another address
    clock-only   asks for the time once a second, as a settled listener does, and nothing else
    report-only  reports every `--report-s`, and nothing else: what these two cost is what a listener's own cost
    talk         does both
"""

from random import Random

from swarm_listeners import Place

from radiosync.drivers.udp import Port, open_unicast
from radiosync.errors import RemoteProtocolError
from radiosync.units import NS_PER_MS, NS_PER_S, LocalNs
from radiosync.wire import ntp
from radiosync.wire.codec import decode, encode
from radiosync.wire.groups import Address
from radiosync.wire.limits import NACK_RUN_MAX
from radiosync.wire.messages import Announce, Leave, ListenerState, Message, Nack, NackEntry, Report, Solicit

HOSTILE = ("nack-all", "never-read", "join-leave")
KINDS = (*HOSTILE, "clock-only", "report-only", "talk")
ASK_NS = 20 * NS_PER_MS  # as often as the swarm looks at its sockets
SOLICIT_NS = 500 * NS_PER_MS


class Other:
    """One of them."""

    def __init__(
        self, place: Place, number: int, kind: str, *, seed: int, now: LocalNs, report_ns: int = NS_PER_S
    ) -> None:
        self._report_ns = report_ns
        self._kind, self._rng = kind, Random(f"{seed}/{number}/hostile")
        network = place.config.network
        self._anyone = (network.group, network.control_port)
        interface = place.interface_of(0, net=2)  # all at one machine
        self._port = open_unicast(interface, 0, group_ttl=network.ttl, dscp=0)
        self.ports: tuple[Port, ...] = (self._port,)
        self.wake_at = now
        self.asked = 0
        self.came = 0
        self._answer: Announce | None = None
        self._host: Address | None = None
        self._listener_id = self._rng.getrandbits(63) + 1
        self._solicit_at = now
        self._shown = False
        self._report_at = now
        self.done = False
        """Whether it has done its harm, and another should take its place."""

    def receive_group(self, message: Message, source: Address, now: LocalNs) -> None:
        """Heed nothing."""

    def turn(self, now: LocalNs) -> int:
        """Do harm; return how many bytes have come."""
        came = 0
        if self._answer is None or self._kind != "never-read":
            for data, source in self._port.receive():
                came += len(data)
                self._heed(data, source)
        if self._answer is None:
            self._solicit(now)
        elif now < self.wake_at:
            pass  # it has only read what came
        elif self._kind == "join-leave":
            self._come_and_go(self._answer)
        elif self._kind == "clock-only":
            self._ask_for_time(self._answer)
        elif self._kind == "talk":
            self._ask_for_time(self._answer)
            if now >= self._report_at:
                self._report_at = LocalNs(now + self._report_ns)
                self._report(self._answer)
        elif self._kind == "report-only":
            self._report(self._answer)
        else:
            self._ask_for_all(self._answer)
        self.came += came
        calm_ns = {"clock-only": NS_PER_S, "talk": NS_PER_S, "report-only": self._report_ns}.get(self._kind, 0)
        wait_ns = round(calm_ns * self._rng.uniform(0.9, 1.1)) if self._answer is not None else ASK_NS
        if now >= self.wake_at:
            self.wake_at = LocalNs(now + max(ASK_NS, wait_ns))
        return came

    def close(self, *, politely: bool) -> None:  # noqa: ARG002  # Peer.close
        """Go without a word, of course."""
        self._port.close()

    def _heed(self, data: bytes, source: Address) -> None:
        try:
            message = decode(data)
        except RemoteProtocolError:
            return
        if self._answer is None and isinstance(message, Announce) and message.cookie:
            self._answer, self._host = message, source

    def _solicit(self, now: LocalNs) -> None:
        if now < self._solicit_at:
            return
        self._solicit_at = LocalNs(now + SOLICIT_NS)
        self._port.send(encode(Solicit(session=0, nonce=self._rng.getrandbits(63) + 1)), self._anyone)

    def _ask_for_all(self, answer: Announce) -> None:
        assert self._host is not None
        entry = NackEntry(seq=max(0, answer.play_seq - NACK_RUN_MAX // 2), run=NACK_RUN_MAX)
        nack = Nack(
            session=answer.session, cookie=answer.cookie, listener_id=self._listener_id, entries=(entry, entry, entry)
        )
        self._port.send(encode(nack), self._host)
        self.asked += 1

    def _ask_for_time(self, answer: Announce) -> None:
        assert self._host is not None
        self._port.send(ntp.request(self._rng.getrandbits(63) + 1), (self._host[0], answer.clock_port))
        self.asked += 1

    def _report(self, answer: Announce, state: ListenerState = ListenerState.PAUSED) -> None:
        assert self._host is not None
        shown = {"session": answer.session, "cookie": answer.cookie, "listener_id": self._listener_id}
        values = dict.fromkeys(Report.__slots__, 0) | shown | {"ready_frame": None, "name": "no listener"}
        self._port.send(encode(Report(**values | {"state": state})), self._host)
        self.asked += 1

    def _come_and_go(self, answer: Announce) -> None:
        assert self._host is not None
        shown = {"session": answer.session, "cookie": answer.cookie, "listener_id": self._listener_id}
        if not self._shown:
            self._report(answer, ListenerState.BUFFERING)
            self._shown = True
            return
        if self._rng.random() < 0.5:
            self._port.send(encode(Leave(**shown)), self._host)
        self.asked += 1
        self.done = True
