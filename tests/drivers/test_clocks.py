import itertools
import subprocess
import sys
import time
from pathlib import Path

import pytest

from radiosync.drivers import clocks
from radiosync.drivers.clocks import MediaClock, local_from_real, local_minus, local_now, real_now
from radiosync.drivers.startup import Startup


def test_the_local_clock_never_goes_back():
    readings = [local_now() for _ in range(1000)]
    assert readings == sorted(readings)


def test_a_bracketed_read_relates_two_clocks():
    assert abs(local_minus(local_now)) < 1_000_000, "a clock is not ahead of itself, however busy the machine"


def test_the_narrowest_bracket_counts(monkeypatch):
    raw = iter([0, 100, 1000, 1010, 2000, 2500])
    monkeypatch.setattr(clocks, "_raw_ns", lambda: next(raw))
    there = itertools.count(500_000, 1000)
    assert local_minus(lambda: next(there)) == 1005 - 501_000


def test_a_receive_stamp_is_mapped_rather_late_than_early(monkeypatch):
    raw = iter([0, 100, 1000, 1010, 2000, 2500])
    monkeypatch.setattr(clocks, "_raw_ns", lambda: next(raw))
    monkeypatch.setattr(clocks.time, "time_ns", lambda: 700_000)
    assert local_from_real(clocks.RealNs(700_000)) == 1010


def test_the_media_clock_reads_as_utc_and_runs_as_the_local_clock():
    media = MediaClock()
    assert abs(media.now() - real_now()) < 50_000_000
    at = local_now()
    assert media.at(clocks.LocalNs(at + 12_345)) - media.at(at) == 12_345


@pytest.mark.parametrize("missing", [False, True])
def test_without_a_raw_clock_another_serves(monkeypatch, missing):
    if missing:
        monkeypatch.delattr(clocks.time, "CLOCK_MONOTONIC_RAW", raising=False)
    read = clocks._raw_reader()
    first, second = read(), read()
    assert 0 <= second - first < 10_000_000_000


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the kernel does not say when a process began")
def test_the_kernel_says_when_this_process_began():
    code = "import time; time.sleep(0.3); from radiosync.drivers.clocks import process_age_ns as age; print(age())"
    began = time.monotonic_ns()
    age_ns = int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    assert 290_000_000 <= age_ns <= time.monotonic_ns() - began + 10_000_000, "but for the kernel's tick"


def test_a_phase_is_noted_when_it_is_first_reached():
    startup = Startup()
    startup.reached("host", clocks.LocalNs(startup._began_at + 250_000_000))
    startup.reached("host", clocks.LocalNs(startup._began_at + 900_000_000))
    startup.reached("clock")
    assert startup.reached_s["host"] == 0.25
    assert list(startup.reached_s) == ["host", "clock"]
