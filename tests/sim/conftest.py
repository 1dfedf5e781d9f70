from pathlib import Path

import pytest

from radiosync.sim.clocks import ClockSettings
from radiosync.sim.link import LinkSettings
from radiosync.sim.scenario import Limits, Listeners, Scenario, Stream

SCENARIOS = Path(__file__).parents[2] / "configs" / "scenarios"


@pytest.fixture(scope="session")
def scenarios():
    return SCENARIOS


@pytest.fixture(scope="session")
def make_scenario():
    """Return a maker of scenarios with exact sinks, PCM and clocks within ±50 ppm."""

    def make(
        seconds=20.0,
        count=3,
        link=None,
        config=None,
        faults=(),
        listeners=None,
        stream=None,
        orders=(),
        villains=(),
        extra_s=6.0,
        calm_from_s=None,
        **limits,
    ):
        link = link or LinkSettings()
        if listeners is None:
            room = Listeners(name="room", count=count, clock_ppm_spread=50.0, up=link, down=link)
            listeners = (room,)
        return Scenario(
            title="test",
            stream=stream or Stream(songs_s=(seconds,)),
            listeners=listeners,
            faults=faults,
            orders=orders,
            villains=villains,
            extra_s=extra_s,
            calm_from_s=calm_from_s,
            config={"host.codec": "pcm", **(config or {})},
            limits=Limits(**{"complete": True, "exact_error_ns_p99_max": 1_000_000, **limits}),
        )

    return make


@pytest.fixture(scope="session")
def skewed():
    return lambda ppm: ClockSettings(skew_ppm=ppm)
