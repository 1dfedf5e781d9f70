"""A network that takes fewer datagrams than there are: what is urgent leaves first, then music, repairs, backfill.

The host has been playing for a while.  One listener has lost a great many symbols and loses more all the time, another
has just come and wants everything that was sent before.
"""

from collections import Counter

import pytest

from radiosync.repair.respond import SOON_NS
from radiosync.units import NS_PER_MS, NS_PER_S
from radiosync.wire.messages import Announce, Audio, Solicit, SongInfo, Sync

ANNA, BERT, CARL = ("10.0.0.1", 5000), ("10.0.0.2", 5000), ("10.0.0.3", 5000)
TICK_NS = 20 * NS_PER_MS
TAKEN = 3  # datagrams per tick: 150 a second, of 16 that the music is and up to 1600 that repairs may be
URGENT, MUSIC, REPAIR, BACKFILL = range(4)


@pytest.fixture
def playing(driven):
    """Return a maker of a session in its 38th second, and what Anna, who was there from the beginning, must show."""

    def make():
        it = driven()
        anna = it.come(ANNA)
        it.run(40)
        assert it.session.transport.newest.playing
        it.taken = TAKEN
        return it, anna

    return make


def crowd(it, anna, seconds, each_tick=lambda: None):
    """Let Anna lack more than the network takes, tick by tick: every even chunk of those with most time left."""
    for _ in range(round(seconds * NS_PER_S / TICK_NS)):
        newest = it.session.sender.next_seq_sent - 1
        it.lack(ANNA, anna, [seq for seq in range(newest - 60, newest) if seq % 2 == 0])
        each_tick()
        it.tick()


def time_left_ns(it, at, chunk):
    return it.session.transport.play_at(chunk.first_frame, it.now) + chunk.frames * NS_PER_S // 8000 - at


def rank(message, to):
    if isinstance(message, Announce | SongInfo | Solicit | Sync):
        return URGENT
    assert isinstance(message, Audio)
    return MUSIC if not message.repair else REPAIR if to == ANNA else BACKFILL


def test_music_leaves_as_if_nobody_had_lost_anything(playing):
    it, anna = playing()
    crowd(it, anna, 10)
    control, _ = playing()
    control.run(10)
    assert it.music() == control.music()
    crowded_s = Counter((at - it.now) // NS_PER_S for at, _, _ in it.sent)
    assert all(crowded_s[-s] == TAKEN * NS_PER_S // TICK_NS for s in range(1, 10)), "the network was full"
    assert len(it.again(ANNA)) > 1000


def test_what_is_urgent_leaves_at_once_and_first(playing):
    it, anna = playing()
    crowd(it, anna, 1)
    asked_at = []

    def ask():
        if it.now % (5 * TICK_NS) == 0:
            it.hear(Solicit, CARL, nonce=9)
            asked_at.append(it.now)

    crowd(it, anna, 2, ask)
    answered = {at for at, m, to in it.sent if isinstance(m, Announce) and to == CARL}
    assert len(asked_at) > 10
    assert answered == set(asked_at)
    for order in (it.session.pause, it.session.resume):
        before = len(it.sent)
        ordered_at = it.now
        assert order(ordered_at)
        crowd(it, anna, 0.5)
        said = [at for at, m, to in it.sent[before:] if to is None and rank(m, to) == URGENT]
        assert said[0] == ordered_at
    assert any(isinstance(m, Sync) for _, m, _ in it.sent[before:])
    ranks = {}
    for at, message, to in it.sent:
        ranks.setdefault(at, []).append(rank(message, to))
    assert all(of_tick == sorted(of_tick) for of_tick in ranks.values())


def test_repairs_go_before_backfill_that_has_time(playing):
    it, anna = playing()
    bert = it.come(BERT)
    it.sent.clear()
    history = it.session.sender.history
    headers = [history.get(seq).header for seq in range(it.session.sender.next_seq_sent) if history.get(seq)]
    odd = {h.seq: h for h in headers if h.seq % 2 and time_left_ns(it, it.now, h) > 2 * NS_PER_S}
    it.lack(BERT, bert, odd)
    crowd(it, anna, 15)
    sent = it.again(BERT)
    assert sent
    assert all(time_left_ns(it, at, chunk) <= SOON_NS for at, chunk in sent), "repairs left it no room before"
    assert min(time_left_ns(it, at, chunk) for at, chunk in sent) > NS_PER_S, "but it came in time"
    played = [seq for seq, header in odd.items() if time_left_ns(it, it.now, header) < SOON_NS - NS_PER_S]
    got = Counter(chunk.seq for _, chunk in sent)
    assert len(played) > 10
    assert all(got[seq] == odd[seq].symbols for seq in played), "all of it"
    it.run(5)
    assert Counter(chunk.seq for _, chunk in it.again(BERT)) == {seq: header.symbols for seq, header in odd.items()}, (
        "then the rest"
    )
