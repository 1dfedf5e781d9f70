"""`radiosync sim`: what is told of a run is enough to have it again."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time

import pytest

from radiosync import cli
from radiosync.errors import ConfigError
from radiosync.sim.describe import toml_lines
from radiosync.sim.recorder import Recorder
from radiosync.sim.scenario import Scenario
from radiosync.sim.swarm import draw
from radiosync.ui.simulate import Task, parse_seeds, run_sim, run_task

SHORT = """
title = "short"
[stream]
songs_s = [1.0, 1.0]
[config.host]
codec = "pcm"
[config.radio_sync]
buffer_duration = 1.0
[[listeners]]
name = "a"
count = 2
[[listeners]]
name = "b"
down = { loss = 0.1 }
[limits]
complete = true
"""


@pytest.fixture
def short(tmp_path):
    path = tmp_path / "short.toml"
    path.write_text(SHORT, encoding="utf-8")
    return path


@pytest.fixture
def impossible(tmp_path):
    path = tmp_path / "impossible.toml"
    path.write_text(SHORT + "exact_error_ns_p99_max = 1\n", encoding="utf-8")
    return path


def sim(*words):
    """Return the exit status of `radiosync sim`."""
    before, sys.argv = sys.argv, ["radiosync", "sim", *map(str, words)]
    try:
        with pytest.raises(SystemExit) as done:
            cli.main()
    finally:
        sys.argv = before
    return done.value.code


def told(capsys):
    """Return what was said, but for how far a run is, which is said on slow machines alone."""
    return [line for line in capsys.readouterr().err.splitlines() if " s of " not in line]


def test_a_good_run_is_one_line_and_status_0(short, capsys):
    assert sim("--scenario", short, "--seed", 3) == 0
    (line,) = told(capsys)
    assert "passed" in line
    assert "short" in line


def test_a_failure_tells_the_command_that_makes_it_again(impossible, capsys):
    assert sim("--scenario", impossible, "--seed", 3, "--listeners", 4, "--minutes", 0.05) == 1
    lines = told(capsys)
    assert "FAILED" in lines[0]
    assert any("from their play-at" in line for line in lines)
    again = shlex.split(lines[-1].partition("again: ")[2])
    assert again[:2] == ["radiosync", "sim"]
    assert sim(*again[2:]) == 1
    assert told(capsys)[0].split()[-2] == lines[0].split()[-2], "the same trace"


def test_of_several_seeds_each_is_told_and_the_failed_are_named(impossible, capsys):
    assert sim("--scenario", impossible, "--seeds", "3..4", "--minutes", 0.02, "--jobs", 2) == 1
    lines = told(capsys)
    assert sum("again: " in line for line in lines) == 2
    assert lines[-1].endswith("2 FAILED: 3, 4")


def test_outcomes_are_told_as_they_come(short, capsys, monkeypatch):
    monkeypatch.setattr("radiosync.ui.simulate.run_task", run_the_third_at_once)
    assert sim("--scenario", short, "--seeds", "3..5", "--minutes", 0.02, "--jobs", 3) == 0
    _, first, *_, summary = told(capsys)
    assert first.split()[0] == "5"
    assert summary.startswith("3 runs")


def run_the_third_at_once(task):
    if task.seed != 5:
        time.sleep(1)
    return run_task(task)


def in_group(group):
    """Return the processes of a process group that have not ended."""
    rows = subprocess.run(["ps", "-eo", "pgid=,pid=,stat="], capture_output=True, text=True, check=True).stdout
    return {int(pid) for pgid, pid, stat in map(str.split, rows.splitlines()) if int(pgid) == group and stat[0] != "Z"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_who_is_ended_leaves_no_party_running(number):
    words = ["-m", "radiosync", "sim", "--swarm", "--minutes", "600", "--seeds", "1..4", "--jobs", "2"]
    with subprocess.Popen([sys.executable, *words], stderr=subprocess.DEVNULL, start_new_session=True) as sims:
        try:
            assert within(60, lambda: len(in_group(sims.pid)) == 3)
            sims.send_signal(number)
            assert sims.wait(30) != 0
            assert within(10, lambda: not in_group(sims.pid))
        finally:
            for pid in in_group(sims.pid):
                os.kill(pid, signal.SIGKILL)


def within(seconds, true):
    """Say whether it becomes true in that time."""
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def test_what_a_seed_draws_can_be_kept_as_a_file(tmp_path):
    for seed in range(20):
        path = tmp_path / "drawn.toml"
        path.write_text("\n".join(toml_lines(draw(seed))), encoding="utf-8")
        assert Scenario.load(path) == draw(seed)


def test_a_drawn_party_that_fails_is_told_as_a_file(monkeypatch):
    said = []
    monkeypatch.setattr("radiosync.sim.checkers.JUDGES", (lambda world, scenario: ["wrong"],))
    assert not run_sim(None, swarm=True, seeds=range(2, 3), listeners=1, minutes=0.36, say=said.append)
    assert "    wrong" in said
    assert "    | [[listeners]]" in said
    assert said[-1] == "again: radiosync sim --swarm --seed 2 --listeners 1 --minutes 0.36"


def test_listeners_and_minutes_change_the_scenario(short):
    scenario = Task(seed=1, scenario=short, listeners=7, minutes=0.5).load()
    assert [group.count for group in scenario.listeners] == [4, 3]
    assert scenario.stream.seconds == 30.0
    assert Task(seed=1, scenario=short).load() == Scenario.load(short)


def test_the_trace_tells_of_every_listener_and_changes_nothing(short):
    rows = []
    written = run_task(Task(seed=5, scenario=short), rows.append)
    assert written.trace_hash == run_task(Task(seed=5, scenario=short)).trace_hash
    json.dumps(rows)
    assert rows[0] == {"kind": "run", "title": "short", "seed": 5}
    samples = [row for row in rows if row["kind"] == "sample"]
    assert {row["name"] for row in samples} == {"a", "a2", "b"}
    playing = [row for row in samples if row["state"] == "PLAYING"]
    assert max(abs(row["true_error_ns"]) for row in playing) < 1_000_000
    assert max(abs(row["clock_error_ns"]) for row in playing) < 1_000_000
    assert max(row.get("repaired", 0) for row in samples if row["name"] == "b") > 0
    assert any("SongStarted" in row["event"] for row in rows if row["kind"] == "event")


def test_an_exception_in_a_session_is_a_violation_and_not_the_end(short, monkeypatch):
    def broken(self):
        raise KeyError("of a session")

    monkeypatch.setattr(Recorder, "look", broken)
    (violation,) = run_task(Task(seed=5, scenario=short), lambda row: None).violations
    assert "raised KeyError: 'of a session'" in violation


@pytest.mark.parametrize("text", ["", "1", "1..", "..2", "3..2", "-1..2", "a..b", "0..1000000"])
def test_seeds_that_are_none(text):
    with pytest.raises(ConfigError, match=r"A\.\.B"):
        parse_seeds(text)


def test_seeds_include_the_last():
    assert list(parse_seeds("7..9")) == [7, 8, 9]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ((), "--swarm"),
        (("--swarm", "--scenario", "{short}"), "one of them"),
        (("--swarm", "--listeners", 0), "--listeners 0"),
        (("--swarm", "--minutes", -1), "--minutes -1"),
        (("--swarm", "--minutes", 0.1), "--minutes 0.1: a drawn party lasts 0.35 minutes at the least"),
        (("--swarm", "--seeds", "0..1", "--trace", "t"), "--trace"),
        (("--swarm", "--seeds", "0..1", "--jobs", 100_000), "--jobs"),
        (("--scenario", "nowhere.toml"), "nowhere.toml"),
        (("--scenario", "{short}", "--trace", "/nowhere/t"), "/nowhere/t"),
    ],
)
def test_a_mistake_is_one_line(words, named, short, capsys):
    assert sim(*(str(word).format(short=short) for word in words)) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert named in line
    assert line.startswith("radiosync: ")


def test_with_isolation_a_run_is_compared_with_one_without_villains(short, capsys):
    text = short.read_text(encoding="utf-8").replace("[limits]", "[limits]\nisolation_ns_max = 0")
    assert sim("--scenario", short, "--seed", 3, "--isolation") == 0
    villain = '\n[[villains]]\nkind = "parrot"\nat_s = 0.5\nfor_s = 2\nrate_per_s = 200\n'
    short.write_text(text + villain, encoding="utf-8")
    assert sim("--scenario", short, "--seed", 3) == 0
    capsys.readouterr()
    assert sim("--scenario", short, "--seed", 3, "--isolation") == 1
    lines = told(capsys)
    assert any("without the disturbance; limit 0" in line for line in lines), "not to the nanosecond"
    assert lines[-1].endswith("--isolation")


def test_with_isolation_a_drawn_party_is_compared_with_one_without_its_last_group(capsys):
    assert sim("--swarm", "--seed", 8002, "--isolation") == 0
    assert told(capsys)[-1].startswith("    8002  passed")
    broken = Task(seed=8002, scenario=None, isolation=True).load().listeners
    assert [group.broken for group in broken] == [False, True]
