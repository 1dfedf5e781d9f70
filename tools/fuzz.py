#!/usr/bin/env python3
"""Throws made-up bytes at whatever reads bytes that somebody else wrote, until it raises or the time is up.

    .venv/bin/python tools/fuzz.py                               the targets, and who drives them
    .venv/bin/python tools/fuzz.py listener --seconds 300        one of them
    .venv/bin/python tools/fuzz.py all --seconds 60              each for a minute
    .venv/bin/python tools/fuzz.py listener --keep               keep in the corpus what reaches something new

tests/corpus holds what to begin with, one input a line in hex; what raised once belongs there too, so that the tests
replay it.  With atheris (`pip install atheris`, Linux and macOS) an input is changed further if it reaches lines that
no other has reached; without it, hypothesis makes changes of the corpus, and shrinks what raises.

Exit status 1 where something raised; the input is then shown in hex.
"""

import argparse
import importlib.util
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[1]
CORPUS = ROOT / "tests" / "corpus"
INPUT_BYTES_MAX = 4096  # a longer one says nothing that a shorter one does not
KEPT_BYTES_MAX = 512  # of an input that is kept: the corpus is read by people too
KEPT_MAX = 60  # inputs of a target: a second to replay
EXAMPLES = 500  # between two looks at the clock

Target = Callable[[bytes], None]


def load_targets() -> dict[str, Target]:
    """Return the targets by name."""
    found: dict[str, Target] = importlib.import_module("fuzz_targets").TARGETS
    return found


def corpus(name: str) -> list[bytes]:
    """Return the inputs that are kept for a target."""
    path = CORPUS / f"{name}.hex"
    return [bytes.fromhex(line) for line in path.read_text().splitlines()] if path.exists() else []


def changed(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Return changes of the seeds: bytes replaced, cut out, put in; and now and then anything."""
    anything = st.binary(max_size=KEPT_BYTES_MAX)
    if not seeds:
        return anything
    seed = st.sampled_from(list(seeds))
    edit = st.tuples(st.integers(0, INPUT_BYTES_MAX), st.integers(0, 8), st.binary(max_size=8))

    def edited(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
        for place, cut, put in edits:
            at = place % (len(data) + 1)
            data = data[:at] + put + data[at + cut :]
        return data[:INPUT_BYTES_MAX]

    edits = st.lists(edit, min_size=1, max_size=6)
    return st.builds(edited, seed, edits) | st.builds(bytes.__add__, seed, seed) | anything


def drive_by_hypothesis(target: Target, seeds: Sequence[bytes], until: float) -> bytes | None:
    """Try changes of the seeds until `until`; return the smallest input that raised, if one did."""
    tried = [b""]

    def attempt(data: bytes) -> None:
        tried[0] = data
        target(data)

    rounds = 0
    while rounds == 0 or time.monotonic() < until:
        rounds += 1
        run = settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=False,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )(given(changed(seeds))(attempt))
        try:
            run()
        except Exception as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            return tried[0]  # hypothesis ends with the smallest
    return None


def drive_by_atheris(name: str, seeds: Sequence[bytes], seconds: int, *, keep: bool) -> bytes | None:
    """Let atheris look, in a process of its own; return the input that raised, if one did."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        found, known = Path(folder) / "found", Path(folder) / "known"
        for place in (found, known):
            place.mkdir()
        for number, seed in enumerate(seeds):
            (known / f"{number:04}").write_bytes(seed)
        command = [sys.executable, __file__, name, "--inside", f"-max_total_time={seconds}"]
        command += [f"-artifact_prefix={folder}/", f"-max_len={INPUT_BYTES_MAX}", "-timeout=20", "-rss_limit_mb=2048"]
        done = subprocess.run([*command, str(found), str(known)], check=False, capture_output=True, text=True)
        raised = [path for pattern in ("crash-*", "timeout-*", "oom-*") for path in Path(folder).glob(pattern)]
        lines = done.stderr.splitlines()
        progress = [line for line in lines if re.match(r"#\d", line)]
        print(progress[-1] if progress else "\n".join(lines[-20:]), flush=True)
        if done.returncode and not raised:
            sys.exit(f"fuzz: atheris failed:\n{done.stderr[-2000:]}")
        if raised:
            print("\n".join(line for line in lines if not re.match(r"#\d", line)), file=sys.stderr)
            return raised[0].read_bytes()
        if keep:
            _keep(name, seeds, [path.read_bytes() for path in found.iterdir()])
        return None


def _keep(name: str, known: Sequence[bytes], found: Sequence[bytes]) -> None:
    """Add to the corpus what was found beside it, the short ones first."""
    new = sorted((data for data in set(found) - set(known) if data), key=lambda data: (len(data), data))
    new = [data for data in new if len(data) <= KEPT_BYTES_MAX][: max(0, KEPT_MAX - len(known))]
    CORPUS.mkdir(exist_ok=True)
    (CORPUS / f"{name}.hex").write_text("".join(f"{data.hex()}\n" for data in [*known, *new]))
    print(f"{name}: {len(new)} inputs added")


def run_inside_atheris(name: str, options: list[str]) -> None:
    """Hand this process to atheris, which ends it."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["radiosync", "tomllib", "json", "fuzz_targets"]):
        target = load_targets()[name]
    atheris.Setup([sys.argv[0], *options], target)
    atheris.Fuzz()


def has_atheris() -> bool:
    """Say whether atheris can be had."""
    return importlib.util.find_spec("atheris") is not None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", nargs="?", help='one of the targets, or "all"')
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument(
        "--keep", action="store_true", help="write what reaches something new to tests/corpus (atheris)"
    )
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options, rest = parser.parse_known_args()
    if options.inside:
        run_inside_atheris(options.target, rest)
    targets = load_targets()
    if options.target is None or rest:
        driver = "atheris" if has_atheris() else "hypothesis (atheris is not installed)"
        sys.exit(f"driven by {driver}; the targets are {', '.join(targets)}")
    names = list(targets) if options.target == "all" else [options.target]
    if unknown := set(names) - set(targets):
        sys.exit(f"fuzz: there is no target {unknown.pop()}; there are {', '.join(targets)}")
    failed = 0
    for name in names:
        print(f"{name} ...", flush=True)
        if has_atheris():
            raised = drive_by_atheris(name, corpus(name), options.seconds, keep=options.keep)
        else:
            raised = drive_by_hypothesis(targets[name], corpus(name), time.monotonic() + options.seconds)
        failed += raised is not None
        if raised is not None:
            print(f"{name} raises on this input; it belongs into {CORPUS / f'{name}.hex'}:\n{raised.hex()}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
