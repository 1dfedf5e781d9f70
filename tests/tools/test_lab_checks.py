"""The lab's comparison of files, and its verdicts, on recordings and statistics that are made up."""

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools" / "lab"))

import bench
import checks
import files
import noise
from numpy.typing import NDArray

RATE = 48_000


@pytest.fixture(scope="module")
def signal() -> NDArray[Any]:
    mono = np.concatenate([noise.second(k, RATE) for k in range(2)])
    return np.repeat(np.round(mono * 32767).astype("<i2"), 2).reshape(-1, 2)


def test_a_file_that_is_the_signal_is_placed_and_found_to_be_the_same(signal: NDArray[Any]) -> None:
    found = files.compare(signal[1234:60_000], signal)
    assert found == {"frames": 58_766, "begins_at": 1234, "different": 0, "silent": 0}


def test_what_is_not_the_signal_is_counted(signal: NDArray[Any]) -> None:
    heard = signal[1234:60_000].copy()
    heard[20_000] += 1
    heard[30_000:30_100] = 0
    found = files.compare(heard, signal)
    zeros = int((signal[31_234:31_334] == 0).all(axis=1).sum())
    assert (found["different"], found["silent"]) == (101 - zeros, 100 - zeros)
    dropped = np.concatenate((signal[1234:30_000], signal[30_001:60_000]))
    assert files.compare(dropped, signal)["different"] > 20_000
    assert files.compare(signal[::-1].copy(), signal)["begins_at"] is None


