"""What the tools share that break the program on purpose: a copy of it, and tests run on that copy."""

import os
import resource
import shutil
import subprocess
import sys
from enum import StrEnum
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CPU_S = 120  # for the tests of one change: what spins has noticed too; processor time, since the machine may be busy
TIMEOUT_S = 1800
TESTS_FAILED = 1  # pytest's exit status; a higher one says that it could not run them


class Outcome(StrEnum):
    """What became of the tests."""

    PASSED = "passed"
    FAILED = "failed"
    HUNG = "hung"
    BROKEN = "broken"
    """They could not be run at all: a change that does not even import proves nothing."""


def copy_program(folder: Path) -> Path:
    """Leave a copy of the program in `folder` and return where."""
    shutil.copytree(ROOT / "radiosync", folder / "radiosync", ignore=shutil.ignore_patterns("__pycache__"))
    return folder / "radiosync"


def run_tests(tests: list[str], folder: Path | None) -> Outcome:
    """Run tests, named from tests/ on, with what lies in `folder` first on the path."""
    path = [str(folder), str(ROOT)] if folder is not None else [str(ROOT)]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--no-header"]
    command += [str(ROOT / "tests" / test) for test in tests]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONSAFEPATH": "1",
    }

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))

    try:
        done = subprocess.run(
            command,
            env=environment,
            cwd=ROOT,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
            preexec_fn=limit if folder is not None else None,
        )
    except subprocess.TimeoutExpired:
        return Outcome.HUNG
    if done.returncode < 0:  # a signal's
        return Outcome.HUNG
    if done.returncode > TESTS_FAILED:
        return Outcome.BROKEN
    return Outcome.FAILED if done.returncode else Outcome.PASSED
