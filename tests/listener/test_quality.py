"""When a listener changes its quality: a link in numbers, a slot of a quarter of a second at a time."""

from dataclasses import replace

import pytest

from radiosync.listener.quality import (
    CLIMB_NS,
    CLIMB_NS_MAX,
    NEXT_NS,
    PATIENCE_NS,
    PROBE_NS,
    SLOT_NS,
    SLOTS,
    URGENT_NS,
    QualityControl,
    Supply,
)
from radiosync.timeline import PlayState, Timeline
from radiosync.units import NS_PER_S
from radiosync.wire.messages import Audio, ChunkHeader, TierOffer

RATE = 44_100
CHUNK = RATE // 2
SYMBOL = 1000
KBPS = {0: 800, 1: 400, 2: 160, 3: 80}  # of coded audio; a chunk has 50, 25, 10 and 5 symbols
OFFERS = tuple(TierOffer(tier=t, kbps=round(KBPS[t] * 1.14), active=False, next_seq=0) for t in (1, 2, 3))
TIMELINE = Timeline(version=1, epoch=1, state=PlayState.PLAYING, media_frame=0, effective_at=0)
FINE = Supply(lacking=False, ahead_ns=10 * NS_PER_S, buffer_ns=45 * NS_PER_S, concealed=0)
LACKING = replace(FINE, lacking=True)


def symbol(tier, seq, *, repair=False):
    count = KBPS[tier] // 16
    header = ChunkHeader(
        seq=seq,
        epoch=1,
        first_frame=seq * CHUNK,
        frames=CHUNK,
        play_at=0,
        song_id=1,
        song_frame=0,
        buffer_position_ms=0,
        stamped_at=0,
        codec=2,
        tier=tier,
        coded_bytes=count * SYMBOL,
        symbol_bytes=SYMBOL,
        symbols=count,
    )
    return Audio(session=1, timeline=TIMELINE, chunk=header, index=0, repair=repair, payload=bytes(SYMBOL))