ROUND_TRIPS = [50, 200, 500]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a run in which everything was as it should be."""
    names = [f"room{i}" for i in range(3)]
    table = [{"name": name, "latency_ms": ms * 1.01} for name, ms in zip(names, ROUND_TRIPS, strict=True)]
    start = {"slowest": "room2", "slowest_latency_ms": 501.0, "delay_ms": 700.0, "reason": "everybody is ready"}
    rows = [{"listeners": table, "last_start": start}, {"listeners": [], "last_start": start}]
    (tmp_path / "host.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    stats = [[{"sync_delay_ns": (500 - ms) * 1e6, "underruns": 0, "hard_resyncs": ms // 500}] for ms in ROUND_TRIPS]
    meta = {"stats": stats, "starts": [[1_000_000_000]] * 3, "play_at_zero": 3_000_000_000}
    (tmp_path / "run.json").write_text(json.dumps(meta))
    return tmp_path


EXPECT: dict[str, Any] = {
    "join_s": {"median": 0.8, "worst": 1.3},
    "first_frame_us": 1000,
    "after_10s_us": 100,
    "first_sound_ms": 1,
    "start_apart_us": 1000,
    "round_trip_ms": ROUND_TRIPS,
    "slowest": "room2",
    "lag_median_us": 20,
    "lag_p99_us": 100,
    "wander_sd_us": 20,
    "said_true_us": 50,
    "rate_excess_ppm": 20,
    "back_in_sync_s": 5,
    "counted": {"underruns": 0},
    "counted_exactly": {"hard_resyncs": [0, 0, 1]},
    "exact": [0],
    "lower_tier": [1],
}


def report() -> dict[str, Any]:
    listeners = [
        {
            "starts": [
                {"first_sound_s": 2.0 + i * 1e-4, "error_at_first_us": 100.0 * i, "first_frame_us": -900.0},
                {"first_sound_s": 0.5 + 0.1 * i, "first_frame_us": 20.0, "after_10s_us": 90.0},
            ],
            "frames": 10,
            "different": 0,
            "silent": 0,
            "tiers": [0, 2, 0],
            "error_us": {"n": 9, "sd": 3.0 + i},
            "said_minus_true_us": {"n": 9, "p95": 12.0},
            "rate_excess_ppm_max": 4.0,
            "events": [{"what": "pause", "in_sync_again_s": 3.1}] if i == 1 else [],
        }
        for i in range(3)
    ]
    return {"listeners": listeners, "lag_us": {"median": 10.0, "p99": 40.0}}


def test_what_is_as_expected_is_ok(run: Path) -> None:
    found = checks.judge(EXPECT, report(), run)
    assert len(found) == 17 + 2 * len(ROUND_TRIPS)
    assert [str(check) for check in found if not check.ok] == []


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        (("starts", 0, "first_sound_s"), 2.002, "first sound"),
        (("starts", 0, "first_sound_s"), None, "first sound"),
        (("starts", 0, "error_at_first_us"), -900.0, "apart"),
        (("starts", 0, "first_frame_us"), -1001.0, "error first frame"),
        (("starts", 0, "first_frame_us"), None, "error first frame"),
        (("starts", 1, "after_10s_us"), 101.0, "error after 10s"),
        (("starts", 1, "after_10s_us"), None, "error after 10s"),
        (("starts", 1, "first_sound_s"), 1.4, "first sound after a start, worst"),
        (("starts", 1, "first_sound_s"), None, "first sound after a start"),
        (("different",), 1, "listener 0 wrote"),
        (("silent",), 1, "listener 0 wrote"),
        (("error_us", "sd"), 21.0, "wander"),
        (("error_us",), {"n": 0}, "wander"),
        (("said_minus_true_us", "p95"), 51.0, "said - true"),
        (("said_minus_true_us",), {"n": 0}, "said - true"),
        (("rate_excess_ppm_max",), 20.5, "rate excess"),
        (("events",), [{"what": "pause", "in_sync_again_s": 5.1}], "in sync again"),
        (("events",), [{"what": "pause", "in_sync_again_s": None}], "in sync again"),
    ],
)
def test_one_wrong_figure_is_named(run: Path, place: tuple[Any, ...], value: Any, named: str) -> None:
    spoilt = report()
    target = spoilt["listeners"][0]
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = value
    (wrong,) = [check for check in checks.judge(EXPECT, spoilt, run) if not check.ok]
    assert str(wrong).startswith(f"NOT {named}")


@pytest.mark.parametrize(
    ("expect", "count"),
    [
        ({"slowest": "room1"}, 1),
        ({"round_trip_ms": [100, 200, 500]}, 2),
        ({"lag_p99_us": 10}, 1),
        ({"lag_median_us": 9}, 1),
        ({"counted": {"hard_resyncs": 0}}, 1),
        ({"counted": {"jumps": 0}}, 1),
        ({"counted_exactly": {"hard_resyncs": [0, 1, 1]}}, 1),
        ({"counted_exactly": {"underruns": [0, 0, 1]}}, 1),
        ({"tempo": 3}, 1),
    ],
)
def test_other_wishes_are_not_met(run: Path, expect: dict[str, Any], count: int) -> None:
    assert sum(not check.ok for check in checks.judge(expect, report(), run)) == count


def test_who_never_played_long_enough_has_no_rate_to_judge_but_somebody_must(run: Path) -> None:
    some = report()
    del some["listeners"][0]["rate_excess_ppm_max"]
    assert all(check.ok for check in checks.judge({"rate_excess_ppm": 20}, some, run))
    for values in some["listeners"]:
        values.pop("rate_excess_ppm_max", None)
    assert not any(check.ok for check in checks.judge({"rate_excess_ppm": 20}, some, run))


def test_every_scenario_names_checks_that_there_are_and_each_card_is_held_to_its_rate(run: Path) -> None:
    names = list(tomllib.loads((bench.HERE / "scenarios.toml").read_text())["scenario"])
    for scenario in bench.scenarios(names, None, None):
        assert ("rate_excess_ppm" in scenario.expect) == (scenario.output == "device")
        known = {key: wanted for key, wanted in scenario.expect.items() if key not in {"exact", "lower_tier"}}
        assert not [check for check in checks.judge(known, report(), run) if "there is no check" in check.name]
