from dataclasses import replace
from itertools import pairwise

import pytest
from reports import a_report

from radiosync.host.events import GroupPaused, GroupResumed, ListenerMuted, ProbationBegan
from radiosync.host.listeners import ListenerTable
from radiosync.host.stall import (
    LOW_FOR_NS,
    LOW_NS,
    LOW_SHARE,
    PAUSE_EVERY_NS,
    PAUSE_NS_MAX,
    PAUSES_MAX,
    PROBATION_NS,
    PROBATION_NS_MAX,
    SICK_NS,
    STEADY_NS,
    WINDOW_NS,
    Scene,
    StallPolicy,
    low_ns,
)
from radiosync.timeline import PlayState
from radiosync.units import NS_PER_MS, NS_PER_S
from radiosync.wire.messages import ListenerState

TICK_NS = 100 * NS_PER_MS
FULL_MS = 40_000
SCENE = Scene(
    playing=True, stretch=(1, 0), buffer_ns=45 * NS_PER_S, left_ns=None, healthy=True, resume_ns=800 * NS_PER_MS
)


class House:
    """Listeners that report once a second, and the policy that looks at them ten times as often."""

    def __init__(self, share=0.0, count=4, age_s=None):
        self.policy = StallPolicy(share)
        self.table = ListenerTable(10, 2000 * NS_PER_MS, 30 * NS_PER_S)
        self.now = 1_000 * NS_PER_S
        self.says = {}
        self.silent = set()
        self.scene = SCENE
        self.obeys = True
        self.events = []
        for number in range(1, count + 1):
            self.come(number)
        self.run(STEADY_NS / NS_PER_S + 1 if age_s is None else age_s)

    def come(self, number, **values):
        self.says[number] = {"name": f"l{number}", "listener_id": number, "buffer_ms": FULL_MS} | values

    def low(self, *numbers, ms=1000, **values):
        for number in numbers:
            self.says[number] |= {"buffer_ms": ms} | values

    def full(self, *numbers):
        self.low(*numbers, ms=FULL_MS, state=ListenerState.PLAYING)

    def run(self, seconds):
        """Let time pass; return what was decided, with the time since the beginning."""
        began, decided = self.now, []
        for _ in range(round(seconds * NS_PER_S / TICK_NS)):
            if self.now % NS_PER_S == 0:
                for number, said in self.says.items():
                    if number not in self.silent:
                        self.table.heard((f"10.0.0.{number}", 1), a_report(**said), self.now)
            for event in self.policy.look(self.table, self.scene, self.now):
                decided.append(((self.now - began) / NS_PER_S, event))
                if self.obeys and isinstance(event, GroupPaused):
                    self.scene = replace(self.scene, playing=False)
                elif self.obeys and isinstance(event, GroupResumed):
                    self.scene = replace(self.scene, playing=True, stretch=(1, self.now))
            self.now += TICK_NS
        self.events += decided
        return decided

    def paused(self, seconds):
        """Say after how many seconds a pause was decided within the next so many; None if none was."""
        return next((at for at, event in self.run(seconds) if isinstance(event, GroupPaused)), None)


def test_who_is_low_for_more_than_a_second_stops_everybody():
    it = House()
    it.low(2)
    ((at, event),) = it.run(5)
    assert LOW_FOR_NS / NS_PER_S < at < LOW_FOR_NS / NS_PER_S + 1
    assert event == GroupPaused(names=("l2",), seconds=PAUSE_NS_MAX / NS_PER_S)
    assert [report.name for report in it.policy.hold.blockers.values()] == ["l2"]


def test_a_moment_of_it_stops_nobody():
    it = House()
    for _ in range(5):
        it.low(2)
        it.run(1)
        it.full(2)
        it.run(2)
    assert it.events == []


@pytest.mark.parametrize(("buffer_s", "least_s"), [(45.0, 3.0), (12.0, 3.0), (2.0, 0.5)])
def test_low_is_three_seconds_or_a_quarter_of_a_short_buffer(buffer_s, least_s):
    assert low_ns(round(buffer_s * NS_PER_S)) == least_s * NS_PER_S == min(LOW_NS, buffer_s * NS_PER_S / LOW_SHARE)
    for ms, stops in ((least_s * 1000 + 1100, False), (least_s * 1000 - 1, True)):
        it = House()
        it.scene = replace(it.scene, buffer_ns=round(buffer_s * NS_PER_S))
        it.low(2, ms=round(ms))
        assert (it.paused(5) is not None) is stops


def test_who_is_muted_is_low_at_once():
    it = House()
    it.low(2, state=ListenerState.MUTED, ms=20_000)
    assert it.paused(3) == 0


