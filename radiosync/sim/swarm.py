"""A party drawn from a seed: physics and faults at random, for finding what nobody thought of.

What must hold always is checked: the right frames, once and in order, bounded queues, loops that don't spin, and that
everybody who is there at the end has played to the end.
"""

from random import Random

from radiosync.sim.clocks import ClockSettings
from radiosync.sim.devices import DacSettings
from radiosync.sim.network import LinkSettings
from radiosync.sim.scenario import Fault, Limits, Listeners, Scenario, Stream
from radiosync.units import NS_PER_MS, NS_PER_S

CALM_S = 5.0  # at the beginning and at the end, so that everybody has come and can recover
OVERFLOWS_MAX = 500  # after a stall a receive buffer's worth comes at once


def draw(seed: int) -> Scenario:
    """Return the scenario of `seed`."""
    rng = Random(f"swarm/{seed}")
    seconds = rng.uniform(15.0, 30.0)
    dacs = rng.random() < 0.25
    groups = tuple(_listeners(rng, number, seconds, dacs=dacs) for number in range(rng.randint(1, 4)))
    buffer_s = rng.choice((0.5, 1.0, 3.0, 10.0, 45.0))
    names = [group.name for group in groups]
    return Scenario(
        title=f"swarm {seed}",
        stream=Stream(
            channels=2 if dacs else 1, sample="f32" if dacs else "s32", songs_s=(seconds / 3, 2 * seconds / 3)
        ),
        listeners=groups,
        faults=tuple(_fault(rng, names, seconds) for _ in range(rng.randint(0, 3))),
        config={
            "host.codec": "pcm",
            "radio_sync.buffer_duration": buffer_s,
            "radio_sync.chunk_duration": rng.choice((0.02, 0.1, 0.5)) if buffer_s > 1.5 else 0.02,
        },
        limits=Limits(complete=True, silent_frames_max=None, past_end_s_max=6.0, overflows_max=OVERFLOWS_MAX),
    )


def _listeners(rng: Random, number: int, seconds: float, *, dacs: bool) -> Listeners:
    latency_ns = round(rng.uniform(5, 150) * NS_PER_MS)
    return Listeners(
        name=f"group{number}",
        count=rng.randint(1, 2),
        start_s=rng.choice((0.0, rng.uniform(0.0, seconds - CALM_S))),
        clock=ClockSettings(wander_ppm=rng.choice((0.0, 0.01))),
        clock_ppm_spread=100.0,
        kernel_stamps=rng.random() < 0.7,
        up=_link(rng),
        down=_link(rng),
        dac=DacSettings(latency_ns=latency_ns) if dacs else None,
        dac_ppm_spread=100.0,
    )


def _link(rng: Random) -> LinkSettings:
    return LinkSettings(
        loss=rng.choice((0.0, 0.01, 0.1)),
        multicast_loss=rng.choice((0.0, 0.0, 0.1)),
        delay_ns=rng.choice((50_000, 500_000, 3_000_000)),
        jitter_ns=rng.choice((0, 20_000, 2_000_000)),
        duplicate=rng.choice((0.0, 0.02, 0.2)),
        reorder=rng.choice((0.0, 0.02, 0.2)),
        reorder_ns=round(rng.uniform(1, 50) * NS_PER_MS),
        burst_every_ns=rng.choice((0, 0, 2 * NS_PER_S)),
        burst_ns=round(rng.choice((20, 300)) * NS_PER_MS),
    )


def _fault(rng: Random, names: list[str], seconds: float) -> Fault:
    kind = rng.choice(("outage", "outage_up", "outage_down", "stall", "host_stall", "listener_restart"))
    for_s = rng.uniform(0.001, 4.0)
    at_s = rng.uniform(CALM_S, max(CALM_S, seconds - CALM_S - for_s))
    return Fault(kind=kind, at_s=at_s, for_s=for_s, listeners=tuple(rng.sample(names, rng.randint(1, len(names)))))
