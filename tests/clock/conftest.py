"""Worlds with a known truth: two crystals and a network whose delays are never negative."""

import math
from dataclasses import dataclass, field

import numpy as np
import pytest

from radiosync.clock.exchange import Exchange

EPOCH_NS = 1_795_000_000_000_000_000
NS = 1_000_000_000
HOST_TURN_S = 20e-6


@dataclass
class World:
    """Local time is the true time; the host runs ahead by EPOCH_NS + 0.5 s + a wandering skew, and steps if told."""

    kind: str
    seed: int
    skew_ppm: float = 0.0
    thermal_ppm: float = 0.3
    wander: float = 1e-8
    step_at_s: float = math.inf
    step_s: float = 0.0
    asymmetry_s: float = 0.0
    queue: dict = field(default_factory=dict)

    def __post_init__(self):
        self.random = np.random.default_rng(self.seed)
        t = np.arange(0, 1000, 0.1)
        rate = self.skew_ppm * 1e-6 + np.cumsum(self.random.normal(0, self.wander * math.sqrt(0.1), t.size))
        rate += self.thermal_ppm * 1e-6 * np.sin(2 * np.pi * t / 900 + self.random.uniform(0, 6.28))
        self.t, self.theta = t, 0.5 + np.concatenate([[0], np.cumsum(rate[:-1] * 0.1)])
        self.queue = {"on": self.random.random() < 0.5, "next": self.random.exponential(15), "q": 0.03}

    def offset_s(self, t):
        """Return host minus local clock, without EPOCH_NS."""
        return float(np.interp(t, self.t, self.theta)) + (self.step_s if t >= self.step_at_s else 0.0)

    def delays_s(self, t):
        r = self.random
        if self.kind == "scattered":
            return tuple(50e-6 + r.exponential(2e-3) for _ in range(2))
        if self.kind == "kernel":  # wired, stamped by the kernel
            return tuple(20e-6 + r.exponential(4e-6) + (r.random() < 0.05) * r.exponential(50e-6) for _ in range(2))
        if self.kind == "wired":
            forward, backward = (60e-6 + r.exponential(15e-6) + (r.random() < 0.02) * r.exponential(1e-3) for _ in "fb")
        elif self.kind == "wifi":
            forward = 0.8e-3 + r.exponential(0.5e-3) + (r.random() < 0.02) * r.exponential(10e-3)
            backward = 0.8e-3 + r.exponential(1.2e-3) + (r.random() < 0.05) * r.uniform(0, 0.1)
        else:  # wifiload: a queue towards the listener, on and off
            while t >= self.queue["next"]:
                self.queue["on"] = not self.queue["on"]
                self.queue["next"] += r.exponential(15)
                self.queue["q"] = r.uniform(10e-3, 50e-3)
            forward, backward = (0.8e-3 + r.exponential(1.5e-3) for _ in "fb")
            if self.queue["on"]:
                backward += abs(r.normal(self.queue["q"], 0.4 * self.queue["q"]))
                forward += r.exponential(3e-3)
        late = [r.exponential(30e-6) + (r.random() < 0.03) * r.uniform(0, 3e-3) for _ in "fb"]
        return forward + late[0], backward + late[1] + self.asymmetry_s

    def exchange(self, t):
        forward, backward = self.delays_s(t)
        at_host, from_host = t + forward, t + forward + HOST_TURN_S
        host_received_at = EPOCH_NS + round((at_host + self.offset_s(at_host)) * NS)
        return Exchange(
            sent_at=round(t * NS),
            host_received_at=host_received_at,
            host_sent_at=max(EPOCH_NS + round((from_host + self.offset_s(from_host)) * NS), host_received_at),
            received_at=round((from_host + backward) * NS),
        )

    def schedule(self, until_s, period_s=1.0):
        """Yield the times of the poller's schedule, up to `until_s`."""
        t, k = 0.0, 0
        while t < until_s:
            yield t
            k += 1
            t += 0.03 if k < 16 else (0.25 if t < 10 else period_s * self.random.uniform(0.8, 1.2))

    def error_ns(self, mapping, t):
        """Return how wrong `mapping` is at `t`."""
        now = round(t * NS)
        return mapping.host_from_local(now) - now - EPOCH_NS - self.offset_s(t) * NS


@pytest.fixture(scope="session")
def make_world():
    return World
