#!/usr/bin/env python3
"""Takes away from a simulated party that fails what does not matter to how it fails, and writes what is left as a file.

    .venv/bin/python tools/shrink.py --swarm --seed 74 --out small.toml
    .venv/bin/python tools/shrink.py party.toml --seed 7 --seconds 300 --out small.toml

Tried are, again and again until nothing can be taken away any more or the time is over: to leave out faults, orders,
villains and groups of listeners, many at a time first (after A. Zeller and R. Hildebrandt, "Simplifying and isolating
failure-inducing input", IEEE TSE 28, 2002); to have one listener of a group; and to have whatever is left as usual.  A
run counts as the same failure if one of its violations is the same but for numbers and names.  Exit status 1 if the
party does not fail.
"""

import argparse
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from radiosync.errors import ConfigError
from radiosync.sim.describe import toml_lines
from radiosync.sim.run import run_scenario
from radiosync.sim.scenario import Scenario
from radiosync.ui.simulate import Task

ROWS = ("faults", "orders", "villains", "listeners")
KEPT = {"title", "limits", "extra_s", *ROWS}  # of a scenario: what a failure is judged by, and the rows
NAMED = re.compile(r"\b(group|host|room)\w*|-?\d[\d.]*")

Fails = Callable[[Scenario], bool]


def kinds(violations: tuple[str, ...]) -> set[str]:
    """Return what kinds of violations these are: without their numbers and names."""
    return {NAMED.sub("#", violation) for violation in violations}


def shrink(scenario: Scenario, fails: Fails) -> Scenario:
    """Return what is left of a scenario that `fails` when nothing more of it can be taken away."""
    while True:
        smaller = _with_fewer_rows(scenario, fails)
        for simpler in _simpler(smaller):
            if fails(simpler(smaller)):
                smaller = simpler(smaller)
        if smaller == scenario:
            return scenario
        scenario = smaller


def _with_fewer_rows(scenario: Scenario, fails: Fails) -> Scenario:
    for table in ROWS:
        size = len(getattr(scenario, table))
        while size:
            begin = 0
            while begin < len(rows := getattr(scenario, table)):
                fewer = _consistent(replace(scenario, **{table: rows[:begin] + rows[begin + size :]}))
                if fewer.listeners and fails(fewer):
                    scenario = fewer
                else:
                    begin += size
            size //= 2
    return scenario


def _consistent(scenario: Scenario) -> Scenario:
    """Return `scenario` with faults of the listeners that there are; one that is nobody's any more is none."""
    names = {group.name for group in scenario.listeners}
    left = ((fault, tuple(n for n in fault.listeners if n in names)) for fault in scenario.faults)
    faults = tuple(replace(fault, listeners=told) for fault, told in left if told or not fault.listeners)
    return replace(scenario, faults=faults)


def _simpler(scenario: Scenario) -> Iterator[Callable[[Scenario], Scenario]]:
    """Yield what can be tried, each a change of one thing."""
    for name, usual in _unusual(scenario):
        if name not in KEPT and name != "config":
            yield lambda s, name=name, usual=usual: replace(s, **{name: usual})
    for key in scenario.config:
        yield lambda s, key=key: replace(s, config={k: v for k, v in s.config.items() if k != key})
    yield from (lambda s, name=name: _set(s, ("host", name[0]), name[1]) for name in _unusual(scenario.host))
    for row, group in enumerate(scenario.listeners):
        for name, usual in _unusual(group):
            if name != "name":
                yield lambda s, row=row, name=name, usual=usual: _set(s, ("listeners", row, name), usual)
            if is_dataclass(part := getattr(group, name)):
                for key, value in _unusual(part):
                    path = ("listeners", row, name, key)
                    yield lambda s, path=path, value=value: _set(s, path, value)
    for row, fault in enumerate(scenario.faults):
        for name, usual in _unusual(fault):
            if name not in {"kind", "at_s"}:
                yield lambda s, row=row, name=name, usual=usual: _set(s, ("faults", row, name), usual)


def _unusual(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a dataclass that are not as by default, with what is."""
    for each in fields(value):
        usual = each.default if each.default_factory is MISSING else each.default_factory()
        if usual is not MISSING and getattr(value, each.name) not in (None, usual):
            yield each.name, usual


def _set(whole: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return `whole` with another value at `path`, or as it is where there is nothing any more."""
    first, rest = path[0], path[1:]
    part = whole[first] if isinstance(first, int) else getattr(whole, first)
    if part is None:
        return whole
    changed = _set(part, rest, value) if rest else value
    return (
        (*whole[:first], changed, *whole[first + 1 :]) if isinstance(first, int) else replace(whole, **{first: changed})
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", nargs="?", type=Path)
    parser.add_argument("--swarm", action="store_true", help="the party that the seed draws")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--listeners", type=int)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--seconds", type=float, default=600.0, help="how long to try")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    if options.swarm == (options.scenario is not None):
        parser.error("a scenario file or --swarm, one of them")
    task = Task(seed=options.seed, scenario=options.scenario, listeners=options.listeners, minutes=options.minutes)
    until, runs = time.monotonic() + options.seconds, 0
    try:
        scenario = task.load()
    except ConfigError as error:
        parser.error(str(error))
    wrong = kinds(run_scenario(scenario, options.seed).violations)
    if not wrong:
        print(f"{task.command}: nothing is wrong")
        return 1

    def fails(changed: Scenario) -> bool:
        nonlocal runs
        if time.monotonic() > until:
            return False
        runs += 1
        try:
            same = bool(wrong & kinds(run_scenario(changed, options.seed).violations))
        except ConfigError:
            return False  # what is left makes no sense
        if same:
            lines = list(toml_lines(changed))
            options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
            print(f"run {runs}: {len(lines)} lines", flush=True)
        return same

    options.out.write_text("\n".join(toml_lines(scenario)) + "\n", encoding="utf-8")
    shrink(scenario, fails)
    print(f"{options.out}: what is left after {runs} runs{', the time being over' if time.monotonic() > until else ''}")
    print(f"again: radiosync sim --scenario {options.out} --seed {options.seed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
