from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports import a_report

from radiosync.host import listeners as module
from radiosync.host.listeners import (
    GIVE_WAY_MAX,
    NEWCOMER_SILENCE_NS,
    SETTLED_NS,
    SILENCE_NS,
    Cookies,
    ListenerTable,
    Status,
)
from radiosync.units import NS_PER_MS, NS_PER_S

ANNA, BERT = ("10.0.0.1", 5000), ("10.0.0.2", 5000)
REPORT = a_report(listener_id=3, name="anna")


@pytest.fixture
def table():
    return ListenerTable(latency_samples=4, max_latency_ns=10 * NS_PER_MS, forget_ns=30 * NS_PER_S)


def hear(table, now, *rtts_ms, address=ANNA, listener_id=3):
    for rtt_ms in rtts_ms:
        table.heard(address, replace(REPORT, rtt_ns=round(rtt_ms * NS_PER_MS), listener_id=listener_id), now)
    return table.get(address)


def test_the_average_rolls_over_the_latest_samples(table, kit):
    row = hear(table, kit.NOW, 2, 4)
    assert row.average_ns == 3 * NS_PER_MS
    row = hear(table, kit.NOW, 6, 8, 10, 12)
    assert row.average_ns == 9 * NS_PER_MS
    assert list(row.samples_ns) == [6 * NS_PER_MS, 8 * NS_PER_MS, 10 * NS_PER_MS, 12 * NS_PER_MS]


def test_no_measurement_is_no_sample(table, kit):
    """A listener reports before its first exchange; and nobody's round trip is negative."""
    row = hear(table, kit.NOW, 0, -5, 6)
    assert row.average_ns == 6 * NS_PER_MS


@pytest.mark.parametrize(
    ("ago_ms", "held_ms", "echo_ms"),
    [(100, 60, 40), (100, 100, 0), (100, 101, 0), (-1, 0, 0), (None, 0, 0)],
)
def test_the_host_measures_the_round_trip_by_the_echo_of_an_announcement(table, kit, ago_ms, held_ms, echo_ms):
    """Sent so long ago, or never; held so long by the listener; what can't be is no measurement."""
    echo_at = 0 if ago_ms is None else kit.NOW - ago_ms * NS_PER_MS
    table.heard(ANNA, replace(REPORT, echo_at=echo_at, echo_held_ns=held_ms * NS_PER_MS), kit.NOW)
    assert table.get(ANNA).echo_ns == echo_ms * NS_PER_MS


def test_only_who_keeps_up_is_waited_for(table, kit):
    hear(table, kit.NOW, 5)
    hear(table, kit.NOW, 50, address=BERT)
    assert [row.address for row in table.eligible(kit.NOW)] == [ANNA]
    assert [row.address for row in table.eligible(kit.NOW + SILENCE_NS)] == [ANNA]
    assert table.eligible(kit.NOW + SILENCE_NS + 1) == []


def test_statuses(table, kit):
    row = hear(table, kit.NOW, 5)
    assert table.status(row, kit.NOW) is Status.ACTIVE
    hear(table, kit.NOW, 30, 30)
    assert table.status(row, kit.NOW) is Status.SLOW
    hear(table, kit.NOW, 1, 1, 1, 1)
    assert table.status(row, kit.NOW) is Status.ACTIVE, "back by itself"
    assert table.status(row, kit.NOW + SILENCE_NS) is Status.ACTIVE
    assert table.status(row, kit.NOW + SILENCE_NS + 1) is Status.TIMEOUT
    hear(table, kit.NOW + 10 * NS_PER_S, 1)
    assert table.status(row, kit.NOW + 10 * NS_PER_S) is Status.ACTIVE


def test_the_threshold_itself_is_not_slow(table, kit):
    row = hear(table, kit.NOW, 10)
    assert table.status(row, kit.NOW) is Status.ACTIVE
    row = hear(table, kit.NOW, 10.1)
    assert table.status(row, kit.NOW) is Status.SLOW


def test_a_restarted_listener_begins_anew(table, kit):
    hear(table, kit.NOW, 50, 50)
    row = hear(table, kit.NOW, 2, listener_id=4)
    assert row.average_ns == 2 * NS_PER_MS
    assert len(table) == 1


def test_who_is_removed_is_gone(table, kit):
    hear(table, kit.NOW, 1)
    hear(table, kit.NOW + NS_PER_S, 1, address=BERT)
    table.remove(ANNA)
    assert [row.address for row in table] == [BERT]
    table.remove(BERT)
    table.remove(BERT)
    assert len(table) == 0


def test_a_full_table_refuses_newcomers_and_keeps_who_is_there(table, kit, monkeypatch):
    monkeypatch.setattr(module, "LISTENERS_MAX", 3)
    for port in range(5):
        hear(table, kit.NOW, 1, address=("10.0.0.3", port))
    assert len(table) == 3
    assert table.refused == 2
    row = hear(table, kit.NOW + NS_PER_S, 7, address=("10.0.0.3", 1))
    assert row.last_heard_at == kit.NOW + NS_PER_S
    assert hear(table, kit.NOW, 7, address=("10.0.0.3", 2), listener_id=9).report.listener_id == 9
    assert table.refused == 2


