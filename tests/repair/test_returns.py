"""Many listeners come back from a common outage: they don't all ask at once, nor again while they are answered."""

from collections import Counter
from random import Random

import pytest

from radiosync.repair.request import WHOLE, RequestScheduler
from radiosync.repair.respond import RepairQueue
from radiosync.units import NS_PER_MS, NS_PER_S

START = 1_795_000_000 * NS_PER_S
LISTENERS, CHUNKS, SYMBOLS = 30, 50, 59  # an outage of 25 s
CHUNK_NS = NS_PER_S // 2
FIRST_DUE_NS = 20 * NS_PER_S  # of the 45 s
WAY_NS = NS_PER_MS // 2
STEP_NS = 5 * NS_PER_MS
RATE = 1600  # of all; a host that sends CD audio as FLAC grants so much


class Returned:
    """A listener that lacks every chunk of the outage."""

    def __init__(self, number, back_at):
        self.address = (f"10.0.0.{number}", 5000)
        self.lacks = dict.fromkeys(range(CHUNKS), (1 << SYMBOLS) - 1)
        self.requests = RequestScheduler(Random(number), self.missing)
        self.requests.rtt_ns = 2 * WAY_NS
        self.requests.symbols_per_chunk = SYMBOLS
        self.back_at = back_at
        self.back = False

    def missing(self, seq, _tier):
        lacks = self.lacks[seq]
        return WHOLE if lacks == (1 << SYMBOLS) - 1 else lacks

    def hear(self, repair, now):
        if self.back and repair.to in (None, self.address) and self.lacks[repair.seq] >> repair.index & 1:
            self.lacks[repair.seq] &= ~(1 << repair.index)
            self.requests.heard(repair.seq, now)
            if not self.lacks[repair.seq]:
                self.requests.forget(repair.seq)


def due_at(seq):
    return START + FIRST_DUE_NS + (seq + 1) * CHUNK_NS


def come_back(within_ns):
    """Return when which listener sent a NACK, how many symbols the host sent, and how many nobody has got in time."""
    rng = Random(1)
    listeners = [Returned(number, START + round(within_ns * rng.random())) for number in range(LISTENERS)]
    host = RepairQueue(RATE // 2, RATE, START)
    nacks, sent = [], Counter()
    for now in range(START, START + FIRST_DUE_NS, STEP_NS):
        for each in listeners:
            if not each.back and now >= each.back_at:
                each.back = True
                for seq in range(CHUNKS):
                    each.requests.want(seq, due_at(seq), now)
            wish = each.requests.next_timeout()
            if wish is None or wish > now:
                continue
            entries = each.requests.ask(now)
            if entries:
                nacks.append((now, each.address))
            for entry in entries:
                for seq in range(entry.seq, entry.seq + max(1, entry.run)):
                    bitmap = (1 << SYMBOLS) - 1 if entry.run else entry.bitmap
                    host.ask(seq, bitmap, due_at(seq), each.address, now)
        while (repair := host.take(now)) is not None:
            sent["multicast" if repair.to is None else "unicast"] += 1
            for each in listeners:
                each.hear(repair, now)
    return nacks, sent, sum(bits != 0 for each in listeners for bits in each.lacks.values())


@pytest.mark.parametrize(("within_s", "sent_most", "each_most"), [(0.04, 1.3, 16), (1.0, 1.6, 20), (5.0, 3.5, 35)])
def test_they_do_not_all_ask_in_one_round(within_s, sent_most, each_most):
    nacks, sent, lacking = come_back(round(within_s * NS_PER_S))
    assert lacking == 0
    assert sent["multicast"] >= CHUNKS * SYMBOLS
    assert sent.total() < sent_most * CHUNKS * SYMBOLS, "most are served by what others have asked for"
    assert len(nacks) < each_most * LISTENERS, "of 50 chunks each"
    at_once = Counter(slot for slot, _ in {((at - START) // (100 * NS_PER_MS), address) for at, address in nacks})
    assert max(at_once.values()) < LISTENERS * 2 / 3
