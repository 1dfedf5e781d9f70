"""Shows where the time goes between a listener's start and its first sound: a table of phases, one row a join.

    sudo .venv/bin/python tools/bench_join.py                    ten joins, about a minute and a half
    sudo .venv/bin/python tools/bench_join.py --joins 3 --every 20     how soon the buffer is full as well

One of two listeners in the lab's network is started again and again, while the music plays.  What a column says is
the program's own (`start_s` of --stats-json), in seconds since its process began:

    python     the interpreter is up               parsed    the arguments are read
    imported   the program's modules are loaded    asking    its sockets are open
    answered   a host has answered                 clock     the first exchange
    ready      the clock is good enough            chunk     the first chunk is here
    opened     the sound device is open            started   the place to begin is chosen
    stamped    when its frames are heard is known  rendered  music is on its way to it
    full       45 s of music are here

and what the card really played:

    heard     the first sound                   error     how far that was from its instant, in µs: its first 40 ms
    at 10 s   the same ten seconds later
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "lab"))

import meter
from bench import prepare, row, scenarios
from lan import LabError
from runner import Run
from systems import Radiosync

PHASES = (
    *("python", "parsed", "imported", "asking", "answered", "clock", "ready", "chunk"),
    *("opened", "started", "stamped", "rendered"),
)
HEARD = ("full", "heard", "error", "at 10 s")
BUFFER_S = 45.0
FULL_S = BUFFER_S - 1  # what is on its way is not counted
WARM_UP_S = 8.0
JOINER = 1
Json = dict[str, Any]


def measure(options: argparse.Namespace, folder: Path) -> list[Json]:
    """Run, and return what was reached when, for each join."""
    system = Radiosync(options.program)
    prepare([system])
    seconds = options.joins * options.every
    (scenario,) = scenarios([options.scenario], seconds, WARM_UP_S)
    event = {"what": "restart", "listener": JOINER, "at": 0, "every": options.every, "times": options.joins}
    meta = Run(replace(scenario, events=[event]), system, folder, scenario.name, spare_s=BUFFER_S + 5).measure()
    starts = meter.load(folder).report()["listeners"][JOINER]["starts"]
    return list(_joins(meta, starts, options.joins))


def _joins(meta: Json, starts: list[Json], count: int) -> Iterator[Json]:
    began = meta["starts"][JOINER]
    rows = [values for values in meta["stats"][JOINER] if values["machine_ns"] >= began[0]]
    for k in range(1, count + 1):  # the first start is the run's own
        until = began[k + 1] if k < count else meta["stopped"]
        own = [values for values in rows if began[k] <= values["machine_ns"] < until]
        full = next((v["machine_ns"] for v in own if v.get("buffer_s", 0.0) >= FULL_S), None)
        yield dict(own[-1]["start_s"] if own else {}) | {
            "full": None if full is None else (full - began[k]) / 1e9,
            "heard": starts[k]["first_sound_s"],
            "error": starts[k].get("first_frame_us"),
            "at 10 s": starts[k].get("after_10s_us"),
        }


def table(joins: list[Json]) -> Iterator[str]:
    """Yield the lines of a table: each join, then median and worst of each column."""
    columns = (*PHASES, *HEARD)
    yield row(("join", *columns))
    yield row(["---"] * (len(columns) + 1))

    def cell(name: str, value: float | None) -> str:
        return "-" if value is None else f"{value:.0f}" if name in HEARD[2:] else f"{value:.3f}"

    for k, join in enumerate(joins):
        yield row([str(k + 1), *(cell(name, join.get(name)) for name in columns)])
    for what, choose in (("median", statistics.median), ("worst", max)):
        found = {name: [abs(join[name]) for join in joins if join.get(name) is not None] for name in columns}
        yield row([what, *(cell(name, choose(found[name]) if found[name] else None) for name in columns)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--joins", type=int, default=10)
    parser.add_argument("--every", type=float, default=6.0, help="seconds between two of them")
    parser.add_argument(
        "--scenario", default="clean", help="one of tools/lab/scenarios.toml, for its network and crystals"
    )
    parser.add_argument("--program", type=Path, default=Path(sys.executable).with_name("radiosync"))
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="join-") as folder:
            for line in table(measure(options, Path(folder))):
                print(line)
    except LabError as error:
        print(f"bench_join: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
