"""Arrivals in synthetic rooms: known delays, noise, reverberation, and recorders as they are."""

import numpy as np
import pytest
from rooms import RATE, noisy, record, reverberation, sweep_at

from radiosync.audio.arrivals import find_arrivals, reference_delay_s
from radiosync.audio.probe import LEVEL, make_plan
from radiosync.errors import RecordingError

PLAN = make_plan(3, 4)
DELAYS_S = [0.0123456, 0.0050001, 0.0173333]  # no whole number of samples


def errors_ms(findings, delays_s=DELAYS_S):
    """Return how wrong each delay is against the first listener's."""
    found = np.array([arrival.delay_s for arrival in findings.arrivals])
    return np.abs((found - found[0]) - (np.array(delays_s) - delays_s[0])) * 1000


def room_recording(seed=7, **options):
    rng = np.random.default_rng(seed)
    rooms = [reverberation(rng, RATE, **options) for _ in DELAYS_S]
    return noisy(record(PLAN, DELAYS_S, rooms=rooms), rng, 20)


@pytest.mark.parametrize(("rate", "ppm"), [(48_000, 0), (48_000, -95), (44_100, 80), (16_000, 80), (8_000, -80)])
def test_clean_recordings(rate, ppm):
    findings = find_arrivals(record(PLAN, DELAYS_S, rate=rate, ppm=ppm), rate, PLAN, 3)
    assert max(errors_ms(findings)) < 0.005
    assert findings.speed == pytest.approx(1 + ppm * 1e-6, abs=0.1e-6)
    assert not findings.out_of_turn
    assert not findings.clipped
    for arrival in findings.arrivals:
        assert (arrival.heard, arrival.recorded, arrival.fault) == (4, 4, None)
        assert arrival.spread_s < 5e-6


@pytest.mark.parametrize("snr_db", [40, 20, 0, -15])
def test_noise(snr_db):
    rng = np.random.default_rng(3)
    findings = find_arrivals(noisy(record(PLAN, DELAYS_S), rng, snr_db), RATE, PLAN, 3)
    assert max(errors_ms(findings)) < 0.02
    assert [arrival.fault for arrival in findings.arrivals] == [None] * 3
    for arrival in findings.arrivals:  # the sweep gains 37 dB in this band, divided flat
        assert arrival.snr_db == pytest.approx(snr_db + 39, abs=2)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("room", [{}, {"rt60_s": 1.5}, {"direct": 0.5}])
def test_rooms(seed, room):
    """Strong early reflections; a large hall; a direct sound 6 dB below some of its reflections."""
    findings = find_arrivals(room_recording(seed, **room), RATE, PLAN, 3)
    assert max(errors_ms(findings)) < 0.1
    assert [arrival.fault for arrival in findings.arrivals] == [None] * 3


def test_the_highest_peak_would_be_a_reflection():
    """That the first one is taken is what makes the room above come out right."""
    rng = np.random.default_rng(0)
    response = reverberation(rng, RATE, direct=0.5)
    assert np.argmax(np.abs(response)) > 0.0005 * RATE


def test_a_recorder_of_another_rate_in_a_room():
    rng = np.random.default_rng(5)
    rooms = [reverberation(rng, 44_100) for _ in DELAYS_S]
    recording = noisy(record(PLAN, DELAYS_S, rate=44_100, ppm=80, rooms=rooms), rng, 20)
    findings = find_arrivals(recording, 44_100, PLAN, 3)
    assert max(errors_ms(findings)) < 0.1
    assert findings.speed == pytest.approx(1 + 80e-6, abs=2e-6)


def test_delays_as_of_a_wireless_loudspeaker():
    delays_s = [0.003, 0.24, 0.004]
    findings = find_arrivals(record(PLAN, delays_s, levels=[1.0, 0.05, 0.3]), RATE, PLAN, 3)
    assert max(errors_ms(findings, delays_s)) < 0.005


def test_a_clipped_recording_is_measured_and_said():
    loud = room_recording()
    findings = find_arrivals(np.clip(loud * 12 / np.abs(loud).max(), -1, 1).astype(np.float32), RATE, PLAN, 3)
    assert findings.clipped
    assert max(errors_ms(findings)) < 0.1
    calm = find_arrivals(loud / np.abs(loud).max() * np.float32(0.9), RATE, PLAN, 3)
    assert not calm.clipped


@pytest.mark.parametrize("snr_db", [20, 200])
def test_a_missing_listener_is_named(snr_db):
    recording = noisy(record(PLAN, DELAYS_S, muted=[1]), np.random.default_rng(2), snr_db)
    findings = find_arrivals(recording, RATE, PLAN, 3)
    assert findings.arrivals[1].fault == "not heard"
    assert (findings.arrivals[0].fault, findings.arrivals[2].fault) == (None, None)
    assert errors_ms(findings)[2] < 0.01


def test_a_listener_that_drowns_in_noise_is_named():
    recording = noisy(record(PLAN, DELAYS_S, levels=[1.0, 0.005, 1.0]), np.random.default_rng(2), 10)
    fault = find_arrivals(recording, RATE, PLAN, 3).arrivals[1].fault
    assert fault is not None
    assert "heard" in fault


