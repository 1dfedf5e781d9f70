"""A failing party is made smaller until only what makes it fail is left."""

import sys
from pathlib import Path

import pytest

from radiosync.sim.scenario import Fault, Scenario
from radiosync.sim.swarm import draw

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
from shrink import kinds, main, shrink


def test_what_does_not_matter_is_taken_away():
    party = draw(3, listeners=20, minutes=5)
    faults = tuple(Fault(kind="stall", at_s=float(n), for_s=1.0, listeners=("group0",)) for n in range(9))
    party = party.scaled(20, None)
    whole = Scenario(title="t", listeners=party.listeners, stream=party.stream, host=party.host, faults=faults)
    tried = []

    def fails(scenario):
        tried.append(scenario)
        at = [fault.at_s for fault in scenario.faults]
        return (
            3.0 in at
            and 7.0 in at
            and any(group.up.delay_ns == whole.listeners[0].up.delay_ns for group in scenario.listeners)
        )

    small = shrink(whole, fails)
    assert [fault.at_s for fault in small.faults] == [3.0, 7.0]
    assert len(small.listeners) == 1
    assert small.listeners[0].count == 1
    assert small.listeners[0].down == type(small.listeners[0].down)()
    assert small.stream == Scenario(title="t", listeners=()).stream
    assert len(tried) < 150


def test_violations_are_alike_whatever_their_numbers_and_names():
    one = kinds(("3.2 s: group12: asks for chunk -8, 8528 ms after its end",))
    assert one == kinds(("14 s: group0: asks for chunk 10, 1.5 ms after its end",)) != kinds(("group0: did not play",))


def test_a_party_that_does_not_fail_is_told(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", ["shrink", "--swarm", "--seed", "11", "--out", str(tmp_path / "out.toml")])
    assert main() == 1
    assert "nothing is wrong" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_a_party_that_fails_is_written_as_a_scenario(monkeypatch, tmp_path, capsys):
    """One whose limits no run can meet."""
    path = tmp_path / "party.toml"
    path.write_text(
        'title = "t"\n[stream]\nsongs_s = [2.0]\n[config.host]\ncodec = "pcm"\n[limits]\nstart_s_max = 0.0\n'
        '[[listeners]]\nname = "one"\n[[listeners]]\nname = "two"\nup = { loss = 0.1 }\n',
        encoding="utf-8",
    )
    out = tmp_path / "out.toml"
    monkeypatch.setattr(sys, "argv", ["shrink", str(path), "--seed", "1", "--out", str(out)])
    assert main() == 0
    left = Scenario.load(out)
    assert (len(left.listeners), left.limits.start_s_max) == (1, 0.0)
    assert f"again: radiosync sim --scenario {out} --seed 1" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--seed", "1"], ["p.toml", "--swarm", "--seed", "1"], ["no.toml", "--seed", "1"]])
def test_mistakes_are_told(monkeypatch, tmp_path, words):
    monkeypatch.setattr(sys, "argv", ["shrink", *words, "--out", str(tmp_path / "out.toml")])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
