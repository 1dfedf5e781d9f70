import itertools

import pytest

from radiosync.drivers import clocks
from radiosync.drivers.clocks import MediaClock, local_from_real, local_minus, local_now, real_now


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
