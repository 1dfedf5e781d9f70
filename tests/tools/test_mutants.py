"""The list of deliberate bugs fits the program: each still has its place, and the tests that are to catch it exist."""

import ast
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from mutants import ROOT, Mutant, read_mutants

TESTS = ROOT / "tests"
MUTANTS = read_mutants()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_has_its_place_and_its_tests(mutant: Mutant) -> None:
    source = (ROOT / mutant.file).read_text(encoding="utf-8")
    changed = mutant.applied(source)
    assert changed != source
    ast.parse(changed)
    assert mutant.tests
    for test in mutant.tests:
        file, _, name = test.partition("::")
        assert not name or f"def {name}(" in (TESTS / file).read_text(encoding="utf-8")


def test_no_two_are_alike() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    assert len({(mutant.file, mutant.old, mutant.new) for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("text", ["nowhere", "import"])
def test_a_text_that_does_not_stand_there_once_is_refused(text: str) -> None:
    source = (ROOT / MUTANTS[0].file).read_text(encoding="utf-8")
    with pytest.raises(ValueError, match=f"{MUTANTS[0].name}: .* places"):
        replace(MUTANTS[0], old=text).applied(source)
