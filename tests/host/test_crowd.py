"""A crowd that comes and goes for ever: whatever it does, what the host remembers of it is bounded."""

import pytest

from radiosync.host import adapt, listeners
from radiosync.host.listeners import Status
from radiosync.wire.messages import Leave

ROOM = 40
ANNA, LATE = ("10.0.0.1", 5000), ("10.0.0.2", 5000)


@pytest.fixture
def full(driven, monkeypatch):
    """A host with room for `ROOM`, at which Anna has listened since before a hundred others came and fell silent."""
    for module in (listeners, adapt):
        monkeypatch.setattr(module, "LISTENERS_MAX", ROOM)
    it = driven()
    it.come(ANNA)
    crowd(it, 100)
    return it


def crowd(it, count, *, first=0, politely=False):
    for number in range(first, first + count):
        address = (f"10.9.{number // 250}.{number % 250}", 5000)
        shown = it.come(address)
        it.lack(address, shown, range(it.session.sender.next_seq_sent))
        if politely:
            it.hear(Leave, address, **shown)
        del it.here[address]


def remembered(session):
    """Return how much is kept for each listener, in every table there is."""
    tables = (session.listeners._rows, session.watch._seen, session.buffer.depth._seen, session.stall.policy._members)
    return [len(table) for table in tables]


def test_a_crowd_that_fills_the_table_pushes_out_itself_alone(full):
    session = full.session
    assert len(session.listeners) <= ROOM
    assert session.listeners.pushed_out >= 30
    full.run(5)
    assert max(remembered(session)) <= ROOM
    assert session.listeners.status(session.listeners.get(ANNA), full.now) is Status.ACTIVE


def test_who_comes_to_a_full_table_has_a_row_at_once_and_keeps_it(full):
    crowd(full, 100, first=200)
    full.come(LATE)
    full.run(1)
    assert full.session.listeners.get(LATE) is not None
    full.run(4)
    crowd(full, 100, first=400)
    full.run(1)
    assert {ANNA, LATE} <= {row.address for row in full.session.listeners}
    full.run(30)
    assert {row.address for row in full.session.listeners} == {ANNA, LATE}
    assert max(remembered(full.session)) <= 2


def test_one_machine_that_keeps_a_hundred_listeners_shuts_nobody_out(driven, monkeypatch):
    for module in (listeners, adapt):
        monkeypatch.setattr(module, "LISTENERS_MAX", ROOM)
    it = driven()
    it.come(ANNA)
    for port in range(100):
        it.come(("10.9.9.9", port))
        it.run(0.02 if port % 10 else 1)
    it.run(4)
    assert len(it.session.listeners) == ROOM
    assert it.session.listeners.refused
    it.come(LATE)
    it.run(3)
    assert {ANNA, LATE} <= {row.address for row in it.session.listeners}
    assert len(it.session.listeners) == ROOM


@pytest.mark.parametrize("politely", [True, False])
def test_wave_after_wave_leaves_the_tables_as_they_were(driven, politely):
    it = driven(**{"radio_sync.slow_client_timeout": 4.0})
    it.come(ANNA)
    sizes = []
    for wave in range(4):
        crowd(it, 30, first=30 * wave, politely=politely)
        it.run(9)
        sizes.append(remembered(it.session))
    assert len({tuple(each) for each in sizes}) == 1, sizes
    assert max(sizes[-1]) <= 1
    assert len(it.session.sender._repairs._each) <= 1
    assert not it.session.listeners.refused


def test_what_the_buffer_s_depth_is_judged_by_is_bounded_too(driven, monkeypatch):
    for module in (listeners, adapt):
        monkeypatch.setattr(module, "LISTENERS_MAX", ROOM)
    it = driven(**{"radio_sync.buffer_duration": 10.0, "radio_sync.slow_client_timeout": 4.0})
    it.come(ANNA)
    it.run(3)
    sizes = []
    for wave in range(4):
        crowd(it, 30, first=30 * wave)
        it.run(6)
        sizes.append(len(it.session.buffer.depth._seen))
    assert sizes[0] > 30, "who is cut off for a while is remembered"
    assert max(sizes) <= ROOM
