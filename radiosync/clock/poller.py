"""When to ask the host for its time, and which answers to believe.

The schedule: a question every 20 ms until the clock is settled, which on a wire takes a handful and behind 20 ms of
scatter a second; at least 16 of them, and at most 96, or 24 if none is answered.  Then four a second until ten seconds
have passed, while the skew is being learnt; then one a second, give or take a fifth so that a hundred listeners don't
fall into step.  Where delays scatter by more than `CALM_NS`, up to four times as many, eight while learning, and that
goes on until 30 seconds have passed: the least of n delays is what the clock is known by, and with 20 ms of scatter it
takes a minute at four a second to know it to 0.1 ms, five at one (uniform delays, median error).  Thirty-two a second
for the first half minute leave a third of the error in the next, and no skew so wrong that it could be heard as pitch.
A host with hundreds of listeners announces a least interval.

Five seconds without an answer (or three long intervals) bring a burst of eight, and again after 10, 20 and 40 s; so
does the first answer after such a silence.

Answers are paired with questions by a random 64-bit nonce that travels as the transmit timestamp and comes back as the
origin (see `radiosync.wire.ntp`).  Whatever else arrives, or has been damaged, is counted and dropped.
"""

from collections import deque
from dataclasses import dataclass
from random import Random

from radiosync.clock.exchange import Exchange
from radiosync.errors import RemoteProtocolError
from radiosync.units import NS_PER_MS, NS_PER_S, LocalNs
from radiosync.wire import ntp

OPENING_COUNT_MIN = 16  # also on a wire: the floors of a quiet minute outlast a rough one only if they are many
OPENING_COUNT_MAX = 96  # two seconds: who is not settled by then is on a network where a second more tells little
UNANSWERED_COUNT_MAX = 24  # of the opening: half a second, beyond a round trip across the earth
REBURST_COUNT = 8
BURST_PERIOD_NS = 20 * NS_PER_MS
LEARNING_PERIOD_NS = 250 * NS_PER_MS
LEARNING_NS, NOISY_LEARNING_NS = 10 * NS_PER_S, 30 * NS_PER_S
STEADY_PERIOD_NS = NS_PER_S
JITTER = 0.2
SILENCE_NS = 5 * NS_PER_S
EAGER_NS = 3 * NS_PER_S // 4  # a fifth more or less of the half second that a little scatter asks for is below it
CALM_NS = 2 * NS_PER_MS
NOISY_SHARE, LEARNING_SHARE = (
    4,
    8,
)  # the most questions where there was one: a hundred listeners on bad Wi-Fi are 400 answers a second
LEAST_NS_MAX = 10 * NS_PER_S  # whatever a host announces: the longest interval that can be configured
UNANSWERED_MAX = 3  # questions in a row, where these take longer than that
SILENCE_NS_MAX = 40 * NS_PER_S
REPLY_NS_MAX = NS_PER_S
OUTSTANDING_MAX = 64  # 1.3 s of burst; a reply later than REPLY_NS_MAX is useless anyway
ANSWERED_MAX = 64


@dataclass(slots=True)
class PollerCounters:
    """Count what became of questions and answers."""

    requests: int = 0
    replies: int = 0
    evicted: int = 0
    """Questions dropped from the full table, unanswered."""
    bogus: int = 0
    """Answers that are no NTP reply, damaged, contradict themselves or say that the host has no time."""
    duplicates: int = 0
    unknown: int = 0
    """Answers to questions never asked, or long forgotten."""
    late: int = 0
    unstamped: int = 0
    """Answers to questions whose departure was never noted."""
    bursts: int = 0


