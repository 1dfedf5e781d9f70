"""A network that takes fewer datagrams than there are: what is urgent leaves first, then music, repairs, backfill.

The host has been playing for a while.  One listener has lost a great many symbols and loses more all the time, another
has just come and wants everything that was sent before.
"""

from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from random import Random

from radiosync.config import Config
from radiosync.host.session import HostSession
from radiosync.repair.respond import SOON_NS
from radiosync.units import NS_PER_MS, NS_PER_S
from radiosync.wire.codec import decode, encode
from radiosync.wire.messages import Announce, Audio, ListenerState, Nack, NackEntry, Report, Solicit, SongInfo, Sync

ANNA, BERT, CARL = ("10.0.0.1", 5000), ("10.0.0.2", 5000), ("10.0.0.3", 5000)
TICK_NS = 20 * NS_PER_MS
CHUNK = 4000  # frames: 0.5 s, 8000 bytes, seven symbols: 14 a second
SYMBOLS = 7
TAKEN = 3  # datagrams per tick: 150 a second, of up to 1600 that repairs may be
URGENT, MUSIC, REPAIR, BACKFILL = range(4)


@dataclass
class Crowded:
    """A session whose driver gets rid of `taken` datagrams per tick."""

    kit: object
    taken: int | None = None
    sent: list = field(default_factory=list)
    """Of every datagram: when, what it says, to whom."""
    fed: int = 0
    here: dict = field(default_factory=dict)
    """What each listener shows, who reports once a second."""

    def __post_init__(self):
        self.now = self.kit.NOW
        self.session = HostSession(
            Config(), self.kit.MONO, rng=Random(1), now=self.now, control_port=1, clock_port=2, name="den"
        )

    def tick(self):
        if self.now % NS_PER_S == 0:
            for address, shown in self.here.items():
                self.report(address, shown)
        while self.session.audio_wanted(self.now):
            self.session.add_audio(self.kit.coded(CHUNK, self.fed), self.now)
            self.fed += CHUNK
        self.session.handle_timeout(self.now)
        for datagram in islice(self.session.datagrams_to_send(self.now), self.taken):
            self.sent.append((self.now, decode(datagram.data), datagram.to))
        self.now += TICK_NS

    def run(self, seconds):
        for _ in range(round(seconds * NS_PER_S / TICK_NS)):
            self.tick()

    def come(self, address):
        """Let a listener make itself known; return what its next messages must show."""
        self.hear(Solicit, address, nonce=77)
        self.tick()
        answer = next(m for _, m, to in reversed(self.sent) if isinstance(m, Announce) and to == address)
        shown = {"cookie": answer.cookie, "listener_id": address[1]}
        self.here[address] = shown
        self.report(address, shown)
        return shown

    def report(self, address, shown):
        values = dict.fromkeys(Report.__slots__, 0) | {"ready_frame": None, "name": address[0]} | shown
        self.hear(Report, address, **values | {"state": ListenerState.PLAYING, "rtt_ns": NS_PER_MS})

    def hear(self, kind, address, **values):
        message = kind(**values | {"session": self.session.session})
        self.session.receive_datagram(encode(message), address, self.now)

    def lack(self, address, shown, seqs):
        """Let a listener ask for all of these chunks."""
        entries = tuple(NackEntry(seq=seq, bitmap=(1 << SYMBOLS) - 1) for seq in seqs)
        self.hear(Nack, address, entries=entries, **shown)

    def music(self):
        return {(m.chunk.seq, m.index): at for at, m, _ in self.sent if isinstance(m, Audio) and not m.repair}

    def again(self, to):
        return [(at, m.chunk) for at, m, address in self.sent if isinstance(m, Audio) and m.repair and address == to]


def playing(kit):
    """Return a stage that has been playing for 38 s, and what Anna, who was there from the beginning, must show."""
    it = Crowded(kit)
    anna = it.come(ANNA)
    it.run(40)
    assert it.session.transport.newest.playing
    it.taken = TAKEN
    return it, anna


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
    if isinstance(message, Announce | SongInfo | Sync):
        return URGENT
    assert isinstance(message, Audio)
    return MUSIC if not message.repair else REPAIR if to == ANNA else BACKFILL


def test_music_leaves_as_if_nobody_had_lost_anything(kit):
    it, anna = playing(kit)
    crowd(it, anna, 10)
    control, _ = playing(kit)
    control.run(10)
    assert it.music() == control.music()
    crowded_s = Counter((at - it.now) // NS_PER_S for at, _, _ in it.sent)
    assert all(crowded_s[-s] == TAKEN * NS_PER_S // TICK_NS for s in range(1, 10)), "the network was full"
    assert len(it.again(ANNA)) > 1000


def test_what_is_urgent_leaves_at_once_and_first(kit):
    it, anna = playing(kit)
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


def test_repairs_go_before_backfill_that_has_time(kit):
    it, anna = playing(kit)
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
    assert all(got[seq] == SYMBOLS for seq in played), "all of it"
    it.run(5)
    assert Counter(chunk.seq for _, chunk in it.again(BERT)) == dict.fromkeys(odd, SYMBOLS), "then the rest"
