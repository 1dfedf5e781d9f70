"""How well the listeners of a run kept together, from what their cards played: see README.md for the figures.

meter.py RUN [--warm-up S]      judges a run that was kept (bench.py --keep) again
"""

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

import cards
import noise
import numpy as np
from numpy.typing import NDArray
from track import STEP_NS, Signal, Track, track

PER_WINDOW = 10  # tenths of a second in a window of 1 s
WINDOW_NS = PER_WINDOW * STEP_NS
FIT_MIN = 0.9  # below, a tenth of a second is a glitch: one inserted or dropped sample leaves 0.93 or more
HEARD_MIN = 8  # tenths of a second that a window needs
STALL_MS = 20.0
STALL_AFTER_NS = 3_000_000_000  # a stall may starve a listener for so long
IN_SYNC_NS = {"in_sync_1ms_s": 1_000_000, "in_sync_100us_s": 100_000}
IN_SYNC_FOR = 30  # tenths of a second
RATE_SETTLED_NS = 30_000_000_000  # after a start the correction needs no more than the crystal does
LATER_NS = 10_000_000_000  # after the first sound everybody is expected to have settled
RENDERED_AHEAD_NS = 150_000_000  # what a listener reports of its error lies about so far in the future
Json = dict[str, Any]


def spread(ns: Signal) -> Json:
    """Return the distribution of |x|, and the signed median and standard deviation, in µs."""
    us = ns[np.isfinite(ns)] / 1e3
    if not len(us):
        return {"n": 0}
    size = np.abs(us)
    values = {"median": np.median(size), "p95": np.percentile(size, 95), "p99": np.percentile(size, 99)}
    values |= {"max": size.max(), "signed_median": np.median(us), "sd": np.std(us)}
    return {"n": len(us)} | {key: round(float(value), 2) for key, value in values.items()}


def _us(ns: float) -> float | None:
    return round(float(ns) / 1e3, 1) if np.isfinite(ns) else None


