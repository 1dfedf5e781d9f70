"""The demo's tune: the same every time, soon made, loud enough, and of use to a measurement."""

import time
from itertools import pairwise

import numpy as np
import pytest

from radiosync.audio.correlate import lag
from radiosync.ui.tune import tune

RATE = 44_100
TUNE = tune(RATE, 12)


def test_shape_and_level() -> None:
    assert TUNE.shape == (12 * RATE, 2)
    assert TUNE.dtype == np.int16
    peak_db = 20 * np.log10(np.abs(TUNE.astype(float)).max() / 32768)
    assert peak_db == pytest.approx(-3, abs=0.1)


def test_the_same_every_time() -> None:
    assert np.array_equal(tune(RATE, 12), TUNE)


def test_soon_made() -> None:
    times_s = []
    for _ in range(3):  # the best of three, and without what others do meanwhile
        start = time.process_time()
        tune(RATE, 12)
        times_s.append(time.process_time() - start)
    assert min(times_s) < 0.7


@pytest.mark.parametrize("rate", [8_000, 48_000, 192_000])
@pytest.mark.parametrize("seconds", [0, 0.001, 0.5, 1.99, 4, 7.3])
def test_any_rate_and_length(rate: int, seconds: float) -> None:
    made = tune(rate, seconds)
    assert made.shape == (round(rate * seconds), 2)
    if seconds >= 0.5:
        assert np.abs(made).max() > 20_000


def test_it_sounds_all_the_way_and_ends_without_a_click() -> None:
    for start in range(0, len(TUNE) - RATE, RATE // 2):
        for channel in (0, 1):
            assert np.std(TUNE[start : start + RATE // 2, channel].astype(float)) > 300
    assert np.abs(TUNE[-20:]).max() < 100
    assert np.abs(TUNE[: RATE // 20]).max() > 3000, "it begins at once"


def test_it_is_stereo_and_no_beep() -> None:
    left, right = TUNE.astype(float).T
    assert 0.3 < np.corrcoef(left, right)[0, 1] < 0.98
    power = np.abs(np.fft.rfft(left)) ** 2
    bands = [20, 100, 250, 600, 1500, 4000, 10_000, 20_000]  # Hz
    frequencies = np.fft.rfftfreq(len(left), 1 / RATE)
    for low, high in pairwise(bands):
        share = power[(frequencies >= low) & (frequencies < high)].sum() / power.sum()
        assert 0.0005 < share < 0.6, f"{low} to {high} Hz"


def test_no_two_places_look_alike() -> None:
    """A second of it, taken anywhere, is found where it was and nowhere else."""
    for start_s in np.arange(0, 10.5, 1.5):
        start = round(start_s * RATE)
        piece = TUNE[start : start + RATE]
        assert lag(TUNE, piece, RATE) == pytest.approx((-start, 1), abs=1e-3)
        elsewhere = TUNE.copy()
        elsewhere[start : start + RATE] = 0
        assert lag(elsewhere, piece, RATE).correlation < 0.6
