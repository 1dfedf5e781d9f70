"""What a scenario expects: each figure of its table `expect` against what was measured.

first_sound_ms    how far from its play-at each card's first sound may be
start_apart_us    how far apart the listeners may be as they begin: 0.2 s after their first sound, when it has faded in
first_frame_us    how wrong the first 40 ms after the fade may be, at every start
after_10s_us      how wrong a listener may be ten seconds after its first sound, at every start that lasts so long
join_s            seconds from a start of the process to the first sound, over all restarts: "median" and "worst"
round_trip_ms     of each listener; the host's table must have them within a tenth, and each listener must reckon the
                  seed's wait from them: slowest - own
slowest           the name that the order to start must give
exact             the listeners whose files must be the signal, bit for bit and without silence
lower_tier        the listeners that must have been sent a lower quality for a while, and must be back in the end
lag_median_us     of all pairs
lag_p99_us        of all pairs
wander_sd_us      of each listener
said_true_us      how far what each listener says of its error may be from the truth, in 95 of 100 rows
rate_excess_ppm   by how much each correction may differ from what its card needs, from 30 s after its start on
back_in_sync_s    how soon after the end of each event its listener must be within 100 µs again
counted           of each listener at the end of the run, by the names of the statistics: at most so many
counted_exactly   the same, one number for each listener
"""

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WITHIN = 0.1
SLACK_MS = 2.0
Json = dict[str, Any]


@dataclass(frozen=True)
class Check:
    """One figure, what it should be, and whether it is."""

    name: str
    found: Any
    wanted: str
    ok: bool

    def __str__(self) -> str:
        return f"{'ok ' if self.ok else 'NOT'} {self.name}: {self.found} ({self.wanted})"


def judge(expect: Json, report: Json, run: Path) -> list[Check]:
    """Return a check for everything that the scenario expects."""
    meta = json.loads((run / "run.json").read_text())
    host = [json.loads(line) for line in (run / "host.jsonl").read_text().splitlines() if line.endswith("}")]
    checks: list[Check] = []
    for key, wanted in expect.items():
        match key:
            case "first_sound_ms":
                late = [_first_sound_ms(meta, values, i) for i, values in enumerate(report["listeners"])]
                checks.append(_most("first sound after its play-at, ms", late, wanted))
            case "start_apart_us":
                errors = [values["starts"][0].get("error_at_first_us") for values in report["listeners"]]
                apart = None if None in errors else [round(max(errors) - min(errors), 1)]
                checks.append(_most("apart at the start, µs", apart, wanted))
            case "first_frame_us" | "after_10s_us":
                starts = [start for values in report["listeners"] for start in values["starts"]]
                found = [start.get(key) for start in starts if key == "first_frame_us" or key in start]
                checks.append(_most("error " + key.removesuffix("_us").replace("_", " ") + ", µs", found, wanted))
            case "join_s":
                checks += _joins(report["listeners"], wanted)
            case "round_trip_ms":
                checks += _latencies(wanted, host, meta)
            case "slowest":
                found = host[-1]["last_start"]
                named = found and f"{found['slowest']} ({found['slowest_latency_ms']:.1f} ms): {found['reason']}"
                checks.append(
                    Check("the order to start names", named, wanted, bool(found and found["slowest"] == wanted))
                )
            case "exact":
                for i in wanted:
                    values = report["listeners"][i]
                    found = {name: values[name] for name in ("frames", "different", "silent")}
                    good = values["frames"] > 0 and values["different"] == values["silent"] == 0
                    checks.append(Check(f"listener {i} wrote", found, "the signal", good))
            case "lower_tier":
                for i in wanted:
                    tiers = report["listeners"][i]["tiers"]
                    good = bool(tiers) and max(tiers) > 0 and tiers[-1] == 0
                    checks.append(Check(f"listener {i} had the tiers", tiers, "lower, and back to 0", good))
            case "lag_median_us" | "lag_p99_us":
                which = key.split("_")[1]
                checks.append(_most(f"lag, {which}, µs", [report["lag_us"].get(which)], wanted))
            case "wander_sd_us" | "said_true_us" | "rate_excess_ppm" | "back_in_sync_s":
                checks.append(_of_each(key, report["listeners"], wanted))
            case "counted":
                checks += [_most(name, _counted(meta, name), most) for name, most in wanted.items()]
            case "counted_exactly":
                for name, numbers in wanted.items():
                    found = _counted(meta, name)
                    checks.append(Check(name, found, f"exactly {numbers}", found == numbers))
            case other:
                checks.append(Check(f"there is no check {other!r}", None, "", False))
    return checks


def _of_each(key: str, listeners: list[Json], most: float) -> Check:
    """Compare a figure that every listener has; one that is missing is wrong."""
    match key:
        case "wander_sd_us":
            return _most("wander, µs", [values["error_us"].get("sd") for values in listeners], most)
        case "said_true_us":
            said = [values.get("said_minus_true_us", {}).get("p95") for values in listeners]
            return _most("said - true, p95, µs", said, most)
        case "rate_excess_ppm":  # who was restarted has none when it never played for so long
            name = "rate_excess_ppm_max"
            return _most("rate excess, ppm", [values[name] for values in listeners if name in values], most)
        case _:
            events = [event["in_sync_again_s"] for values in listeners for event in values["events"]]
            return _most("in sync again, s", events, most)


def _joins(listeners: list[Json], wanted: Json) -> list[Check]:
    """Compare how soon those were heard who were started again while the music played."""
    found = [start["first_sound_s"] for values in listeners for start in values["starts"][1:]]
    heard = [value for value in found if value is not None]
    if not heard or len(heard) < len(found):
        return [Check("first sound after a start, s", found, "in each", False)]
    ways = {"median": statistics.median, "worst": max}
    return [_most(f"first sound after a start, {way}, s", [ways[way](heard)], most) for way, most in wanted.items()]


def _counted(meta: Json, name: str) -> list[Any]:
    return [rows[-1].get(name) if rows else None for rows in meta["stats"]]


def _most(name: str, found: list[Any] | None, most: float) -> Check:
    good = bool(found) and all(value is not None and abs(value) <= most for value in found)
    return Check(name, found, f"at most {most:g}", good)


def _first_sound_ms(meta: Json, values: Json, i: int) -> float | None:
    first_s = values["starts"][0]["first_sound_s"]
    if first_s is None or meta["play_at_zero"] is None:
        return None
    return round((meta["starts"][i][0] - meta["play_at_zero"]) / 1e6 + first_s * 1e3, 2)


def _latencies(round_trips_ms: list[float], host: list[Json], meta: Json) -> list[Check]:
    """Check the host's table at the end, and what each listener made of the order to start."""
    table = {row["name"]: row["latency_ms"] for row in host[-2]["listeners"]}  # the last one may be after they left
    checks = []
    for i, wanted in enumerate(round_trips_ms):
        found = table.get(f"room{i}")
        good = found is not None and abs(found - wanted) <= WITHIN * wanted
        checks.append(Check(f"the host's latency of room{i}, ms", found, f"{wanted:g}, within a tenth", good))
    for i, own in enumerate(round_trips_ms):
        wait = max(0.0, max(round_trips_ms) - own)
        said = [row["sync_delay_ns"] for row in meta["stats"][i] if row.get("sync_delay_ns") is not None]
        found = round(said[-1] / 1e6, 2) if said else None
        good = found is not None and abs(found - wait) <= WITHIN * wait + SLACK_MS
        checks.append(Check(f"room{i} waits, ms", found, f"{wait:g}: slowest - own, within a tenth", good))
    return checks