def test_who_falls_silent_is_reckoned_to_play_on():
    it = House()
    it.full(2)
    it.low(2, ms=8_000)
    it.run(2)
    it.silent.add(2)
    assert it.paused(20) == pytest.approx(8 - 1 - 3 + 1, abs=1.2)


@pytest.mark.parametrize(
    ("share", "low", "stops"),
    [
        (0.0, 1, True),
        (0.2, 1, True),
        (0.21, 1, False),
        (0.5, 2, False),
        (0.5, 3, True),
        (1.0, 4, False),
        (1.0, 5, True),
    ],
)
def test_so_many_of_five_must_be_low(share, low, stops):
    it = House(share, count=5)
    it.low(*range(1, low + 1))
    assert (it.paused(5) is not None) is stops


def test_who_comes_never_counts_and_who_just_came_neither():
    it = House(age_s=STEADY_NS / NS_PER_S + 5)
    it.come(9, state=ListenerState.SYNCING, buffer_ms=0)
    it.run(3)
    it.low(9, state=ListenerState.BUFFERING, ms=0)
    it.run(3)
    it.full(9)
    it.run(STEADY_NS / NS_PER_S - 5)
    it.low(9)
    assert it.paused(3) is None
    it.full(9)
    it.run(STEADY_NS / NS_PER_S)
    it.low(9)
    assert it.paused(5) is not None


def test_who_has_never_had_a_buffer_since_a_jump_is_not_low():
    """A jump empties everybody's."""
    it = House()
    it.scene = replace(it.scene, stretch=(2, 1_000_000))
    it.low(1, 2, 3, 4)
    assert it.paused(8) is None
    it.full(1, 2, 3, 4)
    it.run(2)
    it.low(1, 2, 3, 4)
    assert it.paused(5) is not None


def test_a_slow_listener_does_not_count():
    it = House()
    it.says[2]["rtt_ns"] = 3_000 * NS_PER_MS
    it.run(11)
    it.low(2)
    assert it.paused(5) is None


@pytest.mark.parametrize("left_s", [0.5, 3.0, 6.9])
def test_near_the_end_nobody_is_low(left_s):
    it = House()
    it.scene = replace(it.scene, left_ns=round(left_s * NS_PER_S))
    it.low(1, 2, 3, 4, ms=500)
    assert it.paused(5) is None
    it.scene = replace(it.scene, left_ns=30 * NS_PER_S)
    assert it.paused(5) is not None, "it is low, and there is music left"


def test_a_host_that_is_at_fault_stops_nobody():
    it = House()
    it.scene = replace(it.scene, healthy=False)
    for _ in range(3):
        it.low(1, 2, 3, 4)
        assert it.paused(8) is None
        it.full(1, 2, 3, 4)
        it.run(STEADY_NS / NS_PER_S + 2)
    it.scene = SCENE
    it.run(8)
    assert it.events == []
    it.low(2)
    assert it.paused(4) is not None, "and those were no stalls of theirs"


# --- the pause --------------------------------------------------------------------------------------------------------


