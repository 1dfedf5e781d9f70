"""Whoever is known to be waited for saves asking everybody, and changes nothing of what comes of it."""

from random import Random

import pytest
from reports import a_report

from radiosync.host.coordinator import (
    MINORITY_WAIT_NS,
    START_WAIT_NS,
    Preparation,
    WaitedFor,
    calculate_optimal_sync,
    judge,
)
from radiosync.host.listeners import ListenerTable
from radiosync.units import NS_PER_MS, NS_PER_S

ANNA, BERT = ("10.0.0.1", 1), ("10.0.0.2", 1)
PREPARATION = Preparation(target_frame=100, epoch=1, began_at=0, wait_ns=START_WAIT_NS, lead_ns=NS_PER_S)


@pytest.fixture
def table():
    return ListenerTable(4, 500 * NS_PER_MS, 60 * NS_PER_S)


def hear(table, address, at, **values):
    for _ in range(2):
        table.heard(address, a_report(**values), at)


def looked(table, now):
    waited_for = WaitedFor()
    waited_for.look(PREPARATION, table.eligible(now))
    return waited_for


def test_who_is_not_ready_is_remembered_until_it_is(table):
    hear(table, ANNA, 0, ready_frame=100)
    hear(table, BERT, 0, ready_frame=None)
    waited_for = looked(table, 0)
    assert waited_for.still(PREPARATION, table, NS_PER_S)
    hear(table, BERT, NS_PER_S, ready_frame=100)
    assert not waited_for.still(PREPARATION, table, NS_PER_S)


@pytest.mark.parametrize(
    ("values", "now"),
    [
        ({"ready_frame": None}, MINORITY_WAIT_NS),
        ({"ready_frame": None, "rtt_ns": NS_PER_S}, NS_PER_S),
        ({"ready_frame": 100}, NS_PER_S),
    ],
)
def test_not_for_ever_nor_who_is_slow_or_ready(table, values, now):
    hear(table, BERT, now, **values)
    assert not looked(table, now).still(PREPARATION, table, now)


def test_who_has_gone_is_not_waited_for(table):
    hear(table, BERT, 0, ready_frame=None)
    waited_for = looked(table, 0)
    table.remove(BERT)
    assert not waited_for.still(PREPARATION, table, NS_PER_S)
    assert not WaitedFor().still(PREPARATION, table, NS_PER_S)


def test_it_never_waits_where_the_verdict_is_to_go(table):
    rng, now, waits = Random(5), 0, 0
    waited_for = looked(table, now)
    for _ in range(2000):
        now += rng.randrange(4 * NS_PER_MS)
        address = (f"10.0.0.{rng.randrange(6)}", 1)
        ready = rng.choice((None, 100, 100, 100))
        table.heard(address, a_report(ready_frame=ready, rtt_ns=rng.choice((1, NS_PER_S))), now)
        eligible = table.eligible(now)
        verdict = judge(PREPARATION, eligible, calculate_optimal_sync(eligible).delay_ns, now)
        still = waited_for.still(PREPARATION, table, now)
        assert not (still and verdict.go)
        waits += still
        waited_for.look(PREPARATION, eligible)
    assert waits > 100
