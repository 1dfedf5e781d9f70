from random import Random

from radiosync.repair.turns import Turns

ANNA, BERT, CARL = (("10.0.0.1", 5000), ("10.0.0.2", 5000), ("10.0.0.1", 5001))


def order(turns, count):
    """Return who has the next turns."""
    had = []
    for _ in range(count):
        address, _ = next(iter(turns))
        turns.served(address)
        had.append(address)
    return had


def test_machines_have_turns_and_the_listeners_of_each_too():
    turns = Turns()
    for address in (ANNA, BERT, CARL):
        turns.add(address, 7)
    assert order(turns, 8) == [ANNA, BERT, CARL, BERT, ANNA, BERT, CARL, BERT]


def test_each_waits_for_its_smallest_number_first():
    turns = Turns()
    for seq in (5, 3, 9):
        turns.add(ANNA, seq)
    seen = []
    while len(turns):
        ((_, seq),) = turns
        seen.append(seq)
        turns.remove(ANNA, seq)
    assert seen == [3, 5, 9]
    assert turns.seqs == set()


def test_who_comes_back_is_last():
    turns = Turns()
    for address in (ANNA, BERT):
        turns.add(address, 1)
    turns.remove(ANNA, 1)
    turns.add(ANNA, 2)
    assert list(turns) == [(BERT, 1), (ANNA, 2)]


def test_it_remembers_no_more_than_what_is_waited_for():
    turns, model, rng = Turns(), {}, Random(1)
    for address in (ANNA, BERT, CARL):
        turns.add(address, 0)  # which stays in front
    for _ in range(20_000):
        address, seq = rng.choice((ANNA, BERT, CARL)), rng.randrange(1, 40)
        known = model.setdefault(address, {0})
        if seq in known:
            turns.remove(address, seq)
            known.discard(seq)
        else:
            turns.add(address, seq)
            known.add(seq)
    assert len(turns) == sum(len(known) for known in model.values())
    assert turns.seqs == set().union(*model.values())
    heaps = [wanted.heap for machine in turns._machines.values() for wanted in machine.listeners.values()]
    assert max(map(len, heaps)) <= 2 * 40 + 1


def test_the_last_of_who_asks_most():
    turns = Turns()
    assert turns.last_of_greediest(ANNA) is None
    for seq in (4, 1, 3):
        turns.add(ANNA, seq)
    turns.add(CARL, 9)
    turns.add(BERT, 2)
    assert turns.last_of_greediest(BERT) == (ANNA, 4)
    assert turns.last_of_greediest(CARL) is None, "the machine asks most itself"
    for seq in (5, 6, 7):
        turns.add(BERT, seq)
    assert turns.last_of_greediest(("10.0.0.3", 1)) is not None
    assert turns.last_of_greediest(BERT) is None, "no better"
