"""`radiosync sim`: runs of the simulator, each told with what is needed to have it again."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import active_children
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from radiosync.errors import ConfigError
from radiosync.sim.describe import toml_lines
from radiosync.sim.isolation import disturbances, with_one_broken
from radiosync.sim.recorder import Write
from radiosync.sim.run import Progress, run_scenario
from radiosync.sim.scenario import Scenario
from radiosync.sim.swarm import draw

LISTENERS_MAX = 4096  # what a host keeps rows for
MINUTES_MAX = 24 * 60.0
SEEDS_MAX = 1_000_000
VIOLATIONS_SHOWN = 20
PROGRESS_S = 2.0  # between two lines about a long run

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One run: of a scenario file, or of a party drawn from the seed."""

    seed: int
    scenario: Path | None
    listeners: int | None = None
    minutes: float | None = None
    isolation: bool = False
    """Whether to run it again without villains and broken listeners, and compare."""

    def load(self) -> Scenario:
        """Return the scenario; raises ConfigError."""
        if self.scenario is not None:
            return Scenario.load(self.scenario).scaled(self.listeners, self.minutes)
        try:
            drawn = draw(self.seed, listeners=self.listeners, minutes=self.minutes)
            return with_one_broken(drawn) if self.isolation else drawn
        except ValueError as error:
            raise ConfigError(f"--minutes {self.minutes:g}: {error}") from None

    @property
    def command(self) -> str:
        """The command that makes this run again."""
        words = ["radiosync sim", "--swarm" if self.scenario is None else f"--scenario {self.scenario}"]
        words.append(f"--seed {self.seed}")
        if self.listeners is not None:
            words.append(f"--listeners {self.listeners}")
        if self.minutes is not None:
            words.append(f"--minutes {self.minutes:g}")
        if self.isolation:
            words.append("--isolation")
        return " ".join(words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a run, as far as it is told."""

    task: Task
    title: str
    violations: tuple[str, ...]
    options: tuple[str, ...]
    trace_hash: str
    listeners: int
    virtual_s: float
    took_s: float

    @property
    def row(self) -> str:
        """Its line in the summary."""
        verdict = f"FAILED ({len(self.violations)})" if self.violations else "passed"
        speed = self.virtual_s / max(self.took_s, 1e-3)
        return (
            f"{self.task.seed:>8}  {verdict:<12}{self.listeners:>5}{self.virtual_s:>9.1f} s{self.took_s:>8.1f} s"
            f"{speed:>7.0f} x  {self.trace_hash[:16]}  {self.title}"
        )


HEADER = "    seed  verdict     ears  virtual     took    speed  trace             scenario"


def run_sim(
    scenario: Path | None,
    *,
    swarm: bool,
    seeds: range,
    jobs: int = 1,
    listeners: int | None = None,
    minutes: float | None = None,
    isolation: bool = False,
    trace: Path | None = None,
    say: Say,
) -> bool:
    """Make the runs and tell what came of them; say whether nothing was wrong.  Raises ConfigError."""
    if swarm == (scenario is not None):
        raise ConfigError("--scenario, --swarm: say which file to run, or that parties be drawn; one of them")
    if listeners is not None and not 1 <= listeners <= LISTENERS_MAX:
        raise ConfigError(f"--listeners {listeners}: must be 1 to {LISTENERS_MAX}")
    if minutes is not None and not 0 < minutes <= MINUTES_MAX:
        raise ConfigError(f"--minutes {minutes:g}: must be above 0 and at most {MINUTES_MAX:g}")
    if trace is not None and len(seeds) > 1:
        raise ConfigError("--trace: is of one run; give one --seed")
    tasks = [
        Task(seed=seed, scenario=scenario, listeners=listeners, minutes=minutes, isolation=isolation) for seed in seeds
    ]
    tasks[0].load()  # a mistake in the file is told before anything runs
    outcomes = []
    if len(tasks) > 1:
        say(HEADER)
    for outcome in _outcomes(tasks, jobs, trace, say):
        outcomes.append(outcome)
        say(outcome.row)
        if outcome.violations:
            _tell_failure(outcome, say)
    failed = sorted(outcome.task.seed for outcome in outcomes if outcome.violations)
    if len(tasks) > 1:
        virtual_h = sum(outcome.virtual_s for outcome in outcomes) / 3600
        named = f", {len(failed)} FAILED: {', '.join(map(str, failed))}" if failed else ", none failed"
        say(f"{len(outcomes)} runs, {virtual_h:.2f} virtual hours{named}")
    return not failed


def parse_seeds(text: str) -> range:
    """Return the seeds that "A..B" means, both included; raises ConfigError."""
    first, dots, last = text.partition("..")
    try:
        seeds = range(int(first), int(last) + 1)
    except ValueError:
        seeds = range(0)
    if not dots or not 0 < len(seeds) <= SEEDS_MAX or seeds[0] < 0:
        raise ConfigError(f"--seeds {text}: must be A..B, with A not above B, and at most {SEEDS_MAX} of them")
    return seeds


def _outcomes(tasks: list[Task], jobs: int, trace: Path | None, say: Say) -> Iterator[Outcome]:
    if len(tasks) == 1:
        with _writing(trace) as write:
            yield run_task(tasks[0], write, _progress(say))
        return
    if jobs == 1:
        yield from map(run_task, tasks)
        return
    if not 1 <= jobs <= (most := 4 * (os.cpu_count() or 1)):
        raise ConfigError(f"--jobs {jobs}: must be 1 to {most}")
    with _workers(jobs) as pool:
        for done in as_completed([pool.submit(run_task, task) for task in tasks]):
            yield done.result()


@contextmanager
def _workers(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Hold processes that end with us, at SIGTERM and Ctrl-C too: a long party would keep them for minutes."""

    def leave(number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    usual = signal.getsignal(signal.SIGTERM)
    pool = ProcessPoolExecutor(jobs, initializer=signal.signal, initargs=(signal.SIGTERM, signal.SIG_DFL))
    signal.signal(signal.SIGTERM, leave)
    try:
        yield pool
    finally:
        signal.signal(signal.SIGTERM, usual)
        workers = active_children()
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.terminate()


def run_task(task: Task, write: Write | None = None, progress: Progress | None = None) -> Outcome:
    """Make one run."""
    began = time.monotonic()
    scenario = task.load()
    result = run_scenario(scenario, task.seed, write=write, progress=progress)
    violations = result.violations
    if task.isolation:
        violations += tuple(disturbances(scenario, task.seed, result.world))
    return Outcome(
        task=task,
        title=scenario.title,
        violations=violations,
        options=tuple(toml_lines(scenario)) if task.scenario is None and violations else (),
        trace_hash=result.trace_hash,
        listeners=sum(group.count for group in scenario.listeners),
        virtual_s=result.virtual_s,
        took_s=time.monotonic() - began,
    )


def _tell_failure(outcome: Outcome, say: Say) -> None:
    say(f"seed {outcome.task.seed}:")
    for violation in outcome.violations[:VIOLATIONS_SHOWN]:
        say(f"    {violation}")
    if (more := len(outcome.violations) - VIOLATIONS_SHOWN) > 0:
        say(f"    and {more} more")
    for line in outcome.options:
        say(f"    | {line}".rstrip())
    say(f"again: {outcome.task.command}")


def _progress(say: Say) -> Progress:
    told_at = time.monotonic()

    def tell(seconds: float, of_seconds: float) -> None:
        nonlocal told_at
        if time.monotonic() - told_at >= PROGRESS_S:
            told_at = time.monotonic()
            say(f"{seconds:.0f} s of {of_seconds:.0f} s")

    return tell


@contextmanager
def _writing(path: Path | None) -> Iterator[Write | None]:
    if path is None:
        yield None
        return
    try:
        file = sys.stdout if str(path) == "-" else path.open("w", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--trace {path}: can't be written: {error.strerror or error}") from None

    def write(row: dict[str, Any]) -> None:
        file.write(json.dumps(row) + "\n")

    try:
        yield write
    finally:
        if file is not sys.stdout:
            file.close()