def test_it_goes_on_when_they_have_twice_as_much():
    it = House()
    it.low(2)
    it.run(3)
    assert it.policy.hold is not None
    it.low(2, ms=2 * LOW_NS // NS_PER_MS - 1, state=ListenerState.PAUSED)
    assert it.run(2) == []
    it.low(2, ms=2 * LOW_NS // NS_PER_MS)
    ((at, event),) = it.run(2)
    assert at <= 1
    assert event == GroupResumed(left_behind=())
    assert it.policy.hold is None


def test_it_goes_on_without_who_is_still_low_in_time_to_be_heard_after_ten_seconds():
    it = House()
    it.low(2)
    assert it.paused(3) is not None
    it.events.clear()
    it.run(20)
    ((_, event),) = it.events
    assert event == GroupResumed(left_behind=("l2",))


@pytest.mark.parametrize("resume_s", [0.8, 3.0, 30.0])
def test_no_pause_is_longer_than_ten_seconds(resume_s):
    it = House()
    it.scene = replace(it.scene, resume_ns=round(resume_s * NS_PER_S))
    it.low(2)
    decided = it.run(30)
    (began, _), (ended, event) = decided
    assert isinstance(event, GroupResumed)
    assert ended - began == pytest.approx(max(0.1, PAUSE_NS_MAX / NS_PER_S - resume_s), abs=0.11)


def test_enough_of_them_are_enough():
    """With half of four needed, one that is back is enough to go on without the other."""
    it = House(0.5)
    it.low(1, 2)
    it.run(3)
    it.full(1)
    assert [event for _, event in it.run(2)] == [GroupResumed(left_behind=("l2",))]


def test_what_was_said_before_the_pause_is_no_recovery():
    it = House()
    it.low(2, ms=20_000)
    it.run(2)
    it.silent.add(2)
    assert it.paused(20) is not None
    assert it.run(3) == [], "nothing has been heard of it"
    it.silent.clear()
    assert [event for _, event in it.run(2)] == [GroupResumed(left_behind=())]


def test_who_leaves_is_not_waited_for():
    it = House()
    it.low(2)
    it.run(3)
    del it.says[2]
    it.table.remove(("10.0.0.2", 1))
    assert [event for _, event in it.run(1)] == [GroupResumed(left_behind=())]


def test_a_person_overrides_it():
    it = House()
    it.low(2)
    it.run(3)
    assert it.policy.override()
    assert it.policy.hold is None
    assert not it.policy.override()
    assert it.run(15) == [], "it does not go on by itself"


# --- the bounds -------------------------------------------------------------------------------------------------------


def stop_by(it, number):
    """Let a listener run low; return when everybody paused for it, if they did, and let it be well again."""
    it.low(number)
    began, at = it.now, it.paused(4)
    it.full(number)
    it.run(4)
    return None if at is None else began + at * NS_PER_S


def test_one_pause_a_minute_and_three_in_ten_minutes():
    it = House(count=40)
    paused_at = []
    for number in range(1, 41):
        it.run(STEADY_NS / NS_PER_S)
        paused_at.append(stop_by(it, number))
    assert paused_at[1] is None, "too soon"
    pauses = [at for at in paused_at if at is not None]
    assert all(b - a >= PAUSE_EVERY_NS for a, b in pairwise(pauses))
    assert all(b - a >= WINDOW_NS for a, b in zip(pauses, pauses[PAUSES_MAX:], strict=False))
    assert len(pauses) >= 2 * PAUSES_MAX


def test_a_network_that_stays_dead_costs_one_pause():
    it = House()
    it.low(2, state=ListenerState.MUTED, ms=0)
    it.run(1800)
    assert [type(event) for _, event in it.events] == [GroupPaused, GroupResumed]


def test_who_is_low_for_long_is_not_paused_for_later():
    """Two are needed; when the second runs low the first has been muted for a while."""
    it = House(0.5)
    it.low(1, state=ListenerState.MUTED, ms=0)
    it.run(PAUSE_NS_MAX / NS_PER_S + 1)
    it.low(2)
    assert it.paused(8) is None
    it = House(0.5)
    it.low(1, state=ListenerState.MUTED, ms=0)
    it.run(PAUSE_NS_MAX / NS_PER_S - 5)
    it.low(2)
    assert it.paused(4) is not None


def test_two_stalls_are_probation_which_doubles():
    it = House()
    it.obeys = False
    began, lengths = [], []
    for _ in range(7):
        it.policy.override()
        for _ in range(2):
            it.full(2)
            it.run(STEADY_NS / NS_PER_S + 2)
            it.low(2)
            for at, event in it.run(4):
                if isinstance(event, ProbationBegan):
                    began.append(at)
                    lengths.append(event.seconds)
                    assert it.policy.probation_ns(2, it.now) > 0
    minutes = PROBATION_NS / NS_PER_S
    assert lengths == [min(minutes * 2**i, PROBATION_NS_MAX / NS_PER_S) for i in range(len(lengths))]
    assert len(lengths) >= 5


def test_on_probation_nobody_pauses_for_it_and_afterwards_they_do():
    it = House()
    assert stop_by(it, 2) is not None
    it.run(PAUSE_EVERY_NS / NS_PER_S)
    it.events.clear()
    assert stop_by(it, 2) is None, "the second stall"
    assert [event.name for _, event in it.events if isinstance(event, ProbationBegan)] == ["l2"]
    it.run(PROBATION_NS / NS_PER_S - 60)
    assert stop_by(it, 2) is None
    it.low(3)
    assert it.paused(4) is not None, "for others they do"
    it.full(3)
    it.run(WINDOW_NS / NS_PER_S)
    assert stop_by(it, 2) is not None


def test_two_stalls_far_apart_are_no_probation():
    it = House()
    assert stop_by(it, 2) is not None
    it.run(WINDOW_NS / NS_PER_S)
    assert stop_by(it, 2) is not None


def test_nothing_is_remembered_of_who_is_gone():
    it = House(count=30)
    for number in list(it.says):
        del it.says[number]
        it.table.remove((f"10.0.0.{number}", 1))
    it.run(0.1)
    assert len(it.policy._members) == 0


# --- in a session -----------------------------------------------------------------------------------------------------


def house_of(driven, count=4, live=False, **keys):
    it = driven(live=live, **{"radio_sync.underrun_policy": "pause", "radio_sync.underrun_share": 0.0} | keys)
    for number in range(1, count + 1):
        it.come((f"10.0.0.{number}", number), buffer_ms=FULL_MS)
    it.run(STEADY_NS / NS_PER_S + 6)
    return it


def events_of(it, *kinds):
    found = []
    while (event := it.session.next_event()) is not None:
        if isinstance(event, kinds):
            found.append(event)
    return found


def set_low(it, number, **values):
    it.here[(f"10.0.0.{number}", number)] |= {"buffer_ms": 500} | values


@pytest.mark.parametrize("policy", ["pause", "mute"])
def test_everybody_pauses_and_goes_on_only_if_that_is_the_policy(driven, policy):
    it = house_of(driven, **{"radio_sync.underrun_policy": policy})
    before = it.session.transport.newest
    set_low(it, 2)
    it.run(4)
    paused = it.session.transport.newest
    if policy == "mute":
        assert paused is before
        return
    assert paused.state is PlayState.PAUSED
    assert [event.names for event in events_of(it, GroupPaused)] == [("10.0.0.2",)]
    for said in it.here.values():
        said["state"] = ListenerState.PAUSED
    it.run(PAUSE_NS_MAX / NS_PER_S)
    assert [event.left_behind for event in events_of(it, GroupResumed)] == [("10.0.0.2",)]
    resumed = it.session.transport.newest
    assert resumed.playing
    assert resumed.media_frame == paused.media_frame
    assert 8 * NS_PER_S < resumed.effective_at - paused.effective_at <= PAUSE_NS_MAX
    it.run(120)
    assert it.session.transport.newest is resumed


@pytest.mark.parametrize(("share", "stops"), [(0.25, True), (0.3, False)])
def test_underrun_share_is_how_many_must_be_low(driven, share, stops):
    it = house_of(driven, **{"radio_sync.underrun_share": share})
    set_low(it, 2)
    it.run(4)
    assert it.session.transport.newest.playing is not stops


@pytest.mark.parametrize("order", ["pause", "resume", "stop"])
def test_what_a_person_orders_takes_effect_at_once(driven, order):
    it = house_of(driven)
    set_low(it, 2)
    it.run(4)
    assert not it.session.transport.newest.playing
    if order == "resume":
        assert it.session.resume(it.now)
        assert it.session.stall.policy.hold is None
        it.run(1.5)
        assert it.session.transport.newest.playing
        it.run(15)
        assert events_of(it, GroupResumed) == []
        return
    state = PlayState.PAUSED if order == "pause" else PlayState.STOPPED
    assert it.session.pause(it.now, state=state), "it was the policy's pause and is a person's now"
    assert not it.session.pause(it.now, state=state)
    it.run(30)
    assert not it.session.transport.newest.playing, "until the person says so"


def test_a_late_source_and_a_host_that_stood_still_are_the_host_s_fault(driven):
    it = house_of(driven)
    it.session.counters.source_gaps += 1
    set_low(it, 2)
    it.run(SICK_NS / NS_PER_S - 1)
    assert it.session.transport.newest.playing
    it = house_of(driven)
    it.now += 2 * NS_PER_S
    set_low(it, 2)
    it.run(SICK_NS / NS_PER_S - 1)
    assert it.session.transport.newest.playing
    it = house_of(driven)
    it.session.audio_wanted = lambda _now: False
    it.run(41)
    assert it.session.buffered_ns(it.now) < 2 * LOW_NS
    set_low(it, 2)
    it.run(3)
    assert it.session.transport.newest.playing, "the host has no more to give"


def test_a_live_source_is_never_paused(driven):
    it = house_of(driven, live=True, **{"radio_sync.buffer_duration": 8.0})
    assert it.session.transport.newest.effective_at < it.now
    set_low(it, 2)
    it.run(4)
    assert it.session.transport.newest.playing
    assert events_of(it, GroupPaused) == []


def test_who_runs_dry_is_named_whatever_the_policy(driven):
    it = house_of(driven, **{"radio_sync.underrun_policy": "mute"})
    set_low(it, 2, state=ListenerState.MUTED)
    it.run(2)
    set_low(it, 2, state=ListenerState.PLAYING)
    it.run(2)
    assert [(event.name, event.muted) for event in events_of(it, ListenerMuted)] == [
        ("10.0.0.2", True),
        ("10.0.0.2", False),
    ]