def windows(fine: Signal) -> Signal:
    """Average tenths of a second to windows of 1 s; NaN where too little was found."""
    rows = fine[: len(fine) // PER_WINDOW * PER_WINDOW].reshape(-1, PER_WINDOW)
    heard = np.isfinite(rows).sum(axis=1)
    sums = np.nansum(rows, axis=1)
    return np.where(heard >= HEARD_MIN, sums / np.maximum(heard, 1), np.nan)


def quiet_windows(stalls: list[Json], begin_ns: int, count: int) -> NDArray[np.bool_]:
    """Say of each window whether no stall of the machine touches it or the seconds before it."""
    at = begin_ns + np.arange(count) * WINDOW_NS
    quiet = np.ones(count, bool)
    for stall in stalls:
        if stall["ms"] > STALL_MS:
            quiet &= (at + WINDOW_NS < stall["t"]) | (at > stall["t"] + stall["ms"] * 1e6 + STALL_AFTER_NS)
    return quiet


def first_in_sync(error_ns: Signal, limit_ns: float, first: int, last: int) -> int | None:
    """Return the first step from which on the error stays within the limit for three seconds, or to the end."""
    good = np.abs(error_ns[first:last]) <= limit_ns
    for k in np.flatnonzero(good):
        if good[k : k + IN_SYNC_FOR].all() and len(good) - k >= PER_WINDOW:
            return int(first + k)
    return None


class Meter:
    """The tracks of all listeners of a run and what follows from them."""

    def __init__(self, meta: Json, tracks: list[Track], underruns: list[list[int]], begin_ns: int) -> None:
        self.meta, self.tracks, self.begin_ns = meta, tracks, begin_ns
        self._underruns = underruns
        self._steps = len(tracks[0].offset_ns)
        low, high = meta["measure_from"], meta["measure_to"]
        at = begin_ns + np.arange(self._steps // PER_WINDOW) * WINDOW_NS
        self.measured = (at >= low) & (at + WINDOW_NS <= high)
        self.quiet = quiet_windows(meta["stalls"], begin_ns, len(at))
        self.coarse = [np.where(self.measured, windows(t.offset_ns), np.nan) for t in tracks]
        found = np.concatenate(self.coarse)
        known = meta.get("play_at_zero")
        # Where the system doesn't say when it wanted the first frame to be heard, the listeners' median stands in.
        self.centre = known if known is not None else float(np.nanmedian(found)) if np.isfinite(found).any() else 0.0

    def report(self) -> Json:
        """Return every figure."""
        result: Json = {"label": self.meta["label"], "system": self.meta["system"], "pairs": {}}
        lags = {(i, j): self.coarse[j] - self.coarse[i] for i, j in itertools.combinations(range(len(self.coarse)), 2)}
        if lags:
            result["lag_us"] = spread(np.concatenate(list(lags.values())))
            result["lag_quiet_us"] = spread(np.concatenate([lag[self.quiet] for lag in lags.values()]))
            result["pairs"] = {f"{i}-{j}": spread(lag) for (i, j), lag in lags.items()}
        result["listeners"] = [self._listener(i) for i in range(len(self.tracks))]
        stalls = [s for s in self.meta["stalls"] if self.meta["measure_from"] <= s["t"] <= self.meta["measure_to"]]
        result["machine"] = self.meta.get("machine", {}) | {
            "stalls_over_5ms": len(stalls),
            "stalls_over_20ms": sum(s["ms"] > STALL_MS for s in stalls),
            "worst_stall_ms": max((s["ms"] for s in stalls), default=0.0),
            "windows": int(self.measured.sum()),
            "quiet_windows": int((self.measured & self.quiet).sum()),
        }
        for key in ("resources", "died", "relay", "links", "card_ppm", "clock_ppm"):
            if key in self.meta:
                result[key] = self.meta[key]
        return result

    def _listener(self, i: int) -> Json:
        found = self.tracks[i]
        low, high = self.meta["measure_from"], self.meta["measure_to"]
        first, last = self._step(low), min(self._step(high), self._steps)
        error = found.offset_ns - self.centre
        gaps = [(a, b) for a, b in found.silences if low <= a and b <= high]
        heard = found.correlation[first:last]
        jumps = np.abs(np.diff(found.offset_ns[first:last]))
        in_quiet = [self.quiet[min(len(self.quiet) - 1, (a - self.begin_ns) // WINDOW_NS)] for a, _ in gaps]
        values: Json = {
            "error_us": spread(self.coarse[i] - self.centre),
            "dropouts": len(gaps),
            "dropouts_quiet": int(sum(in_quiet)),
            "dropout_ms": round(sum(b - a for a, b in gaps) / 1e6, 2),
            "glitches": int(((heard > 0) & (heard < FIT_MIN)).sum()),
            "steps_over_100us": int((jumps > 100e3).sum()),
            "steps_over_1ms": int((jumps > 1e6).sum()),
            "underruns": sum(low <= t <= high for t in self._underruns[i]),
            "starts": [self._start(i, k, error) for k in range(len(self.meta["starts"][i]))],
            "events": [
                self._recovery(error, e)
                for e in self.meta.get("events", [])
                if e["listener"] == i and e["to"] is not None
            ],
        }
        return values | self._belief(i, error)

    def _step(self, at_ns: float) -> int:
        return max(0, int((at_ns - self.begin_ns) // STEP_NS))

    def _start(self, i: int, k: int, error: Signal) -> Json:
        """Return how soon after the k-th start of its process a listener was heard, and was in sync."""
        starts = self.meta["starts"][i]
        began, ended = starts[k], starts[k + 1] if k + 1 < len(starts) else self.meta["stopped"]
        sounds = self.tracks[i].sounds_ns
        sounds = sounds[(sounds >= began) & (sounds < ended)]
        values: Json = {"first_sound_s": round(float(sounds[0] - began) / 1e9, 3) if len(sounds) else None}
        for name, limit in IN_SYNC_NS.items():
            step = first_in_sync(error, limit, self._step(began), min(self._steps, self._step(ended)))
            values[name] = None if step is None else round((self.begin_ns + step * STEP_NS - began) / 1e9, 1)
        if len(sounds):  # the second tenth of a second: the first may have a fade in it
            step = self._step(sounds[0]) + 2
            values["error_at_first_us"] = round(float(np.nan_to_num(error[min(step, self._steps - 1)])) / 1e3, 1)
            first = self.tracks[i].firsts_ns[self.tracks[i].sounds_ns == sounds[0]][0] - self.centre
            values["first_frame_us"] = _us(first)
            later = self._step(sounds[0] + LATER_NS)
            if later + PER_WINDOW < min(self._steps, self._step(ended)):
                values["after_10s_us"] = _us(float(np.mean(error[later : later + PER_WINDOW])))
        return values

    def _recovery(self, error: Signal, event: Json) -> Json:
        """Return how long after the end of an event a listener was in sync again."""
        step = first_in_sync(error, IN_SYNC_NS["in_sync_100us_s"], self._step(event["to"]), self._steps)
        after = None if step is None else round((self.begin_ns + step * STEP_NS - event["to"]) / 1e9, 1)
        return {"what": event["what"], "in_sync_again_s": after}

    def _belief(self, i: int, error: Signal) -> Json:
        """Return how well what the program says of itself agrees with the truth."""
        rows = [row for row in self.meta.get("stats", [[]] * (i + 1))[i] if row.get("sync_error_ns") is not None]
        low, high = self.meta["measure_from"], self.meta["measure_to"]
        rows = [row for row in rows if low <= row["machine_ns"] <= high]
        if not rows:
            return {}
        at = np.array([row["machine_ns"] for row in rows], float)
        said = np.array([row["sync_error_ns"] for row in rows], float)
        middle = self.begin_ns + (np.arange(self._steps) + 0.5) * STEP_NS
        ok = np.isfinite(error)
        if not ok.any():
            return {}
        true = np.interp(at + RENDERED_AHEAD_NS, middle[ok], error[ok])
        values: Json = {"said_us": spread(said), "said_minus_true_us": spread(said - true)}
        rate = np.array([row["rate_ppm"] for row in rows if self._is_settled(i, row)])
        if len(rate):
            values["rate_excess_ppm_max"] = round(float(np.abs(rate + self.meta["card_ppm"][i]).max()), 2)
        for key in ("underruns", "hard_resyncs", "chunks_late", "chunks_concealed", "symbols_lost", "symbols_repaired"):
            values[f"counted_{key}"] = rows[-1].get(key)
        return values

    def _is_settled(self, i: int, row: Json) -> bool:
        started = max((start for start in self.meta["starts"][i] if start <= row["machine_ns"]), default=np.inf)
        return row.get("rate_ppm") is not None and row["machine_ns"] >= started + RATE_SETTLED_NS


def load(run: Path, warm_up_s: float | None = None) -> Meter:
    """Track every listener of a run's folder."""
    meta = json.loads((run / "run.json").read_text())
    if warm_up_s is not None:
        meta["measure_from"] = max(start[0] for start in meta["starts"]) + int(warm_up_s * 1e9)
    signal = noise.read_wav(run / "signal.wav")
    recordings = [cards.read(run / f"card{i}") for i in range(len(meta["starts"]))]
    begin_ns = min(start[0] for start in meta["starts"])
    steps = int((meta["stopped"] - begin_ns) // STEP_NS)
    tracks = [track(r, signal, meta["rate"], begin_ns, steps) for r in recordings]
    return Meter(meta, tracks, [r.underruns_ns for r in recordings], begin_ns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--warm-up", type=float, help="seconds after the last start that don't count")
    options = parser.parse_args()
    print(json.dumps(load(options.run, options.warm_up).report(), indent=1))


if __name__ == "__main__":
    main()
