#!/usr/bin/env python3
"""Measures the simulator: processor seconds for a virtual hour of ten listeners, and for a minute of a thousand.

tools/bench_sim.py            a tenth of each, and what the whole would take
tools/bench_sim.py --whole    all of it
"""

import argparse
import sys
import time

from radiosync.sim.clocks import ClockSettings
from radiosync.sim.link import LinkSettings
from radiosync.sim.run import run_scenario
from radiosync.sim.scenario import Limits, Listeners, Scenario, Stream

TENTH = 0.1
BLOCK_MS = 100.0  # a loop that wakes up for every 20 ms of music is most of the cost
HOUR_S_MAX = 180.0  # of processor time, for a virtual hour of ten listeners


def scenario(listeners: int, seconds: float) -> Scenario:
    """Return a party in a wired house that loses one datagram in a thousand."""
    link = LinkSettings(loss=0.001)
    clock = ClockSettings(wander_ppm=0.01)
    room = Listeners(
        name="room", count=listeners, clock=clock, clock_ppm_spread=50.0, up=link, down=link, block_ms=BLOCK_MS
    )
    return Scenario(
        title=f"{listeners} listeners",
        stream=Stream(songs_s=(seconds,)),
        listeners=(room,),
        config={"host.codec": "pcm"},
        limits=Limits(complete=True, from_first_frame=True, overflows_max=None),
    )


def measure(listeners: int, seconds: float, share: float) -> float:
    """Run a share of it; print and return what the whole takes."""
    began = time.process_time()
    result = run_scenario(scenario(listeners, seconds * share), 1)
    took_s = time.process_time() - began
    whole_s = took_s * seconds / result.virtual_s
    print(
        f"{listeners:5} listeners, {result.virtual_s:6.0f} virtual s: {took_s:7.1f} s of processor time; "
        f"{seconds:.0f} s would take {whole_s:.0f} s; {result.trace_hash[:16]}"
    )
    for violation in result.violations:
        print(f"    {violation}")
    return whole_s


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--whole", action="store_true", help="the whole hour and the whole minute")
    arguments = parser.parse_args()
    share = 1.0 if arguments.whole else TENTH
    hour_s = measure(10, 3600.0, share)
    measure(1000, 60.0, share)
    if hour_s > HOUR_S_MAX:
        print(f"an hour of ten listeners should take at most {HOUR_S_MAX:.0f} s", file=sys.stderr)
    return int(hour_s > HOUR_S_MAX)


if __name__ == "__main__":
    sys.exit(main())
