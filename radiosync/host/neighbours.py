"""Other hosts on the same group and port: to be told once, since listeners of either could have meant the other.

A host asks the group as a listener does, as it starts and then once a minute.  Whoever hosts there too answers, and is
named.  The other side knows the question for a host's, since it comes from the control port, and asks back: so the one
that was there first hears of the second at once.  Nobody has to be told what to do: listeners keep to their own host.
"""

from collections import deque
from random import Random

from radiosync.host.events import OtherHost
from radiosync.units import NS_PER_MS, NS_PER_S, HostNs
from radiosync.wire.codec import encode
from radiosync.wire.groups import Address
from radiosync.wire.messages import Announce, Solicit

ASK_AFTER_NS = (200 * NS_PER_MS, 800 * NS_PER_MS)  # again, since a lost question would cost a minute
PERIOD_NS = 60 * NS_PER_S
ASK_BACK_NS = NS_PER_S
NONCES_MAX = 8  # questions that may still be answered; the oldest is forgotten
TOLD_MAX = 16  # other hosts that are named in a session; who sees more knows enough


class Neighbours:
    """Looks for other hosts, and says of each one once that it is there."""

    def __init__(self, rng: Random, session: int, control_port: int, now: HostNs) -> None:
        self._rng = rng
        self._session = session
        self._control_port = control_port
        self._nonces: deque[int] = deque(maxlen=NONCES_MAX)
        self._told: list[int] = []
        self._asked = 0
        self._asked_back_at = HostNs(now - ASK_BACK_NS)
        self.due_at = now

    def ask(self, now: HostNs) -> list[bytes]:
        """Return the question to the group that is due, if one is."""
        if now < self.due_at:
            return []
        self.due_at = HostNs(now + (ASK_AFTER_NS[self._asked] if self._asked < len(ASK_AFTER_NS) else PERIOD_NS))
        self._asked += 1
        return [self._question()]

    def ask_back(self, source: Address, now: HostNs) -> list[bytes]:
        """Return a question to `source`, which has asked, if it may be a host; at most one a second."""
        if not self.may_be_host(source) or now - self._asked_back_at < ASK_BACK_NS:
            return []
        self._asked_back_at = now
        return [self._question()]

    def may_be_host(self, source: Address) -> bool:
        """Say whether a datagram comes from where a host on this port would send it."""
        return source[1] == self._control_port

    def is_own(self, solicit: Solicit) -> bool:
        """Say whether a question is one of our own, which the group has brought back."""
        return solicit.nonce in self._nonces

    def answered(self, announce: Announce, source: Address) -> OtherHost | None:
        """Take in an announcement; return what is to be told, the first time that it answers a question of ours."""
        known = announce.session == self._session or announce.session in self._told
        honest = announce.nonce in self._nonces and source[1] == announce.control_port
        if known or not honest or len(self._told) >= TOLD_MAX:
            return None
        self._told.append(announce.session)
        return OtherHost(name=announce.host_name, ip=source[0])

    def _question(self) -> bytes:
        nonce = self._rng.getrandbits(63) + 1
        self._nonces.append(nonce)
        return encode(Solicit(session=0, nonce=nonce))