class Link:
    """A link that carries so many kbit/s of coded audio; the host sends each tier that is listened to."""

    def __init__(self, **options):
        self.control = QualityControl(options.pop("enabled", True), RATE)
        self.control.offers = options.pop("offers", OFFERS)
        self.now = 1000 * NS_PER_S
        self.said = []
        self.slots = 0

    def run(self, seconds, kbps=10_000, supply=None, *, sent=1.0):
        """Let time pass; what does not fit is lost, and makes the listener lack something unless `supply` says."""
        for _ in range(int(seconds * NS_PER_S) // SLOT_NS):
            self.slots += 1
            tiers = self.control.tiers
            wanted = sum(KBPS[t] for t in tiers) * sent
            share = min(1.0, kbps / wanted) if wanted else 0.0
            for tier in tiers:
                count = round(KBPS[tier] * sent * share / 8 * SLOT_NS / NS_PER_S * 1000 / SYMBOL)
                for _ in range(count):
                    self.control.note(symbol(tier, self.slots // 2), new=True)
            self.now += SLOT_NS
            facts = supply or (LACKING if share < 1 else FINE)
            if self.control.slot_over(self.now):
                reason = self.control.decide(facts, self.now)
                if reason is not None:
                    self.said.append((self.now, self.control.tier, reason))
        return self

    @property
    def tier(self):
        return self.control.tier


def test_a_link_that_carries_the_stream_is_left_alone():
    link = Link().run(120)
    assert link.said == []
    assert link.control.tiers == (0,)


def test_loss_that_is_repaired_is_no_reason():
    assert Link().run(120, supply=LACKING).said == []


def test_a_link_that_carries_less_is_left_for_what_fits():
    link = Link().run(5).run(12, kbps=300)
    assert [tier for _, tier, _ in link.said] == [2]
    assert "kbit/s" in link.said[0][2]


@pytest.mark.parametrize(("buffer_s", "patience_ns"), [(45, PATIENCE_NS), (12, 2 * NS_PER_S), (2, URGENT_NS)])
def test_it_is_waited_for_that_long(buffer_s, patience_ns):
    link = Link().run(5)
    began_at = link.now
    link.run(20, kbps=300, supply=replace(LACKING, buffer_ns=buffer_s * NS_PER_S))
    waited_ns = link.said[0][0] - began_at
    assert patience_ns <= waited_ns <= patience_ns + (SLOTS + 2) * SLOT_NS


@pytest.mark.parametrize("urgent", ["hole", "heard"])
def test_a_hole_that_is_near_or_heard_hurries(urgent):
    link = Link().run(5)
    began_at = link.now
    for number in range(12):
        supply = replace(LACKING, ahead_ns=NS_PER_S) if urgent == "hole" else replace(LACKING, concealed=number + 1)
        link.run(0.25, kbps=300, supply=supply)
    assert link.tier == 2
    assert link.said[0][0] - began_at <= URGENT_NS + (SLOTS + 2) * SLOT_NS < PATIENCE_NS


def test_a_short_buffer_is_low_by_its_own_measure():
    near = replace(LACKING, ahead_ns=10 * NS_PER_S, buffer_ns=27 * NS_PER_S)
    assert Link().run(5).run(4, kbps=300, supply=near).said == []  # ten seconds of twenty-seven are not low
    assert Link().run(5).run(4, kbps=300, supply=replace(near, ahead_ns=8 * NS_PER_S)).tier == 2


def test_an_outage_is_no_reason():
    assert Link().run(5).run(60, kbps=0, supply=replace(LACKING, ahead_ns=0)).said == []


def test_filling_up_after_an_outage_is_no_reason():
    link = Link().run(5).run(20, kbps=0, supply=LACKING)
    assert link.run(30, supply=replace(LACKING, ahead_ns=0), sent=2.0).said == []


def test_a_source_that_stands_still_is_no_reason():
    assert Link().run(5).run(60, sent=0.0, supply=LACKING).said == []


def test_the_last_tier_is_kept_however_little_comes():
    link = Link().run(5).run(60, kbps=30)
    assert link.tier == 3
    assert len(link.said) == 1


def test_nothing_changes_where_it_is_switched_off_or_nothing_is_offered():
    assert Link(enabled=False).run(5).run(60, kbps=100).said == []
    assert Link(offers=()).run(5).run(60, kbps=100).said == []


def test_better_tiers_are_tried_one_after_the_other_with_the_last_one_at_hand():
    link = Link().run(5).run(9, kbps=300)
    down_at = link.said[0][0]
    link.run(30)
    tried_at, tier, _ = link.said[1]
    assert tier == 1
    assert CLIMB_NS <= tried_at - down_at <= CLIMB_NS + 2 * SLOT_NS
    assert link.control.tiers in {(1, 2), (1,)}
    link.run(30)
    assert link.tier == 0
    assert link.said[2][0] - tried_at >= PROBE_NS + NEXT_NS
    assert link.run(20).control.tiers == (0,)
    assert len(link.said) == 3


def test_a_trial_that_fails_goes_back_at_once_and_the_next_waits_twice_as_long():
    link = Link().run(5).run(9, kbps=300)
    link.run(200, kbps=300)
    tiers = [tier for _, tier, _ in link.said]
    assert tiers[:6] == [2, 1, 2, 1, 2, 1]
    times = [at for at, _, _ in link.said]
    trials = [times[i + 1] - times[i] for i in (1, 3)]
    assert all(ns <= URGENT_NS + (SLOTS + 2) * SLOT_NS for ns in trials)
    waits = [times[i + 1] - times[i] for i in (0, 2, 4)]
    assert waits[1] >= 2 * CLIMB_NS
    assert waits[2] >= 4 * CLIMB_NS > waits[1]


def test_the_wait_has_an_end():
    link = Link().run(5).run(9, kbps=300)
    link.run(4000, kbps=300)
    times = [at for at, _, _ in link.said]
    waits = [b - a for a, b in zip(times[2::2], times[3::2], strict=False)]
    assert max(waits) <= CLIMB_NS_MAX + 2 * SLOT_NS
    assert waits[-1] >= CLIMB_NS_MAX


def test_a_loop_that_overslept_judges_nothing():
    link = Link().run(5)
    for _ in range(30):
        link.now += NS_PER_S
        link.run(0.25, kbps=300)
    assert link.said == []
