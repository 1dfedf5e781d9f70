"""How often listeners report and ask for the time, as a host with many of them announces it."""

import pytest

from radiosync.config import RadioSyncConfig
from radiosync.host import intervals
from radiosync.host.events import ListenerOutOfSync
from radiosync.host.intervals import (
    CLOCK_NS_MAX,
    CLOCKS_PER_S,
    REPORT_NS,
    REPORT_NS_MAX,
    REPORTS_PER_S,
    clock_interval_ns,
    longest_report_ns,
    report_interval_ns,
)
from radiosync.host.listeners import LISTENERS_MAX, Status
from radiosync.units import NS_PER_MS, NS_PER_S
from radiosync.wire.messages import Announce


@pytest.mark.parametrize("listeners", [0, 1, 10, 49, 50, 51, 60, 100, 200])
def test_all_together_report_so_often_at_most_and_nobody_more_than_once_a_second(listeners):
    each_ns = report_interval_ns(listeners, REPORT_NS_MAX)
    assert each_ns >= REPORT_NS
    assert each_ns % NS_PER_MS == 0
    assert listeners * NS_PER_S / each_ns <= REPORTS_PER_S
    assert each_ns == REPORT_NS or listeners * NS_PER_S / each_ns > 0.99 * REPORTS_PER_S


def test_a_report_never_comes_later_than_it_takes_to_notice_that_somebody_has_gone():
    assert report_interval_ns(LISTENERS_MAX, REPORT_NS_MAX) == REPORT_NS_MAX
    plain = RadioSyncConfig()
    assert longest_report_ns(plain) == REPORT_NS_MAX
    hasty = RadioSyncConfig(slow_client_timeout=12.0)
    assert longest_report_ns(hasty) * intervals.REPORTS_PER_TIMEOUT == hasty.slow_client_ns
    assert longest_report_ns(RadioSyncConfig(slow_client_timeout=3.0)) == REPORT_NS


def test_who_runs_low_is_known_at_once_where_everybody_pauses_for_it():
    assert longest_report_ns(RadioSyncConfig(underrun_policy="pause")) == REPORT_NS


def test_hundreds_of_listeners_ask_the_clock_so_often_at_most():
    assert clock_interval_ns(1) < 5 * NS_PER_MS, "a single one may ask as often as its network needs"
    for listeners in (100, 200, 400, 1600):
        assert listeners * NS_PER_S / clock_interval_ns(listeners) == pytest.approx(CLOCKS_PER_S)
    assert clock_interval_ns(LISTENERS_MAX) == CLOCK_NS_MAX


@pytest.fixture
def crowd(driven):
    it = driven()
    for number in range(150):
        it.come((f"10.0.{number}.1", 5000), lead_ms=200)
    return it


def announced(it):
    return [m for _, m, to in it.sent if isinstance(m, Announce) and to is None][-1]


def test_the_intervals_are_announced_and_shorter_again_as_listeners_leave(crowd):
    crowd.run(2)
    assert (announced(crowd).report_ms, announced(crowd).clock_ms) == (3_000, 375)
    crowd.here.clear()
    crowd.run(32)
    assert len(crowd.session.listeners) == 0
    assert (announced(crowd).report_ms, announced(crowd).clock_ms) == (1_000, 0)


def test_who_was_told_to_report_less_often_is_not_silent_sooner(crowd):
    anna = ("10.0.0.1", 5000)
    crowd.run(4)
    said = crowd.here.pop(anna)
    row = crowd.session.listeners.get(anna)
    crowd.run(8)
    assert 8 <= (crowd.now - row.last_heard_at) / NS_PER_S <= 9
    assert crowd.session.listeners.status(row, crowd.now) is Status.ACTIVE
    crowd.run(1.5)
    assert crowd.session.listeners.status(row, crowd.now) is Status.TIMEOUT
    crowd.here = {anna: said}
    crowd.run(32)
    crowd.here.clear()
    crowd.run(4.5)
    assert crowd.session.listeners.status(row, crowd.now) is Status.TIMEOUT, "alone it reports every second again"


def test_one_report_of_many_is_no_alarm(crowd):
    anna = ("10.0.0.1", 5000)
    crowd.run(4)
    while crowd.session.next_event() is not None:
        pass
    crowd.here[anna] |= {"sync_error_ns": 4 * NS_PER_MS}
    crowd.run(8)
    assert not crowd.session.watch.out_of_sync(anna), "two reports, three seconds apart"
    crowd.run(3)
    assert crowd.session.watch.out_of_sync(anna)
    told = list(iter(crowd.session.next_event, None))
    assert any(isinstance(event, ListenerOutOfSync) for event in told)