def test_an_unsteady_listener_is_named():
    halves = [record(PLAN, DELAYS_S), record(PLAN, [DELAYS_S[0], DELAYS_S[1] + 0.004, DELAYS_S[2]])]
    turns = [round((3 + turn.frame / PLAN.rate) * RATE) for turn in PLAN.turns]
    mixed = halves[0].copy()
    for at in turns[1::8]:
        mixed[at : at + 5 * RATE] = halves[1][at : at + 5 * RATE]
    faults = [arrival.fault for arrival in find_arrivals(mixed, RATE, PLAN, 3).arrivals]
    assert faults[0] is None
    assert faults[1] is not None
    assert faults[1].startswith("unsteady: its turns differ by 2.0 ms")


@pytest.mark.parametrize("who", [[1], [2], [0, 1, 2]])
@pytest.mark.parametrize("in_rooms", [False, True])
def test_two_in_one_turn(who, in_rooms):
    """A listener that does not keep silent in the others' turns is found out by the turns of nobody."""
    rng = np.random.default_rng(4)
    rooms = [reverberation(rng, RATE) for _ in DELAYS_S] if in_rooms else None
    recording = record(PLAN, DELAYS_S, rooms=rooms, disobedient=dict.fromkeys(who, PLAN.frames))
    findings = find_arrivals(noisy(recording, rng, 20), RATE, PLAN, 3)
    assert findings.out_of_turn
    assert list(findings.intruders) == who


def test_two_in_one_turn_for_a_round_only():
    """Who was told late has spoilt a round; the other three outvote it."""
    recording = record(PLAN, DELAYS_S, disobedient={1: PLAN.turns[4].frame})
    findings = find_arrivals(noisy(recording, np.random.default_rng(4), 20), RATE, PLAN, 3)
    assert not findings.out_of_turn
    assert max(errors_ms(findings)) < 0.02


@pytest.mark.parametrize(("begin_s", "end_s"), [(2.9, 60), (9, 60), (14, 60), (0, 40), (0, 30), (8.05, 40)])
def test_recordings_that_begin_late_or_end_early(begin_s, end_s):
    """One marker is enough, and of the turns what there is."""
    recording = room_recording()[round(begin_s * RATE) : round(end_s * RATE)]
    findings = find_arrivals(recording, RATE, PLAN, 3)
    assert max(errors_ms(findings)) < 0.1
    assert [arrival.fault for arrival in findings.arrivals] == [None] * 3
    assert sum(arrival.recorded for arrival in findings.arrivals) <= 12


def test_turns_that_are_not_in_the_recording_are_named():
    plan = make_plan(3, 2)
    recording = record(plan, DELAYS_S)[: round(14.5 * RATE)]  # the first marker, nobody and listener 0
    findings = find_arrivals(recording, RATE, plan, 3)
    assert [arrival.fault for arrival in findings.arrivals] == [None, *["its turns are not in the recording"] * 2]


@pytest.mark.parametrize(
    "recording",
    [
        np.zeros(0, np.float32),
        np.zeros(RATE, np.float32),
        np.zeros(30 * RATE, np.float32),
        np.random.default_rng(1).standard_normal(30 * RATE).astype(np.float32) / 10,
        record(PLAN, DELAYS_S)[round(16.0 * RATE) : round(36 * RATE)],  # neither marker
    ],
    ids=["empty", "short", "silent", "noise", "middle"],
)
def test_recordings_of_something_else_are_refused(recording):
    with pytest.raises(RecordingError):
        find_arrivals(recording, RATE, PLAN, 3)


def test_what_sounds_a_little_like_a_marker_is_none():
    """Or everybody's turns would be taken for somebody else's."""
    rng = np.random.default_rng(6)
    middle = noisy(record(PLAN, DELAYS_S), rng, 20)[16 * RATE : 36 * RATE]
    middle += sweep_at(0.1, RATE, len(middle), falling=True).astype(np.float32) * np.float32(LEVEL / 20)
    with pytest.raises(RecordingError, match="no calibration"):
        find_arrivals(middle, RATE, PLAN, 3)


def test_harmonics_ahead_of_the_sound_are_no_arrival():
    rooms = [np.eye(1)[0], np.zeros(round(0.15 * RATE) + 1), np.eye(1)[0]]
    rooms[1][[0, -1]] = 0.4, 1
    findings = find_arrivals(record(PLAN, DELAYS_S, rooms=rooms), RATE, PLAN, 3)
    assert max(errors_ms(findings, [DELAYS_S[0], DELAYS_S[1] + 0.15, DELAYS_S[2]])) < 0.01


def test_a_recording_with_a_cut_is_refused():
    recording = record(PLAN, DELAYS_S)
    cut = np.delete(recording, slice(22 * RATE, round(22.1 * RATE)))
    with pytest.raises(RecordingError, match="pace"):
        find_arrivals(cut, RATE, PLAN, 3)


def test_the_level_does_not_matter():
    recording = room_recording()
    loud, soft = (find_arrivals(recording * np.float32(gain / LEVEL), RATE, PLAN, 3) for gain in (0.1, 1e-4))
    assert [a.delay_s for a in loud.arrivals] == pytest.approx([a.delay_s for a in soft.arrivals], abs=1e-7)


def test_the_one_in_the_middle_stays():
    assert reference_delay_s([0.0123, 0.005, 0.0173]) == 0.0123
    assert reference_delay_s([0.0123, 0.005]) == 0.005
    assert reference_delay_s([0.0123]) == 0.0123
