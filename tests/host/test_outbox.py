from radiosync.host.copies import Copies
from radiosync.host.outbox import URGENT_MAX, Outbox

FROM = ("10.0.0.9", 40_000)


class Sent:
    """A sender with nothing to send."""

    class ladder:  # noqa: N801
        active = (2,)


def test_what_is_for_all_goes_to_the_groups_of_lower_tiers_too_and_an_answer_to_one():
    outbox = Outbox(Sent(), Copies(4, 0))
    outbox.tell([b"all"])
    outbox.tell([b"one"], FROM)
    assert [(d.data, d.to, d.tier) for d in outbox.urgent()] == [
        (b"all", None, 0),
        (b"all", None, 2),
        (b"one", FROM, 0),
    ]
    assert (outbox.counters.datagrams_sent, outbox.counters.bytes_sent) == (3, 9)


def test_a_flood_of_questions_pushes_out_the_oldest_answers():
    outbox = Outbox(Sent(), Copies(4, 0))
    for number in range(URGENT_MAX + 3):
        outbox.tell([b"%d" % number], FROM)
    assert [int(d.data) for d in outbox.urgent()] == list(range(3, URGENT_MAX + 3))
