"""Finding a host, and staying in touch with it.

A listener asks the group (or the address it was given) until somebody answers its own nonce.  Only such an answer makes
a session: an announcement that was recorded and sent again can't, nor can an answer that somebody else got to our
question, which the whole group has heard: it does not come from the port it names, or comes too late.  The answer also
carries the cookie that later requests must show, so it is renewed now and then; and soon where requests go unserved:
a cookie is worth nothing any more once this machine has another address, or the host another secret.
"""

from random import Random

from radiosync.units import NS_PER_MS, NS_PER_S, LocalNs
from radiosync.wire.codec import encode
from radiosync.wire.groups import Address
from radiosync.wire.messages import Announce, Solicit

FIRST_NS = (0, 100 * NS_PER_MS, 200 * NS_PER_MS, 400 * NS_PER_MS)  # a lost question must not cost a second
PERIOD_NS = NS_PER_S
RENEW_NS = 30 * NS_PER_S
UNSERVED_NS = NS_PER_S  # requests without a repair: several round trips, and several rounds of a host that is busy
NONCES_MAX = 8  # questions that may still be answered: 8 s of them


class Discovery:
    """Schedules solicitations and recognises their answers."""

    def __init__(self, rng: Random, now: LocalNs) -> None:
        self._rng = rng
        self._nonces: list[int] = []
        self._asked = 0
        self._hurried_at = LocalNs(now - PERIOD_NS)
        self._unserved_at = self._requested_at = now
        """Since when requests have gone unserved, and when the last one was made."""
        self._unserved_ns = UNSERVED_NS
        self.due_at: LocalNs = now

    def hurry(self, now: LocalNs) -> None:
        """Ask at once, and again soon, until an answer comes; at most one such series a second."""
        if now - self._hurried_at >= PERIOD_NS:
            self._hurried_at = now
            self._asked = 0
            self.due_at = now

    def ask(self, now: LocalNs, session: int) -> bytes | None:
        """Return a solicitation for `session` (0: any) if one is due."""
        if now < self.due_at:
            return None
        self._asked += 1
        step_ns = FIRST_NS[self._asked] if self._asked < len(FIRST_NS) else PERIOD_NS
        self.due_at = LocalNs(now + round(step_ns * self._rng.uniform(0.8, 1.2)))
        nonce = self._rng.getrandbits(63) + 1
        self._nonces = [*self._nonces[-NONCES_MAX + 1 :], nonce]
        return encode(Solicit(session=session, nonce=nonce))

    def is_answer(self, announce: Announce, source: Address) -> bool:
        """Say whether `announce` answers a question of ours."""
        return announce.cookie != 0 and announce.nonce in self._nonces and source[1] == announce.control_port

    def answered(self, now: LocalNs) -> None:
        """Note that a host has been found: from now on the cookie is only renewed, and no question is open."""
        self._nonces.clear()
        self._asked = len(FIRST_NS)
        self.due_at = LocalNs(now + round(RENEW_NS * self._rng.uniform(0.8, 1.2)))

    def requested(self, now: LocalNs) -> None:
        """Note a request for repairs; where none is served for long, the cookie may be void: ask for another."""
        if now - self._requested_at > UNSERVED_NS:
            self._unserved_at = now
        self._requested_at = now
        if now - self._unserved_at > self._unserved_ns:
            self._unserved_at = now
            self._unserved_ns = min(2 * self._unserved_ns, RENEW_NS)  # the same cookie again: that was not the reason
            self.hurry(now)

    def served(self, now: LocalNs) -> None:
        """Note a repair, or another cookie."""
        self._unserved_at = now
        self._unserved_ns = UNSERVED_NS
