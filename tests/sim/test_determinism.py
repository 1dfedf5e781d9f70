"""One seed is one run, whatever the process."""

import os
import subprocess
import sys

from radiosync.sim.run import run_scenario
from radiosync.sim.scenario import Scenario
from radiosync.sim.swarm import draw

PROGRAM = """
import sys
from pathlib import Path
from radiosync.sim.run import run_scenario
from radiosync.sim.scenario import Scenario
from radiosync.sim.swarm import draw
print(run_scenario(Scenario.load(Path(sys.argv[1])), 7).trace_hash, run_scenario(draw(2), 2).trace_hash)
"""


def test_the_same_seed_gives_the_same_trace(scenarios):
    scenario = Scenario.load(scenarios / "lossy.toml")
    first, again, other = (run_scenario(scenario, seed).trace_hash for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_the_trace_does_not_depend_on_how_strings_are_hashed(scenarios):
    path = str(scenarios / "lossy.toml")
    hashes = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM, path],
            env=os.environ | {"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(hashes) == 1
    here = run_scenario(Scenario.load(scenarios / "lossy.toml"), 7), run_scenario(draw(2), 2)
    assert hashes == {" ".join(run.trace_hash for run in here) + "\n"}