class ClockPoller:
    """Ask for the host's time on a schedule and turn its answers into exchanges; does no I/O itself.

    The driver calls `handle_timeout` when `next_timeout` has come, reads the clock just before it sends each returned
    datagram, hands that to `note_sent`, and passes every datagram of the clock socket to `receive_datagram`.
    """

    def __init__(self, random: Random, now: LocalNs, *, steady_ns: int = STEADY_PERIOD_NS) -> None:
        self.counters = PollerCounters()
        self._random = random
        self._steady_ns = steady_ns
        self.excess_ns = 0.0
        """How much delays exceed the least one, in the mean; the filter knows."""
        self.least_ns = 0
        """What the host wants to lie between two questions, once its clock has been learnt."""
        self._hurried_at = LocalNs(now - SILENCE_NS)
        self._outstanding: dict[int, LocalNs | None] = {}
        self._answered: deque[int] = deque(maxlen=ANSWERED_MAX)
        self.settled = False
        """Whether the clock is good enough to play by, which ends the opening; the filter knows."""
        self._burst_left = 0
        self._opening_count = 0
        self._next_ns = BURST_PERIOD_NS
        self._began_at = now
        self._silent_since = now
        self._silence_ns = self._silence_ns_min
        self._reburst_at = now
        self._timeout_at = now
        self.restart_burst(now)

    def restart_burst(self, now: LocalNs) -> None:
        """Begin the whole schedule again at `now`: after a resume, a change of address, a step, a new host."""
        self._began_at = now
        self._silence_ns = self._silence_ns_min
        self._silent_since = now
        self._reburst_at = LocalNs(now + self._silence_ns)
        self.settled = False
        self._opening_count = 0
        self._begin_burst(OPENING_COUNT_MIN, now)

    def hurry(self, now: LocalNs) -> None:
        """Ask a burst of questions now, at most one in `SILENCE_NS`: answers contradict each other, or lack."""
        if self._burst_left == 0 and not self._opening and now - self._hurried_at >= SILENCE_NS:
            self._hurried_at = now
            self._begin_burst(REBURST_COUNT, now)

    def next_timeout(self) -> LocalNs:
        """Return when `handle_timeout` wants to be called."""
        return self._timeout_at

    def handle_timeout(self, now: LocalNs) -> list[bytes]:
        """Return the questions to send at `now`: none before the time, and never more than one to catch up."""
        if now < self._timeout_at:
            return []
        if now >= self._reburst_at:
            self._silence_ns = min(2 * self._silence_ns, max(SILENCE_NS_MAX, self._silence_ns_min))
            self._reburst_at = LocalNs(now + self._silence_ns)
            self._begin_burst(REBURST_COUNT, now)
        self._next_ns = self._period_ns(now)
        self._timeout_at = LocalNs(now + self._next_ns)
        return [self._new_request()]

    def note_sent(self, request: bytes, sent_at: LocalNs) -> None:
        """Note that `request`, made by `handle_timeout`, left at `sent_at`."""
        nonce = ntp.nonce_of(request)
        if nonce in self._outstanding:
            self._outstanding[nonce] = sent_at

    def receive_datagram(self, data: bytes, received_at: LocalNs) -> Exchange | None:
        """Return the exchange that `data` completes, or None; never raises, whatever the bytes."""
        try:
            reply = ntp.decode(data)
        except RemoteProtocolError:
            self.counters.bogus += 1
            return None
        if not ntp.is_intact(data):
            self.counters.bogus += 1
            return None
        nonce = reply.origin_timestamp
        if nonce not in self._outstanding:
            if nonce in self._answered:
                self.counters.duplicates += 1
            else:
                self.counters.unknown += 1
            return None
        sent_at = self._outstanding[nonce]
        if sent_at is None:
            self.counters.unstamped += 1
            return None
        exchange = Exchange(
            sent_at=sent_at,
            host_received_at=ntp.ns_from_timestamp(reply.receive_timestamp),
            host_sent_at=ntp.ns_from_timestamp(reply.transmit_timestamp),
            received_at=received_at,
        )
        if not _is_sound(reply, exchange):
            self.counters.bogus += 1
            return None
        del self._outstanding[nonce]
        self._answered.append(nonce)
        if received_at - sent_at > REPLY_NS_MAX:
            self.counters.late += 1
            return None
        self.counters.replies += 1
        self._note_reply(received_at)
        return exchange

    @property
    def _silence_ns_min(self) -> int:
        return max(SILENCE_NS, UNANSWERED_MAX * max(self._steady_ns, min(self.least_ns, LEAST_NS_MAX)))

    @property
    def in_burst(self) -> bool:
        """Say whether questions follow each other at once."""
        return self._burst_left > 0

    @property
    def eager(self) -> bool:
        """Say whether questions are so frequent that each should leave when it is due."""
        return self._next_ns < EAGER_NS

    @property
    def outstanding(self) -> int:
        """Return how many questions wait for their answer."""
        return len(self._outstanding)

    def _note_reply(self, now: LocalNs) -> None:
        silent_ns = now - self._silent_since
        self._silent_since = now
        self._silence_ns = self._silence_ns_min
        self._reburst_at = LocalNs(now + self._silence_ns)
        if silent_ns >= self._silence_ns and self._burst_left == 0:
            self._begin_burst(REBURST_COUNT, now)

    def _begin_burst(self, count: int, now: LocalNs) -> None:
        self.counters.bursts += 1
        self._burst_left = count
        self._timeout_at = now

    def _period_ns(self, now: LocalNs) -> int:
        self._opening_count += 1
        if self._burst_left > 0:
            self._burst_left -= 1
        if self._burst_left > 0 or self._opening:
            return BURST_PERIOD_NS
        age_ns, share = now - self._began_at, max(self.excess_ns / CALM_NS, 1.0)
        if age_ns < (NOISY_LEARNING_NS if share > 1.0 else LEARNING_NS):
            wished_ns = LEARNING_PERIOD_NS / min(share, LEARNING_SHARE)
        else:
            wished_ns = self._steady_ns / min(share, NOISY_SHARE)
        least_ns = min(self.least_ns, LEARNING_PERIOD_NS if age_ns < LEARNING_NS else LEAST_NS_MAX)
        return round(max(wished_ns, least_ns) * self._random.uniform(1 - JITTER, 1 + JITTER))

    @property
    def _opening(self) -> bool:
        """Whether the first burst goes on, because the clock is not settled yet."""
        most = OPENING_COUNT_MAX if self._answered else UNANSWERED_COUNT_MAX
        return not self.settled and self._opening_count < most

    def _new_request(self) -> bytes:
        nonce = 0
        while nonce == 0 or nonce in self._outstanding:  # an all-zero timestamp means "unknown" to NTP
            nonce = self._random.getrandbits(64)
        if len(self._outstanding) >= OUTSTANDING_MAX:
            del self._outstanding[next(iter(self._outstanding))]
            self.counters.evicted += 1
        self._outstanding[nonce] = None
        self.counters.requests += 1
        return ntp.request(nonce)


def _is_sound(reply: ntp.NtpPacket, exchange: Exchange) -> bool:
    return (
        reply.mode == ntp.MODE_SERVER
        and 1 <= reply.stratum <= 15  # 0 is a kiss-o'-death, 16 an unsynchronised server
        and reply.leap != ntp.LEAP_UNSYNCHRONISED
        and reply.receive_timestamp != 0
        and reply.transmit_timestamp != 0
        and exchange.received_at >= exchange.sent_at
        and exchange.host_sent_at >= exchange.host_received_at
    )
