"""Who asks is one of several where losses are scattered, or several come back from an outage."""

import pytest

from radiosync.repair.crowd import SCATTERED_MAX, SEEN_MAX, WINDOW_NS, CrowdWatch
from radiosync.units import NS_PER_S

START = 1_795_000_000 * NS_PER_S
CHUNK_NS = NS_PER_S // 2


def address(number):
    return (f"10.0.{number >> 8}.{number & 255}", 5000)


def after_a_while(asks, *, windows=3, then_ns=0):
    """Return what it says at last, if `asks(seq)` are the listeners that ask for a chunk every half second."""
    watch, said = CrowdWatch(START), False
    chunks = windows * WINDOW_NS // CHUNK_NS
    for seq in range(chunks):
        for by in asks(seq):
            said = watch.note(seq, 1, address(by), START + seq * CHUNK_NS)
    return watch.note(chunks, 1, address(0), START + chunks * CHUNK_NS + then_ns) if then_ns else said


@pytest.mark.parametrize(
    ("asks", "scattered"),
    [
        (lambda seq: [seq % 30], True),  # another is the first each time, and serves all others
        (lambda seq: [seq % 5, seq % 3], True),
        (lambda seq: [0], False),  # one bad link
        (lambda seq: [0, 1], False),  # two: the crowd of each chunk is seen as it comes
        (lambda seq: [0, 1 + seq // 20], False),  # one bad link, and now and then somebody
    ],
)
def test_it_is_scattered_where_many_ask_for_few_chunks(asks, scattered):
    assert after_a_while(asks) is scattered


def test_it_is_forgotten_after_a_calm_while():
    assert after_a_while(lambda seq: [seq % 30], then_ns=CHUNK_NS)
    assert not after_a_while(lambda seq: [seq % 30], then_ns=3 * WINDOW_NS)


def test_two_who_come_back_from_an_outage_are_not_the_only_ones():
    watch, gap = CrowdWatch(START), SCATTERED_MAX + 1
    assert not any(watch.note(seq, gap, address(1), START + seq) for seq in range(50)), "one alone"
    assert watch.note(7, gap, address(2), START + NS_PER_S)
    assert watch.note(8, gap, address(1), START + NS_PER_S)
    assert not watch.note(9, gap, address(3), START + 3 * WINDOW_NS), "that is another"
    assert not watch.note(9, 1, address(1), START + 3 * WINDOW_NS)


def test_a_flood_of_addresses_takes_no_more_room():
    watch = CrowdWatch(START)
    for number in range(SEEN_MAX + 100):
        watch.note(number, 1, address(number), START)
    assert len(watch._listeners) == len(watch._chunks) == SEEN_MAX