def come(table, now, *addresses):
    """Let newcomers report, as the host lets them; return whom each pushed out."""
    gone = []
    for address in addresses:
        gone.append(table.give_way(address, now))
        for other in gone[-1]:
            table.remove(other)
        hear(table, now, 1, address=address)
    return gone


def stay(table, now, *addresses):
    """Let newcomers come and be heard of until they have stayed; return when that is."""
    come(table, now, *addresses)
    for address in addresses:
        hear(table, now + SETTLED_NS, 1, address=address)
    return now + SETTLED_NS


def sockets(count, machine=9):
    return [(f"10.0.0.{machine}", port) for port in range(count)]


def test_a_machine_has_so_many_rows_and_who_did_not_stay_gives_way(table, kit, monkeypatch):
    monkeypatch.setattr(module, "ROWS_PER_MACHINE_MAX", 3)
    now = stay(table, kit.NOW, ANNA, sockets(3)[0])
    come(table, now, *sockets(3)[1:])
    assert come(table, now + NEWCOMER_SILENCE_NS, BERT, ("10.0.0.9", 6)) == [[], []]
    assert table.refused == 1
    table.remove(BERT)
    hear(table, now + NEWCOMER_SILENCE_NS + 1, 1, address=sockets(1)[0])
    assert come(table, now + NEWCOMER_SILENCE_NS + 1, ("10.0.0.9", 7)) == [sockets(3)[1:]]
    assert {row.address for row in table} == {ANNA, sockets(1)[0], ("10.0.0.9", 7)}
    assert (table.pushed_out, table.refused) == (2, 1)


def test_a_machine_whose_listeners_all_stay_has_room_for_no_more(table, kit, monkeypatch):
    monkeypatch.setattr(module, "ROWS_PER_MACHINE_MAX", 3)
    now = stay(table, kit.NOW, ANNA, *sockets(3))
    assert come(table, now, ("10.0.0.9", 7), BERT) == [[], []]
    assert table.get(("10.0.0.9", 7)) is None
    assert table.get(BERT) is not None
    assert (table.pushed_out, table.refused) == (0, 1)


def test_in_a_full_table_the_machine_with_most_rows_gives_way(table, kit, monkeypatch):
    monkeypatch.setattr(module, "LISTENERS_MAX", 6)
    now = stay(table, kit.NOW, ANNA, *sockets(2, 8), *sockets(3))
    for number, address in enumerate(sockets(3)):
        hear(table, now + number, 1, address=address)  # none is silent, nor new
    assert come(table, now + 9, BERT) == [[("10.0.0.9", 0)]]
    assert come(table, now + 9, ("10.0.0.8", 7)) == [[]], "they would have as many then"
    assert table.get(("10.0.0.8", 7)) is None
    assert len(table) == 6


def test_in_a_full_table_without_a_crowd_the_silent_give_way(table, kit, monkeypatch):
    monkeypatch.setattr(module, "LISTENERS_MAX", 3)
    now = stay(table, kit.NOW, ANNA, BERT, ("10.0.0.3", 1))
    later = now + SILENCE_NS + 1
    hear(table, later, 1, address=ANNA)
    hear(table, later, 1, address=BERT)
    assert come(table, later, ("10.0.0.4", 1)) == [[("10.0.0.3", 1)]]
    assert come(table, later, ("10.0.0.5", 1)) == [[]], "who has come just now has its chance"
    assert table.refused == 1


def test_so_many_give_way_at_once(table, kit, monkeypatch):
    monkeypatch.setattr(module, "ROWS_PER_MACHINE_MAX", 100)
    come(table, kit.NOW, *sockets(100))
    (gone,) = come(table, kit.NOW + NEWCOMER_SILENCE_NS + 1, ("10.0.0.9", 999))
    assert len(gone) == GIVE_WAY_MAX


# --- cookies ----------------------------------------------------------------------------------------------------------


@given(port=st.integers(0, 65_535), other=st.integers(0, 65_535), guess=st.integers(0, (1 << 64) - 1))
def test_a_cookie_is_good_for_its_address_alone(port, other, guess):
    cookies = Cookies(b"k" * 32)
    cookie = cookies.of(("10.0.0.1", port))
    assert 0 < cookie < 1 << 64
    assert cookies.valid(cookie, ("10.0.0.1", port))
    assert not cookies.valid(cookie, ("10.0.0.2", port))
    assert cookies.valid(cookie, ("10.0.0.1", other)) == (port == other)
    assert cookies.valid(guess, ("10.0.0.1", port)) == (guess == cookie)
    assert not cookies.valid(0, ("10.0.0.1", port))


def test_another_session_has_other_cookies():
    assert Cookies(b"a" * 32).of(ANNA) != Cookies(b"b" * 32).of(ANNA)
    assert Cookies(b"a" * 32).of(("10.0.0.1", 15000)) != Cookies(b"a" * 32).of(("10.0.0.11", 5000))
