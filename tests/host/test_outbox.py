from itertools import repeat

from radiosync.host.copies import Copies
from radiosync.host.outbox import (
    ANSWERS_BURST,
    ANSWERS_MACHINE_BURST,
    ANSWERS_PER_S_MACHINE,
    ANSWERS_PER_S_MAX,
    SENT_BURST,
    SENT_PER_S_MAX,
    URGENT_MAX,
    Outbox,
)
from radiosync.host.sender import Datagram
from radiosync.units import NS_PER_MS, NS_PER_S
from radiosync.wire.codec import encode
from radiosync.wire.messages import Solicit

FROM = ("10.0.0.9", 40_000)


class Sent:
    """A sender with nothing to send."""

    class ladder:  # noqa: N801
        active = (2,)

    def datagrams(self, now):
        return iter(())

    def next_timeout(self, now):
        return None


class Flood(Sent):
    """A sender that has a datagram of music each ms, and repairs without end."""

    def __init__(self):
        self.music_until = 0

    def datagrams(self, now):
        while self.music_until <= now:
            self.music_until += NS_PER_S // 1000
            yield Datagram(b"music", None, False)
        yield from repeat(Datagram(b"repair", FROM, False))

    def next_timeout(self, now):
        return now


def new(sender=None):
    return Outbox(Sent() if sender is None else sender, Copies(4, 0), 0)


def test_what_is_for_all_goes_to_the_groups_of_lower_tiers_too_and_an_answer_to_one():
    outbox = new()
    outbox.tell([b"all"])
    outbox.answer([b"one"], FROM, 0)
    assert [(d.data, d.to, d.tier) for d in outbox.urgent()] == [
        (b"all", None, 0),
        (b"all", None, 2),
        (b"one", FROM, 0),
    ]
    assert (outbox.counters.datagrams_sent, outbox.counters.bytes_sent) == (3, 9)


def test_of_too_much_to_say_the_oldest_goes():
    outbox = new()
    for number in range(URGENT_MAX + 3):
        outbox.tell([b"%d" % number])
    assert [int(d.data) for d in outbox.urgent() if d.tier == 0] == list(range(3, URGENT_MAX + 3))


def test_answers_are_limited_and_what_is_for_all_is_not():
    outbox = new()
    answered = told = 0
    for now in range(0, NS_PER_S, NS_PER_S // 100):
        for number in range(100):
            outbox.answer([b"announcement", b"song"], (f"10.0.0.{number}", 40_000), now)
        outbox.tell([b"all"])
        left = list(outbox.urgent())
        answered += sum(d.to is not None for d in left)
        told += sum(d.to is None and d.tier == 0 for d in left)
    assert told == 100
    assert ANSWERS_PER_S_MAX * 0.98 <= answered <= ANSWERS_PER_S_MAX + ANSWERS_BURST
    assert outbox.counters.answers_refused == 20_000 - answered


def test_a_machine_that_asks_without_end_leaves_the_others_their_answers():
    outbox = new()
    flooder = other = 0
    for now in range(0, NS_PER_S, NS_PER_S // 100):
        for port in range(100):
            outbox.answer([b"announcement", b"song"], (FROM[0], port), now)
        outbox.answer([b"announcement", b"song"], ("10.0.0.7", 40_000), now)
        left = list(outbox.urgent())
        flooder += sum(d.to is not None and d.to[0] == FROM[0] for d in left)
        other += sum(d.to == ("10.0.0.7", 40_000) for d in left)
    assert ANSWERS_PER_S_MACHINE * 0.98 <= flooder <= ANSWERS_PER_S_MACHINE + ANSWERS_MACHINE_BURST
    assert other == 200, "all of them"
    outbox.tidy(2 * NS_PER_S)
    assert len(outbox._answers_to) == 0


def test_everything_stays_within_one_limit_music_first():
    outbox, now = new(Flood()), 0
    music = repairs = 0
    while now < NS_PER_S:
        for datagram in outbox.audio(now):
            music += datagram.data == b"music"
            repairs += datagram.data == b"repair"
        now = outbox.next_timeout(now)
    assert SENT_PER_S_MAX * 0.98 <= music + repairs <= SENT_PER_S_MAX + SENT_BURST
    assert 999 <= music <= 1001, "all of it"


def test_what_has_been_told_is_sent_at_once(driven):
    it = driven()
    it.run(5)
    just_after = it.now - 19 * NS_PER_MS  # the turn
    assert it.session.next_timeout(just_after) > just_after
    it.session.receive_datagram(encode(Solicit(session=0, nonce=7)), FROM, just_after)
    assert it.session.next_timeout(just_after) == just_after
    it.tick()
    just_after = it.now - 19 * NS_PER_MS
    assert it.session.next_timeout(just_after) > just_after
