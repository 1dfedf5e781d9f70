"""The first thing that a newcomer runs."""

import re

from party import run

LATE_US = 50_000  # the demo itself wants a millisecond; a busy machine may be later, a wrong timeline is so by far more


def test_the_demo_plays_and_measures() -> None:
    done = run("demo", "--files")
    assert done.returncode in (0, 1), done.stderr
    rows = re.findall(r"^(\w+) +([+-]\d+) µs +\d+ +\d+ +(\d+) +([\d.]+)%$", done.stderr, re.MULTILINE)
    assert [name for name, *_ in rows] == ["kitchen", "bedroom"], done.stderr
    for _, first_frame_us, concealed, alike in rows:
        assert abs(int(first_frame_us)) < LATE_US
        assert int(concealed) == 0
        assert float(alike) > 99
    apart = re.search(r"^bedroom played (\d+) µs (after|before) kitchen$", done.stderr, re.MULTILINE)
    assert apart is not None
    assert int(apart[1]) < LATE_US
    assert done.returncode == (0 if done.stderr.rstrip().endswith("\nin sync") else 1)
