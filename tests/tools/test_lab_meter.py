"""The lab's meter against recordings whose lag is known because they were computed."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools" / "lab"))

import meter
import noise
from cards import Recording, Segment
from track import STEP_NS, Track, track

RATE = 48_000
SECONDS = 5
BEGIN_NS = 1_000_000_000_000
PLAY_AT_ZERO = BEGIN_NS + 500_000_000
TAPS = 32


@pytest.fixture(scope="module")
def signal() -> np.ndarray:
    return np.round(np.concatenate([noise.second(k, RATE) for k in range(SECONDS)]) * 32767).astype(np.int16)


def at(signal: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The signal between its samples, by a windowed sinc: good to -100 dB in its band."""
    base = np.floor(places).astype(np.int64)
    padded = np.concatenate([np.zeros(TAPS), signal.astype(float), np.zeros(TAPS)])
    out = np.zeros(len(places))
    for tap in range(1 - TAPS // 2, TAPS // 2 + 1):
        distance = places - base - tap
        index = np.clip(base + tap + TAPS, 0, len(padded) - 1)
        out += padded[index] * np.sinc(distance) * np.cos(np.pi * distance / TAPS) ** 2
    return out


def played(signal: np.ndarray, *, ppm: float = 0.0, error_ns: float = 0.0, drift_ppm: float = 0.0) -> Recording:
    """What a card `ppm` fast plays for a listener that is `error_ns` late and plays `drift_ppm` too fast."""
    rate = RATE * (1 + ppm * 1e-6)
    start_ns = PLAY_AT_ZERO + 123_456
    t = start_ns + np.arange(4 * RATE) / rate * 1e9
    places = (t - PLAY_AT_ZERO - error_ns) * 1e-9 * RATE * (1 + drift_ppm * 1e-6)
    return Recording([Segment(start_ns, rate, np.round(at(signal, places)).astype(np.int16))])


def judge(signal: np.ndarray, *recordings: Recording, stalls: list[dict[str, float]] | None = None) -> meter.Meter:
    steps = SECONDS * 10
    tracks = [track(r, signal, RATE, BEGIN_NS, steps) for r in recordings]
    meta = {
        "label": "test",
        "system": "test",
        "measure_from": BEGIN_NS + 1_000_000_000,
        "measure_to": BEGIN_NS + 4_000_000_000,
        "stopped": BEGIN_NS + SECONDS * 1_000_000_000,
        "starts": [[BEGIN_NS]] * len(recordings),
        "stalls": stalls or [],
        "play_at_zero": PLAY_AT_ZERO,
        "card_ppm": [0.0] * len(recordings),
    }
    return meter.Meter(meta, tracks, [r.underruns_ns for r in recordings], BEGIN_NS)


@pytest.mark.parametrize(("ppm_a", "ppm_b", "lag_ns"), [(0, 0, 0), (20, -30, 7_300), (100, -100, -250_123)])
def test_a_known_lag_is_found_to_a_tenth_of_a_microsecond(
    signal: np.ndarray, ppm_a: float, ppm_b: float, lag_ns: float
) -> None:
    a, b = played(signal, ppm=ppm_a, error_ns=1_000), played(signal, ppm=ppm_b, error_ns=1_000 + lag_ns)
    report = judge(signal, a, b).report()
    assert report["lag_us"]["n"] == 3
    assert report["lag_us"]["signed_median"] == pytest.approx(lag_ns / 1e3, abs=0.05)
    assert report["lag_us"]["max"] == pytest.approx(abs(lag_ns) / 1e3, abs=0.1)
    for listener in report["listeners"]:
        assert listener["dropouts"] == listener["glitches"] == listener["steps_over_100us"] == 0
        assert listener["starts"][0]["first_sound_s"] == pytest.approx(0.5, abs=0.01)
    assert report["listeners"][0]["error_us"]["signed_median"] == pytest.approx(1.0, abs=0.02)


def test_a_listener_that_glides_has_the_slope_of_its_glide(signal: np.ndarray) -> None:
    judged = judge(signal, played(signal, drift_ppm=-40))
    slope = np.diff(judged.coarse[0][judged.measured])
    assert slope == pytest.approx([40_000, 40_000], abs=30)


def test_dropouts_and_inserted_samples_are_counted(signal: np.ndarray) -> None:
    recording = played(signal)
    samples = recording.segments[0].samples
    samples[RATE : RATE + 480] = 0
    samples[2 * RATE + 100 :] = samples[2 * RATE - 380 : -480].copy()
    found = judge(signal, recording).report()["listeners"][0]
    assert (found["dropouts"], found["dropout_ms"]) == (1, pytest.approx(10, abs=0.1))
    assert found["steps_over_1ms"] == 1


def test_windows_near_a_stall_are_not_quiet(signal: np.ndarray) -> None:
    stall = {"t": BEGIN_NS + 3_500_000_000, "ms": 30.0}
    report = judge(signal, played(signal), played(signal), stalls=[stall]).report()
    assert report["machine"]["windows"] == 3
    assert report["machine"]["quiet_windows"] == report["lag_quiet_us"]["n"] == 2


def test_the_time_to_sync_is_counted_from_the_start(signal: np.ndarray) -> None:
    offset = np.full(SECONDS * 10, np.nan)
    offset[10:20] = PLAY_AT_ZERO + 5_000_000
    offset[20:] = PLAY_AT_ZERO + 500_000
    judged = judge(signal, played(signal))
    sounds, firsts = np.array([BEGIN_NS + 10 * STEP_NS]), np.array([PLAY_AT_ZERO + 6_000_000.0])
    judged.tracks[0] = Track(offset, np.ones(len(offset)), [], sounds, firsts)
    start = judged.report()["listeners"][0]["starts"][0]
    found = {"first_sound_s": 1.0, "in_sync_1ms_s": 2.0, "in_sync_100us_s": None, "error_at_first_us": 5000.0}
    assert start == found | {"first_frame_us": 6000.0}


def test_the_first_frames_and_those_ten_seconds_on_are_judged(signal: np.ndarray, monkeypatch) -> None:
    """Two milliseconds late for the first half second, then a quarter of one."""
    monkeypatch.setattr(meter, "LATER_NS", 2_000_000_000)
    late, later = played(signal, error_ns=2_000_000), played(signal, error_ns=250_000)
    late.segments[0].samples[RATE:] = later.segments[0].samples[RATE:]
    start = judge(signal, late).report()["listeners"][0]["starts"][0]
    assert start["first_frame_us"] == pytest.approx(2_000, abs=0.5)
    assert start["after_10s_us"] == pytest.approx(250, abs=0.5)


def test_what_the_program_says_is_compared_with_the_truth(signal: np.ndarray) -> None:
    judged = judge(signal, played(signal, error_ns=20_000))
    rows = [{"machine_ns": BEGIN_NS + k * 1_000_000_000, "sync_error_ns": 5_000, "rate_ppm": 3.0} for k in range(5)]
    judged.meta |= {"stats": [rows], "starts": [[BEGIN_NS - 30_000_000_000]]}
    found = judged.report()["listeners"][0]
    assert found["said_minus_true_us"]["signed_median"] == pytest.approx(-15, abs=0.02)
    assert found["rate_excess_ppm_max"] == 3.0


def test_the_rate_is_judged_once_the_start_is_over(signal: np.ndarray) -> None:
    judged = judge(signal, played(signal))
    begin = judged.meta["measure_from"]
    rows = [{"machine_ns": begin + k * 10**8, "sync_error_ns": 0, "rate_ppm": 50.0 - 4 * k} for k in range(10)]
    judged.meta |= {"stats": [rows], "starts": [[begin - 29_500_000_000]], "card_ppm": [-9.0]}
    assert judged.report()["listeners"][0]["rate_excess_ppm_max"] == 21.0  # of the sixth row, half a second on
    judged.meta["starts"][0].append(begin)
    assert "rate_excess_ppm_max" not in judged.report()["listeners"][0]
