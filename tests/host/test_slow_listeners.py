"""A listener that can't keep up: nobody waits for it, it goes on being served, it comes back, or leaves no trace."""

from types import ModuleType

import pytest

from radiosync.host.events import ListenerLeft, ListenerStatusChanged, SyncGo
from radiosync.host.listeners import SILENCE_NS, Status
from radiosync.units import NS_PER_MS, NS_PER_S
from radiosync.wire.messages import Leave, Sync, SyncPhase

ANNA, BERT = ("10.0.0.1", 5000), ("10.0.0.2", 5000)
JOINERS = 1000


def events_of(it):
    found = []
    while (event := it.session.next_event()) is not None:
        found.append(event)
    return found


def pause_and_resume(it, *ready):
    """Let everybody stop and go on, `ready` saying so at once; return the order to go on, and how it came about."""
    it.session.pause(it.now)
    it.run(2)
    events_of(it)
    it.sent.clear()
    it.session.resume(it.now)
    it.run(0.1)
    target = next(m.target_frame for _, m, _ in it.sent if isinstance(m, Sync))
    for address in ready:
        it.here[address]["ready_frame"] = target
        it.report(address)
    it.run(2)
    (go,) = [event for event in events_of(it) if isinstance(event, SyncGo)]
    order = next(m for _, m, _ in it.sent if isinstance(m, Sync) and m.phase is SyncPhase.GO)
    return order, go


def test_who_is_slow_leaves_the_reckoning_is_served_and_comes_back(driven):
    it = driven(**{"radio_sync.max_client_latency": 1000.0})
    it.come(ANNA, rtt_ns=5 * NS_PER_MS)
    bert = it.come(BERT, rtt_ns=1200 * NS_PER_MS)
    it.run(12)
    order, go = pause_and_resume(it, ANNA)
    assert (order.slowest, order.slowest_latency_us, order.waiting) == (ANNA[0], 5_000, 0)
    assert go.reason == "everybody is ready", "nobody waited for Bert"

    it.lack(BERT, bert, [it.session.sender.next_seq_sent - 2])
    it.run(1)
    assert it.again(BERT), "he is served all the same"

    it.here[BERT]["rtt_ns"] = 900 * NS_PER_MS
    it.run(12)
    (back,) = [event for event in events_of(it) if isinstance(event, ListenerStatusChanged)]
    assert back == ListenerStatusChanged(name=BERT[0], status=Status.ACTIVE)
    order, go = pause_and_resume(it, ANNA)
    assert (order.slowest, order.slowest_latency_us, order.waiting) == (BERT[0], 900_000, 1)
    assert BERT[0] in go.reason, "he was waited for"


@pytest.mark.parametrize("most_ms", [1000.0, 1300.0])
def test_how_slow_is_slow_is_configured(driven, most_ms):
    it = driven(**{"radio_sync.max_client_latency": most_ms})
    it.come(BERT, rtt_ns=1200 * NS_PER_MS)
    it.run(1)
    (row,) = it.session.listeners
    assert it.session.listeners.status(row, it.now) is (Status.SLOW if most_ms < 1200 else Status.ACTIVE)


def test_who_is_silent_is_not_waited_for_and_back_with_its_next_word(driven):
    it = driven()
    it.come(ANNA)
    it.come(BERT, rtt_ns=700 * NS_PER_MS)
    it.run(7)
    silent = it.here.pop(BERT)
    it.run(SILENCE_NS / NS_PER_S + 1.5)
    order, go = pause_and_resume(it, ANNA)
    assert (order.slowest, order.waiting, go.reason) == (ANNA[0], 0, "everybody is ready")
    it.here[BERT] = silent
    it.report(BERT)
    order, _ = pause_and_resume(it, ANNA, BERT)
    assert (order.slowest, order.waiting) == (BERT[0], 0)


@pytest.mark.parametrize("timeout_s", [5.0, 20.0])
def test_who_stays_silent_is_forgotten_after_the_configured_time(driven, timeout_s):
    it = driven(**{"radio_sync.slow_client_timeout": timeout_s})
    it.come(ANNA)
    it.here.clear()
    it.run(timeout_s - 0.5)
    assert len(it.session.listeners) == 1
    events_of(it)
    it.run(1)
    assert events_of(it) == [ListenerLeft(name=ANNA[0], timed_out=True)]
    assert len(it.session.listeners) == 0


def reachable(root):
    """Return every object that can be reached from `root` through attributes and containers, but for code."""
    found, waiting = {}, [root]
    while waiting:
        one = waiting.pop()
        if id(one) in found or isinstance(one, type | ModuleType) or callable(one):
            continue
        found[id(one)] = one
        if isinstance(one, dict):
            waiting += [*one.keys(), *one.values()]
        elif hasattr(one, "__iter__") and not isinstance(one, str | bytes | bytearray | memoryview):
            waiting += list(one) if hasattr(one, "__len__") else []
        waiting += [getattr(one, name) for kind in type(one).__mro__ for name in getattr(kind, "__slots__", ())]
        waiting += list(getattr(one, "__dict__", {}).values())
    return found.values()


@pytest.mark.parametrize("politely", [True, False])
def test_a_thousand_that_came_and_went_leave_no_trace(driven, politely):
    it, control = driven(), driven()
    addresses = [(f"10.1.{n // 250}.{n % 250}", 5000 + n) for n in range(JOINERS)]
    for batch in range(0, JOINERS, 100):
        for address in addresses[batch : batch + 100]:
            shown = it.come(address)
            it.lack(address, shown, range(max(0, it.session.sender.next_seq_sent - 2), it.session.sender.next_seq_sent))
        it.run(0.1)
    assert len(it.session.listeners) == JOINERS
    traces = sum(one in addresses for one in reachable(it.session) if isinstance(one, tuple))
    assert traces >= JOINERS, "the search finds what is there"
    if politely:
        for address in addresses:
            shown = {key: it.here[address][key] for key in ("cookie", "listener_id")}
            it.hear(Leave, address, **shown)
    it.here.clear()
    it.run(33)
    assert len(it.session.listeners) == 0
    events_of(it)
    left = [one for one in reachable(it.session) if isinstance(one, tuple) and one in addresses]
    assert not left
    it.run(60)  # until nothing is kept any more that was asked for
    control.run((it.now - control.now) / NS_PER_S)
    events_of(it), events_of(control)
    assert len(reachable(it.session)) == pytest.approx(len(reachable(control.session)), abs=20)
