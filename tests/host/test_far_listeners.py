"""Who has asked for the host and is too far away to have reported is waited for: a little, and not for ever."""

from radiosync.host.coordinator import START_WAIT_NS
from radiosync.host.listeners import ANSWER_NS, ASKED_MAX
from radiosync.units import NS_PER_MS, NS_PER_S
from radiosync.wire.messages import Solicit

ANNA, BERT = ("10.0.0.1", 5000), ("10.0.0.2", 5000)


def near_one_is_ready(driven):
    it = driven()
    began_at = it.now
    it.come(ANNA, ready_frame=0)
    it.run(0.3)
    return it, began_at


def started_s(it, began_at):
    newest = it.session.transport.newest
    return (newest.effective_at - began_at) / NS_PER_S if newest.playing else None


def test_without_anybody_else_the_near_one_starts_at_once(driven):
    it, began_at = near_one_is_ready(driven)
    it.run(2)
    assert 1.0 <= started_s(it, began_at) < 1.1


def test_who_has_asked_and_then_reports_is_waited_for(driven):
    it, began_at = near_one_is_ready(driven)
    it.hear(Solicit, BERT, nonce=3)
    it.run(1.2)
    assert started_s(it, began_at) is None
    it.come(BERT, rtt_ns=500 * NS_PER_MS)
    it.run(1)
    assert started_s(it, began_at) is None, "he is not ready yet"
    it.here[BERT]["ready_frame"] = 0
    it.report(BERT)
    it.run(1)
    assert it.session.transport.newest.playing


def test_who_has_asked_and_never_reports_costs_little(driven):
    it, began_at = near_one_is_ready(driven)
    it.hear(Solicit, BERT, nonce=3)
    it.run(3)
    latest_s = 0.3 + ANSWER_NS / NS_PER_S + 0.6
    assert latest_s - 0.3 < started_s(it, began_at) < latest_s


def test_forged_questions_hold_up_a_start_no_longer_than_anybody_can(driven):
    it, began_at = near_one_is_ready(driven)
    for number in range(400):
        it.hear(Solicit, ("10.9.9.9", 1000 + number), nonce=3)
        it.tick()
    assert started_s(it, began_at) < START_WAIT_NS / NS_PER_S + 0.6
    assert len(it.session.listeners._asked) <= ASKED_MAX


def test_the_list_of_questions_is_bounded_and_ends_with_the_start(driven):
    it = driven()
    for number in range(ASKED_MAX + 50):
        it.hear(Solicit, ("10.9.9.9", 1000 + number), nonce=3)
    assert len(it.session.listeners._asked) == ASKED_MAX
    it.run(8)
    it.hear(Solicit, BERT, nonce=3)
    assert BERT not in it.session.listeners._asked
