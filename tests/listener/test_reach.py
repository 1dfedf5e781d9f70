from random import Random

import pytest

from radiosync.listener.reach import (
    BACK_NS,
    BACK_NS_MAX,
    GIVEN_SILENT_NS,
    REFRESH_NS,
    REJOIN_NS,
    REJOIN_NS_MAX,
    SILENT_NS,
    Reach,
)
from radiosync.units import NS_PER_MS, NS_PER_S

TICK_NS = 50 * NS_PER_MS


class Heard:
    """A reach in time: every 50 ms something comes through the group, by unicast, or not."""

    def __init__(self, *, given=False):
        self.now = 1000 * NS_PER_S
        self.reach = Reach(Random(1), self.now)
        self.reach.begin(self.now, given=given)
        self.alive_at = self.now
        self.changes = []
        self.rejoined_at = []

    def on(self, seconds, *, group=0, copy=0, alive=True):
        """Let time pass: `group` and `copy` datagrams a tick, and the host's answers if it is alive."""
        until = self.now + round(seconds * NS_PER_S)
        while self.now < until:
            self.now += TICK_NS
            for _ in range(group):
                self.reach.heard(self.now, through_group=True)
            for _ in range(copy):
                self.reach.heard(self.now, through_group=False)
            if group or copy or alive:
                self.alive_at = self.now
            if self.reach.rejoin_due(self.now):
                self.rejoined_at.append(self.now)
            if self.reach.update(self.alive_at, self.now):
                self.changes.append((self.now, self.reach.wants_copy))
            assert self.reach.next_timeout(self.now) > self.now, "it would spin"


@pytest.fixture
def heard():
    return Heard()


def test_while_the_group_is_heard_nothing_is_asked_for(heard):
    heard.on(50, group=1)
    assert not heard.changes
    assert not heard.rejoined_at


def test_silence_is_met_by_joining_anew_and_then_by_a_copy_within_two_seconds(heard):
    began_at = heard.now
    heard.on(3)
    assert heard.rejoined_at[0] == began_at + REJOIN_NS
    assert heard.changes == [(began_at + SILENT_NS, True)]
    assert SILENT_NS < 2 * NS_PER_S


def test_who_named_the_host_is_copied_sooner_until_the_group_was_heard():
    heard = Heard(given=True)
    began_at = heard.now
    heard.on(1)
    assert heard.changes == [(began_at + GIVEN_SILENT_NS, True)]
    heard = Heard(given=True)
    heard.on(0.2, group=1)
    heard.on(1)
    assert not heard.changes


def test_a_host_that_is_silent_altogether_is_not_asked_for_copies(heard):
    heard.on(1, group=1)
    heard.on(20, alive=False)
    assert not heard.changes
    heard.on(0.1)
    assert heard.changes, "it is back, and the group is not"


def test_joining_anew_goes_on_ever_more_rarely(heard):
    heard.on(120)
    gaps = [(b - a) / NS_PER_S for a, b in zip(heard.rejoined_at, heard.rejoined_at[1:], strict=False)]
    assert gaps[:4] == [2.5, 5, 10, 20]
    assert max(gaps) <= REJOIN_NS_MAX / NS_PER_S
    assert min(gaps[5:]) < 30.1


def test_the_membership_is_renewed_in_any_case_twice_before_a_switch_forgets(heard):
    heard.on(520, group=1)
    assert len(heard.rejoined_at) >= 4
    gaps = [b - a for a, b in zip([heard.now - 520 * NS_PER_S, *heard.rejoined_at], heard.rejoined_at, strict=False)]
    assert max(gaps) <= 1.2 * REFRESH_NS < 130 * NS_PER_S
    assert min(gaps) >= 0.8 * REFRESH_NS
    assert len(set(gaps)) > 1, "not in step with others"


def test_without_a_host_it_is_renewed_too():
    heard = Heard()
    heard.reach.end()
    heard.on(100)
    assert 3 <= len(heard.rejoined_at) <= 5
    assert not heard.changes


def test_the_copy_is_given_back_when_the_group_brings_as_much(heard):
    heard.on(4, copy=1)
    heard.on(4, copy=1, group=1)
    (_, on), (back_at, off) = heard.changes
    assert (on, off) == (True, False)
    assert back_at <= heard.now


def test_a_group_that_loses_much_is_not_gone_back_to(heard):
    heard.on(4, copy=1)
    for _ in range(20):
        heard.on(0.2, copy=1, group=1)
        heard.on(0.05, copy=1)
    assert len(heard.changes) == 1


def test_answers_and_repairs_are_no_copy(heard):
    heard.on(4)
    for _ in range(60):
        heard.on(0.05, group=1)
        heard.reach.heard(heard.now, through_group=False, asked_for=True)
    assert [wanted for _, wanted in heard.changes] == [True, False]


def test_a_group_that_fails_again_and_again_is_gone_back_to_ever_later(heard):
    heard.on(1, group=1)
    waits = []
    for _ in range(8):
        heard.on(3, copy=1)
        at, wanted = heard.changes[-1]
        assert wanted
        while heard.reach.wants_copy:
            heard.on(0.05, copy=1, group=1)
        waits.append(heard.now - at)
    assert waits[0] <= 2 * BACK_NS + TICK_NS
    assert BACK_NS_MAX <= waits[-1] <= 2 * BACK_NS_MAX
    assert sorted(waits) == waits
    heard.on(BACK_NS_MAX / NS_PER_S + 10, group=1)
    heard.on(3, copy=1)
    at = heard.changes[-1][0]
    while heard.reach.wants_copy:
        heard.on(0.05, copy=1, group=1)
    assert heard.now - at <= 2 * BACK_NS + TICK_NS, "a calm minute is forgiven"
