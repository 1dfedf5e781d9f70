"""The lab's cable loses what it was told to, in bursts as long as it was told."""

import random
import sys
from itertools import groupby
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools" / "lab"))

from relay import Direction

FRAMES = 200_000


def bursts(burst, spread):
    way = {"delay_ms": 0, "jitter_ms": 0, "loss_percent": 10, "burst": burst, "burst_spread": spread}
    direction = Direction(0, way, random.Random(1))
    lost = [direction.leaves_at(float(number)) is None for number in range(FRAMES)]
    return sum(lost) / FRAMES, [len(list(run)) for is_lost, run in groupby(lost) if is_lost]


@pytest.mark.parametrize(("burst", "spread", "least", "most"), [(12, 8, 4, 20), (8, 0, 1, None), (1, 0, 1, 1)])
def test_losses_come_in_bursts_of_the_length_asked_for(burst, spread, least, most):
    loss, lengths = bursts(burst, spread)
    assert loss == pytest.approx(0.1, rel=0.05)
    assert sum(lengths) / len(lengths) == pytest.approx(burst, rel=0.05)
    assert min(lengths) == least
    assert max(lengths) == most if most else max(lengths) > 3 * burst
