"""What a calibration tells a person."""

from types import SimpleNamespace

import pytest

from radiosync.audio.arrivals import Arrival, Findings
from radiosync.audio.probe import make_plan
from radiosync.drivers.calibration import Calibration
from radiosync.host.listeners import Status
from radiosync.ui.calibrate import GATHER_NS, PATIENCE_NS, CalibrationError, _names, _Player, solos_of, tell
from radiosync.units import NS_PER_S
from radiosync.wire.messages import ListenerState


def arrival(delay_ms, fault=None):
    return Arrival(delay_s=delay_ms / 1000, spread_s=2e-5, snr_db=41.4, heard=4, recorded=4, fault=fault)


def told(arrivals, offsets_ms, **more):
    names = ("bath", "kitchen", "loft")[: len(arrivals)]
    calibration = Calibration(plan=make_plan(len(arrivals), 4), names=names, offsets_ms=offsets_ms)
    values = {"speed": 1 + 12e-6, "out_of_turn": False, "intruders": (), "clipped": False}
    lines = []
    good = tell(calibration, Findings(arrivals=tuple(arrivals), **values | more), lines.append)
    return good, lines


def test_the_cure_is_added_to_what_each_has():
    good, lines = told([arrival(5.0), arrival(12.34), arrival(1.0)], (0.0, 7.0, -3.0))
    assert good
    assert [line.split()[0] for line in lines[:4]] == ["listener", "bath", "kitchen", "loft"]
    assert [line.split("4/4")[1].strip() for line in lines[1:4]] == [
        "0, as it is",  # the one in the middle
        "-0.34 instead of 7",
        "1.00 instead of -3",
    ]
    assert ["+4.00 ms" in lines[1], "+11.34 ms" in lines[2], "+0.00 ms" in lines[3]] == [True] * 3
    assert "0.02 ms" in lines[1]
    assert "41 dB" in lines[1]
    assert "2.9 ms" in lines[4]
    assert "+12 ppm" in lines[4]


def test_a_cure_that_rounds_to_nothing_is_nothing():
    _, lines = told([arrival(5.0), arrival(12.001)], (0.0, 7.0))
    assert lines[2].endswith("  0.00 instead of 7")


def test_who_was_not_measured_is_named_and_leaves_the_others_theirs():
    good, lines = told([arrival(0, "not heard"), arrival(9.0), arrival(7.0)], (0.0, 0.0, 0.0))
    assert not good
    assert lines[1].endswith("(not heard)")
    assert "+" not in lines[1]
    assert [line.split("4/4")[1].strip() for line in lines[2:4]] == ["-2.00 instead of 0", "0, as it is"]


def test_nobody_measured_is_no_crash():
    good, lines = told([arrival(0, "not heard")], (0.0,))
    assert not good
    assert lines[1].endswith("(not heard)")


@pytest.mark.parametrize(("intruders", "who"), [((1,), "kitchen"), ((0, 2), "bath, loft"), ((), "somebody")])
def test_who_played_out_of_turn_is_named_and_no_offset_is_given(intruders, who):
    good, lines = told([arrival(1), arrival(2), arrival(3)], (0.0,) * 3, out_of_turn=True, intruders=intruders)
    assert not good
    (line,) = lines
    assert line.startswith(f"{who} played in turns that were others'")


def test_stretches_are_the_plan_s_turns():
    plan = make_plan(2, 2)
    solos = solos_of(plan, [77, 88])
    assert [solo.listener_id for solo in solos] == [0, 77, 88, 0, 88, 77]
    assert [(solo.first_frame, solo.frames) for solo in solos] == [(t.frame, plan.turn_frames) for t in plan.turns]


def test_two_of_one_name_are_told_apart():
    rows = [
        SimpleNamespace(address=(f"10.0.0.{i}", 5000), report=SimpleNamespace(name=name))
        for i, name in enumerate(["den", "den", "loft"])
    ]
    assert _names(rows) == ("den", "den (10.0.0.1)", "loft")


class Table(list):
    """A listeners' table in which everybody is there."""

    def status(self, row, now):
        return Status.ACTIVE


@pytest.fixture
def gathering():
    """A player whose session is a table alone; `began` says with whom it began, and when."""
    player = object.__new__(_Player)
    player._calibration = player._began_at = None
    player._changed_at, player._ids = 0, set()
    player._driver = SimpleNamespace(session=SimpleNamespace(listeners=Table()))
    player.began = []
    player._begin = lambda rows, now: player.began.append(([row.report.name for row in rows], now))
    return player


def listens(name, state=ListenerState.BUFFERING):
    return SimpleNamespace(report=SimpleNamespace(name=name, listener_id=hash(name), state=state))


def test_it_begins_when_nobody_has_come_for_a_while(gathering):
    table = gathering._driver.session.listeners
    table.append(listens("loft"))
    gathering._gather(0)
    table.append(listens("bath"))
    gathering._gather(4 * NS_PER_S)
    gathering._gather(4 * NS_PER_S + GATHER_NS)
    assert not gathering.began
    gathering._gather(4 * NS_PER_S + GATHER_NS + 1)
    assert gathering.began == [(["bath", "loft"], 4 * NS_PER_S + GATHER_NS + 1)]


def test_who_does_not_know_the_time_yet_is_waited_for_but_not_for_ever(gathering):
    gathering._driver.session.listeners.append(listens("loft", ListenerState.SYNCING))
    for at in (0, GATHER_NS + 1, 2 * GATHER_NS):
        gathering._gather(at)
    assert not gathering.began
    gathering._gather(2 * GATHER_NS + 1)
    assert gathering.began


def test_where_nobody_listens_it_says_what_to_do(gathering):
    gathering._gather(0)
    gathering._gather(PATIENCE_NS)
    with pytest.raises(CalibrationError, match="start radiosync listen"):
        gathering._gather(PATIENCE_NS + 1)
