from collections import deque
from dataclasses import dataclass, field, replace

import pytest
from reports import a_report

from radiosync.host import adapt
from radiosync.host.adapt import (
    CALM_NS,
    GROWTH,
    JITTER_FACTOR,
    KEEP_NS,
    LIVE_TROUBLES,
    MARGIN,
    PERIOD_NS,
    QUORUM,
    SETTLE_NS,
    SHRINK,
    BufferDepth,
    StreamState,
)
from radiosync.host.events import BufferChanged
from radiosync.host.listeners import ListenerRow
from radiosync.units import NS_PER_MS, NS_PER_S
from radiosync.wire.messages import ListenerState

START_NS, MAX_NS = 2 * NS_PER_S, 45 * NS_PER_S
CHUNK_NS = 200 * NS_PER_MS


@dataclass
class Party:
    """A controller and its listeners, whose reports say that all is well until they are changed."""

    depth_ns: int = START_NS
    depth_ns_max: int = MAX_NS
    live: bool = False
    count: int = 1
    now: int = 1_795_000_000 * NS_PER_S
    version: int = 2
    playing: bool = True
    behind_ns: int = 0
    """How much less than the depth the host holds."""
    rows: list[ListenerRow] = field(default_factory=list)
    changes: list[BufferChanged] = field(default_factory=list)

    def __post_init__(self):
        self.depth = BufferDepth(self.depth_ns, self.depth_ns_max, self.now, live=self.live)
        for number in range(self.count):
            report = a_report(name=f"room{number}", listener_id=number + 1)
            address = (f"10.0.0.{number}", 5000)
            self.rows.append(ListenerRow(address, deque([NS_PER_MS] * 10, maxlen=10), self.now, report))

    def say(self, *numbers, **changes):
        """Change the reports of some listeners; values are added to the counters."""
        for number in numbers:
            row = self.rows[number]
            counters = ("symbols_lost", "chunks_late", "chunks_concealed")
            added = {key: getattr(row.report, key) + value for key, value in changes.items() if key in counters}
            row.report = replace(row.report, **(changes | added))

    def holes(self, *numbers, chunks=1):
        self.say(*numbers, symbols_lost=5, chunks_concealed=chunks)

    def period(self, *holes, used_ns=0):
        """Let a period pass in which the listeners `holes` miss a chunk, and all use up `used_ns` of the depth."""
        self.holes(*holes)
        for row in self.rows:
            ready_ns = max(0, self.depth.depth_ns - self.behind_ns - 2 * CHUNK_NS - used_ns)
            row.report = replace(row.report, buffer_ms=ready_ns // NS_PER_MS)
        self.now += PERIOD_NS
        state = StreamState(
            version=self.version,
            playing=self.playing,
            ahead_ns=self.depth.depth_ns - self.behind_ns,
            chunk_ns=CHUNK_NS,
        )
        change = self.depth.update(self.rows, state, self.now)
        if change is not None:
            assert change.depth_ns == self.depth.depth_ns
            self.changes.append(change)
        return change

    def calm(self, ns):
        """Let time pass in which nothing goes wrong; return the first change."""
        until = self.now + ns
        while self.now < until:
            change = self.period()
            if change is not None:
                return change
        return None

    def settled(self):
        """Wait until reports count again."""
        assert self.calm(SETTLE_NS + self.depth.depth_ns + PERIOD_NS) is None
        return self


@pytest.fixture
def party():
    return lambda **more: Party(**more).settled()


# --- deeper -----------------------------------------------------------------------------------------------------------


def test_while_all_is_well_nothing_changes(party):
    it = party(count=3)
    assert it.calm(600 * NS_PER_S) is None
    assert (it.depth.depth_ns, it.depth.reason) == (START_NS, "as configured")


def test_music_that_was_lost_makes_the_buffer_deeper_by_half(party):
    change = party().period(0)
    assert change == BufferChanged(
        before_ns=START_NS, depth_ns=round(GROWTH * START_NS), reason="room0: 1 chunk missing when due"
    )


def test_what_was_missing_for_long_makes_it_deeper_at_once_but_not_more_than_twice(party):
    it = party()
    it.holes(0, chunks=6)
    assert it.period().depth_ns == START_NS + 6 * CHUNK_NS
    it = party()
    it.holes(0, chunks=1000)
    assert it.period().depth_ns == 2 * START_NS


def test_music_that_came_late_is_missing_as_well(party):
    it = party()
    it.say(0, chunks_late=3, chunks_concealed=3)
    assert it.period() is not None


def test_what_was_lost_before_is_missing_when_it_is_due(party):
    it = party(depth_ns=10 * NS_PER_S)
    it.say(0, symbols_lost=5)
    assert it.calm(8 * NS_PER_S) is None, "it may still be repaired"
    it.say(0, chunks_concealed=1)
    assert it.period() is not None


def test_holes_that_the_source_left_are_not_the_networks(party):
    it = party()
    it.say(0, symbols_lost=5)
    assert it.calm(6 * NS_PER_S) is None
    it.say(0, chunks_concealed=4)
    assert it.period() is None


def test_what_was_repaired_in_time_changes_nothing(party):
    it = party()
    for _ in range(20):
        it.say(0, symbols_lost=50, symbols_repaired=50)
        assert it.period() is None


def test_jitter_that_comes_near_the_depth(party):
    near_us = round(START_NS / MARGIN / JITTER_FACTOR / 1000)
    it = party()
    it.say(0, jitter_us=near_us - 1)
    assert it.period() is None
    it.say(0, jitter_us=near_us + 1)
    change = it.period()
    assert change.depth_ns == round(GROWTH * START_NS)
    assert change.reason == "room0: jitter of 333 ms"


def test_jitter_far_beyond_the_depth_is_followed_at_once(party):
    it = party()
    it.say(0, jitter_us=2_000_000)
    assert it.period().depth_ns == round(MARGIN * JITTER_FACTOR * 2 * NS_PER_S)


def test_jitter_that_only_fades_is_over(party):
    """One datagram that was very late is remembered for long."""
    it = party(live=True)
    changes = []
    for number in range(30):
        it.say(0, jitter_us=round(2_000_000 * 0.88**number))
        changes.append(it.period())
    assert not any(changes)


def test_round_trips_that_differ_by_nearly_the_depth(party):
    it = party()
    it.rows[0].samples_ns[3] = 5 * NS_PER_S
    assert it.period() is None, "one is an accident"
    it.rows[0].samples_ns[7] = 2 * NS_PER_S + NS_PER_MS
    change = it.period()
    assert change.depth_ns == 3 * NS_PER_S
    assert change.reason == "room0: round trips differ by 2000 ms"


def test_a_buffer_that_is_nearly_used_up(party):
    it = party()
    assert it.period(used_ns=START_NS // 2) is None
    change = it.period(used_ns=START_NS * 7 // 10)
    assert change.reason == "room0: 1.4 s of 2.0 used up"
    assert change.depth_ns == round(GROWTH * START_NS)


def test_a_buffer_that_is_still_being_filled_is_not_used_up():
    it = Party()
    for left_s in (1.4, 1.2, 1.0, 0.9, 0.8, 0.7):
        assert it.period(used_ns=round(left_s * NS_PER_S)) is None


def test_where_the_host_itself_holds_little_listeners_are_not_blamed(party):
    it = party()
    it.behind_ns = START_NS * 3 // 4
    assert it.period() is None
    it.behind_ns = 0
    assert it.period(used_ns=START_NS * 7 // 10) is None, "their reports are older"
    assert it.period(used_ns=START_NS * 7 // 10) is not None


def test_it_grows_to_its_limit_and_says_so(party):
    it = party(depth_ns_max=4 * NS_PER_S)
    it.period(0)
    it.settled().period(0)
    assert [change.depth_ns for change in it.changes] == [3 * NS_PER_S, 4 * NS_PER_S]
    assert it.settled().period(0) is None
    assert it.depth.reason == "as deep as it may be; room0: 1 chunk missing when due"


def test_without_a_choice_nothing_changes(party):
    it = party(depth_ns_max=START_NS)
    assert not any(it.period(0) for _ in range(20))
    assert it.depth.depth_ns == START_NS


def test_after_a_change_it_waits_for_what_comes_of_it(party):
    it = party()
    it.period(0)
    at = it.now
    while it.period(0) is None:
        assert it.now < at + 60 * NS_PER_S
    assert at + SETTLE_NS + it.changes[0].depth_ns <= it.now < at + SETTLE_NS + it.changes[0].depth_ns + 2 * PERIOD_NS


def test_after_a_jump_or_a_pause_it_waits_as_well(party):
    it = party()
    it.version += 1
    assert it.period(0) is None
    assert it.period(0) is None
    it.settled()
    assert it.period(0) is not None


def test_while_nothing_plays_nothing_is_judged(party):
    it = party()
    it.playing = False
    assert not any(it.period(0) for _ in range(20))


# --- whose wish counts ------------------------------------------------------------------------------------------------


def test_a_file_is_read_further_ahead_for_a_single_one_of_many(party):
    assert party(count=40).period(17).reason == "room17: 1 chunk missing when due"


@pytest.mark.parametrize("count", [1, 2, QUORUM])
def test_in_a_small_live_party_each_counts(party, count):
    it = party(count=count, live=True)
    assert it.period(0) is None
    assert it.period(0) is not None


@pytest.mark.parametrize("count", [QUORUM + 1, 2 * QUORUM, 40])
def test_in_a_large_live_party_few_do_not_delay_all(party, count):
    it = party(count=count, live=True)
    few = range(-(-count // QUORUM) - 1)
    assert not any(it.period(*few) for _ in range(20))
    assert it.depth.depth_ns == START_NS
    enough = range(-(-count // QUORUM))
    changes = [it.period(*enough) for _ in range(LIVE_TROUBLES)]
    assert changes[-1] is not None
    assert changes[-1].reason.startswith("room0, room1")


def test_it_becomes_as_deep_as_the_last_who_counts_needs(party):
    it = party(count=8, live=True)
    for _ in range(LIVE_TROUBLES):
        it.say(0, jitter_us=3_000_000)
        it.say(1, jitter_us=700_000)
        it.period()
    assert [change.depth_ns for change in it.changes] == [round(MARGIN * JITTER_FACTOR * 700 * NS_PER_MS)]
    assert it.depth.reason == "room0, room1: jitter of 700 ms"


def test_many_names_are_counted(party):
    reason = party(count=6).period(*range(5)).reason
    assert reason == "room0, room1, room2 and 2 more: 1 chunk missing when due"


@pytest.mark.parametrize("state", [s for s in ListenerState if s not in {ListenerState.PLAYING, ListenerState.MUTED}])
def test_who_does_not_play_is_not_asked(party, state):
    it = party()
    it.say(0, state=state)
    assert not any(it.period(0) for _ in range(5))


def test_who_has_fallen_silent_for_want_of_music_is(party):
    it = party()
    it.say(0, state=ListenerState.MUTED)
    assert it.period(0) is not None


def test_who_hears_a_lower_tier_is_not_asked(party):
    it = party()
    it.say(0, tier=1)
    assert not any(it.period(0) for _ in range(5))


def test_what_happened_before_a_listener_came_or_was_started_anew_does_not_count(party):
    it = party()
    it.say(0, listener_id=77, symbols_lost=1000, chunks_concealed=1000)
    assert it.period() is None
    it.rows[0].report = replace(it.rows[0].report, symbols_lost=3, chunks_concealed=3)  # another session's counters
    assert it.period() is None
    assert it.period(0) is not None


# --- live -------------------------------------------------------------------------------------------------------------


def test_one_accident_does_not_interrupt_something_live(party):
    it = party(live=True)
    for _ in range(5):
        assert it.period(0) is None
        assert it.calm(10 * NS_PER_S) is None


def test_something_live_becomes_shallower_only_in_a_pause_and_then_at_once(party):
    it = party(live=True, depth_ns_max=4 * START_NS)
    it.period(0)
    it.period(0)
    it.settled().period(0)
    it.period(0)
    deep_ns = it.depth.depth_ns
    assert deep_ns == round(GROWTH * round(GROWTH * START_NS))
    assert it.calm(10 * CALM_NS) is None
    it.playing = False
    change = it.period()
    assert (change.before_ns, change.depth_ns) == (deep_ns, START_NS)
    assert change.reason.startswith("paused, and calm for ")
    assert it.period() is None


def test_a_pause_soon_after_trouble_leaves_it_deep(party):
    it = party(live=True)
    it.period(0)
    it.period(0)
    it.settled()
    it.playing = False
    assert it.calm(10 * CALM_NS) is None


def test_after_the_source_was_late_trouble_restores_what_there_should_be(party):
    it = party(live=True)
    it.behind_ns = START_NS // 2
    it.period(0)
    change = it.period(0)
    assert (change.before_ns, change.depth_ns) == (START_NS, START_NS)


# --- back -------------------------------------------------------------------------------------------------------------


def test_when_it_has_been_calm_it_goes_back_slowly(party):
    it = party()
    it.holes(0, chunks=1000)
    it.period()
    while it.depth.depth_ns > START_NS:
        at = it.now
        assert it.calm(10 * CALM_NS) is not None
        assert it.now - at >= CALM_NS
    steps = [change.depth_ns for change in it.changes]
    assert steps[:3] == [2 * START_NS, round(SHRINK * 2 * START_NS), round(SHRINK**2 * 2 * START_NS)]
    assert steps[-1] == START_NS
    assert it.depth.reason == "calm for 60 s"
    assert it.calm(10 * CALM_NS) is None


def test_what_would_be_missed_in_a_shallower_one_keeps_it_deep(party):
    it = party()
    it.period(0)
    it.settled()
    shallower_ns = round(SHRINK * it.depth.depth_ns)
    fits_us = round(shallower_ns / MARGIN / MARGIN / JITTER_FACTOR / 1000)
    it.say(0, jitter_us=fits_us + 1000)
    assert it.calm(5 * CALM_NS) is None
    it.say(0, jitter_us=fits_us - 1000)
    assert it.calm(5 * CALM_NS).depth_ns == shallower_ns


def test_every_disturbance_begins_the_minute_anew(party):
    it = party()
    it.period(0)
    it.settled()
    for _ in range(10):
        assert it.calm(CALM_NS - 3 * PERIOD_NS) is None
        assert it.period(used_ns=it.depth.depth_ns * 6 // 10) is None


def test_who_went_back_too_soon_waits_longer_the_next_time(party):
    it = party()

    def until_back():
        it.settled()
        at = it.now
        assert it.calm(30 * CALM_NS) is not None
        return it.now - at

    it.holes(0, chunks=1000)
    it.period()
    first_ns = until_back()
    it.settled().period(0)
    assert until_back() - first_ns == pytest.approx(CALM_NS, abs=PERIOD_NS)


def test_who_was_cut_off_comes_back_with_what_it_has_missed(party):
    it = party(count=2)
    (cut,) = it.rows[1:]
    del it.rows[1:]
    assert it.calm(10 * NS_PER_S) is None
    it.rows.append(cut)
    it.holes(1, chunks=20)
    assert it.period().reason == "room1: 20 chunks missing when due"


def test_who_has_left_is_forgotten(party, monkeypatch):
    it = party(count=10)
    left = it.rows[3:]
    del it.rows[3:]
    it.calm(KEEP_NS + 2 * PERIOD_NS)
    assert len(it.depth._seen) == 3
    it.rows += left
    it.period()
    monkeypatch.setattr(adapt, "LISTENERS_MAX", 5)
    del it.rows[3:]
    it.period()
    assert len(it.depth._seen) == 5, "bounded, however many come and go"
