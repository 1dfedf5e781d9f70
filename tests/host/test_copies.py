from radiosync.host.copies import COPIES_PER_IP_MAX, COPIES_PER_S_MAX, QUEUED_MAX, Answer, Copies
from radiosync.host.sender import Datagram
from radiosync.units import NS_PER_S

ANNA, BERT, CARL = ("10.0.0.1", 40_000), ("10.0.0.2", 40_000), ("10.0.0.3", 40_000)


def music(number, tier=0):
    return Datagram(b"%d" % number, None, False, tier)


def leaving(copies, now):
    return [(int(datagram.data), datagram.to) for datagram in copies.music(now)]


def test_each_gets_all_of_its_tier_in_order_and_in_turns():
    copies = Copies(16, 0)
    assert [copies.serve(ANNA, 0), copies.serve(BERT, 2)] == [Answer.BEGUN] * 2
    for number in range(3):
        copies.add(music(number))
        copies.add(music(10 + number, tier=2))
    assert leaving(copies, 0) == [(0, ANNA), (10, BERT), (1, ANNA), (11, BERT), (2, ANNA), (12, BERT)]
    assert copies.next_timeout(0) is None
    assert copies.counters.sent == 6


def test_a_listener_that_changes_its_tier_gets_that_from_then_on():
    copies = Copies(16, 0)
    copies.serve(ANNA, 0)
    copies.add(music(1))
    assert copies.serve(ANNA, 2) is Answer.GOES_ON
    copies.add(music(2))
    copies.add(music(3, tier=2))
    assert leaving(copies, 0) == [(1, ANNA), (3, ANNA)]


def test_orders_are_copied_at_once_and_after_the_end_nothing_is():
    copies = Copies(16, 0)
    copies.serve(ANNA, 2)
    assert [(d.data, d.to, d.urgent) for d in copies.at_once(b"go")] == [(b"go", ANNA, True)]
    copies.add(music(1, tier=2))
    assert copies.stop(ANNA)
    assert not copies.stop(ANNA)
    assert not [*copies.at_once(b"go"), *copies.music(0)]
    assert ANNA not in copies


def test_so_many_are_served_and_so_many_at_one_address():
    copies = Copies(COPIES_PER_IP_MAX + 1, 0)
    one = [copies.serve(("10.0.0.1", port), 0) for port in range(COPIES_PER_IP_MAX + 1)]
    assert one == [Answer.BEGUN] * COPIES_PER_IP_MAX + [Answer.REFUSED]
    assert copies.serve(("10.0.0.2", 1), 0) is Answer.BEGUN
    assert copies.serve(("10.0.0.3", 1), 0) is Answer.REFUSED
    assert copies.counters.refused == 2
    assert Copies(0, 0).serve(ANNA, 0) is Answer.REFUSED


def test_all_together_stay_within_a_budget_which_they_share():
    copies = Copies(16, 0)
    served = [(f"10.0.0.{n}", 1) for n in range(16)]
    for address in served:
        copies.serve(address, 0)
    left = dict.fromkeys(served, 0)
    for now in range(0, NS_PER_S, NS_PER_S // 500):
        copies.add(music(0))
        copies.add(music(0))
        for _, to in leaving(copies, now):
            left[to] += 1
    assert COPIES_PER_S_MAX * 0.98 < sum(left.values()) <= COPIES_PER_S_MAX * 1.02
    assert max(left.values()) - min(left.values()) <= 1
    assert copies.next_timeout(now) > now


def test_a_full_queue_loses_the_newest_and_counts_it_and_a_jump_empties_it():
    copies = Copies(16, 0)
    copies.serve(ANNA, 0)
    for number in range(QUEUED_MAX + 5):
        copies.add(music(number))
    assert copies.counters.dropped == 5
    assert leaving(copies, 0)[0] == (0, ANNA)
    copies.clear()
    assert not leaving(copies, NS_PER_S)


def test_who_is_served_is_sent_its_own_repairs_and_no_others(driven):
    it = driven()
    anna, bert, carl = (
        it.come(address, **said) for address, said in ((ANNA, {"wants_copy": True}), (BERT, {}), (CARL, {}))
    )
    it.run(4)
    lacking = [it.session.sender.next_seq_sent - 1]
    it.sent.clear()
    it.lack(BERT, bert, lacking)
    it.lack(CARL, carl, lacking)
    it.run(0.5)
    assert it.again(None)
    assert not it.again(ANNA)
    it.sent.clear()
    it.lack(ANNA, anna, lacking)
    it.lack(BERT, bert, lacking)
    it.run(0.5)
    assert len(it.again(ANNA)) == len(it.again(None)) > 0
    it.here[ANNA]["wants_copy"] = False
    it.run(2)
    it.sent.clear()
    it.lack(ANNA, anna, lacking)
    it.lack(BERT, bert, lacking)
    it.run(0.5)
    assert it.again(None)
    assert not it.again(ANNA)
