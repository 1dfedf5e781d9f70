#!/usr/bin/env python3
"""Puts deliberate bugs into a copy of the program, one at a time, and sees that the tests named for each catch it.

    .venv/bin/python tools/mutants.py                          all of them: some minutes
    .venv/bin/python tools/mutants.py cookie-not-checked ...   some
    .venv/bin/python tools/mutants.py --list                   what there is

tools/mutants.toml has them: a file, a text that stands in it exactly once, what takes its place, and the tests.
A list that the program has moved away from is refused.  Nothing here changes a file of the repository.  Exit status 1
if a bug survived its tests, or broke the program so that they could not be run.
"""

import argparse
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

from mutation import ROOT, Outcome, copy_program, run_tests

LIST = Path(__file__).with_name("mutants.toml")


@dataclass(frozen=True)
class Mutant:
    """One bug: `old` stands exactly once in `file`, and `new` takes its place."""

    name: str
    means: str
    """What somebody would notice of it."""
    file: str
    old: str
    new: str
    tests: list[str]

    def applied(self, source: str) -> str:
        """Return the source with the bug in it; ValueError where its text is not found exactly once."""
        count = source.count(self.old)
        if count != 1:
            raise ValueError(f"{self.name}: {count} places in {self.file} read {self.old!r}; there has to be one")
        return source.replace(self.old, self.new)


def read_mutants() -> list[Mutant]:
    """Return the list."""
    with LIST.open("rb") as file:
        return [Mutant(**each) for each in tomllib.load(file)["mutant"]]


def try_out(mutant: Mutant) -> Outcome:
    """Run the tests of a mutant on it."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        path = copy_program(Path(folder)).parent / mutant.file
        path.write_text(mutant.applied(path.read_text(encoding="utf-8")), encoding="utf-8")
        return run_tests(mutant.tests, Path(folder))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="mutants; all if none is named")
    parser.add_argument("--list", action="store_true", help="tell what each of them is, and try none")
    options = parser.parse_args()
    mutants = {mutant.name: mutant for mutant in read_mutants()}
    if unknown := [name for name in options.names if name not in mutants]:
        sys.exit(f"mutants: there is none called {', '.join(unknown)}")
    chosen = [mutants[name] for name in options.names] or list(mutants.values())
    if options.list:
        for mutant in chosen:
            print(f"{mutant.name:36} {mutant.means}")
        return
    for mutant in chosen:
        try:
            mutant.applied((ROOT / mutant.file).read_text(encoding="utf-8"))
        except ValueError as error:
            sys.exit(f"mutants: {error}")
    if run_tests(sorted({test for mutant in chosen for test in mutant.tests}), None) is not Outcome.PASSED:
        sys.exit("mutants: the tests fail as it is")
    caught = 0
    for mutant in chosen:
        began = time.monotonic()
        outcome = try_out(mutant)
        noticed = outcome in (Outcome.FAILED, Outcome.HUNG)
        verdict = "caught" if noticed else "SURVIVED" if outcome is Outcome.PASSED else "BROKEN"
        caught += noticed
        print(f"{verdict:8} {mutant.name:36} {time.monotonic() - began:5.1f} s", flush=True)
    print(f"{caught} of {len(chosen)} caught")
    sys.exit(0 if caught == len(chosen) else 1)


if __name__ == "__main__":
    main()
