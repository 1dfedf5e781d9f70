"""What is thrown at the parsers: each takes its corpus and changes of it, and one that raises is found out."""

import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import fuzz

TARGETS = fuzz.load_targets()


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_is_taken(name: str) -> None:
    inputs = fuzz.corpus(name)
    assert inputs
    for data in inputs:
        TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=30)
@given(data=st.data())
def test_changes_of_the_corpus_are_taken(name: str, data: st.DataObject) -> None:
    TARGETS[name](data.draw(fuzz.changed(fuzz.corpus(name))))


def test_there_is_a_corpus_for_nothing_else() -> None:
    assert {path.stem for path in fuzz.CORPUS.iterdir()} == set(TARGETS)


def test_an_input_that_raises_is_found_and_made_small(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def raising(data: bytes) -> None:
        if b"!" in data:
            raise ValueError("as planned")

    monkeypatch.setattr(fuzz, "EXAMPLES", 50)
    found = fuzz.drive_by_hypothesis(raising, [b"a long one with a ! in it", b"and one without"], time.monotonic())
    assert found is not None
    assert b"!" in found
    assert "as planned" in capsys.readouterr().err
    assert fuzz.drive_by_hypothesis(lambda data: None, [b"abc"], time.monotonic()) is None
